"""What fills on this machine took is kept, and the next verdict goes by it."""

from dataclasses import replace
from pathlib import Path

import pytest

from reknit.models import catalog
from reknit.planner import facts, hardware, local, memory, runs, speed, verdict
from reknit.planner.facts import GIB, families
from reknit.planner.laws import laws
from reknit.planner.local import Fitted
from reknit.planner.memory import Setup
from reknit.planner.runs import Run

CARD = hardware.find("RTX 3060 12GB")


def run(
    *, memory_factor: float = 1.0, time_factor: float = 1.0, family: str = "sdxl", side: int = 1024
) -> Run:
    """Return a run that took so much of what is predicted."""
    setup = Setup(family=families()[family], width=side, height=side, tiled=True)
    said = memory.predict(setup, laws())
    fixed = sum(said.weights.values())
    return Run(
        device=CARD.name,
        family=family,
        layout=runs.layout_of(setup),
        stored={},
        steps=12,
        peak_bytes=round(fixed + memory_factor * (said.activations + said.held)),
        seconds=time_factor * speed.predict(setup, CARD, laws(), steps=12).image,
        version="2.13",
    )


def test_runs_come_back_as_they_were_and_spoilt_lines_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "models" / runs.NAME
    assert runs.read(path) == []
    first, second = run(), run(family="sd15", side=512)
    runs.append(path, first)
    with path.open("a") as file:
        file.write('{"family": "sdxl"\n[]\n{"family": "unheard-of"}\n')
    runs.append(path, second)
    assert runs.read(path) == [first, second]


def test_a_long_file_keeps_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_MOST_BYTES", 4000)
    monkeypatch.setattr(runs, "MOST", 5)
    path = tmp_path / runs.NAME
    for i in range(30):
        runs.append(path, replace(run(), steps=i + 1))
    assert path.stat().st_size < 6000
    assert [each.steps for each in runs.read(path)] == [26, 27, 28, 29, 30]


def test_the_middle_of_the_last_runs_counts_and_other_devices_do_not() -> None:
    done = [run(memory_factor=9, time_factor=9) for _ in range(3)]
    done += [run(memory_factor=f, time_factor=2 * f) for f in (0.5, 1.5, 1.2, 0.6, 0.7)]
    done += [replace(run(memory_factor=5), device="another")]
    found = runs.factors(done, CARD, laws())
    assert found["sdxl"] == (pytest.approx(0.7, rel=1e-3), pytest.approx(1.4, rel=1e-3), 5)
    assert runs.factors(done, hardware.find("RTX 4090"), laws()) == {}


def test_the_next_verdict_goes_by_what_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "planner.toml"
    subject = facts.subject(catalog.find("sdxl"))
    assert subject is not None
    before = verdict.check(subject, CARD, width=1024)
    local.write(
        path,
        local.learnt(Fitted(device=CARD.name, constants={}), [run(memory_factor=0.5, time_factor=2)], CARD),
    )
    known = local.applied(laws(), CARD, path)
    assert known.of("sdxl").runs == 1
    after = verdict.check(subject, CARD, width=1024, constants=known)
    setup = before.plan.tier.setup
    weights = sum(before.plan.memory.weights.values())
    rest = before.plan.memory.activations + before.plan.memory.held
    expected = weights + 0.5 * rest + before.plan.memory.context
    assert memory.predict(setup, known).total / GIB == pytest.approx(expected / GIB, rel=1e-3)
    took = speed.predict(setup, CARD, known).image
    assert took == pytest.approx(2 * before.plan.times.image, rel=1e-3)
    assert before.plan.tier.name == "tiled"
    assert after.plan.tier.name == "resident", "with less to hold, nothing has to be given up"
    assert any("corrected by 1 fill on this machine" in note for note in after.notes)
    other = facts.subject(catalog.find("sd15"))
    assert other is not None
    assert verdict.check(other, CARD, constants=known).plan == verdict.check(other, CARD).plan


def test_a_run_that_is_no_such_thing_moves_little() -> None:
    found = runs.factors([run(memory_factor=1000, time_factor=1e-6)], CARD, laws())
    assert found["sdxl"] == (5.0, 0.2, 1)
