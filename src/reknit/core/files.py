"""Reading and writing whole files with typed errors.

Writing is atomic: a reader, or a power cut, meets the old file or the new one, never a part. It knows no
formats.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from pathlib import Path

from reknit.core.errors import ExternalError, InputError, NotFound, ReknitError


def read_bytes(path: Path | str, *, max_bytes: int) -> bytes:
    """Return a file's content, refusing one larger than ``max_bytes`` before reading it.

    Raises
    ------
    NotFound
        ``file.missing``
    InputError
        ``file.directory``, ``file.special``, ``image.too-large``
    ExternalError
        ``file.unreadable``
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_size > max_bytes:
                raise too_many_bytes(status.st_size, max_bytes, str(path))
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise _explained(error, path, "read") from error
    except ValueError as error:  # a name with a zero byte
        raise NotFound(
            f"no file can be named {str(path)!r}", code="file.missing", hint="check the path"
        ) from error
    if len(data) > max_bytes:
        raise too_many_bytes(len(data), max_bytes, str(path))
    return data


def too_many_bytes(size: int, limit: int, name: str) -> InputError:
    """Return the error for a file that is larger than a limit."""
    return InputError(
        f"{name or 'the file'} has more than {limit:,} bytes",
        code="image.too-large",
        hint="--max-bytes, or max_bytes in the settings, raises the limit if you trust the file",
        bytes=size,
        max_bytes=limit,
    )


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write a file atomically: a temporary file beside it, flushed to disk, then renamed over it.

    A symbolic link is followed, so that the link stays and its target is replaced. An existing file's
    permissions are kept; a new file gets the usual ones.

    Raises
    ------
    NotFound
        ``file.missing``: the folder does not exist.
    InputError
        ``file.directory``
    ExternalError
        ``file.unwritable``
    """
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():  # a pipe cannot be replaced, only written to
            target.write_bytes(data)
            return
        _replace(target, data)
    except OSError as error:
        raise _explained(error, Path(path), "write") from error
    except ValueError as error:  # a name with a zero byte
        raise NotFound(
            f"no file can be named {str(path)!r}", code="file.missing", hint="check the path"
        ) from error


def make_folder(folder: Path, *, hint: str) -> None:
    """Make a folder, and those above it; raises `ExternalError` (``file.unwritable``) with this hint."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExternalError(
            f"the folder {folder} cannot be made: {error.strerror}",
            code="file.unwritable",
            hint=hint,
            path=str(folder),
        ) from error


def _replace(target: Path, data: bytes) -> None:
    # Beside the target, so that renaming does not cross file systems; named so that no two writers meet.
    temporary = target.with_name(f".{target.name[:100]}.{os.getpid()}-{time.monotonic_ns():x}.part")
    try:
        with temporary.open("xb") as file:
            if target.exists():
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _explained(error: OSError, path: Path, doing: str) -> ReknitError:
    facts = {"path": str(path)}
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if doing == "write":
            return NotFound(
                f"the folder of {path} does not exist",
                code="file.missing",
                hint=f"mkdir -p {path.parent}",
                **facts,
            )
        return NotFound(f"{path} does not exist", code="file.missing", hint="check the path", **facts)
    if error.errno == errno.EISDIR:
        return InputError(
            f"{path} is a folder, not a file", code="file.directory", hint="name a file in it", **facts
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return ExternalError(
            f"no permission to {doing} {path}",
            code="file.unreadable" if doing == "read" else "file.unwritable",
            hint="check the permissions of the file and its folder",
            **facts,
        )
    return ExternalError(
        f"cannot {doing} {path}: {error.strerror or error}",
        code="file.unreadable" if doing == "read" else "file.unwritable",
        hint="the system's reason is above; check the disk, the name and its permissions",
        **facts,
    )
