"""The dialect of ComfyUI over a real server: scripts like its own examples, and a client from PyPI, unmodified."""

import io
import json
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.patience import PATIENCE_S, quick, until
from tests.server.comfy import (
    HOLE,
    ClientConnection,
    Script,
    filling,
    holed,
    long,
    messages,
    missed,
    wait_for,
)
from tests.server.live import Server, photo, png

comfy_api_simplified = pytest.importorskip("comfy_api_simplified", reason="pip install 'reknit[test]'")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server.started(tmp_path_factory.mktemp("comfy")) as running:
        yield running


@pytest.fixture
def script(server: Server) -> Script:
    made = Script(server)
    made.upload("hole.png", holed())
    return made


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def kinds(found: list[Any]) -> list[str]:
    told = [message for message in found if isinstance(message, dict)]
    return [message["type"] for message in told if message["type"] not in ("status", "progress_state")]


def test_a_script_fills_what_is_transparent(script: Script) -> None:
    with script.socket() as ws:
        [made] = script.get_images(ws, filling(seed=11))["3"]
    pixels = opened(made)
    grown = np.zeros((128, 128), bool)
    grown[20:60, 12:76] = True  # the hole, what it grows by and its rim
    assert (pixels[~grown] == photo()[~grown]).all()
    assert (pixels[HOLE] != photo()[HOLE]).any()
    saved = json.loads(Image.open(io.BytesIO(made)).info["prompt"])
    assert saved == filling(seed=11)


def test_messages_come_in_their_order(script: Script) -> None:
    script.upload("order.png", holed(51))
    with script.socket() as ws:
        hello = json.loads(ws.recv())
        assert hello == {
            "type": "status",
            "data": {"status": {"exec_info": {"queue_remaining": 0}}, "sid": script.client_id},
        }
        told = script.queue_prompt(filling("order.png", seed=12))
        assert (told["node_errors"], set(told)) == ({}, {"prompt_id", "number", "node_errors"})
        prompt = told["prompt_id"]
        found = messages(ws, prompt)
        assert script.get_history(prompt), "history is there when nothing works any more"
    order = kinds(found)
    progress = order.count("progress")
    assert progress > 0
    assert [kind for kind in order if kind != "progress"] == [
        "execution_start", "execution_cached", "executing", "executing", "executing", "executed",
        "execution_success", "executing",
    ]  # fmt: skip
    by_kind = {message["type"]: message["data"] for message in found}
    assert by_kind["executed"] == {
        "node": "3", "display_node": "3", "prompt_id": prompt,
        "output": {"images": [{"filename": by_kind["executed"]["output"]["images"][0]["filename"],
                               "subfolder": "", "type": "output"}]},
    }  # fmt: skip
    assert by_kind["progress"] == {"value": 100, "max": 100, "prompt_id": prompt, "node": "2"}
    assert by_kind["executing"] == {"node": None, "prompt_id": prompt}
    assert set(by_kind["execution_start"]) == set(by_kind["execution_success"]) == {"prompt_id", "timestamp"}
    states = [message["data"]["nodes"] for message in found if message["type"] == "progress_state"]
    assert states[0]["1"] == {
        "value": 0, "max": 1, "state": "running", "node_id": "1", "prompt_id": prompt, "display_node_id": "1",
        "parent_node_id": None, "real_node_id": "1",
    }  # fmt: skip
    assert {node: state["state"] for node, state in states[-1].items()} == dict.fromkeys("123", "finished")
    queue = [m["data"]["status"]["exec_info"]["queue_remaining"] for m in found if m["type"] == "status"]
    assert (queue[0], queue[-1]) == (1, 0)
    # The end: how it went, the queue, and that nothing works.
    assert [message["type"] for message in found[-3:]] == ["execution_success", "status", "executing"]


def test_the_same_prompt_again_runs_nothing(script: Script, server: Server) -> None:
    with script.socket() as ws:
        first = script.queue_prompt(filling(seed=13))["prompt_id"]
        messages(ws, first)
        files = sorted((server.data / "data" / "comfy" / "output").iterdir())
        second = script.queue_prompt(filling(seed=13))["prompt_id"]
        found = messages(ws, second)
    assert kinds(found) == [
        "execution_start", "execution_cached", "executed", "execution_success", "executing"
    ]  # fmt: skip
    [cached] = [message["data"] for message in found if message["type"] == "execution_cached"]
    assert cached["nodes"] == ["1", "2", "3"]
    outputs = [script.get_history(each)[each]["outputs"] for each in (first, second)]
    assert outputs[0] == outputs[1]
    assert sorted((server.data / "data" / "comfy" / "output").iterdir()) == files


