"""The store of jobs: one SQLite file, safe to use from many threads and processes at once.

Every change of a job is one short transaction, and those made by a worker are compare-and-set: they name the
job, the state it must be in and the lease token of the attempt, and do nothing if any of them is no longer so.
That is why a job is neither lost nor done twice, whoever dies when. It starts no process and knows no handler.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from reknit.core.errors import ExternalError, InputError, NotFound, Unavailable
from reknit.jobs.broken import BUSY_S, corrupt, explained
from reknit.jobs.job import FINAL, STATES, Job, State, new_id

FILE_NAME = "jobs.sqlite3"
"""The store's name in a data folder."""

MAX_ATTEMPTS = 2
"""A job whose worker died is tried once more, then it has failed."""

VERSION = 2
SCHEMA = """
CREATE TABLE job (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    priority INTEGER NOT NULL,
    key TEXT UNIQUE,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    stage TEXT NOT NULL DEFAULT '',
    fraction REAL NOT NULL DEFAULT 0,
    worker TEXT NOT NULL DEFAULT '',
    lease INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    hurried INTEGER NOT NULL DEFAULT 0,
    result TEXT,
    error TEXT,
    lease_until REAL
);
CREATE INDEX job_state ON job (state, id);
CREATE INDEX job_queue ON job (priority DESC, id) WHERE state = 'queued';
PRAGMA user_version = 2;
"""
SECOND = "ALTER TABLE job ADD COLUMN hurried INTEGER NOT NULL DEFAULT 0; PRAGMA user_version = 2"
"""What makes a file of version 1 one of version 2."""
Jobs = list[Job]
Mark = tuple[State, int, bool]
"""A job's state, how often it was begun, and whether its cancel was asked for."""
COLUMNS = ", ".join(field.name for field in fields(Job))
HELD = "id = :id AND state = 'running' AND lease = :lease"
CLEARED = "worker = '', stage = '', fraction = 0, started = NULL, lease_until = NULL"
ABANDONED = f"""
    state = CASE WHEN cancel_requested THEN 'cancelled' WHEN attempts < {MAX_ATTEMPTS} THEN 'queued'
                 ELSE 'failed' END,
    error = CASE WHEN cancel_requested OR attempts < {MAX_ATTEMPTS} THEN NULL ELSE :error END,
    finished = CASE WHEN cancel_requested OR attempts >= {MAX_ATTEMPTS} THEN :now END,
    stage = '', fraction = 0, lease_until = NULL
"""


def mark(job: Mapping[str, Any]) -> Mark:
    """Return what tells one moment of a job, as ``Job.to_dict`` gives it, from another."""
    return job["state"], job["attempts"], job["cancel_requested"]


