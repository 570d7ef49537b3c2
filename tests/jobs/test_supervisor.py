"""Workers that die: the job is tried once more, then failed with the reason; nothing is lost or done twice."""

import asyncio
import itertools
import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from reknit.core.errors import Unavailable
from reknit.jobs.job import FINAL
from reknit.jobs.store import Store
from reknit.jobs.supervisor import BACKOFF_S, Supervisor
from tests.jobs.conftest import Kept, command, ended
from tests.patience import PATIENCE_S, quick, until

Supervise = Callable[..., Supervisor]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")


@pytest.mark.parametrize(
    ("kind", "how", "hint"),
    [
        ("killed", "was killed by SIGKILL", "memory"),
        ("crash", "was killed by SIGSEGV", "native"),
        ("leave", "ended with status 7", "output"),
    ],
)
def test_a_job_that_kills_its_worker_is_tried_twice_then_failed(
    kind: str, how: str, hint: str, store: Store, hub: Kept, supervise: Supervise
) -> None:
    supervisor = supervise()
    job, _ = store.submit(kind, {})
    supervisor.wake()
    failed = ended(store, job)
    assert failed.error is not None
    assert (failed.state, failed.attempts, failed.error["code"]) == ("failed", 2, "jobs.worker-died")
    assert how in failed.error["message"]
    assert hint in failed.error["hint"]
    assert ("Segmentation fault" in str(failed.error["facts"]["output"])) == (kind == "crash")
    until(lambda: hub.course(job) == ["running", "queued", "running", "failed"])
    after, _ = store.submit("echo", {})
    assert ended(store, after).state == "done"
    assert supervisor.workers()[0].restarts == 2
    assert how in supervisor.workers()[0].reason


def test_a_worker_killed_once_costs_nothing_but_time(
    store: Store, hub: Kept, supervise: Supervise, tmp_path: Path
) -> None:
    supervisor = supervise()
    job, _ = store.submit("steps", {"first": 600, "seconds": 0.1, "log": str(tmp_path / "log")})
    supervisor.wake()
    until(lambda: hub.progress(job))
    os.kill(supervisor.workers()[0].pid or 0, signal.SIGKILL)
    done = ended(store, job)
    assert (done.state, done.attempts) == ("done", 2)


def test_a_cancelled_job_is_not_begun_again(store: Store, hub: Kept, supervise: Supervise) -> None:
    supervisor = supervise()
    job, _ = store.submit("stubborn", {"seconds": 600})
    supervisor.wake()
    until(lambda: hub.course(job) == ["running"])
    supervisor.cancel(job.id)
    os.kill(supervisor.workers()[0].pid or 0, signal.SIGKILL)
    assert ended(store, job).state == "cancelled"


