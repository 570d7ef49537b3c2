"""How a hole is cut into regions that are filled one crop at a time.

A plan is a pure function of the hole and of what an engine wants: how much context, how many pixels at once,
what a call costs. The hole is divided like a k-d tree by straight cuts; a cut is kept where the crops of its
two sides cost less than one crop of both, and much less if it would cut through something. So specks get tight
crops, near ones share one, a long thin scratch becomes a row of crops and a compact hole stays whole. Nothing
here knows pixels' colours or runs an engine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reknit import _native
from reknit.core.geometry import Box, Size

_CELL_PX = 8
_MANY_CELLS = 1 << 15
_SMALL_PX = 512  # a connected hole whose longer side is at most this is not cut to save work
_THROUGH = 0.6  # a cut through something must save this much; one through a gap only anything
_PARALLEL_ORDER = np.array([0, 1, 2, 3])

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One crop's worth of work.

    Attributes
    ----------
    hole_box : Box
        The region's target is the hole inside this box. The boxes of a plan are disjoint and cover the hole.
    context_box : Box
        The crop: the hole box and its surroundings, inside the picture.
    wave : int
        Regions of one wave do not see each other's hole boxes and may be filled at once; a later wave sees
        what earlier ones filled as known.
    """

    hole_box: Box
    context_box: Box
    wave: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Appetite:
    """How much surroundings a hole gets, in pixels a side.

    ``context`` times the hole's extent, at least ``min_px`` and at most ``max_px``; the extent is the longer side
    of its box, but for sparse or thin holes twice the root of their area. Tiny holes get less than ``min_px``:
    16 px and twice their extent.
    """

    context: float
    min_px: int
    max_px: int

    def px(self, width: Ints, height: Ints, area: Ints) -> Ints:
        """Return the context of hole boxes with ``area`` pixels set."""
        extent = np.minimum(np.maximum(width, height), 2 * np.sqrt(area))
        least = np.minimum(self.min_px, 16 + 2 * extent)
        return np.ceil(np.clip(self.context * extent, least, max(self.max_px, 0))).astype(np.int64)


def plan_regions(
    hole: NDArray[np.bool_],
    *,
    context: float = 1.0,
    context_min_px: int = 64,
    context_max_px: int | None = None,
    call_px: int = 4096,
    max_pixels: int | None = None,
) -> tuple[Region, ...]:
    """Return the regions of ``hole``, in the order of their waves.

    Parameters
    ----------
    hole : ndarray of bool, (H, W)
        Every pixel to fill, already grown.
    context : float
        Surroundings on each side as a multiple of the hole's extent; see `Appetite`.
    context_min_px : int
    context_max_px : int or None
    call_px : int
        What one more call costs, in pixels of crop; large for engines that work at a fixed size.
    max_pixels : int or None
        No crop has more pixels, if a crop of one cell's context can have that few.

    Returns
    -------
    tuple of Region
        Empty if the hole is. Each pixel of the hole lies in exactly one ``hole_box``.

    Notes
    -----
    Costs one pass over the hole and a few milliseconds for some hundred regions. The cuts are chosen as those of
    k-d trees for ray tracing are, by what the boxes of both sides cost (MacDonald and Booth,
    doi:10.1007/BF01911006).
    """
    size = Size.of(hole.shape)
    grid = _Grid.of(hole)
    if not len(grid.boxes):
        return ()
    planner = _Planner(grid, size, Appetite(context=context, min_px=context_min_px, max_px=context_max_px or max(hole.shape)))
    planner.call_px = call_px
    planner.max_pixels = max_pixels
    _, leaves = planner.divided(np.arange(len(grid.boxes)))
    boxes = np.array([planner.extent(leaf) for leaf in leaves])
    depths = grid.depths()
    depth = np.array([depths[leaf].max() for leaf in leaves])
    crops = planner.crops(boxes)
    waves = _waves(boxes[:, :4], crops, depth)
    order = np.lexsort((boxes[:, 0], boxes[:, 1], waves))
    return tuple(
        Region(hole_box=_box(boxes[i]), context_box=_box(crops[i]), wave=int(waves[i])) for i in order
    )


