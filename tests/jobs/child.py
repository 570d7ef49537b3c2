"""A worker process for the tests: `child.py DATABASE --device NAME`, with handlers that do what tests need."""

import ctypes
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reknit.core.errors import Cancelled, EngineFailed
from reknit.core.progress import Report
from reknit.jobs.store import Store
from reknit.jobs.worker import Teller, serve, take_pipes

Payload = Mapping[str, Any]
FREED: list[int] = []


def echo(payload: Payload, report: Report) -> Payload:
    print("handlers may print")
    return {"echo": payload, "pid": os.getpid()}


def steps(payload: Payload, report: Report) -> Payload:
    """Work for ``seconds``, reporting every 5 ms, and say so in a file named ``log``.

    The first time it works for ``first`` seconds, if that is given: until something happens to it.
    """
    again = note(payload, "begun")
    seconds = payload["seconds"] if again else payload.get("first", payload["seconds"])
    end = time.monotonic() + seconds
    report.step("working", 0)
    while (left := end - time.monotonic()) > 0:
        report.step("working", 1 - left / seconds)
        time.sleep(0.005)
    note(payload, "done")
    return {"pid": os.getpid()}


def walk(payload: Payload, report: Report) -> Payload:
    """Take up to ``steps`` steps of 10 ms; the result says how many were taken."""
    for number in range(payload["steps"]):
        if report.step("walking", number / payload["steps"]):
            return {"walked": number}
        time.sleep(0.01)
    return {"walked": payload["steps"]}


def stubborn(payload: Payload, report: Report) -> Payload:
    """Work for ``seconds`` without ever asking whether to stop."""
    note(payload, "begun")
    time.sleep(payload["seconds"])
    return {}


def note(payload: Payload, what: str) -> int:
    """Add a line to the log; return how many like it were there."""
    if "log" not in payload:
        return 0
    line = f"{payload.get('number', 0)} {what} "
    with Path(payload["log"]).open("a+") as file:
        file.seek(0)
        before = sum(each.startswith(line) for each in file)
        file.write(f"{line}{os.getpid()}\n")
    return before


def preview(payload: Payload, report: Report) -> Payload:
    for number in range(3):
        report.step("denoising", number / 3, preview={"blob": str(number)})
    return {}


def tells(payload: Payload, report: Teller) -> Payload:
    """Tell many things, then end as ``payload`` says."""
    for number in range(payload["count"]):
        report.tell({"number": number})
        report.step("telling", number / payload["count"])
    if payload.get("stops"):
        raise Cancelled(number=payload["count"])
    return {"freed": FREED}


def sits(payload: Payload, report: Report) -> Payload:
    """Hang in the middle of a change of the store; not the second time."""
    if not note(payload, "begun"):
        other = sqlite3.connect(STORE.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        os.kill(os.getpid(), signal.SIGSTOP)
    return {"pid": os.getpid()}


def crash(payload: Payload, report: Report) -> Payload:
    note(payload, "begun")
    ctypes.string_at(0)
    return {}


def killed(payload: Payload, report: Report) -> Payload:
    note(payload, "begun")
    os.kill(os.getpid(), 9)
    return {}


def leave(payload: Payload, report: Report) -> Payload:
    os._exit(7)


def memory(payload: Payload, report: Report) -> Payload:
    note(payload, "begun")
    raise MemoryError


def bug(payload: Payload, report: Report) -> Payload:
    raise KeyError("no such thing")


def quits(payload: Payload, report: Report) -> Payload:
    raise SystemExit(3)


def typed(payload: Payload, report: Report) -> Payload:
    raise EngineFailed("it broke", code="engine.crashed", hint="another one", where=Path("x"))


def full(payload: Payload, report: Report) -> Payload:
    """Fill the disk, as far as SQLite can tell, until the file ``space`` appears."""
    STORE._connection.execute("PRAGMA max_page_count = 1")

    def wait() -> None:
        while not Path(payload["space"]).exists():
            time.sleep(0.05)
        with STORE._lock:
            STORE._connection.execute("PRAGMA max_page_count = 1000000")

    threading.Thread(target=wait, daemon=True).start()
    return {"text": "x" * 10_000_000}


def no_json(payload: Payload, report: Report) -> Payload:
    return {"object": object()}


HANDLERS = {
    function.__name__: function
    for function in (
        echo, steps, stubborn, preview, crash, killed, leave, memory, bug, quits, typed, no_json,
        full, tells, walk, sits,
    )
}  # fmt: skip

if __name__ == "__main__":
    STORE = Store(Path(sys.argv[1]))
    commands, events = take_pipes()
    serve(
        STORE,
        HANDLERS,
        name=sys.argv[sys.argv.index("--device") + 1],
        commands=commands,
        events=events,
        free=lambda: FREED.append(1),
    )
