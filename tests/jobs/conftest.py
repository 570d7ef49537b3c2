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


def until(happened: Callable[[], Any], within_s: float = 20) -> Any:
    """Wait until ``happened`` returns something true; return it."""
    end = time.monotonic() + within_s
    while not (value := happened()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)
    return value


def ended(store: Store, job: Job, within_s: float = 20) -> Job:
    """Wait for a job to be done, failed or cancelled."""

    def final() -> Job | None:
        now = store.get(job.id)
        return now if now.state in FINAL else None

    found: Job = until(final, within_s)
    return found
