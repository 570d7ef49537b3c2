"""Timing takes turns, children are measured alone, and a busy neighbour leaves no process behind."""

import os
import sys
import time

import pytest

from bench import clock


def test_interleaved_runs_take_turns():
    order = []
    works = {name: (lambda name=name: order.append(name)) for name in "abc"}
    seconds = clock.interleaved(works, 2)
    assert "".join(order) == "abcbca"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2, "c": 2}


def test_ratio_is_the_median_of_the_rounds():
    assert clock.ratio({"slow": [2.0, 6.0, 90.0], "fast": [1.0, 2.0, 3.0]}, "slow", "fast") == 3.0


def test_a_childs_memory_is_its_own():
    small = clock.child([sys.executable, "-c", "print('hello')"])
    large = clock.child([sys.executable, "-c", "b = bytes(10**8); x = bytearray(b); print(len(x))"])
    assert small.output == "hello"
    assert large.peak_bytes > small.peak_bytes + 80e6
    assert small.cpu_s > 0
    assert 0 < small.wall_s < 60


def test_a_failing_child_is_an_error_with_its_words():
    with pytest.raises(RuntimeError, match="no such luck"):
        clock.child([sys.executable, "-c", "raise SystemExit('no such luck')"])


def test_a_busy_neighbour_goes_away():
    with clock.busy_neighbour(1):
        before = os.times()
        time.sleep(0.2)
    after = os.times()
    assert after.children_user > before.children_user


def test_the_machine_is_described():
    assert {"cpu", "cpus", "python", "date"} <= set(clock.machine())
