"""Samplers: from noise to latents, with ComfyUI's noise, steps, masks and names.

One generator draws the noise of a whole batch; a mask is soft and works at every step (`reknit.diffusion.soft_mask`);
exactly as many steps are walked as were asked for. What flows in and out is not scaled for the denoiser.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import InputError
from reknit.workflow.context import Context
from reknit.workflow.node import MAX_SEED, choice, integer, link, node, number
from reknit.workflow.nodes.conditioning import ControlUse, Words
from reknit.workflow.nodes.diffusion import scaling
from reknit.workflow.nodes.latents import Latent
from reknit.workflow.nodes.models import Model, control, painter
from reknit.workflow.nodes.pictures import cropped_to, repeated
from reknit.workflow.resize import as_batch, scaled, scaled_mask

if TYPE_CHECKING:
    from torch import Tensor

    from reknit.diffusion.placed import Placed
    from reknit.diffusion.predictor import ControlInput
    from reknit.diffusion.prepare import Prepared
    from reknit.diffusion.prompt import Conditioning, Text
    from reknit.diffusion.soft_mask import SoftMask

Floats = NDArray[np.float32]

_LOG = logging.getLogger(__name__)
_GRID = 8
_BLANK = (0.8223, -0.6876, 0.6364, 0.1380)
"""What an inpainting model of Stable Diffusion is shown where there is no picture: ComfyUI's latents of nothing."""


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
    add_noise: bool = True,
    **how: Any,
) -> Latent:
    from reknit.diffusion.denoise import StepInfo, denoise
    from reknit.diffusion.sampler import sampler

    without = None if cfg == 1.0 else _said(context, model, negative)
    told = _conditioning(_said(context, model, positive), without, positive)
    placed = painter(context, model, positive.clip)
    scale, shift = scaling(placed.checkpoint.family)
    prepared = _prepared(placed, latent, seed, positive, add_noise)
    own_noise = _noise_like(seed + 1, prepared) if sampler_name == "ddim" and add_noise else None

    def tell(step: StepInfo) -> None:
        context.tick(step.index, step.total, step.preview())

    with _controls(placed, prepared, positive, negative, without is not None) as controls:
        made = denoise(
            placed,
            told,
            prepared,
            sampler("euler" if sampler_name == "ddim" else sampler_name, scheduler),
            steps=steps,
            guidance=cfg,
            rule="comfyui",
            keep_known=False,
            soft_mask=_soft_mask(latent, prepared, model, own_noise),
            controls=controls,
            on_step=tell,
            **how,
        )
    kept = {key: value for key, value in latent.items() if key != "samples"}
    return kept | {"samples": (made.float() / scale + shift).cpu().numpy()}


def _said(context: Context, model: Model, words: Words) -> Text:
    """Return what a text says to the denoiser."""
    import torch

    from reknit.diffusion.prompt import encode_text
    from reknit.diffusion.textual_inversion import named

    placed = painter(context, model, words.clip)
    there = named(context.weights("embeddings").values()) if "embedding:" in words.prompt else None
    found = encode_text(placed, words.prompt, clip_skip=words.clip.skip, emphasis="comfyui", embeddings=there)
    for note in found.notes:
        _LOG.warning(note)
    if not words.zero:
        return found
    pooled = None if found.pooled is None else torch.zeros_like(found.pooled)
    return replace(found, embeds=torch.zeros_like(found.embeds), pooled=pooled)


def _conditioning(positive: Text, negative: Text | None, words: Words) -> Conditioning:
    from reknit.diffusion.prompt import Conditioning

    return Conditioning(positive=positive, negative=negative, guidance=words.guidance)


def _noise_like(seed: int, prepared: Prepared) -> Tensor:
    """Return the noise of a seed for all the pictures that were prepared."""
    from reknit.diffusion.prepare import batch_noise

    count, channels, rows, columns = prepared.noise.shape
    return batch_noise(seed, count, (channels, rows, columns)).to(prepared.noise)


def _prepared(placed: Placed, latent: Latent, seed: int, positive: Words, add_noise: bool) -> Prepared:
    import torch

    from reknit.diffusion.prepare import Prepared, batch_noise

    family = placed.checkpoint.family
    samples: Floats = latent["samples"]
    if not samples.any():  # nothing is nothing, however it is scaled
        clean = torch.zeros((len(samples), family.latent_channels, *samples.shape[2:]))
    else:
        scale, shift = scaling(family)
        clean = _tensor((samples - shift) * np.float32(scale))
    _check(placed, clean)
    clean = clean.to(placed.device, placed.dtype)
    count, channels, rows, columns = clean.shape
    noise = batch_noise(seed, count, (channels, rows, columns)).to(placed.device)
    return Prepared(
        latents=clean,
        noise=noise if add_noise else torch.zeros_like(noise),
        mask=None,
        strength_map=None,
        condition=_seen(placed, positive, clean, latent.get("noise_mask")),
        generators=[torch.Generator("cpu").manual_seed((seed + 1) % 2**64)],  # not the noise it began with
        size=(columns * _GRID, rows * _GRID),
    )


