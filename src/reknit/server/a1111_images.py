"""The arithmetic that A1111's clients count on: masks, crops and what goes back into the picture, in its own integers.

Masks are (H, W) uint8 with white = repaint; pictures (H, W, 3) uint8. It knows no request, no engine and no HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reknit.core.fit import covering, resampled
from reknit.core.geometry import Box, Size
from reknit.core.image import Photo

Pixels: TypeAlias = NDArray[np.uint8]

STRETCH, CROP, FILL_EDGES, LATENT = range(4)
"""The values of ``resize_mode``; the last scales latents, which here is stretching."""
HALF = 128
STRIP = 64
"""What would be so much larger before it is cut than after is cut first, which rounds otherwise than the original."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One inpainting as the engine gets it, and how its answer goes back.

    Attributes
    ----------
    tile, mask : ndarray
        What is worked on, and where; white = repaint.
    base, overlay : ndarray
        The picture that the answer is laid over, and how much of the answer shows: of one size.
    place : Box
        Where the tile lies in ``base``.
    """

    tile: Pixels
    mask: Pixels
    base: Pixels
    overlay: Pixels
    place: Box

    def framed(self, other: Pixels, mode: int) -> Pixels:
        """Return another picture of the view as the tile shows it; ``mode`` brings it to ``base``'s size."""
        size, tile = Size.of(self.base.shape), Size.of(self.tile.shape)
        there = resized(mode, other, size.width, size.height)[self.place.slices]
        return resized(FILL_EDGES, there, tile.width, tile.height)

    def composed(self, made: Pixels) -> Pixels:
        """Return ``base`` with ``made``, of the tile's size, laid in: exactly ``base`` where the overlay is 0."""
        there = resized(CROP, made, self.place.size.width, self.place.size.height)
        out = self.base.copy()
        inside = self.place.slices
        weight = self.overlay[inside][..., None].astype(np.uint32)
        mixed = there * weight + out[inside] * (255 - weight)
        out[inside] = ((mixed + 127) // 255).astype(np.uint8)
        return out


def mask_of(photo: Photo, *, rounded: bool) -> Pixels:
    """Return a picture as a mask: its alpha where that is not opaque everywhere, else its luma, unthresholded."""
    pixels: Any = photo.pixels
    alpha: Any = photo.alpha
    if pixels.dtype == np.uint16:
        pixels, alpha = (
            (pixels >> 8).astype(np.uint8),
            None if alpha is None else (alpha >> 8).astype(np.uint8),
        )
    if alpha is not None and bool((alpha != 255).any()):
        return np.where(alpha > HALF, 255, 0).astype(np.uint8) if rounded else np.ascontiguousarray(alpha)
    weights = np.array((19595, 38470, 7471), np.uint32)  # ITU-R 601-2, as Pillow converts to L
    return ((pixels.astype(np.uint32) @ weights + 0x8000) >> 16).astype(np.uint8)


def blurred(mask: Pixels, x: float, y: float) -> Pixels:
    """Return a mask blurred by Gaussians of these standard deviations, cut off at 2.5 of them, across and down."""
    import cv2 as opencv

    cv2: Any = opencv
    across, down = (2 * int(2.5 * sigma + 0.5) + 1 for sigma in (x, y))
    soft: Any = mask if x <= 0 else cv2.GaussianBlur(mask, (across, 1), x)
    return soft if y <= 0 else cv2.GaussianBlur(soft, (1, down), y)


def bounds(mask: Pixels) -> Box | None:
    """Return the box of what is not black, None if all is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    return Box(x0=int(columns[0]), y0=int(rows[0]), x1=int(columns[-1]) + 1, y1=int(rows[-1]) + 1)


def expanded(box: Box, width: int, height: int, size: Size) -> Box:
    """Return a crop grown to the shape of what is worked at, ``width`` × ``height``, inside a picture of ``size``.

    One side grows, half to each side, and is shifted back inside; where the picture is too small it stays short.
    """
    x0, y0, x1, y1 = box.x0, box.y0, box.x1, box.y1
    if (x1 - x0) / (y1 - y0) > width / height:
        y0, y1 = _grown(y0, y1, int((x1 - x0) / (width / height) - (y1 - y0)), size.height)
    else:
        x0, x1 = _grown(x0, x1, int((y1 - y0) * (width / height) - (x1 - x0)), size.width)
    return Box(x0=x0, y0=y0, x1=x1, y1=y1)


def _grown(low: int, high: int, by: int, limit: int) -> tuple[int, int]:
    low -= by // 2
    high += by - by // 2
    if high >= limit:
        low, high = low - (high - limit), limit
    if low < 0:
        low, high = 0, high - low
    return low, min(high, limit)


def resized(mode: int, pixels: Pixels, width: int, height: int) -> Pixels:
    """Return pixels (H, W) or (H, W, C) at ``width`` × ``height`` as ``resize_mode`` says."""
    if pixels.ndim == 2:
        return resized(mode, pixels[..., None], width, height)[..., 0]
    had_width, had_height = pixels.shape[1], pixels.shape[0]
    ratio, shape = width / height, had_width / had_height
    if mode == CROP:
        new_width = width if ratio > shape else had_width * height // had_height
        new_height = height if ratio <= shape else had_height * width // had_width
    elif mode == FILL_EDGES:
        new_width = width if ratio < shape else had_width * height // had_height
        new_height = height if ratio >= shape else had_height * width // had_width
    else:
        new_width, new_height = width, height
    if new_width * new_height > STRIP * width * height:
        return covering(pixels, Size(width=width, height=height))
    scaled = resampled(pixels, Size(width=max(1, new_width), height=max(1, new_height)))
    left, top = width // 2 - new_width // 2, height // 2 - new_height // 2
    if mode == CROP:
        return np.ascontiguousarray(scaled[-top : height - top, -left : width - left])
    right, bottom = width - left - scaled.shape[1], height - top - scaled.shape[0]
    return np.pad(scaled, ((top, bottom), (left, right), (0, 0)), mode="edge")


def only_masked(image: Pixels, mask: Pixels, *, padding: int, width: int, height: int) -> Work | None:
    """Return the work on the crop around a blurred mask, scaled to ``width`` × ``height``; None if all is black."""
    size, found = Size.of(image.shape), bounds(mask)
    if found is None:
        return None
    place = expanded(found.grown(padding).clipped(size), width, height, size)
    return Work(
        tile=resized(FILL_EDGES, image[place.slices], width, height),
        mask=resized(FILL_EDGES, mask[place.slices], width, height),
        base=image,
        overlay=mask,
        place=place,
    )


def where_it_lies(image: Pixels, mask: Pixels) -> Work | None:
    """Return the work at the picture's own size, for engines that need no crop; None if the mask is all black."""
    if bounds(mask) is None:
        return None
    return Work(tile=image, mask=mask, base=image, overlay=mask, place=Box.whole(Size.of(image.shape)))


def whole_picture(image: Pixels, mask: Pixels, *, mode: int, width: int, height: int) -> Work | None:
    """Return the work on the whole picture at ``width`` × ``height``; what is at least half masked is made anew."""
    tile, working = resized(mode, image, width, height), resized(mode, mask, width, height)
    if bounds(working) is None:
        return None
    twice = np.minimum(working.astype(np.uint16) * 2, 255).astype(np.uint8)
    return Work(tile=tile, mask=working, base=tile, overlay=twice, place=Box.whole(Size.of(tile.shape)))
