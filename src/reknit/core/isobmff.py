"""The boxes of AVIF files, as far as carrying EXIF and telling lossless from lossy needs them.

ISO/IEC 14496-12 (boxes, item locations), 23008-12 (items) and the AV1 specification (sequence header). Reading
is bounds-checked; a file laid out in a way that is not understood comes back as it is. It knows no pixels.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_EXIF_PREFIX = b"\0\0\0\6Exif\0\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """Where an item's only extent is described (32-bit offset and length) and what the offset adds to."""

    at: int
    base: int

    def span(self, data: bytes) -> tuple[int, int]:
        offset, length = struct.unpack_from(">II", data, self.at)
        return self.base + offset, self.base + offset + length


def with_exif(data: bytes, block: bytes) -> bytes:
    """Return an AVIF file with its EXIF item's content replaced by ``block``, byte for byte.

    Encoders rewrite EXIF tag by tag; so the original block is appended in a box of its own and the item's
    location pointed at it.
    """
    item = _item(data, b"Exif")
    if item is None:
        return data
    content = _EXIF_PREFIX + block
    where = struct.pack(">II", len(data) + 8 - item.base, len(content))
    box = struct.pack(">I4s", len(content) + 8, b"mdat") + content
    return data[: item.at] + where + data[item.at + 8 :] + box


def with_own(data: bytes, name: bytes, content: bytes) -> bytes:
    """Return a file with a box of one's own (``uuid``, named by 16 bytes) at its end."""
    return data + struct.pack(">I4s", 24 + len(content), b"uuid") + name + content


def own(data: bytes, name: bytes) -> bytes | None:
    """Return what the last box of that name holds, None if there is none."""
    found = [
        data[at + 16 : end]
        for kind, at, end in _boxes(data, 0, len(data))
        if kind == b"uuid" and data[at : at + 16] == name
    ]
    return found[-1] if found else None


def is_lossless(data: bytes) -> bool:
    """Return whether an AVIF file stores RGB samples as they are, as encoders do for lossless pictures."""
    item = _item(data, b"av01")
    if item is None:
        return False
    at, end = item.span(data)
    try:
        while at + 2 <= min(end, len(data)):
            kind, extended, sized = data[at] >> 3 & 15, data[at] >> 2 & 1, data[at] >> 1 & 1
            at += 1 + extended
            size, shift = 0, 0
            while sized:
                size |= (data[at] & 127) << shift
                shift, at = shift + 7, at + 1
                if data[at - 1] < 128:
                    break
            if kind == 1:
                return _identity_matrix(_Bits(data[at : at + 64]))
            at += size
    except IndexError:
        return False
    return False


class _Bits:
    """Bits of a byte string, highest first; raises IndexError behind the end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise IndexError
        return self._value >> self._left & ((1 << count) - 1)


def _identity_matrix(bits: _Bits) -> bool:
    """Read a sequence header (AV1 5.5) up to matrix_coefficients; return whether it says identity (0)."""
    profile, _, reduced = bits.take(3), bits.take(1), bits.take(1)
    if reduced:
        bits.take(5)
    elif not _skip_operating_points(bits):
        return False
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    bits.take(width_bits + height_bits)
    if not reduced and bits.take(1):
        bits.take(7)
    bits.take(3)
    if not reduced:
        _skip_inter_tools(bits)
    bits.take(3)
    high = bits.take(1)
    if profile == 2 and high:
        bits.take(1)
    if profile != 1 and bits.take(1):
        return False  # monochrome
    return bool(bits.take(1)) and bits.take(24) & 0xFF == 0


def _skip_operating_points(bits: _Bits) -> bool:
    if bits.take(1):
        return False  # timing information: no still picture
    delays = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delays and bits.take(1):
            bits.take(4)
    return True


def _skip_inter_tools(bits: _Bits) -> None:
    bits.take(4)
    order_hint = bits.take(1)
    if order_hint:
        bits.take(2)
    screen_content = 2 if bits.take(1) else bits.take(1)
    if screen_content and not bits.take(1):
        bits.take(1)
    if order_hint:
        bits.take(3)


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while at + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, at)
        if size < 8 or at + size > end:
            return
        yield name, at + 8, at + size
        at += size


def _item(data: bytes, kind: bytes) -> _Item | None:
    """Return the first item of a kind, if it has one extent in the usual form."""
    try:
        places = {name: (start, end) for name, start, end in _boxes(data, 0, len(data))}
        start, end = places[b"meta"]
        inner = {name: (a, b) for name, a, b in _boxes(data, start + 4, end)}
        at, stop = inner[b"iinf"]
        at += 6 if data[at] == 0 else 8
        for name, a, _ in _boxes(data, at, stop):
            if name == b"infe" and data[a] == 2 and data[a + 8 : a + 12] == kind:
                return _located(data, *inner[b"iloc"], int(struct.unpack_from(">H", data, a + 4)[0]))
    except (KeyError, IndexError, struct.error):
        return None
    return None


def _located(data: bytes, at: int, end: int, item: int) -> _Item | None:
    version, sizes = data[at], struct.unpack_from(">H", data, at + 4)[0]
    base_bytes = sizes >> 4 & 15
    if version > 1 or sizes >> 8 != 0x44 or base_bytes not in (0, 4) or sizes & 15:
        return None
    head = 4 if version == 0 else 6
    count = struct.unpack_from(">H", data, at + 6)[0]
    at += 8
    for _ in range(count):
        number = struct.unpack_from(">H", data, at)[0]
        at += head
        base = int.from_bytes(data[at : at + base_bytes], "big")
        extents = struct.unpack_from(">H", data, at + base_bytes)[0]
        at += base_bytes + 2
        if number == item:
            return _Item(at=at, base=base) if extents == 1 and at + 8 <= end else None
        at += 8 * extents
    return None
