"""What has to hold of the laws whatever their constants: more of anything never takes less."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reknit.models import catalog
from reknit.planner import facts, hardware, memory, speed, tiers, verdict
from reknit.planner.facts import BYTES, GIB, families
from reknit.planner.laws import laws
from reknit.planner.memory import Setup
from reknit.planner.tiers import Budget

LATENT = [family for family in families().values() if family.latent]
sides = st.integers(min_value=4, max_value=40).map(lambda n: n * 64)


def setups() -> st.SearchStrategy[Setup]:
    return st.builds(
        Setup,
        family=st.sampled_from(LATENT),
        width=sides,
        height=sides,
        images=st.integers(1, 4),
        dtype=st.sampled_from(("half", "fp32")),
        offload=st.sampled_from(("none", "model", "group", "sequential")),
        tiled=st.booleans(),
        sliced=st.booleans(),
        weights=st.sampled_from((None, *BYTES)),
        backend=st.sampled_from(("cuda", "rocm", "mps", "cpu")),
    )


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(setups())
def test_memory_grows_with_size_and_pictures_and_never_with_thrift(setup: Setup) -> None:
    def peak(changed: Setup) -> float:
        return memory.predict(changed, laws()).total

    held = peak(setup)
    assert held > 0
    assert peak(replace(setup, width=setup.width + 64)) >= held
    assert peak(replace(setup, images=setup.images + 1)) >= held
    assert peak(replace(setup, sliced=True)) <= held
    assert peak(replace(setup, dtype="half")) <= held + 1
    if setup.tiled is False:
        assert peak(replace(setup, tiled=True)) <= held * 1.001
    thrift = [peak(replace(setup, offload=offload)) for offload in ("none", "model", "sequential")]
    assert thrift == sorted(thrift, reverse=True)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(setups(), st.sampled_from(list(hardware.devices().values())))
def test_time_grows_with_size_and_offloading(setup: Setup, device: hardware.Device) -> None:
    def took(changed: Setup) -> float:
        return speed.predict(changed, device, laws()).image

    assert took(setup) > 0
    assert took(replace(setup, width=setup.width + 64)) >= took(setup)
    assert took(replace(setup, offload="none")) <= took(replace(setup, offload="model"))
    assert took(replace(setup, offload="group")) <= took(replace(setup, offload="sequential")) * 1.0001


def test_a_ladder_goes_from_nothing_given_up_to_a_smaller_size() -> None:
    subject = facts.subject(catalog.find("flux-fill"))
    assert subject is not None
    card = hardware.find("RTX 3060 12GB")
    names = [tier.name for tier in tiers.ladder(subject, card, width=1024, height=1024)]
    assert names[:9] == [
        "resident",
        "tiled",
        "model",
        "group",
        "sequential",
        "fp8",
        "fp8-model",
        "nf4",
        "nf4-model",
    ]
    assert all(name.startswith("smaller") for name in names[9:])
    on_a_mac = [tier.name for tier in tiers.ladder(subject, hardware.find("m2 pro"), width=1024, height=1024)]
    assert on_a_mac == ["resident", "tiled", "smaller", "smaller", "smaller"], (
        "there is nowhere to offload to"
    )


def test_main_memory_decides_between_streaming_and_fewer_bits() -> None:
    subject = facts.subject(catalog.find("flux-fill"))
    assert subject is not None
    card = hardware.find("RTX 3060 12GB")
    rich, poor, none = (
        verdict.check(subject, card, budget=Budget(device=11 * GIB, ram=ram * GIB)) for ram in (64, 24, 8)
    )
    assert rich.plan.tier.name == "group"
    assert poor.plan.tier.name == "nf4-model"
    assert poor.plan.tier.quantise == "nf4"
    assert none.answer == "no"
    assert any("main memory" in line for line in none.changes)


def test_a_full_disk_is_a_no_that_says_how_much_to_free() -> None:
    subject = facts.subject(catalog.find("sdxl"))
    assert subject is not None
    card = hardware.find("RTX 4090")
    found = verdict.check(subject, card, budget=Budget(device=22 * GIB, ram=32 * GIB, disk=2e9))
    assert found.answer == "no"
    assert found.changes[0].startswith("free 4.")


def test_ggufs_are_known_by_their_files_names_and_sizes() -> None:
    small = facts.subject(catalog.find("flux-fill-q4"))
    assert small is not None
    assert (small.weights, small.text) == ("q4_k", "q5_k")
    assert small.stored == {"flux-fill-dit": 6809920800}
    assert facts.subject(replace(catalog.find("sdxl"), family="unheard-of")) is None


def test_cards_without_16_bits_are_planned_in_fp32() -> None:
    subject = facts.subject(catalog.find("sd15"))
    assert subject is not None
    found = verdict.check(subject, hardware.find("GTX 1660 Super"))
    assert found.plan.tier.setup.dtype == "fp32"
    assert any("fp32" in note for note in found.notes)


@pytest.mark.parametrize("name", ["lama", "migan", "mat"])
def test_erasers_run_on_a_processor_and_on_the_smallest_card(name: str) -> None:
    subject = facts.subject(catalog.find(name))
    assert subject is not None
    assert verdict.check(subject, hardware.find("GTX 1650")).answer == "yes"


def test_the_next_tier_after_a_failure_takes_clearly_less() -> None:
    subject = facts.subject(catalog.find("sdxl"))
    assert subject is not None
    every = tiers.options(subject, hardware.find("RTX 3060 12GB"), laws(), width=1024, height=1024)
    walked = [every[0]]
    while (following := tiers.after(every, walked[-1])) is not None:
        assert following.memory.total <= 0.9 * walked[-1].memory.total
        walked.append(following)
    assert [option.tier.name for option in walked[:4]] == ["resident", "tiled", "model", "group"]
