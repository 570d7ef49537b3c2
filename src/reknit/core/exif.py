"""TIFF directories: the shape of EXIF blocks and of TIFF files, read entry by entry and written back.

Knows tags only as numbers with raw values, plus the few that say how a picture lies (orientation) and how
pixels are stored. It reads hostile bytes: everything is bounds-checked, and what cannot be read is absent.
It knows no pixels and no other container.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

ORIENTATION = 0x0112
EXIF_IFD = 0x8769
GPS_IFD = 0x8825
INTEROP_IFD = 0xA005
COMPRESSION = 0x0103
PHOTOMETRIC = 0x0106
EXTRA_SAMPLES = 0x0152
USER_COMMENT = 0x9286
XMP = 700
IPTC = 33723
PHOTOSHOP = 34377
ICC = 34675

_TYPE_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_SWAP_BYTES = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4}
_POINTERS = (EXIF_IFD, GPS_IFD, INTEROP_IFD)
# Tags of a TIFF file's first directory that describe the picture, not how its pixels are stored:
# ImageDescription, Make, Model, Software, DateTime, Artist, HostComputer, Copyright.
_DESCRIPTIVE = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x8298)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One tag: its type, number of values, raw bytes in the file's order, and where those bytes lie."""

    tag: int
    kind: int
    count: int
    value: bytes
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """The first directory of a TIFF structure: byte order (``"<"`` or ``">"``) and entries by tag."""

    order: str
    entries: dict[int, Entry]

    def number(self, tag: int, default: int = 0) -> int:
        """Return the first value of a whole-number tag, or ``default``."""
        entry = self.entries.get(tag)
        if entry is None:
            return default
        form = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}.get(entry.kind)
        if form is None or len(entry.value) < struct.calcsize(form):
            return default
        return int(struct.unpack_from(self.order + form, entry.value)[0])

    def ratio(self, tag: int) -> float | None:
        """Return the first value of an unsigned rational tag, or None."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind != 5 or len(entry.value) < 8:
            return None
        top, bottom = struct.unpack_from(self.order + "II", entry.value)
        return top / bottom if bottom else None

    def raw(self, tag: int) -> bytes | None:
        """Return a tag's bytes, or None."""
        entry = self.entries.get(tag)
        return entry.value if entry is not None and entry.value else None


def read(data: bytes) -> Directory | None:
    """Return the first directory of a TIFF file or EXIF block (classic or BigTIFF), or None."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        return None
    magic = struct.unpack_from(order + "H", data, 2)[0]
    if magic == 43 and len(data) >= 16:
        return read_at(data, struct.unpack_from(order + "Q", data, 8)[0], order, big=True)
    if magic != 42:
        return None
    return read_at(data, struct.unpack_from(order + "I", data, 4)[0], order)


def read_at(data: bytes, offset: int, order: str, *, big: bool = False) -> Directory | None:
    """Return the directory at ``offset``, leaving out entries whose values lie outside ``data``."""
    count_form, entry_form, inline = ("Q", "HHQ", 8) if big else ("H", "HHI", 4)
    start = offset + struct.calcsize("=" + count_form)
    if start > len(data):
        return None
    count = min(struct.unpack_from(order + count_form, data, offset)[0], 4096)
    step = struct.calcsize("=" + entry_form) + inline
    entries: dict[int, Entry] = {}
    for at in range(start, min(start + count * step, len(data) - step + 1), step):
        tag, kind, number = struct.unpack_from(order + entry_form, data, at)
        size = _TYPE_BYTES.get(kind, 0) * number
        value_at = at + step - inline
        if size > inline:
            value_at = struct.unpack_from(order + ("Q" if big else "I"), data, value_at)[0]
        if size == 0 or value_at + size > len(data):
            continue
        value = data[value_at : value_at + size]
        entries[tag] = Entry(tag=tag, kind=kind, count=number, value=value, at=value_at)
    return Directory(order=order, entries=entries)


def orientation(block: bytes | None) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none or it makes no sense."""
    directory = read(block) if block else None
    value = directory.number(ORIENTATION, 1) if directory else 1
    return value if 1 <= value <= 8 else 1


def turned(block: bytes, value: int) -> bytes:
    """Return an EXIF block with its orientation, if it tells one, set to ``value``; other bytes stay."""
    directory = read(block)
    entry = directory.entries.get(ORIENTATION) if directory else None
    if directory is None or entry is None or entry.kind != 3 or directory.number(ORIENTATION) == value:
        return block
    return block[: entry.at] + struct.pack(directory.order + "H", value) + block[entry.at + 2 :]


