"""Whole fills that run out of memory step down and finish: by injected failures, and under a real limit."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import reknit
from reknit.core.fit import SizeRule
from reknit.core.options import Option
from reknit.engines import registry
from reknit.engines.base import EngineSpec

SIDE = Option(name="side", kind="int", default=None, minimum=64, maximum=4096, help="the side")
DEVICE = Option(name="device", kind="choice", choices=("auto", "cpu"), default="auto", help="where")


class Hungry:
    """An engine whose session takes memory by its side, and cannot on its device."""

    def __init__(self, side: int = 512, device: str = "auto", log: list[str] | None = None) -> None:
        rule = SizeRule(multiple=8, max_px=side)
        self.spec = EngineSpec(name="hungry", title="", options=(SIDE, DEVICE), size_rule=rule, good_px=side)
        self.side, self.device, self.log = side, device, [] if log is None else log

    def configured(self, params, models):
        return Hungry(params["side"] or self.side, params["device"], self.log)

    def load(self, *, threads: int):
        self.log.append(f"load {self.device} {self.side}")
        return self

    def run(self, crop, params, seed, report):
        self.log.append(f"run {self.device} {self.side}")
        if self.device == "auto" or self.side > 256:
            raise MemoryError
        return np.zeros_like(crop.pixels)


def photo_and_mask() -> tuple[np.ndarray, np.ndarray]:
    photo = np.random.default_rng(0).integers(0, 255, (600, 700, 3), dtype=np.uint8)
    mask = np.zeros((600, 700), bool)
    mask[200:300, 200:300] = True
    return photo, mask


def test_a_fill_goes_on_with_less_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Hungry()
    get = registry.get
    monkeypatch.setattr(registry, "get", lambda name: engine if name == "hungry" else get(name))
    result = reknit.fill(*photo_and_mask(), engine="hungry")
    assert engine.log == [
        "load auto 512",
        "run auto 512",
        "load cpu 512",
        "run cpu 512",
        "load cpu 256",
        "run cpu 256",
    ]
    said = [note for note in result.notes if "went on with" in note]
    assert len(said) == 2
    assert "the processor" in said[0] and "256 px" in said[1]
    assert result.report.outside_equal
    assert result.peak_bytes is not None and result.peak_bytes > 10 << 20
    assert result.to_dict()["plan"]["predicted_peak_bytes"] > 0


UNDER_A_LIMIT = """
import resource
import numpy as np
import reknit
from reknit.engines import registry
from tests.pipeline.test_attempts import Hungry, photo_and_mask

class Real(Hungry):
    def configured(self, params, models):
        return Real(params["side"] or self.side, params["device"], self.log)

    def run(self, crop, params, seed, report):
        self.log.append(f"{self.side}")
        held = np.ones((self.side, self.side, 4096), np.uint8)  # 1 GiB at 512, 256 MiB at 256
        return np.full_like(crop.pixels, held[0, 0, 0])

engine = Real(device="cpu")
get = registry.get
registry.get = lambda name: engine if name == "hungry" else get(name)
photo, mask = photo_and_mask()
reknit.fill(photo, mask, engine="exemplar", threads=1)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (600 << 20), -1))
result = reknit.fill(photo, mask, engine="hungry", params={"device": "cpu"}, threads=1)
print(engine.log, [note for note in result.notes if "went on" in note])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS")
def test_a_real_limit_of_the_process_is_survived() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", UNDER_A_LIMIT], cwd=root, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "'512'" in done.stdout and "'256'" in done.stdout
    assert "went on with crops of 256 px" in done.stdout
