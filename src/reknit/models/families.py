"""Which family of models a file's tensors, inputs or code belong to, and whether it was made for inpainting.

It looks at names and shapes of what is inside a file, never at the file's name. The marks are those that other
programs recognise the same files by; numbers of channels tell an inpainting model from its base.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reknit.models.header import Tensor, Tensors

_PREFIXES = (
    "",
    "model.diffusion_model.",
    "state_dict.model.diffusion_model.",
    "diffusion_model.",
    "unet.",
    "transformer.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A family, what part of it a file is, and how many channels its first layer takes.

    Attributes
    ----------
    name : str
        ``lama``, ``migan``, ``mat``, ``sd15``, ``sd2``, ``sdxl``, ``sd3``, ``flux``, ``flux2``, …, ``unknown``.
    kind : str
        ``inpaint`` or ``base`` for what paints; ``control``, ``lora``, ``image-prompt``, ``vae``, ``text`` for parts;
        ``unknown``.
    in_channels : int or None
    """

    name: str = "unknown"
    kind: str = "unknown"
    in_channels: int | None = None


def of_tensors(tensors: Tensors) -> Family:
    """Return the family of a file of weights."""
    if any(".lora_" in name or "lora_up." in name or "lora_down." in name for name in tensors):
        return Family(kind="lora")
    marks = ("controlnet_cond_embedding", "controlnet_x_embedder", "control_model.", "input_hint_block.")
    if any(mark in name for name in tensors for mark in marks):
        return Family(name=_control(tensors), kind="control")
    if any(name.startswith("ip_adapter.") for name in tensors):
        return Family(name=_adapter(tensors), kind="image-prompt")
    for recognise in (_erasers, _flux, _sd3, _unet, _parts):
        family = recognise(tensors)
        if family is not None:
            return family
    return Family()


def of_code(code: str, tensors: Tensors) -> Family:
    """Return the family of a TorchScript archive: by its weights' names, else its modules'."""
    family = of_tensors(tensors)
    if family.name != "unknown":
        return family
    text = code.lower()
    for name, marks in (
        ("lama", ("convg2g", "fouriertransform", "fourier_unit", "fourierunit")),
        ("migan", ("migan",)),
    ):
        if any(mark in text for mark in marks):
            return Family(name=name, kind="inpaint", in_channels=4)
    return Family()


def of_graph(inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor], weights: Tensors) -> Family:
    """Return the family of an ONNX graph: by its weights' names, else by its inputs and its size."""
    family = of_tensors(weights)
    if family.name != "unknown" or not paints(inputs, outputs):
        return family
    return Family(name=_of_size(weights), kind="inpaint")


