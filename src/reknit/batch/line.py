"""A line of three: while one picture is filled, the next is read and the last is written.

At most `HELD` pictures are held at once, so memory is bounded by the number of lines. Failures travel along the line
as outcomes and stop nothing. It knows no files and no processes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Any

from reknit.batch.item import Item, Outcome
from reknit.batch.picture import Bench, Filled, Opened, failure

HELD = 3
"""Pictures in a line: one being read, one being filled, one being written."""


def work_off(items: Iterable[Item], bench: Bench, tell: Callable[[Outcome], None]) -> None:
    """Do all items; ``tell`` gets each outcome in the order of the items, from another thread.

    Filling happens in the calling thread. ``items`` is iterated in another one, never further ahead than `HELD`.
    """
    opened: SimpleQueue[Opened | Outcome | None] = SimpleQueue()
    filled: SimpleQueue[Filled | Outcome | None] = SimpleQueue()
    room = threading.Semaphore(HELD)

    def read() -> None:
        try:
            for item in items:
                room.acquire()
                opened.put(_tried(bench.open, item, item))
        finally:
            opened.put(None)

    def write() -> None:
        while (work := filled.get()) is not None:
            tell(work if isinstance(work, Outcome) else _tried(bench.write, work, work.item))
            del work
            room.release()

    reader = threading.Thread(target=read, name="reknit-read", daemon=True)
    writer = threading.Thread(target=write, name="reknit-write", daemon=True)
    reader.start()
    writer.start()
    while (work := opened.get()) is not None:
        filled.put(work if isinstance(work, Outcome) else _tried(bench.fill, work, work.item))
        del work
    filled.put(None)
    writer.join()
    reader.join()


def _tried(step: Callable[[Any], Any], given: Any, item: Item) -> Any:
    """Return what a step makes of ``given``, or the outcome of its failure."""
    try:
        return step(given)
    except Exception as error:  # whatever a picture or a plug-in raises, it fails alone
        return failure(item, error)
