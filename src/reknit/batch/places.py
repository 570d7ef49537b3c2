"""Where pictures lie: folders of this machine, and object stores by URI (``s3://``, ``gs://``, …).

Local files go through `core.files`: written whole or not at all. URIs go through pyarrow's file systems, which are
imported only for them; an object store shows an object only when it is complete. Nothing here knows pictures.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from reknit.core import files
from reknit.core.errors import ExternalError, InputError, NotFound, Unavailable

_URI = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_uri(place: str) -> bool:
    """Return whether a place is a URI such as ``s3://bucket/folder``, not a path."""
    return _URI.match(place) is not None


def absolute(place: str) -> str:
    """Return a place that means the same from every working directory; folders' links are resolved."""
    return place.rstrip("/") if is_uri(place) else os.path.realpath(Path(place).expanduser())


def join(root: str, relative: str) -> str:
    """Return the place of ``relative`` (with ``/``) below ``root``; an absolute one stays as it is.

    A URI spells what it must (``%20`` for a space); a path is as it is.
    """
    if is_uri(relative) or not relative:
        return relative or root
    if not is_uri(root):
        return str(Path(root, relative))
    base, question, query = root.partition("?")
    return posixpath.join(base, quote(relative)) + question + query


def check_within(place: str, folders: Collection[str]) -> None:
    """Refuse a place that lies, links followed, outside all of ``folders``; with none of them all is well.

    Raises
    ------
    InputError
        ``batch.outside``
    """
    real = None if is_uri(place) else Path(os.path.realpath(place))
    if folders and (real is None or not any(real.is_relative_to(folder) for folder in folders)):
        raise InputError(
            f"{place} does not lie in a folder that was allowed",
            code="batch.outside",
            hint="links that lead out of it are not followed",
        )


def name_of(place: str) -> str:
    """Return the file name of a place."""
    return unquote(posixpath.basename(place.partition("?")[0])) if is_uri(place) else Path(place).name


def read(place: str, *, max_bytes: int) -> bytes:
    """Return a file's content.

    Raises
    ------
    NotFound, InputError, ExternalError, Unavailable
        As `files.read_bytes`; ``place.failed``, ``place.missing-module``.
    """
    if not is_uri(place):
        return files.read_bytes(place, max_bytes=max_bytes)
    with _system(place) as (system, path), system.open_input_file(path) as file:
        if file.size() > max_bytes:
            raise files.too_many_bytes(file.size(), max_bytes, place)
        return file.read()


def write(place: str, data: bytes) -> None:
    """Write a file, whole or not at all; folders are made."""
    if not is_uri(place):
        files.make_folder(Path(place).parent, hint="check the disk and the permissions of OUT")
        files.write_bytes(place, data)
        return
    with _system(place) as (system, path):
        if system.type_name == "local":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        with system.open_output_stream(path) as file:
            file.write(data)


def exists(place: str) -> bool:
    """Return whether there is a file, or anything else that a file would replace."""
    if not is_uri(place):
        return os.path.lexists(place)
    with _system(place) as (system, path):
        return system.get_file_info(path).type.name != "NotFound"


def is_folder(place: str) -> bool:
    """Return whether there are files below a place."""
    if not is_uri(place):
        return Path(place).is_dir()
    with _system(place) as (system, path):
        return system.get_file_info(path).type.name == "Directory"


def walk(root: str, *, skip: frozenset[str] = frozenset()) -> Iterator[tuple[str, int]]:
    """Yield (path below ``root`` with ``/``, bytes) of every file, folder by folder, in no certain order.

    Hidden files and folders, links to folders, and the absolute paths in ``skip`` are left out.
    """
    if is_uri(root):
        with _system(root) as (system, path):
            yield from _walk_store(system, path, path)
        return
    try:
        yield from _walk(root, "", skip)
    except OSError as error:
        raise ExternalError(
            f"{error.filename or root} cannot be listed: {error.strerror}",
            code="file.unreadable",
            hint="check the permissions of the folder",
        ) from error


def _walk(folder: str, prefix: str, skip: frozenset[str]) -> Iterator[tuple[str, int]]:
    inner: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if os.path.realpath(entry.path) not in skip:
                    inner.append(entry.name)
            elif entry.is_file():
                # What is no Unicode cannot be noted; reading it under this name says that it is not there.
                name = entry.name.encode("utf-8", "backslashreplace").decode()
                yield prefix + name, entry.stat().st_size
    for name in sorted(inner):
        yield from _walk(str(Path(folder, name)), f"{prefix}{name}/", skip)


def _walk_store(system: Any, root: str, folder: str) -> Iterator[tuple[str, int]]:
    from pyarrow import fs  # pyright: ignore[reportMissingImports]

    inner: list[str] = []
    for info in system.get_file_info(fs.FileSelector(folder)):
        if info.base_name.startswith("."):
            continue
        if info.type.name == "Directory":
            inner.append(info.path)
        elif info.type.name == "File":
            yield posixpath.relpath(info.path, root), int(info.size or 0)
    for path in sorted(inner):
        yield from _walk_store(system, root, path)


@contextmanager
def _system(place: str) -> Generator[tuple[Any, str]]:
    """Give the file system that a URI names and the path in it; its errors become Reknit's."""
    try:
        from pyarrow import fs  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise Unavailable(
            f"{place} needs the module 'pyarrow', which is not installed",
            code="place.missing-module",
            hint="pip install 'reknit[cluster]'",
        ) from error
    try:
        yield fs.FileSystem.from_uri(place)
    except FileNotFoundError as error:
        raise NotFound(f"{place} does not exist", code="file.missing", hint="check the URI") from error
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{place} is no place that can be reached: {error}", code="place.unknown", hint="check the URI"
        ) from error
    except OSError as error:
        raise ExternalError(
            f"{place} cannot be reached: {error}",
            code="place.failed",
            hint="check the network and the credentials of the object store",
        ) from error
