"""What strangers may try against a running server."""

import io
import json
import socket
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from tests.patience import PATIENCE_S, quick, until
from tests.server.live import Server, photo, png

TOKEN = "a-token-for-the-tests"
TRAVERSALS = [
    "../../../../etc/passwd",
    "/etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "C:\\Windows\\win.ini",
    "file:///etc/passwd",
    "a/../../b",
    "\x00",
    "%00",
    ".",
]


def code(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.json()["code"]


def raw(server: Server, head: str, body: bytes = b"", timeout: float = PATIENCE_S) -> bytes:
    """Send bytes as they are and return all that comes back until the server closes, whatever it left unread."""
    host, port = server.client.base_url.host, server.client.base_url.port
    answer = b""
    with (
        socket.create_connection((host, port or 0), timeout=timeout) as connection,
        suppress(ConnectionError),
    ):
        connection.sendall(head.encode("latin-1") + body)
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def test_another_site_can_neither_post_nor_listen(server: Server) -> None:
    stranger = {"Origin": "http://evil.example"}
    for method, path in (("POST", "fill"), ("POST", "images"), ("DELETE", "jobs/x"), ("GET", "events")):
        response = server.client.request(method, server.url(path), headers=stranger)
        assert (response.status_code, code(response)) == (403, "guard.origin")


def test_a_form_of_another_site_is_no_json(server: Server) -> None:
    body = json.dumps({"image": "0" * 64, "mask": "0" * 64})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        response = server.client.post(server.url("fill"), content=body, headers={"Content-Type": kind})
        assert response.status_code == 400


def test_a_foreign_host_gets_nothing(server: Server) -> None:
    for path in ("/", "/api/v1/jobs", "/metrics"):
        response = server.client.get(path, headers={"Host": "evil.example"})
        assert (response.status_code, code(response)) == (421, "guard.host")


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server.started(tmp_path_factory.mktemp("locked"), "--token", TOKEN) as running:
        yield running


def test_the_token(locked: Server) -> None:
    assert locked.address.endswith(f"/?token={TOKEN}")
    for headers in ({}, {"Authorization": "Bearer wrong-token-here"}, {"Cookie": "reknit_token=wrong"}):
        response = locked.client.get("/api/v1/jobs", headers=headers)
        assert (response.status_code, code(response)) == (401, "guard.token")
        assert TOKEN not in response.text
    assert locked.client.get("/api/v1/jobs", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    with httpx.Client(base_url=locked.client.base_url) as browser:
        assert browser.get("/?token=wrong").headers.get("set-cookie") is None
        browser.get(f"/?token={TOKEN}")
        assert browser.get("/api/v1/jobs").status_code == 200


def test_a_server_for_the_network_makes_a_token(tmp_path: Path) -> None:
    with Server.started(tmp_path, "--host", "0.0.0.0") as server:
        token = server.address.partition("?token=")[2]
        assert len(token) >= 32
        port = server.client.base_url.port
        here = f"http://127.0.0.1:{port}/api/v1/jobs"
        assert httpx.get(here).status_code == 401
        assert httpx.get(here, headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert token not in server.log()


def test_no_string_of_a_client_becomes_a_path(server: Server) -> None:
    image, mask = server.pictures()
    before = set(server.data.iterdir()) | set((server.data / "data").iterdir())
    fields = {
        "fill": ["image", "mask", "source", "engine", "mask_from"],
        "extend": ["image", "engine", "left", "right", "top", "bottom", "aspect", "anchor"],
        "repair": ["image", "engine"],
    }
    for kind, names in fields.items():
        for name in names:
            for text in TRAVERSALS:
                body = {"image": image, **({"mask": mask} if kind == "fill" else {}), name: text}
                response = server.ask(kind, wait=0, **body)
                assert 400 <= response.status_code < 500, (kind, name, text, response.text)
                assert "root:" not in response.text
    for text in TRAVERSALS:
        bad_params = server.ask(
            "fill", wait=0, image=image, mask=mask, engine="exemplar", params={text: text}
        )
        assert bad_params.status_code == 400
        kinds = server.ask("repair", wait=0, image=image, kinds=[text])
        assert kinds.status_code == 400
        for path in (
            ()
            if text == "."
            else (
                f"images/{text}",
                f"images/{text}/file",
                f"jobs/{text}",
                f"images/{image}/tiles/{text}/0/0",
            )
        ):
            response = server.client.get("/api/v1/" + path.replace("\x00", "%00").replace("\\", "%5c"))
            assert 400 <= response.status_code < 500, path
            assert b"root:" not in response.content
        assert server.client.get(server.url("jobs"), params={"before": text}).status_code == 200
        told = server.upload(png(photo(7)), name=text)
        assert "/" not in told["name"] and "\\" not in told["name"] and "\x00" not in told["name"]
    assert set(server.data.iterdir()) | set((server.data / "data").iterdir()) == before


@pytest.mark.parametrize(
    "path",
    [
        "/web/../../../../etc/passwd",
        "/web/%2e%2e/api.py",
        "/web//etc/passwd",
        "/web/..%5c..%5cx",
        "/../../etc/passwd",
    ],
)
def test_the_page_s_files_are_all_there_is(server: Server, path: str) -> None:
    answer = raw(server, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"root:" not in answer


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_a_decompression_bomb_is_refused_by_its_header(server: Server) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1_000_000, 9))
    bomb = b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")
    assert len(bomb) < 3000
    before = psutil.Process(server.process.pid).memory_info().rss

    def upload() -> None:
        response = server.client.post(server.url("images"), content=bomb)
        assert (response.status_code, code(response)) == (413, "image.too-large")

    quick(2, upload)
    assert psutil.Process(server.process.pid).memory_info().rss - before < 50e6


def test_a_body_of_a_gigabyte_is_refused_by_its_length(server: Server) -> None:
    head = f"POST /api/v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2**30}\r\n\r\n"

    def send() -> None:
        answer = raw(server, head, b"a" * 100_000)
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"guard.body" in answer

    quick(10, send)


def test_a_body_of_a_gigabyte_without_a_length_is_cut_off(server: Server) -> None:
    host, port = server.client.base_url.host, server.client.base_url.port
    before = psutil.Process(server.process.pid).memory_info().rss
    sent = 0
    piece = photo(1, 512).tobytes()
    with socket.create_connection((host, port or 0), timeout=30) as connection:
        connection.sendall(
            b"POST /api/v1/images HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        start_of_png = png(photo())[:1024]
        connection.sendall(b"%x\r\n%s\r\n" % (len(start_of_png), start_of_png))
        try:
            while sent < 2**30:
                connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
                sent += len(piece)
        except OSError:
            pass
    assert 32 * 2**20 < sent < 128 * 2**20
    assert psutil.Process(server.process.pid).memory_info().rss - before < 100e6
    incoming = server.data / "data" / "blobs" / "incoming"
    assert incoming.is_dir()
    until(lambda: not list(incoming.iterdir()))
    left = [
        path for path in (server.data / "data").rglob("*") if path.is_file() and path.stat().st_size > 2**22
    ]
    assert [path for path in left if "jobs" not in path.name] == []


def test_a_slow_client_harms_nobody(server: Server) -> None:
    host, port = server.client.base_url.host, server.client.base_url.port
    slow = [socket.create_connection((host, port or 0)) for _ in range(50)]
    try:
        for i, connection in enumerate(slow):
            connection.sendall(b"POST /api/v1/images HTTP/1.1\r\nHost: localhost\r\n")
            if i % 2:
                connection.sendall(b"Content-Length: 1000\r\n\r\nx")

        def ask() -> None:
            assert server.client.get(server.url("health")).status_code == 200

        quick(2, ask)
    finally:
        for connection in slow:
            connection.close()


def test_heads_that_never_end_are_hung_up_on(tmp_path: Path) -> None:
    code_ = (
        "import reknit.server.listen as listen; listen.HEADER_S = listen.KEEP_ALIVE_S = 1\n"
        "from reknit.cli.main import main; main()"
    )
    import subprocess
    import sys

    process = subprocess.Popen(
        [sys.executable, "-c", code_, "serve", "--port", "0", "--data-dir", str(tmp_path)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().rstrip().rstrip("/").rpartition(":")[2])
        for begin in (
            b"",
            b"GET / HTTP/1.1\r\nHost: loc",
            b"GET /web/nope HTTP/1.1\r\nHost: localhost\r\n\r\nGET /",
        ):

            def hung_up(begin: bytes = begin) -> None:
                with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
                    connection.sendall(begin)
                    while connection.recv(65536):
                        pass

            quick(5, hung_up)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize(
    "data",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
        b"<!doctype html><script>alert(1)</script>",
        b"GIF89a<script>alert(1)</script>",
        b"%PDF-1.4",
        b"push graphic-context\nviewbox 0 0 1 1\nimage over 0,0 0,0 'https://evil.example/x'\npop graphic-context",
        b"",
        b"\x00" * 5000,
    ],
)
def test_what_is_no_picture_is_refused_whatever_it_says(server: Server, data: bytes) -> None:
    for kind, name in (("image/png", "cat.png"), ("image/svg+xml", "cat.svg"), ("text/html", "cat.jpg")):
        response = server.client.post(
            server.url("images"), content=data, params={"name": name}, headers={"Content-Type": kind}
        )
        assert response.status_code == 400, response.text
        assert code(response).startswith("image.")


def test_script_in_metadata_and_names_is_carried_but_never_shown_as_a_page(server: Server) -> None:
    script = "<script>alert(1)</script>"
    exif = Image.Exif()
    exif[0x010E] = script
    exif[0x9286] = script
    buffer = io.BytesIO()
    Image.fromarray(photo(9)).save(buffer, "JPEG", exif=exif, comment=script.encode())
    told = server.upload(buffer.getvalue(), name=f"{script}.jpg")
    picture = told["id"]
    for path in (
        f"images/{picture}",
        f"images/{picture}/thumbnail",
        f"images/{picture}/file",
        f"images/{picture}/tiles/0/0/0",
    ):
        response = server.client.get(server.url(path))
        assert response.headers["content-type"].partition(";")[0] in ("application/json", "image/jpeg")
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in response.headers["content-security-policy"]
    file = server.client.get(server.url(f"images/{picture}/file"))
    assert file.headers["content-disposition"].startswith("attachment")
    assert "\n" not in file.headers["content-disposition"]
    assert b"script" not in server.client.get(server.url(f"images/{picture}/thumbnail")).content


def test_ten_thousand_header_fields(server: Server) -> None:
    fields = "".join(f"X{i}: 1\r\n" for i in range(10_000))
    answer = raw(server, f"GET / HTTP/1.1\r\nHost: localhost\r\n{fields}Connection: close\r\n\r\n")
    assert answer.split(b" ", 2)[1] in (b"400", b"431")
    few = "".join(f"X{i}: 1\r\n" for i in range(200))
    assert raw(server, f"GET / HTTP/1.1\r\nHost: localhost\r\n{few}Connection: close\r\n\r\n").startswith(
        b"HTTP/1.1 431"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"null",
        b'"x"',
        b"\xff\xfe",
        b'{"image": ' + b"9" * 5000 + b"}",
        b'{"a": NaN}',
    ],
)
def test_bodies_that_are_no_request(server: Server, body: bytes) -> None:
    response = server.client.post(
        server.url("fill"), content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 400
    assert code(response).startswith("request.")


def test_text_that_is_no_text_is_refused_kindly(server: Server) -> None:
    image, mask = server.pictures()
    for field in ("engine", "mask_from"):
        body = f'{{"image": "{image}", "mask": "{mask}", "{field}": "\\ud800"}}'
        response = server.client.post(
            server.url("fill"), content=body, headers={"Content-Type": "application/json"}
        )
        assert response.status_code == 400, response.text


def test_nothing_is_left_for_the_next_user_of_the_cache(server: Server) -> None:
    assert server.client.get("/api/v1/jobs").headers["cache-control"] == "no-store"


def rss(server: Server) -> int:
    return psutil.Process(server.process.pid).memory_info().rss


def hammer(server: Server, count: int) -> None:
    image, _ = server.pictures()
    paths = [
        "health",
        "jobs?limit=5",
        f"images/{image}",
        "engines",
        "jobs/nope",
        "jobs?limit=x",
        f"images/{image}/thumbnail",
    ]
    for i in range(count):
        response = server.client.get(f"/api/v1/{paths[i % len(paths)]}")
        assert response.status_code in (200, 304, 400, 404), response.text


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_small_requests_leave_no_memory_behind(tmp_path: Path, count: int) -> None:
    with Server.started(tmp_path) as server:
        hammer(server, max(400, count // 5))
        before = rss(server)
        hammer(server, count)
        assert rss(server) < before * 1.05


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a small file system")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """The limit on file sizes stands in for a full disk: writing beyond it fails in the same way."""
    with Server.started(tmp_path) as server:
        server.pictures()
        resource = pytest.importorskip("resource")
        process = psutil.Process(server.process.pid)
        process.rlimit(psutil.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        big = png(np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8))
        response = server.client.post(server.url("images"), content=big)
        assert response.status_code in (500, 507), response.text
        assert code(response) in ("disk.full", "blob.unwritable", "file.unwritable")
        assert response.json()["hint"]
        process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert server.client.post(server.url("images"), content=big).status_code == 201
        assert server.client.get(server.url("jobs")).status_code == 200
