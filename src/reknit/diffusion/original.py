"""The original layout of weights, as A1111, ComfyUI and the models' authors keep them, brought into diffusers' names.

One file may hold all networks under prefixes, or one network. What a name becomes is a table; a few tensors are
also split, transposed or have halves swapped. It reads no file and knows no configuration.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from reknit.diffusion.weights import Tensors, extra, shape

Pairs = list[tuple[str, str]]
"""Beginnings of names: the original's, diffusers'."""

PREFIXES = {
    "denoiser": ("model.diffusion_model.", "diffusion_model.", ""),
    "vae": ("first_stage_model.", "vae.", ""),
    "clip-l": (
        "cond_stage_model.transformer.",
        "conditioner.embedders.0.transformer.",
        "text_encoders.clip_l.transformer.",
        "",
    ),
    "open-clip-h": ("cond_stage_model.model.", ""),
    "open-clip-g": ("conditioner.embedders.1.model.", "text_encoders.clip_g.transformer.", ""),
    "t5-xxl": ("text_encoders.t5xxl.transformer.", ""),
}
"""Where each network lies in a file; the last is a file that holds nothing else."""

_MARKS: dict[str, tuple[str, ...]] = {
    "denoiser": (
        "input_blocks.0.0.weight",
        "double_blocks.0.img_attn.qkv.weight",
        "conv_in.weight",
        "x_embedder.weight",
    ),
    "vae": ("encoder.conv_in.weight", "decoder.conv_in.weight"),
    "clip-l": (
        "text_model.embeddings.token_embedding.weight",
        "embeddings.token_embedding.weight",
    ),
    "t5-xxl": ("shared.weight", "token_embd.weight"),
}
_MARKS["open-clip-h"] = _MARKS["open-clip-g"] = ("token_embedding.weight", *_MARKS["clip-l"])


def part(tensors: Tensors, kind: str) -> Tensors | None:
    """Return the network of a kind out of a file's tensors, in diffusers' names; None if it is not there.

    Parameters
    ----------
    tensors
        All of the file's.
    kind
        A key of `PREFIXES`.
    """
    for prefix in PREFIXES[kind]:
        if any(prefix + mark in tensors for mark in _MARKS[kind]):
            own = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
            return _CONVERTERS[kind](own)
    return None


def denoiser(tensors: Tensors) -> Tensors:
    """Return a denoiser in diffusers' names; one that has them already stays as it is."""
    if "double_blocks.0.img_attn.qkv.weight" in tensors:
        return _flux(tensors)
    return renamed(tensors, unet_pairs(tensors)) if "input_blocks.0.0.weight" in tensors else tensors


def unet_pairs(names: Iterable[str]) -> Pairs:
    """Return the beginnings of an original UNet's names with those of diffusers, most particular first."""
    known = set(names)
    pairs: Pairs = [
        ("input_blocks.0.0.", "conv_in."),
        ("time_embed.0.", "time_embedding.linear_1."),
        ("time_embed.2.", "time_embedding.linear_2."),
        ("time_embed.cond_proj.", "time_embedding.cond_proj."),
        ("label_emb.0.0.", "add_embedding.linear_1."),
        ("label_emb.0.2.", "add_embedding.linear_2."),
        ("middle_block.0.", "mid_block.resnets.0."),
        ("middle_block.1.", "mid_block.attentions.0."),
        ("middle_block.2.", "mid_block.resnets.1."),
        ("out.0.", "conv_norm_out."),
        ("out.2.", "conv_out."),
    ]
    level = layer = 0
    for block in range(1, _count(known, "input_blocks")):
        start = f"input_blocks.{block}."
        if f"{start}0.op.weight" in known:
            pairs.append((f"{start}0.op.", f"down_blocks.{level}.downsamplers.0.conv."))
            level, layer = level + 1, 0
            continue
        pairs.append((f"{start}0.", f"down_blocks.{level}.resnets.{layer}."))
        pairs.append((f"{start}1.", f"down_blocks.{level}.attentions.{layer}."))
        layer += 1
    level = layer = 0
    for block in range(_count(known, "output_blocks")):
        start = f"output_blocks.{block}."
        ups = [f"{start}{n}.conv." for n in (1, 2) if f"{start}{n}.conv.weight" in known]
        pairs += [(up, f"up_blocks.{level}.upsamplers.0.conv.") for up in ups]
        pairs.append((f"{start}0.", f"up_blocks.{level}.resnets.{layer}."))
        pairs.append((f"{start}1.", f"up_blocks.{level}.attentions.{layer}."))
        level, layer = (level + 1, 0) if ups else (level, layer + 1)
    return pairs