def freeze(pid: int, store: Store) -> None:
    """Stop a process, but not in the middle of a transaction, which would keep everybody from writing."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
        with closing(sqlite3.connect(store.path, timeout=0, isolation_level=None)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError:
                os.kill(pid, signal.SIGCONT)
                time.sleep(0.01)


def test_a_hanging_worker_is_replaced(store: Store, hub: Kept, supervise: Supervise, tmp_path: Path) -> None:
    supervisor = supervise()
    job, _ = store.submit("steps", {"first": 600, "seconds": 0.1, "log": str(tmp_path / "log")})
    supervisor.wake()
    until(lambda: hub.progress(job))
    stopped = supervisor.workers()[0].pid or 0
    freeze(stopped, store)
    with closing(sqlite3.connect(store.path)) as other, other:  # as if the lease had been a short one
        other.execute("UPDATE job SET lease_until = 0 WHERE id = ?", (job.id,))
    done = ended(store, job)
    assert (done.state, done.attempts) == ("done", 2)
    assert supervisor.workers()[0].pid != stopped


def test_who_hangs_in_a_write_is_ended_before_others_give_up(
    store: Store, hub: Kept, supervise: Supervise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reknit.jobs.supervisor.STUCK_S", 0.2)
    supervisor = supervise()
    job, _ = store.submit("sits", {"log": str(tmp_path / "log")})
    supervisor.wake()
    until(lambda: (tmp_path / "log").exists())
    other, _ = store.submit("echo", {})  # waits for the file, and gets it
    assert (ended(store, job).attempts, ended(store, other).state) == (2, "done")
    assert supervisor.workers()[0].restarts == 1


@pytest.mark.parametrize("told", [True, False])
def test_another_program_that_blocks_the_store_costs_no_worker_that_is_known_to_be_innocent(
    told: bool,
    store: Store,
    supervise: Supervise,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if not told:
        monkeypatch.setattr(store, "writer", lambda: None)
    elif not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells who writes")
    monkeypatch.setattr("reknit.jobs.supervisor.STUCK_S", 0.2)
    monkeypatch.setattr("reknit.jobs.supervisor.WATCH_S", 0.05)
    logging.getLogger("reknit").propagate = True
    supervisor = supervise()
    until(lambda: supervisor.workers()[0].state == "idle")
    with closing(sqlite3.connect(store.path, isolation_level=None)) as outsider:
        outsider.execute("BEGIN IMMEDIATE")
        until(lambda: caplog.text.count("another program blocks") >= 2)
    job, _ = store.submit("echo", {})
    supervisor.wake()
    assert ended(store, job).state == "done"
    assert supervisor.workers()[0].restarts == (0 if told else 1)


def test_one_worker_for_each_device(store: Store, supervise: Supervise) -> None:
    supervisor = supervise(devices=("cpu", "cuda:0"))
    jobs = [store.submit("steps", {"seconds": 600})[0] for _ in range(2)]
    supervisor.wake()
    until(lambda: all(worker.state == "busy" for worker in supervisor.workers()))
    assert {store.get(job.id).worker for job in jobs} == {"cpu", "cuda:0"}
    for job in jobs:
        supervisor.cancel(job.id)
        assert ended(store, job).state == "cancelled"


def test_a_command_that_cannot_start_is_told_and_retried_slowly(store: Store, hub: Kept) -> None:
    for words, reason in (
        (["/nowhere/to/be/found"], "cannot be started"),
        ([sys.executable, "-c", "print(5, 'x'); print(5); raise SystemExit(4)"], "ended with status 4"),
    ):
        supervisor = Supervisor(store, hub, command=words)
        began = time.monotonic()
        supervisor.start()
        until(lambda s=supervisor: s.workers()[0].restarts >= 1 and s.workers()[0].state == "waiting")
        time.sleep(0.3)  # time to start many more
        [status] = supervisor.workers()
        assert reason in status.reason
        waits_s = [0.0, *(BACKOFF_S * 2**n for n in range(status.restarts - 1))]
        assert sum(waits_s) <= time.monotonic() - began
        supervisor.stop()
        assert supervisor.workers()[0].state == "stopped"


def test_only_one_server_has_a_folder(store: Store, hub: Kept, supervise: Supervise) -> None:
    first = supervise()
    second = Supervisor(store, hub, command=command(store))
    with pytest.raises(Unavailable) as caught:
        second.start()
    assert (caught.value.code, caught.value.facts["pid"]) == ("serve.already-running", os.getpid())
    first.stop()
    second.start()
    second.stop()


def test_stop_hands_the_running_job_back(
    store: Store, hub: Kept, supervise: Supervise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reknit.jobs.supervisor.STOP_S", PATIENCE_S)  # nobody is killed in this test

    def stop() -> float:
        supervisor = supervise()
        job, _ = store.submit("stubborn", {"seconds": 600})
        supervisor.wake()
        until(lambda: hub.course(job) == ["running"])
        began = time.monotonic()
        supervisor.stop()
        spent = time.monotonic() - began
        assert (store.get(job.id).state, store.get(job.id).attempts) == ("queued", 0)
        store.cancel(job.id)
        return spent

    quick(3, stop)


SERVER = """
import sys, time
from pathlib import Path
from reknit.jobs.events import Hub
from reknit.jobs.store import Store
from reknit.jobs.supervisor import BACKOFF_S, Supervisor
store = Store(Path(sys.argv[1]))
supervisor = Supervisor(store, Hub(), command=sys.argv[2:])
supervisor.start()
while True:
    time.sleep(1)
