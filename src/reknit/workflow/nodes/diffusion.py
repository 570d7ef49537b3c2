"""Latent diffusion over `reknit.diffusion`'s stages: encode texts and pictures, sample, decode. As ComfyUI does it.

Latents are scaled as the denoiser wants them; a picture whose sides are no multiples of 8 is cut at both sides.
Outside the mask a decoded picture is a round trip through the VAE: ComfyUI pastes nothing back, so neither do these.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import InputError
from reknit.workflow.context import Context
from reknit.workflow.node import MAX_SEED, choice, integer, link, node, number, switch, text
from reknit.workflow.nodes.latents import Latent
from reknit.workflow.nodes.models import Clip, Model, Source, Vae, opened, whole
from reknit.workflow.nodes.pictures import repeated
from reknit.workflow.resize import as_batch, scaled_mask

if TYPE_CHECKING:
    from reknit.diffusion.placed import Placed

Floats = NDArray[np.float32]

_GRID = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What flows as ``CONDITIONING``.

    Attributes
    ----------
    clip : Clip
    prompt : str
    zero : bool
        Zeros instead of what the text says.
    guidance : float or None
        FLUX's.
    picture : ndarray or None, (B, C, h, w)
        Latents of the masked picture, for inpainting models.
    mask : ndarray or None, (B, H, W)
        Beside them.
    """

    clip: Clip
    prompt: str
    zero: bool = False
    guidance: float | None = None
    picture: Floats | None = None
    mask: Floats | None = None


@node(
    "CLIPTextEncode",
    text("text", multiline=True),
    link("clip", "CLIP"),
    outputs="CONDITIONING",
    title="CLIP Text Encode (Prompt)",
    category="conditioning",
)
def clip_text_encode(text: str, clip: Clip) -> Words:
    """Say what is wanted."""
    return Words(clip=clip, prompt=text)


@node(
    "FluxGuidance",
    link("conditioning", "CONDITIONING"),
    number("guidance", 3.5, 0.0, 100.0, step=0.1),
    outputs="CONDITIONING",
    title="FluxGuidance",
    category="advanced/conditioning/flux",
)
def flux_guidance(conditioning: Words, guidance: float) -> Words:
    """Say how closely FLUX keeps to the text."""
    return replace(conditioning, guidance=guidance)


@node(
    "ConditioningZeroOut",
    link("conditioning", "CONDITIONING"),
    outputs="CONDITIONING",
    title="ConditioningZeroOut",
    category="advanced/conditioning",
)
def conditioning_zero_out(conditioning: Words) -> Words:
    """Take all meaning out of a text."""
    return replace(conditioning, zero=True)


def grid_cut(values: Any) -> Any:
    """Return (B, H, W, ...) cut at both sides to multiples of 8."""
    height, width = values.shape[1:3]
    tall, wide = height // _GRID * _GRID, width // _GRID * _GRID
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


def _encoded(context: Context, source: Source, pixels: Floats) -> Floats:
    from reknit.diffusion.latents import encode_image

    placed = opened(source, context)
    made = encode_image(placed, np.ascontiguousarray(np.clip(pixels[..., :3], 0, 1)))
    return made.float().cpu().numpy()


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
    return {"samples": _encoded(context, vae.source, grid_cut(pixels))}


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
    cut, hole = _cut_alike(pixels, mask)
    samples = _encoded(context, vae.source, grey_where(cut, hole))
    return {"samples": samples, "noise_mask": np.rint(grown(hole, grow_mask_by))[:, None].astype(np.float32)}


def _cut_alike(pixels: Floats, mask: Floats) -> tuple[Floats, Floats]:
    fitted = scaled_mask(as_batch(mask), pixels.shape[2], pixels.shape[1])
    return grid_cut(pixels), np.ascontiguousarray(grid_cut(fitted))


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
    cut, hole = _cut_alike(pixels, mask)
    picture = _encoded(context, vae.source, grey_where(cut, hole))
    latent: Latent = {"samples": _encoded(context, vae.source, cut)}
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
    return _decoded(context, samples, vae, tiling=False)


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
def vae_decode_tiled(context: Context, samples: Latent, vae: Vae, **_: Any) -> Floats:
    """Turn latents into pictures in tiles, which needs less memory."""
    return _decoded(context, samples, vae, tiling=True)


def _decoded(context: Context, samples: Latent, vae: Vae, *, tiling: bool) -> Floats:
    import torch

    from reknit.diffusion.latents import decode

    return decode(opened(vae.source, context), torch.from_numpy(samples["samples"].copy()), tiling=tiling)


def _samplers(context: Context) -> tuple[str, ...]:
    from reknit.diffusion.sampler import sampler_names

    return sampler_names()


def _schedules(context: Context) -> tuple[str, ...]:
    from reknit.diffusion.sampler import schedule_names

    return schedule_names()


@node(
    "KSampler",
    link("model", "MODEL"),
    integer("seed", 0, 0, MAX_SEED),
    integer("steps", 20, 1, 10000),
    number("cfg", 8.0, 0.0, 100.0, step=0.1),
    choice("sampler_name", _samplers),
    choice("scheduler", _schedules),
    link("positive", "CONDITIONING"),
    link("negative", "CONDITIONING"),
    link("latent_image", "LATENT"),
    number("denoise", 1.0, 0.0, 1.0),
    outputs="LATENT",
    title="KSampler",
    category="sampling",
    wants_context=True,
)
def ksampler(context: Context, latent_image: Latent, denoise: float, **given: Any) -> Latent:
    """Paint latents from noise."""
    if denoise <= 0:
        return latent_image
    return _sampled(context, latent_image, strength=denoise, **given)


