"""Getting one file from a URL: resumed after a kill, checked against size and sha256, in place only when whole.

The bytes go to a hidden ``.NAME.part`` beside the target, which one process at a time may write; the target's
name appears by an atomic rename after the checks. ``http``, ``https`` and ``file`` URLs are understood. It
knows no model and no hub, and opens no socket when told to stay offline.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from reknit.core.errors import ExternalError, InputError, ReknitError, Unavailable
from reknit.core.progress import Report

CHUNK = 2**20
TIMEOUT_S = 30.0
SPARE_BYTES = 64 * 2**20
"""What a download leaves free on the disk."""

ATTEMPTS = 4
"""How often a connection that breaks is taken up again before the download is given up."""


class _Body(Protocol):
    def read(self, amount: int, /) -> bytes:
        """Return the next bytes, none at the end."""
        ...


def fetch(
    url: str,
    target: Path,
    *,
    report: Report,
    offline: bool,
    sha256: str | None = None,
    size: int | None = None,
    stage: str = "downloading",
) -> Path:
    """Download ``url`` to ``target`` and return it.

    Parameters
    ----------
    url
        ``https``, ``http`` or ``file``.
    target
        Its folder is made. An existing file is replaced only by a whole one.
    report
        Told how far it is; cancelling leaves what was fetched, to be resumed.
    offline
        Refuse anything but ``file`` before a socket is opened.
    sha256, size
        What the file must be; None where that is not known.

    Raises
    ------
    Unavailable
        ``model.offline``, ``download.refused`` (401, 403), ``download.busy``
    InputError
        ``download.url``
    ExternalError
        ``download.gone`` (404, 410), ``download.network``, ``download.server``, ``download.cut-off``,
        ``download.size``, ``download.checksum``, ``disk.full``, ``file.unwritable``
    """
    scheme = urlsplit(url).scheme
    if scheme not in ("http", "https", "file"):
        raise InputError(
            f"{url} is no URL that can be downloaded",
            code="download.url",
            hint="http, https or file",
            url=url,
        )
    if offline and scheme != "file":
        raise stays_offline(target.name, url)
    part = target.with_name(f".{target.name}.part")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("ab") as file, _held(file, target):
                _Transfer(url, part, file, report=report, size=size, sha256=sha256, stage=stage).run()
                file.flush()
                os.fsync(file.fileno())
        except ReknitError:
            if not part.stat().st_size:
                part.unlink()
                _tag_file(part).unlink(missing_ok=True)
            raise
        part.replace(target)
        _tag_file(part).unlink(missing_ok=True)
    return target


def stays_offline(what: str, where: str) -> Unavailable:
    """Return the error for something that would need the network."""
    return Unavailable(
        f"{what} would have to be fetched from {where}, and Reknit was told to stay offline",
        code="model.offline",
        hint="without --offline, REKNIT_OFFLINE and HF_HUB_OFFLINE it is downloaded; "
        "`reknit models import FILE` takes a file you bring",
        source=where,
    )


def check_room(folder: Path, needed: int) -> None:
    """Raise ``disk.full`` if ``needed`` more bytes would not leave `SPARE_BYTES` free."""
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise ExternalError(
            f"{needed / 1e6:.0f} MB are needed in {folder}, and {free / 1e6:.0f} MB are free",
            code="disk.full",
            hint="free some space, or choose another disk with --models-dir",
            needed_bytes=needed,
            free_bytes=free,
            path=str(folder),
        )


def checksum(path: Path, report: Report, stage: str = "checking") -> str:
    """Return a file's sha256 in lower-case hexadecimal."""
    digest = hashlib.sha256()
    size = max(1, path.stat().st_size)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            report.step(stage, file.tell() / size)
    return digest.hexdigest()


