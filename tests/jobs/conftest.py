"""A store, a hub whose events are kept in a list, and supervisors that are stopped at the end."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reknit.jobs.events import Event, Hub
from reknit.jobs.job import FINAL, Job
from reknit.jobs.store import FILE_NAME, Store
from reknit.jobs.supervisor import Supervisor
from tests.patience import PATIENCE_S, until

CHILD = Path(__file__).with_name("child.py")


class Kept(Hub):
    """A hub that also keeps what is published, with the time."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[float, Event]] = []

    def publish(self, event: Event) -> None:
        self.events.append((time.monotonic(), event))
        super().publish(event)

    def states(self, job: Job) -> list[str]:
        jobs = [event["job"] for _, event in self.events if event["type"] == "job"]
        return [found["state"] for found in jobs if found["id"] == job.id]

    def course(self, job: Job) -> list[str]:
        """Return the states from its first beginning on: a supervisor that looks in time sees it wait, too."""
        states = self.states(job)
        return states[1:] if states[:1] == ["queued"] else states

    def progress(self, job: Job) -> list[Any]:
        return [e for _, e in self.events if e["type"] == "progress" and e["id"] == job.id]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "data" / FILE_NAME)
    yield store
    store.check()
    store.close()


@pytest.fixture
def hub() -> Kept:
    return Kept()


def command(store: Store) -> list[str]:
    return [sys.executable, str(CHILD), str(store.path)]


@pytest.fixture
def supervise(store: Store, hub: Kept) -> Iterator[Callable[..., Supervisor]]:
    """Return a function that starts a supervisor of `child.py` and waits until its workers are ready."""
    started: list[Supervisor] = []

    def start(**options: Any) -> Supervisor:
        supervisor = Supervisor(store, hub, command=command(store), **options)
        supervisor.start()
        started.append(supervisor)
        until(lambda: all(worker.state == "idle" for worker in supervisor.workers()))
        return supervisor

    yield start
    for supervisor in started:
        supervisor.stop()


def ended(store: Store, job: Job, within_s: float = PATIENCE_S) -> Job:
    """Wait for a job to be done, failed or cancelled."""

    def final() -> Job | None:
        now = store.get(job.id)
        return now if now.state in FINAL else None

    found: Job = until(final, within_s)
    return found
