"""One denoising step of ours over diffusers' own, on a true-size network with random weights.

``python -m bench.diffusion [--side 512] [--rounds 5] [--family sd15] [--small]``

The bare step of diffusers is its pipeline's loop body: scale, concatenate, UNet, guidance, scheduler. Steps of both are
taken in turn, so that a busy machine slows both, and the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any


def main() -> None:
    """Measure and print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512, help="px")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--family", default="sd15", choices=("sd15", "sd2"))
    parser.add_argument("--small", action="store_true", help="a quarter of the channels")
    parser.add_argument("--guidance", type=float, default=7.5)
    given = parser.parse_args()
    ours, theirs = _steps(given.family, given.side, given.guidance, small=given.small)
    ours(), theirs()
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for round_ in range(given.rounds):
        pair = [("ours", ours), ("theirs", theirs)]
        for name, step in pair if round_ % 2 else pair[::-1]:
            begin = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - begin)
    mine, other = (statistics.median(times[name]) for name in ("ours", "theirs"))
    print(
        f"{given.family} {given.side} px, guidance {given.guidance:g}: ours {mine:.3f} s, "
        f"diffusers {other:.3f} s, ratio {mine / other:.3f} (least {min(times['ours']) / min(times['theirs']):.3f})"
    )


def _steps(family: str, side: int, guidance: float, *, small: bool) -> tuple[Any, Any]:
    """Return functions that walk one step: ours, and the loop of diffusers' pipeline."""
    import torch
    from diffusers import EulerDiscreteScheduler, UNet2DConditionModel

    from reknit.diffusion.checkpoint import Checkpoint
    from reknit.diffusion.denoise import denoise
    from reknit.diffusion.families import configs
    from reknit.diffusion.families import family as facts
    from reknit.diffusion.placed import Placed
    from reknit.diffusion.placement import Placement
    from reknit.diffusion.prepare import Prepared
    from reknit.diffusion.prompt import Conditioning, Text
    from reknit.diffusion.sampler import Sampler

    config = configs(family, "inpaint")
    if small:
        config["unet"]["block_out_channels"] = [80, 160, 320, 320]
        config["unet"]["norm_num_groups"] = 16
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**config["unet"]).eval()
    euler = {**config["scheduler"], "_class_name": "EulerDiscreteScheduler"}
    checkpoint = Checkpoint(
        family=facts(family),
        kind="inpaint",
        denoiser=unet,
        vae=torch.nn.Identity(),
        text_encoders=(),
        tokenizers=(),
        scheduler_config=euler,
        dtype=torch.float32,
        files=(),
        source="random",
    )
    checkpoint.vae.config = {}
    placed = Placed(checkpoint, Placement())
    width = int(config["unet"]["cross_attention_dim"])
    positive, negative = torch.randn(1, 77, width), torch.randn(1, 77, width)
    conditioning = Conditioning(positive=Text(embeds=positive), negative=Text(embeds=negative))
    grid = side // 8
    noise, beside = torch.randn(1, 4, grid, grid), torch.randn(1, 5, grid, grid)
    prepared = Prepared(
        latents=torch.zeros(1, 4, grid, grid),
        noise=noise,
        mask=None,
        strength_map=None,
        condition=beside,
        generators=[torch.Generator().manual_seed(0)],
        size=(side, side),
    )

    def ours() -> Any:
        return denoise(
            placed, conditioning, prepared, Sampler(), steps=1, guidance=guidance, on_step=lambda step: None
        )

    def theirs() -> Any:
        with torch.no_grad():
            scheduler = EulerDiscreteScheduler.from_config(euler)
            scheduler.set_timesteps(1)
            latents = noise * scheduler.init_noise_sigma
            embeds, both = torch.cat([negative, positive]), torch.cat([beside] * 2)
            for step in scheduler.timesteps:
                given = scheduler.scale_model_input(torch.cat([latents] * 2), step)
                given = torch.cat([given, both], dim=1)
                answer = unet(given, step, encoder_hidden_states=embeds, return_dict=False)[0]
                without, wanted = answer.chunk(2)
                answer = without + guidance * (wanted - without)
                latents = scheduler.step(answer, step, latents, return_dict=False)[0]
            return latents

    return ours, theirs


if __name__ == "__main__":
    main()
