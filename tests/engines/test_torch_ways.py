"""Which way a network is run: only quicker ones that nobody could tell from the plain one. Needs no PyTorch."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reknit.core.errors import EngineFailed
from reknit.engines.torch_ways import BF16, CHANNELS_LAST, PLAIN, Way, chosen, recalled, remember, ways

ALL = (PLAIN, CHANNELS_LAST, BF16)


@pytest.mark.parametrize("name", ["amx_bf16", "avx512_bf16", "arm_bf16", ""])
def test_bfloat16_is_tried_where_the_processor_has_it(name: str) -> None:
    assert ways({"avx2": True, name: True}) == (ALL if name else ALL[:2])


class Machine:
    """Runs pictures at known speeds, with known errors."""

    def __init__(self, seconds: Mapping[Way, float], off: Mapping[Way, float], top: float = 1.0) -> None:
        self.seconds, self.off, self.top, self.now = seconds, off, top, 0.0

    def run(self, way: Way) -> NDArray[np.float32]:
        self.now += self.seconds[way]
        picture = np.linspace(0, self.top, 3 * 64 * 64, dtype=np.float32).reshape(1, 3, 64, 64)
        return picture + np.float32(self.off.get(way, 0) * self.top / 255)


@pytest.mark.parametrize("top", [1.0, 255.0], ids=["0..1", "0..255"])
@pytest.mark.parametrize(
    ("channels_last", "bf16", "off", "best"),
    [
        (0.8, 0.5, 0.2, BF16),
        (0.8, 0.5, 4.0, CHANNELS_LAST),  # visibly different
        (0.8, 0.5, float("nan"), CHANNELS_LAST),
        (0.5, 0.8, 0.2, CHANNELS_LAST),
        (1.2, 1.5, 0.2, PLAIN),
        (0.97, 0.97, 0.2, PLAIN),  # as good as the same
        (0.97, 0.5, 4.0, PLAIN),
    ],
)
def test_the_quickest_way_that_looks_the_same_is_chosen(
    channels_last: float, bf16: float, off: float, best: Way, top: float
) -> None:
    machine = Machine({PLAIN: 1.0, CHANNELS_LAST: channels_last, BF16: bf16}, {BF16: off}, top)
    way, picture, why = chosen(machine.run, ALL, clock=lambda: machine.now)
    assert way == best
    assert why.startswith(f"{best.name}; against plain: channels-last {channels_last:.2f}")
    assert np.array_equal(picture, machine.run(best))


def test_a_way_that_cannot_be_run_is_left_out() -> None:
    machine = Machine(dict.fromkeys(ALL, 1.0) | {CHANNELS_LAST: 0.5}, {})

    def run(way: Way) -> NDArray[np.float32]:
        if way == BF16:
            raise EngineFailed("no such operator", code="engine.torchscript", hint="none")
        return machine.run(way)

    way, _, why = chosen(run, ALL, clock=lambda: machine.now)
    assert way == CHANNELS_LAST
    assert why.endswith("bf16 cannot be run")


def test_what_was_found_is_remembered_by_key(tmp_path: Path) -> None:
    notebook = tmp_path / "models" / "ways.json"
    assert recalled(notebook, "a", ALL) is None
    remember(notebook, "a", BF16)
    remember(notebook, "b", PLAIN)
    assert recalled(notebook, "a", ALL) == BF16
    assert recalled(notebook, "b", ALL) == PLAIN
    assert recalled(notebook, "a", ALL[:2]) is None, "the processor has it no more"
    assert [path.name for path in notebook.parent.iterdir()] == ["ways.json"]
    remember(None, "a", BF16)
    assert recalled(None, "a", ALL) is None


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff"])
def test_a_broken_notebook_is_an_empty_one(content: bytes, tmp_path: Path) -> None:
    notebook = tmp_path / "ways.json"
    notebook.write_bytes(content)
    assert recalled(notebook, "a", ALL) is None
    remember(notebook, "a", BF16)
    assert recalled(notebook, "a", ALL) == BF16


def test_a_notebook_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    remember(tmp_path / "file" / "ways.json", "a", BF16)
    assert recalled(tmp_path / "file" / "ways.json", "a", ALL) is None
