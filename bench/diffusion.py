"""What Reknit adds to a diffusion model: ``python -m bench.diffusion step|variation|photo [--dtype bfloat16]``.

All run Stable Diffusion 1.5's inpainting model at its true size (UNet of 860 million weights) with random weights,
which ``--folder`` keeps from one run to the next. Works are run in turn, so that a busy machine slows all alike, and
ratios are medians over the rounds of the process's CPU seconds on one thread.

``step``: one denoising step over the loop body of diffusers' pipeline: scale, concatenate, UNet, guidance, scheduler.
``variation``: a second picture of the same photo and prompt over the first, files read and written.
``photo``: a 300 px hole in a photo of 12 megapixels over the same hole in one of 512 × 512 px, likewise.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import reknit
from bench import clock
from examples import scenes
from reknit.core import codec

FAMILY, KIND = "sd15", "inpaint"
GUIDANCE = 7.0
LARGE = (4000, 3000)
HOLE_PX = 300

RATIOS = {"step": ("ours", "diffusers"), "variation": ("second", "first"), "photo": ("12 MP", "512 px")}

Works = dict[str, Callable[[], Any]]


def main() -> None:
    """Print what was measured as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("step", "variation", "photo"))
    parser.add_argument("--side", type=int, default=512, help="px that the model works at")
    parser.add_argument("--steps", type=int, default=4, help="of variation and photo")
    parser.add_argument("--strength", type=float, default=0.75, help="of variation and photo")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--folder", type=Path, default=Path("out/bench/sd15-random"), help="of the model")
    given = parser.parse_args()
    model = given.folder.with_name(f"{given.folder.name}-{given.dtype}")
    if not (model / "model_index.json").exists():
        write(model, given.dtype)
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        if given.what == "step":
            works = _steps(model, given.dtype, given.side)
        else:
            params = {"model": str(model), "dtype": given.dtype, "side": given.side}
            params |= {"steps": given.steps, "strength": given.strength}
            works = {"variation": _variations, "photo": _photos}[given.what](Path(name), params)
        seconds = clock.interleaved(works, given.rounds, timed=clock.cpu_timed)
    slow, fast = RATIOS[given.what]
    found = {
        "seconds": {name: [round(each, 2) for each in values] for name, values in seconds.items()},
        f"{slow} / {fast}": round(clock.ratio(seconds, slow, fast), 3),
        **{name: str(value) for name, value in vars(given).items() if name != "what"},
        "machine": clock.machine(),
    }
    print(json.dumps(found, indent=1))


def write(folder: Path, dtype: str) -> None:
    """Save the model with random weights as a folder of diffusers."""
    import torch
    import transformers
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    from reknit.diffusion.families import configs

    config = configs(FAMILY, KIND)
    torch.manual_seed(0)
    text = transformers.CLIPTextConfig(**config["text_encoder"])
    networks = {
        "unet": UNet2DConditionModel(**config["unet"]),
        "vae": AutoencoderKL(**config["vae"]),
        "text_encoder": transformers.CLIPTextModel(text),
    }
    for part, network in networks.items():
        network.to(getattr(torch, dtype)).save_pretrained(folder / part)
    letters = [chr(code) for code in range(33, 127)]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(
        vocab={piece: n for n, piece in enumerate(pieces)}, merges=[], model_max_length=77
    )
    tokenizer.save_pretrained(folder / "tokenizer")
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config["scheduler"]))
    index = {"_class_name": "StableDiffusionInpaintPipeline", "scheduler": ["diffusers", "PNDMScheduler"]}
    index |= {part: ["diffusers", type(network).__name__] for part, network in networks.items()}
    (folder / "model_index.json").write_text(
        json.dumps(index | {"tokenizer": ["transformers", "CLIPTokenizer"]})
    )


def _variations(folder: Path, params: dict[str, Any]) -> Works:
    from reknit.engines import diffusion_painters

    photo, mask = _files(folder, (512, 512))

    def first() -> None:
        diffusion_painters._stages.clear()
        _fill(photo, mask, params, seed=1)

    _warmed(photo, mask, params)
    return {"first": first, "second": lambda: _fill(photo, mask, params, seed=2)}


