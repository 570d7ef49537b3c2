"""Find the date that a camera printed into a corner of a photo.

Printed digits glow: they are lighter, or redder, than what lies around them, thin, of one height and in one row.
Classical filters look for that in one corner; what is found is a mask of the digits themselves, so that little of
the photo has to be made up. Nothing here knows files or how holes are filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import InputError, nearest_name
from reknit.core.geometry import Box, Size
from reknit.core.image import Photo
from reknit.core.mask import Mask

CORNERS = ("bottom-right", "bottom-left", "top-right", "top-left")
CORNER_SHARE = (0.5, 0.2)
"""How much of a photo's width and height a corner is."""
LEAST_DIGITS, MOST_DIGITS = 4, 24
"""A row of fewer marks, or of more, is no date."""

_WORK_SIDE_PX = 1600
_LEAST_CONTRAST = 48.0
_HEIGHTS = (0.010, 0.080)  # of a digit, in shares of the photo's shorter side


def find_timestamp(photo: Photo, *, corner: str = "bottom-right") -> Mask:
    """Return the mask of a date printed into a corner; an empty one if there is none.

    Parameters
    ----------
    photo : Photo
    corner : str
        One of `CORNERS`.

    Raises
    ------
    InputError
        ``option.value``
    """
    import cv2

    if corner not in CORNERS:
        raise InputError(
            f"there is no corner {corner!r}", code="option.value", hint=nearest_name(corner, CORNERS)
        )
    box = _corner(photo.size, corner)
    pixels: Any = photo.pixels[box.slices]
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    short = min(photo.size.shape)
    scale = min(1.0, _WORK_SIDE_PX / max(photo.size.shape))
    if scale < 1:
        pixels = np.asarray(
            cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
    found = _digits(np.ascontiguousarray(pixels), short * scale)
    fill = np.zeros(photo.size.shape, np.bool_)
    if found.any():
        size = (box.size.width, box.size.height)
        fill[box.slices] = cv2.resize(found, size, interpolation=cv2.INTER_NEAREST).astype(np.bool_)
    return Mask.from_bool(fill)


def _corner(size: Size, corner: str) -> Box:
    width, height = (
        round(n * share) for n, share in zip((size.width, size.height), CORNER_SHARE, strict=True)
    )
    width, height = max(1, width), max(1, height)
    x0 = size.width - width if corner.endswith("right") else 0
    y0 = size.height - height if corner.startswith("bottom") else 0
    return Box(x0=x0, y0=y0, x1=x0 + width, y1=y0 + height)


def _digits(pixels: NDArray[np.uint8], short_px: float) -> NDArray[np.uint8]:
    """Return 1 where a row of digits lies; ``short_px`` is the whole photo's shorter side."""
    import cv2

    glow = _glow(pixels, max(3, round(0.016 * short_px)) | 1)
    level: Any = cv2.threshold(glow, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0]
    marks = (glow > max(_LEAST_CONTRAST, 0.8 * float(level))).astype(np.uint8)
    # Segments of one digit belong together.
    joined = cv2.dilate(marks, np.ones((max(2, round(0.002 * short_px)),) * 2, np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    row = _row(stats[1:], short_px)
    if row is None:
        return np.zeros_like(marks)
    x0, y0, x1, y1 = row
    height = y1 - y0
    near = np.zeros_like(marks)
    pad = max(1, height // 6)
    near[max(0, y0 - pad) : y1 + pad, max(0, x0 - 2 * height) : x1 + 2 * height] = 1
    glowing = near & (glow > 0.4 * max(_LEAST_CONTRAST, float(level))).astype(np.uint8)
    wide: Any = cv2.dilate(marks & near, np.ones((pad, pad), np.uint8))
    kept: Any = marks & near | glowing & wide
    reach = max(2, round(0.12 * height))
    return np.asarray(
        cv2.dilate(kept, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)), np.uint8
    )


def _glow(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return how much a pixel outshines what is farther away than a stroke's width: in red, or in all channels."""
    import cv2

    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    red, blue = pixels[..., 0].astype(np.int16), pixels[..., 2].astype(np.int16)
    warm = np.clip(red - blue, 0, 255).astype(np.uint8)
    planes = (np.ascontiguousarray(pixels.min(axis=2)), np.ascontiguousarray(pixels[..., 0]), warm)
    hats = [np.asarray(cv2.morphologyEx(plane, cv2.MORPH_TOPHAT, kernel), np.uint8) for plane in planes]
    return np.maximum.reduce(hats)


def _row(stats: NDArray[Any], short_px: float) -> Sequence[int] | None:
    """Return the box of the longest row of marks of one height, if it is long enough to be a date."""
    low, high = (share * short_px for share in _HEIGHTS)
    marks = [s.tolist() for s in stats if low <= s[3] <= high and s[2] <= 12 * s[3]]
    best: list[list[int]] = []
    for _, y, _, height, _ in marks:
        row = [
            m
            for m in marks
            if abs(m[1] + m[3] / 2 - y - height / 2) < 0.3 * height and 0.7 * height <= m[3] <= 1.4 * height
        ]
        row = _close(sorted(row), 4 * height)
        if _count(row) > _count(best):
            best = row
    # Of a wall's joints or a meadow's stalks there are more beside the row than in it.
    if not LEAST_DIGITS <= _count(best) <= MOST_DIGITS or _count(marks) > 2 * _count(best):
        return None
    return (
        min(m[0] for m in best),
        min(m[1] for m in best),
        max(m[0] + m[2] for m in best),
        max(m[1] + m[3] for m in best),
    )


def _count(row: list[list[int]]) -> int:
    """Return about how many digits a row has; some touch each other."""
    return sum(max(1, round(m[2] / (0.85 * m[3]))) for m in row)


def _close(row: list[list[int]], gap_px: float) -> list[list[int]]:
    """Return the longest part of a row of marks without a wide gap."""
    best: list[list[int]] = []
    part: list[list[int]] = []
    for mark in row:
        if part and mark[0] - (part[-1][0] + part[-1][2]) > gap_px:
            part = []
        part = [*part, mark]
        best = max(best, part, key=_count)
    return best