class Store:
    """The jobs of one data folder.

    Parameters
    ----------
    path
        The SQLite file; it and its folder are made where they do not exist.

    Raises
    ------
    Unavailable
        ``jobs.sqlite``: SQLite is older than 3.35. ``jobs.newer``: a later Reknit wrote the file.
    ExternalError
        ``disk.full``, ``jobs.busy``, ``jobs.corrupt`` or ``jobs.database``, here and from every method.
    """

    def __init__(self, path: Path) -> None:
        if sqlite3.sqlite_version_info < (3, 35):
            raise Unavailable(
                f"jobs need SQLite 3.35, and this Python has {sqlite3.sqlite_version}",
                code="jobs.sqlite",
                hint="use a newer Python",
            )
        self.path = Path(path)
        self._lock = threading.RLock()
        with explained(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = sqlite3.connect(
                self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file. The store cannot be used afterwards."""
        with self._lock:
            self._connection.close()

    # Clients

    def submit(
        self,
        kind: str,
        payload: Mapping[str, Any],
        *,
        key: str | None = None,
        priority: int = 0,
        max_queued: int | None = None,
    ) -> tuple[Job, bool]:
        """Put a job in the queue.

        Returns
        -------
        job, created
            With a ``key`` seen before, the job it belongs to, and False.

        Raises
        ------
        InputError
            ``jobs.key-reused``: the key belongs to a job with another kind or payload; ``jobs.text``: a text in
            the payload is no Unicode.
        Unavailable
            ``jobs.queue-full``: ``max_queued`` jobs wait already.
        """
        text = _json(payload)
        _must_be_unicode(payload)
        with self._transaction():
            known = self._rows(f"SELECT {COLUMNS} FROM job WHERE key = :key", key=key)
            if known:
                if (known[0].kind, _json(known[0].payload)) != (kind, text):
                    raise InputError(
                        f"the idempotency key {key!r} belongs to another job",
                        code="jobs.key-reused",
                        hint="make a new key for a new job",
                        job=known[0].id,
                    )
                return known[0], False
            if max_queued is not None and self._number("state = 'queued'") >= max_queued:
                raise Unavailable(
                    f"{max_queued} jobs wait already",
                    code="jobs.queue-full",
                    hint="try again when some of them are done",
                    max_queued=max_queued,
                )
            [(last,)] = self._connection.execute("SELECT max(id) FROM job").fetchall()
            [job] = self._rows(
                "INSERT INTO job (id, kind, payload, state, priority, key, created)"
                f" VALUES (:id, :kind, :payload, 'queued', :priority, :key, :now) RETURNING {COLUMNS}",
                id=new_id(last),
                kind=kind,
                payload=text,
                priority=priority,
                key=key,
                now=time.time(),
            )
            return job, True

    def get(self, job_id: str) -> Job:
        """Return a job; raises `NotFound` (``jobs.missing``)."""
        found = self._rows(f"SELECT {COLUMNS} FROM job WHERE id = :id", id=job_id)
        if not found:
            raise NotFound(f"there is no job {job_id!r}", code="jobs.missing", hint="`reknit jobs list`")
        return found[0]

    def list(
        self,
        states: Iterable[State] | None = None,
        kind: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> Jobs:
        """Return jobs, the newest first; ``before`` is the id after which the next page goes on."""
        wanted = "TRUE"
        if states is not None:
            asked = set(states)
            wanted = f"state IN ({', '.join(repr(state) for state in STATES if state in asked)})"
        return self._rows(
            f"SELECT {COLUMNS} FROM job WHERE {wanted}"
            " AND (:kind IS NULL OR kind = :kind) AND (:before IS NULL OR id < :before)"
            " ORDER BY id DESC LIMIT :limit",
            kind=kind,
            before=before,
            limit=limit,
        )

    def position(self, job_id: str) -> int | None:
        """Return how many queued jobs run before this one, or None if it is not queued."""
        job = self.get(job_id)
        if job.state != "queued":
            return None
        return self._number(
            "state = 'queued' AND (priority > :priority OR (priority = :priority AND id < :id))",
            priority=job.priority,
            id=job.id,
        )

    def counts(self) -> dict[State, int]:
        """Return how many jobs are in each state."""
        with explained(self.path), self._lock:
            found: dict[State, int] = dict(
                self._connection.execute("SELECT state, count(*) FROM job GROUP BY state").fetchall()
            )
        return {state: found.get(state, 0) for state in STATES}

    def keyed(self, key: str) -> Job | None:
        """Return the job that was submitted with an idempotency key, or None."""
        return self._one(f"SELECT {COLUMNS} FROM job WHERE key = :key", key=key)

    def unfinished(self, kind: str) -> int:
        """Return how many jobs of a kind wait or run."""
        with explained(self.path), self._lock:
            sql = "SELECT count(*) FROM job WHERE state IN ('queued', 'running') AND kind = :kind"
            return self._connection.execute(sql, {"kind": kind}).fetchone()[0]

    def version(self) -> int:
        """Return a number that is another one after any other connection, of any process, changed the file."""
        with explained(self.path), self._lock:
            return self._connection.execute("PRAGMA data_version").fetchone()[0]

    def marks(self) -> dict[str, Mark]:
        """Return the `mark` of every job that has not ended, by its id."""
        with explained(self.path), self._lock:
            rows = self._connection.execute(
                "SELECT id, state, attempts, cancel_requested FROM job WHERE state IN ('queued', 'running')"
            ).fetchall()
        return {job_id: (state, attempts, bool(asked)) for job_id, state, attempts, asked in rows}

    def cancel(self, job_id: str) -> Job:
        """Cancel a queued job at once; ask the worker of a running one to stop; leave a finished one."""
        return self._stop(job_id, "cancel_requested = 1")

    def hurry(self, job_id: str) -> Job:
        """Cancel a queued job at once; ask the worker of a running one to end it with what it has."""
        return self._stop(job_id, "hurried = 1, cancel_requested = cancel_requested OR state = 'queued'")

    def retry(self, job_id: str) -> Job:
        """Queue a failed or cancelled job again, as if new; otherwise raises `InputError` (``jobs.state``)."""
        done = self._rows(
            f"UPDATE job SET {CLEARED}, state = 'queued', attempts = 0, finished = NULL, error = NULL, hurried = 0,"
            f" cancel_requested = 0 WHERE id = :id AND state IN ('failed', 'cancelled') RETURNING {COLUMNS}",
            id=job_id,
        )
        return done[0] if done else self._refuse(job_id, "only failed and cancelled jobs can be tried again")

    def delete(self, job_id: str) -> None:
        """Forget a finished job; otherwise raises `InputError` (``jobs.state``)."""
        done = self._rows(
            f"DELETE FROM job WHERE id = :id AND state IN {FINAL} RETURNING {COLUMNS}", id=job_id
        )
        if not done:
            self._refuse(job_id, "cancel it first")

    # Workers

    def claim(
        self, worker: str, lease_s: float, *, kind: str | None = None, but: str | None = None
    ) -> Job | None:
        """Take the first queued job for ``lease_s`` seconds, with a new lease token; None if none waits.

        Only one of ``kind``, if that is given; none of the kind ``but``.
        """
        return self._one(
            "UPDATE job SET state = 'running', worker = :worker, started = :now, lease_until = :until,"
            " lease = lease + 1, attempts = attempts + 1, stage = '', fraction = 0 WHERE id ="
            " (SELECT id FROM job WHERE state = 'queued' AND kind = COALESCE(:kind, kind) AND kind IS NOT :but"
            " ORDER BY priority DESC, id LIMIT 1)"
            f" RETURNING {COLUMNS}",
            worker=worker, kind=kind, but=but, now=time.time(), until=time.time() + lease_s,
        )  # fmt: skip

    def renew(self, job: Job, lease_s: float, stage: str, fraction: float) -> Job | None:
        """Keep a job for ``lease_s`` more seconds and note its progress.

        Returns the job as it is now, with what was asked for; None if the lease is lost: stop the work.
        """
        return self._held(
            job, "lease_until = :until, stage = :stage, fraction = :fraction",
            until=time.time() + lease_s, stage=stage, fraction=fraction,
        )  # fmt: skip

    def finish(self, job: Job, result: Mapping[str, Any]) -> Job | None:
        """Note a job as done; None if the lease is lost, and then nothing changes."""
        return self._held(
            job, "state = 'done', result = :result, finished = :now, fraction = 1, lease_until = NULL",
            result=_json(result), now=time.time(),
        )  # fmt: skip

    def fail(self, job: Job, error: Mapping[str, Any], *, retry: bool = False) -> Job | None:
        """Note a job as failed, or with ``retry`` queue it again the first time; None if the lease is lost."""
        change = "state = 'failed', error = :error, finished = :now, lease_until = NULL"
        return self._held(job, ABANDONED if retry else change, error=_json(error), now=time.time())

    def cancelled(self, job: Job, error: Mapping[str, Any] | None = None) -> Job | None:
        """Note a running job as cancelled, with what its handler says of where; None if the lease is lost."""
        change = "state = 'cancelled', error = :error, finished = :now, lease_until = NULL"
        return self._held(job, change, error=None if error is None else _json(error), now=time.time())

    def hand_back(self, job: Job) -> Job | None:
        """Queue a running job again as if it had not been begun (or cancel it, if that was asked for).

        Returns None if the lease is lost.
        """
        state = "CASE WHEN cancel_requested THEN 'cancelled' ELSE 'queued' END"
        finished = "CASE WHEN cancel_requested THEN :now END"
        change = f"{CLEARED}, state = {state}, finished = {finished}, attempts = attempts - 1"
        return self._held(job, change, now=time.time())

    # Who watches the workers

    def release(self, worker: str | None, error: Mapping[str, Any]) -> Jobs:
        """Take back what a dead worker ran (None: every worker): queued the first time, then failed.

        Returns
        -------
        list of Job
            The jobs taken back, as they are now. One whose cancel was asked for is cancelled.
        """
        return self._rows(
            f"UPDATE job SET {ABANDONED} WHERE state = 'running' AND (:worker IS NULL OR worker = :worker)"
            f" RETURNING {COLUMNS}",
            worker=worker,
            error=_json(error),
            now=time.time(),
        )

    def expire(self, now: float) -> Jobs:
        """Take back every job whose lease ended before ``now`` (Unix s), by the rule of `release`."""
        error = ExternalError(
            "the worker stopped answering",
            code="jobs.lease-expired",
            hint="the machine may be out of memory, or an engine hangs; try again, or another engine",
        )
        if not self._rows(
            f"SELECT {COLUMNS} FROM job WHERE state = 'running' AND lease_until < :now LIMIT 1", now=now
        ):
            return []
        return self._rows(
            f"UPDATE job SET {ABANDONED} WHERE state = 'running' AND lease_until < :now RETURNING {COLUMNS}",
            error=_json(error.to_dict()),
            now=now,
        )

    def writable(self, wait_s: float) -> bool:
        """Return whether changes get through: False if for ``wait_s`` a process sits in one of its own.

        Waits for no other thread of this process.
        """
        with explained(self.path):
            uri = f"{self.path.absolute().as_uri()}?mode=rw"
            with closing(sqlite3.connect(uri, uri=True, timeout=wait_s, isolation_level=None)) as own:
                before = own.execute("PRAGMA data_version").fetchone()
                try:
                    own.execute("BEGIN IMMEDIATE")
                    own.execute("ROLLBACK")
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                        raise
                    return own.execute("PRAGMA data_version").fetchone() != before  # others were faster
        return True

    def writer(self) -> int | None:
        """Return the process that sits in a change of the store, where the system tells: on Linux."""
        with suppress(OSError):
            file = self.path.with_name(f"{self.path.name}-shm").stat().st_ino
            for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
                match line.split():
                    case [_, "POSIX", _, "WRITE", pid, where, "120", _] if where.endswith(f":{file}"):
                        return int(pid)  # at 120, WALINDEX_LOCK_OFFSET + WAL_WRITE_LOCK, a change is locked
                    case _:
                        pass
        return None

    def check(self) -> None:
        """Check the whole file; raises `ExternalError` (``jobs.corrupt``)."""
        with explained(self.path), self._lock:
            found = [row[0] for row in self._connection.execute("PRAGMA integrity_check").fetchall()]
        if found != ["ok"]:
            raise corrupt(self.path, found[0])

    # Inside

    def _prepare(self) -> None:
        """Switch to WAL, and make the tables in a new file."""
        with explained(self.path):
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._become_wal()
        with self._transaction():
            [(version,)] = self._connection.execute("PRAGMA user_version").fetchall()
            if version > VERSION:
                raise Unavailable(
                    f"{self.path} was written by a newer Reknit",
                    code="jobs.newer",
                    hint="update Reknit, or choose another --data-dir",
                )
            if version < VERSION:
                for statement in (SCHEMA if version == 0 else SECOND).split(";"):
                    self._connection.execute(statement)

    def _become_wal(self) -> None:
        # SQLite does not wait for others here, as it does everywhere else.
        give_up = time.monotonic() + BUSY_S
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL").fetchall()
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                    raise
                time.sleep(0.01)

    def _stop(self, job_id: str, asked: str) -> Job:
        """Note what was asked for, and cancel the job if it is queued; leave a finished one."""
        done = self._rows(
            f"UPDATE job SET {asked}, finished = CASE state WHEN 'queued' THEN :now END,"
            " state = CASE state WHEN 'queued' THEN 'cancelled' ELSE state END"
            f" WHERE id = :id AND state IN ('queued', 'running') RETURNING {COLUMNS}",
            id=job_id, now=time.time(),
        )  # fmt: skip
        return done[0] if done else self.get(job_id)

    def _held(self, job: Job, change: str, **values: Any) -> Job | None:
        """Change a job that this attempt still holds."""
        return self._one(
            f"UPDATE job SET {change} WHERE {HELD} RETURNING {COLUMNS}", id=job.id, lease=job.lease, **values
        )

    def _one(self, sql: str, **values: Any) -> Job | None:
        found = self._rows(sql, **values)
        return found[0] if found else None

    def _number(self, condition: str, **values: Any) -> int:
        with explained(self.path), self._lock:
            sql = f"SELECT count(*) FROM job WHERE {condition}"
            return self._connection.execute(sql, values).fetchone()[0]

    def _rows(self, sql: str, **values: Any) -> Jobs:
        with explained(self.path), self._lock:
            return [_job(row) for row in self._connection.execute(sql, values).fetchall()]

    def _refuse(self, job_id: str, hint: str) -> Job:
        state = self.get(job_id).state
        raise InputError(f"the job is {state}", code="jobs.state", hint=hint, job=job_id, state=state)

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with explained(self.path), self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk has rolled back already
                    self._connection.execute("ROLLBACK")
                raise


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _must_be_unicode(payload: Mapping[str, Any]) -> None:
    """Refuse halves of surrogate pairs, which JSON can carry and nothing after it: no tokenizer, no file."""
    try:
        json.dumps(payload, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"a text holds {error.object[error.start]!a}, half of a surrogate pair",
            code="jobs.text",
            hint="send whole characters, as UTF-8 or as both halves",
        ) from None


def _job(row: tuple[Any, ...]) -> Job:
    values = dict(zip(COLUMNS.split(", "), row, strict=True))
    for name in ("payload", "result", "error"):
        values[name] = json.loads(values[name]) if values[name] is not None else None
    values |= {name: bool(values[name]) for name in ("cancel_requested", "hurried")}
    return Job(**values)
