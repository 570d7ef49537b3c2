"""The measurements: quality, speed, scaling, startup. Each returns plain data that `report` writes.

Times of different methods are only compared within one interleaved run; see `clock`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from bench import cases, child, clock, metrics, ours, peers
from bench.cases import Case
from bench.sheet import Sheet

Rows = list[dict[str, Any]]

SLOWER_SIZES = (
    "pypatchmatch-3",
    "pypatchmatch-7",
)  # measured by `quality` only; `speed` compares with patch 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line asked for.

    Attributes
    ----------
    out : Path
        Folder for JSON, tables and contact sheets.
    engine : str
        Reknit's engine under test.
    limit : int or None
        At most that many cases, evenly drawn.
    threads : tuple of int
    rounds : int
        How often a timing is repeated.
    peers : tuple of str
        Peers asked for; empty for all that are quick and installed.
    tuning : bool
        Use the tuning set instead of the held-out one.
    jobs : int
        Processes that work on the cases of `quality`.
    """

    out: Path
    engine: str = "exemplar"
    limit: int | None = None
    threads: tuple[int, ...] = (1, 2)
    rounds: int = 3
    peers: tuple[str, ...] = ()
    tuning: bool = False
    jobs: int = 1

    def drawn(self, some: list[Case]) -> list[Case]:
        """Return at most ``limit`` cases, evenly drawn."""
        if self.limit is None or self.limit >= len(some):
            return some
        return [some[int(k * len(some) / self.limit)] for k in range(self.limit)]

    def rivals(self) -> dict[str, peers.Fill]:
        """Return the peers to measure."""
        wanted = self.peers or tuple(name for name in peers.catalogue() if name != "biharmonic")
        return peers.installed(list(wanted))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _judged(case: Case, options: Options) -> tuple[dict[str, Any], dict[str, peers.Picture]]:
    """Fill one case with every method: the row of scores, and the filled photos."""
    threads = min(options.threads)
    methods = {"reknit": ours.product(options.engine, threads=threads), **options.rivals()}
    filled, scores = {}, {}
    for name, fill in methods.items():
        with peers.quiet():
            start = time.perf_counter()
            filled[name] = fill(case.holed, case.hole)
            seconds = time.perf_counter() - start
        outside = bool(np.array_equal(filled[name][~case.hole], case.truth[~case.hole]))
        scores[name] = metrics.measure(filled[name], case.truth, case.hole)
        scores[name] |= {"seconds": seconds, "outside_equal": outside}
    memory = child.measured(case, "reknit", engine=options.engine, threads=threads)
    scores["reknit"]["peak_bytes"] = memory["peak_bytes"]
    scores["reknit"]["fill_bytes"] = memory["peak_bytes"] - memory["before_bytes"]
    row = {"case": case.name, "real": case.real, "hole": float(case.hole.mean()), "scores": scores}
    return row, filled


def quality(options: Options) -> dict[str, Any]:
    """Fill every case with Reknit (at the fewest threads) and the peers; metrics, seconds, Reknit's peak memory.

    Cases run in ``options.jobs`` processes, so seconds are rough: `speed` measures them.
    """
    some = options.drawn(cases.tuning() if options.tuning else cases.held_out())
    sheet, rows = Sheet(options.out, ["reknit", *options.rivals()]), Rows()
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        judged = pool.map(_judged, some, repeat(options))
        for number, (case, (row, filled)) in enumerate(zip(some, judged, strict=True), 1):
            _say(f"quality {number}/{len(some)} {case.name}")
            rows.append(row)
            sheet.add(case, filled, row["scores"])
    return {
        "rows": rows,
        "sheets": sheet.close(),
        "missing": peers.missing(),
        "set": "tuning" if options.tuning else "held-out",
    }


def speed(options: Options) -> dict[str, Any]:
    """Interleaved times on real photos of about 512 px, and with a busy neighbour; peak memory beside it."""
    some = options.drawn([case for case in cases.held_out() if case.real and "strokes" not in case.name])
    rivals = {name: fill for name, fill in options.rivals().items() if name not in SLOWER_SIZES}
    methods = {f"reknit-{n}": ours.product(options.engine, threads=n) for n in options.threads}
    methods |= {f"engine-{n}": ours.bare(options.engine, threads=n) for n in options.threads} | rivals
    rows = Rows()
    for number, case in enumerate(some, 1):
        _say(f"speed {number}/{len(some)} {case.name}")
        works = {name: partial(fill, case.holed, case.hole) for name, fill in methods.items()}
        with peers.quiet():
            rows.append({"case": case.name, "seconds": clock.interleaved(works, options.rounds)})
    memory = {name: child.measured(some[0], name, engine=options.engine) for name in ["reknit", *rivals]}
    return {"rows": rows, "memory": memory, "memory_case": some[0].name, "busy": _busy(options, some[::4])}


