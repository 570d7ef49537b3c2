"""KSampler against diffusers' own schedulers, and against ComfyUI's formula of a masked step.

A network of random weights leaves its latents full of noise, so that no absolute tolerance would mean anything. `tame`
adds to what it says the noise that the best guess for pictures of unit variance has; then latents end near 1, as a
trained model's do.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from reknit.core.errors import InputError  # noqa: E402
from reknit.diffusion import run  # noqa: E402
from reknit.diffusion.prompt import encode_text  # noqa: E402
from reknit.engines.kept import KEPT  # noqa: E402
from reknit.workflow.context import Context  # noqa: E402
from reknit.workflow.node import Registry  # noqa: E402
from reknit.workflow.nodes import sampling  # noqa: E402
from reknit.workflow.nodes.conditioning import ControlUse, Words  # noqa: E402
from reknit.workflow.nodes.models import Clip, Model  # noqa: E402
from tests.diffusion.stages import placed  # noqa: E402
from tests.workflow.tiny_models import control_network  # noqa: E402

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SCALE = 0.18215
SEED, CFG = 7, 1.5
FILE = Path("tiny.safetensors")
SHARE = 0.02
"""Of what the tiny network itself says, in `tame`; it is so rough that it makes 1e-3 of a difference of 2e-6."""


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a tiny SD 1.5 for whatever file the nodes ask for."""
    monkeypatch.setattr(sampling, "painter", lambda *_: placed("sd15", "base"))
    yield
    KEPT.free()


def latents(count: int = 1) -> np.ndarray:
    """Return what a VAE might give of a picture of 64 × 64 px."""
    return np.random.default_rng(1).normal(0, 4, (count, 4, 8, 8)).astype(np.float32)


def words(text: str, **more: Any) -> Words:
    return Words(clip=Clip(paths=(FILE,)), prompt=text, **more)


def through_the_node(
    context: Context, registry: Registry, latent: dict[str, Any], *, kind: str = "KSampler", **given: Any
) -> Any:
    """Return the latents that a sampler node gives, scaled as the denoiser's."""
    values = {
        "model": Model(path=FILE),
        "steps": 3,
        "cfg": CFG,
        "sampler_name": "euler",
        "scheduler": "normal",
        "positive": words("a red house"),
        "negative": words("bad"),
        "latent_image": latent,
    }
    if kind == "KSampler":
        values |= {"seed": SEED, "denoise": 1.0}
    made = registry.nodes[kind].run(context, **(values | given))
    return torch.from_numpy(made["samples"]) * SCALE


def guess() -> Callable[[Any, Any], Any]:
    """Return a function of (scaled sample, training step) to the guided noise in it."""
    model = placed("sd15", "base")
    text = torch.cat([encode_text(model, text, emphasis="comfyui").embeds for text in ("bad", "a red house")])

    def noise_in(scaled: Any, step: Any) -> Any:
        with torch.inference_mode():
            both = model.checkpoint.denoiser(torch.cat([scaled] * 2), step, encoder_hidden_states=text).sample
        without, wanted = both.chunk(2)
        return without + CFG * (wanted - without)

    return noise_in


def noise(seed: int, count: int = 1) -> Any:
    return torch.randn((count, 4, 8, 8), generator=torch.Generator().manual_seed(seed))


@cache
def log_sigmas() -> np.ndarray:
    alphas = diffusers.DDPMScheduler(**BETAS).alphas_cumprod.double().numpy()
    return np.log((1 - alphas) / alphas) / 2


def step_of(sigma: float) -> Any:
    return torch.tensor(np.interp(np.log(sigma), log_sigmas(), np.arange(1000)), dtype=torch.float32)


