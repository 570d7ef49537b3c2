"""Between pictures and latents, as ComfyUI does it: VAE nodes, and what inpainting models are shown of a picture.

What flows as ``LATENT`` is what the VAE gives, not yet scaled for a denoiser. A picture whose sides are no multiples of
8 (of 16 for FLUX.1) is cut at both sides. Outside the mask a decoded picture is a round trip through the VAE: ComfyUI
pastes nothing back, so neither do these.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reknit.workflow.context import Context
from reknit.workflow.node import integer, link, node, switch
from reknit.workflow.nodes.conditioning import Words
from reknit.workflow.nodes.latents import Latent
from reknit.workflow.nodes.models import Vae, coder
from reknit.workflow.nodes.pictures import repeated
from reknit.workflow.resize import as_batch, scaled_mask

if TYPE_CHECKING:
    from reknit.diffusion.families import Family
    from reknit.diffusion.placed import Placed

Floats = NDArray[np.float32]


def scaling(family: Family) -> tuple[float, float]:
    """Return scale and shift: a denoiser wants (latents - shift) · scale."""
    from reknit.diffusion.families import configs

    config = configs(family.name, "base")["vae"]
    return float(config["scaling_factor"]), float(config.get("shift_factor") or 0.0)


def grid_cut(values: Any, grid: int = 8) -> Any:
    """Return (B, H, W, ...) cut at both sides to multiples of ``grid``."""
    height, width = values.shape[1:3]
    tall, wide = height // grid * grid, width // grid * grid
    y, x = (height - tall) // 2, (width - wide) // 2
    return values[:, y : y + tall, x : x + wide]


def grown(mask: Floats, by: int) -> Floats:
    """Return a rounded mask grown as ``grow_mask_by`` does: by half of it, a little more right and down."""
    import cv2

    if by == 0:
        return mask
    hard: Any = np.rint(mask)
    pad = ceil((by - 1) / 2)
    # A window of ``by`` samples that begins ``pad`` before each: OpenCV's anchor is where in the window it stands.
    made: Any = [cv2.dilate(one, np.ones((by, by), np.uint8), anchor=(pad, pad)) for one in hard]
    return np.stack(made)


def grey_where(pixels: Floats, mask: Floats) -> Floats:
    """Return pictures with middle grey where a rounded mask is 1."""
    hard = np.rint(repeated(mask, len(pixels)))[..., None]
    return ((pixels - 0.5) * (1 - hard) + 0.5).astype(np.float32)


def _encoded(placed: Placed, pixels: Floats) -> Floats:
    from reknit.diffusion.latents import encode_image

    made = encode_image(placed, np.ascontiguousarray(np.clip(pixels[..., :3], 0, 1)))
    scale, shift = scaling(placed.checkpoint.family)
    return (made.float() / scale + shift).cpu().numpy()


@node(
    "VAEEncode",
    link("pixels", "IMAGE"),
    link("vae", "VAE"),
    outputs="LATENT",
    title="VAE Encode",
    category="latent",
    wants_context=True,
)
def vae_encode(context: Context, pixels: Floats, vae: Vae) -> Latent:
    """Turn pictures into latents."""
    placed = coder(context, vae)
    return {"samples": _encoded(placed, grid_cut(pixels, placed.checkpoint.family.multiple_px))}


@node(
    "VAEEncodeForInpaint",
    link("pixels", "IMAGE"),
    link("vae", "VAE"),
    link("mask", "MASK"),
    integer("grow_mask_by", 6, 0, 64),
    outputs="LATENT",
    title="VAE Encode (for Inpainting)",
    category="latent/inpaint",
    wants_context=True,
)
def vae_encode_for_inpaint(
    context: Context, pixels: Floats, vae: Vae, mask: Floats, grow_mask_by: int
) -> Latent:
    """Turn pictures with grey holes into latents, and say what is to be painted."""
    placed = coder(context, vae)
    cut, hole = _cut_alike(placed, pixels, mask)
    samples = _encoded(placed, grey_where(cut, hole))
    return {"samples": samples, "noise_mask": np.rint(grown(hole, grow_mask_by))[:, None].astype(np.float32)}


def _cut_alike(placed: Placed, pixels: Floats, mask: Floats) -> tuple[Floats, Floats]:
    fitted = scaled_mask(as_batch(mask), pixels.shape[2], pixels.shape[1])
    grid = placed.checkpoint.family.multiple_px
    return grid_cut(pixels, grid), np.ascontiguousarray(grid_cut(fitted, grid))


@node(
    "InpaintModelConditioning",
    link("positive", "CONDITIONING"),
    link("negative", "CONDITIONING"),
    link("vae", "VAE"),
    link("pixels", "IMAGE"),
    link("mask", "MASK"),
    switch("noise_mask", True),
    outputs="CONDITIONING:positive CONDITIONING:negative LATENT:latent",
    title="InpaintModelConditioning",
    category="conditioning/inpaint",
    wants_context=True,
)
def inpaint_model_conditioning(
    context: Context,
    positive: Words,
    negative: Words,
    vae: Vae,
    pixels: Floats,
    mask: Floats,
    noise_mask: bool,
) -> tuple[Words, Words, Latent]:
    """Show an inpainting model the picture and its mask."""
    placed = coder(context, vae)
    cut, hole = _cut_alike(placed, pixels, mask)
    picture = _encoded(placed, grey_where(cut, hole))
    latent: Latent = {"samples": _encoded(placed, cut)}
    if noise_mask:
        latent["noise_mask"] = hole[:, None]
    seen, unseen = (replace(one, picture=picture, mask=hole) for one in (positive, negative))
    return seen, unseen, latent


@node(
    "VAEDecode",
    link("samples", "LATENT"),
    link("vae", "VAE"),
    outputs="IMAGE",
    title="VAE Decode",
    category="latent",
    wants_context=True,
)
def vae_decode(context: Context, samples: Latent, vae: Vae) -> Floats:
    """Turn latents into pictures."""
    return _decoded(context, samples, vae)


@node(
    "VAEDecodeTiled",
    link("samples", "LATENT"),
    link("vae", "VAE"),
    integer("tile_size", 512, 64, 4096, step=32),
    integer("overlap", 64, 0, 4096, step=32),
    integer("temporal_size", 64, 8, 4096, step=4, required=False),
    integer("temporal_overlap", 8, 4, 4096, step=4, required=False),
    outputs="IMAGE",
    title="VAE Decode (Tiled)",
    category="_for_testing",
    wants_context=True,
)
def vae_decode_tiled(
    context: Context, samples: Latent, vae: Vae, tile_size: int, overlap: int, **_: Any
) -> Floats:
    """Turn latents into pictures in tiles, which needs less memory."""
    if tile_size < 4 * overlap:
        overlap = tile_size // 4
    return _decoded(context, samples, vae, (tile_size, overlap))


def _decoded(context: Context, samples: Latent, vae: Vae, tile_px: tuple[int, int] | None = None) -> Floats:
    import torch

    from reknit.diffusion.latents import decode

    placed = coder(context, vae)
    scale, shift = scaling(placed.checkpoint.family)
    latents = torch.from_numpy((samples["samples"] - shift) * np.float32(scale))
    return decode(placed, latents, tiling=tile_px is not None, tile_px=tile_px)
