"""The page's files, from memory: read once, compressed once, read again only when they change on disk.

Compressed scripts and styles travel without comments and indentation, which are a quarter of scripts. A client's
path is looked up among the names that were found in the folder; it never reaches the file system.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import time
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from reknit.core.errors import NotFound

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
COMPRESSED = frozenset({".html", ".js", ".mjs", ".css", ".json", ".webmanifest", ".svg"})
LOOK_AGAIN_S = 1.0
COMMENT = re.compile(rb"^[ \t]*(?:/\*(?:[^*]|\*(?!/))*\*/|//[^\n]*)[ \t]*$", re.MULTILINE)
"""A comment that has its lines for itself."""
CAST = re.compile(rb"/\*\* @type (?:[^*]|\*(?!/))*\*/ ?")
"""A comment that tells the type checker what a value is."""
INDENTATION = re.compile(rb"^[ \t]+", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file's content as it is sent."""

    data: bytes
    packed: bytes | None
    etag: str
    kind: str
    stamp: tuple[int, int]


class Folder:
    """The files below a folder that have a known suffix.

    Parameters
    ----------
    root
        The folder; it may be empty or missing.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._paths: dict[str, Path] = {}
        self._files: dict[str, File] = {}
        self._looked = float("-inf")

    def warm(self) -> None:
        """Read and compress everything, so that the first visitor does not wait for it."""
        self._look()
        for name in tuple(self._paths):
            self.get(name)

    def get(self, name: str) -> File:
        """Return the file called ``name`` (with ``/`` between folders); raises `NotFound`."""
        if name not in self._paths:
            self._look()
        path = self._paths.get(name)
        if path is None or not path.is_file():
            raise NotFound("there is no such file", code="request.path", hint="the page is at /")
        stat = path.stat()
        stamp = (stat.st_mtime_ns, stat.st_size)
        file = self._files.get(name)
        if file is None or file.stamp != stamp:
            file = self._files[name] = _read(path, stamp)
        return file

    def _look(self) -> None:
        """List the folder, but not more often than once a second."""
        if time.monotonic() - self._looked < LOOK_AGAIN_S:
            return
        self._looked = time.monotonic()
        found = (path for path in self._root.rglob("*") if path.suffix in TYPES and path.is_file())
        self._paths = {path.relative_to(self._root).as_posix(): path for path in found}


def _read(path: Path, stamp: tuple[int, int]) -> File:
    data = path.read_bytes()
    return File(
        data=data,
        packed=gzip.compress(_lean(data, path.suffix), 9, mtime=0) if path.suffix in COMPRESSED else None,
        etag=hashlib.sha256(data).hexdigest()[:16],
        kind=TYPES[path.suffix],
        stamp=stamp,
    )


def _lean(data: bytes, suffix: str) -> bytes:
    """Return a script or a style without comments and indentation; every line keeps its number.

    Those of the page hold no text that spans lines, so none of it can be meant.
    """
    if suffix not in (".js", ".mjs", ".css"):
        return data
    bare = COMMENT.sub(lambda found: b"\n" * found[0].count(b"\n"), data)
    return INDENTATION.sub(b"", CAST.sub(b"", bare))


def response(request: Request, file: File) -> Response:
    """Return the answer that carries ``file``: compressed if the client takes that, 304 if it has it."""
    packed = file.packed if "gzip" in request.headers.get("accept-encoding", "") else None
    etag = f'"{file.etag}{"-gz" if packed else ""}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if etag in (known.strip() for known in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    if packed is not None:
        headers["Content-Encoding"] = "gzip"
    return Response(packed or file.data, headers=headers, media_type=file.kind)
