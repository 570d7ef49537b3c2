"""``python -m bench.batch photos|scaling|peers|growth|ray``: what a batch costs, and against whom.

Each command prints JSON with the seconds of every run and the ratios; runs that are compared take turns. Photos are
those of the held-out set, mirrored and turned until there are enough. docs/batch.md holds the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from bench import cases

START = "from reknit.cli.main import main; main()"
HEAVY = ("--engine", "exemplar", "-p", "quality=best")
"""Nearly all of the time is the fill's: about 0.4 s of it for each photo."""


def photos(folder: Path, count: int, first: int = 0) -> tuple[Path, Path]:
    """Write ``count`` photos as JPEG and their holes as PNG, from the ``first`` one on; return both folders."""
    source, masks = folder / "in", folder / "masks"
    shutil.rmtree(folder, ignore_errors=True)
    source.mkdir(parents=True)
    masks.mkdir()
    real = [case for case in cases.held_out() if case.real]
    for i in range(first, first + count):
        case, turn = real[i % len(real)], i // len(real)
        picture, hole = case.truth, case.hole
        if turn & 1:
            picture, hole = picture[:, ::-1], hole[:, ::-1]
        picture, hole = np.rot90(picture, turn // 2), np.rot90(hole, turn // 2)
        Image.fromarray(np.ascontiguousarray(picture)).save(source / f"{i:04}.jpg", quality=92)
        Image.fromarray(np.ascontiguousarray(hole.astype(np.uint8) * 255)).save(masks / f"{i:04}.png")
    return source, masks


def batch(source: Path, masks: Path | None, out: Path, *options: str, watch: bool = False) -> dict[str, Any]:
    """Run ``reknit batch --json`` into an empty folder; return what it says, and its seconds and memory."""
    shutil.rmtree(out, ignore_errors=True)
    mask = () if masks is None else ("--mask", str(masks))
    command = [sys.executable, "-c", START, "batch", str(source), str(out), *mask, *options, "--json"]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = _watched(process.pid, process.poll) if watch else 0
    said, _ = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {said}")
    return {**json.loads(said), "wall_s": time.perf_counter() - begin, "peak_bytes": peak}


def _watched(pid: int, ended: Callable[[], int | None]) -> int:
    """Wait for a process; return the most memory that it and its children held at once, as far as was seen."""
    peak, parent = 0, psutil.Process(pid)
    while ended() is None:
        try:
            family = [parent, *parent.children(recursive=True)]
            peak = max(peak, sum(p.memory_full_info().uss for p in family))
        except psutil.Error:
            pass
        time.sleep(0.05)
    return peak


def scaling(folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """Two workers of one thread against one, on a set where nearly all of the time is the fill's.

    ``limit`` is what the machine has to give: two batches of one worker at once, each with half of the photos.
    """
    source, masks = photos(folder, count)
    halves = [("--include", f"*[{digits}].jpg") for digits in ("02468", "13579")]

    def run(name: str, *options: str) -> float:
        return batch(source, masks, folder / name, "--threads", "1", *HEAVY, *options)["wall_s"]

    def limit() -> float:
        with ThreadPoolExecutor() as pool:
            return max(pool.map(lambda half: run(f"out{half[1][2]}", "--workers", "1", *half), halves))

    measures: dict[str, Callable[[], float]] = {
        "one": lambda: run("out", "--workers", "1"),
        "two": lambda: run("out", "--workers", "2"),
        "limit": limit,
    }
    seconds: dict[str, list[float]] = {name: [] for name in measures}
    for turn in range(rounds):
        for name in sorted(measures, reverse=turn % 2 == 1):
            seconds[name].append(measures[name]())
            print(name, seconds[name][-1], file=sys.stderr, flush=True)
    ratios = {
        name: [one / other for one, other in zip(seconds["one"], seconds[name], strict=True)]
        for name in ("two", "limit")
    }
    medians = {name: statistics.median(found) for name, found in ratios.items()}
    return {
        "photos": count,
        "seconds": seconds,
        "speedup": medians["two"],
        "limit": medians["limit"],
        "ratios": ratios,
    }


def peers(folder: Path, count: int, first: int, iopaint: str | None, *, loop: bool) -> dict[str, Any]:
    """Reknit (its default engine, and Telea) against IOPaint's ``run`` and a loop of pypatchmatch, on the same photos.

    Seconds of wall time and of CPU, start-up included; one photo by itself tells what the start costs.
    """
    source, masks = photos(folder, count, first)
    one = folder / "one"
    one.mkdir()
    shutil.copy(next(source.iterdir()), one)

    def reknit(pictures: Path, *options: str) -> Callable[[], Any]:
        return lambda: batch(pictures, masks, folder / "out", *options)

    def run_iopaint(pictures: Path) -> Callable[[], Any]:
        command = [str(iopaint), "-m", "iopaint", "run", "--model", "cv2", "--device", "cpu"]
        command += ["--image", str(pictures), "--mask", str(masks), "--output", str(folder / "iopaint")]
        return lambda: _run(command)

    measures = {"reknit": reknit(source), "reknit telea": reknit(source, "--engine", "telea")}
    measures["reknit, one photo"] = reknit(one)
    if iopaint is not None:
        measures["iopaint run, model cv2"] = run_iopaint(source)
        measures["iopaint, one photo"] = run_iopaint(one)
    if loop:
        command = [sys.executable, "-c", _LOOP, str(source), str(masks), str(folder)]
        measures["loop of pypatchmatch"] = lambda: _run(command)
    seconds: dict[str, dict[str, float]] = {}
    for name, measure in measures.items():
        seconds[name] = _timed(measure)
        print(name, seconds[name], file=sys.stderr, flush=True)
    assert iopaint is None or len(list((folder / "iopaint").iterdir())) == count
    return {"photos": count, "first": first, "seconds": seconds}


_LOOP = """
import sys
from pathlib import Path
import numpy as np
import patchmatch
from PIL import Image
source, masks, out = map(Path, sys.argv[1:])
(out / "loop").mkdir()
for path in sorted(source.iterdir()):
    mask = np.asarray(Image.open(masks / f"{path.stem}.png").convert("L")) > 127
    filled = patchmatch.inpaint(np.asarray(Image.open(path).convert("RGB")), mask, patch_size=5)
    Image.fromarray(filled).save(out / "loop" / path.name, quality=92)
"""


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _timed(measure: Callable[[], Any]) -> dict[str, float]:
    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    begin, before = time.perf_counter(), spent()
    measure()
    return {"wall": round(time.perf_counter() - begin, 2), "cpu": round(spent() - before, 2)}


def growth(folder: Path, count: int) -> dict[str, Any]:
    """A tenth of the pictures against all: memory, and what a picture costs besides its own work."""
    shutil.rmtree(folder, ignore_errors=True)
    cells = np.random.default_rng(0).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    tiny = np.kron(cells, np.ones((8, 8, 1), np.uint8))
    few, many = folder / "few", folder / "many"
    for place, number in ((few, count // 10), (many, count)):
        place.mkdir(parents=True)
        for i in range(number):
            Image.fromarray(tiny).save(place / f"{i:06}.png")
    options = ("--box", "40,40,3,3", "--engine", "telea", "--grow", "0", "--workers", "1", "--threads", "1")
    runs = {place.name: batch(place, None, folder / "out", *options, watch=True) for place in (few, many)}
    report = json.loads((folder / "out" / "reknit-batch" / "report.json").read_text())
    work = sum(stage["total"] for stage in report["stages"].values()) / count
    marginal = (runs["many"]["seconds"] - runs["few"]["seconds"]) / (count - count // 10)
    return {
        "pictures": [count // 10, count],
        "peak_mb": [round(run["peak_bytes"] / 2**20, 1) for run in runs.values()],
        "listing_ms_a_picture": 1000 * runs["many"]["listing_seconds"] / count,
        "wall_ms_a_picture": 1000 * marginal,
        "read_fill_write_ms_a_picture": 1000 * work,
    }


def ray(folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """``--ray`` on a cluster of this machine's CPUs against as many local workers, in turn.

    What is paid once (joining the cluster, actors that start) is told by runs of two photos, and the overhead with
    and without it.
    """
    from ray.cluster_utils import Cluster

    cpus = len(os.sched_getaffinity(0))
    source, masks = photos(folder, count)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus, "include_dashboard": False})
    how = {
        "local": ("--workers", str(cpus), "--threads", "1"),
        "ray": ("--ray", cluster.address, "--threads", "1"),
    }
    two = ("--include", "0000.jpg", "--include", "0001.jpg")
    runs: dict[str, list[float]] = {name: [] for name in how}
    starts: dict[str, list[float]] = {name: [] for name in how}
    try:
        for turn in range(rounds):
            for name in sorted(how, reverse=turn % 2 == 1):
                starts[name].append(batch(source, masks, folder / "out", *how[name], *HEAVY, *two)["wall_s"])
                runs[name].append(batch(source, masks, folder / "out", *how[name], *HEAVY)["wall_s"])
    finally:
        cluster.shutdown()
    local, far = (np.array(runs[name]) for name in ("local", "ray"))
    begun, far_begun = (np.array(starts[name]) for name in ("local", "ray"))
    return {
        "photos": count,
        "wall_s": runs,
        "wall_s_of_two_photos": starts,
        "overhead": round(float(np.median(far / local)) - 1, 3),
        "overhead_without_start": round(float(np.median((far - far_begun) / (local - begun))) - 1, 3),
        "start_s": round(float(np.median(far_begun - begun)), 2),
    }


def main() -> None:
    """Run what was asked for and print it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.batch", description=__doc__)
    parser.add_argument("what", choices=["photos", "scaling", "peers", "growth", "ray"])
    parser.add_argument("--count", type=int, default=60, metavar="N", help="pictures")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="begin with this photo")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--iopaint", metavar="PYTHON", help="a Python that has IOPaint")
    parser.add_argument(
        "--loop", action=argparse.BooleanOptionalAction, default=True, help="pypatchmatch too"
    )
    parser.add_argument("--out", type=Path, default=Path("out/batch"), metavar="FOLDER")
    args = parser.parse_args()
    measures: dict[str, Callable[[], Any]] = {
        "photos": lambda: list(map(str, photos(args.out, args.count, args.first))),
        "scaling": lambda: scaling(args.out, args.count, args.rounds),
        "peers": lambda: peers(args.out, args.count, args.first, args.iopaint, loop=args.loop),
        "growth": lambda: growth(args.out, args.count),
        "ray": lambda: ray(args.out, args.count, args.rounds),
    }
    print(json.dumps(measures[args.what](), indent=1))


if __name__ == "__main__":
    main()
