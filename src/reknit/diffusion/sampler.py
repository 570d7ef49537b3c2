"""Samplers and schedules by the names that A1111 and ComfyUI users know them by.

Pure data and lookup: which class of diffusers solves a name's equation, with what arguments, for models that predict
noise (``solver``) and for rectified flows (``flow``). The sigmas themselves are `reknit.diffusion.schedule`'s, and
carrying a sampler out is `reknit.diffusion.run`'s. No framework is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from reknit.core.errors import InputError, nearest_name

SolverArgs: TypeAlias = "tuple[str, Mapping[str, Any]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Solver:
    """A sampler.

    Attributes
    ----------
    name : str
        ComfyUI's name, and this program's.
    a1111 : str
        A1111's label, or "" where it has none.
    aliases : tuple of str
        Other names of it.
    solver, flow : (str, mapping) or None
        Class of diffusers and its arguments; ``flow`` for rectified flows (FLUX), None where there is none.
    schedule : str
        What ``automatic`` means for it.
    discard : bool
        Whether the last sigma but one is left out, as the originals do for solvers that look between two.
    note : str
        How it differs from the original, where it does.
    """

    name: str
    a1111: str = ""
    aliases: tuple[str, ...] = ()
    solver: SolverArgs
    flow: SolverArgs | None = None
    schedule: str = "normal"
    discard: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A way to space the noise levels.

    Attributes
    ----------
    name : str
        ComfyUI's name where it has one.
    a1111 : str
        A1111's label, or "".
    aliases : tuple of str
    about : str
    """

    name: str
    a1111: str = ""
    aliases: tuple[str, ...] = ()
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """A solver with a schedule; or, with neither, what the checkpoint was published with.

    Attributes
    ----------
    solver : Solver or None
        None: the class that ``config`` or the checkpoint's own configuration names, with its own spacing.
    schedule : str or None
        Name of a `Schedule`.
    config : mapping or None
        A scheduler's configuration in diffusers' words, instead of the checkpoint's.
    notes : tuple of str
        What a user should know.
    """

    solver: Solver | None = None
    schedule: str | None = None
    config: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def label(self) -> str:
        """What a recipe calls it."""
        return "the model's own" if self.solver is None else f"{self.solver.name} {self.schedule}"


def _args(name: str, **values: Any) -> SolverArgs:
    return name, MappingProxyType(values)


_EULER_FLOW = _args("FlowMatchEulerDiscreteScheduler")
_LCM_FLOW = _args("FlowMatchEulerDiscreteScheduler", stochastic_sampling=True)
_ANCESTRAL_FLOW = _args("LTXEulerAncestralRFScheduler")


def _multistep(**values: Any) -> tuple[SolverArgs, SolverArgs]:
    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    name = "DPMSolverMultistepScheduler"
    return _args(name, **values), _args(name, **values, **flow)


def _unipc(solver_type: str) -> tuple[SolverArgs, SolverArgs]:
    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    name = "UniPCMultistepScheduler"
    return _args(name, solver_type=solver_type), _args(name, solver_type=solver_type, **flow)


_2M, _2M_FLOW = _multistep(algorithm_type="dpmsolver++", solver_order=2)
_2M_SDE, _2M_SDE_FLOW = _multistep(algorithm_type="sde-dpmsolver++", solver_order=2)
_HEUN_SDE, _HEUN_SDE_FLOW = _multistep(algorithm_type="sde-dpmsolver++", solver_order=2, solver_type="heun")
_3M, _3M_FLOW = _multistep(algorithm_type="dpmsolver++", solver_order=3)
_BH1, _BH1_FLOW = _unipc("bh1")
_BH2, _BH2_FLOW = _unipc("bh2")
_SINGLE = _args("DPMSolverSinglestepScheduler", algorithm_type="dpmsolver++", lower_order_final=True)
_SINGLE_SDE = _args("DPMSolverSinglestepScheduler", algorithm_type="sde-dpmsolver++", lower_order_final=True)
_EULER = _args("EulerDiscreteScheduler")
_ANCESTRAL = _args("EulerAncestralDiscreteScheduler")
_HEUN = _args("HeunDiscreteScheduler")
_LMS = _args("LMSDiscreteScheduler")
_DEIS = _args("DEISMultistepScheduler")
_SA = _args("SASolverScheduler", algorithm_type="data_prediction")

