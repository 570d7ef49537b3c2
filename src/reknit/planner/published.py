"""Published measurements, and what the laws say of the same runs.

Reads ``published.toml``. A row was either used to set a constant (it names it) or held out; both are compared. Nothing
here changes a constant; `planner.fit` does.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from reknit.planner import hardware, memory, speed, tiers
from reknit.planner.facts import GIB, components, families
from reknit.planner.hardware import Device
from reknit.planner.laws import Laws
from reknit.planner.memory import Setup

MEMORY = ("alloc", "reserved", "total")
TIME = ("step", "image")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A published run.

    Attributes
    ----------
    id : int
    title : str
    setup : Setup
    device : Device or None
    part : {'pipeline', 'denoiser', 'decode', 'encode', 'text'}
    metric : {'alloc', 'reserved', 'total', 'ram', 'step', 'image', 'oom'}
    value : float
        GiB or seconds; 0 for ``oom``.
    steps : int or None
    grade : {'A', 'B', 'C'}
    fit : str
        The constant it was used to set; empty for a row that is held out.
    source : str
    """

    id: int
    title: str
    setup: Setup
    device: Device | None
    part: str
    metric: str
    value: float
    steps: int | None
    grade: str
    fit: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unused:
    """A published figure that is not compared, and why."""

    id: int
    title: str
    why: str
    source: str


@cache
def rows() -> tuple[Row, ...]:
    """Return every row that is compared."""
    return tuple(_row(given) for given in _table()["row"])


@cache
def unused() -> tuple[Unused, ...]:
    """Return what was found and is not compared."""
    return tuple(Unused(**given) for given in _table()["unused"])


def predicted(row: Row, laws: Laws) -> float:
    """Return what the laws say of a row, in its unit; for ``oom`` the GiB it would need."""
    setup = row.setup
    if row.metric == "step":
        assert row.device is not None
        return speed.calling(setup, row.device, laws)[0]
    if row.metric == "image":
        assert row.device is not None
        return speed.predict(setup, row.device, laws, steps=row.steps).image
    if row.part == "decode":
        return sum(memory.decoding(setup, laws)) / GIB
    if row.part == "encode":
        return memory.encoding_reserved(setup, laws) / GIB
    if row.part == "text":
        return max(part.bytes(setup.dtype) for part in setup.family.text) / GIB
    if row.part == "denoiser":
        live = memory.denoising(setup, laws)
        if setup.offload == "group":
            return live / GIB + laws["streamed"]
        return (setup.weight_bytes()[setup.family.denoiser.name] + live) / GIB
    found = memory.predict(setup, laws)
    by_metric = {"alloc": found.allocated, "reserved": found.reserved, "ram": found.ram}
    return by_metric.get(row.metric, found.total) / GIB


def room(row: Row, laws: Laws) -> float:
    """Return the GiB that the planner would let a run take on the row's device."""
    assert row.device is not None
    return tiers.of_name(row.device, laws).device / GIB


def _row(given: dict[str, Any]) -> Row:
    plain = dict(given)
    family = families()[plain.pop("family")]
    if "denoiser" in plain:
        family = replace(family, denoiser=components()[plain.pop("denoiser")])
    width, height = plain.pop("size")
    device = hardware.devices()[plain.pop("device")] if "device" in plain else None
    if "memory" in plain and device is not None:
        device = replace(device, memory_gib=plain.pop("memory"))
    extra = (components()["safety-checker"],) if plain.pop("safety", False) else ()
    names = ("images", "calls", "dtype", "weights", "text", "vae", "offload", "sliced", "tiled")
    setup = Setup(
        family=family,
        width=width,
        height=height,
        backend="cuda" if device is None else device.backend,
        extra=extra,
        **{name: plain.pop(name) for name in names if name in plain},
    )
    return Row(
        setup=setup,
        device=device,
        part=plain.pop("part", "pipeline"),
        value=plain.pop("value", 0.0),
        steps=plain.pop("steps", None),
        fit=plain.pop("fit", ""),
        **plain,
    )


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(resources.files("reknit.planner").joinpath("published.toml").read_text("utf-8"))
