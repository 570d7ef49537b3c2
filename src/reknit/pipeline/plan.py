"""Decide how a request will be carried out, before any pixel is touched.

Chooses the engine, grows the hole, clusters it into regions, checks the engine's options and predicts cost.
A pure function of the request and the machine's thread count; it loads no engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import InputError
from reknit.core.geometry import Size
from reknit.core.mask import Mask
from reknit.core.options import check_all
from reknit.core.region import Region, plan_regions
from reknit.core.request import FillRequest
from reknit.core.result import Plan
from reknit.engines import registry
from reknit.engines.base import Configurable, Engine, EngineSpec, Models, Telling
from reknit.pipeline.recover import Way
from reknit.pipeline.scale import regions_at
from reknit.pipeline.ways import laid_out, said, ways_of

THIN_PX = 2.0
"""For holes nowhere thicker than this `auto` picks a PDE engine: about as good there, and far faster on dense
dust. From 3 px on the exemplar engine restores more; docs/engines.md has the figures (`bench/thin.py`)."""

LARGE_PX = 64.0
"""For holes thicker than this somewhere `auto` picks a learned engine whose model is installed: there a fill has to
invent what no piece of the photo shows."""

AUTOMATIC = ("lama", "migan")
"""The learned engines that `auto` considers, the better first."""

_AS_MUCH_AS_ALLOWED = 1e6
_CALL_PX = 4096  # what a call costs, in pixels of crop, for engines that take any size
_LEAST_PX, _ENOUGH_PX = 256, 65_536  # of source area in a crop


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A plan with what carrying it out needs.

    Attributes
    ----------
    plan : Plan
    engine : Engine
    params : mapping
        Checked values for all of the engine's options.
    hole : ndarray of bool, (H, W)
        The mask, grown: every pixel that will be replaced wholly.
    regions : tuple of Region
    ways : tuple of Way
        How the engine can be laid out in memory; it is as the first says.
    """

    plan: Plan
    engine: Engine
    params: Mapping[str, Any]
    hole: NDArray[np.bool_]
    regions: tuple[Region, ...]
    ways: tuple[Way, ...] = (Way(),)


def plan_fill(request: FillRequest, *, threads: int, models: Models | None = None) -> Work:
    """Return how ``request`` will be carried out.

    Parameters
    ----------
    request
    threads
        CPU threads that will be used.
    models
        Where engines find the models they run; None to do without.

    Raises
    ------
    NotFound, Unavailable
        No such engine, or it cannot run here.
    InputError
        ``option.unknown``, ``option.value``; ``image.size``: too small for the engine.
    """
    name, reasons = choose_engine(request.engine, request.mask, models, request.params)
    engine = registry.get(name)
    spec = engine.spec
    params = check_all(spec.options, request.params, owner=f"engine {name}")
    if isinstance(engine, Configurable):
        engine = engine.configured(params, models)
        spec = engine.spec
        given = {key: value for key, value in request.params.items() if value is not None}
        params = check_all(spec.options, given, owner=f"engine {name}")
    _large_enough(request.photo.size, engine.spec)
    if isinstance(engine, Telling):
        reasons += engine.told().notes
    ways = ways_of(engine, params, threads=threads)
    if ways[0].params and isinstance(engine, Configurable):
        engine, params = laid_out(name, params, ways[0], models)
        spec = engine.spec
        reasons += said(ways)
    grow_px, hole, why = _grown(request.mask, request.grow)
    feather_px = spec.feather_px if request.feather is None else request.feather
    regions, wider = _regions(request, spec, hole, feather_px)
    hole_px = int(np.count_nonzero(hole))
    seconds, peak_bytes = predict(spec, request, hole_px, regions)
    seconds = request.count * len(regions) * ways[0].seconds or seconds
    plan = Plan(
        engine=name,
        reasons=(*reasons, *why, *wider),
        params=MappingProxyType(params),
        size=request.photo.size,
        hole_px=hole_px,
        grow_px=grow_px,
        feather_px=feather_px,
        regions=tuple((r.hole_box, r.context_box) for r in regions),
        threads=threads,
        seconds=seconds,
        peak_bytes=round(ways[0].need) or peak_bytes,
    )
    return Work(plan=plan, engine=engine, params=params, hole=hole, regions=regions, ways=ways)


def _large_enough(size: Size, spec: EngineSpec) -> None:
    least = spec.size_rule.least_px
    if min(size.width, size.height) < least:
        raise InputError(
            f"a photo of {size} px is too small for the engine {spec.name}",
            code="image.size",
            hint=f"sides must be at least {least} px; --engine exemplar fills photos of any size",
        )


