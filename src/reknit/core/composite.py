"""How a fill gets back into its photo, for every engine: a `Canvas`, a `Rim`, and a proof.

The hole is grown and feathered outward, so nothing of what was removed shows through inside it; a fill is
blended in float and written only where its weight is above 0; and at the end every other sample is compared
with the original. Nothing here knows which engine made a fill; matching its colour and grain is
`core.match`'s work.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit import _native
from reknit.core.geometry import Box, Size
from reknit.core.image import Samples
from reknit.core.mask import Mask, falloff

Weights = NDArray[np.float32] | NDArray[np.bool_]
_UNTOUCHED = 255  # in `Canvas.kept`
_CELL_PX, _NEAR_PX = 64, 8  # distances are measured cell by cell, with this much around at first
_REACH_PX = 64  # how far from the mask a touched pixel's distance is measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Rim:
    """The grown hole of a crop and the weights with which a fill is blended in.

    Attributes
    ----------
    hole : ndarray of bool, (H, W)
        The mask and every pixel within ``grow_px`` of it.
    weight : ndarray of float32, (H, W)
        1 in the hole, falling smoothly over ``feather_px`` outside it, exactly 0 beyond.
    """

    hole: NDArray[np.bool_]
    weight: NDArray[np.float32]


def rim(mask: NDArray[np.bool_], *, grow_px: float = 2, feather_px: float = 0) -> Rim:
    """Return the rim of a mask (H, W), True = fill.

    A crop gives the same values as the whole picture wherever it holds the surroundings of
    ``grow_px + feather_px`` pixels.
    """
    hole = np.zeros(mask.shape, np.bool_)
    weight = np.zeros(mask.shape, np.float32)
    box = Mask.from_bool(mask).box
    if box is not None:
        window = box.grown(ceil(grow_px + feather_px)).clipped(Size.of(mask.shape)).slices
        distance = _native.distance_transform(mask[window])
        hole[window] = distance <= grow_px
        weight[window] = hole[window]
        if feather_px > 0:
            weight[window] = falloff(distance - np.float32(grow_px), feather_px)
    return Rim(hole=hole, weight=weight)


class Canvas:
    """A photo that is being filled, and a record of what was touched.

    Parameters
    ----------
    pixels : ndarray, (H, W, C), uint8 or uint16
        The original; it is copied, never changed.
    alpha : ndarray or None, (H, W), same dtype

    Attributes
    ----------
    pixels, alpha : ndarray
        The picture so far; change it only by `paste`.
    kept : ndarray of uint8, (H, W)
        The share of the original left in each pixel: 255 = untouched, 0 = nothing; shares between are
        rounded up, but a touched pixel has at most 254.
    """

    __slots__ = ("_alpha_before", "_before", "alpha", "kept", "pixels")

    def __init__(self, pixels: Samples, alpha: Samples | None = None) -> None:
        self._before = pixels
        self._alpha_before = alpha
        self.pixels = pixels.copy()
        self.alpha = None if alpha is None else alpha.copy()
        self.kept = np.full(pixels.shape[:2], _UNTOUCHED, np.uint8)

    @property
    def size(self) -> Size:
        """Width and height."""
        return Size.of(self.pixels.shape)

    def crop(self, box: Box) -> Samples:
        """Return a read-only, C-contiguous copy of ``box``; alpha, if there is any, is its last channel."""
        planes: list[NDArray[Any]] = [self.pixels[box.slices]]
        if self.alpha is not None:
            planes.append(self.alpha[box.slices][..., None])
        crop = np.concatenate(planes, axis=2)
        crop.flags.writeable = False
        return crop

    def paste(self, box: Box, filled: Samples | NDArray[np.float32], weight: Weights) -> None:
        """Blend ``filled`` into ``box``.

        Parameters
        ----------
        box : Box
            Inside the picture.
        filled : ndarray, (h, w, C) or (h, w, C + 1)
            On the scale of the canvas, its dtype or float32; with one channel more than the pixels if it
            brings alpha, else alpha stays. Floats are rounded and clipped.
        weight : ndarray of float32 or bool, (h, w)
            Share of the fill. Where it is 1 the result is the fill, where it is 0 nothing is written.
        """
        touched = Mask(fill=np.greater(weight, 0)).box
        if touched is None:
            return
        inner = touched.moved(box.x0, box.y0).slices
        filled, weight = filled[touched.slices], weight[touched.slices]
        channels = self.pixels.shape[2]
        _blend(self.pixels[inner], filled[..., :channels], weight)
        if self.alpha is not None and filled.shape[2] > channels:
            _blend(self.alpha[inner][..., None], filled[..., channels:], weight)
        kept = self.kept[inner]
        if weight.dtype == np.bool_:
            kept[weight.astype(np.bool_, copy=False)] = 0
            return
        left = np.ceil(kept * (1 - weight.astype(np.float32)))
        kept[...] = np.where(weight > 0, np.minimum(left, _UNTOUCHED - 1), kept)

    def proof(self, mask: Mask, *, threads: int = 1) -> Proof:
        """Compare the canvas with the original and say what was touched around ``mask``."""
        return verify(
            self._before, self.pixels, self._alpha_before, self.alpha, self.kept, mask, threads=threads
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a comparison of the result with the original found.

    Attributes
    ----------
    outside_equal : bool
        Every sample of every untouched pixel equals the original's.
    differing_px : int
        Untouched pixels that differ; 0 if ``outside_equal``.
    touched_px : int
        Pixels written at all.
    ring_px : float
        How far from the mask the farthest touched pixel lies (at most 64: beyond that, 64).
    max_residue : float
        Largest share of the original left in a pixel of the mask: 0 = nothing shows through.
    """

    outside_equal: bool
    differing_px: int
    touched_px: int
    ring_px: float
    max_residue: float


