"""Set constants on measurements: least squares of log(predicted / measured), one at a time.

`refit` sets those of ``laws.toml`` on the published rows that name them (a test holds the file to it), and `interval`
says how far the rows that no constant was set on lie from their predictions. Pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, log

from reknit.planner.laws import Laws
from reknit.planner.published import MEMORY, TIME, Row, predicted

_REACH = log(4.0)  # how far from its present value a constant is looked for, either way
_GOLDEN = 0.6180339887498949


def refit(laws: Laws, rows: Sequence[Row]) -> Laws:
    """Return ``laws`` with every constant of basis ``fit`` set on its rows, in the file's order."""
    for name, constant in laws.constants.items():
        own = [row for row in rows if row.fit == name]
        if constant.basis == "fit" and own:
            laws = laws.having({name: _best(name, laws, own)})
    return laws


def _best(name: str, laws: Laws, rows: Sequence[Row]) -> float:
    present = log(laws[name])

    def error(at: float) -> float:
        trial = laws.having({name: exp(at)})
        return sum(log(predicted(row, trial) / row.value) ** 2 for row in rows)

    return exp(_least(error, present - _REACH, present + _REACH))


def _least(error: Callable[[float], float], low: float, high: float) -> float:
    """Return where ``error``, which stays or falls and then rises, is least (golden-section search)."""
    for _ in range(60):
        a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if error(a) < error(b):
            high = b
        else:
            low = a
    return (low + high) / 2


def interval(laws: Laws, rows: Sequence[Row], metrics: Sequence[str]) -> tuple[float, float]:
    """Return the 5th and the 95th percentile of measured / predicted of held-out rows of these metrics."""
    ratios = sorted(row.value / predicted(row, laws) for row in rows if row.metric in metrics and not row.fit)
    return _quantile(ratios, 0.05), _quantile(ratios, 0.95)


def errors(laws: Laws, rows: Sequence[Row], metrics: Sequence[str]) -> list[float]:
    """Return |predicted / measured − 1| of the rows of these metrics, sorted."""
    return sorted(abs(predicted(row, laws) / row.value - 1) for row in rows if row.metric in metrics)


def summary(laws: Laws, rows: Sequence[Row]) -> dict[str, dict[str, dict[str, float]]]:
    """Return count, median, 90th percentile and largest absolute error of memory and time, by use of the rows."""
    uses = {
        "all": list(rows),
        "fitted": [row for row in rows if row.fit],
        "held out": [row for row in rows if not row.fit],
    }
    found: dict[str, dict[str, dict[str, float]]] = {}
    for kind, metrics in (("memory", MEMORY), ("time", TIME)):
        found[kind] = {}
        for use, chosen in uses.items():
            off = errors(laws, chosen, metrics)
            found[kind][use] = {
                "rows": len(off),
                "median": _quantile(off, 0.5),
                "p90": _quantile(off, 0.9),
                "max": off[-1],
            }
    return found


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Return a quantile of sorted numbers, between neighbours in proportion."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