_NO_CFG_PP = "without CFG++, which changes what guidance means"
_SINGLE_NOTE = "diffusers' single-step solver of the same order; it takes its middle points from the schedule"
_NOT_SAME = "stands in for a solver that diffusers has not"

SAMPLERS: tuple[Solver, ...] = (
    Solver(name="euler", a1111="Euler", aliases=("k_euler",), solver=_EULER, flow=_EULER_FLOW),
    Solver(
        name="euler_ancestral",
        a1111="Euler a",
        aliases=("k_euler_a", "k_euler_ancestral"),
        solver=_ANCESTRAL,
        flow=_ANCESTRAL_FLOW,
    ),
    Solver(
        name="dpmpp_2m",
        a1111="DPM++ 2M",
        aliases=("k_dpmpp_2m",),
        solver=_2M,
        flow=_2M_FLOW,
        schedule="karras",
    ),
    Solver(
        name="dpmpp_sde",
        a1111="DPM++ SDE",
        aliases=("k_dpmpp_sde", "dpmpp_sde_gpu"),
        solver=_SINGLE_SDE,
        schedule="karras",
        note=_SINGLE_NOTE,
    ),
    Solver(
        name="dpmpp_2m_sde",
        a1111="DPM++ 2M SDE",
        aliases=("k_dpmpp_2m_sde", "dpmpp_2m_sde_gpu"),
        solver=_2M_SDE,
        flow=_2M_SDE_FLOW,
        schedule="exponential",
    ),
    Solver(
        name="dpmpp_2m_sde_heun",
        a1111="DPM++ 2M SDE Heun",
        aliases=("k_dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu"),
        solver=_HEUN_SDE,
        flow=_HEUN_SDE_FLOW,
        schedule="exponential",
    ),
    Solver(
        name="dpmpp_2s_ancestral",
        a1111="DPM++ 2S a",
        aliases=("k_dpmpp_2s_a", "dpmpp_2s_ancestral_cfg_pp"),
        solver=_SINGLE_SDE,
        schedule="karras",
        note=_SINGLE_NOTE,
    ),
    Solver(
        name="dpmpp_3m_sde",
        a1111="DPM++ 3M SDE",
        aliases=("k_dpmpp_3m_sde", "dpmpp_3m_sde_gpu"),
        solver=_2M_SDE,
        flow=_2M_SDE_FLOW,
        schedule="exponential",
        discard=True,
        note="of second order: diffusers' stochastic solver of third order is not stable",
    ),
    Solver(name="lms", a1111="LMS", aliases=("k_lms",), solver=_LMS),
    Solver(
        name="heun",
        a1111="Heun",
        aliases=("k_heun",),
        solver=_HEUN,
        flow=_args("FlowMatchHeunDiscreteScheduler"),
    ),
    Solver(
        name="dpm_2",
        a1111="DPM2",
        aliases=("k_dpm_2",),
        solver=_args("KDPM2DiscreteScheduler"),
        schedule="karras",
        discard=True,
    ),
    Solver(
        name="dpm_2_ancestral",
        a1111="DPM2 a",
        aliases=("k_dpm_2_a", "k_dpm_2_ancestral"),
        solver=_args("KDPM2AncestralDiscreteScheduler"),
        schedule="karras",
        discard=True,
    ),
    Solver(name="dpm_fast", a1111="DPM fast", aliases=("k_dpm_fast",), solver=_SINGLE, note=_NOT_SAME),
    Solver(
        name="dpm_adaptive",
        a1111="DPM adaptive",
        aliases=("k_dpm_ad",),
        solver=_SINGLE,
        note=_NOT_SAME + "; it takes as many steps as it is told",
    ),
    Solver(
        name="restart",
        a1111="Restart",
        solver=_HEUN,
        schedule="karras",
        note="Heun without the restarts",
    ),
    Solver(
        name="ddim",
        a1111="DDIM",
        solver=_args("DDIMScheduler", clip_sample=False, set_alpha_to_one=False),
        flow=_EULER_FLOW,
        schedule="ddim_uniform",
        note="on other schedules than its own as Euler, which it equals at eta 0",
    ),
    Solver(
        name="ddim_cfg_pp",
        a1111="DDIM CFG++",
        solver=_args("DDIMScheduler", clip_sample=False, set_alpha_to_one=False),
        flow=_EULER_FLOW,
        schedule="ddim_uniform",
        note=_NO_CFG_PP,
    ),
    Solver(
        name="plms",
        a1111="PLMS",
        aliases=("pndm",),
        solver=_args("PNDMScheduler", skip_prk_steps=True, set_alpha_to_one=False),
        schedule="ddim_uniform",
        note="always on its own schedule",
    ),
    Solver(name="uni_pc", a1111="UniPC", aliases=("unipc",), solver=_BH1, flow=_BH1_FLOW, discard=True),
    Solver(name="uni_pc_bh2", solver=_BH2, flow=_BH2_FLOW, discard=True),
    Solver(
        name="lcm",
        a1111="LCM",
        solver=_args("LCMScheduler", clip_sample=False, set_alpha_to_one=True),
        flow=_LCM_FLOW,
        schedule="sgm_uniform",
    ),
    Solver(name="euler_cfg_pp", solver=_EULER, flow=_EULER_FLOW, note=_NO_CFG_PP),
    Solver(name="euler_ancestral_cfg_pp", solver=_ANCESTRAL, flow=_ANCESTRAL_FLOW, note=_NO_CFG_PP),
    Solver(name="dpmpp_2m_cfg_pp", solver=_2M, flow=_2M_FLOW, note=_NO_CFG_PP),
    Solver(name="heunpp2", aliases=("exp_heun_2_x0", "exp_heun_2_x0_sde"), solver=_HEUN, note=_NOT_SAME),
    Solver(
        name="ddpm",
        solver=_args("DDPMScheduler", clip_sample=False, variance_type="fixed_small"),
        flow=_LCM_FLOW,
        note="on whole training steps",
    ),
    Solver(name="ipndm", aliases=("ipndm_v",), solver=_LMS, note=_NOT_SAME),
    Solver(name="deis", solver=_DEIS),
    Solver(
        name="res_multistep",
        aliases=("res_multistep_cfg_pp",),
        solver=_2M,
        flow=_2M_FLOW,
        note="by DPM++ 2M, another exponential integrator of second order",
    ),
    Solver(
        name="res_multistep_ancestral",
        aliases=("res_multistep_ancestral_cfg_pp",),
        solver=_2M_SDE,
        flow=_2M_SDE_FLOW,
        note="by DPM++ 2M SDE, another exponential integrator of second order",
    ),
    Solver(
        name="gradient_estimation",
        aliases=("gradient_estimation_cfg_pp",),
        solver=_LMS,
        note=_NOT_SAME,
    ),
    Solver(
        name="er_sde",
        aliases=("seeds_2", "seeds_3"),
        solver=_2M_SDE,
        flow=_2M_SDE_FLOW,
        note=_NOT_SAME,
    ),
    Solver(name="sa_solver", aliases=("sa_solver_pece",), solver=_SA),
    Solver(name="dpmpp_3m", solver=_3M, flow=_3M_FLOW, schedule="karras"),
    Solver(name="tcd", a1111="TCD", solver=_args("TCDScheduler", clip_sample=False), schedule="sgm_uniform"),
)

