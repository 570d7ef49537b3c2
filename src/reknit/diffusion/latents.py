"""Between pixels and latents: the VAE, and masks at the latents' size.

`encode_image` and `decode` are the only doors to the VAE. Pictures are arrays outside and tensors inside; a VAE that
overflows in half precision is asked again in single. Nothing here knows prompts, noise or steps.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from reknit.core.errors import EngineFailed, InputError
from reknit.diffusion.memory import memory_guard
from reknit.diffusion.stage_cache import StageCache, identity, key_of

if TYPE_CHECKING:
    from reknit.diffusion.placed import Placed

Pixels = NDArray[Any]
Floats = NDArray[np.float32]
Note = Callable[[str], None]
MaskRule = Literal["cover", "diffusers", "a1111", "comfyui"]


def encode_image(
    placed: Placed,
    pixels: Pixels,
    *,
    generator: torch.Generator | None = None,
    cache: StageCache | None = None,
    note: Note | None = None,
) -> torch.Tensor:
    """Return a picture's latents, scaled as the denoiser wants them.

    Parameters
    ----------
    placed
    pixels : (H, W, 3) or (N, H, W, 3), uint8, uint16, or float from 0 to 1
        Sides must be multiples of the family's ``multiple_px``.
    generator
        Draws from the posterior, as diffusers' pipelines do; None takes its mode, which is the same every time.
    cache
        Latents without a generator are taken from and kept in it.
    note
        Is told when the VAE had to compute in float32.

    Returns
    -------
    Tensor, (N, channels, H / 8, W / 8)
        Of the placement's dtype, on its device.

    Raises
    ------
    InputError
        ``diffusion.size``, ``diffusion.pixels``.
    EngineFailed
        ``vae.nan``: not a number even in float32.
    OutOfMemory
    """
    batch = _checked(placed, pixels)
    key = key_of("latents", identity(placed.checkpoint), str(placed.vae_dtype), batch)
    if cache is not None and generator is None and (found := cache.get(key)) is not None:
        return found
    scaled = torch.from_numpy(unit(batch)).permute(0, 3, 1, 2) * 2.0 - 1.0
    vae = placed.checkpoint.vae

    def encode(dtype: torch.dtype) -> torch.Tensor:
        posterior = vae.encode(scaled.to(placed.device, dtype)).latent_dist
        return posterior.mode() if generator is None else posterior.sample(generator)

    with placed.using("vae"), torch.inference_mode(), memory_guard("encoding the picture", placed.device):
        raw = _finite(placed, encode, note, "encoding")
    shift = float(vae.config.get("shift_factor") or 0.0)
    latents = ((raw - shift) * float(vae.config["scaling_factor"])).to(placed.dtype)
    if cache is not None and generator is None:
        cache.put(key, latents)
    return latents


def decode(
    placed: Placed,
    latents: torch.Tensor,
    *,
    tiling: bool | None = None,
    tile_px: tuple[int, int] | None = None,
    note: Note | None = None,
) -> Floats:
    """Return the pictures of latents.

    Parameters
    ----------
    latents : (N, channels, h, w)
        As the denoiser leaves them.
    tiling
        Decode in tiles that overlap, which needs little memory and may show as slight steps of tone; None: as the
        placement says.
    tile_px : (int, int)
        Side and overlap of those tiles; None: the VAE's own.
    note
        Is told when the VAE had to compute in float32.

    Returns
    -------
    ndarray, (N, 8 h, 8 w, 3), float32
        From 0 to 1.

    Raises
    ------
    EngineFailed
        ``vae.nan``
    OutOfMemory
    """
    vae = placed.checkpoint.vae
    shift = float(vae.config.get("shift_factor") or 0.0)
    raw = latents.to(torch.float32) / float(vae.config["scaling_factor"]) + shift

    def run(dtype: torch.dtype) -> torch.Tensor:
        return vae.decode(raw.to(placed.device, dtype), return_dict=False)[0]

    tiled = placed.placement.vae_tiling if tiling is None else tiling
    with (
        placed.using("vae"),
        _tiles(vae, tiled, placed.placement.vae_slicing, tile_px),
        torch.inference_mode(),
        memory_guard("decoding", placed.device),
    ):
        picture = _finite(placed, run, note, "decoding")
    unit_range = (picture.float() / 2 + 0.5).clamp(0, 1)
    return np.ascontiguousarray(unit_range.permute(0, 2, 3, 1).cpu().numpy())


def downscale_mask(hole: NDArray[Any], size: tuple[int, int], rule: MaskRule = "cover") -> torch.Tensor:
    """Return a mask at the latents' size.

    Parameters
    ----------
    hole : (H, W), bool or float from 0 to 1
        True = fill.
    size : (int, int)
        Rows and columns of the latents.
    rule
        ``cover``: a latent is filled where any of its pixels is, so that nothing of the hole is left; the softest
        value for soft masks is kept. ``diffusers``: the pixel at its corner, binary. ``a1111``: bicubic and rounded.
        ``comfyui``: bilinear, not rounded.

    Returns
    -------
    Tensor, (1, 1, rows, columns), float32
    """
    soft = torch.from_numpy(np.ascontiguousarray(hole, dtype=np.float32))[None, None]
    if rule == "cover":
        return torch.nn.functional.adaptive_max_pool2d(soft, size)
    if rule == "diffusers":
        return torch.nn.functional.interpolate((soft >= 0.5).float(), size=size)
    if rule == "comfyui":
        return torch.nn.functional.interpolate(soft, size=size, mode="bilinear")
    from PIL import Image

    small = Image.fromarray((np.asarray(hole, dtype=np.float32) * 255).round().astype(np.uint8))
    values = np.asarray(small.resize((size[1], size[0]), Image.Resampling.BICUBIC), dtype=np.float32) / 255
    return torch.from_numpy(np.around(values))[None, None]


def unit(pixels: Pixels) -> Floats:
    """Return pixels as float32 from 0 to 1."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / 255.0
    if pixels.dtype == np.uint16:
        return pixels.astype(np.float32) / 65535.0
    return np.ascontiguousarray(pixels, dtype=np.float32)


