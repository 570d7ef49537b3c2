"""The stages give what diffusers' own pipelines give: same inputs, noise, scheduler and steps."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from reknit.diffusion.denoise import denoise  # noqa: E402
from reknit.diffusion.prepare import prepare  # noqa: E402
from reknit.diffusion.prompt import encode_prompt  # noqa: E402
from reknit.diffusion.sampler import Sampler  # noqa: E402
from tests.diffusion.stages import PROMPT, placed, scene, theirs  # noqa: E402

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
