"""Where other programs keep weights: AUTOMATIC1111, ComfyUI, IOPaint, InvokeAI. Read only.

Given their folders, it lists the weight files in them. ComfyUI's ``extra_model_paths.yaml`` is followed. It
opens no weight file, and knows no model.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

SUFFIXES = frozenset({".safetensors", ".onnx", ".pt", ".pth", ".ckpt", ".gguf", ".bin", ".jit", ".sft"})
"""What weight files are called; whether they are is `identify`'s to say."""

EXTRA_PATHS = ("extra_model_paths.yaml", "extra_models_config.yaml")
MAX_FILES = 20_000
MAX_DEPTH = 6
_MAX_YAML_BYTES = 2**20
_PARTS = (
    "models",  # AUTOMATIC1111, Forge, SD.Next, ComfyUI and InvokeAI alike
    "hub/checkpoints",  # IOPaint keeps its files where torch.hub does
    "checkpoints",  # the same, given the hub itself
)
_BESIDE = "embeddings"  # AUTOMATIC1111 keeps these beside its folder of models


def folders(roots: Iterable[Path]) -> list[Path]:
    """Return the folders with weights that belong to these roots of programs, without those that do not exist.

    Parameters
    ----------
    roots
        A program's folder, its ``models`` folder, or any folder with weights in it.
    """
    found: dict[Path, None] = {}
    for root in roots:
        inside = [root / part for part in _PARTS if (root / part).is_dir()]
        for folder in inside or ([root] if root.is_dir() else []):
            found[folder] = None
        home = root.parent if root.name == "models" else root
        if (home / _BESIDE).is_dir() and home not in found:
            found[home / _BESIDE] = None
        for name in EXTRA_PATHS:
            for folder in _extra(root / name):
                found[folder] = None
    return list(found)


def weight_files(folder: Path) -> Iterator[Path]:
    """Yield the files in ``folder`` that are called like weights; deep, huge and circular trees end soon."""
    waiting = [(folder, 0)]
    seen = set[str]()
    left = MAX_FILES
    while waiting:
        here, depth = waiting.pop()
        real = os.path.realpath(here)
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            left -= 1
            if left < 0:
                return
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_dir():
                    if depth < MAX_DEPTH:
                        waiting.append((Path(entry.path), depth + 1))
                elif Path(entry.name).suffix.lower() in SUFFIXES and entry.is_file():
                    yield Path(entry.path)
            except OSError:
                continue


def _extra(path: Path) -> list[Path]:
    """Return the folders that a ComfyUI ``extra_model_paths.yaml`` names; an unreadable one names none."""
    try:
        if path.stat().st_size > _MAX_YAML_BYTES:
            return []
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    import yaml

    try:
        table: Any = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        return []
    found = list[Path]()
    for section in _table(table).values():
        entries = _table(section)
        base = path.parent / Path(str(entries.get("base_path") or "")).expanduser()
        for key, value in entries.items():
            if key in ("base_path", "is_default", "custom_nodes", "configs"):
                continue
            lines = cast("list[Any]", value) if isinstance(value, list) else str(value).splitlines()
            found += [Path(os.path.normpath(base / str(line).strip())) for line in lines if str(line).strip()]
    return [folder for folder in dict.fromkeys(found) if folder.is_dir()]


def _table(value: Any) -> dict[Any, Any]:
    return cast("dict[Any, Any]", value) if isinstance(value, dict) else {}
