"""What a fill by a planned engine took, beside what was predicted: told to people, and kept for the planner.

Only what can be compared is kept: one picture, one region, one pass, no step down. It measures nothing itself and
changes nothing of the fill.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from reknit.core.request import FillRequest
from reknit.pipeline.recover import Way

_GIB = 2**30


def told(way: Way, peak_bytes: int | None) -> tuple[str, ...]:
    """Return a note with what was predicted and what was measured; nothing where nothing was predicted."""
    if not way.need or peak_bytes is None:
        return ()
    return (f"memory: {peak_bytes / _GIB:.2f} GiB at most, {way.need / _GIB:.2f} GiB were predicted",)


def keep(
    folder: Path,
    way: Way,
    request: FillRequest,
    params: Mapping[str, Any],
    facts: Mapping[str, Any],
    *,
    regions: int,
    peak_bytes: int | None,
    seconds: float,
) -> None:
    """Keep what a fill took, if it can be compared with what the planner says.

    Parameters
    ----------
    folder
        Of the models.
    way
        How the engine was laid out.
    request, params, facts
        What was asked for, the engine's options, and what its session told.
    regions
        Pieces of work.
    peak_bytes
        Of the device, or of the process; None if it was not the run's own.
    seconds
        Of the engine, without loading.
    """
    size = facts.get("working_size")
    plain = request.count == 1 and regions == 1 and not params.get("refine")
    if way.basis is None or not size or not plain:
        return
    from reknit.planner import runs

    device, setup = way.basis
    steps = max(1, int(params["steps"] * min(1.0, params["strength"])))
    setup = replace(setup, width=int(size[0]), height=int(size[1]))
    runs.append(
        folder / runs.NAME,
        runs.Run(
            device=device.name,
            family=setup.family.name,
            layout=runs.layout_of(setup),
            stored=dict(setup.stored),
            steps=steps,
            peak_bytes=peak_bytes,
            seconds=round(seconds, 4),
            version=_torch(),
        ),
    )


def _torch() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("torch")
    except PackageNotFoundError:
        return ""
