"""Mirrored, turned, scaled and relit copies of a crop, as more to copy from.

The copies are laid out below the crop on one sheet, apart from each other, so that an engine which copies
patches needs to know no more than the row where they begin. Nothing here fills anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from reknit.engines.base import Crop, Samples

_GAP_PX = 64  # of unknown pixels between copies, so that they stay apart at coarse sizes too
_LONGEST_PX = 16_000  # a side of a copy; OpenCV warps no more than 32 767
_LARGEST_PX = 4_000_000  # of one copy

ROTATIONS: Mapping[str, tuple[float, ...]] = {
    "none": (),
    "low": (-8, 8),
    "medium": (-8, 8, -20, 20),
    "high": (-15, 15, -35, 35, -60, 60),
    "full": (45, 90, 135, 180, 225, 270, 315),
}
"""Angles in degrees, anticlockwise."""
SCALES = (0.8, 1.25)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to change a copy.

    Attributes
    ----------
    angle : float
        Degrees, anticlockwise.
    scale : float
    gain : float
        Factor on R, G and B.
    mirrored : bool
        Left and right exchanged.
    """

    angle: float = 0.0
    scale: float = 1.0
    gain: float = 1.0
    mirrored: bool = False


def variants(*, mirror: bool, rotation: str, scale: bool, gains: Sequence[float]) -> tuple[Variant, ...]:
    """Return the copies that a user's choices ask for; none of them is combined with another."""
    found = [Variant(mirrored=True)] if mirror else []
    found += [Variant(angle=angle) for angle in ROTATIONS[rotation]]
    found += [Variant(scale=factor) for factor in SCALES] if scale else []
    return (*found, *(Variant(gain=gain) for gain in gains))


def sheet(crop: Crop, chosen: Sequence[Variant]) -> Crop:
    """Return ``crop`` with copies of its source area below it; rows from ``len(crop.hole)`` on are theirs.

    Pixels of the copies that show the hole, a forbidden pixel or nothing are unknown and no target. For a
    large crop only the surroundings of its hole are copied.
    """
    window = _window(crop.hole)
    pixels, allowed = crop.pixels[window], crop.source[window] & ~crop.hole[window]
    copies = [_copy(pixels, allowed, variant) for variant in chosen]
    height, width = crop.hole.shape
    width = max(width, *(copy.shape[1] for copy, _ in copies))
    rows = height + sum(_GAP_PX + copy.shape[0] for copy, _ in copies)
    out = np.zeros((rows, width, crop.pixels.shape[2]), crop.pixels.dtype)
    known = np.zeros((rows, width), bool)
    target, source = np.zeros_like(known), np.zeros_like(known)
    here = np.s_[:height, : crop.hole.shape[1]]
    out[here], known[here], target[here], source[here] = crop.pixels, ~crop.hole, crop.target, crop.source
    top = height
    for copy, valid in copies:
        there = np.s_[top + _GAP_PX : top + _GAP_PX + copy.shape[0], : copy.shape[1]]
        out[there], known[there], source[there] = copy, valid, valid
        top += _GAP_PX + copy.shape[0]
    return Crop(pixels=out, hole=~known, target=target, source=source)


def _window(hole: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the whole crop, or, if it is too large to copy, as much as may be around the hole's middle."""
    height, width = hole.shape
    side = int(np.sqrt(_LARGEST_PX))
    if height * width <= _LARGEST_PX and max(height, width) <= _LONGEST_PX:
        return np.s_[:height, :width]
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))

    def around(found: NDArray[np.intp], size: int) -> slice:
        middle = int(found[0] + found[-1]) // 2 if found.size else size // 2
        start = max(0, min(middle - side // 2, size - side))
        return slice(start, min(size, start + side))

    return around(rows, height), around(columns, width)


def _copy(pixels: Samples, allowed: NDArray[np.bool_], variant: Variant) -> tuple[Samples, NDArray[np.bool_]]:
    if variant.mirrored:
        return pixels[:, ::-1], allowed[:, ::-1]
    if variant.gain != 1.0:
        return _relit(pixels, variant.gain), allowed
    return _warped(pixels, allowed, variant)


def _relit(pixels: Samples, gain: float) -> Samples:
    top = np.iinfo(pixels.dtype).max
    out = pixels.copy()
    lit = pixels[..., :3].astype(np.float32) * np.float32(gain) + np.float32(0.5)
    out[..., :3] = np.minimum(lit, np.float32(top)).astype(pixels.dtype)
    return out


def _warped(
    pixels: Samples, allowed: NDArray[np.bool_], variant: Variant
) -> tuple[Samples, NDArray[np.bool_]]:
    cv2: Any = import_module("cv2")  # has no complete types
    height, width = allowed.shape
    matrix = np.asarray(
        cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), variant.angle, variant.scale)
    )
    reach = np.abs(matrix[:, :2]) @ np.array([width, height], np.float64)
    size = (max(1, int(np.ceil(reach[0]))), max(1, int(np.ceil(reach[1]))))
    matrix[:, 2] += (np.array(size) - 1) / 2 - np.array([width - 1, height - 1]) / 2
    shown = np.where(allowed[..., None], pixels, np.zeros_like(pixels))
    warped = cv2.warpAffine(shown, matrix, size, flags=cv2.INTER_LINEAR)
    weight = cv2.warpAffine(allowed.astype(np.float32), matrix, size, flags=cv2.INTER_LINEAR)
    return cast(Samples, warped), np.asarray(weight) > 0.999
