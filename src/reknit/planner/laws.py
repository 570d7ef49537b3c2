"""The constants of the laws, each with where it comes from; and those fitted on this machine in their place.

Reads ``laws.toml`` and, if there is one, the user's own file that `reknit bench fit` writes. The laws themselves are
in `planner.memory` and `planner.speed`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A number of a law.

    Attributes
    ----------
    value : float
    unit : str
    basis : {'fit', 'counted', 'assumed', 'measured here'}
    note : str
    """

    value: float
    unit: str
    basis: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What runs on this machine taught of a family.

    Attributes
    ----------
    memory, time : float
        Of the predicted activations and of the predicted time, so much there really was.
    runs : int
        How many runs say so.
    """

    memory: float = 1.0
    time: float = 1.0
    runs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Laws:
    """Every constant, and how far predictions may be off.

    Attributes
    ----------
    constants : mapping of str to Constant
    unpack : mapping of str to (float, float)
        By format of weights: operations a Linear layer and bytes a parameter that unpacking it costs a call.
    memory, time : tuple of float
        Measured / predicted of published runs by constants set without their source: 5th and 95th percentile.
    learned : mapping of str to Learned
        By family, from runs on this machine.
    """

    constants: Mapping[str, Constant]
    unpack: Mapping[str, tuple[float, float]] = field(default_factory=lambda: MappingProxyType({}))
    memory: tuple[float, float] = (0.9, 1.1)
    time: tuple[float, float] = (0.7, 1.4)
    learned: Mapping[str, Learned] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, family: str) -> Learned:
        """Return what runs on this machine taught of a family."""
        return self.learned.get(family, _NOTHING)

    def __getitem__(self, name: str) -> float:
        """Return a constant's value."""
        return self.constants[name].value

    def __contains__(self, name: str) -> bool:
        return name in self.constants

    def having(self, values: Mapping[str, float], *, basis: str = "fit") -> Laws:
        """Return these laws with other values of some constants."""
        changed = {
            name: replace(self.constants[name], value=value, basis=basis) for name, value in values.items()
        }
        return replace(self, constants=MappingProxyType({**self.constants, **changed}))


_NOTHING = Learned()


@cache
def laws() -> Laws:
    """Return the laws that come with Reknit."""
    table = tomllib.loads(resources.files("reknit.planner").joinpath("laws.toml").read_text("utf-8"))
    return Laws(
        constants=MappingProxyType({name: Constant(**given) for name, given in table["constant"].items()}),
        unpack=MappingProxyType({name: (ops, size) for name, (ops, size) in table["unpack"].items()}),
        memory=tuple(table["interval"]["memory"]),
        time=tuple(table["interval"]["time"]),
    )
