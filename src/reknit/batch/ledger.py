"""The ledger of a batch: what is to do, what was done, in one SQLite file.

Items are added once and results only appended, each commit whole or not at all, so that a run killed at any moment
goes on where it stopped. An item is marked before it is handed out; one that was marked when the run died is
done if its output is there, for outputs appear whole. One process writes. Nothing here opens a picture.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count, islice
from pathlib import Path, PurePosixPath
from typing import Any

from reknit.batch import places
from reknit.batch.item import Item, Outcome, Setup, outputs_of
from reknit.batch.manifest import Entry
from reknit.core.errors import ExternalError, InputError

FILE_NAME = "ledger.sqlite"
STATES = ("waiting", "running", "done", "failed")
WAITING, RUNNING, DONE, FAILED = STATES
WORKER_DIED, NODE_LOST = "batch.worker-died", "batch.node-lost"
"""Why an item may come back unfinished. That a cluster lost a node is no fault of the picture, so no try of it."""
SHEET = 240
"""At about this many pictures before and after are kept for the report."""
_SOME = 5000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS item (
  id INTEGER PRIMARY KEY,
  key BLOB NOT NULL UNIQUE,
  image TEXT NOT NULL,
  mask TEXT,
  output TEXT NOT NULL,
  row TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  model TEXT NOT NULL,
  size INTEGER NOT NULL,
  existed INTEGER NOT NULL DEFAULT -1,
  tries INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL DEFAULT 'waiting'
);
CREATE INDEX IF NOT EXISTS item_turn ON item (state, model, size, id);
CREATE INDEX IF NOT EXISTS item_output ON item (output);
CREATE TABLE IF NOT EXISTS result (
  item INTEGER NOT NULL REFERENCES item (id),
  at REAL NOT NULL,
  state TEXT NOT NULL,
  code TEXT,
  outcome TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS result_item ON result (item);
"""