def test_history_tells_what_became_of_a_prompt(script: Script) -> None:
    name, workflow = str(uuid.uuid4()), {"nodes": [], "version": 0.4}
    with script.socket() as ws:
        told = script.queue_prompt(
            filling(seed=14), prompt_id=name,
            extra_data={"extra_pnginfo": {"workflow": workflow}, "api_key_comfy_org": "secret"},
        )  # fmt: skip
        assert told["prompt_id"] == name
        messages(ws, name)
    found = script.get_history(name)[name]
    assert set(found) == {"prompt", "outputs", "status", "meta"}
    number, prompt_id, prompt, extra, outputs = found["prompt"]
    assert (prompt_id, prompt, outputs) == (name, filling(seed=14), ["3"])
    assert number == told["number"]
    assert extra == {"extra_pnginfo": {"workflow": workflow}, "client_id": script.client_id}
    assert (found["status"]["status_str"], found["status"]["completed"]) == ("success", True)
    assert [event for event, _ in found["status"]["messages"]] == [
        "execution_start", "execution_cached", "execution_success"
    ]  # fmt: skip
    assert found["meta"] == {
        "3": {"node_id": "3", "display_node": "3", "parent_node": None, "real_node_id": "3"}
    }
    [image] = found["outputs"]["3"]["images"]
    assert json.loads(Image.open(io.BytesIO(script.get_image(*image.values()))).info["workflow"]) == workflow
    last = script.get("history?max_items=1")
    assert list(last) == [name]
    assert name in script.get("api/history")
    answer = script.server.client.post("/history", json={"delete": [name]})
    assert (answer.status_code, answer.content) == (200, b"")
    assert (script.get_history(name), script.get_history("unknown")) == ({}, {})


def test_a_prompt_without_a_client_is_found_in_history(script: Script) -> None:
    with script.socket() as ws:
        hello = json.loads(ws.recv())
        assert hello["data"]["status"]["exec_info"]["queue_remaining"] == 0
        told = script.server.client.post("/api/prompt", json={"prompt": filling(seed=15)}).json()
        until(lambda: script.get_history(told["prompt_id"]))
        wait_for_all = {"status", "progress", "progress_state"}
        seen: set[str] = set()
        idle = {"exec_info": {"queue_remaining": 0}}
        while True:
            message = json.loads(ws.recv(timeout=PATIENCE_S))
            seen.add(message["type"])
            if seen >= wait_for_all and message["data"].get("status") == idle:
                break
        with pytest.raises(TimeoutError):
            seen.add(json.loads(ws.recv(timeout=0.3))["type"])
    assert seen == wait_for_all, "only what is for all"


def test_the_client_from_pypi(server: Server, tmp_path: Path) -> None:
    api = comfy_api_simplified.ComfyApiWrapper(str(server.client.base_url).rstrip("/"))
    picture = tmp_path / "mine.png"
    picture.write_bytes(holed())
    kept = api.upload_image(picture)
    assert kept == {"name": "mine.png", "subfolder": "default_upload_folder", "type": "input"}
    workflow = tmp_path / "workflow.json"
    workflow.write_text(json.dumps(filling("photo.png", seed=21)))
    prompt = comfy_api_simplified.ComfyWorkflowWrapper(str(workflow))
    prompt["1"]["inputs"]["image"] = f"{kept['subfolder']}/{kept['name']}"
    prompt.set_node_param("Save Image", "filename_prefix", "simple")
    made = api.queue_and_wait_images(prompt, "Save Image")
    [(name, data)] = made.items()
    assert name.startswith("simple_")
    assert opened(data).shape == (128, 128, 3)
    assert api.get_queue() == {"queue_running": [], "queue_pending": []}
    assert list(api.get_object_info("KSampler")) == ["KSampler"]
    assert {"KSampler", "CheckpointLoaderSimple", "UNETLoader", "VAELoader"} <= set(api.get_object_info())
    assert api.get_embeddings() == []
    stats = api.get_system_stats()
    assert {"os", "ram_total", "comfyui_version", "python_version", "argv"} <= set(stats["system"])
    assert {"name", "type", "vram_total", "vram_free"} <= set(stats["devices"][0])
    with pytest.raises(comfy_api_simplified.exceptions.ComfyApiError, match="400"):
        api.queue_prompt({"1": {"class_type": "Nothing", "inputs": {}}})


