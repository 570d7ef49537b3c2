"""Fills that were really done on this machine: what was measured, kept so that `reknit bench fit` can learn from it.

One line of JSON for each run, the newest last, in the models' folder. From the last few of a device and a family come
two factors: what activations really take, and how long a picture really takes, of what the laws say. Weights are not
corrected: they are exact. It measures nothing itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from reknit.core.errors import ReknitError
from reknit.core.files import write_bytes
from reknit.planner import memory, speed
from reknit.planner.facts import families
from reknit.planner.hardware import Device
from reknit.planner.laws import Laws
from reknit.planner.memory import Setup

NAME = "runs.jsonl"
"""The file, in the models' folder."""

LAST = 5
"""So many of the newest runs of a device and a family count; of their factors the middle one is taken."""

MOST = 400
"""The newest lines, which are kept when a file grew long."""

_MOST_BYTES = 1 << 20
_RANGE = (0.2, 5.0)  # factors beyond are of a run that was something else than it says
_LAYOUT = (
    "width",
    "height",
    "images",
    "dtype",
    "weights",
    "text",
    "vae",
    "offload",
    "tiled",
    "sliced",
    "backend",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run, as measured.

    Attributes
    ----------
    device, family : str
    layout : mapping
        Fields of `planner.memory.Setup`.
    stored : mapping of str to int
        Bytes of weights that were known better than by format.
    steps : int
        Calls of the denoiser's step that were made.
    peak_bytes : int or None
        Of the device as PyTorch held it; of the process where that is the processor. None if something else was
        loaded meanwhile.
    seconds : float
        Without loading.
    version : str
        Of PyTorch.
    """

    device: str
    family: str
    layout: Mapping[str, Any]
    stored: Mapping[str, int]
    steps: int
    peak_bytes: int | None
    seconds: float
    version: str = ""

    @property
    def setup(self) -> Setup:
        """What was run."""
        return Setup(family=families()[self.family], **self.layout, stored=self.stored)


def layout_of(setup: Setup) -> dict[str, Any]:
    """Return the fields that tell how a setup is laid out."""
    return {name: getattr(setup, name) for name in _LAYOUT}


def append(path: Path, run: Run) -> None:
    """Keep a run, of a file that grew long the newest only; a folder that cannot be written is done without."""
    with suppress(OSError, ReknitError):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > _MOST_BYTES:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-MOST:]
            write_bytes(path, ("\n".join(lines) + "\n").encode())
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(run)) + "\n")


def read(path: Path) -> list[Run]:
    """Return the runs that were kept, the newest last; lines that cannot be understood are left out."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-MOST:]
    except OSError:
        return []
    names = {each.name for each in fields(Run)}
    found: list[Run] = []
    for line in lines:
        with suppress(ValueError, TypeError, KeyError, AttributeError):
            given = json.loads(line)
            run = Run(**{name: value for name, value in given.items() if name in names})
            if run.family in families() and run.setup.area > 0 and run.seconds > 0:
                found.append(run)
    return found


def factors(runs: Sequence[Run], device: Device, laws: Laws) -> dict[str, tuple[float, float, int]]:
    """Return, by family, how much of the predicted activations and of the predicted time there really were.

    The third number is how many runs say so. ``laws`` are those without such factors; families that no run on
    ``device`` is known of are left out.
    """
    found: dict[str, tuple[float, float, int]] = {}
    for family in dict.fromkeys(run.family for run in runs):
        own = [run for run in runs if run.family == family and run.device == device.name][-LAST:]
        if own:
            peaks = [each for run in own if (each := _of_memory(run, laws)) is not None]
            times = [_of_time(run, device, laws) for run in own]
            found[family] = (_middle(peaks), _middle(times), len(own))
    return found


def _of_memory(run: Run, laws: Laws) -> float | None:
    """Return measured / predicted of what a run took beyond weights, libraries and driver."""
    if run.peak_bytes is None:
        return None
    said = memory.predict(run.setup, laws)
    fixed = sum(said.weights.values()) + (said.context if run.setup.backend == "cpu" else 0.0)
    rest = said.activations + said.held
    return _within((run.peak_bytes - fixed) / rest) if rest > 0 else None


def _of_time(run: Run, device: Device, laws: Laws) -> float:
    return _within(run.seconds / speed.predict(run.setup, device, laws, steps=run.steps).image)


def _within(factor: float) -> float:
    return min(max(factor, _RANGE[0]), _RANGE[1])


def _middle(values: Sequence[float]) -> float:
    ordered = sorted(values)
    if not ordered:
        return 1.0
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
