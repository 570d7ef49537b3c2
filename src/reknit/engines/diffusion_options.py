"""The knobs of the engine ``diffusion``, described once; flags, schemas, forms and dialects are derived from them.

Pure data that imports in a millisecond. It knows no model: None means "what suits the model".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from reknit.core.errors import InputError
from reknit.core.options import Option
from reknit.core.parameters import Parameters, hashes

CONTENTS = ("original", "fill", "noise", "nothing", "exemplar")
"""What the hole holds before it is painted: see the option ``content``."""

OPTIONS: tuple[Option, ...] = (
    Option(
        name="model",
        kind="text",
        default=None,
        help="a model's id, a repository in the hub's cache, a folder of diffusers, or a .safetensors or .gguf "
        "file; by default the first that is installed",
        names="model",
    ),
    Option(
        name="prompt",
        kind="text",
        default="",
        help="what to paint; (word:1.2) weighs a word, BREAK parts the text, <lora:name:0.8> applies a LoRA",
    ),
    Option(name="negative_prompt", kind="text", default="", help="what not to paint"),
    Option(
        name="steps",
        kind="int",
        default=None,
        minimum=1,
        maximum=1000,
        help="denoising steps; by default what suits the model",
    ),
    Option(
        name="guidance",
        kind="float",
        default=None,
        minimum=0,
        maximum=100,
        help="how closely to follow the prompt (CFG scale); by default what suits the model",
    ),
    Option(
        name="strength",
        kind="float",
        default=1.0,
        minimum=0,
        maximum=1,
        help="denoising strength: 1 paints anew, less keeps more of what is in the hole",
    ),
    Option(
        name="sampler",
        kind="text",
        default=None,
        help="the sampler, by AUTOMATIC1111's or ComfyUI's name, such as 'DPM++ 2M Karras' or 'euler'",
    ),
    Option(
        name="scheduler",
        kind="text",
        default=None,
        help="how noise levels are spaced: karras, exponential, sgm_uniform, simple, beta, normal, …",
    ),
    Option(
        name="strength_rule",
        kind="choice",
        choices=("diffusers", "a1111", "comfyui"),
        default="diffusers",
        help="how strength and steps make the steps that are walked: steps × strength as diffusers counts them, one "
        "more as AUTOMATIC1111 does, or always all steps as in ComfyUI",
    ),
    Option(
        name="content",
        kind="choice",
        choices=CONTENTS,
        default=None,
        help="what the hole holds before it is painted: its original, its surroundings' colours (fill), noise, "
        "nothing, or what the exemplar engine makes of it; by default fill at strength 1, original below",
    ),
    Option(
        name="clip_skip",
        kind="int",
        default=0,
        minimum=0,
        maximum=11,
        help="how many of the text encoder's last layers to leave out",
    ),
    Option(
        name="eta",
        kind="float",
        default=None,
        minimum=0,
        maximum=1,
        help="how much noise samplers like DDIM and Euler a add anew at each step",
    ),
    Option(
        name="guidance_rescale",
        kind="float",
        default=0.0,
        minimum=0,
        maximum=1,
        help="brings back the contrast that a high guidance blows up; for models that predict v, 0.7",
    ),
    Option(
        name="side",
        kind="int",
        default=None,
        minimum=64,
        maximum=4096,
        unit="px",
        help="the side of the square whose area crops are worked at; by default the model's own",
    ),
    Option(
        name="lora",
        kind="text",
        default="",
        help="LoRA files or ids with their weights, such as 'detail:0.8, film.safetensors:1'",
        names="model",
    ),
    Option(
        name="embeddings",
        kind="text",
        default="",
        help="textual inversions that the prompts may call by their files' names, or by another word, such as "
        "'ink.pt, toy=x.bin'; those in folders called embeddings need not be named",
        names="model",
    ),
    Option(
        name="control",
        kind="text",
        default=None,
        help="a ControlNet for the model: a file, a folder of diffusers, or its name as A1111 lists it",
        names="model",
    ),
    Option(
        name="control_image",
        kind="text",
        default=None,
        help="what it follows: a picture of the photo's view, or inpaint, canny or photo, which are made from the "
        "photo; by default what the ControlNet's name says",
        names="picture",
        examples=("inpaint", "canny", "photo"),
    ),
    Option(
        name="control_strength",
        kind="float",
        default=1.0,
        minimum=0,
        maximum=2,
        help="how closely the ControlNet is followed",
    ),
    Option(
        name="control_start",
        kind="float",
        default=0.0,
        minimum=0,
        maximum=1,
        help="the share of the steps after which the ControlNet begins",
    ),
    Option(
        name="control_end",
        kind="float",
        default=1.0,
        minimum=0,
        maximum=1,
        help="the share of the steps after which the ControlNet ends",
    ),
    Option(
        name="image_prompt",
        kind="text",
        default=None,
        help="a picture to take after, as the prompt's words; needs an IP-Adapter for the model",
        names="picture",
    ),
    Option(
        name="image_prompt_weight",
        kind="float",
        default=1.0,
        minimum=0,
        maximum=2,
        help="how much of the picture to take after comes through",
    ),
    Option(
        name="image_prompt_model",
        kind="text",
        default=None,
        help="the IP-Adapter: a file or its name; by default the one here that fits the model",
        names="model",
    ),
    Option(
        name="vae",
        kind="text",
        default=None,
        help="a VAE to use instead of the model's own, or for a file that holds none: a file, a folder, or its name",
        names="model",
    ),
    Option(
        name="text_encoders",
        kind="text",
        default=None,
        help="text encoders likewise, with commas between, in any order: 'clip_l.safetensors, t5xxl_fp8.safetensors'",
        names="model",
    ),
    Option(
        name="softness",
        kind="float",
        default=None,
        minimum=0,
        maximum=256,
        unit="px",
        help="soft inpainting: paint ever less over this width outside the hole, and blend over it",
    ),
    Option(
        name="refine",
        kind="float",
        default=0.0,
        minimum=0,
        maximum=1,
        help="a second pass at the photo's own size with this strength, such as 0.4; 0 for none",
    ),
    Option(
        name="vary_seed",
        kind="int",
        default=None,
        minimum=0,
        maximum=2**32 - 1,
        help="the seed whose picture is varied: its noise is turned towards that of the seed by 'variation'",
    ),
    Option(
        name="variation",
        kind="float",
        default=0.0,
        minimum=0,
        maximum=1,
        help="how far a picture of 'vary_seed' goes towards that of the seed, such as 0.1",
    ),
    Option(
        name="noise_size",
        kind="text",
        default="",
        help="draw noise as for a picture of this size, such as 512x512, so that a seed keeps its composition",
    ),
    Option(
        name="device",
        kind="choice",
        choices=("auto", "cuda", "mps", "xpu", "cpu"),
        default="auto",
        help="where the model runs; auto takes the first that is there",
    ),
    Option(
        name="dtype",
        kind="choice",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="the numbers that the model computes with; auto takes what the device is fast at",
    ),
    Option(
        name="offload",
        kind="choice",
        choices=("auto", "none", "model", "group", "sequential"),
        default="auto",
        help="what waits in main memory while it is not needed: nothing, whole parts, groups of layers, each layer",
    ),
    Option(
        name="quantise",
        kind="choice",
        choices=("auto", "none", "fp8", "int8", "nf4", "gguf"),
        default="auto",
        help="smaller weights, at some cost in quality",
    ),
    Option(
        name="vae_tiling",
        kind="choice",
        choices=("auto", "on", "off"),
        default="auto",
        help="decode large pictures in tiles, which takes less memory",
    ),
    Option(
        name="compile",
        kind="bool",
        default=False,
        help="compile the model: minutes once, then faster steps",
    ),
    Option(
        name="cache_skip",
        kind="float",
        default=0.0,
        minimum=0,
        maximum=1,
        help="leave out a step's work where little changes, up to this relative change, such as 0.1; "
        "faster, with less detail",
    ),
)

_SHORT = (
    *("model", "prompt", "negative_prompt", "strength", "steps", "guidance", "sampler", "scheduler"),
    *("control", "control_image", "image_prompt", "vae", "text_encoders"),
)
SHORTCUTS = tuple(option for option in OPTIONS if option.name in _SHORT)
"""The knobs that have a flag and an argument of their own."""

_CONTENT_WORDS = {
    "fill": "fill",
    "latent noise": "noise",
    "latent nothing": "nothing",
    "original": "original",
}
_NUMBERS = {
    "Steps": ("steps", int),
    "CFG scale": ("guidance", float),
    "Denoising strength": ("strength", float),
    "Eta": ("eta", float),
}


def to_parameters(
    params: Mapping[str, Any],
    *,
    model: str,
    model_hash: str,
    size: str,
    embeddings: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return values of `OPTIONS` as what AUTOMATIC1111 writes into pictures, without seed and version.

    ``size`` is what was worked at, ``WIDTHxHEIGHT``; ``model_hash`` is the first ten digits of its SHA-256;
    ``embeddings`` are the textual inversions used, by name their SHA-256, of which twelve digits are written.
    """
    words = {ours: theirs for theirs, ours in _CONTENT_WORDS.items() if ours != "original"}
    values = {
        "Steps": _number(params["steps"]),
        "Sampler": params["sampler"] or "",
        "Schedule type": params["scheduler"] or "",
        "CFG scale": _number(params["guidance"]),
        "Seed": "",
        "Size": size,
        "Model hash": model_hash,
        "Model": model,
        "Denoising strength": _number(params["strength"]),
        "Clip skip": str(params["clip_skip"] + 1) if params["clip_skip"] else "",
        "Masked content": words.get(params["content"] or "", ""),
        "Inpaint area": "Only masked",
        "Eta": _number(params["eta"]),
        "Seed resize from": params["noise_size"],
        "TI hashes": hashes(embeddings),
    }
    prompts = {name: params[name] for name in ("prompt", "negative_prompt")}
    return {**prompts, "values": {key: value for key, value in values.items() if value or key == "Seed"}}


