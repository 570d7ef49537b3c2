"""Set constants on measurements: least squares of log(predicted / measured), one at a time.

`refit` sets those of ``laws.toml`` on the published rows that name them (a test holds the file to it). `out_of_fold`
predicts every row by constants that were set without its source, and `interval` says how far the rows lie from those
predictions: that is what an interval beside a prediction promises. Pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

from reknit.planner.laws import Laws
from reknit.planner.published import MEMORY, TIME, Row, predicted

_REACH = log(4.0)  # how far from its present value a constant is looked for, either way
FOLDS = 10
"""Parts that published rows are taken in, each predicted by the others."""

_WEIGHT = {"A": 1.0, "B": 0.5, "C": 0.25}  # of a row, by how far its report can be trusted
_ALIKE = dict.fromkeys(_WEIGHT, 1.0)  # rows that were chosen by hand to set a constant
_HINGE = 0.01  # how much a prediction changes with a tenth of a constant that it hinges on
_LIKE = {"conv.lama": "conv.fp32", "encode.reserved": "decode.reserved"}
_SWEEPS = 3
_COARSE = 22  # halves the reach to a ten-thousandth
_GOLDEN = 0.6180339887498949


def refit(laws: Laws, rows: Sequence[Row]) -> Laws:
    """Return ``laws`` with every constant of basis ``fit`` set on its rows, in the file's order."""
    for name, constant in laws.constants.items():
        own = [row for row in rows if row.fit == name]
        if constant.basis == "fit" and own:
            laws = laws.having({name: _best(name, laws, own, weights=_ALIKE)})
    return laws


@dataclass(frozen=True, slots=True, kw_only=True)
class Blind:
    """A row with what the laws say of it by constants that were set without its source.

    Attributes
    ----------
    row : Row
    predicted : float
    unset : tuple of str
        Constants that it hinges on and that nothing outside of its fold sets: a neutral value stood for them.
    """

    row: Row
    predicted: float
    unset: tuple[str, ...]


def folds(rows: Sequence[Row], count: int = FOLDS) -> list[list[Row]]:
    """Return the rows in ``count`` parts of about one size; rows of one source are never parted."""
    by_source: dict[str, list[Row]] = {}
    for row in rows:
        by_source.setdefault(_publication(row.source), []).append(row)
    parts: list[list[Row]] = [[] for _ in range(count)]
    for group in sorted(by_source.values(), key=lambda group: (-len(group), group[0].id)):
        min(parts, key=len).extend(group)
    return parts


def out_of_fold(laws: Laws, rows: Sequence[Row], count: int = FOLDS) -> list[Blind]:
    """Return every row as predicted by constants that all rows of other folds set, in the rows' order.

    Which rows set a constant is not chosen by hand here: all that hinge on it do. The form of the laws was found with
    every row in sight; that cannot be undone.
    """
    measured = [row for row in rows if row.metric != "oom"]
    found: dict[int, Blind] = {}
    names = [name for name, constant in laws.constants.items() if constant.basis == "fit"]
    hinges = {name: {row.id for row in measured if _hinges(row, name, laws)} for name in names}
    for part in folds(measured, count):
        inside = {row.id for row in part}
        others = [row for row in measured if row.id not in inside]
        free = {name: [row for row in others if row.id in hinges[name]] for name in names}
        trained = laws.having({name: _neutral(name, laws, free) for name in names})
        for _ in range(_SWEEPS):
            for name in names:
                if free[name]:
                    trained = trained.having(
                        {name: _best(name, trained, free[name], weights=_WEIGHT, steps=_COARSE)}
                    )
        for row in part:
            unset = tuple(name for name in names if not free[name] and row.id in hinges[name])
            found[row.id] = Blind(row=row, predicted=predicted(row, trained), unset=unset)
    return [found[row.id] for row in measured]


def _publication(source: str) -> str:
    """Return what the rows of one publication share: the commit or the anchor of an address is no other source."""
    parts = source.partition("#")[0].partition("?")[0].rstrip("/").split("/")
    return "/".join(parts[:7])


