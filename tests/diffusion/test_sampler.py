"""Every name that users of A1111 and ComfyUI know leads to a sampler; others to the nearest."""

from pathlib import Path

import pytest

from reknit.core.errors import InputError
from reknit.diffusion.sampler import (
    SAMPLERS,
    SCHEDULES,
    Sampler,
    sampler,
    sampler_names,
    schedule_names,
    table,
)

A1111_SAMPLERS = """DPM++ 2M|DPM++ SDE|DPM++ 2M SDE|DPM++ 2M SDE Heun|DPM++ 2S a|DPM++ 3M SDE|Euler a|Euler|LMS|Heun
DPM2|DPM2 a|DPM fast|DPM adaptive|Restart|DDIM|DDIM CFG++|PLMS|UniPC|LCM"""
A1111_SCHEDULES = """Uniform|Karras|Exponential|Polyexponential|SGM Uniform|KL Optimal|Align Your Steps|Simple|Normal
DDIM|Beta"""
COMFYUI_SAMPLERS = """euler euler_cfg_pp euler_ancestral euler_ancestral_cfg_pp heun heunpp2 exp_heun_2_x0
exp_heun_2_x0_sde dpm_2 dpm_2_ancestral lms dpm_fast dpm_adaptive dpmpp_2s_ancestral dpmpp_2s_ancestral_cfg_pp
dpmpp_sde dpmpp_sde_gpu dpmpp_2m dpmpp_2m_cfg_pp dpmpp_2m_sde dpmpp_2m_sde_gpu dpmpp_2m_sde_heun
dpmpp_2m_sde_heun_gpu dpmpp_3m_sde dpmpp_3m_sde_gpu ddpm lcm ipndm ipndm_v deis res_multistep res_multistep_cfg_pp
res_multistep_ancestral res_multistep_ancestral_cfg_pp gradient_estimation gradient_estimation_cfg_pp er_sde seeds_2
seeds_3 sa_solver sa_solver_pece ddim uni_pc uni_pc_bh2"""
COMFYUI_SCHEDULES = (
    "simple sgm_uniform karras exponential ddim_uniform beta normal linear_quadratic kl_optimal"
)


def labels(text: str) -> list[str]:
    return text.replace("\n", "|").split("|")


@pytest.mark.parametrize("name", [*labels(A1111_SAMPLERS), *COMFYUI_SAMPLERS.split()])
def test_every_sampler_is_known(name: str) -> None:
    found = sampler(name)
    assert found.solver is not None
    names = {found.solver.name, found.solver.a1111, *found.solver.aliases}
    assert name in names, "an exact name must not be taken for another"


@pytest.mark.parametrize("name", [*labels(A1111_SCHEDULES), *COMFYUI_SCHEDULES.split()])
def test_every_schedule_is_known(name: str) -> None:
    found = sampler("euler", name)
    each = next(each for each in SCHEDULES if each.name == found.schedule)
    assert name.casefold() in {alias.casefold() for alias in (each.name, each.a1111, *each.aliases)}


@pytest.mark.parametrize(
    ("name", "scheduler", "expected"),
    [
        ("DPM++ 2M Karras", None, ("dpmpp_2m", "karras")),
        ("dpm++ 2m karras", None, ("dpmpp_2m", "karras")),
        ("DPM++ 2M SDE Exponential", "karras", ("dpmpp_2m_sde", "exponential")),
        ("Euler a", "automatic", ("euler_ancestral", "normal")),
        ("k_euler_a", "Karras", ("euler_ancestral", "karras")),
        ("DPM++ 2M", "Automatic", ("dpmpp_2m", "karras")),
        ("DPM++ 3M SDE", None, ("dpmpp_3m_sde", "exponential")),
        ("EULER", "SGMUniform", ("euler", "sgm_uniform")),
        ("uni_pc", "simple", ("uni_pc", "simple")),
        (None, "karras", ("euler", "karras")),
    ],
)
def test_names_are_taken_as_the_originals_do(
    name: str | None, scheduler: str | None, expected: tuple[str, str]
) -> None:
    found = sampler(name, scheduler)
    assert found.solver is not None
    assert (found.solver.name, found.schedule) == expected


def test_no_name_is_the_models_own() -> None:
    assert sampler() == sampler("automatic", "automatic") == Sampler()


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("DPM++ 2N", "'DPM++ 2M'"), ("euler_ancestra", "'euler_ancestral'"), ("qqq", "known:")],
)
def test_an_unknown_sampler_names_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(InputError) as caught:
        sampler(name)
    assert caught.value.code == "sampler.unknown"
    assert nearest in caught.value.hint


def test_an_unknown_schedule_names_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        sampler("euler", "karas")
    assert caught.value.code == "scheduler.unknown"
    assert "karras" in caught.value.hint


def test_names_are_unique_and_listed_once() -> None:
    for names in (sampler_names(), sampler_names("a1111"), schedule_names(), schedule_names("a1111")):
        assert len(names) == len(set(names))
    every = [name for each in SAMPLERS for name in (each.name, *each.aliases)]
    assert len(every) == len(set(every))


def test_every_class_is_one_of_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    for each in SAMPLERS:
        for chosen in (each.solver, each.flow):
            if chosen is not None:
                name, values = chosen
                made = getattr(diffusers, name)(**values)
                assert set(values) <= set(made.config)


def test_the_page_lists_them_all() -> None:
    page = Path(__file__).parents[2] / "docs" / "samplers.md"
    assert table() in page.read_text(encoding="utf-8"), "python -m tests.diffusion.samplers_page writes it"
