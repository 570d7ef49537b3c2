"""One walk down the noise levels: a scheduler of diffusers, made ready, and the arithmetic of noise at each step.

`begin` turns a `Sampler` and numbers of steps into a `Run`. Sigmas of named schedules are put into the scheduler as
they are; without a name the scheduler spaces them itself, exactly as a diffusers pipeline would. It knows no denoiser
and no prompt.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reknit.core.errors import InputError
from reknit.diffusion.sampler import SAMPLERS, Sampler, Solver
from reknit.diffusion.schedule import (
    Floats,
    Levels,
    StrengthRule,
    first_step,
    flow_levels,
    noise_levels,
    sigmas_of,
)

_MODEL_KEYS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
)
_WHOLE_STEPS = ("LCMScheduler", "DDPMScheduler", "TCDScheduler")
_OWN_SPACING = ("DDIMScheduler", "PNDMScheduler")
_NEVER_CLEAN = ("UniPCMultistepScheduler", "DEISMultistepScheduler", "SASolverScheduler")
_FLOW_MULTISTEP = ("DPMSolverMultistepScheduler", "UniPCMultistepScheduler")
_BELOW_ONE, _NEARLY_CLEAN = 1 - 1e-6, 1e-3


@dataclass(slots=True, kw_only=True)
class Run:
    """A scheduler in the middle of its work.

    Attributes
    ----------
    scheduler : SchedulerMixin
        Of diffusers; stateful, for this run only.
    timesteps : Tensor
        What the denoiser is told, one an evaluation, of the whole schedule.
    sigmas : ndarray of float64
        Noise levels: one more than ``timesteps``.
    begin, end : int
        The evaluations that are walked: ``timesteps[begin:end]``.
    order : int
        Evaluations a step.
    kind : {'exploding', 'preserving', 'flow'}
        How the solver scales its sample: x + sigma·noise, that divided by sqrt(1 + sigma²), or
        (1 - sigma)·x + sigma·noise.
    prediction : str
        ``epsilon``, ``v_prediction``, ``sample`` or ``flow``.
    pure : bool
        Whether it begins with noise alone.
    full : bool
        Whether it begins at the model's largest noise, where ComfyUI adds sqrt(1 + sigma²) of it instead of sigma.
    whole, passed : int
        Steps of the schedule before any of it was left out, and how many of them lie before ``timesteps[0]``.
    """

    scheduler: Any
    timesteps: torch.Tensor
    sigmas: Floats
    begin: int
    end: int
    order: int
    kind: str
    prediction: str
    pure: bool
    full: bool = False
    whole: int = 0
    passed: int = 0

    @property
    def steps(self) -> int:
        """How many evaluations are walked."""
        return max(self.end - self.begin, 0)

    def noised(self, clean: torch.Tensor, noise: torch.Tensor, index: int) -> torch.Tensor:
        """Return ``clean`` with the noise of level ``index``, scaled as the solver's sample is.

        ``index`` is where the scheduler stands: it has taken ``index`` steps.
        """
        if index < len(self.timesteps):
            add = self.scheduler.scale_noise if hasattr(self.scheduler, "scale_noise") else None
            step = self.timesteps[index : index + 1]
            if add is not None:
                return add(clean, step, noise)
            if hasattr(self.scheduler, "add_noise"):
                return self.scheduler.add_noise(clean, noise, step)
        sigma = float(self.sigmas[index])
        if self.kind == "flow":
            return sigma * noise + (1.0 - sigma) * clean
        if self.kind == "exploding":
            return clean + noise * sigma
        return (clean + noise * sigma) / (1 + sigma * sigma) ** 0.5

    def starting(self, clean: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return the sample to begin with."""
        if self.full:
            sigma = float(self.sigmas[self.begin])
            noise = noise * ((1 + sigma * sigma) ** 0.5 / sigma)
        if not self.pure:
            return self.noised(clean, noise, self.begin)
        return noise * (1.0 if self.kind == "flow" else float(self.scheduler.init_noise_sigma))

    def clean(self, sample: torch.Tensor, prediction: torch.Tensor, index: int) -> torch.Tensor:
        """Return the clean latents that a prediction at level ``index`` says are behind ``sample``."""
        sigma = float(self.sigmas[index])
        if self.kind == "flow":
            return sample - sigma * prediction
        length = (1 + sigma * sigma) ** 0.5
        exploding = sample if self.kind == "exploding" else sample * length
        if self.prediction == "v_prediction":
            return exploding / length**2 - prediction * (sigma / length)
        return prediction if self.prediction == "sample" else exploding - sigma * prediction

    def per_clean(self, index: int) -> float:
        """Return by how much a prediction at level ``index`` grows with the clean latents it stands for."""
        sigma = float(self.sigmas[index])
        if self.prediction == "sample":
            return 1.0
        if self.prediction == "v_prediction" and self.kind != "flow":
            return -((1 + sigma * sigma) ** 0.5) / sigma
        return -1.0 / sigma

    def exploding(self, sample: torch.Tensor, index: int) -> torch.Tensor:
        """Return a sample of level ``index`` scaled as ComfyUI hands them on: latents + sigma·noise."""
        return sample * (1 + float(self.sigmas[index]) ** 2) ** 0.5 if self.kind == "preserving" else sample

    def own_scale(self, exploding: torch.Tensor, index: int) -> torch.Tensor:
        """Return the reverse of `exploding`."""
        return (
            exploding / (1 + float(self.sigmas[index]) ** 2) ** 0.5
            if self.kind == "preserving"
            else exploding
        )

    def step(
        self, prediction: torch.Tensor, index: int, sample: torch.Tensor, extra: Mapping[str, Any]
    ) -> torch.Tensor:
        """Return the sample of the next level."""
        return self.scheduler.step(prediction, self.timesteps[index], sample, return_dict=False, **extra)[0]

    def extras(self, generator: Any, eta: float | None) -> dict[str, Any]:
        """Return what of a generator and an eta the scheduler's ``step`` takes."""
        names = inspect.signature(self.scheduler.step).parameters
        given = {"generator": generator, "eta": eta}
        return {name: value for name, value in given.items() if name in names and value is not None}


