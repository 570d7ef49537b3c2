"""One region's work: what an engine gets of a canvas, and what of its answer goes back.

A `Piece` is a crop in the photo's own size and depth. `filled` brings it to the engine's size and depth and
back, holds the engine to its contract, matches colour and grain where the engine asks for that, and says with
what weight each pixel is to be blended in. Nothing here changes the canvas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.core.composite import Canvas, rim
from reknit.core.detail import with_detail
from reknit.core.errors import EngineFailed, ReknitError, Unavailable
from reknit.core.fit import Fit, Frame
from reknit.core.fit import fit as size_fit
from reknit.core.geometry import Box, Size
from reknit.core.mask import Mask
from reknit.core.match import match_rim
from reknit.core.progress import Placed, Report
from reknit.core.region import Region
from reknit.engines.base import Crop, EngineSpec, Hole, Samples, Session

_SOFT = 0.8
"""A crop that is scaled down to less gets back the detail that it loses."""

_MATCHED_PX = 56
"""How much of what lies around a region is looked at for its colours and grain."""

Weight = NDArray[np.float32] | NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A crop of the canvas.

    Attributes
    ----------
    box : Box
        Where it lies in the photo.
    crop : Crop
    inner : Box
        The part of the crop, in its own coordinates, that is to be changed: the region's hole and its ring.
    around : ndarray of bool or None, as ``inner``
        Where the ring may lie: outside the whole photo's hole. None if there is no ring.
    """

    box: Box
    crop: Crop
    inner: Box
    around: Hole | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """What `Canvas.paste` takes."""

    box: Box
    values: Samples | NDArray[np.float32]
    weight: Weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """How an engine is called, for every piece of one fill.

    Attributes
    ----------
    spec : EngineSpec
    params : mapping
    seed : int
    feather_px : float
        Width of the ring over which a fill is blended into its surroundings.
    grey : bool
        The photo is grey: its fill must be too, whatever the engine makes.
    """

    spec: EngineSpec
    params: Mapping[str, Any]
    seed: int
    feather_px: float
    grey: bool


def cut(canvas: Canvas, region: Region, hole: Hole, source: Mask | None, feather_px: float) -> Piece:
    """Return the piece for ``region``; what earlier pieces filled is known by now.

    Parameters
    ----------
    canvas : Canvas
    region : Region
    hole : ndarray of bool, (H, W)
        The whole photo's hole.
    source : Mask or None
        Where may be copied from.
    feather_px : float
        Width of the ring over which the fill will be blended into its surroundings.
    """
    box = region.context_box
    unknown = _unknown(canvas, hole, box)
    while bool(unknown.all()):  # deep inside a hole: look farther for something known
        box = box.grown(max(box.size.width, box.size.height)).clipped(canvas.size)
        unknown = _unknown(canvas, hole, box)
    target = np.zeros_like(unknown)
    here = region.hole_box.inside(box).slices
    target[here] = unknown[here]
    allowed = ~unknown
    if source is not None:
        allowed &= source.fill[box.slices]
    frame = Frame(photo=canvas.size, box=box, fit=Fit.none(box.size))
    crop = Crop(pixels=canvas.crop(box), hole=unknown, target=target, source=allowed, frame=frame)
    inner = region.hole_box.grown(ceil(feather_px)).clipped(canvas.size)
    around = ~hole[inner.slices] if feather_px > 0 else None
    return Piece(box=box, crop=_frozen(crop), inner=inner.inside(box), around=around)


def _unknown(canvas: Canvas, hole: Hole, box: Box) -> Hole:
    """Return what of the hole in ``box`` is not filled yet; a filled pixel keeps nothing of the original."""
    return hole[box.slices] & (canvas.kept[box.slices] > 0)


def filled(session: Session, piece: Piece, call: Call, report: Report) -> Patch:
    """Fill a piece.

    Raises
    ------
    EngineFailed
        ``engine.crashed``, ``engine.contract``
    Unavailable
        ``memory.short``
    """
    crop = piece.crop
    values: Any = _made(session, piece, call, report)
    if values.dtype == np.uint8 and crop.pixels.dtype == np.uint16:
        values = values.astype(np.uint16) * np.uint16(257)
    values = _matched(values, piece, call)
    inner = piece.inner.slices
    values, target = values[inner].copy(), crop.target[inner]
    if crop.pixels.shape[2] == 4 and values.shape[2] == 3:
        # The engine knows no alpha: what it made is opaque.
        opaque = np.iinfo(crop.pixels.dtype).max
        alpha = np.where(target, opaque, crop.pixels[inner][..., 3])
        values = np.dstack((values, alpha.astype(values.dtype)))
    weight: Weight = target.copy()
    if piece.around is not None:
        # Each region blends outside the whole hole only: within it, its neighbours have their own share.
        ring = rim(target, grow_px=0, feather_px=call.feather_px).weight
        weight = np.where(target | piece.around, ring, np.float32(0))
    box = piece.inner.moved(piece.box.x0, piece.box.y0)
    return Patch(box=box, values=values, weight=weight)