def _checked(placed: Placed, pixels: Pixels) -> Pixels:
    batch = pixels[None] if pixels.ndim == 3 else pixels
    if batch.ndim != 4 or batch.shape[3] != 3 or batch.dtype.kind not in "uf":
        raise InputError(
            f"a picture of shape {pixels.shape} and type {pixels.dtype} cannot be encoded",
            code="diffusion.pixels",
            hint="it must be RGB: (H, W, 3), 8 or 16 bits or floats from 0 to 1",
        )
    height, width, step = batch.shape[1], batch.shape[2], placed.checkpoint.family.multiple_px
    if height % step or width % step or not height or not width:
        raise InputError(
            f"{width} x {height} px cannot be encoded: both must be multiples of {step}",
            code="diffusion.size",
            hint=f"e.g. {max(step, round(width / step) * step)} x {max(step, round(height / step) * step)} px",
        )
    return batch


def _finite(
    placed: Placed, run: Callable[[torch.dtype], torch.Tensor], note: Note | None, doing: str
) -> torch.Tensor:
    result = run(placed.vae_dtype)
    if bool(torch.isfinite(result).all()):
        return result
    if placed.vae_dtype != torch.float32:
        vae = placed.checkpoint.vae
        vae.to(torch.float32)
        try:
            result = run(torch.float32)
        finally:
            vae.to(placed.vae_dtype)
        if bool(torch.isfinite(result).all()):
            if note is not None:
                note(f"{doing} overflowed in {str(placed.vae_dtype).removeprefix('torch.')}; done in float32")
            return result
    raise EngineFailed(
        f"{doing} gave values that are not numbers",
        code="vae.nan",
        hint="the latents or the VAE's weights are damaged: reknit models verify",
    )


@contextmanager
def _tiles(vae: Any, tiling: bool, slicing: bool, tile_px: tuple[int, int] | None) -> Generator[None]:
    wanted: dict[str, Any] = {"use_tiling": tiling, "use_slicing": slicing}
    if tile_px is not None:
        side, overlap = tile_px
        scale = 2 ** (len(vae.config["block_out_channels"]) - 1)
        wanted |= {
            "tile_sample_min_size": side,
            "tile_latent_min_size": max(1, side // scale),
            "tile_overlap_factor": overlap / side,
        }
    before = {name: getattr(vae, name) for name in wanted}
    for name, value in wanted.items():
        setattr(vae, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(vae, name, value)