def paints(inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> bool:
    """Whether a graph takes a picture and a mask (as two inputs or four channels) and gives a picture."""
    channels = sorted(_channels(tensor) or 0 for tensor in inputs.values())
    gives = any(_channels(tensor) in (3, None) and len(tensor.shape) in (3, 4) for tensor in outputs.values())
    return gives and channels in ([1, 3], [4])


def _channels(tensor: Tensor) -> int | None:
    """Return the channels of a picture's tensor, planes first or last; None where they are not fixed."""
    if len(tensor.shape) != 4:
        return None
    for side in (tensor.shape[1], tensor.shape[3]):
        if isinstance(side, int) and side in (1, 3, 4):
            return side
    return None


_MILLIONS = {"lama": (50.5, 53.0), "migan": (5.8, 7.6), "mat": (60.0, 63.0)}
"""How many numbers ONNX exports of the published erasers hold: their 51.0, 6.0 and 61.6 million weights, some
folded, and tables of constants (MI-GAN's noise is 1 to 1.4 million of them)."""


def _of_size(weights: Tensors) -> str:
    millions = sum(tensor.elements for tensor in weights.values()) / 1e6
    return next((name for name, (low, high) in _MILLIONS.items() if low <= millions <= high), "unknown")


def _erasers(tensors: Tensors) -> Family | None:
    if any(name.endswith("1.bn_l.running_mean") or "convg2g" in name for name in tensors):
        return Family(name="lama", kind="inpaint", in_channels=4)
    if any("synthesis.first_stage.conv_first.conv." in name for name in tensors):
        return Family(name="mat", kind="inpaint", in_channels=4)
    blocks = [part for part in ("encoder.b256.", "synthesis.b256.") if any(part in name for name in tensors)]
    if len(blocks) == 2:
        return Family(name="migan", kind="inpaint", in_channels=4)
    return None


def _flux(tensors: Tensors) -> Family | None:
    if _has(tensors, "double_stream_modulation_img.lin.weight", "double_stream_modulation_img.linear.weight"):
        return Family(
            name="flux2", kind="base", in_channels=_in(tensors, "img_in.weight", "x_embedder.weight")
        )
    if _has(tensors, "double_blocks.0.img_attn.qkv.weight"):
        channels = _in(tensors, "img_in.weight")
    elif _has(tensors, "single_transformer_blocks.0.attn.to_k.weight") and _has(tensors, "x_embedder.weight"):
        channels = _in(tensors, "x_embedder.weight")
    else:
        return None
    kind = {384: "inpaint", 64: "base", 128: "control", 448: "control"}.get(channels or 0, "unknown")
    return Family(name="flux", kind=kind, in_channels=channels)


def _sd3(tensors: Tensors) -> Family | None:
    if not _has(tensors, "joint_blocks.0.x_block.attn.qkv.weight") and not (
        _has(tensors, "pos_embed.proj.weight")
        and _has(tensors, "transformer_blocks.0.attn.add_q_proj.weight")
    ):
        return None
    channels = _in(tensors, "x_embedder.proj.weight", "pos_embed.proj.weight")
    return Family(name="sd3", kind="base" if channels == 16 else "inpaint", in_channels=channels)


_BY_WIDTH = {768: "sd15", 1024: "sd2", 2048: "sdxl", 1280: "sdxl-refiner"}
"""Families of UNets by how wide the text is that they attend to."""


def _control(tensors: Tensors) -> str:
    """Return the family of a ControlNet in its own file."""
    if "controlnet_x_embedder.weight" in tensors:
        return "flux"
    widths = (tensor.shape[-1] for name, tensor in tensors.items() if name.endswith("attn2.to_k.weight"))
    width = next(widths, None)
    return _BY_WIDTH.get(width, "unknown") if isinstance(width, int) else "unknown"


def _adapter(tensors: Tensors) -> str:
    """Return the family of an IP-Adapter."""
    widths = (tensor.shape[-1] for name, tensor in tensors.items() if name.endswith("to_k_ip.weight"))
    width = next(widths, None)
    return _BY_WIDTH.get(width, "unknown") if isinstance(width, int) else "unknown"


def _unet(tensors: Tensors) -> Family | None:
    channels = _in(tensors, "input_blocks.0.0.weight", "conv_in.weight")
    width = _in(
        tensors,
        "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
        "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight",
    ) or _in(
        tensors,
        "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight",
        "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight",
    )
    if channels is None or width is None:
        return None
    name = _BY_WIDTH.get(width, "unknown")
    kind = {4: "base", 8: "edit", 9: "inpaint"}.get(channels, "unknown")
    return Family(name=name, kind=kind, in_channels=channels)


def _parts(tensors: Tensors) -> Family | None:
    if _has(tensors, "decoder.conv_in.weight") and _has(tensors, "encoder.conv_in.weight"):
        channels = _in(tensors, "decoder.conv_in.weight")
        name = {4: "sd", 16: "flux", 32: "flux2"}.get(channels or 0, "unknown")
        return Family(name=name, kind="vae", in_channels=channels)
    if any("text_model.encoder.layers.0." in name for name in tensors):
        return Family(name="clip", kind="text")
    if any(
        name.endswith("block.0.layer.0.SelfAttention.k.weight") or name == "enc.blk.0.attn_k.weight"
        for name in tensors
    ):
        return Family(name="t5", kind="text")
    return None


def _find(tensors: Tensors, *names: str) -> Tensor | None:
    for name in names:
        for prefix in _PREFIXES:
            if prefix + name in tensors:
                return tensors[prefix + name]
    return None


def _has(tensors: Tensors, *names: str) -> bool:
    return _find(tensors, *names) is not None


def _in(tensors: Tensors, *names: str) -> int | None:
    """Return how many channels the first of these layers that is there takes."""
    tensor = _find(tensors, *names)
    if tensor is None or len(tensor.shape) < 2:
        return None
    side = tensor.shape[1]
    return side if isinstance(side, int) else None