def made(name: str, steps: int) -> tuple[Any, list[Any]]:
    """Return diffusers' scheduler for a sampler of ComfyUI, and the training steps to ask the denoiser at."""
    linspace = {"timestep_spacing": "linspace"}
    even = [round(999 * (1 - n / (steps - 1))) for n in range(steps)]
    if name == "euler normal":
        scheduler = diffusers.EulerDiscreteScheduler(**BETAS, **linspace)
        scheduler.set_timesteps(steps)
    elif name == "euler_ancestral normal":
        scheduler = diffusers.EulerAncestralDiscreteScheduler(**BETAS, **linspace)
        scheduler.set_timesteps(steps)
    elif name == "dpmpp_2m normal":
        scheduler = diffusers.DPMSolverMultistepScheduler(**BETAS)
        scheduler.set_timesteps(timesteps=even)
    elif name == "dpmpp_2m karras":
        scheduler = diffusers.DPMSolverMultistepScheduler(**BETAS, use_karras_sigmas=True)
        scheduler.set_timesteps(steps)
        return scheduler, [step_of(float(sigma)) for sigma in scheduler.sigmas[:-1]]  # its own are rounded
    elif name == "ddim ddim_uniform":
        spaced = {"timestep_spacing": "leading", "steps_offset": 1, "clip_sample": False}
        scheduler = diffusers.DDIMScheduler(**BETAS, **spaced, set_alpha_to_one=True)
        scheduler.set_timesteps(steps)
    elif name == "uni_pc normal":
        scheduler = diffusers.UniPCMultistepScheduler(**BETAS, **linspace, solver_type="bh1")
        scheduler.set_timesteps(steps)
        scheduler.sigmas[-1] = 1e-3  # where ComfyUI's ends, too
    else:
        scheduler = diffusers.LCMScheduler(**BETAS)
        scheduler.set_timesteps(timesteps=[999, 666, 333])
    return scheduler, list(scheduler.timesteps)


EXPLODING = ("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler")
STEPS = {
    "euler normal": 4, "euler_ancestral normal": 4, "dpmpp_2m normal": 4, "dpmpp_2m karras": 5,
    "ddim ddim_uniform": 5, "uni_pc normal": 3, "lcm sgm_uniform": 3,
}  # fmt: skip


@pytest.fixture
def tame() -> Iterator[None]:
    """Have the tiny network find most of the noise, as a trained one does."""

    def after(_: Any, args: tuple[Any, ...], output: Any) -> Any:
        sample, step = args[:2]
        sigma = np.exp(np.interp(float(torch.as_tensor(step).flatten()[0]), np.arange(1000), log_sigmas()))
        noise_seen = sample * float(sigma / (1 + sigma**2) ** 0.5)
        if isinstance(output, tuple):
            return (noise_seen + SHARE * output[0], *output[1:])
        return type(output)(sample=noise_seen + SHARE * output.sample)

    hook = placed("sd15", "base").checkpoint.denoiser.register_forward_hook(after)
    yield
    hook.remove()


def theirs(name: str, picture: bool) -> tuple[Any, Any]:
    """Return the clean latents that a walk begins with, and those that diffusers' scheduler makes of them."""
    scheduler, asked = made(name, STEPS[name])
    clean = torch.from_numpy(latents() if picture else np.zeros((1, 4, 8, 8), np.float32)) * SCALE
    sigma = float(np.exp(log_sigmas()[int(scheduler.timesteps[0])]))
    length = (1 + sigma**2) ** 0.5
    full = name != "ddim ddim_uniform"  # the others begin at the model's largest noise
    sample = clean + noise(SEED) * (length if full else sigma)
    if type(scheduler).__name__ not in EXPLODING:
        sample = sample / length
    generator, noise_in = torch.Generator().manual_seed(SEED + 1), guess()
    draws = {"generator": generator} if name.startswith(("euler_ancestral", "lcm")) else {}
    for step, told in zip(scheduler.timesteps, asked, strict=True):
        scaled = scheduler.scale_model_input(sample, step)
        sample = scheduler.step(noise_in(scaled, told), step, sample, **draws).prev_sample
    return clean, sample


def apart(name: str, context: Context, registry: Registry, picture: bool = True, **given: Any) -> float:
    """Return how far at most the node's latents are from those of diffusers' scheduler."""
    clean, want = theirs(name, picture)
    assert 0.3 < float(want.std()) < 2, "as a model leaves them"
    sampler_name, schedule = name.split()
    given = {"sampler_name": sampler_name, "scheduler": schedule, "steps": STEPS[name]} | given
    ours = through_the_node(context, registry, {"samples": clean.numpy() / SCALE}, **given)
    return float((ours - want).abs().max())


@pytest.mark.usefixtures("tame")
@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("picture", [False, True], ids=["from nothing", "from a picture"])
def test_latents_are_those_of_diffusers_scheduler(
    name: str, picture: bool, context: Context, registry: Registry
) -> None:
    assert apart(name, context, registry, picture) <= 1e-4


