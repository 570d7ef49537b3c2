"""The same work list on a Ray cluster: Ray Data feeds a pool of actors, each with a line of its own.

Rows travel, never pixels: actors read and write paths that every node sees, or object stores. Ray schedules, scales
the pool, holds back what runs ahead, and does again what was lost with a node; outputs are whole or absent, so doing
one again changes nothing. The ledger stays with the process that started the batch.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import json
import logging
import threading
from collections.abc import Generator, Iterator
from typing import Any

from reknit.batch.item import Item, Outcome, Setup
from reknit.batch.processes import Take
from reknit.core.errors import ExternalError, Unavailable

CHUNK = 20_000
"""Items are given to Ray so many at a time; the driver holds no more."""
CALL_MOST, CALLS_EACH = 32, 8
"""An actor gets at most so many items in a call, and its share of a chunk in at least so many calls."""


class Worker:
    """What an actor runs: a line that keeps its networks loaded from call to call."""

    def __init__(self, setup: dict[str, Any], threads: int) -> None:
        from reknit.batch.picture import Bench
        from reknit.config import load, model_store

        settings = load()
        self._bench = Bench(Setup.of(setup), threads=threads, models=lambda: model_store(settings))

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Do some items and yield their outcomes, both as JSON text."""
        from reknit.batch.line import work_off

        outcomes: list[str] = []
        items = [Item(**json.loads(text)) for text in batch["item"]]
        work_off(
            items, self._bench, lambda outcome: outcomes.append(json.dumps(outcome.to_dict(), default=str))
        )
        yield {"outcome": outcomes}


class Cluster:
    """Runs items on a Ray cluster.

    Parameters
    ----------
    setup
        How pictures are done.
    address
        ``"auto"`` for the cluster this machine belongs to, or its address (``ray://…`` or ``host:port``).
    workers
        The most actors; None for one for each GPU, or each ``threads`` cores.
    threads
        CPU threads of each; None for 1.
    on_gpu
        Each actor gets a GPU, if the cluster has any.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        address: str,
        workers: int | None = None,
        threads: int | None = None,
        on_gpu: bool = False,
    ) -> None:
        self._setup = setup
        self._threads = threads or 1
        self._ray = _imported()
        self._joined = not self._ray.is_initialized()
        if self._joined:
            _join(self._ray, address)
        resources = self._ray.cluster_resources()
        self._gpus = 1 if on_gpu and resources.get("GPU", 0) >= 1 else 0
        most = resources["GPU"] if self._gpus else resources.get("CPU", 1) / self._threads
        self.workers = workers or max(1, int(most))

    def run(self, take: Take, stopping: threading.Event) -> Generator[Outcome | None]:
        """Yield outcomes as they come; see `Processes.run`.

        Once ``stopping`` is set what runs is left alone: its outputs are whole or absent, and resuming finds out.
        """
        while not stopping.is_set() and (items := take(CHUNK)):
            try:
                for text in self._outcomes(items):
                    yield Outcome.of(json.loads(text))
                    if stopping.is_set():
                        return
            except self._ray.exceptions.RayError as error:
                raise ExternalError(
                    f"the cluster gave up: {error}",
                    code="batch.cluster",
                    hint="--resume goes on where it stopped",
                ) from error

    def _outcomes(self, items: list[Item]) -> Generator[str]:
        from ray import data  # pyright: ignore[reportMissingImports]

        library: Any = data
        library.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        each = min(CALL_MOST, max(1, len(items) // (CALLS_EACH * self.workers)))
        done = (
            library.from_items(
                [{"item": json.dumps(item.to_dict())} for item in items],
                override_num_blocks=-(-len(items) // each),
            )
            .map_batches(
                Worker,
                fn_constructor_args=(self._setup.to_dict(), self._threads),
                batch_size=None,
                compute=library.ActorPoolStrategy(
                    min_size=1, max_size=self.workers, initial_size=self.workers
                ),
                num_cpus=self._threads,
                num_gpus=self._gpus or None,
            )
            .iter_batches(batch_size=None, prefetch_batches=0)
        )
        for batch in done:
            yield from batch["outcome"].tolist()

    def close(self) -> None:
        """Leave the cluster, if this joined it."""
        if self._joined:
            self._ray.shutdown()


def _imported() -> Any:
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise Unavailable(
            "--ray needs the module 'ray', which is not installed",
            code="batch.no-ray",
            hint="pip install 'reknit[cluster]'",
        ) from error
    return ray


def _join(ray: Any, address: str) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError) as error:
        raise Unavailable(
            f"there is no Ray cluster at {address}",
            code="batch.no-cluster",
            hint="ray start --head begins one on this machine",
        ) from error