def _busy(options: Options, some: list[Case]) -> Rows:
    """Are more threads ever slower than one, on a quiet machine and beside 1 and 2 busy processes?"""
    many = max(options.threads)
    one, more = (ours.product(options.engine, threads=n) for n in (1, many))
    rows = Rows()
    for hogs in (0, 1, 2):
        _say(f"speed beside {hogs} busy processes")
        with clock.busy_neighbour(hogs):
            for case in some:
                works = {
                    "one": partial(one, case.holed, case.hole),
                    "many": partial(more, case.holed, case.hole),
                }
                seconds = clock.interleaved(works, 2 * options.rounds)
                rows.append({"case": case.name, "hogs": hogs, "threads": many, "seconds": seconds})
    return rows


def _sized(name: str, case: Case, options: Options) -> dict[str, Any]:
    """Time and memory of one big case: in this process by threads, and as a child for its memory."""
    _say(f"scaling {name}")
    methods = {f"reknit-{n}": ours.product(options.engine, threads=n) for n in options.threads}
    holed = case.holed
    works = {method: partial(fill, holed, case.hole) for method, fill in methods.items()}
    memory = child.measured(case, "reknit", engine=options.engine, threads=max(options.threads))
    return {
        "case": name, "photo_px": int(case.hole.size), "hole_px": int(case.hole.sum()),
        "seconds": clock.interleaved(works, options.rounds), "memory": memory,
    }  # fmt: skip


def scaling(options: Options) -> dict[str, Any]:
    """Cost by photo area and by hole area, big photos, and 300 specks against one stroke of their area."""
    by_photo, by_hole, big = Rows(), Rows(), Rows()
    for width, height in ((1500, 1000), (3000, 2000), (4243, 2828), (6000, 4000)):
        case = cases.big_case("beach", width, height, area=150_000 / (width * height), kind="person")
        by_photo.append(_sized(f"{width}x{height}", case, options))
    for area in (0.01, 0.02, 0.05, 0.10, 0.15):
        case = cases.big_case("mountains", 4243, 2828, area=area)
        by_hole.append(_sized(f"12 MP, {area:.0%} hole", case, options))
    for scene, size, area in (
        ("meadow", (4243, 2828), 0.05),
        ("meadow", (4243, 2828), 0.15),
        ("beach", (8660, 5774), 0.05),
    ):
        case = cases.big_case(scene, *size, area=area, kind="person" if area < 0.1 else "bush")
        big.append(_sized(f"{scene}, {case.hole.size / 1e6:.0f} MP, {area:.0%} hole", case, options))
    return {"by_photo": by_photo, "by_hole": by_hole, "big": big, "specks": _specks(options)}


def _specks(options: Options) -> Rows:
    """300 specks of dust, and one stroke with as many pixels, on the same 6 MP photo."""
    truth = cases.scenes.render("beach", 3000, 2000, 11)
    dust = cases.specks(3000, 2000, np.random.default_rng(11), count=300, radius=7)
    line = cases.stroke(3000, 2000, pixels=int(dust.sum()))
    both = [("300 specks", dust), ("one stroke", line)]
    return [_sized(name, Case(name=name, truth=truth, hole=hole, real=False), options) for name, hole in both]


def startup(options: Options) -> dict[str, Any]:
    """Whole ``reknit`` processes, from file to file: small and big photos."""
    import pyvips

    rows = Rows()
    big = options.limit is None
    sizes: list[tuple[str, Case, str]] = [
        ("china, 512 px", cases.held_out()[0], "png"),
        ("china, 512 px", cases.held_out()[0], "jpg"),
    ]
    if big:
        sizes += [
            ("meadow, 12 MP, 5% hole", cases.big_case("meadow", 4243, 2828, area=0.05, kind="person"), "jpg"),
            ("meadow, 12 MP, 15% hole", cases.big_case("meadow", 4243, 2828, area=0.15), "jpg"),
            ("beach, 50 MP, 5% hole", cases.big_case("beach", 8660, 5774, area=0.05, kind="person"), "jpg"),
        ]
    with tempfile.TemporaryDirectory() as folder:
        for name, case, suffix in sizes:
            _say(f"startup {name} {suffix}")
            photo, mask, out = (
                str(Path(folder) / f) for f in (f"photo.{suffix}", "mask.png", f"out.{suffix}")
            )
            pyvips.Image.new_from_array(case.holed, interpretation="srgb").write_to_file(photo)
            pyvips.Image.new_from_array(case.hole.astype(np.uint8) * 255, interpretation="b-w").write_to_file(
                mask
            )
            command = [ours.program(), "fill", photo, mask, "-o", out, "--engine", options.engine]
            spent = [clock.child(command) for _ in range(max(3, options.rounds))]
            rows.append({
                "case": name, "format": suffix, "photo_px": int(case.hole.size),
                "wall_s": statistics.median(s.wall_s for s in spent),
                "cpu_s": statistics.median(s.cpu_s for s in spent),
                "peak_bytes": max(s.peak_bytes for s in spent),
            })  # fmt: skip
    spent = [clock.child([ours.program(), "--help"]) for _ in range(5)]
    return {"rows": rows, "help_cpu_s": statistics.median(s.cpu_s for s in spent)}
