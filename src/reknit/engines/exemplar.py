"""The embedded engine `EXEMPLAR`: fills a hole with pieces of its own photo.

The work is done by the C++ core (``native/exemplar.hpp``); this module names its presets and options and
chooses the numbers that go with them. It knows no regions, photos or compositing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from reknit import _native
from reknit.core.errors import InputError
from reknit.core.options import Option
from reknit.core.progress import Report
from reknit.engines.base import Crop, EngineSpec, Samples, Session

_QUALITY: Mapping[str, Mapping[str, float]] = {
    "draft": {"em_coarse": 8, "em_decay": 2.0, "em_min": 2, "em_fine": 1, "blend_sweeps": 16},
    "normal": {},
    "best": {"em_coarse": 24, "em_min": 5, "em_fine": 3, "blend_sweeps": 60},
}
_ADAPTATION: Mapping[str, float] = {"none": -1.0, "default": 0.01, "high": 0.002, "very-high": 0.0}
"""How strongly colours stay those of the copied pieces while seams are blended; negative: no blending."""

_OPTIONS = (
    Option(
        name="quality",
        kind="choice",
        choices=tuple(_QUALITY),
        default="normal",
        help="how much time to spend: draft, normal or best",
    ),
    Option(
        name="color_adaptation",
        kind="choice",
        choices=tuple(_ADAPTATION),
        default="default",
        help="how far copied pieces may change colour to fit their surroundings",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExemplarEngine:
    """Multi-scale patch synthesis over a nearest-neighbour field; needs no weights and no network.

    Attributes
    ----------
    spec : EngineSpec
    """

    spec: EngineSpec

    def load(self, *, threads: int) -> Session:
        """Return a session that uses up to ``threads`` CPU threads; the result does not depend on them."""
        return ExemplarSession(threads=threads)


EXEMPLAR = ExemplarEngine(
    spec=EngineSpec(
        name="exemplar",
        title="Patches copied from the photo itself: no weights, no network, any depth",
        options=_OPTIONS,
        context=1.0,
        context_min_px=96,
        seeded=True,
        native_depth=True,
    )
)
"""Wexler, Shechtman, Irani, Space-Time Completion of Video, PAMI 2007, doi:10.1109/TPAMI.2007.60; Barnes,
Shechtman, Finkelstein, Goldman, PatchMatch, SIGGRAPH 2009, doi:10.1145/1531326.1531330; Newson et al.,
Video Inpainting of Complex Scenes, SIAM J. Imaging Sci. 2014, doi:10.1137/140954933."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExemplarSession:
    """A `Session` of the exemplar engine.

    Attributes
    ----------
    threads : int
        How many CPU threads it may use.
    """

    threads: int

    def run(self, crop: Crop, params: Mapping[str, Any], seed: int, report: Report) -> Samples:
        """Return the crop's pixels with ``crop.target`` filled; nothing else changes.

        Where ``crop.source`` allows nothing, every known pixel may be copied. About 2.5 µs a target pixel on
        one core, plus 10 ns a crop pixel.
        """
        report.step("fill", 0.0)
        if crop.hole.all():
            raise InputError(
                "the hole leaves nothing to fill it from", code="mask.full", hint="mask a smaller part"
            )
        source = crop.source & ~crop.hole
        if not source.any():
            source = ~crop.hole

        def progress(fraction: float) -> bool:
            report.step("fill", fraction)
            return True

        filled = _native.exemplar_fill(
            np.ascontiguousarray(crop.pixels),
            np.ascontiguousarray(crop.hole),
            np.ascontiguousarray(crop.target & crop.hole),
            np.ascontiguousarray(source),
            settings={**_QUALITY[params["quality"]], "screen": _ADAPTATION[params["color_adaptation"]]},
            seed=seed & 0xFFFFFFFF,
            threads=self.threads,
            progress=progress,
        )
        assert filled is not None  # progress() never asks to stop, it raises
        report.step("fill", 1.0)
        return filled