def vae_pairs(names: Iterable[str]) -> Pairs:
    """Return the beginnings of an original VAE's names with those of diffusers."""
    known = set(names)
    levels = _count(known, "encoder.down")
    pairs: Pairs = []
    for half, stack in (("encoder", "down"), ("decoder", "up")):
        pairs.append((f"{half}.norm_out.", f"{half}.conv_norm_out."))
        for n in (1, 2):
            pairs.append((f"{half}.mid.block_{n}.", f"{half}.mid_block.resnets.{n - 1}."))
        pairs.append((f"{half}.mid.attn_1.", f"{half}.mid_block.attentions.0."))
        for level in range(levels):
            there = level if stack == "down" else levels - 1 - level
            blocks = f"{half}.{stack}_blocks.{there}"
            pairs.append((f"{half}.{stack}.{level}.{stack}sample.conv.", f"{blocks}.{stack}samplers.0.conv."))
            for layer in range(_count(known, f"{half}.{stack}.{level}.block")):
                pairs.append((f"{half}.{stack}.{level}.block.{layer}.", f"{blocks}.resnets.{layer}."))
    return pairs


RESNET = (
    ("in_layers.0.", "norm1."),
    ("in_layers.2.", "conv1."),
    ("emb_layers.1.", "time_emb_proj."),
    ("out_layers.0.", "norm2."),
    ("out_layers.3.", "conv2."),
    ("skip_connection.", "conv_shortcut."),
    ("nin_shortcut.", "conv_shortcut."),
)
"""Inside residual blocks."""

ATTENTION = (
    ("norm.", "group_norm."),
    ("q.", "to_q."),
    ("k.", "to_k."),
    ("v.", "to_v."),
    ("proj_out.", "to_out.0."),
)
"""Inside the VAE's attention."""

OPEN_CLIP = (
    ("token_embedding.", "embeddings.token_embedding."),
    ("positional_embedding", "embeddings.position_embedding.weight"),
    ("ln_final.", "final_layer_norm."),
)
OPEN_CLIP_LAYER = (
    ("ln_1.", "layer_norm1."),
    ("ln_2.", "layer_norm2."),
    ("mlp.c_fc.", "mlp.fc1."),
    ("mlp.c_proj.", "mlp.fc2."),
    ("attn.", "self_attn."),
)
FLUX = (
    ("time_in.in_layer.", "time_text_embed.timestep_embedder.linear_1."),
    ("time_in.out_layer.", "time_text_embed.timestep_embedder.linear_2."),
    ("vector_in.in_layer.", "time_text_embed.text_embedder.linear_1."),
    ("vector_in.out_layer.", "time_text_embed.text_embedder.linear_2."),
    ("guidance_in.in_layer.", "time_text_embed.guidance_embedder.linear_1."),
    ("guidance_in.out_layer.", "time_text_embed.guidance_embedder.linear_2."),
    ("txt_in.", "context_embedder."),
    ("img_in.", "x_embedder."),
    ("final_layer.linear.", "proj_out."),
    ("final_layer.adaLN_modulation.1.", "norm_out.linear."),
)
FLUX_DOUBLE = (
    ("img_mod.lin.", "norm1.linear."),
    ("txt_mod.lin.", "norm1_context.linear."),
    ("img_attn.norm.query_norm.scale", "attn.norm_q.weight"),
    ("img_attn.norm.key_norm.scale", "attn.norm_k.weight"),
    ("txt_attn.norm.query_norm.scale", "attn.norm_added_q.weight"),
    ("txt_attn.norm.key_norm.scale", "attn.norm_added_k.weight"),
    ("img_attn.proj.", "attn.to_out.0."),
    ("txt_attn.proj.", "attn.to_add_out."),
    ("img_mlp.0.", "ff.net.0.proj."),
    ("img_mlp.2.", "ff.net.2."),
    ("txt_mlp.0.", "ff_context.net.0.proj."),
    ("txt_mlp.2.", "ff_context.net.2."),
)
FLUX_SINGLE = (
    ("modulation.lin.", "norm.linear."),
    ("norm.query_norm.scale", "attn.norm_q.weight"),
    ("norm.key_norm.scale", "attn.norm_k.weight"),
    ("linear2.", "proj_out."),
)
FLUX_QKV = {
    "img_attn.qkv.": ("attn.to_q.", "attn.to_k.", "attn.to_v."),
    "txt_attn.qkv.": ("attn.add_q_proj.", "attn.add_k_proj.", "attn.add_v_proj."),
    "linear1.": ("attn.to_q.", "attn.to_k.", "attn.to_v.", "proj_mlp."),
}
"""One tensor of the original is these, one below the other; the last takes what is left."""

T5_GGUF = (
    ("token_embd.", "shared."),
    ("enc.output_norm.", "encoder.final_layer_norm."),
    ("attn_q.", "layer.0.SelfAttention.q."),
    ("attn_k.", "layer.0.SelfAttention.k."),
    ("attn_v.", "layer.0.SelfAttention.v."),
    ("attn_o.", "layer.0.SelfAttention.o."),
    ("attn_rel_b.", "layer.0.SelfAttention.relative_attention_bias."),
    ("attn_norm.", "layer.0.layer_norm."),
    ("ffn_gate.", "layer.1.DenseReluDense.wi_0."),
    ("ffn_up.", "layer.1.DenseReluDense.wi_1."),
    ("ffn_down.", "layer.1.DenseReluDense.wo."),
    ("ffn_norm.", "layer.1.layer_norm."),
)


