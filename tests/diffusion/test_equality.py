"""The stages give what diffusers' own pipelines give: same inputs, noise, scheduler and steps."""

import inspect
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from reknit.diffusion import ip_adapter  # noqa: E402
from reknit.diffusion.denoise import denoise  # noqa: E402
from reknit.diffusion.predictor import ControlInput  # noqa: E402
from reknit.diffusion.prepare import prepare  # noqa: E402
from reknit.diffusion.prompt import encode_prompt  # noqa: E402
from reknit.diffusion.sampler import Sampler  # noqa: E402
from tests.diffusion.stages import PROMPT, SIDE, pipeline, placed, scene, theirs  # noqa: E402
from tests.diffusion.tiny import tiny_networks  # noqa: E402
from tests.diffusion.tiny_ip_adapter import tiny_ip_adapter  # noqa: E402

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


@pytest.mark.parametrize("guidance", [0.0, 30.0])
@pytest.mark.parametrize("strength", [1.0, 0.75])
def test_flux_fill(strength: float, guidance: float) -> None:
    """Its guidance is a number that the transformer is told; diffusers' pipeline knows no other."""
    model = placed("flux", "inpaint")
    reference = theirs(model, strength=strength, guidance_scale=guidance, num_inference_steps=STEPS)
    made = ours(model, Sampler(), strength=strength, guidance=1.0, embedded=guidance)
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


def control_network(model: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        network = diffusers.ControlNetModel.from_unet(
            tiny_networks(model.checkpoint.family.name, "base")["unet"]
        )
        for layer in (*network.controlnet_down_blocks, network.controlnet_mid_block):
            torch.nn.init.normal_(layer.weight, std=0.1)
    return network.eval()


@pytest.mark.parametrize(
    ("family", "kind", "strength", "span"),
    [
        ("sd15", "base", 1.0, (0.0, 1.0)),
        ("sd15", "inpaint", 0.75, (0.0, 1.0)),
        ("sd15", "base", 1.0, (0.25, 0.75)),
        ("sdxl", "base", 0.75, (0.0, 0.5)),
    ],
)
def test_a_control_network_takes_part_as_in_its_pipeline(
    family: str, kind: str, strength: float, span: tuple[float, float]
) -> None:
    model, (picture, hole) = placed(family, kind), scene()
    network = control_network(model)
    edges = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    name = "XL" if family == "sdxl" else ""
    made = getattr(diffusers, f"StableDiffusion{name}ControlNetInpaintPipeline")
    known = inspect.signature(made.__init__).parameters
    parts = {**pipeline(model).components, "controlnet": network, "requires_safety_checker": False}
    pipe = made(**{part: value for part, value in parts.items() if part in known})
    pipe.set_progress_bar_config(disable=True)
    reference = pipe(
        prompt=PROMPT,
        negative_prompt="bad",
        image=Image.fromarray(picture),
        mask_image=Image.fromarray(hole.astype(np.uint8) * 255),
        control_image=edges,
        controlnet_conditioning_scale=0.7,
        control_guidance_start=span[0],
        control_guidance_end=span[1],
        height=SIDE,
        width=SIDE,
        strength=strength,
        guidance_scale=5.0,
        num_inference_steps=STEPS,
        generator=torch.Generator().manual_seed(3),
        output_type="latent",
    ).images
    controls = [ControlInput(network=network, picture=edges, weight=0.7, start=span[0], end=span[1])]
    made = ours(model, Sampler(), strength=strength, guidance=5.0, controls=controls)
    without = ours(model, Sampler(), strength=strength, guidance=5.0)
    assert float((made - reference).abs().max()) <= TOLERANCE
    assert float((made - without).abs().max()) > 100 * TOLERANCE


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize(("family", "plus"), [("sd15", False), ("sd15", True), ("sdxl", False)])
def test_an_image_prompt_takes_part_as_in_diffusers(
    family: str, plus: bool, guidance: float, tmp_path: Path
) -> None:
    name = tiny_ip_adapter(tmp_path, family, plus=plus)
    model = placed(family, "inpaint")
    seen = np.random.default_rng(5).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    adapter = ip_adapter.open_adapter(name)
    try:
        ip_adapter.put_in(adapter, model, 0.6)
        attended = ip_adapter.embeddings(adapter, seen, model)
        made = ours(model, Sampler(), strength=1.0, guidance=guidance, image_prompt=attended)
    finally:
        ip_adapter.put_in(None, model)
    without = ours(model, Sampler(), strength=1.0, guidance=guidance)
    options = {"negative_prompt": "bad", "strength": 1.0, "num_inference_steps": STEPS}
    plain = theirs(model, **options, guidance_scale=guidance)
    assert float((without - plain).abs().max()) <= TOLERANCE  # taken out, it leaves no trace

    def with_adapter(pipe: Any) -> None:
        pipe.load_ip_adapter(
            str(name.parent.parent), subfolder=name.parent.name, weight_name=name.name, local_files_only=True
        )
        pipe.set_ip_adapter_scale(0.6)

    try:
        reference = theirs(
            model,
            prepared=with_adapter,
            ip_adapter_image=Image.fromarray(seen),
            **options,
            guidance_scale=guidance,
        )
    finally:
        ip_adapter._take_out(model.checkpoint.denoiser)
    assert float((made - reference).abs().max()) <= TOLERANCE
    assert float((made - without).abs().max()) > 100 * TOLERANCE