def user_comment(block: bytes | None) -> str:
    """Return the comment that a user, or a program, put into an EXIF block; empty if there is none."""
    first = read(block) if block else None
    if block is None or first is None or EXIF_IFD not in first.entries:
        return ""
    inner = read_at(block, first.number(EXIF_IFD), first.order)
    raw = inner.raw(USER_COMMENT) if inner is not None else None
    if raw is None:
        return ""
    kind, text = raw[:8], raw[8:]
    if kind == b"UNICODE\0":  # in the block's order by the standard, big-endian by custom
        wide = "utf-16-be" if text[:1] == b"\0" or first.order == ">" else "utf-16-le"
        return text.decode(wide, "replace").strip("\0 ")
    return (text if kind in (b"ASCII\0\0\0", bytes(8)) else raw).decode("utf-8", "replace").strip("\0 ")


def from_tiff(data: bytes) -> bytes | None:
    """Return an EXIF block made of a TIFF file's descriptive, EXIF and GPS tags, or None if it has none."""
    first = read(data)
    if first is None:
        return None
    top = [first.entries[tag] for tag in _DESCRIPTIVE if tag in first.entries]
    nested = _nested(data, first)
    if not top and not nested:
        return None
    header = b"II*\0" if first.order == "<" else b"MM\0*"
    body = _directory_bytes(top, nested, first.order, 8)
    return header + struct.pack(first.order + "I", 8) + body


def into_tiff(data: bytes, block: bytes | None, blobs: Mapping[int, bytes]) -> bytes:
    """Return a classic TIFF file with an EXIF block's tags and ``blobs`` (raw bytes by tag) added.

    Pixels stay where they are: a new first directory is appended and the header pointed at it. Tags that the
    file has already are kept. BigTIFF files come back unchanged.
    """
    first = read(data)
    if first is None or data[2:4] not in (b"*\0", b"\0*"):
        return data
    merged = {tag: entry for tag, entry in first.entries.items() if tag not in _POINTERS}
    for tag, blob in blobs.items():
        merged[tag] = Entry(tag=tag, kind=7, count=len(blob), value=blob, at=0)
    given = read(block) if block else None
    nested: _Nested = {}
    if block and given is not None:
        for tag in _DESCRIPTIVE:
            if tag in given.entries:
                merged.setdefault(tag, _reordered(given.entries[tag], given.order, first.order))
        for tag, entries in _nested(block, given).items():
            nested[tag] = [_reordered(entry, given.order, first.order) for entry in entries]
    at = len(data) + (len(data) & 1)
    body = _directory_bytes(list(merged.values()), nested, first.order, at)
    padded = data + b"\0" * (at - len(data))
    return padded[:4] + struct.pack(first.order + "I", at) + padded[8:] + body


_Nested = dict[int, list[Entry]]


def _nested(data: bytes, first: Directory) -> _Nested:
    found: _Nested = {}
    for tag in (EXIF_IFD, GPS_IFD):
        inner = read_at(data, first.number(tag), first.order) if tag in first.entries else None
        if inner is not None:
            entries = [entry for entry in inner.entries.values() if entry.tag not in _POINTERS]
            if entries:
                found[tag] = entries
    return found


def _reordered(entry: Entry, old: str, new: str) -> Entry:
    width = _SWAP_BYTES.get(entry.kind, 1)
    if old == new or width == 1:
        return entry
    value = b"".join(entry.value[i : i + width][::-1] for i in range(0, len(entry.value), width))
    return Entry(tag=entry.tag, kind=entry.kind, count=entry.count, value=value, at=entry.at)


def _directory_bytes(entries: list[Entry], nested: _Nested, order: str, at: int) -> bytes:
    """Return a directory that will lie at ``at``, followed by its values and its nested directories."""
    tags = sorted(
        [*((e.tag, e) for e in entries), *((tag, None) for tag in nested)], key=lambda pair: pair[0]
    )
    head = struct.pack(order + "H", len(tags))
    tail = bytearray()
    tail_at = at + 2 + 12 * len(tags) + 4
    for tag, entry in tags:
        if entry is None:
            head += struct.pack(order + "HHII", tag, 4, 1, tail_at + len(tail))
            tail += _directory_bytes(nested[tag], {}, order, tail_at + len(tail))
            continue
        head += struct.pack(order + "HHI", tag, entry.kind, entry.count)
        if len(entry.value) <= 4:
            head += entry.value.ljust(4, b"\0")
        else:
            head += struct.pack(order + "I", tail_at + len(tail))
            tail += entry.value + b"\0" * (len(entry.value) & 1)
    return head + struct.pack(order + "I", 0) + bytes(tail)
