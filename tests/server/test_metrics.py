"""Counting requests, and answering for an application that failed."""

import json
import logging
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from reknit.core.errors import ExternalError, InputError, NotFound, Unavailable
from reknit.server import openai
from reknit.server.log import JsonLines
from reknit.server.metrics import Metrics, Observed, family, resident_bytes
from reknit.server.problem import of_error
from tests.server.asgi import Client


def test_requests_are_counted_by_route_and_status() -> None:
    metrics = Metrics()
    for seconds in (0.001, 0.3, 100):
        metrics.observe("GET", "/api/v1/jobs", 200, seconds)
    metrics.observe("BREW", "other", 405, 0.001)
    text = metrics.text()
    assert 'reknit_http_requests_total{method="GET",route="/api/v1/jobs",status="200"} 3' in text
    assert 'reknit_http_requests_total{method="OTHER",route="other",status="405"} 1' in text
    assert 'reknit_http_seconds_bucket{route="/api/v1/jobs",le="0.5"} 2' in text
    assert 'reknit_http_seconds_bucket{route="/api/v1/jobs",le="+Inf"} 3' in text
    assert 'reknit_http_seconds_count{route="/api/v1/jobs"} 3' in text


def test_labels_are_quoted() -> None:
    assert family("a", "gauge", "b", [({"x": 'q"\\\n'}, 1)])[2] == 'a{x="q\\"\\\\\\n"} 1'


def test_memory_is_told() -> None:
    assert 10e6 < resident_bytes() < 10e9


def failing(error: Exception) -> Client:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return Client(Observed(app, Metrics()))


def test_an_unexpected_error_is_a_problem_without_details(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("reknit").propagate = True
    response = failing(ZeroDivisionError("secret detail")).get("/x")
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert "secret" not in response.text
    assert "secret detail" in caplog.text


def test_an_unexpected_error_is_told_in_the_words_of_its_dialect() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    client = Client(Observed(app, Metrics(), {"/v1": openai.of_problem}))
    response = client.post("/v1/images/edits")
    assert response.headers["x-should-retry"] == "false"
    assert response.json()["error"]["type"] == "server_error"
    assert "error" not in client.get("/api/v1/health").json()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("x", code="mask.empty"), 400),
        (NotFound("x", code="picture.missing"), 404),
        (InputError("x", code="image.too-large"), 413),
        (InputError("x", code="jobs.key-reused"), 409),
        (Unavailable("x", code="jobs.queue-full"), 429),
        (Unavailable("x", code="engine.missing"), 503),
        (ExternalError("x", code="disk.full"), 507),
        (ExternalError("x", code="blob.corrupt"), 500),
        (MemoryError(), 503),
    ],
)
def test_errors_have_their_status(error: Exception, status: int) -> None:
    problem = of_error(error)
    assert problem.status == status
    assert ("Retry-After" in problem.headers) == (status in (429, 503) and not isinstance(error, MemoryError))


def test_a_log_line_is_one_json_object() -> None:
    record = logging.LogRecord("reknit.access", logging.INFO, "", 0, "%s\n", ("GET",), None)
    record.facts = {"status": 200}
    line = JsonLines().format(record)
    told: dict[str, Any] = json.loads(line)
    assert "\n" not in line
    assert (told["message"], told["status"], told["level"]) == ("GET\n", 200, "info")


def test_a_fine_application_is_left_alone() -> None:
    metrics = Metrics()
    client = Client(Observed(PlainTextResponse("fine"), metrics))
    assert client.get("/x").text == "fine"
    assert 'route="other",status="200"} 1' in metrics.text()