SCHEDULES: tuple[Schedule, ...] = (
    Schedule(
        name="normal",
        a1111="Uniform",
        aliases=("discrete", "default"),
        about="even in training steps, from the first to the last",
    ),
    Schedule(
        name="karras", a1111="Karras", about="even in sigma^(1/7); Karras et al. 2022, arXiv:2206.00364"
    ),
    Schedule(name="exponential", a1111="Exponential", about="even in log sigma"),
    Schedule(name="polyexponential", a1111="Polyexponential", about="as exponential (rho 1)"),
    Schedule(
        name="sgm_uniform",
        a1111="SGM Uniform",
        aliases=("SGMUniform", "trailing"),
        about="even in training steps, the last one left out",
    ),
    Schedule(name="simple", a1111="Simple", about="every n-th of the model's sigmas, from the largest"),
    Schedule(
        name="ddim_uniform", a1111="DDIM", aliases=("ddim",), about="every n-th training step, from the first"
    ),
    Schedule(
        name="beta",
        a1111="Beta",
        about="quantiles of a beta distribution (0.6, 0.6); Lee et al. 2024, arXiv:2407.12173",
    ),
    Schedule(name="linear_quadratic", about="half the steps near the start, then ever longer ones"),
    Schedule(
        name="kl_optimal", a1111="KL Optimal", about="even in the arc tangent of sigma; Sabour et al. 2024"
    ),
    Schedule(
        name="align_your_steps",
        a1111="Align Your Steps",
        aliases=("ays",),
        about="tables for SD 1.5 and SDXL; Sabour et al. 2024, arXiv:2404.14507",
    ),
)

