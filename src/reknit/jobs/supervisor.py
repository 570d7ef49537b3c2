"""The parent of the worker processes: one child for each device, watched and replaced when it dies.

A child that dies for whatever reason costs its job one attempt and nothing else. The children's events go to the
hub; commands for them go down their standard input, whose end tells them that this process is gone. It knows
neither what the command is that starts a child, nor what the jobs are about.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, cast

from reknit.core.errors import ExternalError, NotFound
from reknit.jobs.events import Hub
from reknit.jobs.job import FINAL, Job
from reknit.jobs.lock import FolderLock
from reknit.jobs.store import Mark, Store, mark

WorkerState = Literal["starting", "idle", "busy", "waiting", "stopped"]

LOCK_NAME = "serve.lock"
STOP_S = 3.0
"""How long a child may take to end by itself."""
WATCH_S = 0.5
"""How often expired leases, and what other processes did to the jobs, are looked for."""
STUCK_S = 10.0
"""Who sits so long in a change of the store hangs: changes take well under a millisecond. Less than `broken.BUSY_S`."""
STEADY_S = 30.0
"""A child that lived so long, or finished a job, is replaced at once when it dies."""
BACKOFF_S, BACKOFF_MOST_S = 0.5, 30.0
"""Otherwise the second death in a row costs this wait, each further one twice that, up to the most."""
TAIL_LINES = 20

_log = logging.getLogger("reknit.jobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """How one device's worker is.

    Attributes
    ----------
    device : str
    pid : int or None
    state : {'starting', 'idle', 'busy', 'waiting', 'stopped'}
        ``waiting`` is the pause before a child that dies again and again is replaced.
    restarts : int
    reason : str
        Why the last one died; empty if none did.
    """

    device: str
    pid: int | None
    state: WorkerState
    restarts: int
    reason: str


class Supervisor:
    """Keeps a worker alive for every device.

    Parameters
    ----------
    store, hub
        Where jobs are, and where events go.
    command
        Starts a child; ``--device NAME`` is added. The child calls `reknit.jobs.worker.serve` with that name.
    devices
        Names of devices; each gets a child of its own.
    """

    def __init__(
        self, store: Store, hub: Hub, *, command: Sequence[str], devices: Sequence[str] = ("cpu",)
    ) -> None:
        self._store = store
        self._hub = hub
        self._lock = FolderLock(store.path.parent / LOCK_NAME)
        self._stopping = threading.Event()
        self._children = [_Child(device, [*command, "--device", device], self._heard) for device in devices]
        self._threads: list[threading.Thread] = []
        self._told: dict[str, Mark] = {}
        self._telling = threading.Lock()

    def start(self) -> None:
        """Take back what was running when the last server ended, and start the children; does not wait for them.

        Raises
        ------
        Unavailable
            ``serve.already-running``: another process has the data folder.
        """
        self._lock.acquire()
        self._publish(self._store.release(None, _INTERRUPTED.to_dict()))
        targets = [(self._watch, ()), (self._unblock, ())] + [
            (self._mind, (child,)) for child in self._children
        ]
        self._threads = [
            threading.Thread(target=target, args=args, name="reknit-jobs", daemon=True)
            for target, args in targets
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the children; a job that runs is handed back and begins anew with the next server."""
        self._stopping.set()
        for child in self._children:
            child.close()
        for thread in self._threads:
            thread.join(STOP_S)
        for child in self._children:
            child.kill()
        for thread in self._threads:
            thread.join(STOP_S)
        self._lock.release()

    def wake(self) -> None:
        """Tell the children that a job was queued. Never waits."""
        for child in self._children:
            child.send({"wake": 1})

    def free(self) -> None:
        """Tell the children to let go of what their handlers keep, once they are between two jobs. Never waits."""
        for child in self._children:
            child.send({"free": 1})

    def cancel(self, job_id: str) -> Job:
        """Cancel a job: at once if it is queued, otherwise its worker is told; raises `NotFound`."""
        job = self._store.cancel(job_id)
        if job.state == "running":
            for child in self._children:
                child.send({"cancel": job_id})
        self._publish([job])
        return job

    def hurry(self, job_id: str) -> Job:
        """Ask a running job to end with what it has, and cancel one that waits; raises `NotFound`.

        Its worker sees that within `reknit.jobs.worker.LOOK_S`. Handlers that have nothing before they are done go on.
        """
        job = self._store.hurry(job_id)
        self._publish([job])
        return job

    def tell(self, job: Mapping[str, Any], *, new: bool = False) -> None:
        """Publish a job, as ``Job.to_dict`` gives it, unless that is what was told last.

        Nor is it published if its worker was faster: if it is ``new``, what was told of it already is newer.
        """
        with self._telling:
            now, told = mark(job), self._told.get(job["id"])
            late = told is not None and (new or (told[0] == "running" and now[1] < told[1]))
            if now != told and not late:
                self._told[job["id"]] = now
                self._hub.publish({"type": "job", "job": job})

    def workers(self) -> list[WorkerStatus]:
        """Return how each device's worker is."""
        return [child.status() for child in self._children]

    def _publish(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self.tell(job.to_dict())

    def _heard(self, event: Mapping[str, Any]) -> None:
        if "job" in event:
            self.tell(event["job"])
        elif "progress" in event:
            self._hub.publish({"type": "progress", **event["progress"]})
        elif "told" in event:
            self._hub.publish({"type": "told", **event["told"]})

    def _mind(self, child: _Child) -> None:
        """Keep one device's child alive; the body of its thread."""
        deaths, wait_s = 0, 0.0
        while not self._stopping.wait(wait_s):
            steady, reason = child.live(self._stopping)
            if self._stopping.is_set():
                break
            deaths = 1 if steady else deaths + 1
            wait_s = 0.0 if deaths == 1 else min(BACKOFF_MOST_S, BACKOFF_S * 2 ** (deaths - 2))
            _log.error("%s; starting another in %.1f s", reason.message, wait_s)
            try:
                self._publish(self._taken_back(child, reason))
            except (ExternalError, NotFound) as error:  # a lease that could not be released will expire
                _log.error("%s", error.message)
            self.wake()
        child.stopped()

    def _taken_back(self, child: _Child, reason: ExternalError) -> list[Job]:
        jobs = self._store.release(child.device, reason.to_dict())
        if child.job_id is not None and child.job_id not in {job.id for job in jobs}:
            jobs.append(self._store.get(child.job_id))  # it died after noting an outcome, before telling it
        return jobs

    def _watch(self) -> None:
        """Take back what has an expired lease, and end the child that lets it expire: it hangs.

        And notice what other processes, such as `reknit jobs cancel`, did to the jobs.
        """
        looked, version = time.time(), 0
        while not self._stopping.wait(WATCH_S):
            version = self._notice(version)
            slept, looked = time.time() - looked, time.time()
            if (
                not 0 <= slept < 3 * WATCH_S
            ):  # the machine slept, or its clock was set: let the children renew
                continue
            try:
                expired = self._store.expire(looked)
            except ExternalError as error:
                _log.error("%s", error.message)
                continue
            for child in self._children:
                if child.device in {job.worker for job in expired}:
                    child.kill()
            self._publish(expired)

    def _unblock(self) -> None:
        """End a child that hangs in the middle of a change of the store, where it keeps everybody from writing.

        Linux tells which one that is. Elsewhere idle ones go first, which costs nothing, then those that work. What is
        not a child is left alone, and each child is ended once for it.
        """
        while not self._stopping.wait(WATCH_S):
            suspects = sorted(self._children, key=lambda child: child.job_id is not None)
            while not self._stopping.is_set() and not self._writable():
                writer = self._store.writer()
                guilty = [child for child in suspects if writer is None or writer == child.status().pid]
                if guilty:
                    suspects.remove(child := guilty[0])
                    _log.error("the worker of %s is ended: one hangs and blocks the jobs", child.device)
                    child.kill()
                else:
                    _log.error("another program blocks %s", self._store.path)

    def _writable(self) -> bool:
        try:
            return self._store.writable(STUCK_S)
        except ExternalError as error:
            _log.error("%s", error.message)
            return True

    def _notice(self, version: int) -> int:
        """Publish the jobs that are other than was last told; return the store's version that was looked at."""
        try:
            now = self._store.version()
            if now == version:
                return now
            with self._telling:  # nothing newer is told meanwhile, so that nothing older follows it
                marks = self._store.marks()
                going = {job_id for job_id, told in self._told.items() if told[0] not in FINAL}
                self._told = {job_id: told for job_id, told in self._told.items() if job_id in going}
                other = [
                    job_id for job_id in going | set(marks) if self._told.get(job_id) != marks.get(job_id)
                ]
                for job_id in sorted(other):
                    self._tell_anew(job_id)
        except ExternalError as error:
            _log.error("%s", error.message)
            return version
        if any(marks[job_id][0] == "queued" for job_id in other if job_id in marks):
            self.wake()
        return now

    def _tell_anew(self, job_id: str) -> None:
        try:
            job = self._store.get(job_id).to_dict()
        except NotFound:  # forgotten meanwhile
            del self._told[job_id]
            return
        told = self._told.get(job_id)
        begun = job["attempts"] > (0 if told is None else told[1])
        if job["state"] in FINAL and (begun or any(child.job_id == job_id for child in self._children)):
            return  # its worker will say so, after all that it told before
        self._told[job_id] = mark(job)
        self._hub.publish({"type": "job", "job": job})


class _Child:
    """One device's process, and the one after it. ``job_id`` is the job that it said it runs."""

    def __init__(self, device: str, command: list[str], heard: Callable[[Mapping[str, Any]], None]) -> None:
        self.device = device
        self._command = command
        self._heard = heard
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self.job_id: str | None = None
        self._state: WorkerState = "stopped"
        self._lives = 0
        self._finished = 0
        self._reason = ""

    def live(self, stopping: threading.Event) -> tuple[bool, ExternalError]:
        """Start a process and hear it out; return whether it was steady, and why it ended."""
        began, finished = time.monotonic(), self._finished
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        try:
            process = self._start(stopping)
        except OSError as error:
            return False, self._died(f"cannot be started: {error.strerror or error}", "see the log", tail)
        listening = threading.Thread(target=self._complaints, args=(process, tail), daemon=True)
        listening.start()
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._hear(line)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:  # it closed its output, but lives
            process.kill()
            process.wait()
        listening.join(STOP_S)  # its last words; a grandchild may keep the pipe open
        self.close()
        steady = self._finished > finished or time.monotonic() - began > STEADY_S
        return steady, self._died(*_ending(process.returncode), tail)

    def _start(self, stopping: threading.Event) -> subprocess.Popen[bytes]:
        with self._lock:
            if stopping.is_set():
                raise OSError("the server stops")
            self._state = "starting"
            self.job_id = None
            self._lives += 1
            self._process = process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the server, which ends the child
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
            assert process.stdin is not None
            if sys.platform != "win32":
                os.set_blocking(process.stdin.fileno(), False)
            return process

    def _hear(self, line: bytes) -> None:
        event = _event(line)
        if event is None:  # something else wrote there
            _log.warning("worker %s: %s", self.device, line.decode("utf-8", "replace").rstrip())
            return
        if "ready" in event:
            self._state = "idle"
        elif "job" in event:
            running = event["job"]["state"] == "running"
            self._state = "busy" if running else "idle"
            self.job_id = event["job"]["id"] if running else None
            self._finished += event["job"]["state"] in FINAL
        self._heard(event)

    def _complaints(self, process: subprocess.Popen[bytes], tail: deque[str]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                text = line.decode("utf-8", "replace").rstrip()
                tail.append(text)
                _log.warning("worker %s: %s", self.device, text)

    def _died(self, how: str, hint: str, tail: Iterable[str]) -> ExternalError:
        self._state = "waiting"
        self._reason = f"the worker process of {self.device} {how}"
        return ExternalError(
            self._reason, code="jobs.worker-died", hint=hint, device=self.device, output=list(tail)
        )

    def send(self, command: Mapping[str, Any]) -> None:
        """Write a command; one that a dead or choked child cannot take is dropped: it looks by itself too."""
        with self._lock, suppress(OSError, ValueError):
            if self._process is not None and self._process.stdin is not None:
                os.write(self._process.stdin.fileno(), json.dumps(command).encode() + b"\n")

    def close(self) -> None:
        """End the commands, which ends the process."""
        with self._lock, suppress(OSError):
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()

    def kill(self) -> None:
        """End the process by force."""
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def stopped(self) -> None:
        """Note that no process will follow."""
        self._state = "stopped"

    def status(self) -> WorkerStatus:
        """Return how it is now."""
        process = self._process
        alive = process is not None and process.poll() is None
        return WorkerStatus(
            device=self.device,
            pid=process.pid if process is not None and alive else None,
            state=self._state,
            restarts=max(0, self._lives - 1),
            reason=self._reason,
        )


_INTERRUPTED = ExternalError(
    "the server ended while the job ran, twice",
    code="jobs.interrupted",
    hint="the machine may have run out of memory; try again, or fill a smaller picture",
)


def _event(line: bytes) -> Mapping[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return cast("Mapping[str, Any]", event) if isinstance(event, dict) else None


def _ending(status: int) -> tuple[str, str]:
    """Return how a process ended, and what may help."""
    if status == -9:  # SIGKILL, which Windows does not have
        return (
            "was killed by SIGKILL",
            "maybe the system ran out of memory: close other programs, or fill a smaller picture",
        )
    crashed = "an engine's native code crashed: try another engine, and please report it"
    if status < 0:
        try:
            return f"was killed by {signal.Signals(-status).name}", crashed
        except ValueError:
            return f"was killed by signal {-status}", crashed
    if status >= 0xC0000000:  # Windows' exceptions, e.g. an access violation
        return f"crashed with status 0x{status:08X}", crashed
    return f"ended with status {status}", "the error's facts hold its last output; please report it"
