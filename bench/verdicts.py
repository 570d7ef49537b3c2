"""What the figures must show, computed from the results: each line has a measured value, a bar, and pass or fail.

Nothing is measured here, and no result is written here by hand.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.metrics import HIGHER_IS_BETTER
from bench.peers import PATCHMATCH

Results = dict[str, Any]
Row = dict[str, Any]
Rival = Callable[[Row, str], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One demand: what was measured, the bar, and whether more or less is better."""

    demand: str
    value: float
    bar: float
    at_least: bool
    unit: str = ""

    @property
    def passed(self) -> bool:
        """Whether the value reaches the bar."""
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    def line(self) -> str:
        """Return it as a line of text."""
        sign = "≥" if self.at_least else "≤"
        word = "pass" if self.passed else "FAIL"
        return (
            f"{word}: {self.demand}: {_shown(self.value, self.unit)} ({sign} {_shown(self.bar, self.unit)})"
        )


def _shown(value: float, unit: str) -> str:
    return f"{value:.0%}" if unit == "%" else f"{value:.4g}{' ' + unit if unit else ''}"


def best_of_patchmatch(row: Row, metric: str) -> float:
    """Return the best of pypatchmatch's sizes for this metric and case: the hardest rival there is."""
    values = [row["scores"][name][metric] for name in PATCHMATCH if name in row["scores"]]
    return max(values) if HIGHER_IS_BETTER[metric] else min(values)


def chosen_patchmatch(row: Row, metric: str) -> float:
    """Return the score of the size that wins most metrics in this case (ties: the least texture distance)."""
    names = [name for name in PATCHMATCH if name in row["scores"]]
    wins = {
        n: sum(row["scores"][n][m] == best_of_patchmatch(row, m) for m in HIGHER_IS_BETTER) for n in names
    }
    return row["scores"][max(names, key=lambda n: (wins[n], -row["scores"][n]["fd"]))][metric]


def one_size(name: str, row: Row, metric: str) -> float:
    """Return the score of one method, whichever is best."""
    return row["scores"][name][metric]


RIVALS: dict[str, Rival] = {
    "pypatchmatch (best size of each case)": chosen_patchmatch,
    "pypatchmatch (best size of each case and metric)": best_of_patchmatch,
}


def gains(rows: list[Row], metric: str, rival: Rival) -> list[float]:
    """Return by how much Reknit is better than the rival in each case, in the metric's own unit."""
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    return [sign * (row["scores"]["reknit"][metric] - rival(row, metric)) for row in rows]


def share_better(rows: list[Row], metric: str, rival: Rival) -> float:
    """Return the part of the cases in which Reknit is strictly better than the rival."""
    return statistics.fmean(gain > 0 for gain in gains(rows, metric, rival))


def _quality(rows: list[Row]) -> list[Verdict]:
    out = []
    for name, rival in RIVALS.items():
        if not any(size in rows[0]["scores"] for size in PATCHMATCH):
            break
        part = f"better than {name}, part of {len(rows)} cases"
        out += [
            Verdict(
                demand=f"{metric} {part}",
                value=share_better(rows, metric, rival),
                bar=0.75,
                at_least=True,
                unit="%",
            )
            for metric in ("fd", "swd", "seam")
        ]
        out += [
            Verdict(
                demand=f"{metric} gained over {name}, mean", value=statistics.fmean(gains(rows, metric, rival)),
                bar=0.0, at_least=True,
            )
            for metric in ("ssim", "haarpsi", "gmsd")
        ]  # fmt: skip
    changed = sum(not row["scores"]["reknit"]["outside_equal"] for row in rows)
    out.append(
        Verdict(demand="cases with a changed pixel outside the hole", value=changed, bar=0, at_least=False)
    )
    return out


def median_ratio(rows: list[Row], slow: str, fast: str) -> float:
    """Median over the cases of the median over the rounds of slow / fast."""
    return statistics.median(
        statistics.median(a / b for a, b in zip(row["seconds"][slow], row["seconds"][fast], strict=True))
        for row in rows
    )


def _speed(result: Results) -> list[Verdict]:
    out, rows = [], result["rows"]
    for threads, bar in ((1, 12.0), (2, 16.0)):
        if {"pypatchmatch-5", f"reknit-{threads}"} <= set(rows[0]["seconds"]):
            out.append(Verdict(
                demand=f"pypatchmatch (patch 5) over reknit.fill at {threads} thread(s), median of {len(rows)} photos",
                value=median_ratio(rows, "pypatchmatch-5", f"reknit-{threads}"), bar=bar, at_least=True, unit="×",
            ))  # fmt: skip
    for hogs in sorted({row["hogs"] for row in result["busy"]}):
        some = [row for row in result["busy"] if row["hogs"] == hogs]
        out.append(Verdict(
            demand=f"{some[0]['threads']} threads over 1, time, beside {hogs} busy process(es)",
            value=median_ratio(some, "many", "one"), bar=1.05, at_least=False, unit="×",
        ))  # fmt: skip
    return out


def _scaling(result: Results) -> list[Verdict]:
    out = []
    for row, seconds in zip(result["big"], (1.5, 4.0, 6.0), strict=True):
        value = min(statistics.median(s) for s in row["seconds"].values())
        out.append(
            Verdict(
                demand=f"{row['case']}, reknit.fill, better of {len(row['seconds'])} thread counts",
                value=value,
                bar=seconds,
                at_least=False,
                unit="s",
            )
        )
    peak = result["big"][-1]["memory"]["peak_bytes"] / 1e9
    out.append(
        Verdict(
            demand=f"{result['big'][-1]['case']}, peak memory", value=peak, bar=1.5, at_least=False, unit="GB"
        )
    )
    specks, line = (min(statistics.median(s) for s in row["seconds"].values()) for row in result["specks"])
    out.append(
        Verdict(
            demand="300 specks over one stroke of their area, time",
            value=specks / line,
            bar=2,
            at_least=False,
            unit="×",
        )
    )
    return out


def _startup(result: Results) -> list[Verdict]:
    small = max(row["wall_s"] for row in result["rows"] if row["photo_px"] < 1e6)
    out = [
        Verdict(
            demand="`reknit fill` of a 512 px photo, whole process",
            value=small,
            bar=0.5,
            at_least=False,
            unit="s",
        ),
        Verdict(demand="`reknit --help`, CPU", value=result["help_cpu_s"], bar=0.1, at_least=False, unit="s"),
    ]
    peaks = [row["peak_bytes"] / 1e9 for row in result["rows"] if row["photo_px"] > 40e6]
    if peaks:
        out.append(
            Verdict(
                demand="`reknit fill` of a 50 MP JPEG, peak memory",
                value=max(peaks),
                bar=1.5,
                at_least=False,
                unit="GB",
            )
        )
    return out


def verdicts(name: str, result: Results) -> list[Verdict]:
    """Return the verdicts of one measurement: quality, speed, scaling or startup."""
    if name == "quality":
        return _quality(result["rows"])
    return {"speed": _speed, "scaling": _scaling, "startup": _startup}[name](result)
