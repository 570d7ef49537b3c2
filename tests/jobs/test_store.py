"""The store: order, keys, compare-and-set, what happens to abandoned jobs, and a disk that is full."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reknit.core.errors import ExternalError, InputError, NotFound, Unavailable
from reknit.jobs.job import Job, new_id
from reknit.jobs.store import SCHEMA, Store

DIED = {"code": "jobs.worker-died", "message": "killed", "hint": "", "facts": {}}


def submit(store: Store, number: int = 0, **options: Any) -> Job:
    return store.submit("fill", {"number": number}, **options)[0]


def claim(store: Store, lease_s: float = 60) -> Job:
    job = store.claim("cpu", lease_s)
    assert job is not None
    return job


def test_a_job_goes_from_queued_to_done(store: Store) -> None:
    submitted, created = store.submit("fill", {"image": "ä", "grow": 2.5})
    assert created
    assert (submitted.state, submitted.attempts, submitted.started) == ("queued", 0, None)
    job = claim(store)
    assert (job.id, job.state, job.attempts, job.worker) == (submitted.id, "running", 1, "cpu")
    renewed = store.renew(job, 60, "filling", 0.25)
    assert renewed is not None
    assert (renewed.stage, renewed.fraction, renewed.cancel_requested) == ("filling", 0.25, False)
    assert store.finish(job, {"images": ["x"]}) is not None
    done = store.get(job.id)
    assert (done.state, done.result, done.fraction, done.payload) == (
        "done",
        {"images": ["x"]},
        1.0,
        {"image": "ä", "grow": 2.5},
    )
    assert done.created <= (done.started or 0) <= (done.finished or 0)
    assert store.counts() == {"queued": 0, "running": 0, "done": 1, "failed": 0, "cancelled": 0}


def test_higher_priority_first_then_the_older(store: Store) -> None:
    low, normal, next_normal, high = (submit(store, n, priority=p).id for n, p in enumerate((-1, 0, 0, 9)))
    assert [store.position(i) for i in (high, normal, next_normal, low)] == [0, 1, 2, 3]
    assert [claim(store).id for _ in range(4)] == [high, normal, next_normal, low]
    assert store.claim("cpu", 1) is None
    assert store.position(high) is None


def test_ids_grow_even_if_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = new_id(None)
    monkeypatch.setattr(time, "time_ns", lambda: 5)
    second = new_id(first)
    assert first < second < new_id(second)


def test_the_same_key_is_the_same_job(store: Store) -> None:
    job, created = store.submit("fill", {"a": 1, "b": [2]}, key="k")
    again, created_again = store.submit("fill", {"b": [2], "a": 1}, key="k", max_queued=1)
    assert (created, created_again, again) == (True, False, job)
    for kind, payload in (("fill", {"a": 2}), ("extend", {"a": 1, "b": [2]})):
        with pytest.raises(InputError) as caught:
            store.submit(kind, payload, key="k")
        assert caught.value.code == "jobs.key-reused"
    assert len(store.list()) == 1


def test_half_a_character_is_refused_and_any_result_kept(store: Store) -> None:
    with pytest.raises(InputError) as caught:
        store.submit("fill", {"params": {"prompt": "a\ud83d"}})
    assert caught.value.code == "jobs.text" and not store.list()
    store.submit("fill", {"params": {"prompt": "a😀"}})
    job = store.claim("w", 60)
    assert job is not None and job.payload["params"]["prompt"] == "a😀"
    ended = store.finish(job, {"file": "caf\udce9.png"})
    assert ended is not None and ended.result == {"file": "caf\udce9.png"}


def test_a_job_is_found_by_its_key(store: Store) -> None:
    job, _ = store.submit("fill", {}, key="mine")
    assert store.keyed("mine") == job
    assert store.keyed("other") is None
    store.cancel(job.id)
    store.delete(job.id)
    assert store.keyed("mine") is None


def test_unfinished_jobs_of_a_kind_are_counted(store: Store) -> None:
    for kind in ("fill", "fill", "other"):
        store.submit(kind, {})
    claim(store)
    assert (store.unfinished("fill"), store.unfinished("other"), store.unfinished("none")) == (2, 1, 0)
    store.cancel(store.list(kind="other")[0].id)
    assert store.unfinished("other") == 0


def test_a_full_queue_refuses(store: Store) -> None:
    submit(store, max_queued=2)
    submit(store, max_queued=2)
    with pytest.raises(Unavailable) as caught:
        submit(store, max_queued=2)
    assert caught.value.code == "jobs.queue-full"
    claim(store)
    submit(store, max_queued=2)


def test_lists_pages_newest_first_by_state_and_kind(store: Store) -> None:
    ids = [submit(store, n).id for n in range(5)]
    other = store.submit("repair", {})[0].id
    assert [job.id for job in store.list(limit=3)] == [other, ids[4], ids[3]]
    assert [job.id for job in store.list(limit=3, before=ids[3])] == [ids[2], ids[1], ids[0]]
    assert [job.id for job in store.list(kind="repair")] == [other]
    assert claim(store).id == ids[0]
    assert [job.id for job in store.list(states=["running", "done"])] == [ids[0]]
    assert store.list(states=[]) == []


def test_a_missing_job_is_not_found(store: Store) -> None:
    for call in (store.get, store.position, store.cancel, store.retry, store.delete):
        with pytest.raises(NotFound) as caught:
            call("../../etc/passwd")
        assert caught.value.code == "jobs.missing"


def test_a_lost_lease_changes_nothing(store: Store) -> None:
    submit(store)
    old = claim(store)
    store.release("cpu", DIED)
    new = claim(store)
    for write in (
        lambda: store.renew(old, 60, "late", 0.9),
        lambda: store.finish(old, {}),
        lambda: store.fail(old, DIED),
        lambda: store.cancelled(old),
        lambda: store.hand_back(old),
    ):
        assert write() is None
        assert store.get(new.id) == new
    assert store.finish(new, {"by": "the second"}) is not None
    assert store.finish(new, {"by": "the second, again"}) is None
    assert store.get(new.id).result == {"by": "the second"}


def test_a_dead_workers_job_is_tried_once_more(store: Store) -> None:
    submit(store)
    claim(store)
    assert store.release("cuda:0", DIED) == []
    [back] = store.release("cpu", DIED)
    assert (back.state, back.attempts, back.error, back.finished) == ("queued", 1, None, None)
    claim(store)
    [failed] = store.release(None, DIED)
    assert (failed.state, failed.error) == ("failed", DIED)
    assert failed.finished is not None


def test_a_worker_that_had_to_stop_does_not_cost_an_attempt(store: Store) -> None:
    submit(store)
    for _ in range(5):
        assert store.hand_back(claim(store)) is not None
    job = claim(store)
    assert job.attempts == 1
    store.cancel(job.id)
    back = store.hand_back(job)
    assert back is not None
    assert (back.state, back.finished is None) == ("cancelled", False)


def test_an_expired_lease_returns(store: Store) -> None:
    submit(store)
    claim(store, lease_s=500)
    assert store.expire(time.time()) == []
    [back] = store.expire(time.time() + 501)
    assert back.state == "queued"
    claim(store, lease_s=500)
    [failed] = store.expire(time.time() + 501)
    assert failed.error is not None
    assert failed.error["code"] == "jobs.lease-expired"


def test_cancel(store: Store) -> None:
    queued, running = submit(store), submit(store, priority=1)
    job = claim(store)
    assert job.id == running.id
    assert store.cancel(queued.id).state == "cancelled"
    asked = store.cancel(running.id)
    assert (asked.state, asked.cancel_requested) == ("running", True)
    renewed = store.renew(job, 60, "", 0)
    assert renewed is not None
    assert renewed.cancel_requested
    assert store.cancelled(job) is not None
    assert store.cancel(running.id).state == "cancelled"
    assert store.claim("cpu", 1) is None


def test_hurry(store: Store) -> None:
    waiting, running = submit(store), submit(store, priority=1)
    job = claim(store)
    assert store.hurry(waiting.id).state == "cancelled"
    asked = store.hurry(running.id)
    assert (asked.state, asked.hurried, asked.cancel_requested) == ("running", True, False)
    assert "hurried" not in asked.to_dict()
    renewed = store.renew(job, 10, "", 0.0)
    assert renewed is not None and renewed.hurried
    assert store.finish(job, {}) is not None
    assert store.hurry(running.id).state == "done"
    store.retry(waiting.id)
    again = claim(store)
    assert (again.id, again.hurried) == (waiting.id, False)


def test_a_file_of_the_first_version_is_carried_over(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    old = SCHEMA.replace("    hurried INTEGER NOT NULL DEFAULT 0,\n", "").replace(
        "version = 2", "version = 1"
    )
    with sqlite3.connect(path) as connection:
        connection.executescript(old)
        connection.execute(
            "INSERT INTO job (id, kind, payload, state, priority, created) VALUES ('1', 'fill', '{}', 'queued', 0, 1)"
        )
    connection.close()
    for _ in range(2):
        made = Store(path)
        assert (made.get("1").kind, made.get("1").hurried) == ("fill", False)
        made.close()


def test_a_dead_workers_cancelled_job_stays_cancelled(store: Store) -> None:
    store.cancel(claim(store).id) if submit(store) else None
    [job] = store.release("cpu", DIED)
    assert (job.state, job.error) == ("cancelled", None)


def test_retry_begins_anew(store: Store) -> None:
    submit(store)
    job = claim(store)
    store.cancel(job.id)
    store.fail(job, DIED)
    again = store.retry(job.id)
    assert (again.state, again.attempts, again.error, again.cancel_requested) == ("queued", 0, None, False)
    with pytest.raises(InputError, match="queued"):
        store.retry(job.id)
    assert claim(store).lease > job.lease


def test_a_failure_worth_a_second_try(store: Store) -> None:
    submit(store)
    assert store.fail(claim(store), DIED, retry=True) is not None
    assert store.fail(claim(store), DIED, retry=True) is not None
    [job] = store.list()
    assert (job.state, job.error, job.attempts) == ("failed", DIED, 2)


def test_only_finished_jobs_are_deleted(store: Store) -> None:
    job = submit(store)
    with pytest.raises(InputError) as caught:
        store.delete(job.id)
    assert caught.value.code == "jobs.state"
    store.cancel(job.id)
    store.delete(job.id)
    assert store.list() == []


def test_many_threads_and_stores_claim_each_job_once(store: Store) -> None:
    ids = {submit(store, n).id for n in range(120)}
    claimed: list[str] = []

    def work(store: Store) -> None:
        while job := store.claim("cpu", 60):
            assert store.finish(job, {}) is not None
            claimed.append(job.id)

    stores = [store, Store(store.path), Store(store.path)]
    threads = [threading.Thread(target=work, args=(s,)) for s in stores for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in stores[1:]:
        other.close()
    assert sorted(claimed) == sorted(ids)


def test_many_processes_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from reknit.jobs.store import Store\n"
        "Store(Path(sys.argv[1])).submit('fill', {})"
    )
    path = tmp_path / "jobs.sqlite3"
    running = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    store = Store(path)
    assert len(store.list()) == 4
    store.close()


def test_a_full_disk_is_a_clear_error_and_nothing_is_lost(store: Store) -> None:
    kept = submit(store)
    # SQLite reports its own limit of pages as it reports a full disk.
    [(pages,)] = store._connection.execute("PRAGMA page_count").fetchall()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(ExternalError) as caught:
        store.submit("fill", {"text": "x" * 100_000})
    assert caught.value.code == "disk.full"
    store.check()
    assert store.list() == [kept]
    store._connection.execute("PRAGMA max_page_count = 100000")
    store.submit("fill", {"text": "x" * 100_000})


def test_a_damaged_or_newer_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    path.write_bytes(b"not a database, but long enough to look like one" * 100)
    with pytest.raises(ExternalError) as caught:
        Store(path)
    assert caught.value.code == "jobs.corrupt"
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Unavailable) as newer:
        Store(path)
    assert newer.value.code == "jobs.newer"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExternalError) as caught:
        Store(tmp_path / "file" / "jobs.sqlite3")
    assert caught.value.code == "jobs.database"


def test_what_is_no_json_is_refused_before_it_is_stored(store: Store) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.submit("fill", {"x": float("nan")})
    submit(store)
    with pytest.raises(TypeError):
        store.finish(claim(store), {"x": object()})


def test_clients_see_no_key_and_no_lease(store: Store) -> None:
    shown = submit(store, key="secret").to_dict()
    assert {"key", "lease"}.isdisjoint(shown)
    assert shown["payload"] == {"number": 0}


def test_a_store_where_others_are_faster_is_not_blocked(store: Store) -> None:
    store.submit("fill", {})
    over, begun = threading.Event(), threading.Event()

    def change_without_end() -> None:
        with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
            while not over.wait(0.005):
                if other.in_transaction:
                    other.execute("COMMIT")
                other.execute("BEGIN IMMEDIATE")
                other.execute("UPDATE job SET priority = priority + 1")
                begun.set()

    changing = threading.Thread(target=change_without_end)
    changing.start()
    begun.wait()
    try:
        assert store.writable(0.3)
    finally:
        over.set()
        changing.join()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not store.writable(0.01)
        assert store.writer() == (os.getpid() if sys.platform.startswith("linux") else None)
    assert store.writer() is None