class Ledger:
    """One batch's items and results.

    Parameters
    ----------
    path
        The SQLite file; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._sql = _connected(path)
            self._sql.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise ExternalError(
                f"the ledger {path} cannot be used: {error}",
                code="batch.ledger",
                hint="choose another folder for it with --report DIR",
            ) from error
        self._stride = 1

    def close(self) -> None:
        """Close the file."""
        self._sql.close()

    def put_back(self) -> None:
        """Write all that is known into a new file, after the one that is open was removed.

        Raises
        ------
        ExternalError
            ``batch.ledger``
        """
        if self.path.exists():
            raise _unusable("another one has been put in its place")
        try:
            new = _connected(self.path)
            self._sql.backup(new)
        except sqlite3.Error as error:
            raise _unusable(error) from error
        self._sql.close()
        self._sql = new

    # --- facts ---

    def fact(self, name: str) -> Any:
        """Return what was noted under a name, or None."""
        found = self._sql.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if found is None else json.loads(found[0])

    def note(self, name: str, value: Any) -> None:
        """Note a JSON value under a name."""
        with self._change():
            self._sql.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, json.dumps(value)))

    # --- the list ---

    def add(self, entries: Iterable[Entry], setup: Setup) -> int:
        """Add entries that are not there yet; return how many were new."""
        before = self._count("SELECT COUNT(*) FROM item")
        source = iter(entries)
        while some := [_values(entry, setup) for entry in islice(source, _SOME)]:
            with self._change():
                self._sql.executemany(
                    "INSERT OR IGNORE INTO item (key, image, mask, output, row, bytes, model, size)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    some,
                )
        self._keep_apart()
        self._look_for_outputs(setup)
        self._stride = max(1, -(-self._count("SELECT COUNT(*) FROM item") // SHEET))
        return self._count("SELECT COUNT(*) FROM item") - before

    def _keep_apart(self) -> None:
        """Give every new item whose output another item has a name of its own, made from its source's whole name."""
        with self._change():
            shared = self._sql.execute(
                "SELECT output FROM item GROUP BY output HAVING COUNT(*) > 1"
            ).fetchall()
            for (output,) in shared:
                rows = self._sql.execute(
                    "SELECT id, image, existed != -1 FROM item WHERE output = ? ORDER BY image, key",
                    (output,),
                ).fetchall()
                name = posixpath.basename(output)
                keeps = next((item for item, image, _ in rows if places.name_of(image) == name), rows[0][0])
                keeps = next((item for item, _, settled in rows if settled), keeps)
                for item, image, _ in rows:
                    if item != keeps:
                        self._sql.execute(
                            "UPDATE item SET output = ? WHERE id = ?", (self._free(output, image), item)
                        )

    def _free(self, output: str, image: str) -> str:
        """Return a name that no item has: ``a.gif.png`` for what would be ``a.png``, or a numbered one."""
        folder, name = posixpath.split(output)
        suffix = PurePosixPath(name).suffix
        source = places.name_of(image)
        base = posixpath.join(folder, PurePosixPath(name).stem if source == name else source)
        names = (f"{base}{'' if n == 1 else f'-{n}'}{suffix}" for n in count(2 if source == name else 1))
        taken = "SELECT EXISTS (SELECT 1 FROM item WHERE output = ?)"
        return next(name for name in names if not self._count(taken, name))

    def _look_for_outputs(self, setup: Setup) -> None:
        """Note which new items' outputs are there already."""
        if places.is_uri(setup.out):
            there = [path for path, _ in places.walk(setup.out)] if places.exists(setup.out) else []
            with self._change():
                for path in there:
                    self._sql.execute(
                        "UPDATE item SET existed = 1 WHERE output = ? AND existed = -1", (path,)
                    )
                self._sql.execute("UPDATE item SET existed = 0 WHERE existed = -1")
            return
        last = 0
        while rows := self._sql.execute(
            "SELECT id, output FROM item WHERE id > ? AND existed = -1 ORDER BY id LIMIT ?", (last, _SOME)
        ).fetchall():
            last = rows[-1][0]
            there = [
                (
                    int(
                        any(places.exists(places.join(setup.out, o)) for o in outputs_of(output, setup.count))
                    ),
                    i,
                )
                for i, output in rows
            ]
            with self._change():
                self._sql.executemany("UPDATE item SET existed = ? WHERE id = ?", there)

    def is_source(self, place: str) -> bool:
        """Return whether a place is that of a picture or a mask on the list."""
        found = self._sql.execute(
            "SELECT 1 FROM item WHERE image = ?1 OR mask = ?1 LIMIT 1", (place,)
        ).fetchone()
        return found is not None

    def refuse_existing(self, setup: Setup) -> list[Outcome]:
        """Fail, and return, waiting items whose output would replace a file; a source even with ``overwrite``."""
        rows = self._sql.execute(
            "SELECT id, image, output FROM item WHERE existed = 1 AND state = ?", (WAITING,)
        ).fetchall()
        refused: list[Outcome] = []
        for item, image, output in rows:
            place = places.absolute(places.join(setup.out, output))
            if not setup.overwrite:
                error = InputError(
                    f"{place} is there already",
                    code="output.exists",
                    hint="--overwrite replaces it, or write to an empty folder",
                )
            elif self.is_source(place):
                error = InputError(
                    f"{place} is one of the sources", code="output.input", hint="write to another folder"
                )
            else:
                continue
            refused.append(Outcome(id=item, image=image, state="failed", error=error.to_dict()))
        return self.record(refused)

    # --- the work ---

    def recover(self, setup: Setup) -> list[Outcome]:
        """Settle the items that were handed out when a run died; return those that are found done.

        Half-written files of that run are removed.
        """
        rows = self._sql.execute(
            "SELECT id, image, output, existed FROM item WHERE state = ?", (RUNNING,)
        ).fetchall()
        found: list[Outcome] = []
        again: list[tuple[int]] = []
        for item, image, output, existed in rows:
            written = [places.join(setup.out, name) for name in outputs_of(output, setup.count)]
            for place in written:
                _remove_part(place)
            if existed != 1 and all(map(places.exists, written)):
                note = "written just before the run was cut off"
                found.append(Outcome(id=item, image=image, outputs=tuple(written), notes=(note,)))
            else:
                again.append((item,))
        with self._change():
            self._sql.executemany("UPDATE item SET state = 'waiting' WHERE id = ?", again)
        return self.record(found)

    def retry_failed(self) -> None:
        """Put failed items back on the list, with all their tries."""
        with self._change():
            self._sql.execute("UPDATE item SET state = ?, tries = 0 WHERE state = ?", (WAITING, FAILED))

    def take(self, most: int) -> list[Item]:
        """Hand out up to ``most`` waiting items: those of one model together, the larger files first."""
        rows = self._sql.execute(
            "SELECT id, image, mask, output, row, tries, existed, bytes FROM item WHERE state = ?"
            " ORDER BY model, size, id LIMIT ?",
            (WAITING, most),
        ).fetchall()
        if rows:
            with self._change():
                self._sql.executemany(
                    "UPDATE item SET state = 'running' WHERE id = ?", [(row[0],) for row in rows]
                )
        return [
            Item(
                id=item,
                image=image,
                mask=mask,
                output=output,
                row=json.loads(row),
                tries=tries,
                thumb=item % self._stride == 0,
                existed=existed == 1,
                file_bytes=size,
            )
            for item, image, mask, output, row, tries, existed, size in rows
        ]

    def give_back(self, items: Iterable[int]) -> None:
        """Put items that were handed out and not begun back on the list."""
        with self._change():
            self._sql.executemany("UPDATE item SET state = 'waiting' WHERE id = ?", [(i,) for i in items])

    def sweep(self, outcomes: Iterable[Outcome], setup: Setup) -> None:
        """Remove what workers that died left of the outputs that they were writing."""
        for outcome in outcomes:
            if outcome.error is not None and outcome.error["code"] in (WORKER_DIED, NODE_LOST):
                (output,) = self._sql.execute(
                    "SELECT output FROM item WHERE id = ?", (outcome.id,)
                ).fetchone()
                for name in outputs_of(output, setup.count):
                    _remove_part(places.join(setup.out, name))

    def record(self, outcomes: Sequence[Outcome], *, retries: int = 0) -> list[Outcome]:
        """Append results; return those that are final.

        A failure that may pass puts its item back on the list until it was tried ``1 + retries`` times.
        """
        if not outcomes:
            return []
        final: list[Outcome] = []
        with self._change():
            for outcome in outcomes:
                state = outcome.state
                code = None if outcome.error is None else outcome.error["code"]
                # Of the items that a dead worker held, at most one was to blame: each gets a try alone.
                tries = max(retries, int(code == WORKER_DIED))
                if outcome.may_pass and (code == NODE_LOST or self._tries(outcome.id) < tries):
                    state = WAITING
                else:
                    final.append(outcome)
                self._sql.execute(
                    "UPDATE item SET state = ?, tries = tries + ? WHERE id = ?",
                    (state, int(state == WAITING and code != NODE_LOST), outcome.id),
                )
                self._sql.execute(
                    "INSERT INTO result VALUES (?, ?, ?, ?, ?)",
                    (
                        outcome.id,
                        time.time(),
                        "retried" if state == WAITING else state,
                        code,
                        json.dumps({**outcome.to_dict(), "thumbs": []}, ensure_ascii=False, default=str),
                    ),
                )
        return final

    def _tries(self, item: int) -> int:
        return self._count("SELECT tries FROM item WHERE id = ?", item)

    # --- what is in it ---

    def counts(self) -> dict[str, int]:
        """Return how many items are in each state."""
        found = dict(self._sql.execute("SELECT state, COUNT(*) FROM item GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in STATES}

    def bytes_left(self) -> int:
        """Return the size of the files that are still to do."""
        return self._count("SELECT COALESCE(SUM(bytes), 0) FROM item WHERE state IN ('waiting', 'running')")

    def largest(self, most: int) -> list[str]:
        """Return the places of the largest waiting files."""
        rows = self._sql.execute(
            "SELECT image FROM item WHERE state = 'waiting' ORDER BY bytes DESC LIMIT ?", (most,)
        )
        return [image for (image,) in rows]

    def results(self, state: str | None = None, *, limit: int = -1) -> Iterator[Outcome]:
        """Yield the last result of every settled item, in the order of the list."""
        rows = self._sql.execute(
            "SELECT r.outcome FROM result r JOIN item i ON i.id = r.item"
            " WHERE r.rowid = (SELECT MAX(rowid) FROM result WHERE item = r.item)"
            " AND i.state = COALESCE(?, i.state) AND i.state IN ('done', 'failed') ORDER BY r.item LIMIT ?",
            (state, limit),
        )
        for (outcome,) in rows:
            yield Outcome.of(json.loads(outcome))

    def reasons(self) -> list[tuple[str, int]]:
        """Return how many items failed for each code, the most frequent first."""
        return self._sql.execute(
            "SELECT r.code, COUNT(*) FROM result r JOIN item i ON i.id = r.item"
            " WHERE i.state = 'failed' AND r.rowid = (SELECT MAX(rowid) FROM result WHERE item = r.item)"
            " GROUP BY r.code ORDER BY 2 DESC"
        ).fetchall()

    def example(self, code: str) -> str:
        """Return the message of the first item that failed for a code."""
        (found,) = self._sql.execute(
            "SELECT r.outcome FROM result r JOIN item i ON i.id = r.item"
            " WHERE i.state = 'failed' AND r.code = ? ORDER BY r.item LIMIT 1",
            (code,),
        ).fetchone()
        return json.loads(found)["error"]["message"]

    def _count(self, query: str, *values: Any) -> int:
        return int(self._sql.execute(query, values).fetchone()[0])

    def _change(self) -> _Transaction:
        return _Transaction(self._sql)


def _connected(path: Path) -> _Connection:
    made = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=30, factory=_Connection
    )
    made.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
    return made


class _Connection(sqlite3.Connection):
    """The errors of a full or lost disk become Reknit's."""

    def execute(self, *query: Any) -> sqlite3.Cursor:
        try:
            return super().execute(*query)
        except sqlite3.Error as why:
            raise _unusable(why) from why

    def executemany(self, *query: Any) -> sqlite3.Cursor:
        try:
            return super().executemany(*query)
        except sqlite3.Error as why:
            raise _unusable(why) from why


def _unusable(why: object) -> ExternalError:
    return ExternalError(
        f"the ledger cannot be used: {why}",
        code="batch.ledger",
        hint="check the disk; --resume goes on where the batch stopped",
    )


class _Transaction:
    """One commit."""

    def __init__(self, sql: _Connection) -> None:
        self._sql = sql

    def __enter__(self) -> None:
        self._sql.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            try:
                self._sql.execute("COMMIT")
                return
            except ExternalError:
                self._undo()
                raise
        self._undo()

    def _undo(self) -> None:
        with suppress(ExternalError):  # a full disk has undone it already
            self._sql.execute("ROLLBACK")


def _values(entry: Entry, setup: Setup) -> tuple[Any, ...]:
    row = json.dumps(dict(entry.row), sort_keys=True, ensure_ascii=False)
    named = json.dumps([entry.image, entry.mask, row], ensure_ascii=False)
    key = hashlib.sha256(named.encode("utf-8", "surrogateescape")).digest()[:16]
    params: Mapping[str, Any] = {**setup.params, **entry.row.get("params", {})}
    model = f"{entry.row.get('engine', setup.engine)} {params.get('model', '')}"
    size = -entry.file_bytes.bit_length()
    return key, entry.image, entry.mask, entry.output, row, entry.file_bytes, model, size


def _remove_part(place: str) -> None:
    """Remove what `core.files` left of a file that it was writing when its process was killed."""
    if places.is_uri(place):
        return
    path = Path(place)
    with suppress(OSError):
        for entry in path.parent.iterdir():
            if entry.name.startswith(f".{path.name[:100]}.") and entry.name.endswith(".part"):
                entry.unlink(missing_ok=True)
