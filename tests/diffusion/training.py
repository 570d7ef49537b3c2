"""A latent inpainting model small enough to be trained on a CPU within minutes, and the scenes it is trained on.

It has the form of Stable Diffusion 1.5's inpainting model (nine channels, a VAE of an eighth of the size, a text
encoder) with fewer and thinner layers, so the whole path runs on it as on a true one. It predicts
velocity, as Stable Diffusion 2 does, and has no ear for prompts.
The scenes are drawn here by formula, for one reason: what a hole hides has to follow from what surrounds it, or no
model could be measured by how well it restores it.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from numpy.typing import NDArray

from reknit.diffusion.families import configs
from tests.diffusion import tiny

SIDE = 64
KINDS = ("stripes", "weave", "bar", "horizon")

Floats = NDArray[np.float64]
Pictures = NDArray[np.uint8]
Holes = NDArray[np.bool_]


# --- scenes ------------------------------------------------------------------------------------------


def scene(kind: str, rng: np.random.Generator) -> Pictures:
    """Return a scene in two colours under slanting light, (64, 64, 3)."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(float)
    first, second = _two_colours(rng)
    share = _SHAPES[kind](x, y, rng)[..., None]
    across, down = rng.uniform(-0.25, 0.25, 2)
    light = 1 + across * (2 * x / SIDE - 1) + down * (2 * y / SIDE - 1)
    colours = 0.5 + (first + (second - first) * share - 0.5) * light[..., None]
    return np.rint(np.clip(colours, 0, 1) * 255).astype(np.uint8)


def pictures(count: int, rng: np.random.Generator) -> Pictures:
    """Return scenes of all kinds by turns, (count, 64, 64, 3)."""
    return np.stack([scene(KINDS[n % len(KINDS)], rng) for n in range(count)])


def holes(count: int, rng: np.random.Generator) -> Holes:
    """Return rectangles of 16 to 26 px a side, at least 8 px from every edge, (count, 64, 64)."""
    made = np.zeros((count, SIDE, SIDE), bool)
    for each in made:
        height, width = rng.integers(16, 27, 2)
        top, left = rng.integers(8, SIDE - 7 - height), rng.integers(8, SIDE - 7 - width)
        each[top : top + height, left : left + width] = True
    return made


def _two_colours(rng: np.random.Generator) -> tuple[Floats, Floats]:
    while True:
        first, second = rng.random((2, 3))
        if np.abs(first - second).mean() > 0.4:
            return first, second