_COMFYUI = """euler euler_cfg_pp euler_ancestral euler_ancestral_cfg_pp heun heunpp2 exp_heun_2_x0 exp_heun_2_x0_sde
dpm_2
dpm_2_ancestral lms dpm_fast dpm_adaptive dpmpp_2s_ancestral dpmpp_2s_ancestral_cfg_pp dpmpp_sde dpmpp_sde_gpu
dpmpp_2m dpmpp_2m_cfg_pp dpmpp_2m_sde dpmpp_2m_sde_gpu dpmpp_2m_sde_heun dpmpp_2m_sde_heun_gpu dpmpp_3m_sde
dpmpp_3m_sde_gpu ddpm lcm ipndm ipndm_v deis res_multistep res_multistep_cfg_pp res_multistep_ancestral
res_multistep_ancestral_cfg_pp gradient_estimation gradient_estimation_cfg_pp er_sde seeds_2 seeds_3 sa_solver
sa_solver_pece ddim uni_pc uni_pc_bh2"""
"""ComfyUI's names in its order, those that are others' aliases here among them."""

AUTOMATIC = ("automatic", "auto", "")


def sampler(name: str | None = None, scheduler: str | None = None) -> Sampler:
    """Return the sampler that A1111 or ComfyUI call so.

    Case, spaces, underscores and dashes do not matter, and older names that end in a schedule ("DPM++ 2M Karras")
    are taken apart.

    Parameters
    ----------
    name
        None or "automatic": the checkpoint's own solver; with a schedule, Euler.
    scheduler
        None or "automatic": what the sampler's authors chose; a schedule in ``name`` comes before it.

    Raises
    ------
    InputError
        ``sampler.unknown``, ``scheduler.unknown``, with the nearest name.
    """
    solver, schedule = None, _schedule(scheduler)
    if name is not None and _plain(name) not in AUTOMATIC:
        solver, named = _solver(name)
        schedule = named or schedule
    if solver is None and schedule is None:
        return Sampler()
    solver = solver or SAMPLERS[0]
    notes = (f"the sampler {solver.name} is {solver.note}",) if solver.note.startswith(_NOT_SAME) else ()
    return Sampler(solver=solver, schedule=schedule or solver.schedule, notes=notes)


