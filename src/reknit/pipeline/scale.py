"""Which crops a learned engine gets, so that it works at the scale at which it does best.

A hole that fits gets a crop of that size around it; thin damage over a wide area is cut into such crops, few
of them; a hole too thick for that is one crop, to be worked coarse to fine (`pipeline.refine`). Pure functions of
the hole; nothing here runs an engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reknit.core.geometry import Box, Size
from reknit.core.mask import Mask
from reknit.core.region import Region, plan_regions

_ROOMY = 1.25  # a crop larger than the good one by up to this is scaled down a little rather than cut
_THICK = 0.25  # of the good side: what is thicker than this is not cut into crops of it
_MARGIN = 0.125  # of the good side: the least surroundings of what shares a crop


def regions_at(
    hole: NDArray[np.bool_], side: int, *, context: float, context_min_px: int, context_max_px: int
) -> tuple[Region, ...]:
    """Return the regions of ``hole`` for crops of ``side`` px.

    Parameters
    ----------
    hole : ndarray of bool, (H, W)
    side : int
        The good side of a crop, in the photo's pixels.
    context : float
    context_min_px, context_max_px : int
        As in `plan_regions`.
    """
    size = Size.of(hole.shape)

    def planned(part: NDArray[np.bool_], most: int | None) -> tuple[Region, ...]:
        return plan_regions(
            part,
            context=context,
            context_min_px=context_min_px,
            context_max_px=context_max_px,
            call_px=side * side,
            max_pixels=most,
        )

    found: list[Region] = []
    for region in planned(hole, None):
        extent = region.context_box.size
        if max(extent.shape) <= _ROOMY * side or _is_thick(hole, region.hole_box, side):
            found.append(region)
            continue
        alone = np.zeros_like(hole)
        alone[region.hole_box.slices] = hole[region.hole_box.slices]
        found += planned(alone, side * side)
    shared = _shared(found, side)
    wide = [replace(region, context_box=roomy(region.context_box, side, size)) for region in shared]
    return tuple(sorted(wide, key=lambda region: region.wave))


def roomy(box: Box, side: int, within: Size) -> Box:
    """Return ``box`` grown to a square of its longer side, at least ``side``, as far as the picture reaches."""
    wanted = max(side, *box.size.shape)
    (x0, x1), (y0, y1) = (
        _stretched(box.x0, box.x1, wanted, within.width),
        _stretched(box.y0, box.y1, wanted, within.height),
    )
    return Box(x0=x0, y0=y0, x1=x1, y1=y1)


def _stretched(start: int, end: int, wanted: int, most: int) -> tuple[int, int]:
    wanted = max(end - start, min(wanted, most))
    first = max(0, min((start + end - wanted) // 2, most - wanted))
    return first, first + wanted


def _is_thick(hole: NDArray[np.bool_], box: Box, side: int) -> bool:
    """Return whether the hole in ``box`` is thicker somewhere than a crop can show the surroundings of."""
    return Mask.from_bool(np.pad(hole[box.slices], 1)).is_thicker_than(_THICK * side)


def _shared(regions: Iterable[Region], side: int) -> Iterator[Region]:
    """Yield regions of which none could lie, with its surroundings, in another's crop."""
    most = side - 2 * int(_MARGIN * side)
    waiting = sorted(regions, key=lambda r: (r.wave, r.hole_box.y0, r.hole_box.x0))
    while waiting:
        first = waiting.pop(0)
        left: list[Region] = []
        for other in waiting:
            both = first.hole_box.united(other.hole_box)
            if other.wave == first.wave and max(both.size.shape) <= most:
                context = first.context_box.united(other.context_box)
                first = replace(first, hole_box=both, context_box=context)
            else:
                left.append(other)
        waiting = left
        yield first
