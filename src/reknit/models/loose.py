"""Models of people's own, by the names of their files and folders: whole checkpoints where A1111 and ComfyUI keep them,
and diffusers' folders wherever they lie, as InvokeAI keeps its models.

What one is comes from a header, which is read once a process; nothing is copied, and no folder is searched here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from reknit.core.errors import ReknitError
from reknit.models.catalog import ModelCard, ModelFile
from reknit.models.identify import Identity, identify

FOLDERS = frozenset({"checkpoints", "stable-diffusion", "diffusion_models", "unet"})
"""What folders of whole models are called, in lower case; files may lie in folders below."""
NATIVE_PX = {"sd15": 512, "sd2": 768, "sdxl": 1024, "flux": 1024}
"""The side of the square that a family paints best; only these are opened."""
_SUFFIXES = frozenset({".safetensors", ".sft", ".gguf"})
_INDEX = "model_index.json"
_DENOISERS = ("unet", "transformer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """A model of somebody's own.

    Attributes
    ----------
    card : ModelCard
    root : Path
        The folder that its files' names begin in.
    """

    card: ModelCard
    root: Path


def models(paths: Iterable[Path], taken: Container[str], known: Callable[[Path], bool]) -> dict[str, Own]:
    """Return what can be painted with, inpainting models first, by id.

    Parameters
    ----------
    paths
        Weight files; those of which nothing can be made, such as LoRAs, are left out.
    taken
        Ids that other models have.
    known
        Whether a file, or a folder with a model's files, belongs to a model that is known already.
    """
    found: dict[str, tuple[bool, Own]] = {}
    folders: dict[Path, list[Path]] = {}
    roots: dict[Path, Path | None] = {}

    def add(names: tuple[str, str], what: Identity, at: Path, files: Sequence[Path]) -> None:
        """Add a model, a file or a folder, by the first of its names that is free."""
        name = next((name for name in map(id_of, names) if name not in found and name not in taken), "")
        if name:
            root = files[0].parent
            card = _card(name, (at.name, names[0]), what, root, files)
            found[name] = (what.kind != "inpaint", Own(card=card, root=root))

    for path in paths:
        parent = path.parent
        if parent not in roots:
            roots[parent] = parent.parent if (parent.parent / _INDEX).is_file() else None
        root = roots[parent]
        if root is not None:
            folders.setdefault(root, []).append(path)
        elif (
            path.suffix.lower() in _SUFFIXES
            and not FOLDERS.isdisjoint(part.lower() for part in path.parts)
            and (what := _painting(path)) is not None
            and not known(path)
        ):
            add((path.stem, path.name), what, path, [path])
    for root, weights in folders.items():
        for path in weights:
            if path.parent.name in _DENOISERS and (what := _painting(path)) is not None:
                if not known(root):
                    same = [each for each in weights if each.suffix == path.suffix]
                    names = root.name, f"{root.parent.name}-{root.name}"
                    add(names, what, root, [root / _INDEX, *same])
                break
    ordered = sorted(found.items(), key=lambda item: (item[1][0], item[0]))
    return {name: own for name, (_, own) in ordered}


def _painting(path: Path) -> Identity | None:
    """Return what a file is if one can paint with it."""
    what = identity(path)
    return what if what and what.kind in ("inpaint", "base") and what.family in NATIVE_PX else None


def id_of(name: str) -> str:
    """Return a file's name as people type a model's: lower case, without spaces and brackets."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")


def _card(name: str, names: tuple[str, ...], what: Identity, root: Path, files: Iterable[Path]) -> ModelCard:
    return ModelCard(
        id=name,
        title=names[0],
        engine="diffusion",
        family=what.family,
        files=tuple(ModelFile(name=path.relative_to(root).as_posix(), bytes=_bytes(path)) for path in files),
        licence="unknown",
        native_px=NATIVE_PX[what.family],
        aliases=tuple(dict.fromkeys(names)),
    )


def _bytes(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def identity(path: Path) -> Identity | None:
    """Return what a file is, read once as long as it stays as it is; None where that cannot be said."""
    try:
        stat = path.stat()
        return _identified(path, stat.st_mtime_ns, stat.st_size)
    except OSError:
        return None


@lru_cache(maxsize=4096)
def _identified(path: Path, modified_ns: int, size: int) -> Identity | None:
    try:
        return identify(path)
    except (ReknitError, OSError):
        return None
