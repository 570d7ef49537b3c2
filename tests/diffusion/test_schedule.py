"""The spacings of noise levels are those of k-diffusion and ComfyUI, written out slowly here."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from reknit.core.errors import InputError
from reknit.diffusion.sampler import SCHEDULES
from reknit.diffusion.schedule import Levels, first_step, flow_levels, noise_levels, sigmas_of

FLUX = {
    "use_dynamic_shifting": True,
    "base_shift": 0.5,
    "max_shift": 1.15,
    "base_image_seq_len": 256,
    "max_image_seq_len": 4096,
}


def stable_diffusion() -> Levels:
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    return noise_levels(np.cumprod(1 - betas))


def slow(name: str, model: NDArray[np.float64], steps: int) -> list[float]:
    low, high = float(model[0]), float(model[-1])
    logs = np.log(model)

    def at(step: float) -> float:
        below = math.floor(step)
        above = min(below + 1, len(model) - 1)
        part = step - below
        return math.exp(logs[below] * (1 - part) + logs[above] * part)

    if name == "normal":
        return [at(999 - 999 * index / (steps - 1)) for index in range(steps)]
    if name == "sgm_uniform":
        return [at(999 - 999 * index / steps) for index in range(steps)]
    if name == "karras":
        root = [
            high ** (1 / 7) + index / (steps - 1) * (low ** (1 / 7) - high ** (1 / 7))
            for index in range(steps)
        ]
        return [value**7 for value in root]
    if name in ("exponential", "polyexponential"):
        ratio = math.log(low / high) / (steps - 1)
        return [high * math.exp(ratio * index) for index in range(steps)]
    if name == "simple":
        return [float(model[-(1 + int(index * len(model) / steps))]) for index in range(steps)]
    if name == "ddim_uniform":
        found, index = [], 1
        while index < len(model):
            found.append(float(model[index]))
            index += len(model) // steps
        return found[::-1]
    assert name == "kl_optimal"
    angles = [
        (math.atan(high) * (steps - 1 - index) + math.atan(low) * index) / (steps - 1)
        for index in range(steps)
    ]
    return [math.tan(angle) for angle in angles]


@pytest.mark.parametrize("steps", [4, 7, 20])
@pytest.mark.parametrize(
    "name",
    [
        "normal",
        "sgm_uniform",
        "karras",
        "exponential",
        "polyexponential",
        "simple",
        "ddim_uniform",
        "kl_optimal",
    ],
)
def test_formulas(name: str, steps: int) -> None:
    levels = stable_diffusion()
    made = sigmas_of(name, levels, steps)
    assert made[-1] == 0.0
    np.testing.assert_allclose(made[:-1], slow(name, levels.sigmas, steps), rtol=1e-9)


def test_beta_follows_the_quantiles() -> None:
    special = pytest.importorskip("scipy.special")
    levels = stable_diffusion()
    for steps in (4, 20, 30):
        quantile = special.betaincinv(0.6, 0.6, 1 - np.linspace(0, 1, steps, endpoint=False))
        expected = levels.sigmas[np.rint(quantile * 999).astype(int)]
        np.testing.assert_allclose(sigmas_of("beta", levels, steps)[:-1], expected, rtol=0.01)


def test_linear_quadratic_starts_slowly_and_ends_near_the_end() -> None:
    made = sigmas_of("linear_quadratic", stable_diffusion(), 10)
    np.testing.assert_allclose(1 - made[:5] / made[0], np.arange(5) * 0.005, atol=1e-12)
    assert np.all(np.diff(np.diff(made[4:])) < 1e-9)


def test_align_your_steps_takes_its_table() -> None:
    made = sigmas_of("align_your_steps", stable_diffusion(), 11, family="sdxl")
    assert made[1] == pytest.approx(6.315)
    assert sigmas_of("align_your_steps", stable_diffusion(), 11)[1] == pytest.approx(6.475)


@pytest.mark.parametrize("schedule", [each.name for each in SCHEDULES if each.name != "align_your_steps"])
@pytest.mark.parametrize("levels", [stable_diffusion(), flow_levels(4096, FLUX)], ids=["noise", "flow"])
def test_levels_always_fall_to_zero(levels: Levels, schedule: str) -> None:
    for steps in (1, 2, 9, 30):
        for discard in (False, True):
            made = sigmas_of(schedule, levels, steps, discard=discard)
            assert made[-1] == 0.0
            assert np.all(np.diff(made) < 0)
            assert made[0] <= levels.first * (1 + 1e-12)
            if schedule not in ("ddim_uniform", "beta"):
                assert len(made) == steps + 1


def test_discarding_leaves_out_the_last_but_one() -> None:
    levels = stable_diffusion()
    whole = sigmas_of("karras", levels, 11)
    np.testing.assert_allclose(sigmas_of("karras", levels, 10, discard=True), [*whole[:-2], 0.0])


def test_flows_lean_towards_noise_with_size() -> None:
    assert flow_levels(4096, FLUX).shift == pytest.approx(math.exp(1.15))
    assert flow_levels(256, FLUX).shift == pytest.approx(math.exp(0.5))
    assert flow_levels(256, {"shift": 3.0}).shift == 3.0
    simple = sigmas_of("simple", flow_levels(4096, FLUX), 4)
    even = np.array([1, 0.75, 0.5, 0.25])
    shift = math.exp(1.15)
    np.testing.assert_allclose(simple[:-1], shift * even / (1 + (shift - 1) * even), rtol=1e-12)


@pytest.mark.parametrize(
    ("rule", "steps", "strength", "expected"),
    [
        ("diffusers", 20, 1.0, (20, 0)),
        ("diffusers", 20, 0.75, (20, 5)),
        ("diffusers", 5, 0.75, (5, 2)),
        ("diffusers", 5, 0.01, (5, 4)),
        ("diffusers", 5, 0.0, (5, 5)),
        ("a1111", 20, 0.0, (20, 19)),
        ("a1111", 20, 0.5, (20, 9)),
        ("a1111", 20, 0.75, (20, 4)),
        ("a1111", 20, 1.0, (20, 0)),
        ("comfyui", 20, 1.0, (20, 0)),
        ("comfyui", 20, 0.75, (26, 6)),
        ("comfyui", 20, 0.3, (66, 46)),
        ("comfyui", 20, 0.0, (20, 20)),
    ],
)
def test_strength(rule: str, steps: int, strength: float, expected: tuple[int, int]) -> None:
    assert first_step(rule, steps, strength) == expected  # type: ignore[arg-type]


def test_strength_of_flows_rounds_as_their_pipelines_do() -> None:
    assert first_step("diffusers", 5, 0.75, flow=True) == (5, 1)


@pytest.mark.parametrize(
    ("steps", "strength", "code"), [(0, 1.0, "sampler.steps"), (5, 1.5, "diffusion.strength")]
)
def test_bad_numbers(steps: int, strength: float, code: str) -> None:
    with pytest.raises(InputError) as caught:
        first_step("diffusers", steps, strength)
    assert caught.value.code == code