@pytest.mark.usefixtures("tame")
@pytest.mark.parametrize("name", STEPS)
def test_a_level_that_is_a_hundredth_off_would_be_seen(
    name: str, context: Context, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    install, own = run.install, run._levels_of

    def shifted(scheduler: Any, sigmas: Any, levels: Any, device: Any = "cpu") -> None:
        sigmas = sigmas.copy()
        sigmas[1] *= 1.01
        install(scheduler, sigmas, levels, device)

    def whole_steps(scheduler: Any) -> Any:
        scheduler.timesteps[1] += 10  # LCM and DDIM walk training steps
        return own(scheduler)

    monkeypatch.setattr(run, "install", shifted)
    if name.startswith(("lcm", "ddim")):
        monkeypatch.setattr(run, "_levels_of", whole_steps)
    assert apart(name, context, registry) > 1e-3


@pytest.mark.usefixtures("tame")
@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("dpmpp_2m normal", {"sampler_name": "euler"}),  # the first order instead of the second
        ("euler normal", {"sampler_name": "dpmpp_2m"}),
        ("uni_pc normal", {"sampler_name": "uni_pc_bh2"}),
        ("euler_ancestral normal", {"sampler_name": "euler"}),
        ("dpmpp_2m karras", {"scheduler": "normal"}),
        ("euler normal", {"seed": SEED + 1}),
    ],
)
def test_another_solver_or_schedule_would_be_seen(
    name: str, other: dict[str, Any], context: Context, registry: Registry
) -> None:
    assert apart(name, context, registry, **other) > 1e-3


def masked_walk(
    solve: str, mask: Any, clean: Any, sigmas: list[float], known_noise: Any, thresholds: bool = False
) -> Any:
    """Return what ComfyUI's masked sampling gives: its KSamplerX0Inpaint around a sampler of k-diffusion.

    x is what the sampler holds; the model sees x·m + (clean + noise·sigma)·(1 - m), and of what it says is behind
    that, x0·m + clean·(1 - m) goes back to the sampler.
    """
    noise_in = guess()
    first = float(step_of(sigmas[0]))

    def denoised(x: Any, sigma: float) -> tuple[Any, Any]:
        m = (mask >= float(step_of(sigma)) / first).float() if thresholds else mask
        x = x * m + (clean + known_noise * sigma) * (1 - m)
        x0 = x - sigma * noise_in(x / (1 + sigma**2) ** 0.5, step_of(sigma))
        return x, x0 * m + clean * (1 - m)

    x = clean + noise(SEED) * (1 + sigmas[0] ** 2) ** 0.5
    before: Any = None
    for index, (now, then) in enumerate(pairwise(sigmas)):
        x, x0 = denoised(x, now)
        if solve == "euler":
            x = x + (x - x0) / now * (then - now)
        elif then == 0:
            x = x0
        else:
            h = np.log(now) - np.log(then)
            mixed = x0
            if before is not None:
                ratio = (np.log(sigmas[index - 1]) - np.log(now)) / h
                mixed = (1 + 1 / (2 * ratio)) * x0 - 1 / (2 * ratio) * before
            x = then / now * x - np.expm1(-h) * mixed
        before = x0
    return x


def even_sigmas(steps: int) -> list[float]:
    return [*np.exp(np.interp(np.linspace(999, 0, steps), np.arange(1000), log_sigmas())), 0.0]


def soft_mask() -> np.ndarray:
    """Return a mask at the latents' size: what bilinear scaling leaves as it is."""
    mask = np.zeros((1, 1, 8, 8), np.float32)
    mask[..., 2:6, 2:6] = 1.0
    mask[..., 1, :] = 0.4
    mask[..., 6:, 6:] = 0.75
    return mask


@pytest.mark.parametrize("name", ["euler", "dpmpp_2m", "ddim"])
def test_a_masked_step_is_comfyuis(name: str, context: Context, registry: Registry) -> None:
    mask, given = soft_mask(), latents()
    known = noise(SEED + 1 if name == "ddim" else SEED)
    solve = "dpmpp_2m" if name == "dpmpp_2m" else "euler"
    clean = torch.from_numpy(given) * SCALE
    want = masked_walk(solve, torch.from_numpy(mask), clean, even_sigmas(4), known)
    latent = {"samples": given, "noise_mask": mask}
    ours = through_the_node(context, registry, latent, sampler_name=name, steps=4)
    assert float((ours - want).abs().max()) <= 1e-3
    outside = torch.from_numpy(mask == 0).expand_as(ours)
    torch.testing.assert_close(ours[outside], clean[outside])
    hard = through_the_node(
        context, registry, latent | {"noise_mask": np.rint(mask)}, sampler_name=name, steps=4
    )
    assert float((hard - want).abs().max()) > 0.1, "the mask is not rounded"


