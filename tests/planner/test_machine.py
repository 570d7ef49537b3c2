"""This machine: what drivers and the kernel say is understood, and what they do not say breaks nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from reknit.core import system
from reknit.planner import ask, machine
from reknit.planner.facts import GIB


def say(answers: dict[str, str]):
    return lambda *command: answers.get(command[0], "")


def test_this_machine_has_memory_and_a_device() -> None:
    found = machine.here(threads=2)
    assert 0 < found.ram <= found.ram_total
    assert found.free > 0
    assert found.device.fp32 > 0


def test_the_card_with_most_free_memory_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "NVIDIA GeForce RTX 3060, 12288, 3000\nNVIDIA GeForce RTX 4090, 24564, 20000\n"
    monkeypatch.setattr(machine, "say", say({"nvidia-smi": lines}))
    found = machine.here(threads=2)
    assert found.device.name == "RTX 4090"
    assert found.free == 20000 * 2**20, "what other programs use is counted"
    assert found.device.memory_gib == pytest.approx(23.99, abs=0.01)


def test_a_card_that_is_not_in_the_list_is_planned_by_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "say", say({"nvidia-smi": "NVIDIA Unheard 9000, 16384, 16000\n"}))
    found = machine.here(threads=2)
    assert "not in the list" in found.device.name
    assert found.device.memory_gib == 16


def test_a_broken_driver_leaves_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "say", say({"nvidia-smi": "NVIDIA-SMI has failed, because\n, ,\n"}))
    assert machine.here(threads=2).device.kind == "cpu"


@pytest.mark.parametrize("version", [1, 2])
def test_limits_of_control_groups_count(version: int, tmp_path: Path) -> None:
    folder = tmp_path / "slice" / "box" if version == 2 else tmp_path / "memory" / "box"
    folder.mkdir(parents=True)
    most, used = (
        ("memory.max", "memory.current")
        if version == 2
        else (
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
        )
    )
    (folder / most).write_text("4000000000\n")
    (folder / used).write_text("1500000000\n")
    (folder / "memory.stat").write_text("anon 5\ninactive_file 500000000\n")
    line = "0::/slice/box\n" if version == 2 else "9:memory:/box\n"
    assert system._group_limits(line, tmp_path) == [(4e9, 1e9)]


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS")
def test_a_limit_of_the_process_counts() -> None:
    code = (
        "import resource; from reknit.core.system import free_ram; before = free_ram()[0];"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, -1)); print(before, free_ram()[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    assert 0 < after < 2 << 30
    assert before > 0


def test_places_are_made_of_names_memory_or_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    named = ask.place("RTX 3060 12GB", ram=32)
    assert not named.measured
    assert named.budget.ram == 32 * GIB
    assert 11 * GIB < named.budget.device < 11.5 * GIB, "the screen needs some of it"
    assert ask.place(vram=6).device.memory_gib == 6
    assert ask.place("A100 40GB").budget.device > 39 * GIB, "no screen hangs on it"
    monkeypatch.setattr(machine, "say", say({}))
    assert ask.place(threads=2).device.kind == "cpu"
    assert ask.place("cpu", threads=2).measured