@node(
    "KSamplerAdvanced",
    link("model", "MODEL"),
    choice("add_noise", ("enable", "disable")),
    integer("noise_seed", 0, 0, MAX_SEED),
    integer("steps", 20, 1, 10000),
    number("cfg", 8.0, 0.0, 100.0, step=0.1),
    choice("sampler_name", _samplers),
    choice("scheduler", _schedules),
    link("positive", "CONDITIONING"),
    link("negative", "CONDITIONING"),
    link("latent_image", "LATENT"),
    integer("start_at_step", 0, 0, 10000),
    integer("end_at_step", 10000, 0, 10000),
    choice("return_with_leftover_noise", ("disable", "enable")),
    outputs="LATENT",
    title="KSampler (Advanced)",
    category="sampling",
    wants_context=True,
)
def ksampler_advanced(
    context: Context,
    latent_image: Latent,
    add_noise: str,
    noise_seed: int,
    start_at_step: int,
    end_at_step: int,
    return_with_leftover_noise: str,
    **given: Any,
) -> Latent:
    """Paint latents, from one step of the schedule to another."""
    if start_at_step >= min(end_at_step, given["steps"]):
        return latent_image
    return _sampled(
        context,
        latent_image,
        seed=noise_seed,
        start_at=start_at_step,
        end_at=min(end_at_step, given["steps"]),
        add_noise=add_noise == "enable",
        keep_noise=return_with_leftover_noise == "enable",
        **given,
    )


def _sampled(
    context: Context,
    latent: Latent,
    *,
    model: Model,
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    positive: Words,
    negative: Words,
    **how: Any,
) -> Latent:
    from reknit.diffusion import lora
    from reknit.diffusion.denoise import StepInfo, denoise
    from reknit.diffusion.sampler import sampler

    placed = opened(whole(model.source, positive.clip.source), context)
    lora.apply(placed, dict(model.loras))
    prepared = _prepared(placed, model, latent, seed, positive, steps)

    def tell(step: StepInfo) -> None:
        context.tick(step.index, step.total, step.preview())

    made = denoise(
        placed,
        _conditioning(placed, positive, negative, cfg),
        prepared,
        sampler(sampler_name, scheduler),
        steps=steps,
        guidance=cfg,
        rule="comfyui",
        keep_known=prepared.mask is not None or prepared.strength_map is not None,
        on_step=tell,
        **how,
    )
    return {key: value for key, value in latent.items() if key != "samples"} | {
        "samples": made.float().cpu().numpy()
    }


def _conditioning(placed: Placed, positive: Words, negative: Words, cfg: float) -> Any:
    from reknit.diffusion.prompt import Conditioning, Text, encode_text

    def said(words: Words) -> Text:
        import torch

        found = encode_text(placed, words.prompt, clip_skip=words.clip.skip, emphasis="comfyui")
        if not words.zero:
            return found
        pooled = None if found.pooled is None else torch.zeros_like(found.pooled)
        return replace(found, embeds=torch.zeros_like(found.embeds), pooled=pooled)

    return Conditioning(
        positive=said(positive),
        negative=None if cfg == 1.0 else said(negative),
        guidance=positive.guidance,
    )


def _prepared(placed: Placed, model: Model, latent: Latent, seed: int, positive: Words, steps: int) -> Any:
    import torch

    from reknit.diffusion.prepare import Prepared, batch_noise

    family, kind = placed.checkpoint.family, placed.checkpoint.kind
    samples: Floats = latent["samples"]
    if not samples.any():
        samples = np.zeros((len(samples), family.latent_channels, *samples.shape[2:]), np.float32)
    if samples.shape[1] != family.latent_channels:
        raise InputError(
            f"the latents have {samples.shape[1]} channels, {family.title} wants {family.latent_channels}",
            code="workflow.latent",
            hint="encode the picture with the model's own VAE",
        )
    count, _, rows, columns = samples.shape
    given: Floats | None = latent.get("noise_mask")
    mask = None
    if given is not None:
        fitted = scaled_mask(as_batch(given), columns, rows)
        mask = torch.from_numpy(np.ascontiguousarray(fitted[:1, None])).to(placed.device)
    clean = torch.from_numpy(samples.copy()).to(placed.device, placed.dtype)
    soft = model.differential > 0 and mask is not None
    return Prepared(
        latents=clean,
        noise=batch_noise(seed, count, tuple(samples.shape[1:])).to(placed.device),
        mask=mask,
        strength_map=mask if soft else None,
        condition=_seen(placed, positive, clean, given) if kind == "inpaint" else None,
        generators=[torch.Generator("cpu").manual_seed((seed + index) % 2**64) for index in range(count)],
        size=(columns * _GRID, rows * _GRID),
    )


def _seen(placed: Placed, positive: Words, clean: Any, noise_mask: Floats | None) -> Any:
    """Return what an inpainting model sees beside its sample: mask and masked picture."""
    import torch

    rows, columns = clean.shape[2:]
    mask = positive.mask if positive.mask is not None else noise_mask
    picture = clean if positive.picture is None else torch.from_numpy(positive.picture.copy()).to(clean)
    if mask is None:
        mask, picture = np.ones((1, rows * _GRID, columns * _GRID), np.float32), torch.zeros_like(clean)
    mask = as_batch(mask)
    if placed.checkpoint.family.name == "flux":
        large = torch.from_numpy(scaled_mask(mask, columns * _GRID, rows * _GRID)[:, None].copy())
        unfolded = torch.nn.functional.pixel_unshuffle(large, _GRID).to(clean)
        return torch.cat((picture, unfolded.expand(len(picture), -1, -1, -1)), dim=1)
    small = np.rint(scaled_mask(mask, columns, rows))[:, None].astype(np.float32)
    return torch.cat((torch.from_numpy(small).to(clean).expand(len(picture), -1, -1, -1), picture), dim=1)