def test_differential_diffusion_lets_places_join_by_the_mask(context: Context, registry: Registry) -> None:
    mask, given = soft_mask(), latents()
    clean = torch.from_numpy(given) * SCALE
    want = masked_walk("euler", torch.from_numpy(mask), clean, even_sigmas(4), noise(SEED), thresholds=True)
    latent = {"samples": given, "noise_mask": mask}
    model = Model(path=FILE, differential=1.0)
    ours = through_the_node(context, registry, latent, steps=4, model=model)
    assert float((ours - want).abs().max()) <= 1e-3
    half = through_the_node(context, registry, latent, steps=4, model=Model(path=FILE, differential=0.5))
    plain = through_the_node(context, registry, latent, steps=4)
    assert float((half - want).abs().max()) > 1e-2
    assert float((half - plain).abs().max()) > 1e-2


def test_masks_of_a_batch_are_each_its_own(context: Context, registry: Registry) -> None:
    masks = np.zeros((2, 1, 64, 64), np.float32)
    masks[0, :, :32] = 1
    masks[1, :, 32:] = 1
    given = latents(2)
    ours = through_the_node(context, registry, {"samples": given, "noise_mask": masks})
    clean = torch.from_numpy(given) * SCALE
    torch.testing.assert_close(ours[0, :, 5:], clean[0, :, 5:])
    torch.testing.assert_close(ours[1, :, :3], clean[1, :, :3])
    assert not torch.allclose(ours[1, :, 5:], clean[1, :, 5:], atol=0.1)


def test_two_advanced_samplers_walk_as_one(context: Context, registry: Registry) -> None:
    latent = {"samples": latents()}
    given = {"noise_seed": SEED, "kind": "KSamplerAdvanced", "steps": 4, "scheduler": "karras"}
    parts = {"start_at_step": 0, "end_at_step": 2, "return_with_leftover_noise": "enable"}
    half = through_the_node(context, registry, latent, **given, **parts, add_noise="enable")
    rest = {"start_at_step": 2, "end_at_step": 10000, "return_with_leftover_noise": "disable"}
    whole = through_the_node(
        context, registry, {"samples": half.numpy() / SCALE}, **given, **rest, add_noise="disable"
    )
    once = through_the_node(context, registry, latent, steps=4, scheduler="karras")
    torch.testing.assert_close(whole, once, atol=1e-3, rtol=1e-3)


def test_control_networks_take_part_where_they_are_told_to(
    context: Context, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, asked = control_network(), list[float]()
    monkeypatch.setattr(sampling, "control", lambda *_: network)
    network.register_forward_pre_hook(lambda _, given: asked.append(float(given[1])))
    picture = np.random.default_rng(2).random((1, 64, 64, 3), dtype=np.float32)

    def walked(both: bool = True, **use: Any) -> Any:
        asked.clear()
        told = {"strength": 1.0, "start": 0.0, "end": 1.0} | use
        use_it = ControlUse(path=Path("canny.safetensors"), picture=picture, **told)
        given = {
            "positive": words("a red house", controls=(use_it,)),
            "negative": words("bad", controls=(use_it,) if both else ()),
        }
        return through_the_node(context, registry, {"samples": latents()}, steps=4, **given)

    without = through_the_node(context, registry, {"samples": latents()}, steps=4)
    full = walked()
    assert asked == [999, 666, 333, 0]
    assert float((full - without).abs().max()) > 1e-2
    assert float((walked(strength=0.5) - full).abs().max()) > 1e-3
    walked(start=0.3, end=0.7)
    assert asked == [666, 333], "start and end count the model's noise levels, as ComfyUI does"
    assert float((walked(both=False) - full).abs().max()) > 1e-3, "the negative is asked without it"


def test_latents_that_no_model_of_the_kind_gives_are_refused(context: Context, registry: Registry) -> None:
    with pytest.raises(InputError, match="16 channels") as caught:
        through_the_node(context, registry, {"samples": np.ones((1, 16, 8, 8), np.float32)})
    assert caught.value.code == "workflow.latent"


def test_texts_call_embeddings(
    context: Context, registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "models" / "embeddings" / "mine"
    folder.mkdir(parents=True)
    torch.save({"x": torch.randn(2, 768, generator=torch.Generator().manual_seed(1))}, folder / "ink.bin")
    for given in (folder.parents[1], folder.parent):  # of models, and as extra_model_paths.yaml may name it
        context = replace(context, model_dirs=(given,))

        def made(text: str, context: Context = context) -> Any:
            return through_the_node(context, registry, {"samples": latents()}, steps=1, positive=words(text))

        called = made("a red embedding:mine/ink.bin house")
        assert torch.equal(made("a red embedding:Ink house"), called)
        assert not torch.equal(made("a red house"), called)
        assert not torch.equal(made("a red (embedding:ink:1.3) house"), called)
        assert not caplog.records
        assert torch.equal(made("a red embedding:pen house"), made("a red house"))
        assert "there is no embedding 'pen'" in caplog.text
        caplog.clear()