def _stripes(x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    return 0.5 + 0.5 * _wave(_level_or_upright(x, y, rng), rng)


def _weave(x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    return 0.5 + 0.25 * _wave(x, rng) + 0.25 * _wave(y, rng)


def _bar(x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    beyond = _level_or_upright(x, y, rng) - rng.uniform(12, 36)
    return _edge(beyond) - _edge(beyond - rng.uniform(12, 24))


def _horizon(x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    return _edge(_level_or_upright(x, y, rng) - rng.uniform(20, 44))


_SHAPES: dict[str, Callable[[Floats, Floats, np.random.Generator], Floats]] = {
    "stripes": _stripes,
    "weave": _weave,
    "bar": _bar,
    "horizon": _horizon,
}


def _level_or_upright(x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    return x if rng.random() < 0.5 else y


def _wave(along: Floats, rng: np.random.Generator) -> Floats:
    return np.sin(2 * np.pi * (along / rng.uniform(24, 40) + rng.random()))


def _edge(distance: Floats) -> Floats:
    """Return 0 to 1 over the 8 px where ``distance`` changes its sign."""
    return np.clip(0.5 + distance / 8, 0, 1)


# --- training ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to train."""

    pictures: int = 3000
    vae_steps: int = 300
    unet_steps: int = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Folders of diffusers: the model, the same with an untrained denoiser, the same wholly untrained."""

    trained: Path
    denoiser_untrained: Path
    untrained: Path

    @classmethod
    def under(cls, where: Path) -> "Folders":
        """Return the folders that `train` makes."""
        names = (each.name for each in fields(cls))
        return cls(**{name: where / name / "sd15-inpaint" for name in names})


def train(where: Path, effort: Effort, say: Callable[[str], None] = print) -> Folders:
    """Train a model and save it, with the same one before training."""
    rng = np.random.default_rng(1)
    made = Folders.under(where)
    for folder in (made.trained, made.denoiser_untrained, made.untrained):
        tiny.tiny_folder(folder.parent, "sd15", "inpaint")
        config = folder / "scheduler" / "scheduler_config.json"
        config.write_text(config.read_text().replace('"epsilon"', '"v_prediction"'))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        vae, unet = new_vae(), new_unet()
        vae.save_pretrained(made.untrained / "vae")
        for folder in (made.untrained, made.denoiser_untrained):
            unet.save_pretrained(folder / "unet")
        _begin_as_resampler(vae)
        train_vae(vae, effort, rng, say)
        for folder in (made.trained, made.denoiser_untrained):
            vae.save_pretrained(folder / "vae")
        _begin_plainly(unet)
        train_unet(unet, vae, effort, rng, say)
        unet.save_pretrained(made.trained / "unet")
    return made


def new_vae() -> AutoencoderKL:
    small = {"block_out_channels": [16, 32, 64, 64], "norm_num_groups": 1, "layers_per_block": 1}
    small |= {"mid_block_add_attention": False, "sample_size": SIDE}
    return AutoencoderKL(**(configs("sd15", "inpaint")["vae"] | small))


def new_unet() -> UNet2DConditionModel:
    small = {
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": 4,
        "layers_per_block": 1,
        "norm_num_groups": 1,
        "sample_size": SIDE // 8,
    }
    unet = UNet2DConditionModel(**(configs("sd15", "inpaint")["unet"] | small))
    for name, weight in unet.named_parameters():  # deaf to the prompt, which is always empty
        if name.endswith("attn2.to_v.weight"):
            torch.nn.init.zeros_(weight)
        if "attn2.to_" in name:
            weight.requires_grad_(False)
    return unet


def train_vae(
    vae: AutoencoderKL, effort: Effort, rng: np.random.Generator, say: Callable[[str], None]
) -> None:
    """Train on pictures, some with holes; latents get a deviation of 1."""
    for step in _learning(vae, effort.vae_steps, 5e-4):
        seen = pictures(4, rng)
        given = _tensors(seen)
        one = slice(step % 4, step % 4 + 1)  # of each kind by turns
        given[one] = _tensors(seen[one], holes(1, rng))
        latents = vae.encode(given).latent_dist.mode()
        made = vae.decode(latents + 0.03 * torch.randn_like(latents)).sample
        loss = (made - given).abs().mean()
        (loss + 1e-3 * latents.square().mean()).backward()
        if step % 50 == 49:
            say(f"VAE {step + 1}: {float(loss.detach()) * 127.5:.2f} levels, {time.process_time():.0f} s")
    vae.eval()
    with torch.no_grad():
        deviation = vae.encode(_tensors(pictures(200, rng))).latent_dist.mode().std()
    vae.register_to_config(scaling_factor=float(1 / deviation))


def train_unet(
    unet: UNet2DConditionModel,
    vae: AutoencoderKL,
    effort: Effort,
    rng: np.random.Generator,
    say: Callable[[str], None],
) -> None:
    """Train to tell the velocity of latents, given the mask and the latents of the picture with its hole."""
    seen, masks = pictures(effort.pictures, rng), holes(effort.pictures, rng)
    latents, beside = _encoded(vae, seen, None), _encoded(vae, seen, masks)
    cells = torch.nn.functional.adaptive_max_pool2d(
        torch.from_numpy(masks[:, None].astype(np.float32)), SIDE // 8
    )
    say(f"{len(seen)} pictures encoded, {time.process_time():.0f} s")
    noising = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    no_text = torch.zeros(16, 1, 768)
    running = 0.0
    for step in _learning(unet, effort.unet_steps, 3e-3):
        pick = torch.from_numpy(rng.integers(0, len(latents), 16))
        clean, cell = latents[pick], cells[pick]
        noise = torch.randn_like(clean)
        at = torch.randint(0, 1000, (len(pick),))
        noisy = noising.add_noise(clean, noise, at)
        told = unet(torch.cat([noisy, cell, beside[pick]], dim=1), at, encoder_hidden_states=no_text).sample
        off = (told - noising.get_velocity(clean, noise, at)).square() * (1 + 3 * cell)
        off.mean().backward()
        running += 0.01 * (float(off.detach().mean()) - running) if step else float(off.detach().mean())
        if step % 100 == 99:
            say(f"UNet {step + 1}: {running:.4f}, {time.process_time():.0f} s")
    unet.eval()


def _begin_as_resampler(vae: AutoencoderKL) -> None:
    """Let a VAE begin as one that halves pictures thrice by averages, and doubles them thrice.

    Colours go through as pairs of a channel and its negative (Balduzzi et al. 2017, arXiv:1702.08591), for then the
    activations are linear: SiLU(x) - SiLU(-x) = x. Two channels are constant, so that norms keep what is bright bright.
    """
    box, tent = torch.zeros(3, 3), torch.tensor([1.0, 2.0, 1.0]) / 4
    box[:2, :2] = 0.25
    with torch.no_grad():
        for name, layer in vae.named_modules():
            if name.endswith("conv2"):
                layer.weight.zero_(), layer.bias.zero_()
            elif name.endswith("downsamplers.0.conv"):
                _keep_channels(layer, box)
            elif name.endswith("upsamplers.0.conv"):
                _keep_channels(layer, torch.outer(tent, tent))
            elif name.endswith(("conv_shortcut", "quant_conv")):
                _keep_channels(layer, torch.ones(1, 1))
        for part, gain in ((vae.encoder, 0.25), (vae.decoder, 1.28)):
            _pair_channels(part.conv_in, 3)
            part.conv_out.weight[:3] = 0
            part.conv_out.bias.zero_()
            for colour in range(3):
                part.conv_out.weight[colour, colour, 1, 1] = gain
                part.conv_out.weight[colour, colour + 3, 1, 1] = -gain


def _begin_plainly(unet: UNet2DConditionModel) -> None:
    """Let a UNet begin with blocks that add nothing to what goes through."""
    with torch.no_grad():
        for name, layer in unet.named_modules():
            if name.endswith(("conv2", "proj_out", "conv_out")):
                layer.weight.zero_(), layer.bias.zero_()
        _pair_channels(unet.conv_in, 9)


def _pair_channels(layer: torch.nn.Conv2d, count: int) -> None:
    """Let a convolution begin with ``count`` channels given through, their negatives, and two constant ones."""
    layer.weight.mul_(0.3), layer.bias.zero_()
    layer.weight[: 2 * count + 2] = 0
    for channel in range(count):
        layer.weight[channel, channel, 1, 1] = 1
        layer.weight[channel + count, channel, 1, 1] = -1
    layer.bias[2 * count], layer.bias[2 * count + 1] = 2, -2


def _keep_channels(layer: torch.nn.Conv2d, kernel: torch.Tensor) -> None:
    """Let a convolution give every channel that it has back through ``kernel``."""
    layer.weight.mul_(0.3), layer.bias.zero_()
    for channel in range(min(layer.weight.shape[:2])):
        layer.weight[channel] = 0
        layer.weight[channel, channel] = kernel


def _learning(network: Any, steps: int, rate: float) -> Iterator[int]:
    """Count steps; between two of them the network learns from its gradients."""
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(learning, rate, betas=(0.9, 0.99), weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    network.train()
    for step in range(steps):
        optimiser.zero_grad()
        yield step
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimiser.step()
        schedule.step()


def _encoded(vae: AutoencoderKL, seen: Pictures, masks: Holes | None) -> torch.Tensor:
    """Return latents as a denoiser sees them."""
    parts = np.array_split(np.arange(len(seen)), -(-len(seen) // 50))
    with torch.inference_mode():
        made = [
            vae.encode(_tensors(seen[part], None if masks is None else masks[part])).latent_dist.mode()
            for part in parts
        ]
    return torch.cat(made).clone() * vae.config["scaling_factor"]


def _tensors(seen: Pictures, masks: Holes | None = None) -> torch.Tensor:
    """Return pixels from -1 to 1, (N, 3, 64, 64), holes grey."""
    made = torch.from_numpy(seen).permute(0, 3, 1, 2).float() / 127.5 - 1
    return made if masks is None else made * torch.from_numpy(~masks[:, None])