def begin(
    sampler: Sampler,
    config: Mapping[str, Any],
    *,
    steps: int,
    strength: float = 1.0,
    rule: StrengthRule = "diffusers",
    start_at: int = 0,
    end_at: int | None = None,
    keep_noise: bool = False,
    tokens: int = 4096,
    device: Any = "cpu",
    family: str = "",
) -> Run:
    """Make a scheduler ready.

    Parameters
    ----------
    sampler
    config
        The checkpoint's scheduler configuration.
    steps, strength, rule
        See `reknit.diffusion.schedule.first_step`.
    start_at, end_at, keep_noise
        Steps of the schedule to walk, counted from its (shortened) beginning; unless ``keep_noise``, the last one
        goes to noise 0 wherever it is. These are KSamplerAdvanced's ``start_at_step``, ``end_at_step`` and
        ``return_with_leftover_noise``.
    tokens
        Patches of the picture, for flows.

    Raises
    ------
    InputError
        ``sampler.family``: the solver cannot walk a flow. ``sampler.steps``, ``diffusion.strength``.
    """
    flow = _class_of(config).startswith("FlowMatch")
    if start_at < 0 or (end_at is not None and end_at < 0):
        raise InputError("steps are counted from 0", code="sampler.steps", hint="start_at and end_at are ≥ 0")
    whole, first = first_step(rule, steps, strength, flow=flow)
    pure = rule == "diffusers" and strength == 1.0 and start_at == 0
    if sampler.solver is None or (not flow and _keeps_own(sampler)):
        run = _own(sampler, config, whole, tokens, device, flow)
        run.pure, run.whole = pure, whole
        run.begin = min(first + start_at, whole) * run.order
        run.end = len(run.timesteps)
        if end_at is not None:
            run.end = min((first + end_at) * run.order, run.end)
        run.sigmas = _ended(run.sigmas, run.end, keep_noise)
        run.full = rule == "comfyui" and not flow and _at_top(run, noise_levels(_alphas(config)))
        _begin_at(run)
        return run
    levels = flow_levels(tokens, config) if flow else noise_levels(_alphas(config))
    sigmas = sigmas_of(
        sampler.schedule or "normal", levels, whole, discard=sampler.solver.discard, family=family
    )
    sigmas = sigmas[first:] if rule != "comfyui" else sigmas[-(steps + 1) :] if whole > steps else sigmas
    last = len(sigmas) - 1 if end_at is None else min(end_at, len(sigmas) - 1)
    sigmas = _ended(sigmas[start_at : last + 1], last - start_at, keep_noise)
    run = _named(sampler, config, sigmas, levels, device)
    run.pure, run.whole, run.passed = pure, whole, first + start_at
    run.full = rule == "comfyui" and _at_top(run, levels)
    _begin_at(run)
    return run


