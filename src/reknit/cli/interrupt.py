"""Ctrl-C stops a command at once, also while native code runs.

Python acts on an interrupt only between its own instructions, and decoding or encoding a large picture is one
long native call. Inside `prompt`, a thread waits for the signal and ends the process if Python has not reacted
soon. Nothing may be half done inside: no file is written there.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager

GRACE_S = 0.05
"""How long Python has to react by itself, in seconds."""


@contextmanager
def prompt() -> Generator[None]:
    """Make an interrupt end the process with status 130 within `GRACE_S`; main thread of POSIX systems."""
    if os.name != "posix" or threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(reading, done), name="reknit-interrupt", daemon=True)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        signal.set_wakeup_fd(before)
        os.close(writing)
        watcher.join()
        os.close(reading)


def _watch(reading: int, done: threading.Event) -> None:
    """Wait for the number of a signal; the end of the pipe means that all is over."""
    while number := os.read(reading, 1):
        if number[0] == signal.SIGINT and not done.wait(GRACE_S):
            clear_line = b"\r\x1b[K" if os.isatty(2) else b""
            os.write(2, clear_line + b"error: cancelled; nothing was written\n")
            os._exit(130)