def renamed(tensors: Tensors, pairs: Pairs) -> Tensors:
    """Return the tensors whose names begin as a pair says, named anew, residual blocks' insides included."""
    made: Tensors = {}
    for name, tensor in tensors.items():
        start = next((pair for pair in pairs if name.startswith(pair[0])), None)
        if start is None:
            made[name] = tensor
            continue
        inside = name.removeprefix(start[0])
        if ".resnets." in start[1]:
            inside = _swapped(inside, RESNET)
        made[start[1] + inside] = tensor
    return made


def _vae(tensors: Tensors) -> Tensors:
    if "encoder.mid.block_1.norm1.weight" not in tensors:
        return tensors
    made: Tensors = {}
    for name, tensor in renamed(tensors, vae_pairs(tensors)).items():
        start, attention, inside = name.partition(".attentions.0.")
        if attention:
            flat = tensor.squeeze(-1).squeeze(-1) if tensor.ndim == 4 else tensor
            made[start + attention + _swapped(inside, ATTENTION)] = flat
        else:
            made[name] = tensor
    return made


def _clip(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if not name.endswith("position_ids")}


def _open_clip(tensors: Tensors) -> Tensors:
    """Return an OpenCLIP text encoder in the names of transformers; its own hold q, k and v in one."""
    if "token_embedding.weight" not in tensors:
        return _clip(tensors)
    made: Tensors = {}
    for name, tensor in tensors.items():
        layer = re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+)", name)
        if name == "text_projection":
            made["text_projection.weight"] = tensor.T.contiguous()
        elif layer is None:
            made[_swapped(name, OPEN_CLIP)] = tensor
        else:
            start = f"encoder.layers.{layer[1]}."
            inside = _swapped(layer[2], OPEN_CLIP_LAYER)
            if ".in_proj_" in inside:
                ending = inside.rpartition("_")[2]
                for each, third in zip("qkv", tensor.chunk(3), strict=True):
                    made[f"{start}self_attn.{each}_proj.{ending}"] = third
            else:
                made[start + inside] = tensor
    return made


def _open_clip_h(tensors: Tensors) -> Tensors:
    """Return OpenCLIP-H without its last layer, which Stable Diffusion 2 does not use and diffusers does not have."""
    made = _open_clip(tensors)
    if "token_embedding.weight" not in tensors:
        return made
    last = f"encoder.layers.{_count(made, 'encoder.layers') - 1}."
    return {name: tensor for name, tensor in made.items() if not name.startswith(last)}


def _t5(tensors: Tensors) -> Tensors:
    if "token_embd.weight" not in tensors:
        return tensors
    made: Tensors = {}
    for name, tensor in tensors.items():
        block = re.fullmatch(r"enc\.blk\.(\d+)\.(.+)", name)
        if block is None:
            made[_swapped(name, T5_GGUF)] = tensor
        else:
            made[f"encoder.block.{block[1]}.{_swapped(block[2], T5_GGUF)}"] = tensor
    return made


def _flux(tensors: Tensors) -> Tensors:
    made: Tensors = {}
    for name, tensor in tensors.items():
        block = re.fullmatch(r"(double|single)_blocks\.(\d+)\.(.+)", name)
        if block is None:
            new = _swapped(name, FLUX)
            made[new] = _halves_swapped(tensor) if new.startswith("norm_out.") else tensor
            continue
        stack = "transformer_blocks" if block[1] == "double" else "single_transformer_blocks"
        start = f"{stack}.{block[2]}."
        qkv = next((each for each in FLUX_QKV if block[3].startswith(each)), None)
        if qkv is None:
            made[start + _swapped(block[3], FLUX_DOUBLE if block[1] == "double" else FLUX_SINGLE)] = tensor
            continue
        ending = block[3].removeprefix(qkv)
        rows = tensor.shape[0] // 3
        if qkv == "linear1.":
            rows = shape(tensors[f"single_blocks.{block[2]}.linear2.weight"])[0]
        sizes = [rows, rows, rows, tensor.shape[0] - 3 * rows]
        for new, piece in zip(FLUX_QKV[qkv], tensor.split([size for size in sizes if size]), strict=True):
            made[f"{start}{new}{ending}"] = piece
    return made


def _halves_swapped(tensor: Any) -> Any:
    """Return shift and scale in the order diffusers has them."""
    first, second = tensor.chunk(2)
    return extra("torch").cat([second, first])


def _swapped(name: str, pairs: Iterable[tuple[str, str]]) -> str:
    for old, new in pairs:
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _count(names: Iterable[str], stack: str) -> int:
    """Return how many numbered entries a stack has."""
    pattern = re.compile(re.escape(stack) + r"\.(\d+)\.")
    return max((int(found[1]) + 1 for name in names if (found := pattern.match(name))), default=0)


_CONVERTERS: dict[str, Callable[[Tensors], Tensors]] = {
    "denoiser": denoiser,
    "vae": _vae,
    "clip-l": _clip,
    "open-clip-h": _open_clip_h,
    "open-clip-g": _open_clip,
    "t5-xxl": _t5,
}