"""


def test_a_killed_server_loses_nothing(store: Store, supervise: Supervise, tmp_path: Path) -> None:
    log = tmp_path / "log"
    jobs = [
        store.submit("steps", {"first": 600 if n == 1 else s, "seconds": s, "log": str(log), "number": n})[0]
        for n, s in enumerate((0.05, 0.06, 0.05))
    ]
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(store.path), *command(store)])
    until(lambda: log.exists() and "1 begun" in log.read_text())
    worker = int(log.read_text().split()[-1])
    server.kill()
    server.wait()
    until(lambda: not alive(worker))
    supervise()
    assert [ended(store, job).state for job in jobs] == ["done"] * 3
    done = [line.split()[0] for line in log.read_text().splitlines() if "done" in line]
    assert sorted(done) == ["0", "1", "2"]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("count", "clients", "kills"), [(40, 8, 3), pytest.param(200, 20, 10, marks=pytest.mark.slow)]
)
def test_many_clients_and_a_worker_killed_again_and_again(
    count: int, clients: int, kills: int, store: Store, hub: Kept, supervise: Supervise, tmp_path: Path
) -> None:
    supervisor = supervise()
    log = tmp_path / "log"
    ids: list[str] = []
    random_s = random.Random(7)

    killed = threading.Event()

    def client(number: int) -> None:
        for turn in itertools.count():
            if turn >= count // clients:  # the first goes on, so that there is somebody to kill
                if number or killed.is_set():
                    return
                until(lambda: killed.is_set() or store.counts()["queued"] < clients)
            payload = {"seconds": 0.03, "log": str(log), "number": number * 1000 + turn}
            job, created = store.submit("steps", payload, key=f"{number}-{turn}")
            again, created_again = store.submit("steps", payload, key=f"{number}-{turn}")
            assert (created, created_again, again.id) == (True, False, job.id)
            ids.append(job.id)
            supervisor.wake()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for _ in range(kills):
        until(lambda: supervisor.workers()[0].state == "busy")
        time.sleep(random_s.uniform(0, 0.05))
        if pid := supervisor.workers()[0].pid:
            os.kill(pid, signal.SIGKILL)
        finished = store.counts()["done"]
        until(lambda finished=finished: store.counts()["done"] > finished)
    killed.set()
    for thread in threads:
        thread.join()
    until(lambda: sum(store.counts()[state] for state in FINAL) == len(ids), within_s=120)

    assert sorted(ids) == sorted(job.id for job in store.list(limit=1000))
    until(lambda: all(hub.states(job)[-1:] == [job.state] for job in store.list(limit=1000)))
    begun = Counter(line.split()[0] for line in log.read_text().splitlines() if "begun" in line)
    for job in store.list(limit=1000):
        assert job.state == "done" or (job.error or {})["code"] == "jobs.worker-died"
        assert job.attempts <= 2
        assert begun[str(job.payload["number"])] <= job.attempts
    assert len(ids) >= count
    assert store.counts()["done"] >= len(ids) - kills // 2
    assert supervisor.workers()[0].restarts >= kills - 1


def test_a_coroutine_may_wait_for_a_job(store: Store, hub: Kept, supervise: Supervise) -> None:
    supervisor = supervise()

    async def fill() -> str:
        with hub.subscribe() as events:
            job, _ = store.submit("echo", {})
            supervisor.wake()
            async for event in events:
                if event["type"] == "job" and event["job"]["id"] == job.id and event["job"]["state"] in FINAL:
                    return str(event["job"]["state"])
        return "nothing"

    assert asyncio.run(asyncio.wait_for(fill(), PATIENCE_S)) == "done"


LATE = """
import subprocess, sys, time
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
for number, line in enumerate(child.stdout):
    if number == 1:
        time.sleep(0.8)
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
"""


def test_a_job_that_ended_before_its_worker_was_heard_is_told_in_order(store: Store, hub: Kept) -> None:
    supervisor = Supervisor(store, hub, command=[sys.executable, "-c", LATE, *command(store)])
    supervisor.start()
    until(lambda: supervisor.workers()[0].state == "idle")
    job, _ = store.submit("tells", {"count": 1})
    supervisor.tell(job.to_dict())
    supervisor.wake()
    until(lambda: "done" in hub.states(job))
    heard = [event["job"]["state"] if event["type"] == "job" else event["type"] for _, event in hub.events]
    supervisor.stop()
    assert heard == ["queued", "running", "told", "progress", "done"]


def test_a_worker_that_was_faster_than_who_submitted_is_believed(store: Store, hub: Kept) -> None:
    supervisor = Supervisor(store, hub, command=[])
    queued, _ = store.submit("echo", {})
    running = store.claim("cpu", 60)
    assert running is not None
    supervisor.tell(running.to_dict())
    supervisor.tell(queued.to_dict())
    failed = store.fail(running, {"code": "test"})
    assert failed is not None
    supervisor.tell(failed.to_dict())
    supervisor.tell(queued.to_dict(), new=True)
    assert hub.states(queued) == ["running", "failed"]
    supervisor.tell(store.retry(queued.id).to_dict())
    assert hub.states(queued) == ["running", "failed", "queued"]


def test_what_another_process_does_is_told(store: Store, hub: Kept, supervise: Supervise) -> None:
    supervisor = supervise()
    other = Store(store.path)
    running, _ = store.submit("steps", {"seconds": 600})
    supervisor.wake()
    until(lambda: hub.progress(running))
    waiting, _ = other.submit("echo", {})
    until(lambda: hub.states(waiting) == ["queued"])
    other.cancel(waiting.id)
    until(lambda: hub.states(waiting) == ["queued", "cancelled"])
    other.cancel(running.id)
    until(lambda: hub.states(running)[-1] == "cancelled")
    assert other.retry(waiting.id).state == "queued"
    until(lambda: hub.states(waiting)[-1] == "done")
    assert hub.states(waiting).count("done") == 1
    other.close()
