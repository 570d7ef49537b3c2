"""Tiny models, placed on the CPU, and diffusers' own pipelines over the same networks."""

from collections.abc import Callable
from functools import cache
from typing import Any

import diffusers
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from reknit.diffusion.checkpoint import Checkpoint
from reknit.diffusion.families import configs, family
from reknit.diffusion.placed import Placed, place
from reknit.diffusion.placement import Placement
from tests.diffusion.tiny import tiny_networks, tiny_tokenizers

PROMPT = "a photo of the red cat on green grass"
SIDE = 64


@cache
def placed(name: str, kind: str) -> Placed:
    """Return a tiny model; shared by all tests, which must not change it."""
    networks, tokenizers = tiny_networks(name, kind), tiny_tokenizers(name)
    denoiser = networks["transformer" if name == "flux" else "unet"]
    encoders = [networks[part] for part in ("text_encoder", "text_encoder_2") if part in networks]
    checkpoint = Checkpoint(
        family=family(name),
        kind=kind,
        denoiser=denoiser,
        vae=networks["vae"],
        text_encoders=tuple(encoders),
        tokenizers=tuple(tokenizers.values()),
        scheduler_config=dict(configs(name, kind)["scheduler"]),
        dtype=torch.float32,
        files=(),
        source=f"tiny {name} {kind}",
    )
    return place(checkpoint, Placement())


def pipeline(model: Placed, config: dict[str, Any] | None = None) -> Any:
    """Return diffusers' inpainting pipeline over a tiny model's networks."""
    checkpoint = model.checkpoint
    config = config or checkpoint.scheduler_config
    parts: dict[str, Any] = {
        "vae": checkpoint.vae,
        "text_encoder": checkpoint.text_encoders[0],
        "tokenizer": checkpoint.tokenizers[0],
        "scheduler": getattr(diffusers, config["_class_name"]).from_config(config),
    }
    if len(checkpoint.text_encoders) > 1:
        parts |= {"text_encoder_2": checkpoint.text_encoders[1], "tokenizer_2": checkpoint.tokenizers[1]}
    name = checkpoint.family.name
    if name == "flux":
        made = diffusers.FluxFillPipeline if checkpoint.kind == "inpaint" else diffusers.FluxInpaintPipeline
        pipe = made(transformer=checkpoint.denoiser, **parts)
    elif name == "sdxl":
        pipe = diffusers.StableDiffusionXLInpaintPipeline(unet=checkpoint.denoiser, **parts)
    else:
        pipe = diffusers.StableDiffusionInpaintPipeline(
            unet=checkpoint.denoiser,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
            **parts,
        )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def scene() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return a picture and a hole that is not on the grid of latents."""
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    hole = np.zeros((SIDE, SIDE), bool)
    hole[16:48, 20:50] = True
    return picture, hole


def theirs(
    model: Placed,
    config: dict[str, Any] | None = None,
    *,
    prepared: Callable[[Any], None] | None = None,
    **options: Any,
) -> torch.Tensor:
    """Return the latents that diffusers' pipeline makes of the scene with seed 3, (1, C, h, w)."""
    picture, hole = scene()
    pipe = pipeline(model, config)
    if prepared is not None:
        prepared(pipe)
    latents = pipe(
        prompt=PROMPT,
        image=Image.fromarray(picture),
        mask_image=Image.fromarray(hole.astype(np.uint8) * 255),
        height=SIDE,
        width=SIDE,
        generator=torch.Generator().manual_seed(3),
        output_type="latent",
        **options,
    ).images
    return pipe._unpack_latents(latents, SIDE, SIDE, 8) if latents.ndim == 3 else latents
