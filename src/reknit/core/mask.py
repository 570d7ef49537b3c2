"""`Mask`: which pixels to fill, and nothing else.

True means fill. A mask is built only by a constructor that names the polarity of what it was given, so the
polarity is never guessed. Softness is not part of a mask: `softness_from_luma` and `feather` give float
arrays for those who want it. Nothing here knows a file, a photo's colours or an engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit import _native
from reknit.core.errors import InputError
from reknit.core.fit import resampled
from reknit.core.geometry import Box, Size

Bools = NDArray[np.bool_]
_STRIP_ROWS = 64  # of one pass over a large picture
_CELL_PX = 128  # windows of grow and shrink: work is done only around the hole


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """An 8-connected part of a mask: its tight box and its number of pixels."""

    box: Box
    area: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mask:
    """Which pixels of a photo to fill.

    Attributes
    ----------
    fill : ndarray of bool, (H, W)
        True = fill. C-contiguous, read-only.
    """

    fill: Bools

    def __post_init__(self) -> None:
        fill = self.fill
        if fill.ndim != 2 or fill.dtype != np.bool_ or 0 in fill.shape or not fill.flags.c_contiguous:
            raise ValueError(f"fill must be a C-contiguous (H, W) bool array, not {fill.shape} {fill.dtype}")
        fill.flags.writeable = False

    def __repr__(self) -> str:
        height, width = self.fill.shape
        return f"<Mask {width}×{height}, {int(self.fill.sum()):,} px to fill>"

    @staticmethod
    def from_bool(fill: Bools) -> Mask:
        """Return the mask of a bool array, True = fill; the array is copied."""
        if fill.dtype != np.bool_:
            raise _unusable(fill, "a bool array")
        return Mask(fill=_plane(fill).copy())

    @staticmethod
    def from_luma(picture: NDArray[Any], *, threshold: int = 127) -> Mask:
        """Return the mask of a black-and-white picture, white = fill.

        Parameters
        ----------
        picture : ndarray, (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, uint16 or bool
            A fourth channel (opacity) is ignored. Colours count by their Rec. 601 luma.
        threshold : int
            On the scale 0 to 255; a luma above it is filled. The noise that JPEG puts near 0 and 255
            stays on its side.
        """
        return Mask(fill=np.ascontiguousarray(_luma(picture) > threshold))

    @staticmethod
    def from_alpha(alpha: NDArray[Any], *, threshold: int = 127) -> Mask:
        """Return the mask of an opacity plane (H, W), uint8 or uint16, transparent = fill."""
        return Mask(fill=np.ascontiguousarray(_luma(_plane(alpha)) <= threshold))

    @staticmethod
    def from_unit(strength: NDArray[np.floating[Any]]) -> Mask:
        """Return the mask of a float plane (H, W) in 0…1, 1 = fill; above one half is filled."""
        if not np.issubdtype(strength.dtype, np.floating):
            raise _unusable(strength, "a float array from 0 to 1")
        plane = _plane(strength)
        if not bool(((plane >= 0) & (plane <= 1)).all()):
            raise _unusable(strength, "a float array from 0 to 1")
        return Mask(fill=np.ascontiguousarray(plane > 0.5))

    @staticmethod
    def from_boxes(size: Size, boxes: Sequence[Box]) -> Mask:
        """Return the mask that fills ``boxes``, clipped to a picture of ``size``."""
        fill = np.zeros(size.shape, np.bool_)
        whole = Box.whole(size)
        for box in boxes:
            if box.intersects(whole):
                fill[box.clipped(size).slices] = True
        return Mask(fill=fill)

    @staticmethod
    def from_polygons(size: Size, polygons: Sequence[Sequence[tuple[float, float]]]) -> Mask:
        """Return the mask that fills the pixels whose centres lie inside the polygons, by the even-odd rule.

        Parameters
        ----------
        size : Size
        polygons : sequence of sequences of (x, y)
            Corners in pixels; (0, 0) is the picture's top left corner, (0.5, 0.5) the first pixel's centre.
            All outlines are taken together, so one inside another makes a gap.
        """
        return Mask(fill=_filled(size, polygons))

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        return Size.of(self.fill.shape)

    @property
    def area(self) -> int:
        """Number of pixels to fill."""
        return int(np.count_nonzero(self.fill))

    @property
    def coverage(self) -> float:
        """Share of the picture to fill, 0 to 1."""
        return self.area / self.size.area

    @property
    def box(self) -> Box | None:
        """The smallest box that holds every pixel to fill; None if there is none."""
        cells = _native.occupied_cells(self.fill, max(self.fill.shape))
        if not len(cells):
            return None
        x0, y0, x1, y1, _ = cells[0].tolist()
        return Box(x0=x0, y0=y0, x1=x1, y1=y1)

    def components(self) -> tuple[Component, ...]:
        """Return the 8-connected parts, in raster order of their first pixels."""
        rows = _native.components(self.fill).tolist()
        return tuple(Component(box=Box(x0=a, y0=b, x1=c, y1=d), area=n) for a, b, c, d, n in rows)

    def check_against(self, size: Size) -> None:
        """Raise `InputError` unless this mask fits a photo of ``size`` and leaves something to do.

        Raises
        ------
        InputError
            ``mask.size``, ``mask.empty`` or ``mask.full``.
        """
        self.check_size(size)
        area = self.area
        if area == 0:
            raise InputError(
                "the mask has no white: there is nothing to fill",
                code="mask.empty",
                hint="paint what to fill in white; --invert if black means fill, --mask-from alpha for transparency",
            )
        if area == size.area:
            raise InputError(
                "the mask is all white: there is nothing left to fill from",
                code="mask.full",
                hint="leave what to keep in black; use --invert if white means keep",
            )

    def check_size(self, size: Size) -> None:
        """Raise `InputError` (``mask.size``) unless this mask has a photo's size."""
        if self.size != size:
            raise InputError(
                f"the mask is {self.size} and the photo is {size}",
                code="mask.size",
                hint="give a mask of the photo's size, or --resize-mask to stretch it",
                mask=[self.size.width, self.size.height],
                photo=[size.width, size.height],
            )

    def inverted(self) -> Mask:
        """Return the mask of all other pixels."""
        return Mask(fill=~self.fill)

    def united(self, other: Mask) -> Mask:
        """Return the mask of pixels in either."""
        return Mask(fill=self.fill | self._same_size(other))

    def intersected(self, other: Mask) -> Mask:
        """Return the mask of pixels in both."""
        return Mask(fill=self.fill & self._same_size(other))

    def without(self, other: Mask) -> Mask:
        """Return the mask of pixels in this and not in ``other``."""
        return Mask(fill=self.fill & ~self._same_size(other))

    def grown(self, px: float) -> Mask:
        """Return the mask with every pixel within ``px`` (Euclidean, centre to centre) of this one.

        The cost follows the size of the hole's surroundings, not of the picture.
        """
        fill = self.fill.copy()
        for _, window in _windows(self.fill, px):
            near = self.fill[window.slices]
            if not bool(near.all()):
                fill[window.slices] |= _native.distance_transform(near) <= px
        return Mask(fill=fill)

    def shrunk(self, px: float) -> Mask:
        """Return the mask without the pixels within ``px`` of one to keep.

        The picture's border does not shrink it.
        """
        fill = self.fill.copy()
        for cell, window in _windows(self.fill, px):
            keep = _native.distance_transform(~self.fill[window.slices]) > px
            fill[cell.slices] &= keep[cell.inside(window).slices]
        return Mask(fill=fill)

    def is_thicker_than(self, px: float) -> bool:
        """Whether a disc of ``px`` diameter fits into the mask somewhere; stops at the first place."""
        for cell, window in _windows(self.fill, px / 2):
            deep = _native.distance_transform(~self.fill[window.slices]) > px / 2
            if bool((deep & self.fill[window.slices])[cell.inside(window).slices].any()):
                return True
        return False

    def resized(self, size: Size) -> Mask:
        """Return the mask stretched to ``size``; a pixel is filled when half of what it covers is."""
        if size == self.size:
            return self
        unit = resampled(self.fill.astype(np.uint8)[..., None] * np.uint8(255), size)[..., 0]
        return Mask(fill=np.ascontiguousarray(unit >= 128))

    def _same_size(self, other: Mask) -> Bools:
        if other.size != self.size:
            raise InputError(
                f"masks of {self.size} and {other.size}", code="mask.size", hint="use Mask.resized"
            )
        return other.fill


def softness_from_luma(picture: NDArray[Any], *, snap: float = 0.03) -> NDArray[np.float32]:
    """Return how strongly each pixel is to be filled, (H, W) float32 in 0…1, from a grey mask, white = 1.

    Values within ``snap`` of 0 and 1 become exactly 0 and 1, so that JPEG noise is not softness.
    """
    unit = _luma(picture).astype(np.float32) / np.float32(255)
    unit[unit <= snap] = 0
    unit[unit >= 1 - snap] = 1
    return unit


def feather(mask: Mask, px: float) -> NDArray[np.float32]:
    """Return weights (H, W) float32: 1 on the mask, falling smoothly to 0 over ``px`` pixels outside it."""
    weight = mask.fill.astype(np.float32)
    for _, window in _windows(mask.fill, px):
        found = falloff(_native.distance_transform(mask.fill[window.slices]), px)
        np.maximum(weight[window.slices], found, out=weight[window.slices])
    return weight


def falloff(distance: NDArray[np.float32], px: float) -> NDArray[np.float32]:
    """Return the smooth step from 1 at ``distance <= 0`` to exactly 0 beyond ``px``."""
    t = np.clip(distance / np.float32(px + 1), 0, 1)
    weight = 1 - t * t * (3 - 2 * t)
    weight[distance > px] = 0
    return weight.astype(np.float32, copy=False)


def _windows(fill: Bools, px: float) -> list[tuple[Box, Box]]:
    """Return the tight boxes of occupied cells, each with its surroundings of ``px`` inside the picture."""
    if px < 0:
        raise ValueError(f"a distance cannot be negative: {px}")
    size = Size.of(fill.shape)
    cells = _native.occupied_cells(fill, max(_CELL_PX, 2 * ceil(px))).tolist()
    boxes = [Box(x0=a, y0=b, x1=c, y1=d) for a, b, c, d, _ in cells]
    return [(box, box.grown(ceil(px)).clipped(size)) for box in boxes]


def _plane(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 or 0 in array.shape:
        raise _unusable(array, "one plane, (height, width)")
    return array


def _luma(picture: NDArray[Any]) -> NDArray[Any]:
    """Return (H, W) uint8 luma of a grey or colour picture of 8 or 16 bits, or of a bool plane."""
    if picture.dtype.name not in ("uint8", "uint16", "bool"):
        raise _unusable(picture, "uint8, uint16 or bool samples; use from_unit for floats")
    colour = picture.ndim == 3 and picture.shape[2] in (3, 4) and 0 not in picture.shape
    planes = picture if colour else _plane(picture)
    if not colour and planes.dtype == np.uint8:
        return planes
    luma = np.empty(planes.shape[:2], np.uint8)
    for y in range(0, len(luma), _STRIP_ROWS):
        strip = planes[y : y + _STRIP_ROWS]
        if strip.dtype == np.bool_:
            strip = strip * np.uint8(255)
        elif strip.dtype == np.uint16:
            strip = (strip.astype(np.uint32) * 255 + 32767) // 65535
        if colour:
            r, g, b = (strip[..., i].astype(np.uint16) for i in range(3))
            strip = (r * 77 + g * 150 + b * 29 + 128) >> 8  # 65535 at most
        luma[y : y + _STRIP_ROWS] = strip
    return luma


def _unusable(array: NDArray[Any], wanted: str) -> InputError:
    return InputError(
        f"a mask cannot be made of {array.dtype} values of shape {array.shape}",
        code="mask.array",
        hint=f"give {wanted}",
    )


def _filled(size: Size, polygons: Sequence[Sequence[tuple[float, float]]]) -> Bools:
    """Return the pixels whose centres have an odd number of edges to their left."""
    toggles = np.zeros((size.height, size.width + 1), np.bool_)
    for corners in polygons:
        points = np.asarray(corners, np.float64)
        if points.ndim != 2 or points.shape[0] < 3 or points.shape[1] != 2 or not np.isfinite(points).all():
            raise InputError(
                "a polygon needs at least three finite (x, y) corners",
                code="mask.polygon",
                hint="give x,y pairs",
            )
        for (ax, ay), (bx, by) in zip(points.tolist(), np.roll(points, -1, axis=0).tolist(), strict=True):
            if ay > by:
                ax, ay, bx, by = bx, by, ax, ay
            # Rows whose centres y + 0.5 lie in [ay, by).
            first, end = (min(max(ceil(y - 0.5), 0), size.height) for y in (ay, by))
            if first >= end:
                continue
            rows = np.arange(first, end, dtype=np.int64)
            x = ax + (rows + 0.5 - ay) * ((bx - ax) / (by - ay))
            columns = np.clip(np.ceil(x - 0.5), 0, size.width).astype(np.int64)
            toggles[rows, columns] ^= True
    return np.ascontiguousarray(np.logical_xor.accumulate(toggles, axis=1)[:, :-1])
