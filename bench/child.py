"""Fill one stored case in a process of its own: ``python -m bench.child METHOD FOLDER``.

Prints JSON: seconds of the fill (wall and CPU), peak memory of the process, and what it held before the fill.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench import clock, ours, peers
from bench.cases import Case


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measured(case: Case, method: str, *, engine: str = "exemplar", threads: int = 1) -> dict[str, Any]:
    """Fill the case in a child process and return what it printed.

    ``seconds``, ``cpu_s``, ``peak_bytes``, and ``before_bytes``: what the interpreter, the method's library and
    the photo with its mask take before the fill.
    """
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "photo.npy", case.holed)
        np.save(Path(folder) / "hole.npy", case.hole)
        command = [sys.executable, "-m", "bench.child", method, folder, engine, str(threads)]
        return json.loads(clock.child(command).output.splitlines()[-1])


def main(method: str, folder: str, engine: str, threads: str) -> None:
    """Fill what lies in ``folder`` and print the figures."""
    fill = (
        ours.product(engine, threads=int(threads))
        if method == "reknit"
        else peers.installed([method])[method]
    )
    small = np.full((32, 32, 3), 90, np.uint8)
    spot = np.zeros((32, 32), bool)
    spot[14:18, 14:18] = True
    with peers.quiet():
        fill(small, spot)
    photo, hole = np.load(Path(folder) / "photo.npy"), np.load(Path(folder) / "hole.npy")
    before, start, cpu = _peak_bytes(), time.perf_counter(), time.process_time()
    with peers.quiet():
        fill(photo, hole)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu_s": cpu, "peak_bytes": _peak_bytes(), "before_bytes": before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