def sampler_names(of: str = "comfyui") -> tuple[str, ...]:
    """Return the samplers' names in ``"comfyui"``'s or ``"a1111"``'s words, in their order."""
    if of == "a1111":
        return tuple(each.a1111 for each in SAMPLERS if each.a1111)
    return tuple(dict.fromkeys((*_COMFYUI.split(), *(each.name for each in SAMPLERS))))


def schedule_names(of: str = "comfyui") -> tuple[str, ...]:
    """Return the schedules' names in ``"comfyui"``'s or ``"a1111"``'s words, in their order."""
    if of == "a1111":
        return tuple(each.a1111 for each in SCHEDULES if each.a1111)
    return tuple(each.name for each in SCHEDULES)


def table() -> str:
    """Return the samplers and schedules as the tables of docs/samplers.md, in Markdown."""
    lines = [
        "| A1111 | ComfyUI | diffusers | FLUX | automatic schedule | note |",
        "|---|---|---|---|---|---|",
    ]
    for each in SAMPLERS:
        names = ", ".join(f"`{name}`" for name in (each.name, *each.aliases))
        flow = "–" if each.flow is None else _call(each.flow)
        lines.append(
            f"| {each.a1111 or '–'} | {names} | {_call(each.solver)} | {flow} | {each.schedule} | {each.note} |"
        )
    lines += ["", "| A1111 | ComfyUI | how the noise levels are spaced |", "|---|---|---|"]
    for schedule in SCHEDULES:
        names = ", ".join(f"`{name}`" for name in (schedule.name, *schedule.aliases))
        lines.append(f"| {schedule.a1111 or '–'} | {names} | {schedule.about} |")
    return "\n".join(lines) + "\n"


def _call(solver: SolverArgs) -> str:
    name, values = solver
    shown = [
        f"{key}={value}"
        for key, value in values.items()
        if key
        not in ("clip_sample", "set_alpha_to_one", "use_flow_sigmas", "prediction_type", "variance_type")
    ]
    return f"{name.removesuffix('Scheduler')}" + (f" ({', '.join(shown)})" if shown else "")


def _plain(name: str) -> str:
    return "".join(sign for sign in name.casefold() if sign not in " _-\t")


def _schedule(name: str | None) -> str | None:
    if name is None or _plain(name) in AUTOMATIC:
        return None
    found = _schedules().get(_plain(name))
    if found is None:
        known = [*schedule_names(), *schedule_names("a1111")]
        raise InputError(
            f"there is no scheduler {name!r}", code="scheduler.unknown", hint=nearest_name(name, known)
        )
    return found


def _solver(name: str) -> tuple[Solver, str | None]:
    plain, solvers = _plain(name), _solvers()
    if plain in solvers:
        return solvers[plain], None
    endings = sorted(_schedules(), key=len, reverse=True)
    for ending in (*endings, "automatic"):
        if plain.endswith(ending) and plain.removesuffix(ending) in solvers:
            return solvers[plain.removesuffix(ending)], _schedules().get(ending)
    known = [*sampler_names(), *sampler_names("a1111")]
    lower = {each.casefold(): each for each in known}
    hint = nearest_name(name.casefold(), lower)
    for low, each in lower.items():
        hint = hint.replace(repr(low), repr(each))
    raise InputError(f"there is no sampler {name!r}", code="sampler.unknown", hint=hint)


def _solvers() -> dict[str, Solver]:
    found: dict[str, Solver] = {}
    for each in SAMPLERS:
        for name in (each.name, each.a1111, *each.aliases):
            if name:
                found.setdefault(_plain(name), each)
    return found


def _schedules() -> dict[str, str]:
    found: dict[str, str] = {}
    for each in SCHEDULES:
        for name in (each.name, each.a1111, *each.aliases):
            if name:
                found.setdefault(_plain(name), each.name)
    return found
