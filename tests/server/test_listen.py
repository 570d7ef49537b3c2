"""What the protocol's patience is not: a WebSocket is no request that never ends."""

import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

pytest.importorskip("websockets", reason="pip install -e .")

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from reknit.core.errors import ExternalError
from reknit.server import listen
from reknit.server.app import build
from reknit.server.rooms import ServeSettings
from tests.patience import PATIENCE_S, until


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()


def connected(port: int) -> ClientConnection | None:
    """Return a connection; None if a slow machine's handshake was hung up on."""
    with suppress(OSError, WebSocketException):
        return connect(f"ws://127.0.0.1:{port}/ws", proxy=None)
    return None


def test_a_quiet_websocket_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "HEADER_S", 0.2)
    app = Starlette(routes=[WebSocketRoute("/ws", echo)])
    config = uvicorn.Config(app, http=listen.Patient, ws="auto", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    listening = listen.bound("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        with until(lambda: connected(listening.getsockname()[1])) as ws:
            time.sleep(0.7)
            ws.send("still here")
            assert ws.recv(timeout=PATIENCE_S) == "still here"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.mark.parametrize(("host", "hint"), [("127.0.0.1", "another --port"), ("192.0.2.1", "0.0.0.0")])
def test_an_address_that_cannot_be_had_is_told_with_what_helps(host: str, hint: str) -> None:
    with listen.bound("127.0.0.1", 0) as taken, pytest.raises(ExternalError) as caught:
        listen.bound(host, taken.getsockname()[1])
    assert caught.value.code == "serve.address" and hint in caught.value.hint


def test_a_data_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExternalError) as caught:
        build(ServeSettings(data_dir=tmp_path / "file" / "data"))
    assert caught.value.code == "serve.data-dir"
