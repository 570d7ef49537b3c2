"""A latent inpainting model small enough to be trained on a CPU within minutes, on scenes whose holes can be known.

The scenes are ramps between two colours: what a hole hides follows from what surrounds it. The model has the form of
Stable Diffusion 1.5's inpainting model (nine channels, four levels), so the whole path runs on it as on a true one.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel

from tests.diffusion import tiny

SIDE = 64


def scenes(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return ramps, (count, 64, 64, 3), float32 from 0 to 1."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) / (SIDE - 1) - 0.5
    angle = rng.uniform(0, 2 * np.pi, count).astype(np.float32)
    along = 0.5 + (np.cos(angle)[:, None, None] * x + np.sin(angle)[:, None, None] * y) / np.sqrt(2)
    one, other = rng.uniform(0.05, 0.95, (2, count, 1, 1, 3)).astype(np.float32)
    return (one * along[..., None] + other * (1 - along[..., None])).astype(np.float32)


def holes(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return rectangles, (count, 64, 64), bool."""
    made = np.zeros((count, SIDE, SIDE), bool)
    for each in made:
        height, width = rng.integers(16, 33, 2)
        top, left = rng.integers(8, SIDE - 8 - height), rng.integers(8, SIDE - 8 - width)
        each[top : top + height, left : left + width] = True
    return made


def tensors(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2) * 2 - 1


def train_vae(steps: int, rng: np.random.Generator) -> AutoencoderKL:
    config = tiny.tiny_configs("sd15", "inpaint")["vae"]
    config |= {"block_out_channels": [16, 16, 32, 32], "norm_num_groups": 4}
    vae = AutoencoderKL(**config)
    optimiser = torch.optim.AdamW(vae.parameters(), 2e-3, weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for _ in range(steps):
        given = tensors(scenes(8, rng))
        posterior = vae.encode(given).latent_dist
        made = vae.decode(posterior.mode()).sample
        loss = (made - given).abs().mean() + 1e-4 * posterior.mode().square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        deviation = vae.encode(tensors(scenes(32, rng))).latent_dist.mode().std()
    vae.register_to_config(scaling_factor=float(1 / deviation))
    return vae.eval()


def new_unet() -> UNet2DConditionModel:
    config = tiny.tiny_configs("sd15", "inpaint")["unet"]
    return UNet2DConditionModel(**(config | {"norm_num_groups": 8, "sample_size": 8}))


def train_unet(vae: AutoencoderKL, text: torch.Tensor, steps: int, rng: np.random.Generator) -> Any:
    """Train on masked latents, as inpainting models are; ``text`` is the empty prompt's embedding."""
    unet = new_unet()
    noising = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    optimiser = torch.optim.AdamW(unet.parameters(), 2e-3, weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    count, scale = 32, vae.config["scaling_factor"]
    pictures, where = scenes(512, rng), holes(512, rng)
    with torch.no_grad():
        latents = torch.cat([vae.encode(tensors(part)).latent_dist.mode() for part in np.split(pictures, 16)])
        grey = np.where(where[..., None], np.float32(0.5), pictures)
        masked = torch.cat([vae.encode(tensors(part)).latent_dist.mode() for part in np.split(grey, 16)])
    latents, masked = latents * scale, masked * scale
    mask = torch.nn.functional.adaptive_max_pool2d(torch.from_numpy(where[:, None].astype(np.float32)), 8)
    for _ in range(steps):
        pick = torch.from_numpy(rng.integers(0, len(latents), count))
        noise = torch.from_numpy(rng.standard_normal((count, 4, 8, 8), dtype=np.float32))
        at = torch.from_numpy(rng.integers(0, 1000, count))
        noisy = noising.add_noise(latents[pick], noise, at)
        given = torch.cat([noisy, mask[pick], masked[pick]], dim=1)
        made = unet(given, at, text.expand(count, -1, -1)).sample
        loss = (made - noise).square().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return unet.eval()


def trained_folder(where: Path, *, vae_steps: int = 500, unet_steps: int = 2500) -> tuple[Path, Path]:
    """Return the folders of a trained model, and of the same one with an untrained denoiser."""
    rng = np.random.default_rng(1)
    torch.manual_seed(1)
    folder = tiny.tiny_folder(where / "trained", "sd15", "inpaint")
    plain = tiny.tiny_folder(where / "untrained", "sd15", "inpaint")
    networks = tiny.tiny_networks("sd15", "inpaint")
    tokenizer = tiny.tiny_tokenizers("sd15")["tokenizer"]
    ids = tokenizer("", padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        text = networks["text_encoder"](ids).last_hidden_state
    vae = train_vae(vae_steps, rng)
    unet = train_unet(vae, text, unet_steps, rng)
    for path, network in ((folder, unet), (plain, new_unet())):
        vae.save_pretrained(path / "vae")
        network.save_pretrained(path / "unet")
    return folder, plain
