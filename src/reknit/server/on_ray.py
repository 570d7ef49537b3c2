"""`reknit serve --ray`: the same application behind Ray Serve, its engines in replicas all over a cluster.

Two deployments. ``front`` is the one replica of the application, on the machine where the command was given: it has the
routes, the guard, the store, the pictures and the events. ``engines`` do the requests, one at a time in each replica.
The workers of the front are there as ever, but hand each request over (`perform`) and pass on what comes back.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import asyncio
import copyreg
import logging
import signal
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import replace
from queue import SimpleQueue
from types import FrameType, MappingProxyType
from typing import Any

from fastapi import FastAPI

from reknit.core.errors import Cancelled, ExternalError, ReknitError, Unavailable
from reknit.core.progress import CancelToken, Report, Reporter, Step
from reknit.server.rooms import ServeSettings
from reknit.server.tasks import Perform, perform_here

APP, FRONT, ENGINES = "reknit", "front", "engines"
THREADS_EACH = 4
"""CPU threads of a replica of the engines, where there are so many."""
_DONE, _FAILED, _STEP = "done", "failed", "step"


class Engines:
    """A replica that does requests; ``threads`` are its CPU threads. Models are those of its own node."""

    def __init__(self, threads: int) -> None:
        from reknit.config import load, model_store

        carry_mappings()
        settings = load()
        self._threads = threads
        self._models = lambda: model_store(settings)

    async def perform(self, kind: str, request: Any) -> AsyncGenerator[tuple[str, Any]]:
        """Do a request; yield its steps, then its result or its failure. Ending the iteration cancels it."""
        said: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        token = CancelToken()
        report = Reporter(lambda step: said.put((_STEP, step)), token)

        def work() -> None:
            try:
                said.put(
                    (_DONE, perform_here(kind, request, report, threads=self._threads, models=self._models))
                )
            except ReknitError as error:
                said.put((_FAILED, (type(error), error.to_dict())))
            except BaseException as error:
                said.put((_FAILED, (ExternalError, _crash(error).to_dict())))

        threading.Thread(target=work, name="reknit-engine", daemon=True).start()
        try:
            while True:
                what = await asyncio.to_thread(said.get)
                yield what
                if what[0] != _STEP:
                    return
        finally:
            token.cancel()


def perform_there(address: str) -> Perform:
    """Return what does requests in the engines' replicas of the cluster at ``address``."""
    ray, serve = imported()
    carry_mappings()
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    engines = serve.get_deployment_handle(ENGINES, app_name=APP).options(stream=True)

    def perform(kind: str, request: Any, report: Report) -> Any:
        answers = engines.perform.remote(kind, request)
        try:
            for what, told in answers:
                if what == _DONE:
                    return told
                if what == _FAILED:
                    raise _again(*told)
                step: Step = told
                if report.step(step.stage, step.fraction, step.preview):
                    raise Cancelled()  # a replica is not told to hurry
        except ReknitError:
            with suppress(Exception):
                answers.cancel()
            raise
        except Exception as error:
            raise _crash(error) from error
        raise _crash(EOFError("a replica ended without an answer"))

    return perform


def run(
    settings: ServeSettings,
    *,
    address: str,
    replicas: int | None,
    host: str,
    port: int,
    ready: Callable[[], None],
) -> None:
    """Serve on a Ray cluster until interrupted.

    Parameters
    ----------
    settings
        As for the plain server.
    address
        ``"local"`` begins a cluster on this machine; ``"auto"`` or an address joins one.
    replicas
        Of the engines; None for one for each GPU, else for every `THREADS_EACH` cores.
    host, port
        Where Ray's HTTP proxy listens.
    ready
        Called once requests are answered.

    Raises
    ------
    Unavailable
        ``serve.no-ray``, ``serve.no-cluster``
    """
    ray, serve = imported()
    _join(ray, address)
    try:
        resources = ray.cluster_resources()
        gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        threads = min(THREADS_EACH, cpus)
        count = replicas or gpus or max(1, cpus // threads)
        threads = max(1, min(threads, cpus // count))
        there = replace(
            settings,
            devices=tuple(f"ray-{i}" for i in range(count)),
            ray=ray.get_runtime_context().gcs_address,
        )
        here = ray.util.get_node_ip_address()
        serve.start(http_options={"host": host, "port": port, "location": "HeadOnly"})
        engines = serve.deployment(Engines).options(
            name=ENGINES,
            num_replicas=count,
            max_ongoing_requests=1,
            ray_actor_options={"num_cpus": threads, "num_gpus": min(1, gpus)},
        )
        front = serve.deployment(serve.ingress(_builder(there))()).options(
            name=FRONT,
            num_replicas=1,
            max_ongoing_requests=1000,
            graceful_shutdown_timeout_s=5,
            ray_actor_options={"num_cpus": 0, "resources": {f"node:{here}": 0.001}},
        )
        serve.run(front.bind(engines.bind(threads)), name=APP, route_prefix="/")
        ready()
        over = threading.Event()

        def stop(number: int, frame: FrameType | None) -> None:
            over.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        over.wait()
        serve.delete(APP)
    finally:
        ray.shutdown()


def _builder(settings: ServeSettings) -> Callable[[], FastAPI]:
    """Return what makes the application in its replica; the closure travels there."""

    def build() -> FastAPI:
        from reknit.server.app import create_app

        return create_app(settings)

    return build


def imported() -> tuple[Any, Any]:
    """Return Ray and Ray Serve; raises `Unavailable` (``serve.no-ray``)."""
    try:
        import ray  # pyright: ignore[reportMissingImports]
        from ray import serve  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise Unavailable(
            "--ray needs the modules of Ray Serve, which are not installed",
            code="serve.no-ray",
            hint="pip install 'reknit[cluster]'",
        ) from error
    return ray, serve


def _join(ray: Any, address: str) -> None:
    where: dict[str, Any] = {"include_dashboard": False} if address == "local" else {"address": address}
    for name in ("ray", "ray.serve"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        ray.init(**where, log_to_driver=False, configure_logging=False)
    except (ConnectionError, ValueError) as error:
        raise Unavailable(
            f"there is no Ray cluster at {address}",
            code="serve.no-cluster",
            hint="ray start --head begins one on this machine; or --ray local",
        ) from error


def carry_mappings() -> None:
    """Let read-only mappings, which requests and results hold, travel between processes."""
    copyreg.pickle(MappingProxyType, _parts)


def _parts(mapping: MappingProxyType[Any, Any]) -> tuple[Any, tuple[dict[Any, Any]]]:
    return MappingProxyType, (dict(mapping),)


def _again(kind: type[ReknitError], told: dict[str, Any]) -> ReknitError:
    facts: dict[str, Any] = told["facts"]
    return kind(told["message"], code=told["code"], hint=told["hint"], **facts)


def _crash(error: BaseException) -> ExternalError:
    return ExternalError(
        f"unexpected {type(error).__name__}: {error}",
        code="jobs.crash",
        hint="a replica may have died with its node, or this is a bug; try again",
        type=type(error).__name__,
    )
