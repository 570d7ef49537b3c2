"""Tiny models of every family with random weights, as folders of diffusers and as single original-layout files.

They have the true structure and the true widths where a family is recognised by them; everything else is small.
The same seed gives the same weights.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
    PNDMScheduler,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from reknit.diffusion.families import configs
from tests.diffusion import original_layout

FAMILIES = ("sd15", "sd2", "sdxl", "flux")
KINDS = ("inpaint", "base")

_WORDS = (
    *("a", "photo", "of", "the", "cat", "dog", "red", "blue", "green", "house", "tree"),
    *("sky", "grass", "sea", "stone", "on", "in", "and", "with", "very", "good", "bad"),
)

_UNET: dict[str, dict[str, Any]] = {
    "sd15": {"block_out_channels": (32, 32, 64, 64), "sample_size": 8},
    "sd2": {"block_out_channels": (64, 64, 64, 64), "attention_head_dim": (1, 1, 1, 1), "sample_size": 8},
    "sdxl": {
        "block_out_channels": (64, 64, 128),
        "attention_head_dim": (1, 1, 2),
        "transformer_layers_per_block": (1, 1, 2),
        "projection_class_embeddings_input_dim": 6 * 256 + 1280,
        "sample_size": 8,
    },
}
_FLUX: dict[str, Any] = {
    "num_layers": 2,
    "num_single_layers": 2,
    "attention_head_dim": 32,
    "num_attention_heads": 2,
    "joint_attention_dim": 64,
    "pooled_projection_dim": 64,
    "axes_dims_rope": (4, 14, 14),
}
_TEXT: dict[str, dict[str, Any]] = {
    "sd15": {"text_encoder": {"intermediate_size": 64, "num_hidden_layers": 2}},
    "sd2": {"text_encoder": {"intermediate_size": 64, "num_hidden_layers": 2}},
    "sdxl": {
        "text_encoder": {"intermediate_size": 64, "num_hidden_layers": 2},
        "text_encoder_2": {"intermediate_size": 64, "num_hidden_layers": 2},
    },
    "flux": {
        "text_encoder": {
            "hidden_size": 64,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 1,
        },
        "text_encoder_2": {"d_model": 64, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 4},
    },
}


def tiny_configs(family: str, kind: str) -> dict[str, dict[str, Any]]:
    """Return the family's configurations, made small."""
    made = configs(family, kind)
    made["vae"] |= {"block_out_channels": [32, 32, 32, 32], "layers_per_block": 1, "sample_size": 64}
    if family == "flux":
        made["transformer"] |= _FLUX
    else:
        made["unet"] |= _UNET[family]
    for name, change in _TEXT[family].items():
        made[name] |= change
        clip = "d_model" not in made[name]
        made[name]["vocab_size"] = len(clip_vocabulary()[0]) if clip else len(t5_pieces())
        if clip:
            last = len(clip_vocabulary()[0]) - 1
            made[name] |= {"bos_token_id": last - 1, "eos_token_id": last, "pad_token_id": last}
    return made


def tiny_networks(family: str, kind: str, *, seed: int = 0) -> dict[str, Any]:
    """Return the family's networks by component, with random weights in float32."""
    made = tiny_configs(family, kind)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks: dict[str, Any] = {}
        if family == "flux":
            networks["transformer"] = FluxTransformer2DModel(**made["transformer"])
        else:
            networks["unet"] = UNet2DConditionModel(**made["unet"])
        networks["vae"] = AutoencoderKL(**made["vae"])
        for name in ("text_encoder", "text_encoder_2"):
            if name not in made:
                continue
            if "d_model" in made[name]:
                networks[name] = T5EncoderModel(T5Config(**made[name]))
            elif name == "text_encoder_2":
                networks[name] = CLIPTextModelWithProjection(CLIPTextConfig(**made[name]))
            else:
                networks[name] = CLIPTextModel(CLIPTextConfig(**made[name]))
        _lively(networks)
    return {name: network.eval() for name, network in networks.items()}


