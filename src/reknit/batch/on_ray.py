"""The same work list on a Ray cluster: one actor for each GPU or core, each with a line of its own.

Rows travel, never pixels: actors read and write paths that every node sees, or object stores. Ray places the actors,
starts nodes for them if the cluster scales itself, and tells which were lost with a node; the pool grows with the
cluster. Outputs are whole or absent, so doing a picture again changes nothing. The ledger stays with the process that
started the batch.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from reknit.batch.item import Item, Outcome, Setup
from reknit.batch.ledger import NODE_LOST, WORKER_DIED
from reknit.batch.line import HELD, work_off
from reknit.batch.pool import Events, Pool, Take, Worker
from reknit.core.errors import ExternalError, Unavailable

LOOK_S = 5.0
"""How often to look whether the cluster has grown."""
ASK_S = 0.5
"""How often to ask what became of an actor that cannot be reached."""


class Actor:
    """What a node runs: a line that keeps its networks loaded. Its calls overlap: up to `HELD` at once."""

    def __init__(self, setup: dict[str, Any], threads: int) -> None:
        from reknit.batch.picture import Bench
        from reknit.config import load, model_store

        settings = load()
        bench = Bench(Setup.of(setup), threads=threads, models=lambda: model_store(settings))
        self._items: SimpleQueue[Item] = SimpleQueue()
        self._answers: dict[int, Future[Outcome]] = {}
        line = (iter(self._items.get, None), bench, self._tell)
        threading.Thread(target=work_off, args=line, name="reknit-line", daemon=True).start()

    def node(self) -> str:
        """Return the id of the node it runs on."""
        return _imported().get_runtime_context().get_node_id()

    def do(self, text: str) -> str:
        """Do an item and return its outcome, both as JSON text."""
        item = Item(**json.loads(text))
        answer = self._answers[item.id] = Future[Outcome]()
        self._items.put(item)
        return json.dumps(answer.result().to_dict(), default=str)

    def _tell(self, outcome: Outcome) -> None:
        self._answers.pop(outcome.id).set_result(outcome)


class Cluster(Pool):
    """Runs items on a Ray cluster.

    Parameters
    ----------
    setup
        How pictures are done.
    address
        ``"auto"`` for the cluster this machine belongs to, or its address (``ray://…`` or ``host:port``).
    workers
        How many actors; None for one for each GPU, or each ``threads`` cores, and more as the cluster grows.
    threads
        CPU threads of each; None for 1.
    on_gpu
        Each actor gets a GPU, if the cluster has any.

    Raises
    ------
    Unavailable
        ``batch.no-ray``, ``batch.no-cluster``
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
        self._ray = _imported()
        self._joined = not self._ray.is_initialized()
        if self._joined:
            _join(self._ray, address)
        self._threads = threads or 1
        self._asked = workers
        self._gpus = int(on_gpu and self._ray.cluster_resources().get("GPU", 0) >= 1)
        self._actor = self._ray.remote(Actor).options(
            num_cpus=self._threads,
            num_gpus=self._gpus,
            max_concurrency=HELD,
            scheduling_strategy="SPREAD",
        )
        self._given = (setup.to_dict(), self._threads)
        self._looked = time.monotonic()
        super().__init__(workers or self._fitting())

    def run(self, take: Take, stopping: threading.Event) -> Generator[Outcome | None]:
        """Yield outcomes as they come; see `Pool.run`. Raises `ExternalError` (``batch.cluster``) too."""
        try:
            yield from super().run(take, stopping)
        except self._ray.exceptions.RayError as error:
            raise ExternalError(
                f"the cluster gave up: {error}",
                code="batch.cluster",
                hint="--resume goes on where it stopped",
            ) from error

    def close(self) -> None:
        """End the actors, and leave the cluster, if this joined it."""
        super().close()
        if self._joined:
            self._ray.shutdown()

    def _fitting(self) -> int:
        resources = self._ray.cluster_resources()
        return max(1, int(resources["GPU"] if self._gpus else resources.get("CPU", 1) / self._threads))

    def _grown(self) -> int:
        if self._asked is None and time.monotonic() - self._looked > LOOK_S:
            self._looked = time.monotonic()
            self.count = max(self.count, self._fitting())
        return self.count

    def _started(self, number: int) -> Worker:
        return _Remote(number, self._events, self._ray, self._actor.remote(*self._given))


class _Remote(Worker):
    """One actor: a call for each item; Ray's threads note the answers."""

    def __init__(self, number: int, events: Events, ray: Any, actor: Any) -> None:
        super().__init__(number, events)
        self.ready = False
        self._ray, self._actor = ray, actor
        self._node = ""
        self._error: BaseException | None = None
        actor.node.remote().future().add_done_callback(self._up)

    def _up(self, answer: Future[str]) -> None:
        try:
            self._node = answer.result()
            self.ready = True
        except Exception as error:
            self._error = error
        self.events.put((self, None))

    def _write(self, item: Item) -> None:
        self._actor.do.remote(json.dumps(item.to_dict())).future().add_done_callback(self._answered)

    def _answered(self, answer: Future[str]) -> None:
        try:
            self.events.put((self, Outcome.of(json.loads(answer.result()))))
        except Exception as error:
            if self.ready:
                self.ready = False
                self._lost(error)

    def _lost(self, error: BaseException | None) -> None:
        """Note why calls fail; while Ray does not know whether a process or a node is gone, ask it again."""
        if isinstance(error, self._ray.exceptions.ActorUnavailableError):
            asking = threading.Timer(ASK_S, self._ask)
            asking.daemon = True
            asking.start()
            return
        self._error = error or ConnectionError("it could not be reached for a while")
        self.events.put((self, None))

    def _ask(self) -> None:
        try:
            answer = self._actor.node.remote().future()
        except Exception as error:
            self._lost(error)
        else:
            answer.add_done_callback(self._told)

    def _told(self, answer: Future[str]) -> None:
        self._lost(answer.exception())

    def died(self) -> bool:
        """Return whether a call to it came back without an answer."""
        return self._error is not None

    def reason(self) -> ExternalError:
        """Say whether its node was lost, or what Ray says of its end."""
        alive = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
        if self._node and self._node not in alive:
            return ExternalError(
                f"the node {self._node[:12]} was lost",
                code=NODE_LOST,
                hint="--resume --retry-failed does what it held",
            )
        return ExternalError(
            f"the actor ended: {self._error}",
            code=WORKER_DIED,
            hint="memory may have run out: try fewer --workers; or this picture makes a library crash",
        )

    def finish(self) -> None:
        """Nothing runs in it any more."""

    def kill(self) -> None:
        """End it now."""
        with suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(self._actor)


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
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, ValueError) as error:
        raise Unavailable(
            f"there is no Ray cluster at {address}",
            code="batch.no-cluster",
            hint="ray start --head begins one on this machine",
        ) from error