@pytest.mark.parametrize("metadata", [False, True])
def test_a_script_gets_pictures_over_the_socket(script: Script, metadata: bool) -> None:
    """As ComfyUI's example ``websockets_api_example_ws_images.py``: what comes while that node works, from byte 8."""
    node = "save_image_websocket_node"
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "hole.png"}},
        node: {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
    }
    with script.socket() as ws:
        if metadata:
            ws.send(json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}}))
            wait_for(ws, "feature_flags")
        for _ in range(2):  # it is sent again, whatever is known
            name = script.queue_prompt(prompt)["prompt_id"]
            found, current, made = messages(ws, name), "", list[bytes]()
            for message in found:
                if isinstance(message, bytes) and current == node:
                    made.append(message)
                elif isinstance(message, dict) and message["type"] == "executing":
                    current = message["data"]["node"]
            [data] = made
            if metadata:
                length = int.from_bytes(data[4:8])
                told = json.loads(data[8 : 8 + length])
                assert (data[:4], told["image_type"], told["node_id"]) == (b"\0\0\0\4", "image/png", node)
                data = data[length:]
            else:
                assert data[:8] == b"\0\0\0\1\0\0\0\2", "a preview, which is PNG"
            assert (opened(data[8:]) == photo()).all()
            assert script.get_history(name)[name]["outputs"] == {}


def interrupted(script: Script, ws: ClientConnection, prompt: str) -> list[Any]:
    """Interrupt a prompt in its second node; return what came then."""
    missed(ws)
    wait_for(ws, "progress", node="2")
    assert script.server.client.post("/interrupt").status_code == 200
    return messages(ws, prompt)


def test_an_interrupt_stops_at_once(script: Script) -> None:
    script.upload("at-once.png", holed(54, 1024))

    def reports() -> int:
        prompt = script.queue_prompt(long("at-once.png", seed=1))["prompt_id"]
        return sum(message["type"] == "progress" for message in interrupted(script, ws, prompt))

    with script.socket() as ws:
        quick(20, reports)


def test_what_was_done_before_an_interrupt_stays_known(script: Script) -> None:
    script.upload("interrupted.png", holed(52, 1024))
    with script.socket() as ws:
        prompt = script.queue_prompt(long("interrupted.png", seed=1))["prompt_id"]
        wait_for(ws, "progress", node="2")
        [item] = script.get("queue")["queue_running"]
        assert (item[1], item[4]) == (prompt, ["3"])
        with script.socket() as again:  # a client that comes back is told what works for it
            assert json.loads(again.recv())["data"]["sid"] == script.client_id
            assert json.loads(again.recv()) == {"type": "executing", "data": {"node": "2"}}
        other = script.server.client.post("/interrupt", json={"prompt_id": "another"})
        assert (other.status_code, other.content) == (200, b"")
        found = interrupted(script, ws, prompt)
        [said] = [message["data"] for message in found if message["type"] == "execution_interrupted"]
        assert {k: said[k] for k in ("prompt_id", "node_id", "node_type", "executed")} == {
            "prompt_id": prompt, "node_id": "2", "node_type": "ReknitFill", "executed": ["1"]
        }  # fmt: skip
        history = script.get_history(prompt)[prompt]
        assert (history["status"]["status_str"], history["status"]["completed"]) == ("error", False)
        assert history["status"]["messages"][-1] == ["execution_interrupted", said]
        next_one = script.queue_prompt(filling("interrupted.png", seed=1, engine="telea"))["prompt_id"]
        found = messages(ws, next_one)
    [cached] = [message["data"]["nodes"] for message in found if message["type"] == "execution_cached"]
    assert cached == ["1"]


