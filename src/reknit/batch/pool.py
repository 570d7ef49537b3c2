"""Workers that are fed, watched and replaced, wherever they run.

A worker is sent a few items ahead, so that it never waits, and no more, so that nothing piles up. When one dies, its
items go to others, each alone, and the one that kills its worker again is given up: a picture fails alone. It knows no
ledger, and not what a worker is: `Processes` and `on_ray.Cluster` make them.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator
from queue import Empty, SimpleQueue

from reknit.batch.item import Item, Outcome
from reknit.batch.line import HELD
from reknit.core.errors import ExternalError, Unavailable

Take = Callable[[int], list[Item]]
"""Hands out up to so many items; fewer when there are no more for now."""
Events = SimpleQueue["tuple[Worker, Outcome | None]"]
"""What workers say: an outcome; or None, when it came up or died."""

PATIENCE_S = 600.0
"""How long to wait until there is room for the first worker."""
_MOST_DEATHS = 6


class Worker(ABC):
    """One worker, and what it was sent and has not answered."""

    ready = True
    """Whether it came up; one that did not yet is sent nothing."""

    def __init__(self, number: int, events: Events) -> None:
        self.number = number
        self.events = events
        self.sent: dict[int, Item] = {}

    @property
    def room(self) -> int:
        """How many more items it may be sent: one that was tried before goes alone."""
        if not self.ready or any(item.tries for item in self.sent.values()):
            return 0
        return HELD - len(self.sent)

    def send(self, item: Item) -> None:
        """Give it an item to do."""
        self.sent[item.id] = item
        self._write(item)

    @abstractmethod
    def _write(self, item: Item) -> None: ...

    @abstractmethod
    def died(self) -> bool:
        """Return whether it will not say any more."""

    @abstractmethod
    def reason(self) -> ExternalError:
        """Return how it died, as the failure of what it held."""

    @abstractmethod
    def finish(self) -> None:
        """Let it end by itself."""

    @abstractmethod
    def kill(self) -> None:
        """End it now."""


class Pool(ABC):
    """Runs items in ``count`` workers.

    Parameters
    ----------
    count
        How many at first.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._events: Events = SimpleQueue()
        self._workers: list[Worker] = []
        self._deaths = 0  # since the last outcome
        self._heard = time.monotonic()

    @abstractmethod
    def _started(self, number: int) -> Worker: ...

    def _grown(self) -> int:
        """Return how many workers there should be by now; never fewer than before."""
        return self.count

    def run(self, take: Take, stopping: threading.Event) -> Generator[Outcome | None]:
        """Yield outcomes as they come, and None about every 0.2 s in which none did.

        ``take`` is asked for items until it has none and none is running; once ``stopping`` is set, only those
        that were sent are finished. When the iterator is closed the workers are ended at once.

        Raises
        ------
        ExternalError
            ``batch.workers``: they die one after the other.
        Unavailable
            ``batch.no-room``: none came up.
        """
        alone: deque[Item] = deque()
        self._heard = time.monotonic()
        try:
            while True:
                self._workers += [self._started(i) for i in range(len(self._workers), self._grown())]
                more = not stopping.is_set() and self._feed(take, alone)
                if not more and not any(worker.sent for worker in self._workers):
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

    def _feed(self, take: Take, alone: deque[Item]) -> bool:
        """Send every worker as much as it may hold; return whether more may be left.

        An item that was tried before goes ``alone``.
        """
        for worker in self._workers:
            while worker.room and not (alone and worker.sent):
                items = [alone.popleft()] if alone else take(1)
                if not items:
                    return False
                if items[0].tries and worker.sent:
                    alone.append(items[0])
                else:
                    worker.send(items[0])
        return True

    def _next(self) -> Generator[Outcome | None]:
        try:
            worker, outcome = self._events.get(timeout=0.2)
        except Empty:
            self._check_ready()
            yield None
            return
        if outcome is not None:
            self._deaths = 0
            worker.sent.pop(outcome.id, None)
            yield outcome
        elif worker.died() and worker in self._workers:
            yield from self._replaced(worker)

    def _check_ready(self) -> None:
        if any(worker.ready for worker in self._workers):
            self._heard = time.monotonic()
        elif time.monotonic() - self._heard > PATIENCE_S:
            raise Unavailable(
                f"no worker came up in {PATIENCE_S:.0f} s",
                code="batch.no-room",
                hint="`ray status` shows what the cluster has and who uses it; --resume goes on",
            )

    def _replaced(self, worker: Worker) -> Generator[Outcome]:
        """Start another worker, and tell what the dead one held."""
        self._deaths += 1
        reason, lost = worker.reason(), list(worker.sent.values())
        worker.kill()
        if self._deaths > _MOST_DEATHS + len(self._workers):
            raise ExternalError(
                f"workers die one after the other: {reason.message}",
                code="batch.workers",
                hint="what they say is above; `reknit doctor` checks the installation; --resume goes on",
            )
        self._workers[self._workers.index(worker)] = self._started(worker.number)
        for item in lost:
            yield Outcome(id=item.id, image=item.image, state="failed", error=reason.to_dict(), may_pass=True)
