"""The description of the API: what FastAPI derives from the routes, with every failure told as it is sent."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from reknit import __version__
from reknit.server.schemas import ProblemOut

ADDRESS = "/api/v1/openapi.json"
ABOUT = (
    "Upload pictures once, name them by their digest, and ask for jobs: fill, extend, repair. Every failure is "
    "a problem object with a stable `code` and a `hint`. Unknown fields are refused. docs/api.md has a tour."
)
METHODS = ("get", "post", "put", "patch", "delete")


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of ``app``: failures are problems, and any status may be one."""
    if app.openapi_schema is None:
        schema = get_openapi(title="Reknit", version=__version__, description=ABOUT, routes=app.routes)
        parts = schema.setdefault("components", {}).setdefault("schemas", {})
        for unused in ("HTTPValidationError", "ValidationError"):
            parts.pop(unused, None)
        parts["ProblemOut"] = ProblemOut.model_json_schema()
        content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}
        for path in schema["paths"].values():
            for method in METHODS:
                if method in path:
                    _tell_failures(path[method]["responses"], content)
        app.openapi_schema = schema
    return app.openapi_schema


def _tell_failures(responses: dict[str, Any], content: dict[str, Any]) -> None:
    responses.pop("422", None)
    responses.setdefault("default", {"description": "Refused or failed; `code` says why."})
    for status, response in responses.items():
        if status == "default" or status[0] in "45":
            response["content"] = content
