"""HEAD is answered wherever GET is, alike for every route, and never with a body."""

import socket

import pytest

from tests.patience import PATIENCE_S
from tests.server.live import Server, photo, png

ADDRESSES = [
    *(
        "/",
        "/metrics",
        "/api/v1/health",
        "/api/v1/engines",
        "/api/v1/openapi.json",
        "/v1/models",
        "/v1/models/nobody",
    ),
    *("/sdapi/v1/options", "/sdapi/v1/sd-models", "/sdapi/v1/progress", "/no/such/address"),
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_head_says_what_get_says(server: Server, address: str) -> None:
    got, asked = server.client.get(address), server.client.head(address)
    assert asked.status_code == got.status_code
    assert asked.headers["content-type"] == got.headers["content-type"]
    assert asked.content == b""


def test_the_head_of_a_picture_has_its_length_and_etag(server: Server) -> None:
    address = f"/api/v1/images/{server.upload(png(photo()))['id']}/file"
    got, asked = server.client.get(address), server.client.head(address)
    for name in ("content-length", "content-type", "etag"):
        assert asked.headers[name] == got.headers[name]
    part = server.client.head(address, headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.headers["content-length"]) == (206, "10")


def test_head_of_a_stream_ends(server: Server) -> None:
    asked = server.client.head("/api/v1/events", timeout=PATIENCE_S)
    assert asked.status_code == 200
    assert asked.headers["content-type"].startswith("text/event-stream")


def test_head_where_only_post_is_answered(server: Server) -> None:
    asked = server.client.head("/sdapi/v1/img2img")
    assert asked.status_code in (404, 405)
    assert server.client.head("/v1/images/edits").status_code == 405


def test_no_body_follows_on_the_wire(server: Server) -> None:
    url = server.client.base_url
    with socket.create_connection((url.host, url.port or 80), timeout=PATIENCE_S) as line:
        ask = f"HEAD /sdapi/v1/options HTTP/1.1\r\nHost: {url.host}:{url.port}\r\nConnection: close\r\n\r\n"
        line.sendall(ask.encode())
        told = b""
        while chunk := line.recv(65536):
            told += chunk
    assert told.startswith(b"HTTP/1.1 200")
    assert told.endswith(b"\r\n\r\n")
