"""Where a diffusion model runs, when the user leaves it open: device, numbers, and what waits in main memory.

A short rule over facts of the machine and the size of the weights. It measures nothing and loads nothing but the
framework that it asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reknit.core.errors import Unavailable
from reknit.diffusion.placement import Placement
from reknit.engines.kept import free_of
from reknit.engines.torch_ways import has_bf16

DEVICES = ("cuda", "xpu", "mps")
"""What is taken before the processor, the first that is there."""

_ROOM = 1.15  # of the weights' bytes: what computing needs beside them
_ROOM_BYTES = 2 << 30
_TILED_AREA = 1536**2


def placement_for(params: Mapping[str, Any], *, weight_bytes: int, area: int) -> Placement:
    """Return the placement that ``params`` ask for, with what they leave open decided.

    Parameters
    ----------
    params
        Checked values of `diffusion_options.OPTIONS`.
    weight_bytes
        Of the whole model, as stored; 0 where it is not known.
    area
        Pixels of the largest crop.

    Raises
    ------
    Unavailable
        ``device.missing``
    """
    device, dtype = chosen(params)
    offload = params["offload"]
    if offload == "auto":
        offload = choose_offload(weight_bytes, free_of(device)) if device != "cpu" else "none"
    tiling = params["vae_tiling"] == "on" or (params["vae_tiling"] == "auto" and area > _TILED_AREA)
    return Placement(
        device=device,
        dtype=dtype,
        offload="none" if device == "cpu" else offload,
        vae_tiling=tiling,
        vae_slicing=True,
        quantise="none" if params["quantise"] == "auto" else params["quantise"],
        compile=params["compile"],
    )


def chosen(params: Mapping[str, Any]) -> tuple[str, str]:
    """Return the device and the numbers to compute with; raises `Unavailable` (``device.missing``)."""
    device = _device(params["device"])
    return device, params["dtype"] if params["dtype"] != "auto" else best_dtype(device)


def choose_offload(weight_bytes: int, free: float | None) -> str:
    """Return what has to wait in main memory so that the weights fit into ``free`` bytes of the device."""
    if free is None or weight_bytes * _ROOM + _ROOM_BYTES <= free:
        return "none"
    largest = 0.75 * weight_bytes  # the denoiser is about so much of a model
    return "model" if largest * _ROOM + _ROOM_BYTES <= free else "group"


def best_dtype(device: str) -> str:
    """Return the numbers that a device is fast at and models are stable in."""
    import torch

    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    if device == "xpu":
        return "bfloat16"
    if device == "mps":
        return "float16"
    capabilities: Any = getattr(torch.cpu, "get_capabilities", dict)
    return "bfloat16" if has_bf16(capabilities()) else "float32"


def _device(wanted: str) -> str:
    import torch

    there = [name for name in DEVICES if _is_there(torch, name)]
    if wanted == "auto":
        return there[0] if there else "cpu"
    if wanted != "cpu" and wanted not in there:
        raise Unavailable(
            f"PyTorch cannot use {wanted} here",
            code="device.missing",
            hint=f"it can use {', '.join([*there, 'cpu'])}; another build of PyTorch may bring it",
            device=wanted,
        )
    return wanted


def _is_there(torch: Any, name: str) -> bool:
    module = getattr(torch.backends, "mps", None) if name == "mps" else getattr(torch, name, None)
    return bool(module is not None and module.is_available())
