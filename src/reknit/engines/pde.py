"""Two engines for thin damage, over OpenCV's ``inpaint``: `TELEA` and `NAVIER_STOKES`.

They carry the surroundings smoothly into the hole, so they suit dust, hairs and scratches of a few pixels
and blur anything thick. Each channel is filled by itself at 16 bits, whatever the crop's depth. Nothing here
knows regions, compositing or when such an engine is the right one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import EngineFailed, InputError
from reknit.core.geometry import Box, Size
from reknit.core.options import Option
from reknit.core.progress import Part, Report
from reknit.engines.base import Crop, EngineSpec, Samples, Session

_RADIUS = Option(
    name="radius",
    kind="int",
    default=3,
    minimum=1,
    maximum=30,
    unit="px",
    help="how far around a missing pixel the known ones count",
)
_POLL_S = 0.05
_SECONDS_PER_PIXEL = 3e-7  # of one channel at radius 1, for the progress bar only


@dataclass(frozen=True, slots=True, kw_only=True)
class PdeEngine:
    """One of OpenCV's two diffusion methods.

    Attributes
    ----------
    spec : EngineSpec
    method : str
        The name of OpenCV's flag.
    """

    spec: EngineSpec
    method: str

    def load(self, *, threads: int) -> Session:
        """Return a session; the method is sequential, so ``threads`` changes nothing."""
        import cv2

        return PdeSession(flag=int(getattr(cv2, self.method)))


def _engine(name: str, title: str, method: str) -> PdeEngine:
    spec = EngineSpec(
        name=name,
        title=title,
        options=(_RADIUS,),
        requires=("cv2",),
        context=0.0,
        context_min_px=2 * int(_RADIUS.maximum or 0) + 4,
        native_depth=True,
    )
    return PdeEngine(spec=spec, method=method)


TELEA = _engine("telea", "Fast marching (Telea 2004): thin scratches and dust", "INPAINT_TELEA")
"""A. Telea, An Image Inpainting Technique Based on the Fast Marching Method, 2004,
doi:10.1080/10867651.2004.10487596."""

NAVIER_STOKES = _engine(
    "navier-stokes", "Fluid dynamics (Bertalmio 2001): thin lines across edges", "INPAINT_NS"
)
"""M. Bertalmio, A. L. Bertozzi, G. Sapiro, Navier-Stokes, Fluid Dynamics, and Image and Video Inpainting,
CVPR 2001, doi:10.1109/CVPR.2001.990497."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PdeSession:
    """A `Session` that fills with one of OpenCV's methods."""

    flag: int

    def run(self, crop: Crop, params: Mapping[str, Any], seed: int, report: Report) -> Samples:
        """Return the crop's pixels with the whole of ``crop.hole`` filled; nothing else changes.

        About 0.3 µs · (1 + radius²/10) a hole pixel and channel. OpenCV cannot be interrupted, so it works
        in a thread of its own that a cancel abandons: the caller is free within 0.1 s, the thread ends when
        the channel it is at is done.
        """
        report.step("fill", 0.0)
        if crop.hole.all():
            raise InputError(
                "the hole leaves nothing to fill it from", code="mask.full", hint="mask a smaller part"
            )
        out = crop.pixels.copy()
        if not crop.hole.any():
            return out
        radius = int(params["radius"])
        window = _window(crop.hole, margin=2 * radius + 4)
        hole = crop.hole[window]
        channels = out.shape[2]
        for c in range(channels):
            part = Part(report, c / channels, (c + 1) / channels)
            out[(*window, c)][hole] = self._fill(out[(*window, c)], hole, radius, part)[hole]
        report.step("fill", 1.0)
        return out

    def _fill(self, plane: Samples, hole: NDArray[np.bool_], radius: int, report: Report) -> Samples:
        """Return one channel (H, W) with ``hole`` filled.

        Worked at 16 bits because Telea's gradient term rounds a flat 8-bit field off by up to 7 levels; with
        one replicated pixel around because OpenCV misreads lines at the border and crops a pixel thin; and
        with the hole made flat because Telea reads a little of it there.
        """
        scale = 257 if plane.dtype == np.uint8 else 1
        wide = plane.astype(np.uint16) * np.uint16(scale)
        wide[hole] = round(float(wide[~hole].mean()))
        filled = self._inpaint(np.pad(wide, 1, "edge"), np.pad(hole, 1, "edge"), radius, report)[1:-1, 1:-1]
        return ((filled.astype(np.uint32) + scale // 2) // scale).astype(plane.dtype)

    def _inpaint(
        self, plane: NDArray[np.uint16], hole: NDArray[np.bool_], radius: int, report: Report
    ) -> NDArray[np.uint16]:
        import cv2

        done: list[NDArray[np.uint16]] = []
        failed: list[Exception] = []

        def work() -> None:
            try:
                filled = cv2.inpaint(plane, hole.astype(np.uint8), radius, self.flag)
                done.append(cast("NDArray[np.uint16]", filled))
            except cv2.error as error:
                failed.append(error)

        # Not a daemon: an interpreter that ends while OpenCV runs in one aborts.
        thread = threading.Thread(target=work, name="reknit-inpaint")
        expected_s = _SECONDS_PER_PIXEL * np.count_nonzero(hole) * (1 + radius * radius / 10)
        start = time.monotonic()
        thread.start()
        while thread.is_alive():
            thread.join(_POLL_S)
            waited = (time.monotonic() - start) / max(expected_s, 1e-3)
            report.step("fill", waited / (1 + waited))
        if failed:
            raise EngineFailed(
                "OpenCV could not fill the hole", code="engine.opencv", hint=str(failed[0])
            ) from failed[0]
        return done[0]


def _window(hole: NDArray[np.bool_], margin: int) -> tuple[slice, slice]:
    """Return the hole's bounding box grown by ``margin``, as slices."""
    rows = np.flatnonzero(hole.any(axis=1))
    columns = np.flatnonzero(hole.any(axis=0))
    box = Box(x0=int(columns[0]), y0=int(rows[0]), x1=int(columns[-1]) + 1, y1=int(rows[-1]) + 1)
    return box.grown(margin).clipped(Size.of(hole.shape)).slices
