"""The denoiser's weights kept small: 8-bit floating point, or bitsandbytes' 8 and 4 bits.

Only the layers inside transformer blocks are quantised, as diffusers does it for 8-bit floating point: embeddings,
norms and convolutions of the rest stay whole. It is one-way: a quantised network is opened anew to be whole again.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from typing import Any

from reknit.core.errors import InputError, Unavailable
from reknit.diffusion.components import cast
from reknit.diffusion.weights import extra

_BLOCKS = ("transformer_blocks", "single_transformer_blocks")
_CASTING = "layerwise_casting"


def quantised(network: Any) -> str:
    """Return how a network's weights are kept: ``none``, ``fp8``, ``int8``, ``nf4`` or ``gguf``."""
    for module in network.modules():
        name = type(module).__name__
        if name in _LAYERS:
            return _LAYERS[name]
        registry = getattr(module, "_diffusers_hook", None)
        if registry is not None and registry.get_hook(_CASTING) is not None:
            return "fp8"
    return "none"


_LAYERS = {"GGUFLinear": "gguf", "Linear8bitLt": "int8", "Linear4bit": "nf4"}


def quantise(network: Any, how: str, dtype: Any) -> None:
    """Keep a denoiser's weights as ``how`` says, computing in ``dtype``.

    Raises
    ------
    InputError
        ``placement.quantise``: it is kept in another way already.
    Unavailable
        ``engine.missing``: bitsandbytes is not installed.
    """
    now = quantised(network)
    if now == "gguf" and how in ("gguf", "none"):
        cast(network, dtype)
        return
    if now == how != "none":
        return
    if now != "none" or how == "gguf":
        raise InputError(
            f"the denoiser's weights are kept as {now}, and cannot become {how}",
            code="placement.quantise",
            hint="open the checkpoint again" if now != "none" else "gguf is for checkpoints from .gguf files",
            kept=now,
            asked=how,
        )
    if how == "none":
        cast(network, dtype)
    elif how == "fp8":
        _fp8(network, dtype)
    else:
        cast(network, dtype)
        _bits(network, how, dtype)


def _fp8(network: Any, dtype: Any) -> None:
    """Let diffusers keep layers in 8 bits; whatever it leaves alone gets the type that is computed in."""
    torch = extra("torch")
    network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
    for module in network.modules():
        registry = getattr(module, "_diffusers_hook", None)
        if registry is None or registry.get_hook(_CASTING) is None:
            for weight in module.parameters(recurse=False):
                weight.data = weight.data.to(dtype)


def _bits(network: Any, how: str, dtype: Any) -> None:
    torch = extra("torch")
    try:
        bits = extra("bitsandbytes").nn
    except Unavailable as error:
        error.hint = "pip install bitsandbytes; or -p quantise=fp8, which needs nothing more"
        raise
    for name, layer in [*network.named_modules()]:
        inside = any(part in _BLOCKS for part in name.split("."))
        if not inside or type(layer) is not torch.nn.Linear:
            continue
        sides = (layer.in_features, layer.out_features, layer.bias is not None)
        if how == "nf4":
            made = bits.Linear4bit(*sides, compute_dtype=dtype, quant_type="nf4", device="meta")
            made.weight = bits.Params4bit(
                layer.weight.data, requires_grad=False, quant_type="nf4", module=made
            )
        else:
            made = bits.Linear8bitLt(*sides, has_fp16_weights=False, threshold=6.0, device="meta")
            made.weight = bits.Int8Params(layer.weight.data, requires_grad=False, has_fp16_weights=False)
        made.bias = layer.bias
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, made)
