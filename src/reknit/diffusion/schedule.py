"""Noise levels: how the named schedules space them, and how strength shortens them.

The formulas are those of k-diffusion, A1111 and ComfyUI, over the sigmas a model was trained with. Only NumPy is
used; nothing here knows which solver will walk the levels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import InputError, nearest_name

Floats = NDArray[np.float64]
StrengthRule = Literal["diffusers", "a1111", "comfyui"]

_FLOW_LEVELS = 10_000
_AYS = {
    "sdxl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
    "other": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """The noise levels a model was trained with.

    Attributes
    ----------
    sigmas : ndarray of float64
        Ascending. For models that predict noise, of noise added to a picture of unit variance; for flows from 0 to 1.
    flow : bool
    shift : float
        Of a flow: exp(mu), by which its levels lean towards noise.
    """

    sigmas: Floats
    flow: bool = False
    shift: float = 1.0

    @property
    def first(self) -> float:
        """The largest."""
        return float(self.sigmas[-1])

    @property
    def last(self) -> float:
        """The smallest."""
        return float(self.sigmas[0])

    def step_of(self, sigma: Floats | float) -> Floats:
        """Return the training steps (fractions between them) of sigmas; for flows, a number from 0 to 1000."""
        sigma = np.asarray(sigma, dtype=np.float64)
        if self.flow:
            return sigma * 1000.0
        return np.interp(np.log(np.maximum(sigma, 1e-10)), np.log(self.sigmas), np.arange(len(self.sigmas)))

    def sigma_of(self, step: Floats) -> Floats:
        """Return the sigmas of training steps; of numbers from 0 to 1, for flows."""
        if self.flow:
            return shifted(step, self.shift)
        return np.exp(np.interp(step, np.arange(len(self.sigmas)), np.log(self.sigmas)))


def noise_levels(alphas_cumprod: NDArray[Any]) -> Levels:
    """Return the levels of a model that was trained on these cumulative products of alphas."""
    alphas = np.asarray(alphas_cumprod, dtype=np.float64)
    return Levels(sigmas=np.sqrt((1 - alphas) / alphas))


def flow_levels(tokens: int, config: Mapping[str, Any]) -> Levels:
    """Return the levels of a rectified flow for pictures of ``tokens`` patches.

    Parameters
    ----------
    tokens
        Patches of 2x2 latents; FLUX leans further towards noise the more there are.
    config
        Of ``FlowMatchEulerDiscreteScheduler``: ``use_dynamic_shifting``, ``base_shift``, ``max_shift``,
        ``base_image_seq_len``, ``max_image_seq_len``, ``shift``.
    """
    if config.get("use_dynamic_shifting", False):
        low, high = float(config.get("base_shift", 0.5)), float(config.get("max_shift", 1.15))
        few, many = int(config.get("base_image_seq_len", 256)), int(config.get("max_image_seq_len", 4096))
        slope = (high - low) / (many - few)
        shift = math.exp(tokens * slope + low - slope * few)
    else:
        shift = float(config.get("shift", 1.0))
    steps = np.arange(1, _FLOW_LEVELS + 1) / _FLOW_LEVELS
    return Levels(sigmas=shifted(steps, shift), flow=True, shift=shift)


def shifted(steps: Floats, shift: float) -> Floats:
    """Return the sigmas of a flow at ``steps`` (0 to 1), leaning towards noise by ``shift``."""
    steps = np.asarray(steps, dtype=np.float64)
    return shift * steps / (1 + (shift - 1) * steps)


def sigmas_of(
    schedule: str, levels: Levels, steps: int, *, discard: bool = False, family: str = ""
) -> Floats:
    """Return the sigmas of a schedule, largest first, 0 last.

    Parameters
    ----------
    schedule
        A name of `reknit.diffusion.sampler.SCHEDULES`.
    steps
        How many; ``ddim_uniform`` may give one more and ``beta`` fewer, as in the original.
    discard
        Leave out the last but one, and take one more step before.
    family
        ``align_your_steps`` has a table of its own for ``sdxl``.

    Raises
    ------
    InputError
        ``sampler.steps``: fewer than one step. ``scheduler.unknown``.
    """
    if steps < 1:
        raise InputError(f"{steps} steps are none", code="sampler.steps", hint="20 steps are common")
    if schedule == "align_your_steps":
        made = _align(steps + discard, family)
    elif schedule in _FORMULAS:
        made = _FORMULAS[schedule](levels, steps + discard)
    else:
        raise InputError(
            f"there is no scheduler {schedule!r}",
            code="scheduler.unknown",
            hint=nearest_name(schedule, [*_FORMULAS, "align_your_steps"]),
        )
    return np.append(made[:-1] if discard else made, 0.0)


def first_step(rule: StrengthRule, steps: int, strength: float, *, flow: bool = False) -> tuple[int, int]:
    """Return how long the whole schedule is, and which of its steps is the first that is walked.

    Parameters
    ----------
    rule : {'diffusers', 'a1111', 'comfyui'}
        ``diffusers`` walks the last int(steps·strength) of ``steps``; ``a1111`` int(min(strength, 0.999)·steps) + 1 of
        them; ``comfyui`` always ``steps``, of a schedule of int(steps/strength).
    strength
        0 to 1.
    flow
        diffusers rounds the other way for flows.

    Raises
    ------
    InputError
        ``diffusion.strength``, ``sampler.steps``.
    """
    if not 0.0 <= strength <= 1.0:
        raise InputError(
            f"strength must be between 0 and 1, not {strength:g}",
            code="diffusion.strength",
            hint="1 repaints wholly, 0 changes nothing",
        )
    if steps < 1:
        raise InputError(f"{steps} steps are none", code="sampler.steps", hint="20 steps are common")
    if strength == 0.0 and rule != "a1111":
        return steps, steps
    if rule == "comfyui":
        whole = steps if strength > 0.9999 else int(steps / strength)
        return whole, whole - steps
    if rule == "a1111":
        return steps, steps - int(min(strength, 0.999) * steps) - 1
    start = int(steps - steps * strength) if flow else steps - int(steps * strength)
    return steps, min(start, steps - 1)


def _normal(levels: Levels, steps: int) -> Floats:
    return levels.sigma_of(np.linspace(_top(levels), _bottom(levels), steps))


def _sgm_uniform(levels: Levels, steps: int) -> Floats:
    return levels.sigma_of(np.linspace(_top(levels), _bottom(levels), steps + 1)[:-1])


def _karras(levels: Levels, steps: int) -> Floats:
    ramp, low, high = np.linspace(0, 1, steps), levels.last ** (1 / 7), levels.first ** (1 / 7)
    return (high + ramp * (low - high)) ** 7


def _exponential(levels: Levels, steps: int) -> Floats:
    return np.exp(np.linspace(math.log(levels.first), math.log(levels.last), steps))


def _simple(levels: Levels, steps: int) -> Floats:
    stride = len(levels.sigmas) / steps
    return np.array([levels.sigmas[-(1 + int(index * stride))] for index in range(steps)])


def _ddim_uniform(levels: Levels, steps: int) -> Floats:
    stride = max(len(levels.sigmas) // steps, 1)
    return levels.sigmas[1::stride][::-1].copy()


def _beta(levels: Levels, steps: int) -> Floats:
    quantiles = _beta_quantile(1 - np.linspace(0, 1, steps, endpoint=False))
    indices = np.rint(quantiles * (len(levels.sigmas) - 1)).astype(int)
    kept = np.concatenate([[True], np.diff(indices) != 0])
    return levels.sigmas[indices[kept]]


def _linear_quadratic(levels: Levels, steps: int) -> Floats:
    if steps == 1:
        return np.array([levels.first])
    threshold, linear = 0.025, steps // 2
    quadratic = steps - linear
    rest = linear - threshold * steps
    square = rest / (linear * quadratic**2)
    slope = threshold / linear - 2 * rest / quadratic**2
    early = np.arange(linear) * threshold / linear
    index = np.arange(linear, steps)
    late = square * index**2 + slope * index + square * linear**2
    return (1 - np.concatenate([early, late])) * levels.first


def _kl_optimal(levels: Levels, steps: int) -> Floats:
    ramp = np.linspace(0, 1, steps)
    return np.tan(ramp * math.atan(levels.last) + (1 - ramp) * math.atan(levels.first))


def _align(steps: int, family: str) -> Floats:
    table = np.array(_AYS.get(family, _AYS["other"]))
    where = np.linspace(0, 1, steps)
    return np.exp(np.interp(where, np.linspace(0, 1, len(table)), np.log(table)))


def _top(levels: Levels) -> float:
    return levels.first if levels.flow else float(len(levels.sigmas) - 1)


def _bottom(levels: Levels) -> float:
    return levels.last if levels.flow else 0.0


def _beta_quantile(probability: Floats) -> Floats:
    """Quantiles of the beta distribution with both parameters 0.6, through the angle whose squared sine is x."""
    angle = np.linspace(0, math.pi / 2, 20_001)
    density = (np.sin(angle) * np.cos(angle)) ** 0.2
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return np.sin(np.interp(probability, mass / mass[-1], angle)) ** 2


_FORMULAS: Mapping[str, Callable[[Levels, int], Floats]] = {
    "normal": _normal,
    "karras": _karras,
    "exponential": _exponential,
    "polyexponential": _exponential,
    "sgm_uniform": _sgm_uniform,
    "simple": _simple,
    "ddim_uniform": _ddim_uniform,
    "beta": _beta,
    "linear_quadratic": _linear_quadratic,
    "kl_optimal": _kl_optimal,
}
