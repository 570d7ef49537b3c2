"""The loop of a worker process: claim a job, run its handler, note the outcome.

It runs in a child of `reknit.jobs.supervisor` and speaks JSON lines with it: commands come in, events go out, and
the end of the commands means that the parent is gone: the job is handed back and the process ends at once, even
in the middle of native code. The handler runs in the main thread; one thread listens, and while a job runs
another renews its lease and looks whether somebody cancelled it. What a job is about is known to its handler only.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from reknit.core.errors import Cancelled, ExternalError, NotFound, ReknitError, nearest_name
from reknit.core.progress import CancelToken, Reporter, Step
from reknit.jobs.job import Job
from reknit.jobs.store import Store

Tell = Callable[[Mapping[str, Any]], None]


class Teller(Reporter):
    """The `Report` of a job: over it a handler can also tell its own clients what nobody else understands."""

    __slots__ = ("_tell",)

    def __init__(self, callback: Callable[[Step], None], token: CancelToken, tell: Tell) -> None:
        super().__init__(callback, token)
        self._tell = tell

    def tell(self, data: Mapping[str, Any]) -> None:
        """Publish JSON in the hub, as ``{"type": "told", "id": job, "told": data}``; none is lost while it runs."""
        self._tell(data)


Handler = Callable[[Mapping[str, Any], Teller], Mapping[str, Any]]
"""Takes a job's payload and where to report; returns its result. Both are JSON."""

IDLE_S = 1.0
"""How often an idle worker looks by itself: other processes may queue jobs without waking it."""
LOOK_S = 0.2
"""How often a running job's lease and progress are written, and its cancel is looked for."""
PROGRESS_S = 0.05
"""The least time between two progress events."""
PASSING = {"disk.full": "waiting for disk space", "jobs.busy": "waiting to note the result"}
"""What an outcome waits for, and what is told meanwhile."""
OOM_SCORE = "500"
"""When Linux runs out of memory, it shall end the worker, which is replaced, and not the server."""


def serve(
    store: Store,
    handlers: Mapping[str, Handler],
    *,
    name: str,
    commands: BinaryIO,
    events: BinaryIO,
    lease_s: float = 10.0,
    kind: str | None = None,
    but: str | None = None,
    free: Callable[[], None] | None = None,
) -> None:
    """Run jobs until ``commands`` ends. Call it in the main thread, when all that is slow is imported.

    Parameters
    ----------
    store
        Where the jobs are.
    handlers
        What runs them, by kind.
    name
        The worker's name in the store: the device that the supervisor gave.
    commands
        JSON lines: ``{"wake": 1}``, ``{"cancel": id}``, ``{"free": 1}``.
    events
        JSON lines: ``{"ready": pid}``, ``{"job": …}``, ``{"progress": …}``, ``{"told": …}``.
    lease_s
        How long a job stays with a worker that has stopped answering.
    kind, but
        Run only jobs of this kind; none of that one, which has a worker of its own.
    free
        Lets go of what handlers keep in memory; called between two jobs.
    """
    with suppress(OSError, ValueError, AttributeError):
        faulthandler.enable(all_threads=False)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE, encoding="ascii")
    claim = partial(store.claim, name, lease_s, kind=kind, but=but)
    _Worker(store, handlers, claim, commands, events, lease_s, free).run()


