"""Small weight files of every format, made in code: right ones, so that tests can also break them."""

import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from math import prod
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

Shapes = dict[str, tuple[int, ...]]

BITS = {"F32": 32, "F16": 16, "BF16": 16}


def safetensors(path: Path, shapes: Shapes, dtype: str = "F16", *, zeros: bool = True) -> Path:
    """Write a file with these tensors; without ``zeros`` it is sparse: as large, but holding no data."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in shapes.items():
        size = prod(shape) * BITS[dtype] // 8
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    header = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        if zeros:
            file.write(bytes(at))
        else:
            file.truncate(8 + len(header) + at)
    return path


def onnx_model(
    path: Path,
    inputs: dict[str, tuple[int, list[Any]]],
    outputs: dict[str, tuple[int, list[Any]]],
    weights: Shapes | None = None,
) -> Path:
    """Write a graph with these inputs and outputs and, as Constant and initializer, the shapes of these weights."""
    made = [
        TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        for name, shape in (weights or {}).items()
    ]
    nodes = [helper.make_node("Identity", [next(iter(inputs))], [name]) for name in outputs]
    nodes += [helper.make_node("Constant", [], [f"c{n}"], value=tensor) for n, tensor in enumerate(made[1:])]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, *kind) for name, kind in outputs.items()],
        made[:1],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def gguf(path: Path, shapes: Shapes, kind: int = 12, version: int = 3) -> Path:
    """Write the header of a GGUF file, with metadata of every shape."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    pairs = [
        text("general.architecture") + struct.pack("<I", 8) + text("flux"),
        text("a.number") + struct.pack("<If", 6, 0.5),
        text("some.numbers") + struct.pack("<IIQ3I", 9, 4, 3, 1, 2, 3),
        text("some.words") + struct.pack("<IIQ", 9, 8, 2) + text("one") + text("two"),
    ]
    body = b"GGUF" + struct.pack("<IQQ", version, len(shapes), len(pairs)) + b"".join(pairs)
    for name, shape in shapes.items():
        body += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], kind, 0)
    path.write_bytes(body + bytes(64))
    return path


class _Storage:
    """Stands for a storage when pickled: PyTorch's files name them by persistent id."""

    def __init__(self, kind: str, key: str, numel: int) -> None:
        self.identity = ("storage", _Global("torch", kind), key, "cpu", numel)


class _Global:
    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class _Tensor:
    def __init__(self, storage: _Storage, shape: tuple[int, ...]) -> None:
        self.storage, self.shape = storage, shape


class _Pickler(pickle._Pickler):  # pyright: ignore[reportAttributeAccessIssue]
    """Writes what torch.save writes, without torch."""

    def persistent_id(self, obj: Any) -> Any:
        return obj.identity if isinstance(obj, _Storage) else None

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, _Global):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, _Tensor):
            self.save(_Global("torch._utils", "_rebuild_tensor_v2"))
            self.save((obj.storage, 0, obj.shape, (1,) * len(obj.shape), False, OrderedDict()))
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


def pickled(value: Any) -> bytes:
    """Return ``value`` as torch.save pickles it; ``_Tensor`` stands for a tensor."""
    buffer = io.BytesIO()
    _Pickler(buffer, 2).dump(value)
    return buffer.getvalue()


def state(shapes: Shapes, kind: str = "FloatStorage") -> dict[str, Any]:
    """Return a state dict of tensors that only have a type and a shape."""
    return OrderedDict(
        (name, _Tensor(_Storage(kind, str(n), prod(shape)), shape))
        for n, (name, shape) in enumerate(shapes.items())
    )


def torch_zip(path: Path, value: Any, code: dict[str, str] | None = None) -> Path:
    """Write a zip file as torch.save (or, with ``code``, torch.jit.save) does."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{path.stem}/data.pkl", pickled(value))
        archive.writestr(f"{path.stem}/version", "3\n")
        for name, text in (code or {}).items():
            archive.writestr(f"{path.stem}/code/{name}", text)
    return path