def _photos(folder: Path, params: dict[str, Any]) -> Works:
    from reknit.engines import diffusion_painters

    files = {"12 MP": _files(folder, LARGE), "512 px": _files(folder, (512, 512))}

    def fill(name: str) -> None:
        diffusion_painters._stages.clear()
        _fill(*files[name], params, seed=1)

    _warmed(*files["512 px"], params)
    return {"12 MP": lambda: fill("12 MP"), "512 px": lambda: fill("512 px")}


def _files(folder: Path, size: tuple[int, int]) -> tuple[Path, Path]:
    """Write a photo with a mask whose hole is in the middle, and return both."""
    width, height = size
    photo, mask = folder / f"photo-{width}.jpg", folder / f"mask-{width}.png"
    pixels = scenes.render("meadow", width, height, 1)
    photo.write_bytes(codec.encode(reknit.Photo(pixels=pixels), container="jpeg").data)
    hole = np.zeros((height, width, 3), np.uint8)
    top, left = (height - HOLE_PX) // 2, (width - HOLE_PX) // 2
    hole[top : top + HOLE_PX, left : left + HOLE_PX] = 255
    mask.write_bytes(codec.encode(reknit.Photo(pixels=hole), container="png").data)
    return photo, mask


def _fill(photo: Path, mask: Path, params: dict[str, Any], *, seed: int) -> None:
    """Fill as the command line does: from files, to a file."""
    done = reknit.fill(photo, mask, prompt="a meadow", params=params, guidance=GUIDANCE, seed=seed, threads=1)
    done.save(photo.with_name(f"filled-{photo.name}"))


def _warmed(photo: Path, mask: Path, params: dict[str, Any]) -> None:
    """Open the model and import all that a fill needs: a small fill, so that no measured one does it."""
    _fill(photo, mask, params | {"side": 64, "steps": 1, "strength": 1.0}, seed=0)


def _steps(model: Path, dtype: str, side: int) -> Works:
    """Return functions that walk one step: ours, and the loop of diffusers' pipeline."""
    import torch
    from diffusers import EulerDiscreteScheduler, UNet2DConditionModel

    from reknit.core.progress import Reporter
    from reknit.diffusion.checkpoint import open_checkpoint
    from reknit.diffusion.denoise import StepInfo, denoise
    from reknit.diffusion.placed import place
    from reknit.diffusion.placement import Placement
    from reknit.diffusion.prepare import Prepared
    from reknit.diffusion.prompt import Conditioning, Text
    from reknit.diffusion.sampler import Sampler

    checkpoint = open_checkpoint(model, report=Reporter())
    euler = checkpoint.scheduler_config = {
        **checkpoint.scheduler_config,
        "_class_name": "EulerDiscreteScheduler",
    }
    placed = place(checkpoint, Placement(dtype=dtype))
    kind, grid = placed.dtype, side // 8
    unet = UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=kind).eval()
    width = int(unet.config["cross_attention_dim"])
    positive, negative = torch.randn(2, 1, 77, width, dtype=kind)
    conditioning = Conditioning(positive=Text(embeds=positive), negative=Text(embeds=negative))
    noise, beside = torch.randn(1, 4, grid, grid, dtype=kind), torch.randn(1, 5, grid, grid, dtype=kind)
    prepared = Prepared(
        latents=torch.zeros(1, 4, grid, grid, dtype=kind),
        noise=noise,
        mask=None,
        strength_map=None,
        condition=beside,
        generators=[torch.Generator().manual_seed(0)],
        size=(side, side),
    )

    def shown(step: StepInfo) -> None:
        step.preview()

    def ours() -> Any:
        given = {"steps": 1, "guidance": GUIDANCE, "on_step": shown}
        return denoise(placed, conditioning, prepared, Sampler(), **given)

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
                answer = without + GUIDANCE * (wanted - without)
                latents = scheduler.step(answer, step, latents, return_dict=False)[0]
            return latents

    ours(), theirs()
    return {"ours": ours, "diffusers": theirs}


if __name__ == "__main__":
    main()