def take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Return this process's standard input and output as ``commands, events`` for `serve`.

    What handlers and native libraries print goes to standard error from now on, and they find nothing to read.
    """
    commands, events = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return commands, events


class _Work:
    """One job while it runs: its token, and its progress on the way to the events."""

    def __init__(self, job: Job, say: Callable[[Mapping[str, Any]], None]) -> None:
        self.job = job
        self.token = CancelToken()
        self.at = Step(stage="", fraction=0.0)
        self.report = Teller(self._step, self.token, self._tell)
        self._say = say
        self._began = time.monotonic()
        self._said = 0.0

    def _tell(self, data: Mapping[str, Any]) -> None:
        self._say({"told": {"id": self.job.id, "told": data}})

    def _step(self, step: Step) -> None:
        self.at = step
        now = time.monotonic()
        if step.preview is None and now - self._said < PROGRESS_S:
            return
        self._said = now
        spent_s = now - self._began
        early = spent_s < 0.5 or step.fraction < 0.02
        self._say(
            {
                "progress": {
                    "id": self.job.id,
                    "stage": step.stage,
                    "fraction": step.fraction,
                    "seconds_left": None if early else spent_s * (1 - step.fraction) / step.fraction,
                    "preview": step.preview,
                }
            }
        )


class _Worker:
    def __init__(
        self,
        store: Store,
        handlers: Mapping[str, Handler],
        claim: Callable[[], Job | None],
        commands: BinaryIO,
        events: BinaryIO,
        lease_s: float,
        free: Callable[[], None] | None,
    ) -> None:
        self._store = store
        self._handlers = handlers
        self._take = claim
        self._commands = commands
        self._events = events
        self._lease_s = lease_s
        self._free = free
        self._freeing = threading.Event()
        self._work: _Work | None = None
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._saying = threading.Lock()

    def run(self) -> None:
        """Work until the commands end."""
        threading.Thread(target=self._listen, name="reknit-listen", daemon=True).start()
        self._say({"ready": os.getpid()})
        while not self._stopping.is_set():
            self._woken.clear()
            if self._freeing.is_set():
                self._freeing.clear()
                if self._free is not None:
                    self._free()
            if (job := self._claim()) is None:
                self._woken.wait(IDLE_S)
            else:
                self._do(job)

    def _claim(self) -> Job | None:
        try:
            return self._take()
        except ExternalError as error:
            if error.code not in PASSING:
                raise
            return None

    def _do(self, job: Job) -> None:
        self._work = work = _Work(job, self._say)
        if self._stopping.is_set():  # what _leave would do if it had seen the work
            self._store.hand_back(job)
            return
        self._say({"job": job.to_dict()})
        with self._kept(work):
            settled = self._settle(work, self._run(work))
        self._work = None
        if settled is not None:
            self._say({"job": settled.to_dict()})

    def _run(self, work: _Work) -> Callable[[], Job | None]:
        """Run the handler; return how to note what came of it."""
        job = work.job
        try:
            result = self._handler(job.kind)(job.payload, work.report)
        except Cancelled as error:
            return partial(self._store.cancelled, job, _explained(error) if error.facts else None)
        except MemoryError:
            return partial(self._store.fail, job, _OUT_OF_MEMORY.to_dict(), retry=True)
        except BaseException as error:  # a plug-in may also raise SystemExit: no reason to die
            if work.token.cancelled:
                return partial(self._store.cancelled, job)
            return partial(self._store.fail, job, _explained(error))
        return partial(self._store.finish, job, result)

    def _handler(self, kind: str) -> Handler:
        if kind not in self._handlers:
            raise NotFound(
                f"no worker knows jobs of the kind {kind!r}",
                code="jobs.unknown-kind",
                hint=nearest_name(kind, self._handlers),
            )
        return self._handlers[kind]

    def _settle(self, work: _Work, write: Callable[[], Job | None]) -> Job | None:
        """Note the outcome. A full disk and a blocked store are waited for: the work is done and would be lost."""
        while True:
            try:
                return write()
            except (TypeError, ValueError) as error:  # the result is no JSON
                write = partial(self._store.fail, work.job, _explained(error))
            except ExternalError as error:
                if error.code not in PASSING:
                    raise
                progress = {"id": work.job.id, "stage": PASSING[error.code], "fraction": 1.0}
                self._say({"progress": {**progress, "seconds_left": None, "preview": None}})
                if self._stopping.wait(IDLE_S):
                    return None

    @contextmanager
    def _kept(self, work: _Work) -> Generator[None]:
        """Keep the lease, from another thread."""
        over = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(work, over), name="reknit-keep", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            over.set()
            keeper.join()

    def _keep(self, work: _Work, over: threading.Event) -> None:
        while not over.wait(LOOK_S):
            at = work.at
            with suppress(ExternalError):  # the next look may succeed; the lease lasts longer
                held = self._store.renew(work.job, self._lease_s, at.stage, at.fraction)
                if held is None or held.cancel_requested:
                    work.token.cancel()
                elif held.hurried:
                    work.token.hurry()

    def _listen(self) -> None:
        with suppress(OSError, ValueError):
            for line in self._commands:
                command = json.loads(line)
                work = self._work
                if "wake" in command:
                    self._woken.set()
                elif "free" in command:
                    self._freeing.set()
                    self._woken.set()
                elif work is not None and command.get("cancel") == work.job.id:
                    work.token.cancel()
        self._leave()

    def _leave(self) -> None:
        self._stopping.set()
        self._woken.set()
        work = self._work
        if work is not None:
            with suppress(ReknitError):
                self._store.hand_back(work.job)
            os._exit(0)

    def _say(self, event: Mapping[str, Any]) -> None:
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        with suppress(OSError), self._saying:  # who reads no events is gone; the end of the commands tells it
            self._events.write(line)
            self._events.flush()


_OUT_OF_MEMORY = ExternalError(
    "memory ran out, twice", code="memory.out", hint="close other programs, or fill a smaller picture"
)


def _explained(error: BaseException) -> dict[str, Any]:
    if isinstance(error, ReknitError):
        return json.loads(json.dumps(error.to_dict(), default=str))  # facts may hold paths
    import traceback

    traceback.print_exception(error, file=sys.stderr)
    crash = ExternalError(
        f"unexpected {type(error).__name__}: {error}",
        code="jobs.crash",
        hint="this is a bug in Reknit or in an engine; please report it",
        type=type(error).__name__,
    )
    return crash.to_dict()