def solver_of(config: Mapping[str, Any]) -> Solver | None:
    """Return the solver of a scheduler's configuration, where it has a name here."""
    return next((each for each in SAMPLERS if each.solver[0] == _class_of(config)), None)


def _own(
    sampler: Sampler, config: Mapping[str, Any], steps: int, tokens: int, device: Any, flow: bool
) -> Run:
    if sampler.solver is None:
        given = sampler.config or config
        scheduler = _class(_class_of(given)).from_config(dict(given))
    else:
        name, values = sampler.solver.solver
        kept = {key: value for key, value in config.items() if key in _MODEL_KEYS}
        scheduler = _class(name).from_config(
            kept | {"timestep_spacing": "leading", "steps_offset": 1} | dict(values)
        )
    if flow:
        _space_flow(scheduler, steps, tokens, device)
    else:
        scheduler.set_timesteps(steps, device=device)
    return _run(scheduler, _levels_of(scheduler))


def _space_flow(scheduler: Any, steps: int, tokens: int, device: Any) -> None:
    """Space a flow's levels as the pipelines of FLUX do."""
    names = inspect.signature(scheduler.set_timesteps).parameters
    mu = float(np.log(flow_levels(tokens, scheduler.config).shift))
    dynamic = bool(scheduler.config.get("use_dynamic_shifting", False))
    given: dict[str, Any] = {"mu": mu} if dynamic and "mu" in names else {}
    if "sigmas" in names:
        sigmas = np.linspace(1.0, 1 / steps, steps)
        scheduler.set_timesteps(sigmas=sigmas, device=device, **given)
    else:
        scheduler.set_timesteps(steps, device=device, **given)


def _named(sampler: Sampler, config: Mapping[str, Any], sigmas: Floats, levels: Levels, device: Any) -> Run:
    solver = sampler.solver
    assert solver is not None
    chosen = solver.flow if levels.flow else solver.solver
    if chosen is None:
        names = ", ".join(each.name for each in SAMPLERS if each.flow is not None and not each.note)
        raise InputError(
            f"the sampler {solver.name} does not walk rectified flows such as FLUX",
            code="sampler.family",
            hint=f"one of {names} does",
        )
    name, values = chosen
    if name == "DDIMScheduler":
        name, values = "EulerDiscreteScheduler", {}
    kept = {} if levels.flow else {key: value for key, value in config.items() if key in _MODEL_KEYS}
    if sigmas[-1] > 0 and name == "DPMSolverMultistepScheduler" and not levels.flow:
        kept["final_sigmas_type"] = "sigma_min"
    scheduler = _class(name).from_config(kept | dict(values))
    if len(sigmas) < 2:
        return _run(scheduler, sigmas, timesteps=torch.zeros(0), exploding=True)
    if name in _WHOLE_STEPS:
        steps = _whole(levels.step_of(sigmas[:-1]))
        if "original_inference_steps" in scheduler.config:
            scheduler.register_to_config(original_inference_steps=max(50, len(steps)))
        scheduler.set_timesteps(len(steps), device=device)
        scheduler.timesteps = torch.tensor(steps, dtype=torch.long, device=device)
        return _run(scheduler, _levels_of(scheduler))
    install(scheduler, sigmas, levels, device)
    return _run(scheduler, _levels_of(scheduler))


def install(scheduler: Any, sigmas: Floats, levels: Levels, device: Any = "cpu") -> None:
    """Put sigmas (largest first, the last where the walk ends) into a fresh scheduler of diffusers.

    Schedulers that evaluate between two levels lay out theirs from what is put in.
    """
    name = type(scheduler).__name__
    count = len(sigmas) - 1
    between = name in ("HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler")
    if name in _FLOW_MULTISTEP and levels.flow:
        sigmas = np.minimum(sigmas, _BELOW_ONE)
    if (
        sigmas[-1] == 0.0 and name in _NEVER_CLEAN
    ):  # their formulas divide by it; ComfyUI's UniPC ends there too
        sigmas = np.append(sigmas[:-1], _NEARLY_CLEAN)
    values = torch.tensor(sigmas, dtype=torch.float32)
    steps = torch.tensor(levels.step_of(sigmas[:-1]), dtype=torch.float32, device=device)
    if between:
        scheduler.register_to_config(use_exponential_sigmas=True, use_karras_sigmas=False)
        scheduler._convert_to_exponential = partial(_given, sigmas[:-1])
        scheduler.set_timesteps(count, device=device)
        scheduler.timesteps = scheduler.timesteps.to(torch.float32)
        return
    if levels.flow and name.startswith(("FlowMatchEuler", "LTX")):
        scheduler.set_timesteps(sigmas=sigmas[:-1].tolist(), device=device)
    else:
        scheduler.set_timesteps(count, device=device)
    if name == "FlowMatchHeunDiscreteScheduler":
        values = torch.cat([values[:1], values[1:-1].repeat_interleave(2), values[-1:]])
        steps = torch.cat([steps[:1], steps[1:].repeat_interleave(2)])
    scheduler.sigmas = values
    scheduler.timesteps = steps.round().long() if name == "SASolverScheduler" else steps