def _check(placed: Placed, clean: Tensor) -> None:
    family = placed.checkpoint.family
    if clean.shape[1] != family.latent_channels:
        raise InputError(
            f"the latents have {clean.shape[1]} channels, {family.title} wants {family.latent_channels}",
            code="workflow.latent",
            hint="encode the picture with the model's own VAE",
        )
    cells = family.multiple_px // _GRID
    if clean.shape[2] % cells or clean.shape[3] % cells:
        raise InputError(
            f"{clean.shape[3] * _GRID} x {clean.shape[2] * _GRID} px do not suit {family.title}",
            code="workflow.latent",
            hint=f"make both sides multiples of {family.multiple_px} px",
        )


def _soft_mask(latent: Latent, prepared: Prepared, model: Model, noise: Tensor | None) -> SoftMask | None:
    from reknit.diffusion.soft_mask import SoftMask

    given: Floats | None = latent.get("noise_mask")
    if given is None:
        return None
    rows, columns = prepared.latents.shape[2:]
    fitted = repeated(scaled_mask(as_batch(given), columns, rows), prepared.count)
    mask = _tensor(fitted[:, None]).to(prepared.latents.device)
    return SoftMask(mask=mask, noise=noise, differential=model.differential)


def _seen(placed: Placed, positive: Words, clean: Tensor, noise_mask: Floats | None) -> Tensor | None:
    """Return what an inpainting model sees beside its sample: mask and masked picture."""
    import torch

    if placed.checkpoint.kind != "inpaint":
        return None
    flux = placed.checkpoint.family.name == "flux"
    count, _, rows, columns = clean.shape
    mask = positive.mask if positive.mask is not None else noise_mask
    if positive.picture is not None:
        scale, shift = scaling(placed.checkpoint.family)
        shown = np.moveaxis(repeated((positive.picture - shift) * np.float32(scale), count), 1, -1)
        shown = np.moveaxis(scaled(cropped_to(shown, columns, rows), columns, rows, "bilinear"), -1, 1)
        picture = _tensor(shown).to(clean)
    elif mask is not None:
        picture = clean
    else:
        blank = (0.0,) if flux else _BLANK
        picture = torch.tensor(blank).to(clean)[None, :, None, None].expand_as(clean)
    if mask is None:
        mask = np.ones((1, rows, columns), np.float32)
    mask = as_batch(mask)
    if flux:
        large = _tensor(repeated(scaled_mask(mask, columns * _GRID, rows * _GRID), count)[:, None])
        return torch.cat((picture, torch.nn.functional.pixel_unshuffle(large, _GRID).to(clean)), dim=1)
    small = _tensor(repeated(np.rint(scaled_mask(mask, columns, rows)), count)[:, None])
    return torch.cat((small.to(clean), picture), dim=1)


@contextmanager
def _controls(
    placed: Placed, prepared: Prepared, positive: Words, negative: Words, guided: bool
) -> Generator[list[ControlInput]]:
    """Have the control networks of both texts on the denoiser's device."""
    from reknit.diffusion.predictor import ControlInput

    uses = dict.fromkeys((*positive.controls, *(negative.controls if guided else ())))
    made: list[ControlInput] = []
    networks: list[Any] = []
    try:
        for use in uses:
            network = control(use.path, placed)
            networks.append(network.to(placed.device))
            here = use in positive.controls, use in negative.controls or not guided
            made.append(
                ControlInput(
                    network=network,
                    picture=_followed(use, prepared).to(placed.device, placed.dtype),
                    weight=use.strength,
                    start=use.start,
                    end=use.end,
                    by_level=True,
                    texts="both" if all(here) else "positive" if here[0] else "negative",
                )
            )
        yield made
    finally:
        if placed.placement.offload != "none":
            for network in networks:
                network.to("cpu")


def _followed(use: ControlUse, prepared: Prepared) -> Tensor:
    """Return a control network's picture at the size that is painted: cut to its shape, then scaled."""
    width, height = prepared.size
    fitted = scaled(cropped_to(use.picture[:1, ..., :3], width, height), width, height, "nearest-exact")
    return _tensor(np.moveaxis(fitted, -1, 1))


def _tensor(values: Floats) -> Tensor:
    """Return a copy: what nodes are given is read-only."""
    import torch

    return torch.from_numpy(np.array(values, dtype=np.float32, order="C"))
