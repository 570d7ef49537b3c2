"""A web server in this process that serves one file, well or badly."""

import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

CONTENT = bytes(range(256)) * 12_345  # 3.2 MB
DIGEST = hashlib.sha256(CONTENT).hexdigest()
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Web:
    """How the server behaves, and what it was asked.

    Attributes
    ----------
    status
        Answered to everything, if not 200.
    cuts
        After how many bytes of the body to hang up, one for each request; then no more.
    states
        The length it states, if not the true one.
    pause_s
        Waited after each 64 KiB.
    skips
        How many bytes further than asked it begins a range.
    halts_at
        After how many bytes of the body it waits, until this is None again.
    """

    url: str = ""
    content: bytes = CONTENT
    etag: str = '"one"'
    status: int = 200
    halts_at: int | None = None
    cuts: list[int] = field(default_factory=list)
    states: int | None = None
    ranges: bool = True
    pause_s: float = 0.0
    skips: int = 0
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)

    @property
    def starts(self) -> list[int]:
        """Where each download began."""
        return [
            int(span.removeprefix("bytes=").rstrip("-")) if span else 0
            for m, _, span in self.asked
            if m == "GET"
        ]


def handler(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            span = self.headers.get("Range")
            web.asked.append((self.command, self.path, span))
            self.close_connection = True
            if web.status != 200:
                self.send_response(web.status)
                if web.status in (401, 403):
                    self.send_header("X-Error-Code", "GatedRepo")
                self.send_header("Content-Length", "0")
                self.send_header("Connection", "close")
                self.end_headers()
                return
            same = self.headers.get("If-Range", web.etag) == web.etag
            start = int(span.removeprefix("bytes=").rstrip("-")) if span and web.ranges and same else 0
            start += web.skips if start else 0
            if start >= len(web.content):
                self.send_response(416)
                self.send_header("Connection", "close")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            rest = web.content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(web.states if web.states is not None else len(rest)))
            self.send_header("ETag", web.etag)
            self.send_header("Connection", "close")
            self.send_header("X-Repo-Commit", COMMIT)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(web.content) - 1}/{len(web.content)}")
            self.end_headers()
            if body:
                self.send(rest[: web.cuts.pop(0)] if web.cuts else rest)

        def send(self, data: bytes) -> None:
            try:
                for at in range(0, len(data), 2**16):
                    while web.halts_at is not None and at >= web.halts_at:
                        time.sleep(0.01)
                    self.wfile.write(data[at : at + 2**16])
                    if web.pause_s:
                        self.wfile.flush()
                        time.sleep(web.pause_s)
            except OSError:
                pass  # the client went away

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def web() -> Iterator[Web]:
    """Serve at ``web.url``; change ``web`` to change how."""
    behaviour = Web()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(behaviour))
    behaviour.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield behaviour
    server.shutdown()
    thread.join()
    server.server_close()
