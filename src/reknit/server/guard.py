"""Who may talk to the server, and how much: a pure ASGI layer before every route.

Checks, in this order: number of header fields, Host (against DNS rebinding), rate, Origin (against requests
forged by other sites), token, declared and real length of the body, and how slowly it arrives; a WebSocket's
handshake as a request that may change something. Adds the security headers to every response. It knows no
route but the two kinds it must tell apart: the page and the API; addresses of other dialects get refusals in
their own form.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reknit.server.pace import Body, Buckets, Pace, Refused, too_long
from reknit.server.problem import Problem, Shape, Start, shaped

COOKIE = "reknit_token"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
LARGE = ("/api/v1/images", "/sdapi/v1/", "/v1/images/", "/upload/", "/api/upload/")
"""Where bodies hold pictures: an address, or with a slash at its end all below it."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
WEBSOCKET = "WEBSOCKET"
"""What stands for the method of a WebSocket's handshake: browsers let every site make one."""
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; connect-src 'self' blob: data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
DOCUMENT_HEADERS = {
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""What means something only where an answer may be shown by itself: everywhere but in scripts and styles."""
PARTS = ("text/javascript", "text/css")
ENTER = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/">'
    '<title>Reknit</title><a href="/">Reknit</a>'
)
LINGER_S = 2.0
CLOSING = (408, 413, 431)
"""After these the rest of the request is not read: the connection ends with the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the guard enforces.

    Attributes
    ----------
    hosts : frozenset of str
        Names, beside the loopback ones, by which the server may be addressed.
    any_address : bool
        Whether it may be addressed by any IP address (it listens on all of them). A name could be pointed
        here by a stranger; an address could not.
    token : str
        Needed for everything when not empty.
    cors_origins : frozenset of str
        Other sites that may use the API, e.g. ``"https://example.org"``.
    max_upload_bytes, max_json_bytes : int
        Longest body of an uploaded picture, and of anything else.
    max_header_fields : int
    pace : Pace
        How slowly a body may arrive.
    rate_per_s, burst : float
        Requests per second of one address, and how many may come at once; 0 for no limit.
    """

    hosts: frozenset[str] = frozenset()
    any_address: bool = False
    token: str = ""
    cors_origins: frozenset[str] = frozenset()
    max_upload_bytes: int = 512 * 2**20
    max_json_bytes: int = 2**20
    max_header_fields: int = 100
    pace: Pace = field(default_factory=Pace)
    rate_per_s: float = 1000.0
    burst: float = 5000.0


@dataclass(slots=True, kw_only=True)
class _Head:
    """The header fields that the guard looks at; each at most once, or it is refused."""

    fields: dict[bytes, str] = field(default_factory=dict[bytes, str])
    repeated: bool = False

    @staticmethod
    def of(scope: Scope) -> _Head:
        head = _Head()
        for name, value in scope["headers"]:
            if name in (b"host", b"origin", b"content-length", b"authorization") and name in head.fields:
                head.repeated = True
            head.fields[name] = value.decode("latin-1")
        return head

    def get(self, name: bytes) -> str:
        return self.fields.get(name, "")


class Guard:
    """The ASGI layer; `Rules` says what it enforces, ``shapes`` how refusals look below some addresses."""

    def __init__(self, app: ASGIApp, rules: Rules, shapes: Mapping[Start, Shape] | None = None) -> None:
        self._app = app
        self._shapes = shapes or {}
        self._rules = rules
        self._buckets = Buckets(rules.rate_per_s, rules.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand over to the application."""
        if scope["type"] == "websocket":
            await self._shake(scope, receive, send)
            return
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        rules, head = self._rules, _Head.of(scope)
        sending = _Sending(send, scope["path"], self._cors(head))
        refusal = self._refusal(scope, head)
        answer = None if refusal is None else self._answer(scope, refusal)
        if answer is not None:
            await answer(scope, receive, sending)
            return
        limit = rules.max_upload_bytes if _is_large(scope["path"]) else rules.max_json_bytes
        length = head.get(b"content-length")
        if length and (not length.isdecimal() or len(length) > 18 or int(length) > limit):
            await self._refuse_body(scope, receive, sending, head, limit)
            return
        if not length and b"transfer-encoding" not in head.fields:
            await self._app(scope, receive, sending)
            return
        body = Body(receive, self._rules.pace, limit)
        sending.body = body
        try:
            await self._app(scope, body, sending)
        except Refused:
            if not sending.started and body.problem is not None:
                await self._answer(scope, body.problem)(scope, receive, sending)

    async def _shake(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a WebSocket's handshake through, or answer it as a request."""
        refusal = self._refusal({**scope, "method": WEBSOCKET}, _Head.of(scope))
        if refusal is None:
            await self._app(scope, receive, send)
        elif "websocket.http.response" in scope.get("extensions", {}):
            answer = self._answer(scope, refusal)
            await answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _answer(self, scope: Scope, refusal: Problem | Response) -> Response:
        """Return a refusal in the words of the address that was asked for."""
        if isinstance(refusal, Response):
            return refusal
        response = shaped(refusal, scope["path"], self._shapes)
        if refusal.status in CLOSING:
            response.headers["Connection"] = "close"
        return response

    def _refusal(self, scope: Scope, head: _Head) -> Problem | Response | None:
        """Return why the application shall not see a request, or an answer without it; None if it may."""
        rules = self._rules
        if len(scope["headers"]) > rules.max_header_fields or head.repeated:
            return Problem(
                status=431,
                code="guard.headers",
                message="the request has too many header fields",
                hint=f"send at most {rules.max_header_fields}, and none of the important ones twice",
            )
        host = host_name(head.get(b"host"))
        if not self._is_ours(host):
            return Problem(
                status=421,
                code="guard.host",
                message=f"this server is not {host[:100]!r}",
                hint="use the address that `reknit serve` printed; --allow-host adds a name",
            )
        wait_s = self._buckets.wait_s((scope.get("client") or ("",))[0])
        if wait_s:
            return Problem(
                status=429,
                code="guard.rate",
                message="too many requests from this address",
                hint=f"wait {wait_s:.1f} s",
                headers={"Retry-After": str(int(wait_s) + 1)},
            )
        stranger = self._stranger(scope, head)
        if stranger:
            return Problem(
                status=403,
                code="guard.origin",
                message=f"requests from {stranger[:100]!r} are refused",
                hint="only the server's own page may send them; --cors-origin allows another",
            )
        if scope["method"] == "OPTIONS" and head.get(b"origin") in rules.cors_origins:
            return Response(status_code=204)
        return self._admission(scope, head) if rules.token else None

    def _is_ours(self, host: str) -> bool:
        if host in LOOPBACK or host in self._rules.hosts:
            return True
        return self._rules.any_address and _is_address(host)

    def _stranger(self, scope: Scope, head: _Head) -> str:
        """Return who sent a request that only the page may send; empty if it is the page or no browser."""
        if scope["method"] in SAFE_METHODS and not scope["path"].endswith("/events"):
            return ""
        origin, site = head.get(b"origin"), head.get(b"sec-fetch-site")
        if origin:
            scheme, _, place = origin.partition("://")
            own = scheme in ("http", "https") and place == head.get(b"host")
            return "" if own or origin in self._rules.cors_origins else origin
        return "" if site in ("", "same-origin", "none") else site

    def _admission(self, scope: Scope, head: _Head) -> Problem | Response | None:
        """Let in who knows the token; hand out the cookie for ``/?token=…``. The page itself is no secret."""
        token, path = self._rules.token, scope["path"]
        if path == "/" and b"token=" in scope["query_string"]:
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if _equal(given, token):
                # A page that leads on, not a redirect: a strict cookie would not travel with a redirect
                # that began on another site, such as a message with the link in it.
                page = HTMLResponse(ENTER, headers={"Cache-Control": "no-store"})
                page.set_cookie(COOKIE, token, httponly=True, samesite="strict", max_age=30 * 86400)
                return page
        if path in ("/", "/favicon.ico") or path.startswith("/web/"):
            return None
        if _equal(_credential(head.get(b"authorization")), token):
            return None
        if _equal(_cookie(head.get(b"cookie")), token):
            return None
        return Problem(
            status=401,
            code="guard.token",
            message="the token is missing or wrong",
            hint="open the address that `reknit serve` printed, or send `Authorization: Bearer TOKEN`",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def _cors(self, head: _Head) -> str:
        origin = head.get(b"origin")
        return origin if origin in self._rules.cors_origins else ""

    async def _refuse_body(self, scope: Scope, receive: Receive, send: Send, head: _Head, limit: int) -> None:
        """Refuse a body by its declared length; read a little of it, so that the client sees the answer."""
        response = self._answer(scope, too_long(limit))
        await send({"type": "http.response.start", "status": 413, "headers": response.raw_headers})
        await send({"type": "http.response.body", "body": bytes(response.body), "more_body": True})
        if not head.get(b"expect"):
            try:
                async with asyncio.timeout(LINGER_S):
                    while (await receive()).get("more_body"):
                        pass
            except TimeoutError:
                pass
        await send({"type": "http.response.body", "body": b""})


class _Sending:
    """Sends with the security headers; after a refused body nothing but its problem."""

    def __init__(self, send: Send, path: str, cors_origin: str) -> None:
        self.started = False
        self.body: Body | None = None
        self._send = send
        self._policy = PAGE_POLICY if path == "/" or path.startswith("/web/") else DATA_POLICY
        self._cors_origin = cors_origin

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if (
                self.body is not None
                and self.body.problem is not None
                and message["status"] != self.body.problem.status
            ):
                raise Refused
            self.started = True
            headers = MutableHeaders(scope=message)
            shown = not headers.get("content-type", "").startswith(PARTS)
            for name, value in (HEADERS | DOCUMENT_HEADERS if shown else HEADERS).items():
                headers.setdefault(name, value)
            if shown:
                headers.setdefault("Content-Security-Policy", self._policy)
            headers.setdefault("Cache-Control", "no-store")
            if self._cors_origin:
                headers["Access-Control-Allow-Origin"] = self._cors_origin
                headers["Access-Control-Allow-Methods"] = "GET, POST, DELETE"
                headers["Access-Control-Allow-Headers"] = (
                    "Authorization, Content-Type, Idempotency-Key, Prefer"
                )
                headers["Access-Control-Expose-Headers"] = "Reknit-Box, Retry-After"
                headers.add_vary_header("Origin")
        await self._send(message)


def host_name(header: str) -> str:
    """Return the name in a Host header, lower-case, without port and brackets."""
    if header.startswith("[") and "]" in header:
        return header[1:].partition("]")[0].lower()
    return header.rpartition(":")[0].lower() if header.count(":") == 1 else header.lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())


def _credential(header: str) -> str:
    """Return the token in an Authorization header: a bearer's, or the password of a basic one (RFC 7617)."""
    scheme, _, given = header.partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    if scheme.lower() == "basic":
        with suppress(ValueError):
            return base64.b64decode(given.strip(), validate=True).decode("utf-8", "replace").partition(":")[2]
    return ""


def _is_large(path: str) -> bool:
    return any(path == start or (start.endswith("/") and path.startswith(start)) for start in LARGE)


def _cookie(header: str) -> str:
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value.strip('"')
    return ""
