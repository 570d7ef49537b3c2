"""Save an edited JPEG without coding again what was not edited.

A JPEG is a grid of blocks of quantised coefficients. Blocks whose pixels did not change are carried from the
source file to the new one as they are; only the others are coded again, with the file's own tables and
subsampling. It knows bytes and pixels, no files and no engines; the coefficients are `native/jpeg.hpp`'s.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit import _native
from reknit.core import exif, own_text
from reknit.core import metadata as blocks
from reknit.core.containers import Encoded
from reknit.core.image import Origin, Photo

# The luma table of ITU-T T.81, annex K, in zigzag order.
_ANNEX_K_LUMA = (
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58,
    51, 61, 60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103,
    62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
)  # fmt: skip


class CannotCarry(Exception):
    """The source is of a kind whose coefficients cannot be reused; the message says why."""


def resave(photo: Photo) -> Encoded:
    """Return a photo that came from a JPEG as a JPEG, reusing whatever of the source it can.

    Every block whose pixels did not change is carried; the picture also keeps lying as it lay (EXIF
    orientation), so that a turned camera photo loses nothing either. On a larger canvas that holds if the
    source's place on it is a whole number of blocks (8 or 16 px) from the corner where the stored picture
    starts; else all blocks are coded anew, with the source's quantisation tables and subsampling.

    Parameters
    ----------
    photo : Photo
        8 bits, with ``origin.data`` and ``origin.pixels`` of a JPEG.

    Raises
    ------
    CannotCarry
        The source has arithmetic coding, 12 bits, four components or the like, or is damaged.
    """
    origin = photo.origin
    if origin is None or origin.data is None or origin.pixels is None or photo.bits != 8:
        raise CannotCarry("the photo does not come from an 8-bit JPEG file")
    try:
        source = _native.Jpeg.read(origin.data)
        notes = _left_out(origin.data, source.end)
        segments, orientation = _segments(photo, origin)
        if source.rgb and b"Adobe" not in segments:
            raise CannotCarry("it holds RGB components but the segment that says so was removed")
        before, after = _stored(origin.pixels, orientation), _stored(photo.pixels, orientation)
        left, top = _stored_place(origin, photo, orientation)
        parts = [source.component(number) for number in range(source.count)]
        aligned = (
            left % (8 * max(part[1] for part in parts)) == 0
            and top % (8 * max(part[2] for part in parts)) == 0
        )
        if (left, top) != (0, 0) or before.shape != after.shape or orientation != origin.orientation:
            source = source.placed(after.shape[1], after.shape[0], left, top)
        if aligned and orientation == origin.orientation:
            counts = source.update(before, after, left, top)
        else:
            counts = source.update(None, after)
            notes = (*notes, "every block was coded again, with the source's tables and subsampling")
        data = source.write(segments)
    except _native.JpegError as error:
        raise CannotCarry(str(error)) from error
    return Encoded(data=data, container="jpeg", notes=notes, carried_blocks=counts[0], total_blocks=counts[1])


def estimated_quality(data: bytes) -> int | None:
    """Return the libjpeg quality (1 to 100) whose luma table comes nearest to a JPEG file's, or None.

    The tables are those of ITU-T T.81, annex K, scaled as the Independent JPEG Group's encoder does.
    """
    for marker, start, end in blocks.jpeg_segments(data):
        if marker == 0xDB and end - start >= 65 and data[start] == 0:
            quality = np.arange(1, 101)
            scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
            tables = np.clip((np.array(_ANNEX_K_LUMA) * scale[:, None] + 50) // 100, 1, 255)
            found = np.frombuffer(data, np.uint8, 64, start + 1).astype(int)
            return int(quality[np.abs(tables - found).sum(1).argmin()])
    return None


def has_subsampling(data: bytes) -> bool:
    """Return whether a JPEG file's first component has more samples than others can have."""
    for marker, start, end in blocks.jpeg_segments(data):
        if marker in range(0xC0, 0xD0) and marker not in (0xC4, 0xC8, 0xCC) and end - start >= 8:
            return data[start + 7] != 0x11
    return True


def _segments(photo: Photo, origin: Origin) -> tuple[bytes, int]:
    """Return the segments before the tables, and the orientation that they tell.

    Untouched metadata goes back verbatim and in order; else the segments are made anew, the picture still
    lying as it did if there is an EXIF block to say so.
    """
    source = origin.data or b""
    was, block = blocks.read("jpeg", source).metadata, photo.metadata.exif
    if replace(photo.metadata, exif=was.exif, text=was.text) == was:  # nothing else than a recipe was added
        told = None if block == was.exif or block is None else exif.turned(block, origin.orientation)
        kept = blocks.jpeg_kept(source, block=told, recipe=own_text.recipe_of(photo.metadata))
        return kept, origin.orientation
    metadata = replace(photo.metadata, exif=exif.turned(block, origin.orientation) if block else None)
    return blocks.jpeg_blocks(metadata, same=True, fresh=False), exif.orientation(metadata.exif)


def _stored(upright: Any, orientation: int) -> NDArray[np.uint8]:
    """Return a view of upright pixels as they lie in a file of this EXIF orientation."""
    if orientation in (2, 3, 6, 7):
        upright = upright[:, ::-1]
    if orientation in (3, 4, 7, 8):
        upright = upright[::-1]
    return upright.transpose(1, 0, 2) if orientation >= 5 else upright


def _stored_place(origin: Origin, photo: Photo, orientation: int) -> tuple[int, int]:
    """Return where the source's stored picture starts on the photo's, as it will be stored."""
    pixels = origin.pixels if origin.pixels is not None else photo.pixels
    left, top = origin.left, origin.top
    if orientation in (2, 3, 6, 7):
        left = photo.size.width - pixels.shape[1] - left
    if orientation in (3, 4, 7, 8):
        top = photo.size.height - pixels.shape[0] - top
    return (top, left) if orientation >= 5 else (left, top)


def _left_out(data: bytes, end: int) -> tuple[str, ...]:
    behind = len(data) - end
    if behind < 256:
        return ()
    return (f"{behind} bytes behind the picture (a motion clip or further pictures) were left out",)
