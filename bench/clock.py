"""Time and memory: interleaved runs, child processes, a busy neighbour, and what machine this is.

Knows nothing of inpainting.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a child process took: seconds of wall and CPU, and its peak resident memory in bytes."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    output: str


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds that ``work()`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def cpu_timed(work: Callable[[], Any]) -> float:
    """Return the seconds of CPU that ``work()`` takes in this process, on all its threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def interleaved(
    works: Mapping[str, Callable[[], Any]], rounds: int, timed: Callable[[Callable[[], Any]], float] = timed
) -> dict[str, list[float]]:
    """Run all works in turn, ``rounds`` times, each round starting with another one; seconds by name.

    What else the machine does hits all of them alike, so ratios within a round mean something.
    """
    names, seconds = list(works), {name: [0.0] * rounds for name in works}
    for turn in range(rounds):
        for k in range(len(names)):
            name = names[(turn + k) % len(names)]
            seconds[name][turn] = timed(works[name])
    return seconds


def ratio(seconds: Mapping[str, list[float]], slow: str, fast: str) -> float:
    """Median over the rounds of how many times longer ``slow`` took than ``fast``."""
    return statistics.median(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))


# A process inherits its parent's peak memory, so programs are started from a small process of their own.
_STARTER = """
import json, os, sys, time
start = time.perf_counter()
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(pid, 0)
wall = time.perf_counter() - start
print(json.dumps([wall, used.ru_utime + used.ru_stime, used.ru_maxrss, os.waitstatus_to_exitcode(status)]))
"""


def child(command: list[str]) -> Spent:
    """Run a program to its end and measure it alone.

    Raises
    ------
    RuntimeError
        It failed; the message holds what it wrote.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _STARTER, *command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True,
    )  # fmt: skip
    output, _, figures = done.stdout.rstrip("\n").rpartition("\n")
    wall, cpu, peak, code = json.loads(figures)
    if code != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {code}:\n{output[-2000:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Spent(wall_s=wall, cpu_s=cpu, peak_bytes=peak * unit, output=output)


@contextlib.contextmanager
def busy_neighbour(processes: int = 1) -> Iterator[None]:
    """Keep that many CPUs busy with something else."""
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        time.sleep(0.3)
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def machine() -> dict[str, Any]:
    """Say what this is measured on."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return {
        "cpu": cpu,
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }
