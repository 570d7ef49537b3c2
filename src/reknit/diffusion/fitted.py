"""A network's configuration from its weights: what their shapes say, over what the family's true one says.

So a file of an unusual size (fewer layers, narrower, with or without a guidance embedding) opens without a
configuration beside it. Names are diffusers'; it reads no file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from reknit.diffusion.weights import shape
from reknit.models.header import damaged

_HEAD_WIDTH = 64
"""Of every CLIP text encoder, and of the UNets of Stable Diffusion 2 and XL."""


def fitted(
    component: str, config: Mapping[str, Any], tensors: Mapping[str, Any], text: str = ""
) -> dict[str, Any]:
    """Return ``config`` with what the shapes of ``tensors`` say instead.

    Parameters
    ----------
    component
        ``unet``, ``transformer``, ``vae``, ``text_encoder``, ``text_encoder_2``.
    config
        The family's own.
    tensors
        In diffusers' names.
    text
        Of a text encoder: its kind, as `reknit.diffusion.families.Family.text` has it.

    Raises
    ------
    InputError
        ``model.damaged``: a layer that every such network has is missing.
    """
    made = _READERS["t5" if text == "t5-xxl" else "clip" if text else component]
    sizes = {name.removeprefix("text_model."): shape(tensor) for name, tensor in tensors.items()}
    try:
        return {**config, **made(sizes, config)}
    except (KeyError, IndexError, ValueError) as error:
        raise damaged(f"its {component} lacks a layer: {error}") from None


Sizes = Mapping[str, tuple[int, ...]]


def _unet(sizes: Sizes, config: Mapping[str, Any]) -> dict[str, Any]:
    levels = range(_count(sizes, "down_blocks"))
    widths = [sizes[f"down_blocks.{level}.resnets.0.conv1.weight"][0] for level in levels]
    depths = [_count(sizes, f"down_blocks.{level}.attentions.0.transformer_blocks") for level in levels]
    keys = [name for name in sizes if name.endswith("attn2.to_k.weight")]
    made: dict[str, Any] = {
        "in_channels": sizes["conv_in.weight"][1],
        "out_channels": sizes["conv_out.weight"][0],
        "block_out_channels": widths,
        "layers_per_block": _count(sizes, "down_blocks.0.resnets"),
        "cross_attention_dim": sizes[keys[0]][1],
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        "use_linear_projection": len(sizes["mid_block.attentions.0.proj_in.weight"]) == 2,
    }
    if isinstance(config["attention_head_dim"], list):  # diffusers' name for the number of heads
        made["attention_head_dim"] = [max(1, width // _HEAD_WIDTH) for width in widths]
    if "transformer_layers_per_block" in config:
        made["transformer_layers_per_block"] = [max(1, depth) for depth in depths]
    if "add_embedding.linear_1.weight" in sizes:
        made["projection_class_embeddings_input_dim"] = sizes["add_embedding.linear_1.weight"][1]
    if "time_embedding.cond_proj.weight" in sizes:
        made["time_cond_proj_dim"] = sizes["time_embedding.cond_proj.weight"][1]
    return made


def _vae(sizes: Sizes, config: Mapping[str, Any]) -> dict[str, Any]:
    levels = _count(sizes, "encoder.down_blocks")
    return {
        "block_out_channels": [
            sizes[f"encoder.down_blocks.{level}.resnets.0.conv1.weight"][0] for level in range(levels)
        ],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": _count(sizes, "encoder.down_blocks.0.resnets"),
        "latent_channels": sizes["decoder.conv_in.weight"][1],
        "use_quant_conv": "quant_conv.weight" in sizes,
        "use_post_quant_conv": "post_quant_conv.weight" in sizes,
    }


def _flux(sizes: Sizes, config: Mapping[str, Any]) -> dict[str, Any]:
    head = sizes["transformer_blocks.0.attn.norm_q.weight"][0]
    return {
        "in_channels": sizes["x_embedder.weight"][1],
        "out_channels": sizes["proj_out.weight"][0],
        "num_layers": _count(sizes, "transformer_blocks"),
        "num_single_layers": _count(sizes, "single_transformer_blocks"),
        "attention_head_dim": head,
        "num_attention_heads": sizes["x_embedder.weight"][0] // head,
        "joint_attention_dim": sizes["context_embedder.weight"][1],
        "pooled_projection_dim": sizes["time_text_embed.text_embedder.linear_1.weight"][1],
        "guidance_embeds": "time_text_embed.guidance_embedder.linear_1.weight" in sizes,
        "axes_dims_rope": [head * share // 128 for share in config["axes_dims_rope"]],
    }


def _clip(sizes: Sizes, config: Mapping[str, Any]) -> dict[str, Any]:
    vocabulary, width = sizes["embeddings.token_embedding.weight"]
    layers = _count(sizes, "encoder.layers")
    made: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": sizes["encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": layers,
        "num_attention_heads": width // _HEAD_WIDTH,
        "max_position_embeddings": sizes["embeddings.position_embedding.weight"][0],
    }
    if "text_projection.weight" in sizes:
        made["projection_dim"] = sizes["text_projection.weight"][0]
    return made


def _t5(sizes: Sizes, config: Mapping[str, Any]) -> dict[str, Any]:
    vocabulary, width = sizes["shared.weight"]
    attention = "encoder.block.0.layer.0.SelfAttention"
    buckets, heads = sizes[f"{attention}.relative_attention_bias.weight"]
    return {
        "vocab_size": vocabulary,
        "d_model": width,
        "d_ff": sizes["encoder.block.0.layer.1.DenseReluDense.wi_0.weight"][0],
        "d_kv": sizes[f"{attention}.q.weight"][0] // heads,
        "num_heads": heads,
        "num_layers": _count(sizes, "encoder.block"),
        "relative_attention_num_buckets": buckets,
    }


def _count(sizes: Sizes, stack: str) -> int:
    pattern = re.compile(re.escape(stack) + r"\.(\d+)\.")
    return max((int(found[1]) + 1 for name in sizes if (found := pattern.match(name))), default=0)


_READERS: dict[str, Callable[[Sizes, Mapping[str, Any]], dict[str, Any]]] = {
    "unet": _unet,
    "transformer": _flux,
    "vae": _vae,
    "clip": _clip,
    "t5": _t5,
}