def _given(sigmas: Floats, **_: Any) -> Floats:
    return sigmas.copy()


def _run(
    scheduler: Any, sigmas: Floats, *, timesteps: torch.Tensor | None = None, exploding: bool | None = None
) -> Run:
    name = type(scheduler).__name__
    kind = "preserving"
    if name.startswith(("FlowMatch", "LTX")) or scheduler.config.get("use_flow_sigmas", False):
        kind = "flow"
    elif exploding or name in (
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "HeunDiscreteScheduler",
        "LMSDiscreteScheduler",
        "KDPM2DiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "DPMSolverSDEScheduler",
    ):
        kind = "exploding"
    prediction = "flow" if kind == "flow" else str(scheduler.config.get("prediction_type", "epsilon"))
    steps: torch.Tensor = scheduler.timesteps if timesteps is None else timesteps
    return Run(
        scheduler=scheduler,
        timesteps=steps,
        sigmas=np.asarray(sigmas, dtype=np.float64),
        begin=0,
        end=len(steps),
        order=int(getattr(scheduler, "order", 1)),
        kind=kind,
        prediction=prediction,
        pure=False,
    )


def _levels_of(scheduler: Any) -> Floats:
    sigmas = getattr(scheduler, "sigmas", None)
    if sigmas is not None and len(sigmas) > len(scheduler.timesteps):
        return np.asarray(sigmas, dtype=np.float64)
    alphas = scheduler.alphas_cumprod[scheduler.timesteps.cpu().long()].double()
    return np.append(((1 - alphas) / alphas).sqrt().numpy(), 0.0)


def _ended(sigmas: Floats, end: int, keep_noise: bool) -> Floats:
    if not keep_noise and 0 < end < len(sigmas):
        sigmas = sigmas.copy()
        sigmas[end] = 0.0
    return sigmas


def _begin_at(run: Run) -> None:
    run.end = max(run.end, run.begin)
    if hasattr(run.scheduler, "set_begin_index"):
        run.scheduler.set_begin_index(run.begin)


def _at_top(run: Run, levels: Levels) -> bool:
    return not levels.flow and run.steps > 0 and float(run.sigmas[run.begin]) >= levels.first * (1 - 1e-5)


def _keeps_own(sampler: Sampler) -> bool:
    """Whether a named sampler spaces its own steps: PLMS always, DDIM on the schedule it was published with."""
    solver = sampler.solver
    if solver is None or solver.solver[0] not in _OWN_SPACING:
        return False
    return solver.name == "plms" or sampler.schedule == solver.schedule


def _whole(steps: Sequence[float] | Floats) -> NDArray[np.int_]:
    """Round to training steps, each lower than the one before."""
    whole = np.rint(steps).astype(int)
    for index in range(1, len(whole)):
        whole[index] = min(whole[index], whole[index - 1] - 1)
    return np.maximum(whole, 0)


def _alphas(config: Mapping[str, Any]) -> Any:
    kept = {key: value for key, value in config.items() if key in _MODEL_KEYS}
    return _class("EulerDiscreteScheduler").from_config(kept).alphas_cumprod.numpy()


def _class_of(config: Mapping[str, Any]) -> str:
    return str(config.get("_class_name", "PNDMScheduler"))


def _class(name: str) -> Any:
    import diffusers

    found = getattr(diffusers, name, None)
    if found is None:
        raise InputError(
            f"diffusers has no scheduler {name}", code="sampler.unknown", hint="give --sampler, e.g. euler"
        )
    return found
