"""The API's own description: complete, with examples, and true under whatever a fuzzer sends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks

from tests.server.live import Server

EXAMPLES = int(os.environ.get("REKNIT_FUZZ", "4"))
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
PATHS = {
    "/api/v1/images": {"post"},
    "/api/v1/images/{id}": {"get"},
    "/api/v1/images/{id}/file": {"get"},
    "/api/v1/images/{id}/patch": {"get"},
    "/api/v1/images/{id}/thumbnail": {"get"},
    "/api/v1/images/{id}/tiles/{level}/{column}/{row}": {"get"},
    "/api/v1/select": {"post"},
    "/api/v1/fill": {"post"},
    "/api/v1/extend": {"post"},
    "/api/v1/repair": {"post"},
    "/api/v1/batch": {"get", "post"},
    "/api/v1/batch/{job_id}/report": {"get"},
    "/api/v1/batch/{job_id}/files/{path}": {"get"},
    "/api/v1/jobs": {"get"},
    "/api/v1/jobs/{job_id}": {"get", "delete"},
    "/api/v1/jobs/{job_id}/cancel": {"post"},
    "/api/v1/jobs/{job_id}/hurry": {"post"},
    "/api/v1/jobs/{job_id}/retry": {"post"},
    "/api/v1/jobs/{job_id}/events": {"get"},
    "/api/v1/events": {"get"},
    "/api/v1/engines": {"get"},
    "/api/v1/models": {"get"},
    "/api/v1/check": {"get"},
    "/api/v1/health": {"get"},
}


@pytest.fixture(scope="module")
def described(server: Server) -> Any:
    return server.client.get(server.url("openapi.json")).json()


def test_every_address_is_described(described: Any) -> None:
    told = {path: set(methods) for path, methods in described["paths"].items()}
    assert told.items() >= PATHS.items()


def operations(described: Any) -> Iterator[tuple[str, Any]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def test_every_failure_is_described_as_a_problem(described: Any) -> None:
    for name, operation in operations(described):
        assert operation["summary"], name
        assert operation["description"], name
        assert "422" not in operation["responses"], name
        for status, response in operation["responses"].items():
            if status == "default" or status[0] in "45":
                assert list(response["content"]) == ["application/problem+json"], (name, status)


def test_bodies_have_examples_that_are_taken(described: Any, server: Server) -> None:
    image, mask = server.pictures()
    for kind in ("fill", "extend", "repair"):
        name = {"fill": "FillBody", "extend": "ExtendBody", "repair": "RepairBody"}[kind]
        example = described["components"]["schemas"][name]["example"]
        body = {**example, "image": image, **({"mask": mask} if "mask" in example else {})}
        assert server.ask(kind, wait=0, **body).status_code == 202


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server.started(tmp_path_factory.mktemp("fuzzed"), "--max-queued", "40") as running:
        yield running


def test_a_fuzzer_finds_no_fault(fuzzed: Server) -> None:
    image, mask = fuzzed.pictures(1, 16)
    job = fuzzed.ask("fill", image=image, mask=mask).json()
    known = {"id": [image, job["result"]["images"][0]["id"]], "job_id": [job["id"]]}
    schema = schemathesis.openapi.from_url(str(fuzzed.client.base_url.join("/api/v1/openapi.json")))
    session = requests.Session()
    session.trust_env = False
    for found in schema.get_all_operations():
        operation = found.ok()
        if not operation.path.endswith("/events"):
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                with suppress(Unsatisfiable):  # there is nothing to get wrong
                    fuzz(operation.as_strategy(generation_mode=mode), known, (image, mask), session)
    assert "Traceback" not in fuzzed.log()
    assert fuzzed.client.get("/api/v1/health").json()["status"] == "ok"


def fuzz(
    cases: Any, known: dict[str, list[str]], pictures: tuple[str, str], session: requests.Session
) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(cases, st.data())
    def call(case: Any, data: Any) -> None:
        for name, values in known.items():  # half of the time a picture or job that exists
            if name in (case.path_parameters or {}) and data.draw(st.booleans()):
                case.path_parameters[name] = data.draw(st.sampled_from(values))
        if isinstance(case.body, dict) and "image" in case.body and data.draw(st.booleans()):
            case.body["image"] = pictures[0]
            if "mask" in case.body:
                case.body["mask"] = pictures[1]
        case.call_and_validate(session=session, checks=CHECKS, timeout=30)

    call()