def _hinges(row: Row, name: str, laws: Laws) -> bool:
    changed = laws.having({name: 1.1 * laws[name]})
    return abs(predicted(row, changed) / predicted(row, laws) - 1) > _HINGE


def _neutral(name: str, laws: Laws, free: Mapping[str, Sequence[Row]]) -> float:
    """Return where fitting begins, which stays where there is nothing to fit on: knowing nothing of this constant.

    A group of devices reaches what the others reach in the middle, what is like another constant is as that one, and
    other workspaces and allocators add nothing.
    """
    if name in _LIKE:
        return laws[_LIKE[name]] if free[_LIKE[name]] else 1.0
    kind = name.partition(".")[0]
    if kind == "efficiency":
        others = sorted(laws[each] for each in free if each.startswith(kind) and each != name)
        return others[len(others) // 2]
    if kind == "tau":
        return sum(laws[each] for each in free if each.startswith(kind)) / sum(
            each.startswith(kind) for each in free
        )
    if kind in ("conv", "decode", "encode", "small-channels"):
        return 1.0
    return laws[name]


def _best(
    name: str, laws: Laws, rows: Sequence[Row], *, weights: Mapping[str, float], steps: int = 60
) -> float:
    present = log(laws[name])

    def error(at: float) -> float:
        trial = laws.having({name: exp(at)})
        return sum(weights[row.grade] * log(predicted(row, trial) / row.value) ** 2 for row in rows)

    return exp(_least(error, present - _REACH, present + _REACH, steps))


def _least(error: Callable[[float], float], low: float, high: float, steps: int) -> float:
    """Return where ``error``, which stays or falls and then rises, is least (golden-section search)."""
    a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_a, at_b = error(a), error(b)
    for _ in range(steps):
        if at_a < at_b:
            high, b, at_b = b, a, at_a
            a = high - _GOLDEN * (high - low)
            at_a = error(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + _GOLDEN * (high - low)
            at_b = error(b)
    return (low + high) / 2


def interval(blind: Sequence[Blind], metrics: Sequence[str]) -> tuple[float, float]:
    """Return the 5th and the 95th percentile of measured / predicted out of fold, of rows of these metrics."""
    ratios = sorted(each.row.value / each.predicted for each in blind if each.row.metric in metrics)
    return _quantile(ratios, 0.05), _quantile(ratios, 0.95)


def errors(laws: Laws, rows: Sequence[Row], metrics: Sequence[str]) -> list[float]:
    """Return |predicted / measured − 1| of the rows of these metrics, sorted."""
    return sorted(abs(predicted(row, laws) / row.value - 1) for row in rows if row.metric in metrics)


def summary(
    laws: Laws, rows: Sequence[Row], blind: Sequence[Blind] | None = None
) -> dict[str, dict[str, dict[str, float]]]:
    """Return count, median, 90th percentile and largest absolute error of memory and time, by use of the rows.

    With ``blind``, also those of predictions out of fold.
    """
    uses = {
        "all": list(rows),
        "fitted": [row for row in rows if row.fit],
        "held out": [row for row in rows if not row.fit],
    }
    found: dict[str, dict[str, dict[str, float]]] = {}
    for kind, metrics in (("memory", MEMORY), ("time", TIME)):
        found[kind] = {}
        for use, chosen in uses.items():
            found[kind][use] = _spread(errors(laws, chosen, metrics))
        if blind is not None:
            own = [each for each in blind if each.row.metric in metrics]
            off = sorted(abs(each.predicted / each.row.value - 1) for each in own)
            found[kind]["out of fold"] = _spread(off)
    return found


def _spread(off: Sequence[float]) -> dict[str, float]:
    return {
        "rows": len(off),
        "median": _quantile(off, 0.5),
        "p90": _quantile(off, 0.9),
        "max": off[-1],
    }


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Return a quantile of sorted numbers, between neighbours in proportion."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
