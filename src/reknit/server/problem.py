"""Errors on the wire: every failure is one JSON object, ``application/problem+json``.

Turns `ReknitError`, and what the web framework raises, into a status, a stable ``code``, a message and a hint.
All text is escaped to ASCII, so that whatever a client sent can be quoted back. It knows no route.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reknit.core.errors import (
    Cancelled,
    EngineFailed,
    ExternalError,
    InputError,
    NotFound,
    ReknitError,
    Unavailable,
)

LOG = logging.getLogger("reknit.server")
BY_CLASS: tuple[tuple[type[BaseException], int], ...] = (
    (NotFound, 404),
    (InputError, 400),
    (Unavailable, 503),
    (Cancelled, 409),
    (ExternalError, 500),
    (EngineFailed, 500),
)
BY_CODE = {
    "image.too-large": 413,
    "jobs.key-reused": 409,
    "jobs.state": 409,
    "jobs.queue-full": 429,
    "jobs.busy": 503,
    "segment.no-model": 409,
    "segment.onnxruntime": 409,
    "disk.full": 507,
}
BY_STATUS = {
    404: ("request.path", "there is nothing at this address", "GET /api/v1/openapi.json lists the addresses"),
    405: (
        "request.method",
        "this address does not answer to this method",
        "the Allow header names those it does",
    ),
    415: (
        "request.content-type",
        "the body has another content type than is read here",
        "send application/json",
    ),
}


class Json(JSONResponse):
    """A JSON response in ASCII: any text can be carried, lone surrogates too."""

    def render(self, content: Any) -> bytes:
        """Return ``content`` as compact JSON."""
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is told to a client about a failure.

    Attributes
    ----------
    status : int
        The HTTP status.
    code, message, hint, facts
        As in `ReknitError`.
    headers : mapping
        To send with it, e.g. ``Retry-After``.
    """

    status: int
    code: str
    message: str
    hint: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "status": self.status,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "facts": dict(self.facts),
        }

    def response(self) -> Json:
        """Return the response that carries this problem."""
        headers = {"Cache-Control": "no-store", **self.headers}
        return Json(self.to_dict(), self.status, headers, "application/problem+json")


Start = str | tuple[str, ...]
"""Where a dialect's addresses begin."""
Shape = Callable[[Problem], Response]
"""How a dialect tells a problem."""


def shaped(problem: Problem, path: str, shapes: Mapping[Start, Shape]) -> Response:
    """Return the response that tells ``problem``, in the words of the dialect whose address ``path`` is."""
    shape = next((shape for start, shape in shapes.items() if path.startswith(start)), None)
    return problem.response() if shape is None else shape(problem)


def of_any(error: BaseException) -> Problem:
    """Return the problem that tells about an error of Reknit or of the web framework."""
    if isinstance(error, RequestValidationError):
        return of_validation(error.errors())
    return of_http(error) if isinstance(error, HTTPException) else of_error(error)


def of_error(error: BaseException) -> Problem:
    """Return the problem that tells about ``error``; an unexpected one is logged and told without details."""
    if isinstance(error, ReknitError):
        status = BY_CODE.get(error.code) or next((s for kind, s in BY_CLASS if isinstance(error, kind)), 500)
        return Problem(
            status=status,
            code=error.code,
            message=error.message,
            hint=error.hint,
            facts=error.facts,
            headers={"Retry-After": "2"} if status in (429, 503) else {},
        )
    if isinstance(error, MemoryError):
        return Problem(
            status=503,
            code="memory",
            message="out of memory",
            hint="close other programs, or use a smaller picture",
        )
    LOG.error("unexpected %s", type(error).__name__, exc_info=error)
    return Problem(
        status=500,
        code="internal",
        message=f"unexpected {type(error).__name__}",
        hint="this is a bug in Reknit; the server's log has the details",
    )


def of_validation(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """Return the problem that tells about the first of pydantic's complaints, unknown names first."""
    first = next((e for e in errors if e["type"] == "unknown_field"), errors[0])
    where = [str(part) for part in first["loc"]]
    place, name = where[0], ".".join(where[1:])
    if first["type"] == "unknown_field":
        context = first["ctx"]
        return Problem(
            status=400,
            code="request.unknown-field",
            message=f"there is no field {context['name']!r} here",
            hint=context["hint"],
            facts={"field": context["name"], "in": place},
        )
    if first["type"] == "json_invalid":
        return Problem(
            status=400,
            code="request.json",
            message=f"the body is not JSON: {first.get('ctx', {}).get('error', '')}",
            hint="send one JSON object as UTF-8",
        )
    if first["type"] == "missing":
        what = f"the field {name!r} is missing" if name else f"the {place} is missing"
        return Problem(
            status=400,
            code="request.missing-field",
            message=what,
            hint="GET /api/v1/openapi.json shows what is needed",
            facts={"field": name, "in": place},
        )
    message = str(first["msg"])
    return Problem(
        status=400,
        code="request.value",
        message=f"{name or place}: {message[:1].lower()}{message[1:]}",
        hint="GET /api/v1/openapi.json shows kinds and ranges",
        facts={"field": name, "in": place},
    )


def of_http(error: HTTPException) -> Problem:
    """Return the problem that tells about a refusal of the web framework."""
    known = ("request.body", "the request cannot be read", "send one JSON object as UTF-8")
    code, message, hint = BY_STATUS.get(error.status_code, known)
    return Problem(
        status=error.status_code, code=code, message=message, hint=hint, headers=dict(error.headers or {})
    )


async def answer(request: Request, error: Exception) -> Response:
    """Answer with the problem of ``error``: the exception handler of the whole application.

    Below the addresses of another dialect (``app.state.dialects``) the answer is in that dialect's form.
    """
    dialects: Mapping[Start, Callable[[Exception], Response]] = getattr(request.app.state, "dialects", {})
    for start, shape in dialects.items():
        if request.url.path.startswith(start):
            return shape(error)
    return of_any(error).response()
