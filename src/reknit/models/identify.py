"""What a weight file is, from its contents: format, family, whether it inpaints, type and number of weights.

Never from its name, and without reading the weights, importing a framework, or running anything the file
holds. It does not know which models the catalog lists.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from reknit.core.errors import ExternalError, InputError, NotFound
from reknit.models import families, gguf_header, inversion, onnx_graph, safetensors_header, torch_pickle
from reknit.models.families import Family
from reknit.models.header import Tensor, Tensors, damaged, main_dtype

SECOND_CHOICE = (
    "a pickle can run code when it is loaded: a .safetensors file of the same model is the better one"
)
_PICKLE, _ZIP = b"\x80", b"PK\x03\x04"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a weight file is.

    Attributes
    ----------
    format : {'safetensors', 'onnx', 'torchscript', 'gguf', 'pickle'}
    family : str
        The words of `ModelCard.family`; ``unknown`` where nothing known fits.
    kind : str
        ``inpaint`` or ``base`` for what paints; ``control``, ``lora``, ``embedding``, ``image-prompt``, ``vae``,
        ``text`` for parts.
    in_channels : int or None
        What the first layer takes, e.g. 9 for Stable Diffusion's inpainting models and 4 for their bases.
    dtype : str or None
        The type most weights have.
    parameters : int
        How many numbers the weights are.
    bytes : int
        The file's size.
    inputs, outputs : mapping of str to Tensor
        Of an ONNX graph; ``inputs`` also the vectors of an embedding, for each text encoder. Empty for others.
    opset : int or None
        Of an ONNX graph.
    complete : bool
        Whether the weights are in this file, and not in another beside it.
    notes : tuple of str
        What a user of the file should know.
    """

    format: str
    family: str
    kind: str
    in_channels: int | None
    dtype: str | None
    parameters: int
    bytes: int
    inputs: Tensors = field(default_factory=lambda: MappingProxyType({}))
    outputs: Tensors = field(default_factory=lambda: MappingProxyType({}))
    opset: int | None = None
    complete: bool = True
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "format": self.format,
            "family": self.family,
            "kind": self.kind,
            "in_channels": self.in_channels,
            "dtype": self.dtype,
            "parameters": self.parameters,
            "bytes": self.bytes,
            "inputs": _plain(self.inputs),
            "outputs": _plain(self.outputs),
            "opset": self.opset,
            "complete": self.complete,
            "notes": list(self.notes),
        }


def identify(path: Path) -> Identity:
    """Return what the file at ``path`` is.

    It takes milliseconds to a second, and a few megabytes whatever the file's size.

    Raises
    ------
    NotFound
        ``file.missing``
    InputError
        ``model.unrecognised``: no format that holds weights; ``model.damaged``: cut off, broken or hostile.
    ExternalError
        ``file.unreadable``
    """
    try:
        if not path.is_file():
            raise NotFound(f"{path} is no file", code="file.missing", hint="check the path", path=str(path))
        with path.open("rb") as file:
            start = file.read(16)
        return _by_start(path, start, path.stat().st_size)
    except OSError as error:
        raise ExternalError(
            f"cannot read {path}: {error.strerror or error}",
            code="file.unreadable",
            hint="check the permissions of the file and its folder",
            path=str(path),
        ) from error
    except InputError as error:
        if error.code == "model.damaged":
            error.message = f"{path}: {error.message}"
            error.facts["path"] = str(path)
        raise


def _by_start(path: Path, start: bytes, size: int) -> Identity:
    if start.startswith(gguf_header.MAGIC):
        tensors, metadata = gguf_header.read(path)
        family = families.of_tensors(tensors)
        stated = metadata.get("general.architecture")
        if family.name == "unknown" and isinstance(stated, str):
            family = Family(name=stated, kind=family.kind, in_channels=family.in_channels)
        return _made("gguf", family, tensors, size)
    if start.startswith(_ZIP):
        contents = torch_pickle.read_zip(path)
        if contents.script:
            return _made(
                "torchscript", families.of_code(contents.code, contents.tensors), contents.tensors, size
            )
        return _weights("pickle", contents.tensors, size, SECOND_CHOICE)
    if start[8:9] == b"{" or (start[8:16].lstrip().startswith(b"{") and len(start) == 16):
        tensors, _ = safetensors_header.read(path)
        return _weights("safetensors", tensors, size)
    if start.startswith(_PICKLE):
        contents = torch_pickle.read_legacy(path)
        return _weights("pickle", contents.tensors, size, SECOND_CHOICE)
    if start[:1] == b"\x08":
        return _onnx(path, size)
    if start.startswith(b"version https://"):
        raise damaged("it is a Git LFS pointer: the weights themselves were never fetched")
    raise InputError(
        f"{path} is no weight file that Reknit reads",
        code="model.unrecognised",
        hint="known: .safetensors, .onnx, TorchScript .pt, .gguf, and PyTorch .pth and .ckpt",
        path=str(path),
    )


def _onnx(path: Path, size: int) -> Identity:
    graph = onnx_graph.read(path)
    family = families.of_graph(graph.inputs, graph.outputs, graph.weights)
    notes = ("its weights lie in another file beside it",) if graph.external else ()
    if not families.paints(graph.inputs, graph.outputs):
        notes += ("its inputs are not those of an inpainting model: " + ", ".join(graph.inputs),)
    numbers = {name: tensor for name, tensor in graph.weights.items() if tensor.dtype != "int64"}
    return Identity(
        format="onnx",
        family=family.name,
        kind=family.kind,
        in_channels=family.in_channels,
        dtype=main_dtype(numbers),
        parameters=sum(tensor.elements for tensor in numbers.values()),
        bytes=size,
        inputs=MappingProxyType(graph.inputs),
        outputs=MappingProxyType(graph.outputs),
        opset=graph.opset,
        complete=not graph.external,
        notes=notes,
    )


def _weights(form: str, tensors: Tensors, size: int, *notes: str) -> Identity:
    sizes = inversion.vectors(tensors)
    if not sizes:
        return _made(form, families.of_tensors(tensors), tensors, size, *notes)
    inside = {name: tensors[name] for name in sizes}
    made = _made(form, Family(name=inversion.family(sizes), kind="embedding"), inside, size, *notes)
    shapes = {name: Tensor(dtype=inside[name].dtype, shape=shape) for name, shape in sizes.items()}
    return replace(made, inputs=MappingProxyType(shapes))


def _made(form: str, family: Family, tensors: Tensors, size: int, *notes: str) -> Identity:
    return Identity(
        format=form,
        family=family.name,
        kind=family.kind,
        in_channels=family.in_channels,
        dtype=main_dtype(tensors),
        parameters=sum(tensor.elements for tensor in tensors.values()),
        bytes=size,
        notes=notes,
    )


def _plain(tensors: Tensors) -> dict[str, dict[str, Any]]:
    return {name: {"dtype": tensor.dtype, "shape": list(tensor.shape)} for name, tensor in tensors.items()}


__all__ = ["Identity", "Tensor", "identify"]
