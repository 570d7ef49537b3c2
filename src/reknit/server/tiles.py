"""Tiles and thumbnails of pictures, ready to be sent to a screen.

A picture's pyramid is made once, and from its parent's where only a box changed; encoded tiles are kept too.
All of it is bounded in memory. It knows pictures by their identifiers, and no HTTP.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import InputError, NotFound
from reknit.core.geometry import Box, Size
from reknit.core.image import Photo
from reknit.core.screen import screen_bytes
from reknit.server.kept import Kept
from reknit.server.pictures import Pictures
from reknit.server.pyramid import Pyramid, level_sizes, shrunk, tile_box

CACHE_BYTES = 192 << 20
THUMBNAIL_PX = (16, 2048)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An encoded picture for a screen: its bytes and their media type."""

    data: bytes
    media_type: str

    def sent(self) -> tuple[bytes, str]:
        """Return both."""
        return self.data, self.media_type


class Tiles:
    """Tiles of pictures. Safe to use from several threads.

    Parameters
    ----------
    pictures
        Where photos come from.
    cache_bytes
        Memory for pyramids; a third of it more for encoded tiles.
    """

    def __init__(self, pictures: Pictures, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._pictures = pictures
        self._pyramids: Kept[Pyramid] = Kept(cache_bytes)
        self._shown: Kept[Shown] = Kept(cache_bytes // 3)
        self._making = threading.Lock()

    def tile(self, picture: str, level: int, column: int, row: int) -> Shown:
        """Return a tile of `TILE_PX`² px, smaller at the right and bottom edges; level 0 is the full size.

        JPEG, or PNG for pictures with alpha; 8-bit sRGB.

        Raises
        ------
        NotFound
            ``tile.missing``, ``picture.missing``
        """
        box = self.place(picture, level, column, row)
        name = f"{picture} {level} {column} {row}"
        if (kept := self._shown.get(name)) is not None:
            return kept
        photo = self._pictures.photo(picture)
        crop = self._pyramid(picture, photo).crop(photo, level, box)
        return self._show(name, crop, photo)

    def place(self, picture: str, level: int, column: int, row: int) -> Box:
        """Return where a tile lies on its level; decodes nothing. Errors as `tile`."""
        size = self._pictures.info(picture).facts.size
        sizes = level_sizes(size)
        box = tile_box(sizes[level], column, row) if 0 <= level < len(sizes) else None
        if box is None:
            raise NotFound(
                f"the picture has no tile {column}, {row} on level {level}",
                code="tile.missing",
                hint=f"it has {len(sizes)} levels, the first of {size} px",
                levels=len(sizes),
            )
        return box

    def thumbnail(self, picture: str, side_px: int = 256) -> Shown:
        """Return the whole picture, its longer side ``side_px`` (16 to 2048) or its own if that is less.

        Raises
        ------
        InputError
            ``thumbnail.size``
        NotFound
            ``picture.missing``
        """
        if not THUMBNAIL_PX[0] <= side_px <= THUMBNAIL_PX[1]:
            raise InputError(
                f"a thumbnail's longer side has {THUMBNAIL_PX[0]} to {THUMBNAIL_PX[1]} px, not {side_px}",
                code="thumbnail.size",
                hint="256 suits a list",
            )
        name = f"{picture} {side_px}"
        if (kept := self._shown.get(name)) is not None:
            return kept
        photo = self._pictures.photo(picture)
        sizes = level_sizes(photo.size)
        level = max(i for i, size in enumerate(sizes) if i == 0 or max(size.shape) >= side_px)
        crop = self._pyramid(picture, photo).crop(photo, level, Box.whole(sizes[level]))
        scale = min(1.0, side_px / max(photo.size.shape))
        width, height = (max(1, round(side * scale)) for side in (photo.size.width, photo.size.height))
        return self._show(name, shrunk(crop, Size(width=width, height=height)), photo)

    def _show(self, name: str, samples: NDArray[np.uint8], photo: Photo) -> Shown:
        data, media_type = screen_bytes(samples, photo.metadata.icc)
        shown = Shown(data=data, media_type=media_type)
        self._shown.put(name, shown, len(data))
        return shown

    def _pyramid(self, picture: str, photo: Photo) -> Pyramid:
        with self._making:  # the tiles of one picture are asked for all at once
            kept = self._pyramids.get(picture)
            if kept is None:
                told = self._pictures.info(picture)
                before = self._pyramids.get(told.parent) if told.parent else None
                if before is not None and before.sizes[0] != photo.size:
                    before = None
                kept = Pyramid(photo, before=before, box=told.box)
                self._pyramids.put(picture, kept, kept.nbytes)
            return kept