@contextmanager
def disk_errors(target: Path) -> Generator[None]:
    """Turn what the system says of a disk into errors of Reknit's."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ExternalError(
                f"the disk filled up while {target} was written; what came so far is kept",
                code="disk.full",
                hint="free some space and run the command again, or choose another disk with --models-dir",
                path=str(target),
            ) from error
        raise ExternalError(
            f"cannot write {target}: {error.strerror or error}",
            code="file.unwritable",
            hint="check the folder and its permissions",
            path=str(target),
        ) from error


class _Transfer:
    """One download into a part file, over as many connections as it takes."""

    def __init__(
        self,
        url: str,
        part: Path,
        file: Any,
        *,
        report: Report,
        size: int | None,
        sha256: str | None,
        stage: str,
    ) -> None:
        self._url = url
        self._part = part
        self._file = file
        self._report = report
        self._size = size
        self._sha256 = sha256
        self._stage = stage
        self._digest = hashlib.sha256()
        self._done = 0

    def run(self) -> None:
        """Fetch until the file is whole and right; raises otherwise."""
        self._take_up()
        for attempt in range(1, ATTEMPTS + 1):
            before = self._done
            try:
                self._connect()
            except _Broken as error:
                if (self._done == before and attempt > 1) or attempt == ATTEMPTS:
                    raise error.meaning from error
                continue
            break
        self._check()

    def _take_up(self) -> None:
        """Go on from what an earlier run left, where it can be told that it is a part of the same file."""
        have = self._part.stat().st_size
        known = self._sha256 is not None or _tag_file(self._part).exists()
        if not have or not known or (self._size is not None and have > self._size):
            self._restart()
            return
        with self._part.open("rb") as file:
            while chunk := file.read(CHUNK):
                self._digest.update(chunk)
                self._done += len(chunk)
                self._tell()

    def _restart(self) -> None:
        self._file.seek(0)
        self._file.truncate(0)
        self._digest = hashlib.sha256()
        self._done = 0
        _tag_file(self._part).unlink(missing_ok=True)

    def _connect(self) -> None:
        if self._size is not None and self._done == self._size:
            return
        if urlsplit(self._url).scheme == "file":
            self._copy()
            return
        request = urllib.request.Request(
            self._url, headers={"User-Agent": "reknit", "Accept-Encoding": "identity"}
        )
        if self._done:
            request.add_header("Range", f"bytes={self._done}-")
            if (tag := _tag_file(self._part)).exists():
                request.add_header("If-Range", tag.read_text(encoding="utf-8"))
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                self._answer(answer)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and self._done:
                self._restart()
                raise _Broken(self._server(error.code)) from error
            self._refused(error.code)
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            if _disk(error):
                raise
            raise _Broken(self._network(error)) from error

    def _answer(self, answer: Any) -> None:
        if self._done and answer.status != 206:
            self._restart()
        elif self._done and not answer.headers.get("Content-Range", "").startswith(f"bytes {self._done}-"):
            self._restart()
            raise _Broken(self._server(answer.status))
        stated = answer.headers.get("Content-Length")
        total = self._done + int(stated) if stated and stated.isdigit() else None
        if self._size is not None and total is not None and total != self._size:
            raise self._wrong_size(total)
        tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        if tag and not tag.startswith("W/"):
            _tag_file(self._part).write_text(tag, encoding="utf-8")
        self._receive(answer, total if total is not None else self._size)
        if total is not None and self._done < total:
            raise _Broken(
                ExternalError(
                    f"{self._url} broke off after {self._done} of {total} bytes",
                    code="download.cut-off",
                    hint="run the command again: it goes on where it stopped",
                    url=self._url,
                    received_bytes=self._done,
                    bytes=total,
                )
            )

    def _copy(self) -> None:
        source = Path(urllib.request.url2pathname(urlsplit(self._url).path))
        try:
            with source.open("rb") as file:
                total = source.stat().st_size
                if self._size is not None and total != self._size:
                    raise self._wrong_size(total)
                file.seek(self._done)
                self._receive(file, total)
        except (FileNotFoundError, IsADirectoryError) as error:
            raise self._gone() from error

    def _receive(self, body: _Body, total: int | None) -> None:
        check_room(self._part.parent, max(0, (total or CHUNK) - self._done))
        limit = self._size if self._size is not None else total
        while chunk := body.read(CHUNK):
            if limit is not None and self._done + len(chunk) > limit:
                raise self._wrong_size(self._done + len(chunk))
            self._file.write(chunk)
            self._digest.update(chunk)
            self._done += len(chunk)
            self._tell(total)

    def _tell(self, total: int | None = None) -> None:
        whole = self._size or total
        self._report.step(self._stage, min(1.0, self._done / whole) if whole else 0.0)

    def _check(self) -> None:
        if self._size is not None and self._done != self._size:
            raise self._wrong_size(self._done)
        if self._sha256 is not None and self._digest.hexdigest() != self._sha256:
            self._restart()
            raise ExternalError(
                f"{self._url} is not the file the catalog lists: its sha256 is another",
                code="download.checksum",
                hint="nothing of it was kept; try again, and if it stays so, the file was changed at its source",
                url=self._url,
                expected=self._sha256,
            )

    def _wrong_size(self, found: int) -> ExternalError:
        self._restart()
        return ExternalError(
            f"{self._url} is not the file the catalog lists: it has {found} bytes or more, not {self._size}"
            if self._size is not None
            else f"{self._url} sends more bytes than it said",
            code="download.size",
            hint="nothing of it was kept; try again, and if it stays so, the file was changed at its source",
            url=self._url,
            bytes=found,
            expected=self._size,
        )

    def _refused(self, status: int) -> None:
        if status in (401, 403):
            raise Unavailable(
                f"{self._url} asks for permission (HTTP {status})",
                code="download.refused",
                hint="accept the licence on the model's page and log in, or download the file with a browser and "
                "run `reknit models import FILE`",
                url=self._url,
                status=status,
            )
        if status in (404, 410):
            raise self._gone()
        broken = self._server(status)
        raise _Broken(broken) if status >= 500 or status == 429 else broken

    def _gone(self) -> ExternalError:
        return ExternalError(
            f"there is no file at {self._url} any more",
            code="download.gone",
            hint="a newer Reknit may know where it went; `reknit models import FILE` takes a file you have",
            url=self._url,
        )

    def _server(self, status: int) -> ExternalError:
        return ExternalError(
            f"{self._url} answered with HTTP {status}",
            code="download.server",
            hint="try again later",
            url=self._url,
            status=status,
        )

    def _network(self, error: Exception) -> ExternalError:
        reason = getattr(error, "reason", None) or error
        return ExternalError(
            f"cannot reach {urlsplit(self._url).netloc}: {reason}",
            code="download.network",
            hint="check the connection and the proxy; what came so far is kept, and the same command goes on from it",
            url=self._url,
        )


class _Broken(Exception):
    """A connection failed in a way that another one may not."""

    def __init__(self, meaning: ReknitError) -> None:
        super().__init__(meaning.message)
        self.meaning = meaning


def _disk(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _tag_file(part: Path) -> Path:
    """Where the server's word for this version of the file is kept, so that two versions are never joined."""
    return part.with_name(part.name + ".tag")


@contextmanager
def _held(file: Any, target: Path) -> Generator[None]:
    """Let one process at a time write a part; the system lets go of it when the process ends."""
    try:
        _lock(file.fileno())
    except OSError:
        raise Unavailable(
            f"another process is downloading {target.name}",
            code="download.busy",
            hint="wait for it, or stop it",
            path=str(target),
        ) from None
    yield


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, 1 << 40, os.SEEK_SET)  # Windows forbids reading locked bytes
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
