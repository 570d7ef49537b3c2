"""Other programs that fill holes, each as a function from a photo and a hole to the filled photo.

What is not installed is left out, with the reason in `missing`. This module knows nothing of metrics or of
Reknit.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Hole = NDArray[np.bool_]
Fill = Callable[[Picture, Hole], Picture]

PATCHMATCH_SIZES = (3, 5, 7)
PATCHMATCH = tuple(f"pypatchmatch-{size}" for size in PATCHMATCH_SIZES)


def patchmatch(photo: Picture, hole: Hole, *, size: int) -> Picture:
    """pypatchmatch, ``size`` = patch radius."""
    import patchmatch as library

    library.set_random_seed(0)
    return library.inpaint(photo, hole, patch_size=size)


def opencv(photo: Picture, hole: Hole, *, flag: int) -> Picture:
    """OpenCV's Telea (1) or Navier-Stokes (0), radius 5."""
    import cv2

    return cv2.inpaint(photo, hole.astype(np.uint8), 5, flag)


def biharmonic(photo: Picture, hole: Hole) -> Picture:
    """scikit-image's biharmonic equation."""
    from skimage.restoration import inpaint_biharmonic

    filled = inpaint_biharmonic(photo / 255.0, hole, channel_axis=-1)
    return np.clip(filled * 255 + 0.5, 0, 255).astype(np.uint8)


def gmic_cli(photo: Picture, hole: Hole) -> Picture:
    """G'MIC's multi-scale patch match, as a program: its time includes start-up and files."""
    import cv2

    with tempfile.TemporaryDirectory() as folder:
        source, mask, out = (str(Path(folder) / name) for name in ("photo.png", "mask.png", "out.png"))
        cv2.imwrite(source, photo[..., ::-1])
        cv2.imwrite(mask, hole.astype(np.uint8) * 255)
        subprocess.run(
            ["gmic", source, mask, "inpaint_matchpatch[0]", "[1]", "remove[1]", "output[0]", out],
            check=True, capture_output=True,
        )  # fmt: skip
        return np.ascontiguousarray(cv2.imread(out, cv2.IMREAD_COLOR)[..., ::-1])


def gmic_module(photo: Picture, hole: Hole) -> Picture:
    """G'MIC's multi-scale patch match through its Python module."""
    import gmic

    images = [
        gmic.GmicImage.from_numpy(photo),
        gmic.GmicImage.from_numpy(hole[..., None].astype(np.uint8) * 255),
    ]
    gmic.run("inpaint_matchpatch[0] [1] remove[1]", images)
    return np.clip(images[0].to_numpy() + 0.5, 0, 255).astype(np.uint8)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what native code prints off the report."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def _reason(name: str) -> str:
    """Why a peer can't run here; "" when it can."""
    module = {"biharmonic": "skimage", "gmic": "gmic"}.get(
        name, "patchmatch" if name in PATCHMATCH else "cv2"
    )
    if name == "gmic-cli":
        return "" if shutil.which("gmic") else "no gmic program on the PATH"
    if importlib.util.find_spec(module) is None:
        return f"module {module} is not installed"
    if module == "patchmatch":
        import patchmatch as library

        return "" if library.patchmatch_available else "pypatchmatch's native library does not load"
    return ""


def catalogue() -> dict[str, Fill]:
    """All peers by name, whether installed or not."""
    peers: dict[str, Fill] = {
        f"pypatchmatch-{size}": partial(patchmatch, size=size) for size in PATCHMATCH_SIZES
    }
    peers |= {"telea": partial(opencv, flag=1), "navier-stokes": partial(opencv, flag=0)}
    return peers | {"biharmonic": biharmonic, "gmic-cli": gmic_cli, "gmic": gmic_module}


def installed(wanted: list[str] | None = None) -> dict[str, Fill]:
    """Peers that run here: those wanted, or all.

    Raises
    ------
    ValueError
        A wanted name isn't in the `catalogue`.
    """
    peers = catalogue()
    unknown = set(wanted or ()) - set(peers)
    if unknown:
        raise ValueError(f"no peer {', '.join(sorted(unknown))}; peers: {', '.join(peers)}")
    return {
        name: fill for name, fill in peers.items() if (not wanted or name in wanted) and not _reason(name)
    }


def missing() -> dict[str, str]:
    """Peers that don't run here, with the reason."""
    return {name: reason for name in catalogue() if (reason := _reason(name))}


def versions() -> dict[str, str]:
    """Versions of the peers' packages."""
    out = {}
    for package in ("pypatchmatch", "opencv-python-headless", "scikit-image", "gmic"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            out[package] = importlib.metadata.version(package)
    return out