def from_parameters(given: Parameters) -> dict[str, Any]:
    """Return what a ``parameters`` text says, as values for `OPTIONS`; what is not understood is left out.

    The model is named as the text names it; whoever uses it looks whether it is here.
    """
    values = given.values
    params: dict[str, Any] = {"prompt": given.prompt, "negative_prompt": given.negative_prompt}
    for key, (name, kind) in _NUMBERS.items():
        if key in values:
            try:
                params[name] = kind(values[key])
            except ValueError:
                continue
    for key, name in (("Sampler", "sampler"), ("Schedule type", "scheduler"), ("Model", "model")):
        if values.get(key):
            params[name] = values[key]
    if params.get("scheduler", "").lower() == "automatic":
        del params["scheduler"]
    if values.get("Clip skip", "").isdigit():
        params["clip_skip"] = max(0, int(values["Clip skip"]) - 1)
    content = values.get("Masked content", "original").lower()
    if content in _CONTENT_WORDS:
        params["content"] = _CONTENT_WORDS[content]
    return params


def size_of(text: str) -> tuple[int, int] | None:
    """Return the width and height in px that ``noise_size`` names; None if it names none.

    Raises
    ------
    InputError
        ``option.value``
    """
    if not text:
        return None
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) >= 8 and int(height) >= 8):
        raise InputError(
            f"noise_size must be WIDTHxHEIGHT in px, not {text[:100]!r}",
            code="option.value",
            hint="for example 512x512",
            option="noise_size",
        )
    return int(width), int(height)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
