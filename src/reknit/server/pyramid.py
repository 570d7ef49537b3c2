"""A picture at every zoom: level 0 at full size, each next half as large, cut into square tiles.

Levels below the first are kept as 8-bit tiles in the photo's own colour space; a changed picture shares
every tile that its change does not touch. It knows photos and boxes, no identifiers, files or caches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.core.geometry import Box, Size
from reknit.core.image import Photo

TILE_PX = 512
Tile = NDArray[np.uint8]


def level_sizes(size: Size) -> tuple[Size, ...]:
    """Return the size of each level of a picture; the last one fits into one tile."""
    sizes = [size]
    while max(sizes[-1].shape) > TILE_PX:
        sizes.append(Size(width=(sizes[-1].width + 1) // 2, height=(sizes[-1].height + 1) // 2))
    return tuple(sizes)


def tile_box(size: Size, column: int, row: int) -> Box | None:
    """Return the place of a tile on a level of ``size``; None if there is no such tile."""
    if column < 0 or row < 0 or column * TILE_PX >= size.width or row * TILE_PX >= size.height:
        return None
    x, y = column * TILE_PX, row * TILE_PX
    return Box(x0=x, y0=y, x1=x + TILE_PX, y1=y + TILE_PX).clipped(size)


class Pyramid:
    """The levels of a photo above its full size. The photo itself is not kept.

    Parameters
    ----------
    photo
        What to shrink.
    before, box
        The pyramid of a photo of the same size and kind that differs from ``photo`` in ``box`` only.
    """

    def __init__(self, photo: Photo, *, before: Pyramid | None = None, box: Box | None = None) -> None:
        self.sizes = level_sizes(photo.size)
        self._tiles: dict[tuple[int, int, int], Tile] = dict(before._tiles) if before else {}
        changed = box if before and box else Box.whole(photo.size)
        for level, size in enumerate(self.sizes[1:], 1):
            changed = Box(
                x0=changed.x0 // 2, y0=changed.y0 // 2, x1=(changed.x1 + 1) // 2, y1=(changed.y1 + 1) // 2
            )
            for row in range(changed.y0 // TILE_PX, (changed.y1 - 1) // TILE_PX + 1):
                for column in range(changed.x0 // TILE_PX, (changed.x1 - 1) // TILE_PX + 1):
                    place = tile_box(size, column, row)
                    assert place is not None
                    above = Box(x0=place.x0 * 2, y0=place.y0 * 2, x1=place.x1 * 2, y1=place.y1 * 2).clipped(
                        self.sizes[level - 1]
                    )
                    self._tiles[level, column, row] = _halved(self.crop(photo, level - 1, above))

    @property
    def nbytes(self) -> int:
        """Bytes of all tiles, those shared with other pyramids included."""
        return sum(tile.nbytes for tile in self._tiles.values())

    def tiles(self) -> Mapping[tuple[int, int, int], Tile]:
        """Return the tiles by (level, column, row); level 0 is the photo and not among them."""
        return self._tiles

    def crop(self, photo: Photo, level: int, box: Box) -> Tile:
        """Return ``box`` of a level, (h, w, 3) or (h, w, 4) uint8 in the photo's colour space."""
        if level == 0:
            return _eight_bits(photo, box)
        channels = 3 if photo.alpha is None else 4
        out: Any = np.empty((*box.size.shape, channels), np.uint8)
        for row in range(box.y0 // TILE_PX, (box.y1 - 1) // TILE_PX + 1):
            for column in range(box.x0 // TILE_PX, (box.x1 - 1) // TILE_PX + 1):
                place = tile_box(self.sizes[level], column, row)
                assert place is not None
                shared = Box(
                    x0=max(box.x0, place.x0),
                    y0=max(box.y0, place.y0),
                    x1=min(box.x1, place.x1),
                    y1=min(box.y1, place.y1),
                )
                out[shared.inside(box).slices] = self._tiles[level, column, row][shared.inside(place).slices]
        return out


def _eight_bits(photo: Photo, box: Box) -> Tile:
    planes: Any = photo.pixels[box.slices]
    if photo.alpha is not None:
        planes = np.dstack((planes, photo.alpha[box.slices]))
    if planes.dtype == np.uint16:
        return ((planes.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.ascontiguousarray(planes)


def shrunk(samples: Tile, size: Size) -> Tile:
    """Return (h, w, 3 or 4) samples averaged down to ``size``; colours count by their opacity."""
    import cv2

    if Size.of(samples.shape) == size:
        return samples
    shape = (size.width, size.height)
    if samples.shape[2] == 3 or bool((samples[..., 3] == samples[0, 0, 3]).all()):
        return np.asarray(cv2.resize(samples, shape, interpolation=cv2.INTER_AREA), np.uint8)
    wide = samples.astype(np.float32)
    wide[..., :3] *= wide[..., 3:]
    mean: Any = cv2.resize(wide, shape, interpolation=cv2.INTER_AREA)
    mean[..., :3] /= np.maximum(mean[..., 3:], np.float32(1e-3))
    return (mean + np.float32(0.5)).clip(0, 255).astype(np.uint8)


def _halved(samples: Tile) -> Tile:
    """Return the means of 2×2 pixels; an odd edge is repeated."""
    height, width = samples.shape[:2]
    if height % 2 or width % 2:
        samples = np.pad(samples, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    return shrunk(samples, Size(width=samples.shape[1] // 2, height=samples.shape[0] // 2))
