"""The guard alone, before an application that answers everything."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from reknit.server import openai
from reknit.server.guard import COOKIE, Guard, Rules, host_name
from reknit.server.pace import Pace
from tests.server.asgi import Client

HERE = "http://127.0.0.1:7878"
TOKEN = "correct-horse-battery"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"seen {len(body)}")(scope, receive, send)


def client(**rules: Any) -> Client:
    return Client(Guard(echo, Rules(**rules)), HERE)


def refused(response: Any, status: int, code: str) -> bool:
    return (
        response.status_code == status
        and response.json()["code"] == code
        and response.headers["content-type"] == "application/problem+json"
    )


@pytest.mark.parametrize("host", ["127.0.0.1:7878", "localhost:1", "LOCALHOST", "[::1]:7878"])
def test_loopback_names_are_ours(host: str) -> None:
    assert client().get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "192.168.0.7:7878", "[::1", "a:b:c"]
)
def test_a_foreign_host_is_refused(host: str) -> None:
    assert refused(client().get("/", headers={"Host": host}), 421, "guard.host")


def test_a_server_for_the_network_answers_to_addresses_but_not_to_strange_names() -> None:
    app = client(any_address=True, hosts=frozenset({"my-machine"}))
    for host in ("192.168.0.7:7878", "[fd00::7]:7878", "my-machine:7878"):
        assert app.get("/", headers={"Host": host}).status_code == 200
    assert refused(app.get("/", headers={"Host": "evil.example"}), 421, "guard.host")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "file://", "http://["]
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/v1/fill"), ("DELETE", "/x"), ("GET", "/api/v1/events")]
)
def test_other_sites_may_change_nothing(origin: str, method: str, path: str) -> None:
    assert refused(client().request(method, path, headers={"Origin": origin}), 403, "guard.origin")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_without_an_origin_are_known_by_the_browser(site: str) -> None:
    response = client().post("/x", headers={"Sec-Fetch-Site": site})
    assert refused(response, 403, "guard.origin")


def test_the_own_page_and_programs_may_post() -> None:
    for headers in ({"Origin": HERE}, {}, {"Sec-Fetch-Site": "same-origin"}):
        assert client().post("/x", headers=headers, content=b"abc").text == "seen 3"


def test_cors_only_for_the_named_origin() -> None:
    app = client(cors_origins=frozenset({"https://friend.example"}))
    asked = app.request(
        "OPTIONS", "/x", headers={"Origin": "https://friend.example", "Access-Control-Request-Method": "POST"}
    )
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (
        204,
        "https://friend.example",
    )
    assert app.post("/x", headers={"Origin": "https://friend.example"}).status_code == 200
    stranger = app.get("/x", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in stranger.headers
    assert "access-control-allow-origin" not in client().get("/x", headers={"Origin": HERE}).headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong-horse-battery"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Cookie": f"{COOKIE}=wrong"},
        {"Cookie": f"other={TOKEN}"},
        {"Cookie": f"{COOKIE}=\xff\xfe"},
    ],
)
def test_without_the_token_there_is_nothing(headers: dict[str, str]) -> None:
    app = client(token=TOKEN)
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    for path in ("/api/v1/jobs", "/metrics", "/api/v1/health", "/api/v1/openapi.json"):
        assert refused(app.get(path, headers=encoded), 401, "guard.token")


def test_the_token_opens_by_header_and_by_cookie() -> None:
    app = client(token=TOKEN)
    assert app.get("/api/v1/jobs", headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200
    entered = app.get(f"/?token={TOKEN}")
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in entered.text
    assert app.get("/api/v1/jobs").status_code == 200


def test_a_wrong_token_in_the_address_gives_no_cookie() -> None:
    entered = client(token=TOKEN).get("/?token=guess")
    assert "set-cookie" not in entered.headers


def test_the_page_itself_is_no_secret() -> None:
    app = client(token=TOKEN)
    assert app.get("/").status_code == app.get("/web/page.js").status_code == 200


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr("hmac.compare_digest", lambda a, b: seen.append((a, b)) or False)
    client(token=TOKEN).get("/api/v1/jobs", headers={"Authorization": "Bearer guess"})
    assert (b"guess", TOKEN.encode()) in seen


def test_a_declared_length_beyond_the_limit_is_refused_unread() -> None:
    app = client(max_json_bytes=100, max_upload_bytes=1000)
    assert refused(app.post("/x", content=b"a" * 101), 413, "guard.body")
    assert app.post("/x", content=b"a" * 100).status_code == 200
    assert app.post("/api/v1/images", content=b"a" * 1000).status_code == 200
    assert refused(app.post("/api/v1/images", content=b"a" * 1001), 413, "guard.body")


def test_a_body_without_a_length_is_counted() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(2):
            yield b"a" * 60

    app = client(max_json_bytes=100)
    assert refused(app.post("/x", content=chunks()), 413, "guard.body")
    told = Client(Guard(echo, Rules(max_json_bytes=100), {"/v1": openai.of_problem}), HERE)
    for content in (chunks(), b"a" * 101):
        answer = told.post("/v1/x", content=content)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "guard.body")
        assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 30, "0x10", ""])
def test_a_strange_length_is_refused(length: str) -> None:
    response = client().post("/x", headers={"Content-Length": length}, content=b"")
    assert response.status_code == (200 if length == "" else 413)


def drive(app: Guard, messages: Callable[[], Any], headers: list[tuple[bytes, bytes]]) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/x", "query_string": b"", "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"127.0.0.1"), *headers], "scheme": "http", "http_version": "1.1",
    }  # fmt: skip
    asyncio.run(app(scope, messages, send))
    return sent


def test_a_body_that_stops_coming_is_given_up() -> None:
    async def silence() -> Any:
        await asyncio.sleep(60)

    sent = drive(Guard(echo, Rules(pace=Pace(idle_s=0.05))), silence, [(b"content-length", b"10")])
    assert sent[0]["status"] == 408


def test_a_body_that_drips_is_given_up() -> None:
    async def drip() -> Any:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    rules = Rules(pace=Pace(idle_s=1, start_s=0.2, bytes_per_s=1000))
    sent = drive(Guard(echo, rules), drip, [(b"transfer-encoding", b"chunked")])
    assert sent[0]["status"] == 408
    assert b"guard.slow" in sent[1]["body"]


def test_too_many_header_fields_and_doubled_ones_are_refused() -> None:
    many = {f"X-{i}": "1" for i in range(1000)}
    assert refused(client().get("/", headers=many), 431, "guard.headers")
    twice = client().get("/", headers=[("Host", "127.0.0.1"), ("Host", "evil.example")])  # type: ignore[arg-type]
    assert refused(twice, 431, "guard.headers")


def test_a_client_in_a_hurry_has_to_wait() -> None:
    app = client(rate_per_s=0.005, burst=3)
    answers = [app.get("/") for _ in range(4)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429]
    assert int(answers[3].headers["retry-after"]) >= 1


def test_every_answer_carries_the_security_headers() -> None:
    app = client(token=TOKEN)
    for response in (app.get("/"), app.get("/api/v1/jobs"), app.get("/", headers={"Host": "evil.example"})):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    page, data = app.get("/").headers, app.get("/api/v1/jobs").headers
    assert page["content-security-policy"].startswith("default-src 'self'")
    assert "unsafe" not in page["content-security-policy"]
    assert "sandbox" in data["content-security-policy"]


def shaken(*, answers: bool = True, rules: Rules | None = None, **headers: str) -> tuple[bool, list[Any]]:
    """Return whether the application saw a WebSocket's handshake, and what the guard sent."""
    called, sent = list[Scope](), list[Any]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        called.append(scope)

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"host": "127.0.0.1:7878", **headers}
    scope = {
        "type": "websocket",
        "path": "/ws",
        "query_string": b"",
        "client": ("127.0.0.1", 1),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "extensions": {"websocket.http.response": {}} if answers else {},
    }
    asyncio.run(Guard(app, rules or Rules())(scope, None, send))  # type: ignore[arg-type]
    return bool(called), sent


