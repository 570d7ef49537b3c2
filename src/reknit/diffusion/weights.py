"""Tensors out of weight files: one file or shards, read lazily from the disk, and checked for what is no number.

It knows formats, and no model. Only tensors are ever taken out of a pickle.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from reknit.core.errors import ExternalError, InputError, Unavailable
from reknit.diffusion.memory import memory_guard
from reknit.models.header import damaged

Tensors = dict[str, Any]
"""Torch tensors by name."""


def extra(module: str) -> Any:
    """Return a module of the extra ``diffusion``.

    Raises
    ------
    Unavailable
        ``engine.missing``
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise Unavailable(
            f"{module.partition('.')[0]} is not installed: {error}",
            code="engine.missing",
            hint='pip install "reknit[diffusion]"',
            module=module,
        ) from error


def read(path: Path) -> Tensors:
    """Return the tensors of a ``.safetensors``, ``.gguf``, ``.ckpt``, ``.bin`` or ``.pth`` file, or an index of shards.

    Tensors are mapped: their bytes are read when they are used. Quantised ones of GGUF files stay so, as diffusers'
    ``GGUFParameter``; those in 8-bit floating point with a scale beside them become bfloat16.

    Raises
    ------
    InputError
        ``model.damaged``
    ExternalError
        ``file.unreadable``
    OutOfMemory
    """
    try:
        with memory_guard("reading the weights"):
            if path.name.endswith(".index.json"):
                return _shards(path)
            if path.suffix.lower() in (".safetensors", ".sft"):
                return unscaled(extra("safetensors.torch").load_file(path))
            if path.suffix.lower() == ".gguf":
                return _gguf(path)
            return _pickled(path)
    except OSError as error:
        raise ExternalError(
            f"cannot read {path}: {error.strerror or error}",
            code="file.unreadable",
            hint="check the permissions of the file and its folder",
            path=str(path),
        ) from error
    except (InputError, Unavailable):
        raise
    except Exception as error:  # SafetensorError, UnpicklingError, JSON's, torch's: all say that it is broken
        raise damaged(f"{path}: {error}") from error


def weight_file(folder: Path) -> Path | None:
    """Return the file, or the index of shards, that holds a component's weights: whole precision first."""
    found = [
        path
        for path in sorted(folder.glob("*"))
        if path.name.endswith((".safetensors", ".bin", ".index.json")) and ".non_ema." not in path.name
    ]
    whole = [path for path in found if "-of-" not in path.name]

    def order(path: Path) -> tuple[bool, bool, bool, str]:
        return (
            ".bin" in path.name,
            any(part in path.name for part in (".fp16.", ".bf16.")),
            path.name.endswith(".json"),
            path.name,
        )

    return min(whole, key=order, default=None)


def shape(tensor: Any) -> tuple[int, ...]:
    """Return a tensor's shape; of a quantised one, that of the weights it stands for."""
    return tuple(getattr(tensor, "quant_shape", tensor.shape))


def plain(tensor: Any) -> Any:
    """Return a tensor that is not quantised: the same, or the weights a quantised one stands for."""
    if not hasattr(tensor, "quant_shape"):
        return tensor
    return extra("diffusers.quantizers.gguf.utils").dequantize_gguf_tensor(tensor)


def unscaled(tensors: Tensors) -> Tensors:
    """Return tensors with the scales of 8-bit floating point weights multiplied in, in bfloat16.

    Files of ComfyUI keep them as ``NAME.scale_weight`` or ``NAME.weight_scale`` beside ``NAME.weight``.
    """
    torch = extra("torch")
    scales = {
        name.rpartition(".")[0] + ".weight": scale
        for name, scale in tensors.items()
        if name.endswith((".scale_weight", ".weight_scale"))
    }
    if not scales:
        return tensors
    said = (".scale_weight", ".weight_scale", ".scale_input", ".input_scale", ".comfy_quant", "scaled_fp8")
    made = {name: tensor for name, tensor in tensors.items() if not name.endswith(said)}
    for name, scale in scales.items():
        if name in made and made[name].element_size() == 1:
            made[name] = (made[name].to(torch.float32) * scale.to(torch.float32)).to(torch.bfloat16)
    return made


def check_finite(tensors: Mapping[str, Any], where: str) -> None:
    """Raise `InputError` (``model.nan``) if a weight is not a number or infinite. Reads all of them once."""
    torch = extra("torch")
    for name, tensor in tensors.items():
        if tensor.numel() == 0 or tensor.is_meta or not tensor.is_floating_point():
            continue
        if tensor.element_size() == 1:
            bits = tensor.view(torch.uint8)
            broken = bool(((bits & 0x7F) == 0x7F).any())
        else:
            low, high = torch.aminmax(tensor)
            broken = not (bool(torch.isfinite(low)) and bool(torch.isfinite(high)))
        if broken:
            raise InputError(
                f"{where} has a weight that is not a number, in {name}",
                code="model.nan",
                hint="the file is broken or was merged badly: take another one of this model",
                tensor=name,
            )


def _shards(index: Path) -> Tensors:
    table: Any = json.loads(index.read_text(encoding="utf-8"))
    names = sorted(set(table["weight_map"].values()))
    if any("/" in name or "\\" in name for name in names):
        raise damaged(f"{index} names files outside its folder")
    tensors: Tensors = {}
    for name in names:
        tensors |= read(index.parent / name)
    return tensors


def _gguf(path: Path) -> Tensors:
    torch, gguf = extra("torch"), extra("gguf")
    parameter = extra("diffusers.quantizers.gguf.utils").GGUFParameter
    kinds = gguf.GGMLQuantizationType
    tensors: Tensors = {}
    for each in gguf.GGUFReader(path, "c").tensors:  # "c": mapped, and our own when it is written to
        data = torch.from_numpy(each.data)
        if each.tensor_type == kinds.BF16:
            tensors[each.name] = data.view(torch.bfloat16).reshape([int(n) for n in reversed(each.shape)])
        elif each.tensor_type in (kinds.F32, kinds.F16):
            tensors[each.name] = data
        else:
            tensors[each.name] = parameter(data, quant_type=each.tensor_type)
    return tensors


def _pickled(path: Path) -> Tensors:
    torch = extra("torch")
    data: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    for key in ("state_dict", "module"):
        data = data.get(key, data)
    return {name: value for name, value in data.items() if torch.is_tensor(value)}