def test_the_queue_can_be_read_and_changed(script: Script) -> None:
    script.upload("big.png", holed(3, 1024))
    with script.socket() as ws:
        running = script.queue_prompt(long("big.png", seed=2))["prompt_id"]
        wait_for(ws, "executing", node="2")
        names = [script.queue_prompt(filling(seed=30 + k))["prompt_id"] for k in range(3)]
        first = script.queue_prompt(filling(seed=40), front=True)
        assert first["number"] < 0
        queue = script.get("queue")
        assert [item[1] for item in queue["queue_running"]] == [running]
        assert [item[1] for item in queue["queue_pending"]] == [first["prompt_id"], *names]
        assert script.get("prompt") == {"exec_info": {"queue_remaining": 5}}
        again = script.server.client.post("/prompt", json={"prompt": filling(), "prompt_id": names[0]})
        assert again.status_code == 409
        post = script.server.client.post
        assert post("/queue", json={"delete": [names[1]]}).content == b""
        assert [item[1] for item in script.get("queue")["queue_pending"]] == [
            first["prompt_id"], names[0], names[2]
        ]  # fmt: skip
        post("/queue", json={"clear": True})
        assert script.get("queue")["queue_pending"] == []
        post("/interrupt", json={"prompt_id": running})
        messages(ws, running)
    assert script.get("prompt") == {"exec_info": {"queue_remaining": 0}}
    assert [script.get_history(name) for name in names] == [{}, {}, {}], "they never ran"


def worker_of(script: Script) -> int:
    """Return the process that works, once there is one."""
    health = script.server.client.get
    return until(lambda: health("/api/v1/health").json()["workers"][0]["pid"])


def test_a_killed_worker_loses_no_prompt(script: Script) -> None:
    script.upload("big.png", holed(3, 1024))
    with script.socket() as ws:
        worker = worker_of(script)
        prompt = script.queue_prompt(filling("big.png", seed=3, params="quality=best", grow=60.0))[
            "prompt_id"
        ]
        wait_for(ws, "progress", node="2")
        os.kill(worker, signal.SIGKILL)
        found = messages(ws, prompt)
    assert kinds(found).count("execution_start") == 1, "it began anew"
    assert script.get_history(prompt)[prompt]["status"]["status_str"] == "success"


def test_a_prompt_that_kills_two_workers_has_failed(script: Script) -> None:
    script.upload("big.png", holed(3, 1024))
    with script.socket() as ws:
        prompt = script.queue_prompt(long("big.png", seed=4))["prompt_id"]
        for _ in range(2):
            wait_for(ws, "execution_start", prompt_id=prompt)
            wait_for(ws, "progress", node="2")
            os.kill(worker_of(script), signal.SIGKILL)
        found = messages(ws, prompt)
    [said] = [message["data"] for message in found if message["type"] == "execution_error"]
    assert "SIGKILL" in said["exception_message"]
    assert script.get_history(prompt)[prompt]["status"]["messages"][-1] == ["execution_error", said]


def test_a_node_that_fails_is_named(script: Script) -> None:
    script.upload("fails.png", holed(53))
    with script.socket() as ws:
        prompt = script.queue_prompt(filling("fails.png", seed=5, params="nonsense=1"))["prompt_id"]
        found = messages(ws, prompt)
    [said] = [message["data"] for message in found if message["type"] == "execution_error"]
    assert set(said) == {
        "prompt_id", "node_id", "node_type", "executed", "exception_message", "exception_type", "traceback",
        "current_inputs", "current_outputs", "timestamp",
    }  # fmt: skip
    assert (said["node_id"], said["node_type"], said["executed"]) == ("2", "ReknitFill", ["1"])
    assert "nonsense" in said["exception_message"]
    assert said["current_inputs"]["params"] == ["nonsense=1"]
    status = script.get_history(prompt)[prompt]["status"]
    assert (status["status_str"], status["completed"]) == ("error", False)


def test_free_forgets_what_was_computed(script: Script) -> None:
    with script.socket() as ws:
        messages(ws, script.queue_prompt(filling(seed=6))["prompt_id"])
        answer = script.server.client.post("/free", json={"unload_models": True, "free_memory": True})
        assert (answer.status_code, answer.content) == (200, b"")

        def cached() -> list[str]:
            found = messages(ws, script.queue_prompt(filling(seed=6))["prompt_id"])
            [nodes] = [message["data"]["nodes"] for message in found if message["type"] == "execution_cached"]
            return nodes

        until(lambda: cached() == [])  # a prompt that was queued right behind may still come first
        assert cached() == ["1", "2", "3"]  # once, not before every prompt


