"""From pixels and a hole to what a denoiser begins with: noise, latents, masks, and what inpainting models see.

Noise is drawn on the CPU in float32, one generator a picture, so that a seed means the same on every device. The
pictures that come in are already of the size that is worked at; nothing here knows prompts or samplers.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from reknit.core.errors import InputError
from reknit.diffusion.latents import MaskRule, Note, downscale_mask, encode_image, unit
from reknit.diffusion.stage_cache import StageCache
from reknit.diffusion.variation import Variation

if TYPE_CHECKING:
    from reknit.diffusion.placed import Placed

Content = Literal["original", "fill", "noise", "nothing"]
_BLURS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))


@dataclass(slots=True, kw_only=True)
class Prepared:
    """What `reknit.diffusion.denoise.denoise` begins with.

    Attributes
    ----------
    latents : Tensor, (1 or N, C, h, w)
        What denoising starts from and what is kept outside the mask; noise is added to it later.
    noise : Tensor, (N, C, h, w)
        Of unit variance, float32.
    mask : Tensor, (1, 1, h, w), or None
        1 = fill; None where all is painted.
    strength_map : Tensor, (1, 1, h, w), or None
        How much each latent may change, 0 to 1: it joins the walk when so much of the schedule is left.
    condition : Tensor, (1 or N, channels, h, w), or None
        What an inpainting model sees beside its sample.
    generators : list of torch.Generator
        One a picture, for samplers that draw noise at each step.
    size : (int, int)
        Width and height in px.
    """

    latents: torch.Tensor
    noise: torch.Tensor
    mask: torch.Tensor | None
    strength_map: torch.Tensor | None
    condition: torch.Tensor | None
    generators: list[torch.Generator]
    size: tuple[int, int]

    @property
    def count(self) -> int:
        """How many pictures are made at once."""
        return int(self.noise.shape[0])


def prepare(
    placed: Placed,
    pixels: NDArray[Any],
    hole: NDArray[Any],
    *,
    seeds: Sequence[int] = (0,),
    content: Content = "original",
    prefill: NDArray[Any] | None = None,
    strength_map: NDArray[Any] | None = None,
    mask_rule: MaskRule = "cover",
    posterior: Literal["mode", "sample"] = "mode",
    noise: torch.Tensor | None = None,
    variation: Variation | None = None,
    pure_noise: bool = False,
    cache: StageCache | None = None,
    note: Note | None = None,
) -> Prepared:
    """Make ready what a denoiser begins with.

    Parameters
    ----------
    placed
    pixels : (H, W, 3), uint8, uint16, or float from 0 to 1
        The picture, of the size that is worked at.
    hole : (H, W), bool, or float from 0 to 1
        True = fill.
    seeds
        One a picture.
    content : {'original', 'fill', 'noise', 'nothing'}
        What stands in the hole at the start: the picture itself; its surroundings, blurred inwards as A1111's "fill";
        noise; or zeros. At strength 1 diffusers' rule starts from noise alone, and it matters to the other rules only.
    prefill : (H, W, 3), as ``pixels``
        A picture to start from instead, e.g. one that another engine has filled.
    strength_map : (H, W), float from 0 to 1
        Per-pixel strength (Levin and Fried, Differential Diffusion, 2023, arXiv:2306.00950).
    mask_rule
        How masks come to the latents' size, see `reknit.diffusion.latents.downscale_mask`.
    posterior : {'mode', 'sample'}
        ``sample`` draws latents from each seed's generator, before and after the noise, in the order of diffusers'
        pipelines; ``mode`` draws nothing, so latents can be cached.
    noise : Tensor, (N, C, h, w)
        Instead of noise from the seeds.
    variation
        How noise is drawn otherwise than from each seed alone.
    pure_noise
        The walk will begin with noise alone (strength 1): an inpainting model without a strength map then needs no
        latents of the picture, which is not encoded.
    cache
        For latents.

    Raises
    ------
    InputError
        ``mask.size``, ``mask.empty``, ``diffusion.size``, ``diffusion.pixels``, ``diffusion.seeds``.
    """
    _check(pixels, hole, strength_map, prefill, seeds)
    drawn = variation or Variation()
    generators = [torch.Generator("cpu").manual_seed(int(seed) % 2**64) for seed in drawn.seeds(seeds)]
    drawing = generators[0] if posterior == "sample" else None
    family, kind = placed.checkpoint.family, placed.checkpoint.kind
    start = prefill if prefill is not None else blurred_fill(pixels, hole) if content == "fill" else pixels
    grid = (pixels.shape[0] // 8, pixels.shape[1] // 8)
    shape = (family.latent_channels, *grid)
    if pure_noise and kind == "inpaint" and strength_map is None:
        latents = torch.zeros((1, *shape), dtype=placed.dtype, device=placed.device)
    else:
        latents = encode_image(placed, start, generator=drawing, cache=cache, note=note)
    if noise is None:
        noise = drawn.noise(generators, seeds, shape)
    mask = downscale_mask(hole, grid, mask_rule).to(placed.device)
    condition = None
    if kind == "inpaint":
        condition = _condition(placed, pixels, hole, mask, drawing, cache, note)
    elif drawing is not None:  # diffusers encodes the masked picture for base models too, and drops it
        torch.randn((1, *shape), generator=drawing)
    softness = None
    if strength_map is not None:
        soft = np.asarray(strength_map, dtype=np.float32)
        softness = downscale_mask(soft, grid, "comfyui").to(placed.device)
    return Prepared(
        latents=latents if prefill is not None else _emptied(latents, noise, mask, content),
        noise=noise.to(placed.device),
        mask=mask,
        strength_map=softness,
        condition=condition,
        generators=generators,
        size=(int(pixels.shape[1]), int(pixels.shape[0])),
    )


def batch_noise(seed: int, count: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """Return noise as ComfyUI draws it: one generator for a whole batch."""
    generator = torch.Generator("cpu").manual_seed(seed % 2**64)
    return torch.randn((count, *shape), generator=generator, dtype=torch.float32)


def blurred_fill(pixels: NDArray[Any], hole: NDArray[Any]) -> NDArray[np.float32]:
    """Return a picture whose hole is its surroundings, blurred inwards.

    Ever finer blurs of what is outside the hole are laid one over the other, as A1111's masked content "fill" does,
    with OpenCV's Gaussian.

    Returns
    -------
    ndarray, (H, W, 3), float32
        From 0 to 1; as before outside the hole.
    """
    known = np.where(np.asarray(hole) >= 0.5, 0.0, 1.0).astype(np.float32)
    picture = unit(pixels)
    carried = np.dstack([picture * known[..., None], known])
    laid = np.zeros_like(carried)
    for radius, times in _BLURS:
        blurred = _blurred(carried, radius)
        for _ in range(times):
            laid = blurred + laid * (1 - blurred[..., 3:])
    weight = np.maximum(laid[..., 3:], 1e-6)
    return np.where(known[..., None] > 0, picture, laid[..., :3] / weight).astype(np.float32)


def _blurred(picture: NDArray[np.float32], sigma: int) -> NDArray[np.float32]:
    """Return a picture blurred by a Gaussian; wide ones at a smaller size, where they cost a thousandth."""
    import cv2

    if sigma == 0:
        return picture
    height, width = picture.shape[:2]
    scale = max(1, min(sigma // 4, min(height, width) // 8))
    sides = (max(1, round(width / scale)), max(1, round(height / scale)))
    small = cv2.resize(picture, sides, interpolation=cv2.INTER_AREA) if scale > 1 else picture
    small = cv2.GaussianBlur(small, (0, 0), sigmaX=sigma / scale, borderType=cv2.BORDER_CONSTANT)
    wide = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR) if scale > 1 else small
    return np.asarray(wide, dtype=np.float32)


def _emptied(
    latents: torch.Tensor, noise: torch.Tensor, mask: torch.Tensor, content: Content
) -> torch.Tensor:
    """Return latents whose hole holds what masked content ``noise`` or ``nothing`` says; as they are for all else."""
    if content not in ("noise", "nothing"):
        return latents
    keep = (1 - mask).to(latents.dtype)
    return latents * keep + (noise.to(latents) * (1 - keep) if content == "noise" else 0)


def _condition(
    placed: Placed,
    pixels: NDArray[Any],
    hole: NDArray[Any],
    mask: torch.Tensor,
    generator: torch.Generator | None,
    cache: StageCache | None,
    note: Note | None,
) -> torch.Tensor:
    """Return what an inpainting model sees: mask and masked picture (UNet), or those two the other way (FLUX Fill)."""
    keep = (np.asarray(hole) < 0.5)[..., None]
    grey = np.where(keep, unit(pixels), np.float32(0.5)).astype(np.float32)
    masked = encode_image(placed, grey, generator=generator, cache=cache, note=note)
    if placed.checkpoint.family.name == "flux":
        soft = torch.from_numpy(np.ascontiguousarray(hole, dtype=np.float32))[None, None]
        cells = torch.nn.functional.pixel_unshuffle(soft, 8)
        return torch.cat([masked, cells.to(masked)], dim=1)
    return torch.cat([mask.to(masked), masked], dim=1)


def _check(
    pixels: NDArray[Any],
    hole: NDArray[Any],
    strength_map: NDArray[Any] | None,
    prefill: NDArray[Any] | None,
    seeds: Sequence[int],
) -> None:
    for name, other in (("mask", hole), ("strength map", strength_map), ("pre-filled picture", prefill)):
        if other is not None and other.shape[:2] != pixels.shape[:2]:
            raise InputError(
                f"the {name} has {other.shape[1]} x {other.shape[0]} px, "
                f"the picture {pixels.shape[1]} x {pixels.shape[0]}",
                code="mask.size",
                hint="both must be of one size",
            )
    if not bool(np.asarray(hole).any()):
        raise InputError("the mask is empty: nothing to fill", code="mask.empty", hint="white = fill")
    if not seeds:
        raise InputError("no seed, no picture", code="diffusion.seeds", hint="give one seed a picture")
