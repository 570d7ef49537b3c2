"""Repair a scanned photo: find the damage, then fill it.

Detection is `pipeline.defects`; filling is `pipeline.fill`. The found mask is part of the result, so that
people can edit it and fill again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from reknit.core.composite import Proof
from reknit.core.image import Photo
from reknit.core.mask import Mask
from reknit.core.progress import Part, Report, Reporter
from reknit.core.request import FillRequest
from reknit.core.result import FillResult, Plan
from reknit.engines.base import Models
from reknit.pipeline.defects import KINDS, Defects, detect
from reknit.pipeline.fill import fill

DETECTION_SHARE = 0.4
"""Share of the progress bar that detection gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairRequest:
    """Repair ``photo``.

    Attributes
    ----------
    photo : Photo
    kinds : tuple of str
        Which damage to look for, of `defects.KINDS`.
    sensitivity : float
        0 marks only what is beyond doubt, 1 everything that might be damage.
    engine, params, seed
        As in `FillRequest`.
    grow : float
        As in `FillRequest`; the detectors already cover soft edges.
    """

    photo: Photo
    kinds: tuple[str, ...] = KINDS
    sensitivity: float = 0.5
    engine: str = "auto"
    params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    seed: int = 0
    grow: float = 0.0


def find(request: RepairRequest, *, report: Report | None = None) -> Defects:
    """Return the damage that ``request`` asks to look for, without filling it."""
    return detect(request.photo.pixels, kinds=request.kinds, sensitivity=request.sensitivity, report=report)


def repair(
    request: RepairRequest, *, threads: int = 1, report: Report | None = None, models: Models | None = None
) -> FillResult:
    """Carry out ``request``; ``result.mask`` is what was found.

    A photo without damage comes back unchanged, with a note.
    """
    report = report or Reporter()
    start = time.perf_counter()
    found = find(request, report=Part(report, 0.0, DETECTION_SHARE))
    seconds = time.perf_counter() - start
    if not found.mask.any():
        note = "no damage was found; a higher sensitivity marks more"
        return unchanged(request.photo, note, seed=request.seed, seconds=seconds)
    result = fill(
        FillRequest(
            photo=request.photo,
            mask=Mask.from_bool(found.mask),
            engine=request.engine,
            params=request.params,
            seed=request.seed,
            grow=request.grow,
        ),
        threads=threads,
        report=Part(report, DETECTION_SHARE, 1.0),
        models=models,
    )
    counts = ", ".join(f"{kind} {int(mask.sum()):,} px" for kind, mask in found.by_kind.items() if mask.any())
    timings = {"detect": seconds, **result.timings, "total": seconds + result.timings["total"]}
    return replace(result, notes=(f"found {counts}", *result.notes), timings=MappingProxyType(timings))


def unchanged(photo: Photo, note: str, *, seed: int, seconds: float) -> FillResult:
    """Return the result of looking for something to fill, ``seconds`` long, and finding nothing."""
    plan = Plan(
        engine="none",
        reasons=(),
        params=MappingProxyType({}),
        size=photo.size,
        hole_px=0,
        grow_px=0.0,
        feather_px=0.0,
        regions=(),
        threads=1,
        seconds=0.0,
        peak_bytes=0,
    )
    proof = Proof(outside_equal=True, differing_px=0, touched_px=0, ring_px=0.0, max_residue=0.0)
    return FillResult(
        photos=(photo,),
        before=photo,
        mask=Mask.from_boxes(photo.size, ()),
        plan=plan,
        seed=seed,
        notes=(*photo.notes, note),
        timings=MappingProxyType({"detect": seconds, "total": seconds}),
        report=proof,
    )
