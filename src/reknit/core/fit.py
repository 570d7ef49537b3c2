"""Crops at the size an engine wants, and exactly back.

An engine states a `SizeRule`; `Fit` scales a crop to it, keeping its shape, and pads the rest by reflection;
``undo`` takes the padding off and scales back. Pixel centres stay where they are, and where no scaling is
needed not one sample changes. Nothing here knows what an engine does with the crop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import InputError
from reknit.core.geometry import Box, Size, round_up

_T = TypeVar("_T", np.uint8, np.uint16, np.float32)
_STRIP_PX = 1 << 18  # pixels of one strip of output: what bounds the float temporaries


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRule:
    """Which crop sizes an engine takes.

    Attributes
    ----------
    multiple : int
        Width and height must be multiples of this.
    native_px : int or None
        The side at which a model works best; None for engines that work at any size.
    fixed : bool
        The engine takes only ``native_px × native_px``.
    max_px : int or None
        Longest side that the engine takes.
    areas : (int, int) or None
        The least and the most pixels of a crop, for models that were trained for an area rather than a side:
        both sides are scaled alike until it lies between.
    max_upscale : float
        How many times a crop is enlarged at the most.
    least_px : int
        Pictures with a side shorter than this are refused.
    """

    multiple: int = 1
    native_px: int | None = None
    fixed: bool = False
    max_px: int | None = None
    areas: tuple[int, int] | None = None
    max_upscale: float = 2.0
    least_px: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How a crop becomes what an engine takes: from ``size`` scaled to ``scaled``, padded to ``working``.

    Padding is at the right and the bottom.
    """

    size: Size
    scaled: Size
    working: Size

    def apply(self, pixels: NDArray[_T]) -> NDArray[_T]:
        """Return the crop (H, W, C) at the working size; the same array where nothing is to be done."""
        return self._padded(resampled(pixels, self.scaled))

    def apply_hole(self, hole: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a hole (H, W) at the working size; a pixel is in it if any part of what it covers is."""
        return self._padded(covered(hole, self.scaled))

    def undo(self, pixels: NDArray[_T]) -> NDArray[_T]:
        """Return pixels of the working size as a crop of the original ``size``."""
        if Size.of(pixels.shape) != self.working:
            raise ValueError(f"pixels of {Size.of(pixels.shape)} where {self.working} was asked for")
        return resampled(pixels[: self.scaled.height, : self.scaled.width], self.size)

    @staticmethod
    def none(size: Size) -> Fit:
        """Return the fit that changes nothing."""
        return Fit(size=size, scaled=size, working=size)

    def _padded(self, array: Any) -> Any:
        bottom, right = self.working.height - self.scaled.height, self.working.width - self.scaled.width
        if not bottom and not right:
            return array
        margins = ((0, bottom), (0, right), (0, 0))[: array.ndim]
        return np.pad(array, margins, mode="symmetric")


_SHAPE = 0.03
"""How much a picture's ratio of sides may differ from that of the photo it goes with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where a crop lies in its photo, and how it was fitted: so the same can be cut out of a picture that goes with it.

    Attributes
    ----------
    photo : Size
    box : Box
        In the photo.
    fit : Fit
        From the box to what an engine got.
    """

    photo: Size
    box: Box
    fit: Fit

    def cut(self, picture: NDArray[_T]) -> NDArray[_T]:
        """Return the crop of a picture (H, W, C) of the photo's view, at whatever size it has.

        Raises
        ------
        InputError
            ``image.shape``: it has not the photo's shape.
        """
        size = Size.of(picture.shape)
        if abs(size.width * self.photo.height / (size.height * self.photo.width) - 1) > _SHAPE:
            raise InputError(
                f"a picture of {size} does not lie over a photo of {self.photo}",
                code="image.shape",
                hint="give one with the photo's ratio of width to height",
            )
        return self.fit.apply(np.ascontiguousarray(resampled(picture, self.photo)[self.box.slices]))


def fit(size: Size, rule: SizeRule) -> Fit:
    """Return how a crop of ``size`` meets ``rule``.

    The longer side goes to ``native_px``, or the area to ``areas``, and the longer side under ``max_px``; both
    sides are scaled alike. What is then missing to ``multiple`` or to the fixed size is padded.
    """
    longer = max(size.width, size.height)
    scale = 1.0 if rule.native_px is None else rule.native_px / longer
    if rule.areas is not None:
        least, most = rule.areas
        scale = (min(max(size.area, least), most) / size.area) ** 0.5
    scale = min(scale, max(rule.max_upscale, 1.0))
    if rule.max_px is not None:
        scale = min(scale, rule.max_px // rule.multiple * rule.multiple / longer)
    scaled = Size(width=max(1, round(size.width * scale)), height=max(1, round(size.height * scale)))
    if rule.fixed and rule.native_px is not None:
        working = Size(width=rule.native_px, height=rule.native_px)
    else:
        working = Size(
            width=round_up(scaled.width, rule.multiple), height=round_up(scaled.height, rule.multiple)
        )
    return Fit(size=size, scaled=scaled, working=working)


def resampled(pixels: NDArray[_T], size: Size) -> NDArray[_T]:
    """Return pixels (H, W, C) at ``size``; the same array if that is its size.

    Each axis is averaged by area when it shrinks and interpolated by Catmull–Rom cubics when it grows
    (Keys, doi:10.1109/TASSP.1981.1163711). Borders are repeated. Integers are rounded and clipped.
    """
    old = Size.of(pixels.shape)
    if old == size:
        return pixels
    rows, row_weights = _taps(old.height, size.height)
    columns, column_weights = _taps(old.width, size.width)
    out = np.empty((size.height, size.width, *pixels.shape[2:]), pixels.dtype)
    step = max(1, _STRIP_PX // max(old.width, size.width))
    for y in range(0, size.height, step):
        here = slice(y, min(size.height, y + step))
        first, last = int(rows[here].min()), int(rows[here].max())
        strip = pixels[first : last + 1].astype(np.float32)
        tall = _combined(strip, rows[here] - first, row_weights[here], 0)
        values = _combined(tall, columns, column_weights, 1)
        if out.dtype.kind == "u":
            np.clip(np.rint(values), 0, 256**out.itemsize - 1, out=values)
        out[here] = values
    return out


def covering(pixels: NDArray[_T], size: Size) -> NDArray[_T]:
    """Return pixels (H, W, C) scaled to cover ``size``, and what stands over cut off on both sides.

    They are cut before they are scaled, so that nothing is ever larger than what is asked for.
    """
    old = Size.of(pixels.shape)
    wide, tall = old.width * size.height, old.height * size.width
    width = old.width if wide <= tall else max(1, round(tall / size.height))
    height = old.height if tall <= wide else max(1, round(wide / size.width))
    left, top = (old.width - width) // 2, (old.height - height) // 2
    return resampled(np.ascontiguousarray(pixels[top : top + height, left : left + width]), size)


def covered(hole: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """Return a bool picture at ``size``: True where any part of what a pixel covers is True."""
    old = Size.of(hole.shape)
    if old == size:
        return hole
    sums = np.zeros((old.height + 1, old.width + 1), np.int64)
    np.cumsum(np.cumsum(hole, axis=0, dtype=np.int64), axis=1, out=sums[1:, 1:])
    (y0, y1), (x0, x1) = _spans(old.height, size.height), _spans(old.width, size.width)
    top, bottom = sums[y0], sums[y1]
    return (bottom[:, x1] - bottom[:, x0] - top[:, x1] + top[:, x0]) > 0


def _spans(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and the end pixel that each of ``new`` pixels covers at least partly."""
    i = np.arange(new, dtype=np.int64)
    return i * old // new, -(-(i + 1) * old // new)


def _taps(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the pixels (new, K) and their weights (new, K) that make each of ``new`` pixels from ``old``."""
    if new <= old:
        start, end = _spans(old, new)
        index = start[:, None] + np.arange(int((end - start).max()))
        edges = np.arange(new + 1, dtype=np.float64)[:, None] * (old / new)
        weight = np.minimum(index + 1, edges[1:]) - np.maximum(index, edges[:-1])
        weight = np.maximum(weight, 0)
        weight *= 1 + _tilt(index.astype(np.float64) + 0.5, weight, (edges[1:] + edges[:-1]) / 2)
    else:
        centre = (np.arange(new) + 0.5) * (old / new) - 0.5
        base = np.floor(centre).astype(np.int64)
        index = base[:, None] + np.arange(-1, 3)
        d = np.abs(centre[:, None] - index)
        near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
        weight = np.where(d <= 1, near, np.where(d < 2, far, 0.0))
    weight = weight / weight.sum(axis=1, keepdims=True)
    return np.clip(index, 0, old - 1), weight.astype(np.float32)


def _tilt(
    place: NDArray[np.float64], weight: NDArray[np.float64], centre: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the relative change of weights that brings their centres of mass to ``centre``.

    Pixels are averaged as if each had one colour, which moves a ramp by up to an eighth of a pixel.
    """
    total = weight.sum(axis=1, keepdims=True)
    middle = (weight * place).sum(axis=1, keepdims=True) / total
    spread = (weight * (place - middle) ** 2).sum(axis=1, keepdims=True) / total
    slope = np.divide(centre - middle, spread, out=np.zeros_like(spread), where=spread > 1e-9)
    return slope * (place - middle)


def _combined(
    values: NDArray[np.float32], index: NDArray[np.int64], weight: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    """Return the weighted sums of ``values`` along ``axis``, taps in order."""
    shape = [1] * values.ndim
    shape[axis] = len(index)
    total = np.take(values, index[:, 0], axis=axis) * weight[:, 0].reshape(shape)
    for k in range(1, index.shape[1]):
        total += np.take(values, index[:, k], axis=axis) * weight[:, k].reshape(shape)
    return total
