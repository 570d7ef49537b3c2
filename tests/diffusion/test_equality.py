"""The stages give what diffusers' own pipelines give: same inputs, noise, scheduler and steps."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from reknit.diffusion.denoise import denoise  # noqa: E402
from reknit.diffusion.predictor import ControlInput  # noqa: E402
from reknit.diffusion.prepare import prepare  # noqa: E402
from reknit.diffusion.prompt import encode_prompt  # noqa: E402
from reknit.diffusion.sampler import Sampler  # noqa: E402
from tests.diffusion.stages import PROMPT, SIDE, pipeline, placed, scene, theirs  # noqa: E402

STEPS = 4
TOLERANCE = 1e-4


def ours(model: Any, sampler: Sampler, *, strength: float, guidance: float, **options: Any) -> Any:
    picture, hole = scene()
    conditioning = encode_prompt(model, PROMPT, "bad", guidance=options.pop("embedded", None))
    prepared = prepare(
        model,
        picture,
        hole,
        seeds=[3],
        mask_rule="diffusers",
        posterior="sample",
        pure_noise=strength == 1.0 and model.checkpoint.family.name != "flux",
    )
    return denoise(
        model, conditioning, prepared, sampler, steps=STEPS, strength=strength, guidance=guidance, **options
    )


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("strength", [1.0, 0.75])
@pytest.mark.parametrize("kind", ["inpaint", "base"])
@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl"])
def test_stable_diffusion(family: str, kind: str, strength: float, guidance: float) -> None:
    model = placed(family, kind)
    reference = theirs(
        model,
        negative_prompt="bad",
        strength=strength,
        guidance_scale=guidance,
        num_inference_steps=STEPS,
    )
    made = ours(model, Sampler(), strength=strength, guidance=guidance)
    assert made.shape == reference.shape
    assert float((made - reference).abs().max()) <= TOLERANCE


@pytest.mark.parametrize("strength", [1.0, 0.75])
def test_flux_fill(strength: float) -> None:
    model = placed("flux", "inpaint")
    reference = theirs(model, strength=strength, guidance_scale=30.0, num_inference_steps=STEPS)
    made = ours(model, Sampler(), strength=strength, guidance=1.0, embedded=30.0)
    assert float((made - reference).abs().max()) <= TOLERANCE


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("strength", [1.0, 0.75])
def test_flux_base(strength: float, guidance: float) -> None:
    model = placed("flux", "base")
    reference = theirs(
        model,
        negative_prompt="bad",
        strength=strength,
        guidance_scale=3.5,
        true_cfg_scale=guidance,
        num_inference_steps=STEPS,
    )
    made = ours(model, Sampler(), strength=strength, guidance=guidance, embedded=3.5)
    assert float((made - reference).abs().max()) <= TOLERANCE


@pytest.mark.parametrize(
    "scheduler",
    [
        "DDIMScheduler",
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "UniPCMultistepScheduler",
        "HeunDiscreteScheduler",
        "LCMScheduler",
    ],
)
def test_other_schedulers(scheduler: str) -> None:
    model = placed("sd15", "base")
    config = {**model.checkpoint.scheduler_config, "_class_name": scheduler, "clip_sample": False}
    reference = theirs(
        model,
        config,
        negative_prompt="bad",
        strength=0.75,
        guidance_scale=5.0,
        num_inference_steps=STEPS,
    )
    made = ours(model, Sampler(config=config), strength=0.75, guidance=5.0)
    assert float((made - reference).abs().max()) <= TOLERANCE


def test_a_control_network_takes_part_as_in_its_pipeline() -> None:
    model, (picture, hole) = placed("sd15", "base"), scene()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        network = diffusers.ControlNetModel.from_unet(model.checkpoint.denoiser).eval()
        for layer in (*network.controlnet_down_blocks, network.controlnet_mid_block):
            torch.nn.init.normal_(layer.weight, std=0.1)
    edges = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    pipe = diffusers.StableDiffusionControlNetInpaintPipeline(
        **pipeline(model).components | {"controlnet": network}, requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    reference = pipe(
        prompt=PROMPT,
        negative_prompt="bad",
        image=Image.fromarray(picture),
        mask_image=Image.fromarray(hole.astype(np.uint8) * 255),
        control_image=edges,
        controlnet_conditioning_scale=0.7,
        height=SIDE,
        width=SIDE,
        strength=1.0,
        guidance_scale=5.0,
        num_inference_steps=STEPS,
        generator=torch.Generator().manual_seed(3),
        output_type="latent",
    ).images
    controls = [ControlInput(network=network, picture=edges, weight=0.7)]
    made = ours(model, Sampler(), strength=1.0, guidance=5.0, controls=controls)
    without = ours(model, Sampler(), strength=1.0, guidance=5.0)
    assert float((made - reference).abs().max()) <= TOLERANCE
    assert float((made - without).abs().max()) > 100 * TOLERANCE
