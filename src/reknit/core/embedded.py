"""Pictures inside metadata, taken out: thumbnails and previews would still show what was removed from the photo.

Cameras put small JPEG files into EXIF (its second directory, makers' notes), into Photoshop's resources and, as
base64, into XMP. They are blanked in place, so that all offsets stay, and the thumbnail's directory is unlinked.
Hostile bytes are expected: what cannot be read stays as it is. It knows no container and no pixels.
"""

from __future__ import annotations

import re
import struct

from reknit.core import exif

NOTE = "thumbnails in the metadata showed the old content: left out"

_START = b"\xff\xd8\xff"
_THUMBNAIL_RESOURCES = (1033, 1036)
_STRIPS, _STRIP_BYTES = 0x0111, 0x0117
_JPEG_AT, _JPEG_BYTES = 0x0201, 0x0202
_MOST_DIRECTORIES = 8
# A JPEG file in base64 begins with these letters; XML may break its lines by entities.
_BASE64_JPEG = rb"/9j/(?:[A-Za-z0-9+/=\s]|&#x?[0-9A-Fa-f]{1,4};){64,}"
_EXTENDED = rb"""\s*xmpNote:HasExtendedXMP\s*=\s*(?:"[^"]*"|'[^']*')"""


def without_pictures(block: bytes) -> bytes:
    """Return an EXIF block, or Photoshop's resources, with every JPEG file inside made of zeros.

    Further directories of an EXIF block, which describe thumbnails, are unlinked and their pixels blanked too. The
    length stays, but for a thumbnail at the end, which is cut off.
    """
    out = bytearray(block)
    _unlink(out)
    at = out.find(_START)
    while at >= 0:
        end = _jpeg_end(out, at)
        if end:
            out[at:end] = bytes(end - at)
        at = out.find(_START, end or at + 1)
    if len(out.rstrip(b"\0")) < len(block.rstrip(b"\0")) and exif.read(block) is not None:
        del out[len(out.rstrip(b"\0")) + 8 :]
    return bytes(out)


def xmp_without_pictures(packet: bytes) -> bytes:
    """Return an XMP packet without JPEG files in base64 and without its pointer to an extended packet."""
    return re.sub(_EXTENDED, b"", re.sub(_BASE64_JPEG, b"", packet))


def _unlink(out: bytearray) -> None:
    """Blank what the directories after the first describe, and end the chain at the first."""
    data = bytes(out)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        return
    link = _link_at(data, struct.unpack_from(order + "I", data, 4)[0], order)
    for _ in range(_MOST_DIRECTORIES):
        here = struct.unpack_from(order + "I", data, link)[0] if link is not None else 0
        directory = exif.read_at(data, here, order) if 8 <= here < len(data) - 2 else None
        if link is None or directory is None:
            return
        for at, size in _pixels(directory):
            if 8 <= at < at + size <= len(out):
                out[at : at + size] = bytes(size)
        out[link : link + 4] = bytes(4)
        link = _link_at(data, here, order)


def _link_at(data: bytes, directory: int, order: str) -> int | None:
    """Return where a directory keeps the place of the next one."""
    if directory + 2 > len(data):
        return None
    at = directory + 2 + 12 * struct.unpack_from(order + "H", data, directory)[0]
    return at if at + 4 <= len(data) else None


def _pixels(directory: exif.Directory) -> list[tuple[int, int]]:
    """Return place and length of what a directory of a thumbnail points at."""
    places = _numbers(directory, _JPEG_AT) + _numbers(directory, _STRIPS)
    sizes = _numbers(directory, _JPEG_BYTES) + _numbers(directory, _STRIP_BYTES)
    return list(zip(places, sizes, strict=False))


def _numbers(directory: exif.Directory, tag: int) -> list[int]:
    entry = directory.entries.get(tag)
    form = {3: "H", 4: "I"}.get(entry.kind) if entry is not None else None
    if entry is None or form is None:
        return []
    return list(struct.unpack_from(f"{directory.order}{entry.count}{form}", entry.value))


def _jpeg_end(data: bytearray, start: int) -> int:
    """Return where the JPEG file that begins at ``start`` ends; 0 if none begins there."""
    at = start + 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if not (0xC0 <= marker <= 0xCF or 0xDA <= marker <= 0xEF or marker == 0xFE):
            return 0
        after = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        if marker == 0xDA:
            end = data.find(b"\xff\xd9", after)
            return end + 2 if end >= 0 else len(data)
        if after < at + 4 or after > len(data):
            return 0
        at = after
    return 0