def _made(session: Session, piece: Piece, call: Call, report: Report) -> Any:
    """Return a crop as the engine fills it, at the crop's size."""
    spec, crop = call.spec, piece.crop
    fitted = size_fit(Size.of(crop.pixels.shape), spec.size_rule)
    scale = fitted.scaled.width / fitted.size.width
    working = fitted.working
    shown = (fitted.scaled.width / working.width, fitted.scaled.height / working.height)
    report = Placed(report, piece.box, shown)
    if spec.good_px is None or scale > _SOFT:
        given = _as_engine_wants(crop, fitted, native_depth=spec.native_depth)
        answer: Any = _answer(session, given, call, report)
        return fitted.undo(answer)
    given = _as_engine_wants(crop, fitted, native_depth=False)
    small: Any = _answer(session, given, call, report)
    small = small[: fitted.scaled.height, : fitted.scaled.width]
    whole = _as_engine_wants(crop, Fit.none(fitted.size), native_depth=False)
    rng = np.random.default_rng((call.seed, 1, piece.box.x0, piece.box.y0))
    pixels: Any = whole.pixels
    detailed = with_detail(pixels, whole.hole, whole.target, small, rng=rng)
    return np.clip(np.rint(detailed), 0, 255).astype(np.uint8)


def _answer(session: Session, given: Crop, call: Call, report: Report) -> Samples:
    name = call.spec.name
    try:
        answer = session.run(given, call.params, call.seed, report)
    except ReknitError:
        raise
    except MemoryError as error:
        raise Unavailable(
            f"engine {name} ran out of memory on a crop of {Size.of(given.hole.shape)}",
            code="memory.short",
            hint="give --context a smaller value, or free memory",
            engine=name,
        ) from error
    except Exception as error:
        raise EngineFailed(
            f"engine {name} failed: {error!r}",
            code="engine.crashed",
            hint="this is a bug in the engine",
            engine=name,
        ) from error
    if answer.shape != given.pixels.shape or answer.dtype != given.pixels.dtype:
        raise EngineFailed(
            f"engine {name} returned {answer.shape} {answer.dtype} for a crop of "
            f"{given.pixels.shape} {given.pixels.dtype}",
            code="engine.contract",
            hint="this is a bug in the engine",
            engine=name,
        )
    return answer


def _as_engine_wants(crop: Crop, fitted: Fit, *, native_depth: bool) -> Crop:
    if native_depth and fitted.working == fitted.size:
        return crop
    pixels: Any = crop.pixels
    if not native_depth:
        pixels = np.ascontiguousarray(pixels[..., :3])
        if pixels.dtype == np.uint16:
            pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    hole = fitted.apply_hole(crop.hole)
    if bool(hole.all()):
        # Scaled down, each pixel covers some of the hole: give the means of what is known in each.
        pixels = pixels.copy()
        pixels[crop.hole] = pixels[~crop.hole].mean(axis=0).round()
        hole = ~fitted.apply_hole(~crop.hole)
    return _frozen(
        Crop(
            pixels=np.ascontiguousarray(fitted.apply(pixels)),
            hole=np.ascontiguousarray(hole),
            target=np.ascontiguousarray(fitted.apply_hole(crop.target) & hole),
            source=np.ascontiguousarray(~fitted.apply_hole(~crop.source) & ~hole),
            frame=None if crop.frame is None else replace(crop.frame, fit=fitted),
        )
    )


def _frozen(crop: Crop) -> Crop:
    for array in (crop.pixels, crop.hole, crop.target, crop.source):
        array.flags.writeable = False
    return crop


def _matched(values: Samples, piece: Piece, call: Call) -> Samples | NDArray[np.float32]:
    """Return what an engine made in the colours and grain of the surroundings, where it asks for that."""
    crop = piece.crop
    matched: Any = values
    if call.spec.match_rim:
        channels = values.shape[2]
        rng = np.random.default_rng((call.seed, piece.box.x0, piece.box.y0))
        near = piece.inner.grown(_MATCHED_PX).clipped(Size.of(crop.hole.shape)).slices
        matched = values.astype(np.float32)
        matched[near] = match_rim(
            values[near],
            crop.pixels[near][..., :channels],
            crop.target[near],
            unknown=crop.hole[near],
            rng=rng,
        )
    if call.grey and not has_equal_channels(matched):
        mean = matched[..., :3].mean(axis=2, dtype=np.float32)[..., None]
        grey = mean if matched.dtype == np.float32 else np.rint(mean).astype(matched.dtype)
        matched = np.concatenate((grey, grey, grey, matched[..., 3:]), axis=2)
    return matched


def has_equal_channels(pixels: Samples | NDArray[np.float32]) -> bool:
    """Return whether pixels (H, W, 3 or more) have no colour."""
    red, green, blue = (pixels[..., c] for c in range(3))
    return bool((red == green).all()) and bool((green == blue).all())
