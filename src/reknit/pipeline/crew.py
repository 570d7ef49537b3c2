"""Run pieces of work side by side while the caller's thread watches.

The watching thread tells progress and notices a cancel or Ctrl-C at least every 50 ms, whatever the workers do;
they stop at their next report, and what one of them still finishes is thrown away. Nothing here knows what
the work is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from reknit.core.progress import CancelToken, Report, Reporter

POLL_S = 0.05

W = TypeVar("W")
T = TypeVar("T")
R = TypeVar("R")


def run_all(
    work: Callable[[W, T, Report], R],
    tasks: Sequence[T],
    *,
    workers: Sequence[W],
    weights: Sequence[float],
    report: Report,
) -> list[R]:
    """Return ``work(worker, task, report)`` for every task, in the order of the tasks.

    Parameters
    ----------
    work
        Called in a thread of its own for each worker; should report at least every 50 ms.
    tasks
        What to do. Each is taken by the first worker that is free.
    workers
        What belongs to one thread at a time, such as a session.
    weights
        What each task costs, for the fraction that is reported.
    report
        Called from this thread only.

    Raises
    ------
    Exception
        The first that ``work`` or ``report`` raised.
    """
    board = _Board(weights)
    todo = deque(enumerate(tasks))
    results: dict[int, R] = {}

    def take(worker: W) -> None:
        while todo:
            try:
                index, task = todo.popleft()
            except IndexError:  # another worker was faster
                return
            results[index] = work(worker, task, _Line(board, index))
            board.done[index] = 1.0

    pool = ThreadPoolExecutor(len(workers), thread_name_prefix="reknit")
    try:
        pending = {pool.submit(take, worker) for worker in workers}
        while pending:
            finished, pending = wait(pending, timeout=POLL_S, return_when=FIRST_EXCEPTION)
            board.tell(report)
            for future in finished:
                future.result()
    except BaseException:
        board.stop.cancel()
        todo.clear()
        raise
    finally:
        pool.shutdown(wait=False)
    return [results[index] for index in range(len(tasks))]


class _Board:
    """How far each task is, and what was said last; written by workers, read by the watching thread."""

    def __init__(self, weights: Sequence[float]) -> None:
        self.weights = weights
        self.done = [0.0] * len(weights)
        self.last: tuple[str, Any] = ("fill", None)
        self.stop = CancelToken()

    def tell(self, report: Report) -> None:
        total = sum(self.weights)
        fraction = sum(w * d for w, d in zip(self.weights, self.done, strict=True)) / total if total else 1.0
        stage, preview = self.last
        if report.step(stage, fraction, preview):
            self.stop.hurry()


class _Line(Reporter):
    """One task's `Report`."""

    __slots__ = ("_board", "_index")

    def __init__(self, board: _Board, index: int) -> None:
        super().__init__(None, board.stop)
        self._board = board
        self._index = index

    def step(self, stage: str, fraction: float, preview: Any = None) -> bool | None:
        """Note a step and return whether to hurry, or raise `Cancelled`."""
        hurried = super().step(stage, fraction, preview)
        self._board.done[self._index] = min(1.0, max(self._board.done[self._index], fraction))
        self._board.last = (stage, preview)
        return hurried