def verify(
    before: Samples,
    after: Samples,
    alpha_before: Samples | None,
    alpha_after: Samples | None,
    kept: NDArray[np.uint8],
    mask: Mask,
    *,
    threads: int = 1,
) -> Proof:
    """Return the proof for a filled picture.

    Parameters
    ----------
    before, after : ndarray, (H, W, C), uint8 or uint16
    alpha_before, alpha_after : ndarray or None, (H, W)
    kept : ndarray of uint8, (H, W)
        255 where nothing may differ; else the share of the original left, as in `Canvas`.
    mask : Mask
        What the user asked to fill.
    threads : int

    Notes
    -----
    One pass over both pictures; everything else costs as the touched part does.
    """
    differing = _differing(before, after, kept, threads)
    if alpha_before is not None or alpha_after is not None:
        if alpha_before is None or alpha_after is None:
            raise ValueError("alpha before and after do not match")
        differing = max(differing, _differing(alpha_before, alpha_after, kept, threads))
    touched = kept != _UNTOUCHED
    box = mask.box
    residue = 0 if box is None else int((kept[box.slices] * mask.fill[box.slices]).max())
    return Proof(
        outside_equal=differing == 0,
        differing_px=differing,
        touched_px=int(np.count_nonzero(touched)),
        ring_px=_ring_px(touched, mask.fill),
        max_residue=residue / 255,
    )


def _differing(before: Samples, after: Samples, kept: NDArray[np.uint8], threads: int) -> int:
    if before.shape != after.shape or before.dtype != after.dtype or before.shape[:2] != kept.shape:
        raise ValueError(f"{before.shape} {before.dtype} and {after.shape} {after.dtype} do not match")
    return _native.differences_where_kept(_bytes(before), _bytes(after), _bytes(kept), threads)


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _ring_px(touched: NDArray[np.bool_], fill: NDArray[np.bool_]) -> float:
    size = Size.of(fill.shape)
    widest = 0.0
    for x0, y0, x1, y1, _ in _native.occupied_cells(touched, _CELL_PX).tolist():
        box = Box(x0=x0, y0=y0, x1=x1, y1=y1)
        ring = touched[box.slices] & ~fill[box.slices]
        if not bool(ring.any()):
            continue
        farthest = float("inf")
        for reach in (_NEAR_PX, _REACH_PX):
            if farthest > _NEAR_PX:  # else the nearer look was exact
                window = box.grown(reach).clipped(size)
                distance = _native.distance_transform(fill[window.slices])[box.inside(window).slices]
                farthest = float(distance[ring].max())
        widest = max(widest, min(farthest, float(_REACH_PX)))
    return widest


def _blend(
    canvas: Samples,
    filled: Samples | NDArray[np.float32],
    weight: Weights,
) -> None:
    """Blend in strips, so that float temporaries stay small; copy where there is nothing to blend."""
    if weight.dtype == np.bool_ and filled.dtype == canvas.dtype:
        for channel in range(canvas.shape[2]):  # a tenth of what indexing with a mask costs
            np.copyto(canvas[..., channel], filled[..., channel], where=weight.astype(np.bool_, copy=False))
        return
    top = np.iinfo(canvas.dtype).max
    step = max(1, (1 << 18) // canvas.shape[1])
    for y in range(0, len(canvas), step):
        here = slice(y, y + step)
        w = weight[here][..., None].astype(np.float64)
        old = canvas[here]
        mixed = old + (filled[here] - old.astype(np.float64)) * w
        np.clip(np.rint(mixed), 0, top, out=mixed)
        canvas[here] = np.where(w > 0, mixed, old).astype(canvas.dtype)
