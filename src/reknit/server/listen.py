"""Listening: the socket, the HTTP protocol's patience, and a stop that ends every stream first.

A thin layer over uvicorn. It knows no route and prints nothing.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from reknit.core.errors import ExternalError, ReknitError
from reknit.server.rooms import Rooms

HEADER_S = 15.0
"""How long a client may take to send the head of a request, in seconds."""
KEEP_ALIVE_S = 30
"""How long a connection may rest between requests, in seconds."""
MAX_HEAD_BYTES = 64 * 1024
MAX_CONNECTIONS = 1000
WS_MAX_BYTES = 64 * 1024
"""Of a message that a client sends over a WebSocket."""
GRACE_S = 5


class Patient(H11Protocol):
    """HTTP/1.1 that hangs up on clients who do not finish the head of a request."""

    _timer: asyncio.TimerHandle | None = None
    _handed_over = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes; wait on only while they make no request."""
        super().data_received(data)
        if self._handed_over:
            return
        waiting = self.cycle is None or self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]
        if not waiting:
            self._stop_watching()
        elif self._timer is None:
            self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over; its clock stays behind."""
        self._stop_watching()
        self._handed_over = True
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock with the connection."""
        self._stop_watching()
        super().connection_lost(exc)

    def _watch(self) -> None:
        self._timer = self.loop.call_later(HEADER_S, self._hang_up)

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hang_up(self) -> None:
        self._timer = None
        if self.cycle is None or self.cycle.response_complete:  # pyright: ignore[reportUnnecessaryComparison]
            self.transport.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, rooms: Rooms, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._rooms = rooms
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._rooms.hub.close()
        await super().shutdown(sockets)


def bound(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises
    ------
    ExternalError
        ``serve.address``: the address is in use, or not one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
            found.listen(256)
        except BaseException:
            found.close()
            raise
    except (OSError, UnicodeError) as error:
        raise ExternalError(
            f"cannot listen on {host} port {port}: {error}",
            code="serve.address",
            hint=_hint(error),
            host=host,
            port=port,
        ) from error
    return found


def _hint(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.EACCES, errno.EPERM):
        return "ports below 1024 are the administrator's: choose another --port"
    if number == errno.EADDRINUSE:
        return "another program, or another reknit serve, uses it: choose another --port, or 0 for a free one"
    return "--host is an address of this machine: 127.0.0.1, or 0.0.0.0 for its network"


def run(app: FastAPI, listening: socket.socket, *, ready: Callable[[], None]) -> None:
    """Serve until interrupted; ``ready`` is called once requests are answered.

    Raises
    ------
    ReknitError
        What kept the application from starting.
    """
    config = uvicorn.Config(
        app,
        http=Patient,
        ws="auto",
        ws_max_size=WS_MAX_BYTES,
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=KEEP_ALIVE_S,
        limit_concurrency=MAX_CONNECTIONS,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )
    server = _Server(config, app.state.rooms, ready)
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        return
    except SystemExit:
        failure: Any = app.state.failure
        if isinstance(failure, ReknitError):
            raise failure from None
        raise
