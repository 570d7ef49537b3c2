"""The ways in which PyTorch can run a network on a CPU, and the trial that chooses among them.

Channels last and bfloat16 are quicker on some processors for some networks and slower for others, and bfloat16
rounds. So each way that the processor has is tried once on a true input: one that is quicker than the plain way,
here and now, and whose picture nobody could tell from the plain one's, is used from then on. What was found is
remembered in a file, so that later processes neither try again nor decide otherwise. It knows no contract and no file
of a network.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import EngineFailed

_LOG = logging.getLogger(__name__)

QUICKER = 0.9
"""A way must take at most this much of the plain way's time: less would be noise."""

LEAST_PX = 200_000
"""Smaller pictures are always run the plain way: they cost little, and their times would say nothing."""

MEAN_STEP, MOST_STEP = 0.5, 3.0
"""How far, of 255 steps, a picture may differ from the plain one: in the mean, and in all but a thousandth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to run a network.

    Attributes
    ----------
    name : str
    channels_last : bool
        Pictures and weights lie pixel by pixel in memory.
    bf16 : bool
        Under autocast to bfloat16; what needs more precision (Fourier transforms) stays in float32.
    """

    name: str
    channels_last: bool = False
    bf16: bool = False


PLAIN = Way(name="plain")
CHANNELS_LAST = Way(name="channels-last", channels_last=True)
BF16 = Way(name="bf16", channels_last=True, bf16=True)


def ways(capabilities: Mapping[str, Any]) -> tuple[Way, ...]:
    """Return the ways worth a trial on a processor, the plain one first.

    Parameters
    ----------
    capabilities : mapping
        As ``torch.cpu.get_capabilities()`` gives them.
    """
    return (PLAIN, CHANNELS_LAST, BF16) if has_bf16(capabilities) else (PLAIN, CHANNELS_LAST)


def has_bf16(capabilities: Mapping[str, Any]) -> bool:
    """Return whether a processor multiplies matrices of bfloat16 itself; one that does not is slower with it."""
    return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16", "arm_bf16", "bf16"))


def chosen(
    run: Callable[[Way], NDArray[Any]],
    tried: Sequence[Way],
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Way, NDArray[Any], str]:
    """Return the quickest way that is not visibly different from the first, its picture, and why.

    Parameters
    ----------
    run : callable
        Runs the network in a way. Called twice for each: the first time PyTorch prepares.
    tried : sequence of Way
        The plain one first.
    clock : callable
        Seconds.
    """

    def timed(way: Way) -> tuple[NDArray[Any], float]:
        picture = run(way)
        start = clock()
        run(way)
        return picture, clock() - start

    plain, plain_s = timed(tried[0])
    best, made, least = tried[0], plain, QUICKER * plain_s
    said: list[str] = []
    for way in tried[1:]:
        try:
            picture, seconds = timed(way)
        except (EngineFailed, MemoryError):  # an operator that has no such form, or a copy too many
            said.append(f"{way.name} cannot be run")
            continue
        mean, most = difference(plain, picture)
        said.append(f"{way.name} {seconds / plain_s:.2f} of its time, {mean:.2f} of 255 off")
        if mean <= MEAN_STEP and most <= MOST_STEP and seconds <= least:
            best, made, least = way, picture, seconds
    return best, made, f"{best.name}; against plain: {', '.join(said) or 'nothing else to try'}"


def difference(one: NDArray[Any], other: NDArray[Any]) -> tuple[float, float]:
    """Return how far two pictures are apart in steps of 255: the mean, and what a thousandth exceeds."""
    top = float(np.abs(one).max(initial=0.0))
    steps = np.abs(one.astype(np.float32) - other.astype(np.float32)) * (1.0 if top > 2.0 else 255.0)
    if not np.isfinite(steps).all():
        return np.inf, np.inf
    return float(steps.mean()), float(np.quantile(steps, 0.999))


def recalled(notebook: Path | None, key: str, tried: Sequence[Way]) -> Way | None:
    """Return the way that was found best before, or None; a notebook that cannot be read is an empty one."""
    name = _notes(notebook).get(key)
    return next((way for way in tried if way.name == name), None)


def remember(notebook: Path | None, key: str, way: Way) -> None:
    """Write down which way is best; a notebook that cannot be written is done without."""
    if notebook is None:
        return
    notes = _notes(notebook) | {key: way.name}
    beside = notebook.with_name(f"{notebook.name}.part")
    try:
        notebook.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(notes, indent=1, sort_keys=True), encoding="utf-8")
        beside.replace(notebook)
    except OSError as error:
        _LOG.info("%s cannot be written: %s", notebook, error)


def _notes(notebook: Path | None) -> dict[str, Any]:
    if notebook is None:
        return {}
    try:
        notes = json.loads(notebook.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}  # pyright: ignore[reportUnknownVariableType]
