"""The header of a ``.gguf`` file: its metadata and its tensors' names, types and shapes.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian). No weight is read.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

from reknit.models.header import MAX_DIMENSIONS, Steps, Tensor, damaged

MAGIC = b"GGUF"
_TYPES = {
    0: "float32", 1: "float16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K",
    11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS",
    19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "int8", 25: "int16", 26: "int32",
    27: "int64", 28: "float64", 29: "IQ1_M", 30: "bfloat16",
}  # fmt: skip
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_TEXT = 2**16


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return a file's tensors by name, and its scalar and text metadata (arrays are left out).

    Shapes are in PyTorch's order, the reverse of the file's.

    Raises
    ------
    InputError
        ``model.damaged``
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(data)
        version = reader.scalar("I")
        if version not in (2, 3):
            raise damaged(f"its GGUF version is {version}")
        tensors, pairs = reader.scalar("Q"), reader.scalar("Q")
        metadata: dict[str, Any] = {}
        for _ in range(pairs):
            key = reader.text()
            value = reader.value(reader.scalar("I"))
            if value is not None:
                metadata[key] = value
        return dict(reader.tensor() for _ in range(tensors)), metadata


class _Reader:
    """Reads forward through a mapped file and never past its end."""

    __slots__ = ("_at", "_data", "_steps")

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = len(MAGIC)
        self._steps = Steps()

    def scalar(self, form: str) -> Any:
        self._steps.take()
        return struct.unpack("<" + form, self._take(struct.calcsize("<" + form)))[0]

    def text(self) -> str:
        length = self.scalar("Q")
        if length > _MAX_TEXT:
            self._skip(length)
            return ""
        return self._take(length).decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            raise damaged(f"its metadata has a value of unknown type {kind}")
        item, count = self.scalar("I"), self.scalar("Q")
        if item in _SCALARS:
            self._skip(count * struct.calcsize("<" + _SCALARS[item]))
        elif item == _STRING:
            for _ in range(count):
                self._skip(self.scalar("Q"))
        else:
            raise damaged("its metadata has arrays of arrays")
        return None

    def tensor(self) -> tuple[str, Tensor]:
        name = self.text()
        dimensions = self.scalar("I")
        if dimensions > MAX_DIMENSIONS:
            raise damaged(f"{name[:80]!r} has {dimensions} dimensions")
        shape = tuple(self.scalar("Q") for _ in range(dimensions))
        kind, _offset = self.scalar("I"), self.scalar("Q")
        if any(side >= 2**40 for side in shape):
            raise damaged(f"{name[:80]!r} has an impossible shape")
        return name, Tensor(dtype=_TYPES.get(kind, f"type {kind}"), shape=shape[::-1])

    def _take(self, length: int) -> bytes:
        start = self._at
        self._skip(length)
        return self._data[start : self._at]

    def _skip(self, length: int) -> None:
        if length > len(self._data) - self._at:
            raise damaged("it ends in the middle of its header")
        self._at += length
