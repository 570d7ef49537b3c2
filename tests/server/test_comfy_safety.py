"""What strangers may try at the addresses of ComfyUI's dialect."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("websockets", reason="pip install -e .")

from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.patience import PATIENCE_S
from tests.server.comfy import Script, filling, holed, messages
from tests.server.live import Server, photo, png
from tests.server.test_security import TRAVERSALS

TOKEN = "a-token-for-the-tests"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server.started(tmp_path_factory.mktemp("locked"), "--token", TOKEN, "--max-upload", "1") as running:
        running.client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield running


@pytest.mark.parametrize(
    "name", [*TRAVERSALS, "../../jobs.sqlite3", "jobs.sqlite3", "", "x" * 5000, "ä" * 120]
)
def test_only_pictures_of_the_three_folders_are_seen(server: Server, name: str) -> None:
    for params in (
        {"filename": name},
        {"filename": "hole.png", "subfolder": name},
        {"filename": "hole.png", "type": name},
        {"filename": f"{name} [input]"},
    ):
        assert server.client.get("/view", params=params).status_code in (400, 403, 404), params


def test_refusals_are_the_original_s(server: Server) -> None:
    seen = [
        server.client.get("/view", params=params).status_code
        for params in (
            {"filename": "../x.png"}, {"filename": "/etc/passwd"}, {"filename": "x.png", "subfolder": ".."},
            {"filename": "x.png"}, {},
        )
    ]  # fmt: skip
    assert seen == [400, 400, 403, 404, 404]


@pytest.mark.parametrize("name", TRAVERSALS)
def test_no_upload_leaves_its_folder(server: Server, name: str) -> None:
    folder = server.data / "data" / "comfy"
    for names in ({"name": name}, {"name": "x.png", "subfolder": name}, {"name": "x.png", "type": name}):
        fields = {key: value for key, value in names.items() if key != "name"}
        answer = server.client.post(
            "/upload/image", files={"image": (names["name"], png(photo()))}, data=fields
        )
        assert answer.status_code in (200, 400), answer.text
        if answer.status_code == 200:
            kept = answer.json()
            path = (folder / kept["type"] / kept["subfolder"] / kept["name"]).resolve()
            assert path.is_file()
            assert path.is_relative_to((folder / "input").resolve())
    everything = {path for path in server.data.rglob("*") if path.name in ("passwd", "win.ini", "b", "x.png")}
    assert all(path.is_relative_to(folder / "input") for path in everything)


def test_only_pictures_are_taken_up(server: Server) -> None:
    for data in (b"<html><script>alert(1)</script>", b"", b"\x89PNG\r\n\x1a\nno more"):
        answer = server.client.post("/upload/image", files={"image": ("x.html", data)})
        assert answer.status_code == 400, answer.text
        assert set(answer.json()) == {"error", "node_errors"}
    answer = server.client.post("/upload/image", files={"image": ("page.html", png(photo()))})
    assert answer.json()["name"] == "page.html"
    seen = server.client.get("/view", params={"filename": "page.html", "type": "input"})
    assert seen.headers["content-type"] == "image/png", "what it is, not what it is called"


def test_a_graph_reads_and_writes_in_its_folders_only(server: Server, tmp_path: Path) -> None:
    script = Script(server)
    script.upload("hole.png", holed())
    (tmp_path / "secret.png").write_bytes(png(photo()))
    for name in (str(tmp_path / "secret.png"), "../../../../etc/passwd", "../output/x.png"):
        answer = server.client.post("/prompt", json={"prompt": filling(name)})
        assert answer.status_code == 400
        assert answer.json()["node_errors"]["1"]["errors"][0]["type"] == "custom_validation_failed"
    answer = server.client.post("/prompt", json={"prompt": filling(params=f"model={tmp_path}/secret.png")})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_prompt")
    before = set(server.data.rglob("*.png"))
    with script.socket() as ws:
        prompt = script.queue_prompt(filling(prefix="../../outside", seed=99))["prompt_id"]
        messages(ws, prompt)
    assert script.get_history(prompt)[prompt]["status"]["status_str"] == "error"
    assert set(server.data.rglob("*.png")) == before


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
@pytest.mark.parametrize("path", ["ws", "api/ws"])
def test_another_site_cannot_listen(server: Server, origin: str, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused, Script(server).socket(path, origin=origin):
        pass
    assert refused.value.response.status_code == 403


def test_a_foreign_name_cannot_be_pointed_here(server: Server) -> None:
    host = {"Host": "evil.example"}
    with pytest.raises(InvalidStatus) as refused, Script(server).socket(additional_headers=host):
        pass
    # The client sends its own Host too: named twice, it is refused as well.
    assert refused.value.response.status_code in (421, 431, 400)


def test_the_socket_wants_the_token(locked: Server) -> None:
    with pytest.raises(InvalidStatus) as refused, Script(locked).socket():
        pass
    assert refused.value.response.status_code == 401
    for headers in ({"Authorization": f"Bearer {TOKEN}"}, {"Cookie": f"reknit_token={TOKEN}"}):
        with Script(locked).socket(additional_headers=headers) as ws:
            assert json.loads(ws.recv())["type"] == "status"
    for path in ("/view?filename=x.png", "/history", "/object_info", "/api/queue"):
        answer = locked.client.get(path, headers={"Authorization": ""})
        assert answer.status_code == 401
        assert answer.json()["error"]["type"] == "guard.token"


def test_too_long_bodies_are_refused(locked: Server) -> None:
    much = io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"\0" * 2_000_000)
    answer = locked.client.post("/upload/image", files={"image": ("much.png", much)})
    assert answer.status_code == 413
    answer = locked.client.post("/prompt", content=b"[" * 1_100_000)
    assert answer.status_code == 413


def test_what_a_socket_says_does_no_harm(server: Server) -> None:
    with Script(server).socket() as ws:
        for text in (
            "",
            "{",
            "[]",
            "null",
            '{"type": "feature_flags"}',
            '{"type": "feature_flags", "data": 7}',
        ):
            ws.send(text)
        ws.send(b"\0" * 1000)
        ws.ping().wait(PATIENCE_S)
    with Script(server).socket(max_size=None) as ws, pytest.raises(ConnectionClosed):
        ws.send("x" * 100_000)
        while True:
            ws.recv(timeout=PATIENCE_S)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"7", b'"x"', b'{"prompt": 7}', b'{"prompt": []}', b'{"prompt": {}}', b'{"prompt": null}',
     b'{"prompt": {"1": 7}}', b'{"prompt": {"nodes": []}}', b"\xff\xfe", b"[" * 100_000],
)  # fmt: skip
def test_nonsense_is_refused_in_the_original_s_form(server: Server, body: bytes) -> None:
    answer = server.client.post("/prompt", content=body)
    assert answer.status_code == 400, answer.text
    told: dict[str, Any] = answer.json()
    assert set(told) == {"error", "node_errors"}
    assert set(told["error"]) == {"type", "message", "details", "extra_info"}


@pytest.mark.parametrize("given", [7, "", "x" * 300, "a\nb", ["x"]])
def test_a_strange_prompt_id_is_refused(server: Server, given: Any) -> None:
    Script(server).upload("hole.png", holed())
    answer = server.client.post("/prompt", json={"prompt": filling(), "prompt_id": given})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_prompt_id")
