"""Worker processes of this machine: how many, and how they are fed, watched and replaced.

A worker is sent a few items ahead, so that it never waits. When one dies, its items go to others, each alone, and the
one that kills its worker again is given up: a picture fails alone. It knows no ledger.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from reknit.batch.item import Item, Outcome, Setup
from reknit.batch.line import HELD
from reknit.config import usable_threads
from reknit.core.errors import ExternalError

Take = Callable[[int], list[Item]]
"""Hands out up to so many items; fewer when there are no more for now."""

BASE_BYTES = 250 * 2**20
"""What a worker needs before its first picture."""
PIXEL_BYTES = 8 * HELD + 24
"""Bytes a pixel: decoded, copied and masked for each picture held, and the engine's own for one."""
_SHARE = 0.7  # of free memory that workers may take
_MOST_DEATHS = 6
_START = "from reknit.batch.worker import main; main()"


def free_bytes() -> int | None:
    """Return how much memory is free to this process: the machine's, or what its container may still use."""
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
        with suppress(OSError, ValueError):
            group = Path("/sys/fs/cgroup")
            most = int((group / "memory.max").read_text(encoding="ascii"))
            free = min(free, most - int((group / "memory.current").read_text(encoding="ascii")))
        return free
    return None


def gpus() -> int:
    """Return how many NVIDIA devices this process may see."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if seen is not None:
        return len([name for name in seen.split(",") if name not in ("", "-1")])
    with suppress(OSError):
        return len(list(Path("/proc/driver/nvidia/gpus").iterdir()))
    return 0


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
    if on_gpu and gpus():
        return gpus(), f"{gpus()} GPU{'s' * (gpus() > 1)}"
    free = free_bytes()
    if free is not None:
        need = BASE_BYTES + largest_px * PIXEL_BYTES
        fit = max(1, int(_SHARE * free / need))
        if fit < cores:
            return fit, f"memory: {free / 2**30:.1f} GiB free, a worker may need {need / 2**30:.1f}"
    return cores, f"{cores} CPU core{'s' * (cores > 1)}"


class Processes:
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
        self._hello = {"setup": setup.to_dict(), "threads": threads}
        self._events: SimpleQueue[tuple[_Worker, Outcome | None]] = SimpleQueue()
        self._devices = [str(i) for i in range(gpus())] if on_gpu else []
        self._count = workers
        self._workers: list[_Worker] = []
        self._deaths = 0  # since the last outcome

    def run(self, take: Take, stopping: threading.Event) -> Generator[Outcome | None]:
        """Yield outcomes as they come, and None about every 0.2 s in which none did.

        ``take`` is asked for items until it has none and none is running; once ``stopping`` is set, only those
        that were sent are finished. When the iterator is closed the workers are ended at once.
        """
        alone: deque[Item] = deque()
        try:
            self._workers = [self._started(i) for i in range(self._count)]
            while True:
                if not stopping.is_set():
                    self._feed(take, alone)
                if not any(worker.sent for worker in self._workers):
                    break
                yield from self._next()
            for worker in self._workers:
                worker.finish()
        finally:
            self.close()

    def close(self) -> None:
        """End the workers, if any still run."""
        for worker in self._workers:
            worker.kill()

    def _started(self, number: int) -> _Worker:
        device = self._devices[number % len(self._devices)] if self._devices else None
        return _Worker(number, self._hello, self._events, device)

    def _feed(self, take: Take, alone: deque[Item]) -> None:
        """Send every worker as much as it may hold; an item that was tried before goes ``alone``."""
        for worker in self._workers:
            while worker.room and not (alone and worker.sent):
                items = [alone.popleft()] if alone else take(1)
                if not items:
                    return
                if items[0].tries and worker.sent:
                    alone.append(items[0])
                else:
                    worker.send(items[0])

    def _next(self) -> Generator[Outcome | None]:
        try:
            worker, outcome = self._events.get(timeout=0.2)
        except Empty:
            yield None
            return
        if outcome is not None:
            self._deaths = 0
            worker.sent.pop(outcome.id, None)
            yield outcome
            return
        self._deaths += 1
        lost = list(worker.sent.values())
        worker.kill()
        if self._deaths > _MOST_DEATHS + self._count:
            raise ExternalError(
                f"worker processes die one after the other: the last one {worker.reason()}",
                code="batch.workers",
                hint="what they say is above; `reknit doctor` checks the installation; --resume goes on",
            )
        self._workers[self._workers.index(worker)] = self._started(worker.number)
        for item in lost:
            error = ExternalError(
                f"the worker process {worker.reason()}",
                code="batch.worker-died",
                hint="memory may have run out: try fewer --workers; or this picture makes a library crash",
            )
            yield Outcome(id=item.id, image=item.image, state="failed", error=error.to_dict(), may_pass=True)


class _Worker:
    """One process, and what it was sent and has not answered."""

    def __init__(
        self,
        number: int,
        hello: Mapping[str, Any],
        events: SimpleQueue[tuple[_Worker, Outcome | None]],
        device: str | None,
    ) -> None:
        self.number = number
        self.sent: dict[int, Item] = {}
        self._events = events
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        if device is not None:
            environment["CUDA_VISIBLE_DEVICES"] = device
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        self._write(hello)
        self._listener = threading.Thread(target=self._listen, name="reknit-batch", daemon=True)
        self._listener.start()

    @property
    def room(self) -> int:
        """How many more items it may be sent: one that was tried before goes alone."""
        if any(item.tries for item in self.sent.values()):
            return 0
        return HELD - len(self.sent)

    def send(self, item: Item) -> None:
        self.sent[item.id] = item
        self._write(item.to_dict())

    def finish(self) -> None:
        """Let it end by itself."""
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
            self._process.wait(timeout=5)

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

    def reason(self) -> str:
        """Say how it died."""
        code = self._process.wait()
        if code >= 0:
            return f"ended with status {code}"
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
        return f"was ended by signal {-code}"

    def _write(self, data: Mapping[str, Any]) -> None:
        with suppress(OSError):  # a dead one is noticed by its silence
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(data, default=str).encode() + b"\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with suppress(ValueError, OSError):
            for line in self._process.stdout:
                self._events.put((self, Outcome.of(json.loads(line))))
        self._events.put((self, None))
