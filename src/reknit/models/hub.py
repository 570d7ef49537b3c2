"""Files of hub repositories: found in the hub's own cache, and fetched into it with ``huggingface_hub``.

The cache is shared with every program that uses the hub, so that no file is there twice. Looking into it needs
neither the network nor the library, which is imported only when something is fetched.
"""

from __future__ import annotations

import errno
import io
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reknit.core.errors import ExternalError, Unavailable
from reknit.core.progress import Report
from reknit.models.catalog import ModelFile
from reknit.models.download import check_room, checksum, disk_errors, stays_offline

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EIO)


def cached(file: ModelFile, cache: Path) -> Path | None:
    """Return where the hub's cache holds ``file``: the newest revision fetched, else any that has it."""
    if file.repo is None:
        return None
    folder = cache / f"models--{file.repo.replace('/', '--')}"
    revisions = list[Path]()
    with suppress(OSError):
        revisions = [folder / "snapshots" / (folder / "refs" / "main").read_text(encoding="utf-8").strip()]
    try:
        revisions += sorted((folder / "snapshots").iterdir())
    except OSError:
        return None
    return next((path for each in revisions if (path := each / file.name).is_file()), None)


def fetch(
    file: ModelFile, cache: Path, *, report: Report, offline: bool, endpoint: str | None = None, stage: str
) -> Path:
    """Download a hub repository's file into the hub's cache, check it, and return where it is.

    Raises
    ------
    Unavailable
        ``model.offline``, ``download.refused``
    ExternalError
        ``download.gone``, ``download.network``, ``download.server``, ``download.size``, ``download.checksum``,
        ``disk.full``
    """
    repo = file.repo
    assert repo is not None
    if offline:
        raise stays_offline(file.name, repo)
    with disk_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
        check_room(cache, file.bytes or 0)
    path = _download(file, repo, cache, report, endpoint, stage)
    size = path.stat().st_size
    if file.bytes is not None and size != file.bytes:
        raise _another(file, path, "download.size", f"it has {size} bytes, not {file.bytes}")
    if file.sha256 is not None and checksum(path, report) != file.sha256:
        raise _another(file, path, "download.checksum", "its sha256 is another")
    return path


def _download(
    file: ModelFile, repo: str, cache: Path, report: Report, endpoint: str | None, stage: str
) -> Path:
    library: Any = import_module("huggingface_hub")  # its types are partly unknown
    errors: Any = import_module("huggingface_hub.errors")
    broken: tuple[type[Exception], ...] = (
        errors.HfHubHTTPError.__bases__
    )  # those of whichever HTTP client it uses

    try:
        path: str = library.hf_hub_download(
            repo,
            file.name,
            cache_dir=cache,
            endpoint=endpoint,
            tqdm_class=_bar(report, stage),
            library_name="reknit",
        )
    except errors.OfflineModeIsEnabled as error:
        raise stays_offline(file.name, repo) from error
    except errors.GatedRepoError as error:
        raise _refused(repo) from error
    except (errors.EntryNotFoundError, *broken) as error:
        absent = (errors.EntryNotFoundError, errors.RepositoryNotFoundError, errors.RevisionNotFoundError)
        status = _status(error)
        if status == 404 or (
            isinstance(error, absent) and not isinstance(error, errors.LocalEntryNotFoundError)
        ):
            raise _gone(file) from error
        if status in (401, 403):
            raise _refused(repo) from error
        if status is not None:
            raise ExternalError(
                f"{repo} answered with HTTP {status}",
                code="download.server",
                hint="try again later",
                repo=repo,
            ) from error
        with disk_errors(cache / file.name):
            if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
                raise
        raise _unreachable(repo, error) from error
    return Path(path)


def _status(error: BaseException | None) -> int | None:
    """Return the HTTP status behind an error, or None if no server answered."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
        error = error.__cause__
    return None


def _gone(file: ModelFile) -> ExternalError:
    return ExternalError(
        f"{file.repo} has no file {file.name} any more, or is not public",
        code="download.gone",
        hint="a newer Reknit may know where it went; `hf auth login` if it is yours; "
        "`reknit models import FILE` takes a file you have",
        repo=file.repo,
    )


def _refused(repo: str) -> Unavailable:
    return Unavailable(
        f"{repo} asks for a login and an accepted licence",
        code="download.refused",
        hint=f"accept it on https://huggingface.co/{repo}, then run `hf auth login`",
        repo=repo,
    )


def _unreachable(repo: str, error: Exception) -> ExternalError:
    return ExternalError(
        f"cannot reach the hub for {repo}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
        code="download.network",
        hint="check the connection and the proxy; what came so far is kept, and the same command goes on from it",
        repo=repo,
    )


def _another(file: ModelFile, path: Path, code: str, why: str) -> ExternalError:
    """Take a wrong file out of the cache, and return the error."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    message = f"{file.name} of {file.repo} is not the file the catalog lists: {why}"
    hint = "nothing of it was kept; try again, and if it stays so, the file was changed at its source"
    if code == "download.size":
        return ExternalError(message, code="download.size", hint=hint, repo=file.repo)
    return ExternalError(message, code="download.checksum", hint=hint, repo=file.repo)


def _bar(report: Report, stage: str) -> Any:
    """Return a progress bar's class that tells ``report`` instead of a terminal."""
    from tqdm import tqdm

    if TYPE_CHECKING:
        Base = tqdm[Any]
    else:
        Base = tqdm

    class Bar(Base):
        def __init__(self, *args: Any, **options: Any) -> None:
            quiet = options | {"file": io.StringIO(), "disable": False}
            super().__init__(*args, **quiet)  # pyright: ignore[reportUnknownMemberType]

        def update(self, n: float | None = 1) -> bool | None:
            shown = super().update(n)
            if self.total:
                report.step(stage, min(1.0, self.n / self.total))
            return shown

    return Bar