def choose_engine(
    name: str, mask: Mask, models: Models | None = None, params: Mapping[str, Any] | None = None
) -> tuple[str, tuple[str, ...]]:
    """Return the engine for ``name``; ``"auto"`` picks by the model, the prompt or the hole, and says why."""
    if name != "auto":
        return name, ()
    params = params or {}
    if params.get("model"):
        from reknit.engines import choice

        engine = choice.engine_of(str(params["model"]), models)
        return engine, (f"engine {engine}: it runs {Path(str(params['model'])).name}",)
    if params.get("prompt"):
        return "diffusion", ("engine diffusion: there is a prompt",)
    if not mask.is_thicker_than(THIN_PX):
        return "navier-stokes", (f"engine navier-stokes: no part of the hole is thicker than {THIN_PX:g} px",)
    if models is not None and mask.is_thicker_than(LARGE_PX):
        learned = _installed(models)
        if learned is not None:
            engine, model = learned
            why = f"engine {engine}: the hole is thicker than {LARGE_PX:g} px, and {model} is installed"
            return engine, (why,)
    return "exemplar", (f"engine exemplar: the hole is thicker than {THIN_PX:g} px somewhere",)


def _installed(models: Models) -> tuple[str, str] | None:
    """Return the first learned engine with a model on this machine, and that model."""
    from reknit.engines.learned import installable

    store = models()
    for engine in AUTOMATIC:
        for card in installable(store.cards.values(), (engine,)):
            if card.commercial and store.look(card) is not None:
                return engine, card.id
    return None


def _grown(mask: Mask, grow: float) -> tuple[float, NDArray[np.bool_], tuple[str, ...]]:
    if grow > 0:
        grown = mask.grown(grow)
        if grown.area < grown.size.area:
            return grow, grown.fill, ()
        note = f"the hole was not grown by {grow:g} px: nothing of the photo would have been left"
        return 0.0, mask.fill, (note,)
    return 0.0, mask.fill, ()


def _regions(
    request: FillRequest, spec: EngineSpec, hole: NDArray[np.bool_], feather_px: float
) -> tuple[tuple[Region, ...], tuple[str, ...]]:
    """Return the regions of ``hole``, each with room for its ring and with something to copy from, and notes."""
    size, rule = request.photo.size, spec.size_rule
    call_px = rule.native_px**2 if rule.fixed and rule.native_px is not None else _CALL_PX

    def planned(context_px: int | None) -> tuple[Region, ...]:
        if context_px is None and spec.good_px is not None:
            return regions_at(
                hole,
                spec.good_px,
                context=spec.context,
                context_min_px=spec.context_min_px,
                context_max_px=spec.context_max_px,
            )
        return plan_regions(
            hole,
            context=spec.context if context_px is None else _AS_MUCH_AS_ALLOWED,
            context_min_px=spec.context_min_px if context_px is None else context_px,
            context_max_px=spec.context_max_px if context_px is None else context_px,
            call_px=call_px,
            max_pixels=spec.max_pixels,
        )

    notes: tuple[str, ...] = ()
    regions = planned(request.context)
    if request.source is not None:
        allowed = request.source.fill & ~hole
        reach = max(request.context or spec.context_min_px, 64)
        while not all(_has_enough(region, allowed, hole) for region in regions) and reach < max(size.shape):
            reach *= 2
            regions = planned(reach)
            notes = (f"looked up to {reach} px around the hole, for the source area",)
    if feather_px > 0:
        ring_px = ceil(feather_px) + 1
        regions = tuple(
            replace(r, context_box=r.context_box.united(r.hole_box.grown(ring_px).clipped(size)))
            for r in regions
        )
    return regions, notes


def _has_enough(region: Region, allowed: NDArray[np.bool_], hole: NDArray[np.bool_]) -> bool:
    """Return whether a region sees about as much to copy from as it has to fill."""
    wanted = min(int(np.count_nonzero(hole[region.hole_box.slices])), _ENOUGH_PX)
    return int(np.count_nonzero(allowed[region.context_box.slices])) >= max(wanted, _LEAST_PX)


def predict(
    spec: EngineSpec, request: FillRequest, hole_px: int, regions: tuple[Region, ...]
) -> tuple[float, int]:
    """Return predicted seconds and peak bytes from the engine's measured rates."""
    pixels = request.photo.size.area
    sample_bytes = request.photo.pixels.itemsize * (3 if request.photo.alpha is None else 4)
    largest = max(r.context_box.area for r in regions)
    seconds = request.count * (hole_px * spec.seconds_per_hole_px + len(regions) * spec.seconds_per_region)
    photo_bytes = (1 + request.count) * pixels * sample_bytes + 2 * pixels
    return seconds + pixels * 4e-9, photo_bytes + largest * spec.bytes_per_crop_px
