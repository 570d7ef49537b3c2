"""Checkpoints of people's own: whole models in the folders where A1111 and ComfyUI keep them, by their file's name.

What a file is comes from its header, which is read once a process; nothing is copied, and no folder is searched here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable
from functools import lru_cache
from pathlib import Path

from reknit.core.errors import ReknitError
from reknit.models.catalog import ModelCard, ModelFile
from reknit.models.identify import Identity, identify

FOLDERS = frozenset({"checkpoints", "stable-diffusion", "diffusion_models", "unet"})
"""What folders of whole models are called, in lower case; files may lie in folders below."""
NATIVE_PX = {"sd15": 512, "sd2": 768, "sdxl": 1024, "flux": 1024}
"""The side of the square that a family paints best; only these are opened from one file."""
_SUFFIXES = frozenset({".safetensors", ".sft", ".gguf"})


def cards(
    paths: Iterable[Path], taken: Container[str], known: Callable[[Path], bool]
) -> dict[str, ModelCard]:
    """Return what can be painted with, inpainting models first, by id.

    Parameters
    ----------
    paths
        Weight files; those of which nothing can be made, such as LoRAs, are left out.
    taken
        Ids that other models have.
    known
        Whether a file belongs to a model that is known already.
    """
    found: dict[str, tuple[bool, ModelCard]] = {}
    for path in paths:
        if path.suffix.lower() not in _SUFFIXES or FOLDERS.isdisjoint(part.lower() for part in path.parts):
            continue
        what = identity(path)
        if (
            what is None
            or what.kind not in ("inpaint", "base")
            or what.family not in NATIVE_PX
            or known(path)
        ):
            continue
        name = id_of(path.stem)
        if name in found or name in taken:
            name = id_of(path.name)
        if name and name not in found and name not in taken:
            found[name] = (what.kind != "inpaint", _card(name, path, what))
    return {name: card for name, (_, card) in sorted(found.items(), key=lambda item: (item[1][0], item[0]))}


def id_of(name: str) -> str:
    """Return a file's name as people type a model's: lower case, without spaces and brackets."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")


def _card(name: str, path: Path, what: Identity) -> ModelCard:
    return ModelCard(
        id=name,
        title=path.name,
        engine="diffusion",
        family=what.family,
        files=(ModelFile(name=path.name, bytes=what.bytes),),
        licence="unknown",
        native_px=NATIVE_PX[what.family],
        aliases=(path.name, path.stem),
    )


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
