"""How a hole is cut into regions that are filled one crop at a time.

A plan is a pure function of the hole and of what an engine wants: how much context, how many pixels at once,
what a call costs. The hole is divided by straight cuts; a cut is kept where the crops of its two sides cost
less than one crop of both, and much less if it goes through something. So specks get tight crops, near ones
share one, a long thin scratch becomes a row of crops and a compact hole stays whole. Nothing here knows
colours or runs an engine; the division itself is in ``native/regions.cpp``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reknit import _native
from reknit.core.geometry import Box

_UNLIMITED = 1 << 62


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
        From 0. Regions of one wave do not see each other's hole boxes and may be filled at once; a later wave
        sees what earlier ones filled as known.
    """

    hole_box: Box
    context_box: Box
    wave: int


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
        Surroundings on each side as a multiple of the hole's extent: the longer side of its box, but at most
        twice the root of its area, so that thin and sparse holes get thin crops.
    context_min_px : int
        Least surroundings; a tiny hole gets fewer, 16 px and twice its extent.
    context_max_px : int or None
        Most surroundings.
    call_px : int
        What one more call costs, in pixels of crop; large for engines that work at a fixed size.
    max_pixels : int or None
        No crop has more pixels, as far as least surroundings allow. Larger holes are tiled, with surroundings
        of at least a quarter of what is wanted; tiles at the rim come in earlier waves than those inside.

    Returns
    -------
    tuple of Region
        Empty if the hole is. Each pixel of the hole lies in exactly one ``hole_box``.

    Notes
    -----
    Costs one pass over the hole and some milliseconds for some hundred regions.
    """
    rows = _native.plan_regions(
        hole,
        context,
        context_min_px,
        _UNLIMITED if context_max_px is None else context_max_px,
        call_px,
        _UNLIMITED if max_pixels is None else max_pixels,
    )
    return tuple(
        Region(hole_box=Box(x0=a, y0=b, x1=c, y1=d), context_box=Box(x0=e, y0=f, x1=g, y1=h), wave=wave)
        for a, b, c, d, e, f, g, h, wave in rows.tolist()
    )
