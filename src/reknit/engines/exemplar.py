"""The embedded engine `EXEMPLAR`: fills a hole with pieces of its own photo.

The work is done by the C++ core (``native/exemplar.hpp``); this module names its presets and options and
chooses the numbers that go with them. It knows no regions, photos or compositing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reknit import _native
from reknit.core.errors import InputError
from reknit.core.options import Option
from reknit.core.progress import Part, Report
from reknit.engines.base import Crop, EngineSpec, Samples, Session
from reknit.engines.variants import ROTATIONS, sheet, variants


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One attempt at a fill: what differs from the core's defaults, and from the seed asked for."""

    settings: Mapping[str, float]
    seed: int = 0


_THOROUGH = {"em_coarse": 20, "em_min": 5, "em_fine": 3, "blend_sweeps": 60, "large": 200_000}
_TRIES: Mapping[str, Sequence[Try]] = {
    "draft": [Try(settings={"em_coarse": 8, "em_decay": 2.0, "em_min": 2, "em_fine": 1, "blend_sweeps": 16})],
    "normal": [Try(settings={})],
    "best": [Try(settings=_THOROUGH, seed=k * 7919) for k in range(4)],
}
"""What each quality preset tries; the attempt of the lowest energy wins."""
_SCREEN: Mapping[str, float] = {"none": -1.0, "default": 0.001, "high": 0.0005, "very-high": 0.0}
"""How strongly colours stay those of the copied pieces while seams are blended; negative: no blending."""
_GAINS: Mapping[str, tuple[float, ...]] = {
    "none": (),
    "default": (),
    "high": (0.88, 1.14),
    "very-high": (0.75, 0.88, 1.14, 1.33),
}
"""Relit copies to choose from."""

_OPTIONS = (
    Option(
        name="quality",
        kind="choice",
        choices=tuple(_TRIES),
        default="normal",
        help="how much time to spend: draft, normal or best",
    ),
    Option(
        name="color_adaptation",
        kind="choice",
        choices=tuple(_SCREEN),
        default="default",
        help="how far copied pieces may change colour to fit their surroundings",
    ),
    Option(name="mirror", kind="bool", default=False, help="also copy mirrored pieces"),
    Option(
        name="rotation",
        kind="choice",
        choices=tuple(ROTATIONS),
        default="none",
        help="also copy turned pieces: none, low (8°), medium (20°), high (60°) or full (all round)",
    ),
    Option(name="scale", kind="bool", default=False, help="also copy pieces at 80 and 125 % of their size"),
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
        seconds_per_hole_px=1.3e-6,  # python -m bench.rates exemplar
        seconds_per_region=0.6e-3,
        bytes_per_crop_px=15,
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

        Where ``crop.source`` allows nothing, every known pixel may be copied. About 2 µs a target pixel on
        one core, less for large targets, plus 15 ns a crop pixel; ``best`` takes five times as long, and
        each kind of transformed copies adds a crop's worth of source area.
        """
        report.step("fill", 0.0)
        if crop.hole.all():
            raise InputError(
                "the hole leaves nothing to fill it from", code="mask.full", hint="mask a smaller part"
            )
        if not (crop.source & ~crop.hole).any():
            crop = replace(crop, source=~crop.hole)
        height, width = crop.hole.shape
        colour = params["color_adaptation"]
        settings: dict[str, float] = {"screen": _SCREEN[colour]}
        if seed == 0:
            settings["variety"] = 0.0  # the first fill is the likeliest, whatever is tried for it
        chosen = variants(
            mirror=params["mirror"], rotation=params["rotation"], scale=params["scale"], gains=_GAINS[colour]
        )
        if chosen:
            crop = sheet(crop, chosen)
            settings["bank_row"] = height
        filled = self._best(crop, settings, _TRIES[params["quality"]], seed, report)[:height, :width]
        report.step("fill", 1.0)
        return np.ascontiguousarray(filled) if chosen else filled

    def _best(
        self, crop: Crop, settings: Mapping[str, float], tries: Sequence[Try], seed: int, report: Report
    ) -> Samples:
        """Return the fill of the lowest energy."""
        pixels = np.ascontiguousarray(crop.pixels)
        hole = np.ascontiguousarray(crop.hole)
        target = np.ascontiguousarray(crop.target & crop.hole)
        source = np.ascontiguousarray(crop.source & ~crop.hole)
        best: tuple[float, Samples] | None = None
        for k, attempt in enumerate(tries):
            part = Part(report, k / len(tries), (k + 1) / len(tries))

            def progress(fraction: float, part: Part = part) -> bool:
                part.step("fill", fraction)
                return True

            done = _native.exemplar_fill(
                pixels,
                hole,
                target,
                source,
                settings={**settings, **attempt.settings},
                seed=(seed + attempt.seed) & 0xFFFFFFFF,
                threads=self.threads,
                progress=progress,
            )
            assert done is not None  # progress() never asks to stop, it raises
            filled, energy = done
            if best is None or energy < best[0]:
                best = energy, filled
        assert best is not None
        return best[1]
