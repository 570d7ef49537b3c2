"""Weights of diffusers brought back into the original layout: the inverse of `reknit.diffusion.original`.

Block numbers are computed here from the structure, where the package walks along the names it finds.
"""

import re
from typing import Any

import torch

from reknit.diffusion import original

Weights = dict[str, Any]

_TEXT = {
    "sd15": {"text_encoder": "cond_stage_model.transformer."},
    "sd2": {"text_encoder": "cond_stage_model.model."},
    "sdxl": {
        "text_encoder": "conditioner.embedders.0.transformer.",
        "text_encoder_2": "conditioner.embedders.1.model.",
    },
}


def whole(family: str, networks: dict[str, Any]) -> Weights:
    """Return a whole Stable Diffusion checkpoint as one table."""
    made = {f"model.diffusion_model.{n}": t for n, t in unet(networks["unet"].state_dict()).items()}
    made |= {f"first_stage_model.{n}": t for n, t in vae(networks["vae"].state_dict()).items()}
    for name, prefix in _TEXT[family].items():
        made |= {prefix + n: t for n, t in part(family, name, networks[name]).items()}
    made["alphas_cumprod"] = torch.linspace(1, 0, 8)  # real files hold such leftovers
    return {name: tensor.clone().contiguous() for name, tensor in made.items()}


def part(family: str, name: str, network: Any) -> Weights:
    """Return a VAE or a text encoder as its own file would hold it."""
    weights = network.state_dict()
    if name == "vae":
        made = vae(weights)
    elif type(network).__name__ == "T5EncoderModel":
        made = {n: t for n, t in weights.items() if n != "encoder.embed_tokens.weight"}
    elif family == "sd2" or name == "text_encoder_2":
        made = open_clip(weights, spare=family == "sd2")
    else:
        made = {f"text_model.{n.removeprefix('text_model.')}": t for n, t in weights.items()}
    return {n: t.clone().contiguous() for n, t in made.items()}


def unet(weights: Weights) -> Weights:
    """Return a UNet in the original layout."""
    layers = 1 + max(int(n.split(".")[3]) for n in weights if n.startswith("down_blocks.0.resnets."))
    heads = {
        "conv_in": "input_blocks.0.0",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "time_embedding.cond_proj": "time_embed.cond_proj",
        "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2",
        "mid_block.resnets.0": "middle_block.0",
        "mid_block.attentions.0": "middle_block.1",
        "mid_block.resnets.1": "middle_block.2",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
    made: Weights = {}
    for name, tensor in weights.items():
        found = re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|\w+samplers)\.(\d+)\.", name)
        if found is None:
            old, new = next(pair for pair in heads.items() if name.startswith(pair[0] + "."))
            inside = name.removeprefix(old + ".")
            start = new
        else:
            level, number = int(found[2]), int(found[4])
            inside = name[found.end() :]
            if found[3] == "downsamplers":
                start, inside = f"input_blocks.{(level + 1) * (layers + 1)}.0", inside.replace("conv.", "op.")
            elif found[3] == "upsamplers":
                attended = any(n.startswith(f"up_blocks.{level}.attentions.") for n in weights)
                start = f"output_blocks.{level * (layers + 1) + layers}.{2 if attended else 1}"
            else:
                first = 1 if found[1] == "down" else 0
                stack = "input_blocks" if found[1] == "down" else "output_blocks"
                place = 0 if found[3] == "resnets" else 1
                start = f"{stack}.{first + level * (layers + 1) + number}.{place}"
        if ".resnets." in name:
            inside = _back(inside, [pair for pair in original.RESNET if pair[0] != "nin_shortcut."])
        made[f"{start}.{inside}"] = tensor
    return made


def vae(weights: Weights) -> Weights:
    """Return a VAE in the original layout."""
    levels = 1 + max(int(n.split(".")[2]) for n in weights if n.startswith("encoder.down_blocks."))
    made: Weights = {}
    for name, tensor in weights.items():
        new = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        new = new.replace("mid_block.resnets.0", "mid.block_1").replace("mid_block.resnets.1", "mid.block_2")
        new = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", new)
        new = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", new)
        new = re.sub(r"up_blocks\.(\d+)\.resnets", lambda m: f"up.{levels - 1 - int(m[1])}.block", new)
        new = re.sub(
            r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", new
        )
        if ".attentions.0." in new:
            start, _, inside = new.partition("mid_block.attentions.0.")
            new = f"{start}mid.attn_1.{_back(inside, original.ATTENTION)}"
            if tensor.ndim == 2:
                tensor = tensor[:, :, None, None]
        made[new] = tensor
    return made


def open_clip(weights: Weights, *, spare: bool) -> Weights:
    """Return a text encoder in OpenCLIP's layout; with ``spare``, followed by a layer that is not used."""
    made: Weights = {}
    packed: dict[str, dict[str, Any]] = {}
    bare = {n.removeprefix("text_model."): t for n, t in weights.items()}
    for name, tensor in bare.items():
        layer = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)", name)
        if name == "text_projection.weight":
            made["text_projection"] = tensor.T
        elif layer is None:
            made[_back(name, original.OPEN_CLIP)] = tensor
        elif each := re.fullmatch(r"self_attn\.([qkv])_proj\.(\w+)", layer[2]):
            packed.setdefault(f"{layer[1]}.attn.in_proj_{each[2]}", {})[each[1]] = tensor
        else:
            made[f"transformer.resblocks.{layer[1]}.{_back(layer[2], original.OPEN_CLIP_LAYER)}"] = tensor
    for name, thirds in packed.items():
        made[f"transformer.resblocks.{name}"] = torch.cat([thirds[each] for each in "qkv"])
    if spare:
        last = 1 + max(int(n.split(".")[2]) for n in made if n.startswith("transformer.resblocks."))
        for name in [n for n in made if n.startswith("transformer.resblocks.0.")]:
            made[name.replace("resblocks.0.", f"resblocks.{last}.")] = torch.full_like(made[name], 0.5)
        made["text_projection"] = torch.zeros(4, 4)
        made["logit_scale"] = torch.zeros(())
    return made


def flux(weights: Weights) -> Weights:
    """Return a FLUX.1 transformer in the original layout."""
    made: Weights = {}
    packed: dict[str, dict[str, Any]] = {}
    for name, tensor in weights.items():
        block = re.fullmatch(r"(single_)?transformer_blocks\.(\d+)\.(.+)", name)
        if block is None:
            first, second = tensor.chunk(2) if name.startswith("norm_out.") else (tensor, tensor)
            swapped = torch.cat([second, first]) if name.startswith("norm_out.") else tensor
            made[_back(name, original.FLUX)] = swapped
            continue
        start = f"{'single' if block[1] else 'double'}_blocks.{block[2]}."
        wanted = ["linear1."] if block[1] else ["img_attn.qkv.", "txt_attn.qkv."]
        for old in wanted:
            for new in original.FLUX_QKV[old]:
                if block[3].startswith(new):
                    key = start + old + block[3].removeprefix(new)
                    packed.setdefault(key, {})[new] = tensor
                    break
            else:
                continue
            break
        else:
            pairs = original.FLUX_SINGLE if block[1] else original.FLUX_DOUBLE
            made[start + _back(block[3], pairs)] = tensor
    for key, pieces in packed.items():
        order = next(new for old, new in original.FLUX_QKV.items() if old in key)
        made[key] = torch.cat([pieces[new] for new in order])
    return {n: t.clone().contiguous() for n, t in made.items()}


def _back(name: str, pairs: Any) -> str:
    for new, old in pairs:
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name
