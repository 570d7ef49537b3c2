"""A worker as its supervisor sees it: outcomes, progress, cancelling, and an end when its parent ends."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reknit.jobs.job import Job
from reknit.jobs.store import Store
from reknit.jobs.supervisor import Supervisor
from reknit.jobs.worker import PROGRESS_S
from tests.jobs.conftest import Kept, command, ended
from tests.patience import PATIENCE_S, quick, until

Supervise = Callable[..., Supervisor]


def run(store: Store, supervisor: Supervisor, kind: str, **payload: Any) -> Job:
    job, _ = store.submit(kind, payload)
    supervisor.wake()
    return ended(store, job)


def test_outcomes(store: Store, hub: Kept, supervise: Supervise, tmp_path: Path) -> None:
    supervisor = supervise()
    job = run(store, supervisor, "echo", text="ä")
    assert (job.state, job.attempts, job.result) == (
        "done",
        1,
        {"echo": {"text": "ä"}, "pid": supervisor.workers()[0].pid},
    )
    until(lambda: hub.course(job) == ["running", "done"])

    log = tmp_path / "log"
    expected = {
        "typed": ("engine.crashed", "it broke", 1),
        "bug": ("jobs.crash", "KeyError", 1),
        "quits": ("jobs.crash", "SystemExit", 1),
        "no_json": ("jobs.crash", "not JSON serializable", 1),
        "nonsense": ("jobs.unknown-kind", "nonsense", 1),
        "memory": ("memory.out", "memory", 2),
    }
    for kind, (code, message, attempts) in expected.items():
        job = run(store, supervisor, kind, log=str(log))
        assert job.error is not None
        assert (job.state, job.error["code"], job.attempts) == ("failed", code, attempts)
        assert message in job.error["message"]
    assert len(log.read_text().splitlines()) == 2
    assert supervisor.workers()[0].restarts == 0


def test_progress_comes_often_to_listeners_and_seldom_to_the_disk(
    store: Store, hub: Kept, supervise: Supervise
) -> None:
    supervisor = supervise()
    began = time.monotonic()
    job, _ = store.submit("steps", {"seconds": 20})
    supervisor.wake()
    seen = until(lambda: (now := store.get(job.id)).fraction > 0 and now)
    assert (seen.stage, seen.state) == ("working", "running")
    until(lambda: len(now := hub.progress(job)) >= 12 and now[-1]["seconds_left"] is not None)
    supervisor.cancel(job.id)
    ended(store, job)
    until(lambda: "cancelled" in hub.states(job))
    progress = hub.progress(job)
    heard = [at for at, event in hub.events if event in progress]
    assert len(progress) <= 1 + (heard[-1] - began) / PROGRESS_S
    assert np.median(np.diff(heard)) < 0.12
    assert [p["fraction"] for p in progress] == sorted(p["fraction"] for p in progress)
    assert progress[0]["seconds_left"] is None
    done, left = progress[-1]["fraction"], progress[-1]["seconds_left"]
    assert 20 * (1 - done) <= left * 1.001 <= 1.002 * (heard[-1] - began) * (1 - done) / done


def test_previews_pass_as_they_are(store: Store, hub: Kept, supervise: Supervise) -> None:
    job = run(store, supervise(), "preview")
    until(lambda: "done" in hub.states(job))
    assert [p["preview"] for p in hub.progress(job)] == [{"blob": str(n)} for n in range(3)]


def test_what_a_handler_tells_comes_whole_in_order_and_before_the_end(
    store: Store, hub: Kept, supervise: Supervise
) -> None:
    job = run(store, supervise(), "tells", count=500)
    until(lambda: "done" in hub.states(job))
    heard = [event for _, event in hub.events if event["type"] == "told" or event.get("job", {}).get("id")]
    assert [event["told"]["number"] for event in heard if event["type"] == "told"] == list(range(500))
    assert heard[-1]["type"] == "job"
    assert {event["id"] for event in heard if event["type"] == "told"} == {job.id}


def test_a_handler_that_was_stopped_may_say_where(store: Store, hub: Kept, supervise: Supervise) -> None:
    job = run(store, supervise(), "tells", count=3, stops=True)
    assert job.state == "cancelled"
    assert job.error is not None
    assert job.error["facts"] == {"number": 3}
    assert store.retry(job.id).error is None


def test_workers_let_go_between_two_jobs(store: Store, supervise: Supervise) -> None:
    supervisor = supervise()
    assert run(store, supervisor, "tells", count=0).result == {"freed": []}
    supervisor.free()  # a job that was queued right behind may still come first

    def freed() -> Any:
        return run(store, supervisor, "tells", count=0).result

    until(lambda: freed() == {"freed": [1]})
    assert freed() == {"freed": [1]}  # once, not before every job


def test_cancel_reaches_a_running_job_at_once(store: Store, hub: Kept, supervise: Supervise) -> None:
    supervisor = supervise()

    def cancel() -> float:
        job, _ = store.submit("steps", {"seconds": 600})
        supervisor.wake()
        until(lambda: hub.progress(job))
        began = time.monotonic()
        assert supervisor.cancel(job.id).cancel_requested
        until(lambda: hub.states(job)[-1] == "cancelled")
        spent = time.monotonic() - began
        assert ended(store, job).state == "cancelled"
        return spent

    quick(0.1, cancel)  # about 10 ms on an idle machine


def test_hurry_reaches_a_running_job(store: Store, hub: Kept, supervise: Supervise) -> None:
    supervisor = supervise()

    def hurry() -> float:
        job, _ = store.submit("walk", {"steps": 60_000})
        supervisor.wake()
        until(lambda: hub.progress(job))
        began = time.monotonic()
        supervisor.hurry(job.id)
        done = ended(store, job)
        assert done.state == "done" and done.result is not None
        assert 0 < done.result["walked"] < 60_000
        return time.monotonic() - began

    quick(2, hurry)


def test_cancel_by_another_process_is_noticed(store: Store, hub: Kept, supervise: Supervise) -> None:
    supervisor = supervise()
    other = Store(store.path)

    def cancel() -> float:
        job, _ = store.submit("steps", {"seconds": 600})
        supervisor.wake()
        until(lambda: hub.progress(job))
        began = time.monotonic()
        other.cancel(job.id)
        assert ended(store, job).state == "cancelled"
        return time.monotonic() - began

    quick(1.5, cancel)
    other.close()


def test_work_whose_lease_was_lost_stops_and_writes_nothing(
    store: Store, hub: Kept, supervise: Supervise, tmp_path: Path
) -> None:
    supervisor = supervise()
    log = tmp_path / "log"
    job, _ = store.submit("steps", {"first": 600, "seconds": 0.1, "log": str(log)})
    supervisor.wake()
    until(lambda: hub.progress(job))
    store.release("cpu", {"code": "test"})
    done = ended(store, job)
    assert (done.state, done.attempts) == ("done", 2)
    assert [line.split()[1] for line in log.read_text().splitlines()] == ["begun", "begun", "done"]
    assert supervisor.workers()[0].restarts == 0


def test_a_job_queued_by_another_process_is_found(store: Store, supervise: Supervise) -> None:
    supervise()
    job, _ = store.submit("echo", {})
    assert ended(store, job).state == "done"


@pytest.mark.parametrize("kind", ["steps", "stubborn"])
def test_the_worker_ends_with_its_parent_even_while_a_job_runs(store: Store, kind: str) -> None:
    job, _ = store.submit(kind, {"seconds": 600})

    def end() -> float:
        process = subprocess.Popen(
            [*command(store), "--device", "cpu"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"ready": process.pid}
        assert json.loads(process.stdout.readline())["job"]["state"] == "running"
        began = time.monotonic()
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0
        spent = time.monotonic() - began
        process.stdout.close()
        back = store.get(job.id)
        assert (back.state, back.attempts) == ("queued", 0)
        return spent

    quick(2, end)


def test_an_idle_worker_ends_with_its_parent(store: Store) -> None:
    process = subprocess.run(
        [*command(store), "--device", "cpu"], input=b"", capture_output=True, check=True, timeout=PATIENCE_S
    )
    assert json.loads(process.stdout)["ready"]
    assert process.stderr == b""


def test_what_handlers_print_is_not_taken_for_events(store: Store, hub: Kept, supervise: Supervise) -> None:
    job = run(store, supervise(), "echo")
    until(lambda: hub.course(job) == ["running", "done"])


def test_a_wake_is_answered_in_milliseconds(store: Store, hub: Kept, supervise: Supervise) -> None:
    supervisor = supervise()
    run(store, supervisor, "echo")
    spent = []
    for _ in range(20):
        began = time.monotonic()
        job, _ = store.submit("echo", {})
        supervisor.wake()
        until(lambda job=job: hub.course(job) == ["running", "done"])
        spent.append(time.monotonic() - began)
    assert sorted(spent)[10] < 0.05 * (1 + (os.getloadavg()[0] if hasattr(os, "getloadavg") else 0))


def test_a_result_waits_for_space_on_a_full_disk(
    store: Store, hub: Kept, supervise: Supervise, tmp_path: Path
) -> None:
    """The child's store refuses to write as a full disk does, until a file named ``space`` appears."""
    supervisor = supervise()
    space = tmp_path / "space"
    job, _ = store.submit("full", {"space": str(space)})
    supervisor.wake()
    until(lambda: any(p["stage"] == "waiting for disk space" for p in hub.progress(job)))
    assert store.get(job.id).state == "running"
    space.touch()
    done = ended(store, job)
    assert (done.state, done.attempts, done.result) == ("done", 1, {"text": "x" * 10_000_000})