@pytest.mark.parametrize("origin", [{}, {"origin": HERE}])
def test_a_websocket_of_the_own_page_or_of_a_program_passes(origin: dict[str, str]) -> None:
    assert shaken(**origin) == (True, [])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example"}, 403), ({"origin": "null"}, 403), ({"sec-fetch-site": "cross-site"}, 403),
        ({"host": "evil.example"}, 421),
    ],
)  # fmt: skip
def test_a_strange_websocket_is_refused(headers: dict[str, str], status: int) -> None:
    called, sent = shaken(**headers)
    assert not called
    assert (sent[0]["type"], sent[0]["status"]) == ("websocket.http.response.start", status)
    called, sent = shaken(answers=False, **headers)
    assert (called, sent) == (False, [{"type": "websocket.close", "code": 1008}])


def test_a_websocket_wants_the_token() -> None:
    rules = Rules(token=TOKEN)
    called, sent = shaken(rules=rules)
    assert (called, sent[0]["status"]) == (False, 401)
    assert shaken(rules=rules, authorization=f"Bearer {TOKEN}") == (True, [])
    assert shaken(rules=rules, cookie=f"{COOKIE}={TOKEN}") == (True, [])


def test_another_site_that_was_named_may_have_a_websocket() -> None:
    rules = Rules(cors_origins=frozenset({"https://friend.example"}))
    assert shaken(rules=rules, origin="https://friend.example") == (True, [])


@pytest.mark.parametrize(
    ("header", "name"),
    [("a.b:80", "a.b"), ("A.B", "a.b"), ("[::1]:80", "::1"), ("::1", "::1"), ("", ""), ("[1", "[1")],
)
def test_host_names(header: str, name: str) -> None:
    assert host_name(header) == name
