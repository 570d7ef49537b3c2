"""The header of a ``.safetensors`` file: names, types and shapes, without reading a weight.

Form: 8 bytes little-endian length, that many bytes of JSON, the data.
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any, cast

from reknit.models.header import MAX_DIMENSIONS, Tensor, damaged

MAX_HEADER_BYTES = 32 * 2**20
"""Real headers stay below 2 MB."""

_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8,
    "BOOL": 8, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
_NAMES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
    "BOOL": "bool", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a file's tensors by name, and its metadata.

    Raises
    ------
    InputError
        ``model.damaged``
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise damaged(f"it says its header has {length} bytes, and the file has {size}")
        if length > MAX_HEADER_BYTES:
            raise damaged(f"it says its header has {length} bytes; no model's is that large")
        table = _json(file.read(length))
    metadata: Any = table.pop("__metadata__", {})
    texts = cast("dict[str, Any]", metadata) if isinstance(metadata, dict) else {}
    room = size - 8 - length
    tensors = {name: _tensor(name, entry, room) for name, entry in table.items()}
    return tensors, {key: str(value) for key, value in texts.items()}


def _json(text: bytes) -> dict[str, Any]:
    try:
        table: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(f"its header is no JSON ({type(error).__name__})") from None
    if not isinstance(table, dict):
        raise damaged("its header is no table of tensors")
    return cast("dict[str, Any]", table)


def _tensor(name: str, entry: Any, room: int) -> Tensor:
    try:
        dtype: str = entry["dtype"]
        sides: list[int] = [*entry["shape"]]
        begin, end = entry["data_offsets"]
        bits = _BITS[dtype]
    except (KeyError, TypeError, ValueError):
        raise damaged(f"its header does not describe {name[:80]!r} as a tensor") from None
    if len(sides) > MAX_DIMENSIONS or not all(
        type(n) is int and 0 <= n < 2**40 for n in (*sides, begin, end)
    ):
        raise damaged(f"its header gives {name[:80]!r} an impossible shape or place")
    if not begin <= end <= room or (prod(sides) * bits + 7) // 8 != end - begin:
        raise damaged(f"its header gives {name[:80]!r} {end - begin} bytes of the {room} there are")
    return Tensor(dtype=_NAMES.get(dtype, dtype), shape=tuple(sides))
