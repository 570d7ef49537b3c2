"""An ONNX file's inputs, outputs and weights' shapes, read with a minimal walk over its protobuf.

Neither the ``onnx`` package nor onnxruntime is imported, and no weight is copied: the file is mapped and only
the fields needed are looked at. Field numbers are those of ``onnx.proto``
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reknit.models.header import MAX_DIMENSIONS, Steps, Tensor, damaged

_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string",
    9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16", 17: "float8_e4m3fn",
    19: "float8_e5m2", 21: "uint4", 22: "int4",
}  # fmt: skip
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_TEXT = 4096

Span = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """What a graph wants, gives and weighs.

    Attributes
    ----------
    inputs, outputs : dict of str to Tensor
        Inputs without those that are weights.
    weights : dict of str to Tensor
        Initializers and constants of numbers.
    opset : int or None
        Of the default domain.
    operators : frozenset of str
    external : bool
        Whether weights lie in another file beside this one.
    """

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    weights: dict[str, Tensor]
    opset: int | None
    operators: frozenset[str]
    external: bool = False


def read(path: Path) -> Graph:
    """Return what an ONNX file's graph says of itself.

    Raises
    ------
    InputError
        ``model.damaged``: the file is cut off, or no ONNX model.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        walk = _Walk(data)
        graph: Span | None = None
        opset = None
        for number, value in walk.fields((0, len(data))):
            if number == 7 and isinstance(value, tuple):
                graph = value
            elif number == 8 and isinstance(value, tuple):
                domain, version = walk.opset(value)
                opset = version if domain in ("", "ai.onnx") else opset
        if graph is None:
            raise damaged("it holds no ONNX graph")
        return walk.graph(graph, opset)


class _Walk:
    """Steps through protobuf fields of a mapped file; every span is checked against the one around it."""

    __slots__ = ("_data", "_external", "_steps")

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._steps = Steps()
        self._external = False

    def fields(self, span: Span) -> Iterator[tuple[int, int | Span]]:
        """Yield each field's number with its value: an int, or the span of its bytes."""
        at, end = span
        while at < end:
            self._steps.take()
            key, at = self._varint(at, end)
            kind, number = key & 7, key >> 3
            if kind == _VARINT:
                value, at = self._varint(at, end)
                yield number, value
                continue
            if kind == _BYTES:
                length, at = self._varint(at, end)
            elif kind in (_FIXED64, _FIXED32):
                length = 8 if kind == _FIXED64 else 4
            else:
                raise damaged("it is no protobuf")
            if length > end - at or number == 0:
                raise damaged("a part of it says it is larger than the whole")
            yield number, (at, at + length)
            at += length

    def graph(self, span: Span, opset: int | None) -> Graph:
        inputs: dict[str, Tensor] = {}
        outputs: dict[str, Tensor] = {}
        weights: dict[str, Tensor] = {}
        operators: set[str] = set()
        for number, value in self.fields(span):
            if not isinstance(value, tuple):
                continue
            if number == 1:
                operator, constant = self._node(value)
                operators.add(operator)
                if constant is not None:
                    weights[f"constant {len(weights)}"] = constant
            elif number == 5:
                name, tensor = self._tensor(value)
                weights[name or f"initializer {len(weights)}"] = tensor
            elif number in (11, 12):
                name, tensor = self._value_info(value)
                (inputs if number == 11 else outputs)[name] = tensor
        return Graph(
            inputs={name: tensor for name, tensor in inputs.items() if name not in weights},
            outputs=outputs,
            weights=weights,
            opset=opset,
            operators=frozenset(operators),
            external=self._external,
        )

    def opset(self, span: Span) -> tuple[str, int]:
        domain, version = "", 0
        for number, value in self.fields(span):
            if number == 1 and isinstance(value, tuple):
                domain = self._text(value)
            elif number == 2 and isinstance(value, int):
                version = value
        return domain, version

    def _node(self, span: Span) -> tuple[str, Tensor | None]:
        operator, attributes = "", list[Span]()
        for number, value in self.fields(span):
            if number == 4 and isinstance(value, tuple):
                operator = self._text(value)
            elif number == 5 and isinstance(value, tuple):
                attributes.append(value)
        if operator != "Constant":
            return operator, None
        for attribute in attributes:
            for number, value in self.fields(attribute):
                if number == 5 and isinstance(value, tuple):
                    return operator, self._tensor(value)[1]
        return operator, None

    def _tensor(self, span: Span) -> tuple[str, Tensor]:
        name, dtype, shape = "", 0, list[int | str | None]()
        for number, value in self.fields(span):
            if number == 1:
                shape += [value] if isinstance(value, int) else self._packed(value)
            elif number == 2 and isinstance(value, int):
                dtype = value
            elif number == 8 and isinstance(value, tuple):
                name = self._text(value)
            elif number == 14 and value == 1:
                self._external = True
        return name, _made(dtype, shape)

    def _value_info(self, span: Span) -> tuple[str, Tensor]:
        name, tensor = "", Tensor(dtype="unknown", shape=())
        for number, value in self.fields(span):
            if number == 1 and isinstance(value, tuple):
                name = self._text(value)
            elif number == 2 and isinstance(value, tuple):
                for inner, kind in self.fields(value):
                    if inner == 1 and isinstance(kind, tuple):
                        tensor = self._tensor_type(kind)
        return name, tensor

    def _tensor_type(self, span: Span) -> Tensor:
        dtype, shape = 0, list[int | str | None]()
        for number, value in self.fields(span):
            if number == 1 and isinstance(value, int):
                dtype = value
            elif number == 2 and isinstance(value, tuple):
                shape = [
                    self._side(side) for n, side in self.fields(value) if n == 1 and isinstance(side, tuple)
                ]
        return _made(dtype, shape)

    def _side(self, span: Span) -> int | str | None:
        side: int | str | None = None
        for number, value in self.fields(span):
            if number == 1 and isinstance(value, int):
                side = value if value < 2**63 else None
            elif number == 2 and isinstance(value, tuple):
                side = self._text(value)
        return side

    def _packed(self, span: Span) -> list[int]:
        at, end = span
        values = list[int]()
        while at < end and len(values) <= MAX_DIMENSIONS:
            value, at = self._varint(at, end)
            values.append(value)
        return values

    def _text(self, span: Span) -> str:
        start, end = span
        return self._data[start : min(end, start + _MAX_TEXT)].decode("utf-8", "replace")

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                raise damaged("it ends in the middle of a number")
            byte = self._data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
        raise damaged("it is no protobuf")


def _made(dtype: int, shape: list[int | str | None]) -> Tensor:
    if len(shape) > MAX_DIMENSIONS or any(isinstance(side, int) and side >= 2**40 for side in shape):
        raise damaged("one of its tensors has an impossible shape")
    return Tensor(dtype=_TYPES.get(dtype, f"type {dtype}"), shape=tuple(shape))