class _Grid:
    """The cells that hold a pixel of the hole: where, tight boxes and areas, and which touch across a line."""

    def __init__(self, boxes: Ints, cell_px: int, shape: tuple[int, int]) -> None:
        self.boxes = boxes
        self.cell_px = cell_px
        self.at = boxes[:, :2] // cell_px
        self.shape = -(-shape[0] // cell_px), -(-shape[1] // cell_px)
        index = np.full((self.shape[0] + 2, self.shape[1] + 2), -1, np.int64)
        column, row = self.at[:, 0] + 1, self.at[:, 1] + 1
        index[row, column] = np.arange(len(boxes))
        self.occupied = index[1:-1, 1:-1] >= 0
        # Whether something reaches over the cell's right (bottom) side into one of the three cells there.
        self.joined = np.zeros((len(boxes), 2), np.bool_)
        for axis, (dy, dx) in enumerate(((0, 1), (1, 0))):
            edge = (self.at[:, axis] + 1) * cell_px
            reaches = boxes[:, 2 + axis] == edge
            for side in (-1, 0, 1):
                other = index[row + dy + side * dx, column + dx + side * dy]
                self.joined[:, axis] |= reaches & (other >= 0) & (boxes[other, axis] == edge)

    @staticmethod
    def of(hole: NDArray[np.bool_]) -> _Grid:
        cell_px = _CELL_PX
        cells = _native.occupied_cells(hole, cell_px)
        while len(cells) > _MANY_CELLS:
            cell_px *= 2
            cells = _native.occupied_cells(hole, cell_px)
        return _Grid(cells, cell_px, (hole.shape[0], hole.shape[1]))

    def depths(self) -> NDArray[np.float32]:
        """Return how far each cell lies from one without hole, in cells."""
        outside = np.zeros((self.shape[0] + 2, self.shape[1] + 2), np.bool_)
        outside[1:-1, 1:-1] = ~self.occupied
        if not bool(outside.any()):
            outside[0] = outside[-1] = outside[:, 0] = outside[:, -1] = True
        return _native.distance_transform(outside)[self.at[:, 1] + 1, self.at[:, 0] + 1]


class _Planner:
    """The recursive division of a grid's cells."""

    call_px: int = 0
    max_pixels: int | None = None

    def __init__(self, grid: _Grid, size: Size, appetite: Appetite) -> None:
        self.grid = grid
        self.size = size
        self.appetite = appetite

    def extent(self, cells: Ints) -> Ints:
        """Return x0, y0, x1, y1, area of some cells."""
        boxes = self.grid.boxes[cells]
        return np.concatenate((boxes[:, :2].min(axis=0), boxes[:, 2:4].max(axis=0), boxes[:, 4:].sum(axis=0)))

    def crops(self, boxes: Ints) -> Ints:
        """Return the context boxes (N, 4) of extents (N, 5), inside the picture."""
        x0, y0, x1, y1, area = boxes.T
        px = self.appetite.px(x1 - x0, y1 - y0, area)
        low = np.maximum(np.stack((x0 - px, y0 - px), axis=1), 0)
        high = np.minimum(np.stack((x1 + px, y1 + px), axis=1), (self.size.width, self.size.height))
        return np.concatenate((low, high), axis=1)

    def pixels(self, boxes: Ints) -> Ints:
        crops = self.crops(boxes)
        return (crops[:, 2] - crops[:, 0]) * (crops[:, 3] - crops[:, 1])

    def divided(self, cells: Ints) -> tuple[float, list[Ints]]:
        """Return what filling some cells costs at best, and the parts to fill."""
        extent = self.extent(cells)
        pixels = float(self.pixels(extent[None])[0])
        cost = self.call_px + pixels
        forced = self.max_pixels is not None and pixels > self.max_pixels
        if len(cells) == 1 or not (forced or self._worth_trying(cells, extent, cost)):
            return cost, [cells]
        left, crossed = self._cut(cells)
        if crossed and not forced and max(extent[2] - extent[0], extent[3] - extent[1]) <= _SMALL_PX:
            return cost, [cells]
        first_cost, first = self.divided(cells[left])
        second_cost, second = self.divided(cells[~left])
        apart = first_cost + second_cost
        if forced or apart < cost * (_THROUGH if crossed else 1.0):
            return apart, first + second
        return cost, [cells]

    def _worth_trying(self, cells: Ints, extent: Ints, cost: float) -> bool:
        speck = np.array([[0, 0, 1, 1, 1]])
        x, y = (self.size.width // 2, self.size.height // 2)
        least = self.call_px + float(self.pixels(speck + np.array([[x, y, x, y, 0]]))[0])
        spread = (self.grid.at[cells].max(axis=0) - self.grid.at[cells].min(axis=0) + 1).prod()
        return bool(cost > 2 * least and len(cells) < 0.5 * spread and extent[4] < 0.5 * cost)

    def _cut(self, cells: Ints) -> tuple[NDArray[np.bool_], bool]:
        """Return which cells lie left of (above) the best cut, and whether it cuts through something."""
        best = (float("inf"), cells < 0, True)
        for axis in (0, 1):
            place = self.grid.at[cells, axis]
            order = np.argsort(place, kind="stable")
            starts = np.flatnonzero(np.diff(place[order], prepend=-1))
            if len(starts) < 2:
                continue
            boxes = self.grid.boxes[cells[order]]
            low = np.minimum.reduceat(boxes[:, :2], starts)
            high = np.maximum.reduceat(boxes[:, 2:4], starts)
            area = np.add.reduceat(boxes[:, 4:], starts)
            crossings = np.add.reduceat(self.grid.joined[cells[order], axis].astype(np.int64), starts)[:-1]
            costs = self.pixels(_running(low, high, area)[:-1])
            costs = costs + self.pixels(_running(low[::-1], high[::-1], area[::-1])[::-1][1:])
            score = (costs + 2 * self.call_px) * np.where(crossings > 0, 1 / _THROUGH + 0.02 * crossings, 1.0)
            # Between equals the one nearest to the middle.
            middle = np.abs(2 * np.cumsum(area[:-1, 0]) / area.sum() - 1)
            k = int(np.lexsort((middle, score))[0])
            if score[k] < best[0]:
                best = (float(score[k]), place < place[order][starts[k + 1]], bool(crossings[k] > 0))
        return best[1], best[2]


def _running(low: Ints, high: Ints, area: Ints) -> Ints:
    """Return the extents (N, 5) of the first 1, 2, … N strips."""
    return np.concatenate(
        (np.minimum.accumulate(low), np.maximum.accumulate(high), np.cumsum(area, axis=0)), axis=1
    )


def _waves(boxes: Ints, crops: Ints, depth: NDArray[np.float32]) -> Ints:
    """Return the wave of each region: rims before the inside, and no two of a wave in sight of each other."""
    order = np.lexsort((boxes[:, 0], boxes[:, 1], depth))
    boxes, crops, depth = boxes[order], crops[order], depth[order]
    waves = np.zeros(len(order), np.int64)
    for i in range(1, len(order)):
        near = _meet(crops[i], boxes[:i]) | _meet(boxes[i], crops[:i])
        if not near.any():
            continue
        others = waves[:i][near]
        outer = others[depth[:i][near] < depth[i]]
        wave = int(outer.max()) + 1 if outer.size else 0
        taken = set(others.tolist())
        while wave in taken:
            wave += 1
        waves[i] = wave
    placed = np.empty_like(waves)
    placed[order] = waves
    return placed


def _meet(box: Ints, others: Ints) -> NDArray[np.bool_]:
    return (
        (box[0] < others[:, 2]) & (others[:, 0] < box[2]) & (box[1] < others[:, 3]) & (others[:, 1] < box[3])
    )


def _box(row: Ints) -> Box:
    x0, y0, x1, y1 = row[:4].tolist()
    return Box(x0=x0, y0=y0, x1=x1, y1=y1)
