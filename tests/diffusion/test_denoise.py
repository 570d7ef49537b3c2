"""The walk: what is kept is kept, strength can differ by pixel, names of samplers work, a cancel is heeded."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from reknit.core.errors import Cancelled, EngineFailed, InputError  # noqa: E402
from reknit.diffusion.denoise import StepInfo, denoise, preview  # noqa: E402
from reknit.diffusion.families import family  # noqa: E402
from reknit.diffusion.predictor import packed  # noqa: E402
from reknit.diffusion.prepare import Prepared, batch_noise, prepare  # noqa: E402
from reknit.diffusion.prompt import Conditioning, encode_prompt  # noqa: E402
from reknit.diffusion.sampler import SAMPLERS, sampler  # noqa: E402
from reknit.diffusion.schedule import Levels, sigmas_of  # noqa: E402
from tests.diffusion.stages import PROMPT, placed, scene  # noqa: E402


def ready(family: str = "sd15", kind: str = "base", **options: Any) -> tuple[Any, Conditioning, Prepared]:
    model, (picture, hole) = placed(family, kind), scene()
    return model, encode_prompt(model, PROMPT, "bad"), prepare(model, picture, hole, **options)


def walk(given: tuple[Any, Conditioning, Prepared], name: str | None = "euler", **options: Any) -> Any:
    schedule = options.pop("scheduler", None)
    return denoise(*given, sampler(name, schedule), **({"steps": 3, "guidance": 2.0} | options))


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_outside_the_mask_base_models_keep_the_latents(family: str) -> None:
    given = ready(family)
    made, prepared = walk(given, guidance=1.0), given[2]
    assert prepared.mask is not None
    outside = (prepared.mask == 0).expand_as(made)
    torch.testing.assert_close(made[outside], prepared.latents[outside])
    assert not torch.allclose(made[~outside], prepared.latents[~outside], atol=0.1)


def test_strength_nothing_changes_nothing() -> None:
    given = ready()
    assert torch.equal(walk(given, strength=0.0), given[2].latents)


@pytest.mark.parametrize(("family", "kind"), [("sd15", "base"), ("sd15", "inpaint"), ("flux", "inpaint")])
def test_strength_by_pixel_is_strength_where_it_is_even(family: str, kind: str) -> None:
    picture, hole = scene()
    whole = np.ones_like(hole)
    model, conditioning, _ = ready(family, kind)
    name = None if family == "sd15" else "euler"

    def made(value: float, **options: Any) -> Any:
        strengths = np.full(hole.shape, value, np.float32)
        prepared = prepare(model, picture, whole, seeds=[2], strength_map=strengths)
        return walk((model, conditioning, prepared), name, steps=4, guidance=1.0, **options)

    plain = prepare(model, picture, whole, seeds=[2])
    half = walk((model, conditioning, plain), name, steps=4, guidance=1.0, strength=0.5, keep_known=False)
    torch.testing.assert_close(made(0.5, strength=0.5), half, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(made(1.0, strength=0.5), half, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(made(0.0), plain.latents, atol=1e-5, rtol=1e-5)


def test_strength_by_pixel_joins_when_its_time_has_come() -> None:
    picture, hole = scene()
    model, conditioning, _ = ready()
    strengths = np.zeros(hole.shape, np.float32)
    strengths[:, 16:32], strengths[:, 32:] = 0.5, 1.0
    prepared = prepare(model, picture, hole, strength_map=strengths)
    seen: list[Any] = []
    made = walk((model, conditioning, prepared), steps=4, on_step=lambda step: seen.append(step.index))
    assert seen == [1, 2, 3, 4]
    torch.testing.assert_close(made[..., :2], prepared.latents[..., :2])
    assert not torch.allclose(made[..., 3:], prepared.latents[..., 3:], atol=0.1)


def knowing(monkeypatch: pytest.MonkeyPatch, given: tuple[Any, Conditioning, Prepared]) -> Any:
    """Let the denoiser know the picture that is behind all noise, and return that; every sampler must arrive there."""
    answer = torch.linspace(-1, 1, given[2].noise.numel()).reshape(given[2].noise.shape)
    denoiser, logs = given[0].checkpoint.denoiser, _log_sigmas()

    def unet(sample: Any, step: Any, **_: Any) -> tuple[Any]:
        sigma = float(np.exp(np.interp(float(step), np.arange(1000), logs)))
        return ((sample * (1 + sigma**2) ** 0.5 - answer) / sigma,)

    def flux(*, hidden_states: Any, timestep: Any, **_: Any) -> tuple[Any]:
        return ((hidden_states - packed(answer)) / timestep[0],)

    monkeypatch.setattr(denoiser, "forward", flux if given[0].checkpoint.family.name == "flux" else unet)
    return answer


@pytest.mark.parametrize("solver", SAMPLERS, ids=lambda each: each.name)
def test_every_sampler_arrives(solver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ready()
    given[2].mask = None
    answer = knowing(monkeypatch, given)
    for options in ({}, {"scheduler": "beta", "rule": "comfyui", "strength": 0.6}, {"strength": 0.7}):
        made = walk(given, solver.name, guidance=1.0, **({"steps": 6} | options))
        torch.testing.assert_close(made, answer, atol=0.25, rtol=0)  # DDIM ends at the first training step


@pytest.mark.parametrize("solver", [each for each in SAMPLERS if each.flow], ids=lambda each: each.name)
def test_samplers_arrive_along_flows(solver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ready("flux")
    given[2].mask = None
    answer = knowing(monkeypatch, given)
    for strength in (1.0, 0.7):
        made = walk(given, solver.name, scheduler="simple", guidance=1.0, steps=5, strength=strength)
        torch.testing.assert_close(made, answer, atol=0.01, rtol=0)


def test_a_sampler_that_cannot_walk_flows_says_so() -> None:
    with pytest.raises(InputError) as caught:
        walk(ready("flux"), "lms")
    assert caught.value.code == "sampler.family"
    assert "euler" in caught.value.hint


def _model(given: tuple[Any, Conditioning, Prepared]) -> Any:
    """Return a function of (sample + sigma·noise, sigma) to clean latents, as k-diffusion calls models."""
    model, conditioning, _ = given
    logs = _log_sigmas()
    unet, embeds = model.checkpoint.denoiser, conditioning.positive.embeds

    def clean(sample: Any, sigma: float) -> Any:
        step = torch.tensor(np.interp(np.log(sigma), logs, np.arange(1000)), dtype=torch.float32)
        with torch.inference_mode():
            noise = unet(sample / (1 + sigma**2) ** 0.5, step, encoder_hidden_states=embeds).sample
        return sample - sigma * noise

    return clean


def _log_sigmas() -> Any:
    alphas = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    return np.log((1 - alphas) / alphas) / 2


def _euler(clean: Any, sample: Any, sigmas: list[float]) -> Any:
    for now, then in pairwise(sigmas):
        sample = sample + (sample - clean(sample, now)) / now * (then - now)
    return sample


def _dpmpp_2m(clean: Any, sample: Any, sigmas: list[float]) -> Any:
    before = None
    for index, (now, then) in enumerate(pairwise(sigmas)):
        denoised = clean(sample, now)
        if then == 0:
            return denoised
        h = np.log(now) - np.log(then)
        mixed = denoised
        if before is not None:
            ratio = (np.log(sigmas[index - 1]) - np.log(now)) / h
            mixed = (1 + 1 / (2 * ratio)) * denoised - 1 / (2 * ratio) * before
        sample = then / now * sample - np.expm1(-h) * mixed
        before = denoised
    return sample


@pytest.mark.parametrize("schedule", ["normal", "karras"])
@pytest.mark.parametrize(("name", "solve"), [("euler", _euler), ("dpmpp_2m", _dpmpp_2m), ("ddim", _euler)])
def test_named_samplers_walk_as_k_diffusion(name: str, solve: Any, schedule: str) -> None:
    given = ready(content="nothing")
    prepared = given[2]
    prepared.mask = None
    prepared.latents = torch.zeros_like(prepared.latents)
    made = walk(given, name, scheduler=schedule, rule="comfyui", steps=5, guidance=1.0)
    sigmas = [float(sigma) for sigma in sigmas_of(schedule, Levels(sigmas=np.exp(_log_sigmas())), 5)]
    want = solve(_model(given), prepared.noise * (1 + sigmas[0] ** 2) ** 0.5, sigmas)
    torch.testing.assert_close(made, want, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("name", ["euler", "dpmpp_2m", "uni_pc"])
def test_a_walk_in_two_parts_is_the_walk(name: str) -> None:
    """As KSamplerAdvanced twice: leftover noise goes from one to the next, whatever the solver's own scale."""
    given = ready()
    given[2].mask = None
    options: dict[str, Any] = {"scheduler": "karras", "rule": "comfyui", "steps": 6, "guidance": 1.0}
    whole = walk(given, "euler", **options)
    half = walk(given, name, end_at=3, keep_noise=True, **options)
    given[2].latents = walk(given, "euler", end_at=3, keep_noise=True, **options)
    rest = walk(given, "euler", start_at=3, add_noise=False, **options)
    torch.testing.assert_close(rest, whole, atol=1e-3, rtol=1e-3)
    assert float((half - given[2].latents).std() / half.std()) < 0.5, "the scale is that of ComfyUI"


