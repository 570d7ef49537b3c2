"""Worker processes of this machine: how many, and how items reach them and outcomes come back.

How they are fed and replaced is `pool`'s. It knows no ledger and no picture.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from reknit.batch.item import Item, Outcome, Setup
from reknit.batch.ledger import WORKER_DIED
from reknit.batch.line import HELD
from reknit.batch.pool import Events, Pool, Worker
from reknit.config import usable_threads
from reknit.core.errors import ExternalError
from reknit.core.system import free_ram, say

BASE_BYTES = 250 * 2**20
"""What a worker needs before its first picture."""
PIXEL_BYTES = 8 * HELD + 24
"""Bytes a pixel: decoded, copied and masked for each picture held, and the engine's own for one."""
_SHARE = 0.7  # of free memory that workers may take
_START = "from reknit.batch.worker import main; main()"
_END_S = 5.0  # how long a worker may take to end by itself


def gpus() -> int:
    """Return how many NVIDIA devices this process may see."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if seen is not None:
        return len([name for name in seen.split(",") if name not in ("", "-1")])
    return len(say("nvidia-smi", "--query-gpu=index", "--format=csv,noheader").split())


def workers_for(largest_px: int, *, on_gpu: bool = False) -> tuple[int, str]:
    """Return how many workers suit this machine, and why.

    Parameters
    ----------
    largest_px
        Pixels of the largest picture.
    on_gpu
        One worker a GPU, if there are any.
    """
    cores = usable_threads()
    if on_gpu and (cards := gpus()):
        return cards, f"{cards} GPU{'s' * (cards > 1)}"
    free, total = free_ram()
    if total:
        need = BASE_BYTES + largest_px * PIXEL_BYTES
        fit = max(1, int(_SHARE * free / need))
        if fit < cores:
            return fit, f"memory: {free / 2**30:.1f} GiB free, a worker may need {need / 2**30:.1f}"
    return cores, f"{cores} CPU core{'s' * (cores > 1)}"


class Processes(Pool):
    """Runs items in worker processes.

    Parameters
    ----------
    setup
        How pictures are done.
    workers
        How many processes.
    threads
        CPU threads of each.
    on_gpu
        Give every worker one GPU.
    """

    def __init__(self, setup: Setup, *, workers: int, threads: int, on_gpu: bool = False) -> None:
        super().__init__(workers)
        self._hello = {"setup": setup.to_dict(), "threads": threads}
        self._devices = [str(i) for i in range(gpus())] if on_gpu else []

    def _started(self, number: int) -> Worker:
        device = self._devices[number % len(self._devices)] if self._devices else None
        return _Process(number, self._events, self._hello, device)


class _Process(Worker):
    """One process: items go down its standard input as JSON lines, outcomes come up its output."""

    def __init__(self, number: int, events: Events, hello: Mapping[str, Any], device: str | None) -> None:
        super().__init__(number, events)
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        if device is not None:
            environment["CUDA_VISIBLE_DEVICES"] = device
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        self._write_line(hello)
        self._listener = threading.Thread(target=self._listen, name="reknit-batch", daemon=True)
        self._listener.start()

    def _write(self, item: Item) -> None:
        self._write_line(item.to_dict())

    def died(self) -> bool:
        """Return True: it says nothing but outcomes until its end."""
        return True

    def reason(self) -> ExternalError:
        """Say with which status or by which signal it ended."""
        with suppress(OSError):
            self._process.kill()
        code = self._process.wait()
        how = f"ended with status {code}"
        if code < 0:
            how = f"was ended by signal {-code}"
            with suppress(ValueError):
                how = f"was ended by {signal.Signals(-code).name}"
        return ExternalError(
            f"the worker process {how}",
            code=WORKER_DIED,
            hint="memory may have run out: try fewer --workers; or this picture makes a library crash",
        )

    def finish(self) -> None:
        """Let it end by itself, if it does so soon."""
        with suppress(OSError, subprocess.TimeoutExpired):
            assert self._process.stdin is not None
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
            self._process.wait(_END_S)

    def kill(self) -> None:
        """End it now."""
        with suppress(OSError):
            self._process.kill()
        self._process.wait()
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _write_line(self, data: Mapping[str, Any]) -> None:
        with suppress(OSError):  # a dead one is noticed by its silence
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(data, default=str).encode() + b"\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with suppress(ValueError, OSError):
            for line in self._process.stdout:
                self.events.put((self, Outcome.of(json.loads(line))))
        self.events.put((self, None))
