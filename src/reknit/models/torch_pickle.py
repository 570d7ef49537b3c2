"""The table of contents of a PyTorch file, ``.pt``, ``.pth``, ``.ckpt`` or TorchScript, without unpickling it.

A pickle is a program. Here its opcodes are only looked at (`pickletools.genops`) by a machine that knows
tuples, lists, tables and "a tensor of this type and shape"; nothing is imported, called or constructed. Both
the zip form (since PyTorch 1.6) and the older one are read.
"""

from __future__ import annotations

import io
import pickletools
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, cast

from reknit.models.header import MAX_DIMENSIONS, Steps, Tensor, damaged

MAX_PICKLE_BYTES = 64 * 2**20
MAX_DIRECTORY_BYTES = 64 * 2**20
MAX_CODE_BYTES = 16 * 2**20
_STORAGES = {
    "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "DoubleStorage": "float64", "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16",
    "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool", "UntypedStorage": "uint8",
}  # fmt: skip
_REBUILD = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3")
_LEGACY_HEADERS = 3  # pickles before the one that counts: a magic number, a version, the system's sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a PyTorch file holds.

    Attributes
    ----------
    tensors : dict of str to Tensor
        By dotted name.
    script : bool
        Whether it is TorchScript: a program with its weights, rather than weights alone.
    code : str
        The names of a script's modules and its source, for recognising it; never run here.
    """

    tensors: dict[str, Tensor]
    script: bool
    code: str = ""


def read_zip(path: Path) -> Contents:
    """Return what a zip archive of PyTorch's holds.

    Raises
    ------
    InputError
        ``model.damaged``
    """
    with path.open("rb") as file:
        _check_directory(file, path.stat().st_size)
        try:
            with zipfile.ZipFile(file) as archive:
                return _archive(archive)
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            OSError,
            EOFError,
            ValueError,
            RuntimeError,
        ) as error:
            raise damaged(f"it is no whole zip archive ({error})") from None


def read_legacy(path: Path) -> Contents:
    """Return what a PyTorch file from before version 1.6 holds."""
    with path.open("rb") as file:
        stream = io.BytesIO(file.read(min(path.stat().st_size, MAX_PICKLE_BYTES)))
    steps = Steps()
    value = _interpreted(stream, steps)
    if isinstance(value, int):
        for _ in range(_LEGACY_HEADERS):
            value = _interpreted(stream, steps)
    return Contents(tensors=_flat(value), script=False)


def _archive(archive: zipfile.ZipFile) -> Contents:
    pickles = {PurePosixPath(name).name: name for name in archive.namelist() if name.endswith(".pkl")}
    if "data.pkl" not in pickles:
        raise damaged("the archive holds no PyTorch pickle")
    tensors = _member_tensors(archive, pickles["data.pkl"])
    if "constants.pkl" in pickles:  # where a frozen script keeps its weights
        constants = _member_tensors(archive, pickles["constants.pkl"])
        tensors |= {f"constants.{name}": tensor for name, tensor in constants.items()}
    code = [name for name in archive.namelist() if "/code/" in name and name.endswith(".py")]
    script = bool(code) or "constants.pkl" in pickles
    text = "\n".join(code)
    for name in code[:100]:
        text += "\n" + _member(archive, name, MAX_CODE_BYTES).decode("utf-8", "replace")
        if len(text) > MAX_CODE_BYTES:
            break
    return Contents(tensors=tensors, script=script, code=text)


def _member_tensors(archive: zipfile.ZipFile, name: str) -> dict[str, Tensor]:
    return _flat(_interpreted(io.BytesIO(_member(archive, name, MAX_PICKLE_BYTES)), Steps()))


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    if archive.getinfo(name).file_size > limit:
        raise damaged(f"{name[:80]!r} in it says it has more than {limit} bytes")
    with archive.open(name) as member:
        return member.read(limit)


def _check_directory(file: io.BufferedReader, size: int) -> None:
    """Refuse an archive whose table of contents says it is huge; `zipfile` would read all of it."""
    tail_at = max(0, size - 22 - 2**16 - 20)
    file.seek(tail_at)
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + 22 > len(tail):
        raise damaged("it is a zip archive without an end: the download was cut off")
    length = struct.unpack_from("<I", tail, at + 12)[0]
    if length == 0xFFFFFFFF:
        locator = tail.rfind(b"PK\x06\x07", 0, at)
        where = struct.unpack_from("<Q", tail, locator + 8)[0] if locator >= 0 else size
        if where > size - 56:
            raise damaged("its zip directory lies outside the file")
        file.seek(where)
        length = struct.unpack_from("<Q", file.read(56), 40)[0]
    if length > min(size, MAX_DIRECTORY_BYTES):
        raise damaged(f"its zip directory says it has {length} bytes")
    file.seek(0)


@dataclass(slots=True)
class _Name:
    """A class or function a pickle would import."""

    name: str


@dataclass(slots=True, eq=False)
class _Thing:
    """Anything a pickle would construct; what is put into it is kept."""

    items: dict[Any, Any] = field(default_factory=dict[Any, Any])
    state: Any = None


_MARK = object()


def _interpreted(stream: io.BytesIO, steps: Steps) -> Any:
    """Return the value a pickle describes, with `_Thing` for objects and `Tensor` for tensors."""
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            steps.take()
            if opcode.name == "STOP":
                return machine.pop()
            machine.do(opcode.name, argument)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise damaged(f"its pickle cannot be read ({type(error).__name__})") from None
    raise damaged("its pickle has no end")


class _Machine:
    """Follows a pickle's opcodes. It builds tables, lists and tuples, and nothing else."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def pop(self) -> Any:
        return self._stack.pop()

    def do(self, name: str, argument: Any) -> None:
        """Follow one opcode."""
        if name in _IGNORED:
            return
        if name in _SCALARS:
            self._stack.append(_SCALARS[name] if name in _FIXED else argument)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self._stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        elif name == "GLOBAL":
            self._stack.append(_Name(str(argument).replace(" ", ".")))
        else:
            _DO[name](self)

    def marked(self) -> list[Any]:
        values = list[Any]()
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def top(self, count: int) -> list[Any]:
        if count > len(self._stack):
            raise IndexError
        values = self._stack[-count:]
        del self._stack[-count:]
        return values

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def put_items(self, pairs: list[Any]) -> None:
        target = self._stack[-1]
        table = target.items if isinstance(target, _Thing) else target
        if isinstance(table, dict):
            for key, value in zip(pairs[::2], pairs[1::2], strict=True):
                if isinstance(key, (str, int)):
                    table[key] = value

    def append(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            cast("list[Any]", target).extend(values)

    def construct(self) -> None:
        function, arguments = self.top(2)
        self.push(_constructed(function, arguments))

    def build(self) -> None:
        state = self.pop()
        if isinstance(self._stack[-1], _Thing):
            self._stack[-1].state = state

    def storage(self) -> None:
        identity = self.pop()
        kind = identity[1].name.rpartition(".")[2] if isinstance(identity[1], _Name) else ""
        self.push(Tensor(dtype=_STORAGES.get(kind, kind or "unknown"), shape=()))


def _constructed(function: Any, arguments: Any) -> Any:
    name = function.name.rpartition(".")[2] if isinstance(function, _Name) else ""
    if not isinstance(arguments, tuple):
        return _Thing()
    given = cast("tuple[Any, ...]", arguments)
    if name in _REBUILD and len(given) >= 3 and isinstance(given[0], Tensor):
        shape = given[2]
        if len(shape) > MAX_DIMENSIONS or not all(type(side) is int and 0 <= side < 2**40 for side in shape):
            raise damaged("one of its tensors has an impossible shape")
        return Tensor(dtype=given[0].dtype, shape=tuple(shape))
    if name == "_rebuild_parameter" and given:
        return given[0]
    return _Thing()


_IGNORED = frozenset({"PROTO", "FRAME"})
_FIXED: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "MARK": _MARK}
_SCALARS: dict[str, Any] = _FIXED | dict.fromkeys(
    (
        "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING",
        "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES",
        "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    )
)  # fmt: skip


def _instance(machine: _Machine) -> None:
    machine.marked()
    machine.push(_Thing())


def _stack_global(machine: _Machine) -> None:
    module, name = machine.top(2)
    machine.push(_Name(f"{module}.{name}"))


def _duplicate(machine: _Machine) -> None:
    value = machine.pop()
    machine.push(value)
    machine.push(value)


_DO: dict[str, Callable[[_Machine], Any]] = {
    "EMPTY_TUPLE": lambda m: m.push(()),
    "EMPTY_LIST": lambda m: m.push([]),
    "EMPTY_DICT": lambda m: m.push({}),
    "EMPTY_SET": lambda m: m.push([]),
    "TUPLE": lambda m: m.push(tuple(m.marked())),
    "TUPLE1": lambda m: m.push(tuple(m.top(1))),
    "TUPLE2": lambda m: m.push(tuple(m.top(2))),
    "TUPLE3": lambda m: m.push(tuple(m.top(3))),
    "LIST": lambda m: m.push(m.marked()),
    "FROZENSET": lambda m: m.push(tuple(m.marked())),
    "DICT": lambda m: (pairs := m.marked(), m.push({}), m.put_items(pairs)),
    "APPEND": lambda m: m.append(m.top(1)),
    "APPENDS": lambda m: m.append(m.marked()),
    "ADDITEMS": lambda m: m.append(m.marked()),
    "SETITEM": lambda m: m.put_items(m.top(2)),
    "SETITEMS": lambda m: m.put_items(m.marked()),
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _Machine.construct,
    "NEWOBJ": _Machine.construct,
    "NEWOBJ_EX": lambda m: (m.top(3), m.push(_Thing())),
    "OBJ": _instance,
    "INST": _instance,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.storage,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.marked,
    "DUP": _duplicate,
}


def _flat(value: Any) -> dict[str, Tensor]:
    """Return every tensor in nested tables by its dotted name; what is shared or circular counts once."""
    found: dict[str, Tensor] = {}
    seen = set[int]()
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        name, each = waiting.pop()
        if isinstance(each, Tensor):
            found[name] = each
            continue
        inside = _inside(each)
        if inside and id(each) not in seen:
            seen.add(id(each))
            waiting += [(f"{name}.{key}".strip(".")[-400:], part) for key, part in inside]
    return found


def _inside(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, _Thing):
        return [*value.items.items(), ("", value.state)]
    if isinstance(value, dict):
        return list(cast("dict[Any, Any]", value).items())
    if isinstance(value, (list, tuple)):
        return list(enumerate(cast("list[Any]", value)))
    return []