def test_comfyuis_fraction_walks_exactly_the_steps() -> None:
    seen: list[int] = []
    walk(ready(), rule="comfyui", strength=0.4, steps=5, on_step=lambda step: seen.append(step.total))
    assert seen == [5] * 5


def test_a_batch_is_its_pictures() -> None:
    both = walk(ready(seeds=[1, 2]), "euler_ancestral")
    alone = walk(ready(seeds=[2]), "euler_ancestral")
    torch.testing.assert_close(both[1:], alone, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(both[0], both[1])


def test_prompts_of_different_lengths_are_asked_one_after_the_other() -> None:
    model, _, prepared = ready()
    long = encode_prompt(model, "cat " * 80, "bad")
    assert long.negative is not None
    assert long.positive.embeds.shape != long.negative.embeds.shape
    same = encode_prompt(model, "cat " * 80, "bad BREAK bad")
    assert bool(torch.isfinite(walk((model, long, prepared))).all())
    assert not torch.equal(walk((model, long, prepared)), walk((model, same, prepared)))


def test_a_cancel_is_heeded_within_a_step() -> None:
    calls: list[int] = []

    def stop(step: StepInfo) -> None:
        calls.append(step.index)
        raise Cancelled()

    with pytest.raises(Cancelled):
        walk(ready(), on_step=stop, steps=9)
    assert calls == [1]


@pytest.mark.parametrize(("family", "name"), [("sd15", "euler"), ("sd15", "dpmpp_2m"), ("flux", "euler")])
def test_a_walk_that_is_ended_early_gives_what_the_denoiser_sees(family: str, name: str) -> None:
    given, seen = ready(family), list[StepInfo]()

    def enough(step: StepInfo) -> bool:
        seen.append(step)
        return step.index == 2

    made, prepared = walk(given, name, on_step=enough, steps=9, guidance=1.0), given[2]
    assert len(seen) == 2 and prepared.mask is not None
    outside = (prepared.mask == 0).expand_as(made)
    torch.testing.assert_close(made[outside], prepared.latents[outside])
    assert torch.equal(made[~outside], seen[-1].latents()[~outside])
    assert not torch.allclose(made, walk(given, name, steps=9, guidance=1.0), atol=0.01)


def test_previews_show_the_clean_latents() -> None:
    seen: list[StepInfo] = []
    given = ready(kind="inpaint")
    made = walk(given, on_step=seen.append, guidance=1.0)
    assert seen[-1].preview().shape == (8, 8, 3)
    torch.testing.assert_close(seen[-1].latents(), made, atol=1e-3, rtol=1e-3)
    facts = family("sd15")
    grey = preview(facts, torch.zeros(1, 4, 2, 2))
    assert grey.dtype == np.uint8
    assert abs(int(grey[0, 0, 0]) - 128) < 2


def test_skipping_saves_evaluations_and_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ready()
    asked: list[int] = []
    forward = given[0].checkpoint.denoiser.forward

    def counted(*args: Any, **options: Any) -> Any:
        asked.append(1)
        return forward(*args, **options)

    monkeypatch.setattr(given[0].checkpoint.denoiser, "forward", counted)
    steps: list[StepInfo] = []
    walk(given, steps=12, cache_skip=100.0, on_step=steps.append)
    assert steps[-1].skipped == 12 - len(asked) > 5
    asked.clear()
    walk(given, steps=12, cache_skip=1e-9)
    assert len(asked) == 12


def test_noise_of_comfyui_is_one_generator_for_a_batch() -> None:
    picture, hole = scene()
    noise = batch_noise(7, 2, (4, 8, 8))
    prepared = prepare(placed("sd15", "base"), picture, hole, seeds=[7, 8], noise=noise)
    assert torch.equal(prepared.noise, noise)


def test_numbers_that_are_none_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ready()
    given[2].noise[0, 0, 4, 4] = float("nan")
    with pytest.raises(EngineFailed) as caught:
        walk(given)
    assert caught.value.code == "diffusion.nan"
