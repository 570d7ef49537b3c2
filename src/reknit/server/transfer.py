"""Bytes as HTTP answers: validators, ranges and caching for content that never changes under its address.

It knows requests and bytes (RFC 9110: conditional and range requests), no pictures and no routes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

FOREVER = "private, max-age=31536000, immutable"
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def unchanged(request: Request, etag: str) -> bool:
    """Return whether the client already has the content that ``etag`` (without quotes) names."""
    given = request.headers.get("if-none-match", "")
    return given.strip() == "*" or f'"{etag}"' in (
        item.strip().removeprefix("W/") for item in given.split(",")
    )


def answer(
    request: Request,
    etag: str,
    content: Callable[[], tuple[bytes, str]],
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer that carries some content, a part of it, or the word that it has not changed.

    Parameters
    ----------
    etag
        Names the content, without quotes; another content needs another one.
    content
        Called only if it is needed: returns the bytes and their media type.
    headers
        Sent in addition.
    """
    fixed = {"ETag": f'"{etag}"', "Cache-Control": FOREVER}
    if unchanged(request, etag):
        return Response(status_code=304, headers=fixed)
    data, media_type = content()
    fixed |= {"Accept-Ranges": "bytes", **(headers or {})}
    wanted = _wanted(request, etag, len(data))
    if wanted is None:
        return Response(data, headers=fixed, media_type=media_type)
    first, end = wanted
    if first >= end:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{len(data)}"})
    fixed["Content-Range"] = f"bytes {first}-{end - 1}/{len(data)}"
    return Response(data[first:end], 206, headers=fixed, media_type=media_type)


def _wanted(request: Request, etag: str, size: int) -> tuple[int, int] | None:
    """Return the half-open range that is asked for, empty if there is none such; None for all.

    Several ranges at once are answered with all, as a server may.
    """
    if request.headers.get("if-range", f'"{etag}"') != f'"{etag}"':
        return None
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if match is None or match[0] == "bytes=-":
        return None
    if not match[1]:  # the last so many bytes
        return max(0, size - int(match[2])), size
    first = int(match[1])
    last = int(match[2]) if match[2] else size - 1
    if last < first:
        return None if match[2] else (first, first)
    return first, min(last + 1, size)
