"""Files named by the SHA-256 of their content.

A blob appears whole or not at all, is verified whenever it is read, and never changes, so that jobs and pictures
refer to it by its name alone. Only names of 64 lower-case hex digits are ever turned into paths. What a blob
holds, and who still needs it, is not known here.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reknit.core.errors import ExternalError, NotFound

DIGEST = re.compile(r"[0-9a-f]{64}")


class Incoming:
    """A blob on its way in; see `Blobs.receiving`.

    Attributes
    ----------
    digest : str
        Its name; empty until all is written.
    size : int
        Bytes written so far.
    """

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._hash = hashlib.sha256()
        self.size = 0
        self.digest = ""

    def write(self, chunk: bytes | memoryview) -> None:
        """Add bytes; raises `ExternalError` (``disk.full``, ``blob.unwritable``)."""
        view = memoryview(chunk)
        with _explained():
            while view:
                view = view[self._file.write(view) :]
        self._hash.update(chunk)
        self.size += len(chunk)

    def close(self, *, keep: bool) -> None:
        """End it; with ``keep`` flush it to the disk and name it."""
        with _explained(), self._file:
            if keep:
                os.fsync(self._file.fileno())
                self.digest = self._hash.hexdigest()


class Blobs:
    """The blobs below a folder, as ``ab/cd/abcd…``.

    Parameters
    ----------
    root
        Made with the first blob. Only the owner of the process may read the files in it.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    @contextmanager
    def receiving(self) -> Generator[Incoming]:
        """Take in a blob piece by piece.

        After the ``with`` block the blob is there, and its name is in ``digest``; an error inside leaves nothing
        behind. A blob that was there already is replaced, which mends a damaged one, and counts as new.

        Raises
        ------
        ExternalError
            ``disk.full`` or ``blob.unwritable``.
        """
        with _explained():
            folder = self.root / "incoming"
            folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=folder)
        temporary = Path(name)
        incoming = Incoming(descriptor)
        try:
            try:
                yield incoming
            except BaseException:
                incoming.close(keep=False)
                raise
            incoming.close(keep=True)
            self._settle(temporary, self.path(incoming.digest))
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def put(self, data: bytes) -> str:
        """Store bytes and return their digest; raises as `receiving` does."""
        with self.receiving() as incoming:
            incoming.write(data)
        return incoming.digest

    def read(self, digest: str) -> bytes:
        """Return a blob's bytes, verified.

        Raises
        ------
        NotFound
            ``blob.missing``
        ExternalError
            ``blob.corrupt``: the bytes are not those that were stored.
        """
        try:
            data = self.path(digest).read_bytes()
        except OSError as error:
            raise self._missing(digest) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise ExternalError(
                f"the stored file {digest[:12]}… is damaged",
                code="blob.corrupt",
                hint="upload it again, and check the disk",
                blob=digest,
            )
        return data

    def path(self, digest: str) -> Path:
        """Return where a blob belongs, there or not; raises `NotFound` for what is no digest."""
        if not DIGEST.fullmatch(digest):
            raise self._missing(digest)
        return self.root / digest[:2] / digest[2:4] / digest

    def size(self, digest: str) -> int:
        """Return a blob's size in bytes; raises `NotFound`."""
        return self._status(digest).st_size

    def modified(self, digest: str) -> float:
        """Return when a blob was stored or touched last (Unix s); raises `NotFound`."""
        return self._status(digest).st_mtime

    def touch(self, digest: str) -> None:
        """Count a blob as new, so that retention spares it for a while; raises `NotFound`."""
        try:
            os.utime(self.path(digest))
        except OSError as error:
            raise self._missing(digest) from error

    def delete(self, digest: str) -> None:
        """Remove a blob, if it is there."""
        with _explained():
            self.path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """Yield the name of every blob, in no order."""
        for path in self.root.glob("??/??/*"):
            if DIGEST.fullmatch(path.name):
                yield path.name

    def sweep(self, older_than_s: float) -> None:
        """Remove what uploads that were cut off left behind, if it is older than this."""
        for path in (self.root / "incoming").glob("*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > older_than_s:
                    path.unlink()

    def __contains__(self, digest: object) -> bool:
        return isinstance(digest, str) and bool(DIGEST.fullmatch(digest)) and self.path(digest).is_file()

    def _status(self, digest: str) -> os.stat_result:
        try:
            return self.path(digest).stat()
        except OSError as error:
            raise self._missing(digest) from error

    @staticmethod
    def _settle(temporary: Path, target: Path) -> None:
        with _explained():
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.replace(target)
            except PermissionError:  # Windows does not replace a file that someone reads
                if not target.is_file():
                    raise
                with suppress(OSError):
                    os.utime(target)

    @staticmethod
    def _missing(digest: str) -> NotFound:
        return NotFound(
            f"there is no stored file {digest[:64]!r}",
            code="blob.missing",
            hint="upload it again: what no job needs is removed after a while",
            blob=digest[:64],
        )


@contextmanager
def _explained() -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ExternalError(
                "the disk is full; nothing was stored", code="disk.full", hint="free some space and try again"
            ) from error
        raise ExternalError(
            f"a file cannot be stored: {error.strerror or error}",
            code="blob.unwritable",
            hint="check the permissions of the data folder, or choose another --data-dir",
        ) from error
