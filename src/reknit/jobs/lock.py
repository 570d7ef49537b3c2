"""A lock that one process holds on a data folder for as long as it lives.

The operating system gives it back when the process ends, however it ends, so that nothing stale is left.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from reknit.core.errors import Unavailable

_FAR = 1 << 30
"""Windows forbids reading locked bytes; this one is beyond the number that the file holds."""


class FolderLock:
    """The lock; ``path`` is a file that holds the owner's process id."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; raises `Unavailable` (``serve.already-running``) with the owner's ``pid``."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor)
        except OSError:
            owner = os.read(descriptor, 20).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise Unavailable(
                f"another Reknit server (process {owner or 'unknown'}) uses {self.path.parent}",
                code="serve.already-running",
                hint="stop that one, or choose another --data-dir",
                pid=int(owner) if owner.isdigit() else None,
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
