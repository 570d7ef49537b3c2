"""Writes what `run` measured: Markdown tables with the command of each, and verdict lines. Measures nothing."""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

from bench.metrics import HIGHER_IS_BETTER
from bench.peers import PATCHMATCH
from bench.verdicts import RIVALS, best_of_patchmatch, median_ratio, one_size, share_better, verdicts

Results = dict[str, Any]

TITLES = {
    "quality": "Quality",
    "speed": "Speed on photos of about 512 px",
    "scaling": "Big photos, big holes, many holes",
    "startup": "Whole processes, from file to file",
}


LEGEND = """All metrics compare the fill with what was there before, inside the hole only (`seam`: at its rim).
They answer different questions, so read them together: PSNR (dB) and SSIM reward blur; HaarPSI and GMSD are
perceptual; `fd` (Fréchet distance of random-convolution features) and `swd` (sliced Wasserstein distance of
patches) compare texture wherever it lies; `seam` is |log| of the contrast across the rim over the contrast beside
it; `sharpness` is |log| of the fill's sharpness over the truth's. Definitions and sources: `bench/metrics.py`."""


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table; the first column is text, the others numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _mean(rows: list[dict[str, Any]], method: str, metric: str) -> float:
    return statistics.fmean(row["scores"][method][metric] for row in rows)


def _quality(result: Results) -> list[str]:
    rows = result["rows"]
    arrows = [f"{name} {'↑' if up else '↓'}" for name, up in HIGHER_IS_BETTER.items()]
    out = [LEGEND, f"The {result['set']} set: {len(rows)} holes with known content."]
    parts = [
        ("All cases", rows),
        ("Photos", [r for r in rows if r["real"]]),
        ("Scenes", [r for r in rows if not r["real"]]),
    ]
    for title, some in parts:
        if not some:
            continue
        lines = [
            [method, *(f"{_mean(some, method, m):.3f}" for m in HIGHER_IS_BETTER),
             f"{statistics.median(r['scores'][method]['seconds'] for r in some):.3f}"]
            for method in some[0]["scores"]
        ]  # fmt: skip
        if any(name in some[0]["scores"] for name in PATCHMATCH):
            best = [
                f"{statistics.fmean(best_of_patchmatch(r, m) for r in some):.3f}" for m in HIGHER_IS_BETTER
            ]
            lines.append(["pypatchmatch, best per metric", *best, ""])
        out += [
            f"{title} ({len(some)}): means, and the median seconds of a run (rough; see Speed).",
            table(["method", *arrows, "s"], lines),
        ]
    sizes = {name: partial(one_size, name) for name in PATCHMATCH if name in rows[0]["scores"]}
    if sizes:
        won = [
            [name, *(f"{share_better(rows, m, rival):.0%}" for m in HIGHER_IS_BETTER)]
            for name, rival in (sizes | RIVALS).items()
        ]
        out += ["Part of the cases in which Reknit is better.", table(["than", *HIGHER_IS_BETTER], won)]
    peak = [row["scores"]["reknit"]["peak_bytes"] / 1e6 for row in rows]
    used = [row["scores"]["reknit"]["fill_bytes"] / 1e6 for row in rows]
    out.append(
        f"Peak memory of a process that fills one case with Reknit: median {statistics.median(peak):.0f} MB, at most "
        f"{max(peak):.0f} MB; the fill itself adds {statistics.median(used):.0f} MB (at most {max(used):.0f} MB)."
    )
    out += [f"Left out: {name} ({reason})." for name, reason in result["missing"].items()]
    return out


def _speed(result: Results) -> list[str]:
    rows, names = result["rows"], list(result["rows"][0]["seconds"])
    base = next(name for name in names if name.startswith("reknit"))
    lines = []
    for name in names:
        medians = [statistics.median(row["seconds"][name]) for row in rows]
        memory = result["memory"].get(name if not name.startswith("reknit-") else "reknit")
        peak = f"{memory['peak_bytes'] / 1e6:.0f}" if memory else ""
        ratio = f"{median_ratio(rows, name, base):.2f}"
        lines.append(
            [
                name,
                f"{statistics.median(medians):.3f}",
                f"{min(medians):.3f}",
                f"{max(medians):.3f}",
                ratio,
                peak,
            ]
        )
    head = ["method-threads", "median s", "min s", "max s", f"times {base}", "peak MB"]
    return [
        f"{len(rows)} photos with object-shaped holes; all methods in turn, {len(rows[0]['seconds'][base])} rounds; "
        f"`engine` is the engine without regions, compositing and proof; peak memory of a process for "
        f"{result['memory_case']}.",
        table(head, lines),
    ]


def _sized(rows: list[dict[str, Any]]) -> str:
    names = list(rows[0]["seconds"])
    lines = [
        [row["case"], f"{row['photo_px'] / 1e6:.1f}", f"{row['hole_px'] / 1e3:.0f}",
         *(f"{statistics.median(row['seconds'][n]):.2f}" for n in names),
         f"{row['memory']['cpu_s']:.2f}", f"{row['memory']['cpu_s'] / row['hole_px'] * 1e6:.2f}",
         f"{row['memory']['peak_bytes'] / 1e6:.0f}"]
        for row in rows
    ]  # fmt: skip
    return table(
        [
            "case",
            "photo Mpx",
            "hole kpx",
            *(f"{n} s" for n in names),
            "CPU s",
            "CPU µs per hole px",
            "peak MB",
        ],
        lines,
    )


def _scaling(result: Results) -> list[str]:
    return [
        "The same hole in larger and larger photos.", _sized(result["by_photo"]),
        "Larger and larger holes in the same photo.", _sized(result["by_hole"]),
        "Big photos.", _sized(result["big"]),
        "300 specks, and one stroke with as many pixels.", _sized(result["specks"]),
    ]  # fmt: skip


def _startup(result: Results) -> list[str]:
    lines = [
        [
            f"{row['case']}, {row['format']}",
            f"{row['wall_s']:.2f}",
            f"{row['cpu_s']:.2f}",
            f"{row['peak_bytes'] / 1e6:.0f}",
        ]
        for row in result["rows"]
    ]
    return [
        "`reknit fill PHOTO MASK -o OUT` as a process of its own.",
        table(["case", "wall s", "CPU s", "peak MB"], lines),
    ]


SECTIONS = {"quality": _quality, "speed": _speed, "scaling": _scaling, "startup": _startup}


def report(results: Results) -> str:
    """Return the Markdown page of all ``results`` (by name, each with its ``command`` and ``machine``)."""
    out = [
        "# Benchmarks",
        "Made by `make bench` from its own JSON; not edited by hand. Times are comparable within a table only: "
        "there they were taken in turn, in one run.",
    ]
    for name, title in TITLES.items():
        if name not in results:
            continue
        result = results[name]
        machine = result["machine"]
        out += [
            f"## {title}",
            f"`{result['command']}` on {machine['date']}: {machine['cpu']}, {machine['cpus']} CPUs "
            f"(load {machine['load_before']} at the start), {machine['system']}, Python {machine['python']}; "
            + ", ".join(f"{package} {version}" for package, version in machine["versions"].items()) + ".",
            *SECTIONS[name](result),
            "\n".join(f"- {verdict.line()}" for verdict in verdicts(name, result)),
        ]  # fmt: skip
    return "\n\n".join(out) + "\n"