def test_masks_of_other_nodes_and_previews_are_seen(script: Script) -> None:
    prompt = {
        "1": {"class_type": "SolidMask", "inputs": {"value": "0.5", "width": 64, "height": 32}},
        "2": {"class_type": "GrowMask", "inputs": {"mask": ["1", 0], "expand": 2, "tapered_corners": True}},
        "3": {"class_type": "MaskToImage", "inputs": {"mask": ["2", 0]}},
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
        "5": {"class_type": "PreviewImage", "inputs": {"images": ["9", 0]}},
    }
    with script.socket() as ws:
        told = script.queue_prompt(prompt)
        assert list(told["node_errors"]) == ["5"], "the others run"
        messages(ws, told["prompt_id"])
    [image] = script.get_history(told["prompt_id"])[told["prompt_id"]]["outputs"]["4"]["images"]
    assert image["type"] == "temp"
    assert (opened(script.get_image(*image.values())) == 127).all()
    answer = script.server.client.post("/prompt", json={"prompt": prompt, "partial_execution_targets": ["5"]})
    assert answer.status_code == 400


def test_jobs_of_other_doors_are_not_in_this_queue(script: Script) -> None:
    image, mask = script.server.pictures(3, 512)
    job = script.server.ask("fill", wait=0, image=image, mask=mask, engine="exemplar", count=8).json()
    assert script.get("queue") == {"queue_running": [], "queue_pending": []}
    script.server.client.post("/interrupt")
    done = script.server.client.get(script.server.url(f"jobs/{job['id']}")).json()
    assert done["state"] in ("queued", "running", "done"), "an interrupt stops prompts only"


def test_a_picture_is_seen_as_asked(script: Script) -> None:
    script.upload("seen.png", holed(), subfolder="some/where")
    view = script.server.client.get
    where = {"filename": "seen.png", "subfolder": "some/where", "type": "input"}
    whole = view("/view", params=where)
    assert (whole.headers["content-type"], whole.headers["content-disposition"]) == (
        "image/png", 'filename="seen.png"',
    )  # fmt: skip
    assert "sandbox" in whole.headers["content-security-policy"]
    rgb = opened(view("/view", params={**where, "channel": "rgb"}).content)
    assert (rgb == photo()).all(), "colours under the hole are kept"
    alpha = opened(view("/view", params={**where, "channel": "a"}).content)
    assert (alpha[..., 3][HOLE] == 0).all()
    assert (alpha[..., :3] == 0).all()
    light = view("/view", params={**where, "preview": "webp;50"})
    assert light.headers["content-type"] == "image/webp"
    assert view("/view", params={**where, "preview": "jpeg"}).headers["content-type"] == "image/jpeg"
    assert (
        view("/view", params={"filename": "some/seen.png [input]", "subfolder": "some/where"}).status_code
        == 200
    )


def test_a_mask_gives_a_picture_its_transparency(script: Script) -> None:
    script.upload("plain.png", png(photo()))
    cutout = np.full((128, 128, 4), 255, np.uint8)
    cutout[..., :3] = 9
    cutout[HOLE] = (0, 0, 0, 0)
    answer = script.server.client.post(
        "/upload/mask",
        files={"image": ("clipspace-mask-1.png", png(cutout))},
        data={
            "original_ref": json.dumps({"filename": "plain.png", "type": "input"}), "subfolder": "clipspace",
        },
    )  # fmt: skip
    assert answer.json() == {"name": "clipspace-mask-1.png", "subfolder": "clipspace", "type": "input"}
    kept = opened(script.get_image("clipspace-mask-1.png", "clipspace", "input"))
    assert (kept[..., :3] == photo()).all()
    assert (kept[..., 3] == cutout[..., 3]).all()
    with script.socket() as ws:
        made = script.get_images(ws, filling("clipspace/clipspace-mask-1.png [input]", seed=50))
    assert (opened(made["3"][0])[HOLE] != photo()[HOLE]).any()
    small = script.server.client.post(
        "/upload/mask",
        files={"image": ("m.png", png(cutout[:64]))},
        data={"original_ref": json.dumps({"filename": "plain.png", "type": "input"})},
    )
    assert small.status_code == 400
    none = script.server.client.post(
        "/upload/mask",
        files={"image": ("m.png", png(cutout))},
        data={"original_ref": '{"filename": "none.png"}'},
    )
    assert none.status_code == 404


def test_uploads_of_one_name(script: Script) -> None:
    names = [
        script.upload("same.png", png(photo(seed)), **more)["name"]
        for seed, more in ((1, {}), (1, {}), (2, {}), (2, {}), (3, {"overwrite": "true"}))
    ]
    assert names == ["same.png", "same.png", "same (1).png", "same (1).png", "same.png"]
    assert (opened(script.get_image("same.png", "", "input")) == photo(3)).all()
    assert "same (1).png" in script.get("object_info/LoadImage")["LoadImage"]["input"]["required"]["image"][0]