def tiny_folder(folder: Path, family: str, kind: str, *, seed: int = 0) -> Path:
    """Save a tiny model as a folder of diffusers, ``folder/FAMILY-KIND``, and return that."""
    target = folder / f"{family}-{kind}"
    transformers.utils.logging.disable_progress_bar()
    index: dict[str, Any] = {"_class_name": _PIPELINES[family, kind], "_diffusers_version": "0.30.0"}
    for name, network in tiny_networks(family, kind, seed=seed).items():
        network.save_pretrained(target / name)
        library = "transformers" if name.startswith("text") else "diffusers"
        index[name] = [library, type(network).__name__]
    for name, tokenizer in tiny_tokenizers(family).items():
        tokenizer.save_pretrained(target / name)
        index[name] = ["transformers", type(tokenizer).__name__]
    config = configs(family, kind)["scheduler"]
    scheduler = _SCHEDULERS[config["_class_name"]].from_config(config)
    scheduler.save_pretrained(target / "scheduler")
    index["scheduler"] = ["diffusers", config["_class_name"]]
    if family.startswith("sd") and family != "sdxl":
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None]}
        index |= {"requires_safety_checker": False, "image_encoder": [None, None]}
    (target / "model_index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
    return target


def tiny_single_file(folder: Path, family: str, kind: str, *, seed: int = 0) -> Path:
    """Save the same model as other programs keep it, and return the file.

    The file holds all networks in the original layout; of FLUX.1 only the denoiser, with the other networks in
    folders beside its own. The small tokenizers lie beside it, for no package ships those.
    """
    root = folder / f"{family}-{kind}-file"
    networks = tiny_networks(family, kind, seed=seed)
    file = root / ("diffusion_models" if family == "flux" else "checkpoints") / f"{family}-{kind}.safetensors"
    file.parent.mkdir(parents=True)
    if family == "flux":
        save_file(original_layout.flux(networks["transformer"].state_dict()), file)
        for part, name in (
            ("vae", "vae/ae.safetensors"),
            ("text_encoder", "text_encoders/clip_l.safetensors"),
            ("text_encoder_2", "text_encoders/t5xxl_fp16.safetensors"),
        ):
            (root / name).parent.mkdir(exist_ok=True)
            save_file(original_layout.part(family, part, networks[part]), root / name)
    else:
        save_file(original_layout.whole(family, networks), file)
    for name, tokenizer in tiny_tokenizers(family).items():
        tokenizer.save_pretrained(file.parent / name)
    return file


def tiny_tokenizers(family: str) -> dict[str, Any]:
    """Return the family's tokenizers by component: the true rules over a small vocabulary."""
    vocabulary, merges = clip_vocabulary()
    ids = {piece: number for number, piece in enumerate(vocabulary)}
    clip = CLIPTokenizer(vocab=ids, merges=list(merges), model_max_length=77)
    padded = CLIPTokenizer(vocab=ids, merges=list(merges), model_max_length=77, pad_token="!")
    if family in ("sd15", "sd2"):
        return {"tokenizer": clip if family == "sd15" else padded}
    if family == "sdxl":
        return {"tokenizer": clip, "tokenizer_2": padded}
    t5 = transformers.T5Tokenizer(vocab=list(t5_pieces()), extra_ids=0, model_max_length=512)
    return {"tokenizer": clip, "tokenizer_2": t5}


@cache
def clip_vocabulary() -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Return a small vocabulary of CLIP's form, and its merges: bytes, bytes that end a word, some words."""
    singles = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256))]
    singles += [chr(256 + n) for n in range(256 - len(singles))]
    pieces = [*singles, *(single + "</w>" for single in singles)]
    merges: list[tuple[str, str]] = []
    for word in _WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            if pair not in merges:
                merges.append(pair)
                pieces.append("".join(pair))
            parts = ["".join(pair), *parts[2:]]
    return (*dict.fromkeys(pieces), "<|startoftext|>", "<|endoftext|>"), tuple(merges)


@cache
def t5_pieces() -> tuple[tuple[str, float], ...]:
    """Return a small unigram vocabulary of T5's form."""
    letters = [chr(code) for code in range(33, 127)]
    words = [f"▁{word}" for word in _WORDS]
    pieces = ["<pad>", "</s>", "<unk>", "▁", *words, *letters]
    return tuple((piece, 0.0 if n < 3 else -1.0 - n / 100) for n, piece in enumerate(pieces))


def _lively(networks: dict[str, Any]) -> None:
    """Give a weight to what starts at zero, so that a mapping which swaps two of them is noticed."""
    for network in networks.values():
        for name, weight in network.named_parameters():
            if weight.numel() > 1 and bool((weight == weight.flatten()[0]).all()):
                with torch.no_grad():
                    weight.add_(torch.randn_like(weight) * (0.02 if name.endswith("bias") else 0.05))


_SCHEDULERS = {
    "PNDMScheduler": PNDMScheduler,
    "EulerDiscreteScheduler": EulerDiscreteScheduler,
    "FlowMatchEulerDiscreteScheduler": FlowMatchEulerDiscreteScheduler,
}
_PIPELINES = {
    ("sd15", "inpaint"): "StableDiffusionInpaintPipeline",
    ("sd15", "base"): "StableDiffusionPipeline",
    ("sd2", "inpaint"): "StableDiffusionInpaintPipeline",
    ("sd2", "base"): "StableDiffusionPipeline",
    ("sdxl", "inpaint"): "StableDiffusionXLInpaintPipeline",
    ("sdxl", "base"): "StableDiffusionXLPipeline",
    ("flux", "inpaint"): "FluxFillPipeline",
    ("flux", "base"): "FluxPipeline",
}
