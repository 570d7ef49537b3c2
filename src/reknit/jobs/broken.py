"""What SQLite and the disk say of the store's file, as Reknit's errors. It knows no job."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from reknit.core.errors import ExternalError, ReknitError

BUSY_S = 20.0
"""How long to wait for another process's transaction; they take well under a millisecond."""


@contextmanager
def explained(path: Path) -> Generator[None]:
    """Turn errors of the file at ``path`` into `ExternalError`.

    Raises
    ------
    ExternalError
        ``disk.full``, ``jobs.busy``, ``jobs.corrupt`` or ``jobs.database``.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _typed(path, error) from error
    except OSError as error:
        raise ExternalError(
            f"{path} cannot be used: {error.strerror or error}",
            code="jobs.database",
            hint="check the folder's permissions, or choose another --data-dir",
            path=str(path),
        ) from error


def corrupt(path: Path, reason: str) -> ExternalError:
    """Return the error of a damaged file."""
    return ExternalError(
        f"{path} is damaged: {reason}",
        code="jobs.corrupt",
        hint="move it away: the pictures stay, the list of jobs begins anew",
        path=str(path),
    )


def _typed(path: Path, error: sqlite3.Error) -> ReknitError:
    number = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if number == sqlite3.SQLITE_FULL:
        return ExternalError(
            f"the disk of {path} is full; nothing was changed",
            code="disk.full",
            hint="free some space and try again",
            path=str(path),
        )
    if number == sqlite3.SQLITE_BUSY:
        return ExternalError(
            f"another process has been writing to {path} for {BUSY_S:.0f} s",
            code="jobs.busy",
            hint="try again; end what else uses the file",
            path=str(path),
        )
    if number in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return corrupt(path, str(error))
    return ExternalError(
        f"{path} cannot be used: {error}",
        code="jobs.database",
        hint="check the disk and the folder's permissions, or choose another --data-dir",
        path=str(path),
    )
