"""TIFF directories: the shape of EXIF blocks and of TIFF files, read entry by entry and written back.

Knows tags only as numbers with raw values, plus the few that say how a picture lies (orientation) and how
pixels are stored. It reads hostile bytes: everything is bounds-checked, and what cannot be read is absent.
It knows no pixels and no other container.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
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
        high, low = text[0::2].count(0), text[1::2].count(0)
        wide = "utf-16-be" if high > low or (high == low and first.order == ">") else "utf-16-le"
        return text.decode(wide, "replace").strip("\0 ")
    return (text if kind in (b"ASCII\0\0\0", bytes(8)) else raw).decode("utf-8", "replace").strip("\0 ")


def with_comment(block: bytes | None, text: str) -> bytes:
    """Return an EXIF block with a user comment, in place of the one it has; every other byte keeps its place.

    What is new goes behind the block, so that offsets in makers' notes stay right. A block that cannot be read comes
    back as it is.
    """
    value = b"UNICODE\0" + text.encode("utf-16-be", "replace")
    first = read(block) if block else None
    if block is None or first is None:
        entry = Entry(tag=USER_COMMENT, kind=7, count=len(value), value=value, at=0)
        body = _directory_bytes([], {EXIF_IFD: [entry]}, ">", 8)
        return b"MM\0*" + struct.pack(">I", 8) + body
    order, top = first.order, struct.unpack_from(first.order + "I", block, 4)[0]
    inner = first.number(EXIF_IFD) if EXIF_IFD in first.entries else 0
    records, link = _records(block, inner, order) if inner else ([], bytes(4))
    if records is None:
        return block
    out = bytearray(block[: _own_start(block, inner, order)])
    out += bytes(len(out) & 1)
    if inner:
        pointer = first.entries[EXIF_IFD].at
    else:
        outer, next_link = _records(block, top, order)
        if outer is None:
            return block
        struct.pack_into(order + "I", out, 4, len(out))
        outer = sorted([*outer, struct.pack(order + "HHII", EXIF_IFD, 4, 1, 0)], key=_tag_in(order))
        place = next(n for n, record in enumerate(outer) if _tag_in(order)(record) == EXIF_IFD)
        pointer = len(out) + 2 + 12 * place + 8
        out += struct.pack(order + "H", len(outer)) + b"".join(outer) + next_link
    comment = struct.pack(order + "HHII", USER_COMMENT, 7, len(value), len(out))
    out += value + bytes(len(value) & 1)
    struct.pack_into(order + "I", out, pointer, len(out))
    kept = [record for record in records if _tag_in(order)(record) != USER_COMMENT]
    kept = sorted([*kept, comment], key=_tag_in(order))
    return bytes(out + struct.pack(order + "H", len(kept)) + b"".join(kept) + link)


def _records(block: bytes, at: int, order: str) -> tuple[list[bytes] | None, bytes]:
    """Return a directory's entries as they are, 12 bytes each, and the link behind them; None if it is cut off."""
    if at + 2 > len(block):
        return None, b""
    count = struct.unpack_from(order + "H", block, at)[0]
    end = at + 2 + 12 * count
    if end > len(block):
        return None, b""
    return [block[n : n + 12] for n in range(at + 2, end, 12)], block[end : end + 4].ljust(4, b"\0")


def _own_start(block: bytes, inner: int, order: str) -> int:
    """Return where a comment begins that `with_comment` put at the end of a block; else the block's end."""
    directory = read_at(block, inner, order) if inner else None
    entry = directory.entries.get(USER_COMMENT) if directory else None
    if directory is None or entry is None or entry.at >= inner:
        return len(block)
    behind = entry.at + len(entry.value) + (len(entry.value) & 1)
    count = struct.unpack_from(order + "H", block, inner)[0]
    last = inner + 2 + 12 * count + 4
    return entry.at if behind == inner and last >= len(block) else len(block)


def _tag_in(order: str) -> Callable[[bytes], int]:
    return lambda record: int(struct.unpack_from(order + "H", record)[0])


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
