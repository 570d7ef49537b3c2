"""Selections from little: one point and a tolerance (wand), a box or some scribbles (GrabCut).

All answers come fast enough to be interactive, at any size of picture: GrabCut looks at a small view first,
corrects its edge in a larger one, and the edge is then fitted to the photo's own pixels by a guided filter.
Nothing is learned and nothing is loaded; `pipeline.segment` uses models. It knows no files and no HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import InputError
from reknit.core.geometry import Box, Size
from reknit.core.image import Photo
from reknit.core.mask import Bools

Point = tuple[float, float]
Stroke = Sequence[Point]
Plane = NDArray[np.uint8]
Colours = NDArray[np.float32]

COARSE_PX = 30_000
FINE_PX = 130_000
_TILE_PX = 128
_NO, _YES, _MAYBE_NOT, _MAYBE = 0, 1, 2, 3  # OpenCV's names for them: BGD, FGD, PR_BGD, PR_FGD


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Selection:
    """What was selected.

    Attributes
    ----------
    fill : ndarray of bool, (h, w)
        True = selected, within ``box``.
    box : Box
        The smallest box that holds the selection.
    """

    fill: Bools
    box: Box

    @property
    def area(self) -> int:
        """Number of selected pixels."""
        return int(np.count_nonzero(self.fill))

    @staticmethod
    def of(fill: Bools, at: Box) -> Selection:
        """Return the selection of a bool plane that lies at ``at``.

        Raises
        ------
        InputError
            ``select.nothing``: nothing is selected.
        """
        import cv2

        x, y, width, height = cv2.boundingRect(fill.view(np.uint8))
        if not width:
            raise InputError(
                "nothing was found to select",
                code="select.nothing",
                hint="mark a little more of it, or draw a looser box",
            )
        inner = Box(x0=x, y0=y, x1=x + width, y1=y + height)
        return Selection(fill=np.ascontiguousarray(fill[inner.slices]), box=inner.moved(at.x0, at.y0))


def wand(photo: Photo, point: Point, *, tolerance: int = 32, contiguous: bool = True) -> Selection:
    """Select pixels of the colour at a point.

    Parameters
    ----------
    photo : Photo
    point : (x, y)
        In pixels; any place inside the picture.
    tolerance : int
        Greatest difference in each channel, alpha included, on a scale from 0 to 255.
    contiguous : bool
        Only pixels that hang together with the point, by their sides.

    Raises
    ------
    InputError
        ``select.point``, ``select.tolerance``
    """
    cv2 = _opencv()
    if not 0 <= tolerance <= 255:
        raise InputError(
            f"a tolerance is 0 to 255, not {tolerance}", code="select.tolerance", hint="32 is a good value"
        )
    x, y = _inside(point, photo.size)
    reach = tolerance * (257 if photo.bits == 16 else 1)
    seed = photo.pixels[y, x].astype(np.int64)
    near: Any = cv2.inRange(photo.pixels, (*(seed - reach).tolist(), 0), (*(seed + reach).tolist(), 0))
    if photo.alpha is not None:
        opacity = int(photo.alpha[y, x])
        near &= cv2.inRange(photo.alpha, (opacity - reach, 0, 0, 0), (opacity + reach, 0, 0, 0))
    if contiguous:
        found = np.zeros((near.shape[0] + 2, near.shape[1] + 2), np.uint8)
        cv2.floodFill(near, found, (x, y), 0, flags=4 | cv2.FLOODFILL_MASK_ONLY | (1 << 8))
        near = found[1:-1, 1:-1]
    else:
        near >>= 7
    return Selection.of(np.ascontiguousarray(near).view(np.bool_), Box.whole(photo.size))


def smart_box(photo: Photo, box: Box) -> Selection:
    """Select the thing in a box by GrabCut: what differs from the surroundings of the box.

    Source: Rother, Kolmogorov, Blake, "GrabCut", SIGGRAPH 2004, doi:10.1145/1015706.1015720.

    Raises
    ------
    InputError
        ``select.box``, ``select.nothing``
    """
    box = _box_inside(box, photo.size)
    margin = max(8, round(0.2 * max(box.size.shape)))
    view = box.grown(margin).clipped(photo.size)
    return _grabbed(photo, view, _Marks(box=box))


def smart_scribble(
    photo: Photo,
    foreground: Sequence[Stroke],
    background: Sequence[Stroke] = (),
    box: Box | None = None,
) -> Selection:
    """Select the thing that was scribbled on, by GrabCut.

    Parameters
    ----------
    photo : Photo
    foreground, background : sequences of strokes
        Each a sequence of (x, y): places on the thing, and places that are not.
    box : Box, optional
        The thing lies inside it.

    Raises
    ------
    InputError
        ``select.point``, ``select.box``, ``select.nothing``
    """
    marks = _Marks(
        box=None if box is None else _box_inside(box, photo.size),
        foreground=_strokes_inside(foreground, photo.size),
        background=_strokes_inside(background, photo.size),
    )
    if not marks.foreground:
        raise InputError(
            "there is no stroke on what is to be selected", code="select.point", hint="scribble on the thing"
        )
    if marks.box is not None:
        view = marks.box.grown(max(8, round(0.2 * max(marks.box.size.shape)))).clipped(photo.size)
        return _grabbed(photo, view, marks)
    whole = Box.whole(photo.size)
    points = np.concatenate([np.asarray(stroke) for stroke in marks.foreground])
    (x0, y0), (x1, y1) = points.min(0).tolist(), points.max(0).tolist()
    reach = round(max(1.0 * (x1 - x0), 1.0 * (y1 - y0), 0.15 * max(photo.size.shape), 32))
    view = Box(x0=int(x0) - reach, y0=int(y0) - reach, x1=int(x1) + reach + 1, y1=int(y1) + reach + 1)
    view = view.clipped(photo.size)
    found = _grabbed(photo, view, marks)
    if view != whole and _leaves(found.box, view, whole):
        found = _grabbed(photo, whole, marks)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Marks:
    """What the user said, in the photo's pixels."""

    box: Box | None = None
    foreground: tuple[NDArray[np.float64], ...] = ()
    background: tuple[NDArray[np.float64], ...] = ()

    def drawn(self, view: Box, size: Size) -> Plane:
        """Return a trimap of ``size`` over ``view``: what is sure, and guesses for the rest."""
        trimap = np.full(size.shape, _MAYBE_NOT, np.uint8)
        scale = np.array([size.width / view.size.width, size.height / view.size.height])
        if self.box is not None:
            corners = np.array([[self.box.x0, self.box.y0], [self.box.x1, self.box.y1]])
            (x0, y0), (x1, y1) = np.rint((corners - (view.x0, view.y0)) * scale).astype(int).tolist()
            trimap[:] = _NO
            trimap[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = _MAYBE_NOT if self.foreground else _MAYBE
        self.press(trimap, view)
        return trimap

    def press(self, trimap: Plane, view: Box) -> None:
        """Draw the strokes into a trimap over ``view``; what was scribbled is sure."""
        import cv2

        height, width = trimap.shape
        scale = np.array([width / view.size.width, height / view.size.height])
        radius = max(1, round(0.008 * max(width, height)))
        for strokes, value in ((self.foreground, _YES), (self.background, _NO)):
            for stroke in strokes:
                points = np.floor((stroke - (view.x0, view.y0)) * scale).astype(np.int32)
                cv2.polylines(trimap, [points.reshape(-1, 1, 2)], False, value, 2 * radius)
                cv2.circle(trimap, points[0].tolist(), radius, value, -1)


def _grabbed(photo: Photo, view: Box, marks: _Marks) -> Selection:
    """Run GrabCut on small versions of ``view`` and fit what it finds to the photo's pixels."""
    cv2 = _opencv()
    fine_size = _within(view.size, FINE_PX)
    fine = scaled(photo, view, fine_size)
    size = _within(view.size, COARSE_PX)
    small = (
        fine
        if size == fine_size
        else cv2.resize(fine, (size.width, size.height), interpolation=cv2.INTER_AREA)
    )
    start = marks.drawn(view, size)
    if not _has_both(start):
        edge = np.ones(size.shape, np.bool_)
        edge[1:-1, 1:-1] = False
        start[edge & (start == _MAYBE)] = _NO
    if not _has_both(start):
        return Selection.of((start == _YES) | (start == _MAYBE), view)
    trimap, models = _cut(small, start)
    sure = np.count_nonzero(start == _YES)
    if np.count_nonzero(trimap & 1) < 2 * sure:  # little but the strokes: begin with what has their colours
        start[_alike(small, start) & (start == _MAYBE_NOT)] = _MAYBE
        trimap, models = _cut(small, start)
    if fine_size != size:
        trimap = _edge_open(trimap, fine_size)
        marks.press(trimap, view)
        if _has_both(trimap):
            cv2.grabCut(fine, trimap, (0, 0, 1, 1), *models, 1, cv2.GC_EVAL_FREEZE_MODEL)
    found = _tidied((trimap & 1).astype(np.uint8), marks, view)
    return Selection.of(fitted(photo, view, fine, found), view)


def _cut(picture: Plane, start: Plane) -> tuple[Plane, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return GrabCut's trimap and colour models of ground and thing, from a first guess."""
    cv2 = _opencv()
    trimap, ground, thing = start.copy(), np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(1)
    cv2.grabCut(picture, trimap, (0, 0, 1, 1), ground, thing, 3, cv2.GC_INIT_WITH_MASK)
    return trimap, (ground, thing)


def _alike(picture: Plane, trimap: Plane) -> Bools:
    """Return what hangs together with the strokes and has a colour that they have more of than the rest."""
    cv2 = _opencv()
    cells: Any = (picture >> 4).astype(np.int32) @ np.array([256, 16, 1], np.int32)
    strokes = _histogram(cells[trimap == _YES])
    rest = _histogram(cells) + _histogram(cells[trimap == _NO])
    alike = ((strokes > rest)[cells] & (trimap != _NO)) | (trimap == _YES)
    _, labels = cv2.connectedComponents(alike.view(np.uint8), connectivity=8)
    return np.isin(labels, np.unique(labels[trimap == _YES]))


def _histogram(cells: NDArray[Any]) -> NDArray[np.float64]:
    """Return the shares of 16³ colours, smoothed, (4096,)."""
    counts = np.bincount(cells.ravel(), minlength=4096).reshape(16, 16, 16) / max(1, cells.size)
    for axis in (0, 1, 2):
        padded = np.pad(counts, [(1, 1) if i == axis else (0, 0) for i in range(3)], "edge")
        parts = [np.take(padded, range(i, i + 16), axis) for i in range(3)]
        counts = parts[0] / 4 + parts[1] / 2 + parts[2] / 4
    return counts.ravel()


def _edge_open(trimap: Plane, size: Size) -> Plane:
    """Return a coarse result at a larger size, undecided only near its edge."""
    cv2 = _opencv()
    scale = size.width / trimap.shape[1]
    inside: Any = cv2.resize(trimap & 1, (size.width, size.height), interpolation=cv2.INTER_NEAREST)
    radius = max(2, round(2 * scale))
    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    sure, possible = cv2.erode(inside, near), cv2.dilate(inside, near)
    out = np.where(inside, _MAYBE, _MAYBE_NOT).astype(np.uint8)
    out[sure == 1] = _YES
    out[possible == 0] = _NO
    return out


def _tidied(found: Plane, marks: _Marks, view: Box) -> Plane:
    """Drop crumbs: with strokes what they do not touch, else what is small; and close small holes."""
    cv2 = _opencv()
    _, labels, stats, _ = cv2.connectedComponentsWithStats(found, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    if marks.foreground:
        touched = np.full(found.shape, _MAYBE_NOT, np.uint8)
        marks.press(touched, view)
        areas[labels[touched == _YES]] = -1
        keep: Any = areas < 0
    else:
        keep = areas >= 0.05 * areas.max()
    keep[0] = False
    out = keep[labels].astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(1 - out, connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < 0.004 * max(1, int(out.sum()))
    small[0] = False
    out[small[labels]] = 1
    return out


def fitted(photo: Photo, view: Box, guide: Plane, found: Plane) -> Bools:
    """Return a mask of a part of a photo at full size, its edge following the photo's own.

    Parameters
    ----------
    photo : Photo
    view : Box
        The part.
    guide : ndarray of uint8, (h, w, 3)
        The part, scaled down.
    found : ndarray of uint8, (h, w)
        The mask at the guide's size, 0 and 1.

    Source: He, Sun, "Fast Guided Filter", 2015, arXiv:1505.00996.
    """
    cv2 = _opencv()
    full = view.size
    if Size.of(found.shape) == full:
        return found.view(np.bool_)
    out: Any = cv2.resize(found, (full.width, full.height), interpolation=cv2.INTER_NEAREST)
    law = _guided(guide.astype(np.float32) / np.float32(255), found.astype(np.float32), radius=3, eps=3e-4)
    sx, sy = found.shape[1] / full.width, found.shape[0] / full.height
    edge = cv2.morphologyEx(found, cv2.MORPH_GRADIENT, np.ones((7, 7), np.uint8))
    top = np.float32(1 / np.iinfo(photo.pixels.dtype).max)
    for y in range(0, full.height, _TILE_PX):
        for x in range(0, full.width, _TILE_PX):
            tile = Box(x0=x, y0=y, x1=x + _TILE_PX, y1=y + _TILE_PX).clipped(full)
            place = edge[int(y * sy) : int(tile.y1 * sy) + 1, int(x * sx) : int(tile.x1 * sx) + 1]
            if not place.any():
                continue
            colours = photo.pixels[tile.moved(view.x0, view.y0).slices].astype(np.float32)
            to_guide = np.array([[sx, 0, (x + 0.5) * sx - 0.5], [0, sy, (y + 0.5) * sy - 0.5]])
            local: Any = cv2.warpAffine(
                law,
                to_guide,
                (tile.size.width, tile.size.height),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
            strength = np.einsum("yxc,yxc->yx", local[..., :3], colours) * top + local[..., 3]
            out[tile.slices] = strength > 0.5
    return out.view(np.bool_)


def _guided(guide: Colours, plane: Colours, *, radius: int, eps: float) -> Colours:
    """Return (h, w, 4): the coefficients of the plane as a linear law of the guide's colours."""
    cv2 = _opencv()

    def mean(values: Any) -> Any:
        side = 2 * radius + 1
        return cv2.boxFilter(values, -1, (side, side), borderType=cv2.BORDER_REFLECT)

    centre, level = mean(guide), mean(plane)
    r, g, b = (guide[..., i] for i in range(3))
    mr, mg, mb = (centre[..., i] for i in range(3))
    rr, gg, bb = mean(r * r) - mr * mr + eps, mean(g * g) - mg * mg + eps, mean(b * b) - mb * mb + eps
    rg, rb, gb = mean(r * g) - mr * mg, mean(r * b) - mr * mb, mean(g * b) - mg * mb
    with_r, with_g, with_b = (mean(guide[..., i] * plane) - centre[..., i] * level for i in range(3))
    c00, c01, c02 = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    c11, c12, c22 = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    scale = 1 / (rr * c00 + rg * c01 + rb * c02)
    law = np.empty((*plane.shape, 4), np.float32)
    law[..., 0] = (c00 * with_r + c01 * with_g + c02 * with_b) * scale
    law[..., 1] = (c01 * with_r + c11 * with_g + c12 * with_b) * scale
    law[..., 2] = (c02 * with_r + c12 * with_g + c22 * with_b) * scale
    law[..., 3] = level - np.einsum("yxc,yxc->yx", law[..., :3], centre)
    return mean(law)


def scaled(photo: Photo, view: Box, size: Size) -> Plane:
    """Return a part of the photo at ``size``, (h, w, 3) 8 bits; it may also be larger."""
    cv2 = _opencv()
    crop: Any = photo.pixels[view.slices]
    while crop.shape[0] >= 4 * size.height and crop.shape[1] >= 4 * size.width:  # halving is the fast case
        even = crop[: crop.shape[0] & ~1, : crop.shape[1] & ~1]
        crop = cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA)
    if Size.of(crop.shape) != size:
        crop = cv2.resize(crop, (size.width, size.height), interpolation=cv2.INTER_AREA)
    if crop.dtype == np.uint16:
        crop = crop >> 8
    return np.ascontiguousarray(crop, np.uint8)


def _within(size: Size, area_px: int) -> Size:
    """Return ``size`` scaled down to at most about ``area_px`` pixels."""
    scale = min(1.0, (area_px / size.area) ** 0.5)
    return Size(width=max(1, round(size.width * scale)), height=max(1, round(size.height * scale)))


def _has_both(trimap: Plane) -> bool:
    inside = trimap & 1
    return bool(inside.any()) and not bool(inside.all())


def _leaves(box: Box, view: Box, whole: Box) -> bool:
    """Return whether a selection reaches an edge of its view that is not the picture's."""
    return (
        (box.x0 <= view.x0 > whole.x0)
        or (box.y0 <= view.y0 > whole.y0)
        or (box.x1 >= view.x1 < whole.x1)
        or (box.y1 >= view.y1 < whole.y1)
    )


def _opencv() -> Any:
    import cv2

    return cv2


def _inside(point: Point, size: Size) -> tuple[int, int]:
    x, y = point
    if not (0 <= x < size.width and 0 <= y < size.height):
        raise InputError(
            f"the point {x:g}, {y:g} lies outside the picture ({size})",
            code="select.point",
            hint="points are x, y in the picture's pixels",
        )
    return int(x), int(y)


def _strokes_inside(strokes: Sequence[Stroke], size: Size) -> tuple[NDArray[np.float64], ...]:
    kept = [np.asarray(stroke, np.float64).reshape(-1, 2) for stroke in strokes if len(stroke)]
    for stroke in kept:
        for x, y in (stroke.min(0).tolist(), stroke.max(0).tolist()):
            _inside((x, y), size)
    return tuple(kept)


def _box_inside(box: Box, size: Size) -> Box:
    if not box.intersects(Box.whole(size)):
        raise InputError(
            f"the box lies outside the picture ({size})",
            code="select.box",
            hint="a box is x0, y0, x1, y1 in the picture's pixels",
        )
    return box.clipped(size)
