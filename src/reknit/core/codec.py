"""The door to files of pictures: read, decode, encode, write.

The rooms behind it: `core.containers` (names and magic numbers), `core.decode`, `core.encode`,
`core.metadata` and `core.exif` (what is carried beside pixels), `core.jpeg` (JPEG blocks carried without
loss) and `core.files` (atomic writing).
"""

from __future__ import annotations

from reknit.core.containers import (
    SUFFIXES,
    WRITABLE,
    Encoded,
    container_of,
    library_version,
    sniff,
    supported,
)
from reknit.core.decode import Limits, MaskSource, decode, decode_mask_source, read
from reknit.core.encode import encode, write

__all__ = [
    "SUFFIXES",
    "WRITABLE",
    "Encoded",
    "Limits",
    "MaskSource",
    "container_of",
    "decode",
    "decode_mask_source",
    "encode",
    "library_version",
    "read",
    "sniff",
    "supported",
    "write",
]
