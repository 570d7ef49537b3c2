"""Latents: empty ones, larger ones, more of them, and masks for them. With ComfyUI's arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.workflow.node import choice, integer, link, node
from reknit.workflow.nodes.pictures import cropped_to
from reknit.workflow.resize import LATENT_METHODS, scaled

Floats = NDArray[np.float32]
Latent = dict[str, Any]


@node(
    "EmptyLatentImage",
    integer("width", 512, 16, step=8),
    integer("height", 512, 16, step=8),
    integer("batch_size", 1, 1, 4096),
    outputs="LATENT",
    title="Empty Latent Image",
    category="latent",
)
def empty_latent_image(width: int, height: int, batch_size: int) -> Latent:
    """Make latents of nothing; they take the model's number of channels."""
    return {"samples": np.zeros((batch_size, 4, height // 8, width // 8), np.float32)}


@node(
    "LatentUpscale",
    link("samples", "LATENT"),
    choice("upscale_method", LATENT_METHODS),
    integer("width", 512, 0, step=8),
    integer("height", 512, 0, step=8),
    choice("crop", ("disabled", "center")),
    outputs="LATENT",
    title="Upscale Latent",
    category="latent",
)
def latent_upscale(samples: Latent, upscale_method: str, width: int, height: int, crop: str) -> Latent:
    """Scale latents to a picture's size; a side of 0 follows the other."""
    if width == 0 and height == 0:
        return samples
    values: Floats = np.moveaxis(samples["samples"], 1, -1)
    if width == 0:
        height = max(64, height)
        width = max(64, round(values.shape[2] * height / values.shape[1]))
    elif height == 0:
        width = max(64, width)
        height = max(64, round(values.shape[1] * width / values.shape[2]))
    width, height = max(64, width) // 8, max(64, height) // 8
    values = cropped_to(values, width, height) if crop == "center" else values
    return samples | {"samples": np.moveaxis(scaled(values, width, height, upscale_method), -1, 1)}


@node(
    "RepeatLatentBatch",
    link("samples", "LATENT"),
    integer("amount", 1, 1, 64),
    outputs="LATENT",
    title="Repeat Latent Batch",
    category="latent/batch",
)
def repeat_latent_batch(samples: Latent, amount: int) -> Latent:
    """Give the same latents several times."""
    values: Floats = samples["samples"]
    made = samples | {"samples": np.tile(values, (amount, 1, 1, 1))}
    if samples.get("noise_mask") is not None and len(samples["noise_mask"]) > 1:
        mask: Floats = samples["noise_mask"]
        if len(mask) < len(values):
            mask = np.tile(mask, (-(-len(values) // len(mask)), 1, 1, 1))[: len(values)]
        made["noise_mask"] = np.tile(mask, (amount, 1, 1, 1))
    if "batch_index" in samples:
        first: list[int] = samples["batch_index"]
        apart = max(first) - min(first) + 1
        made["batch_index"] = [index + apart * turn for turn in range(amount) for index in first]
    return made


@node(
    "SetLatentNoiseMask",
    link("samples", "LATENT"),
    link("mask", "MASK"),
    outputs="LATENT",
    title="Set Latent Noise Mask",
    category="latent/inpaint",
)
def set_latent_noise_mask(samples: Latent, mask: Floats) -> Latent:
    """Say which part of latents is to be painted; soft values stay soft."""
    return samples | {"noise_mask": mask.reshape((-1, 1, *mask.shape[-2:]))}
