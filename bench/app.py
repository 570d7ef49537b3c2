"""``python -m bench.app``: what the server adds to a fill, and how soon it answers.

Starts a real ``reknit serve`` with an empty data folder on a free port and speaks to it over HTTP, one request
after another, as the page does. The overhead of a fill is the time from its request to its result (``Prefer:
wait``), less the time that its engine itself took as told by ``timings.engine``; every fill has another seed, so
that none is a repetition. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import io
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from bench import cases

SIDE = 512


@contextmanager
def server(data: Path) -> Generator[tuple[httpx.Client, float]]:
    """Yield a client of a new server, and the seconds that it took to be ready."""
    start = time.perf_counter()
    program = "from reknit.cli.main import main; main()"
    command = [sys.executable, "-c", program, "serve", "--port", "0", "--data-dir", str(data)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        seconds = time.perf_counter() - start
        with httpx.Client(base_url=re.findall(r"http://\S+", line)[0], timeout=120) as client:
            yield client, seconds
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(15)
        process.stdout.close()


def _png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def fills(client: httpx.Client, rounds: int) -> dict[str, list[float]]:
    """Return seconds of each fill: in all, and beyond its engine and its pipeline."""
    name = next(iter(cases.TUNING_PHOTOS))
    photo = np.ascontiguousarray(cases.photo(name)[:SIDE, :SIDE])
    hole = np.zeros(photo.shape[:2], np.uint8)
    hole[200:264, 220:290] = 255
    image, mask = (
        client.post("api/v1/images", content=_png(array)).raise_for_status().json()["id"]
        for array in (photo, hole)
    )
    found: dict[str, list[float]] = {"whole fill": [], "beyond its engine": [], "beyond its pipeline": []}
    for seed in range(-3, rounds):
        body = {"image": image, "mask": mask, "engine": "exemplar", "seed": max(0, seed + 3)}
        start = time.perf_counter()
        job = client.post("api/v1/fill", json=body, headers={"Prefer": "wait=60"}).json()
        seconds = time.perf_counter() - start
        if seed >= 0:
            timings = job["result"]["timings"]
            found["whole fill"].append(seconds)
            found["beyond its engine"].append(seconds - timings["engine"])
            found["beyond its pipeline"].append(seconds - timings["total"])
    return found


def gets(client: httpx.Client, path: str, rounds: int) -> list[float]:
    """Return seconds of each request for ``path``."""
    seconds: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        client.get(path).raise_for_status()
        seconds.append(time.perf_counter() - start)
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as (client, ready_s):
        rows = fills(client, rounds)
        for path in ("/", "api/v1/health", "api/v1/jobs?limit=10"):
            rows[f"GET {path}"] = gets(client, path, rounds)
    print(f"ready to answer after {ready_s:.2f} s\n")
    print("| ms | p50 | p90 | least |\n|---|---|---|---|")
    for name, seconds in rows.items():
        p50, p90 = statistics.median(seconds), float(np.quantile(seconds, 0.9))
        print(f"| {name} | {1000 * p50:.1f} | {1000 * p90:.1f} | {1000 * min(seconds):.1f} |")


if __name__ == "__main__":
    main()
