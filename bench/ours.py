"""The one place where the benchmark calls Reknit: the Python call, the bare engine, the whole program."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Hole = NDArray[np.bool_]
Fill = Callable[[Picture, Hole], Picture]


def product(engine: str = "exemplar", *, threads: int, seed: int = 0) -> Fill:
    """``reknit.fill`` as a user calls it, but with the hole exactly as given (``grow=0``)."""
    import reknit

    def run(photo: Picture, hole: Hole) -> Picture:
        return reknit.fill(photo, hole, engine=engine, grow=0, seed=seed, threads=threads).to_numpy()

    return run


def bare(engine: str = "exemplar", *, threads: int, seed: int = 0) -> Fill:
    """The engine's session on the whole photo: no regions, no compositing, no proof."""
    from reknit.core.options import check_all
    from reknit.core.progress import Reporter
    from reknit.engines import registry
    from reknit.engines.base import Crop

    found = registry.get(engine)
    session = found.load(threads=threads)
    params = check_all(found.spec.options, {}, owner=engine)

    def run(photo: Picture, hole: Hole) -> Picture:
        crop = Crop(pixels=photo, hole=hole, target=hole, source=~hole)
        return session.run(crop, params, seed, Reporter())

    return run


def program() -> str:
    """Return the path of this Python's ``reknit`` command."""
    script = Path(sys.executable).with_name("reknit")
    return str(script) if script.exists() else shutil.which("reknit") or "reknit"
