"""Prompts that ComfyUI refuses, and the replies that its clients read: types, words and places of every fault.

``golden/comfy.json`` holds what is sent and what has to come back, stated from ``validate_inputs`` and
``validate_prompt`` in ComfyUI's ``execution.py``: types, messages, details and extra_info of every fault. On purpose
replies differ in three ways, which docs/dialects.md names: all unknown nodes are told, also in ``node_errors``; the
whole's ``details`` tell the faults of nodes before an output too; a link to nowhere is a ``bad_linked_input``, where
the original's validation crashes. The keys of what clients ask first are in the same file, their types in
`tests.server.comfy_shapes`.

``golden/comfy_traffic.json`` holds what comfy-api-simplified 1.6.0, unmodified, gave its HTTP library to send while it
uploaded a picture, ran a prompt and asked for all that it can ask for.
"""

import io
import json
import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from tests.patience import until
from tests.server import comfy_shapes
from tests.server.comfy import HOLE, holed
from tests.server.live import Server, photo

GOLDEN = Path(__file__).with_name("golden")
TRAFFIC: dict[str, list[dict[str, Any]]] = json.loads((GOLDEN / "comfy.json").read_text(encoding="utf-8"))
RECORDED: list[dict[str, Any]] = json.loads((GOLDEN / "comfy_traffic.json").read_text(encoding="utf-8"))
TYPES = {"object": dict, "array": list}


def test_a_real_client_s_requests_are_answered_in_their_shapes(server: Server) -> None:
    """What may change is the hole; an upload keeps its name; the history names the picture that is then asked for."""
    known = {"@client_id": "recorded"}
    seen: dict[str, httpx.Response] = {}
    for case in RECORDED:
        path, body = case["path"], case["body"].encode().replace(b"@hole", holed())
        for name, value in known.items():
            path, body = path.replace(name, value), body.replace(name.encode(), value.encode())
        asked = case["method"], path
        if "/history/" in path:
            until(lambda path=path: server.client.get(path).json())
        answer = server.client.request(*asked, content=body, headers=case["headers"])
        assert answer.status_code == 200, (asked, answer.text)
        if "application/json" in answer.headers.get("content-type", ""):
            comfy_shapes.reply(*asked, answer.json())
        if path == "/prompt":
            known["@prompt_id"] = answer.json()["prompt_id"]
        elif "/history/" in path:
            [image] = answer.json()[known["@prompt_id"]]["outputs"]["3"]["images"]
            known["@filename"] = image["filename"]
        seen[f"{case['method']} {case['path'].partition('?')[0]}"] = answer
    upload = {"name": "mine.png", "subfolder": "default_upload_folder", "type": "input"}
    assert seen["POST /upload/image"].json() == upload
    assert re.fullmatch(r"simple_\d{5}_\.png", known["@filename"])
    assert seen["GET /queue"].json() == {"queue_running": [], "queue_pending": []}
    assert (seen["POST /interrupt"].content, seen["GET /embeddings"].json()) == (b"", [])
    made = np.asarray(Image.open(io.BytesIO(seen["GET /view"].content)))
    kept = np.ones((128, 128), bool)
    kept[HOLE[0].start - 4 : HOLE[0].stop + 4, HOLE[1].start - 4 : HOLE[1].stop + 4] = False
    assert (made[kept] == photo()[kept]).all() and (made[HOLE] != photo()[HOLE]).any()


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("status", {"status": {"exec_info": {"queue_remaining": "0"}}}),
        ("executing", {"node": 3, "prompt_id": "x"}),
        ("progress", {"value": 0.5, "max": 1, "prompt_id": "x", "node": "3"}),
        ("progress", {"value": 1, "max": 1, "prompt_id": "x"}),
        ("executed", {"node": "3", "display_node": "3", "prompt_id": "x", "output": {"images": [{"filename": "a"}]}}),
        ("execution_start", {"prompt_id": "x", "timestamp": 1.5}),
        ("execution_start", {"prompt_id": "x", "timestamp": 1_700_000_000}),
        ("execution_cached", {"prompt_id": "x", "timestamp": 1_700_000_000_000, "nodes": [3]}),
    ],
)  # fmt: skip
def test_a_message_of_another_shape_would_be_seen(kind: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        comfy_shapes.message({"type": kind, "data": wrong})


@pytest.mark.parametrize("base", ["", "/api"])
@pytest.mark.parametrize("case", TRAFFIC["prompts"], ids=lambda case: case["name"])
def test_a_prompt_gets_the_original_s_reply(server: Server, case: dict[str, Any], base: str) -> None:
    answer = server.client.post(f"{base}/prompt", content=json.dumps(case["send"]))
    reply = answer.json()
    comfy_shapes.reply("POST", "prompt", reply, answer.status_code)
    if answer.status_code == 200:
        assert reply.pop("prompt_id"), reply
        assert isinstance(reply.pop("number"), int)
    assert (answer.status_code, reply) == (case["status"], case["reply"])


@pytest.mark.parametrize("base", ["", "/api"])
@pytest.mark.parametrize("case", TRAFFIC["questions"], ids=lambda case: case["path"])
def test_what_clients_ask_first_has_its_shape(server: Server, case: dict[str, Any], base: str) -> None:
    answer = server.client.get(base + case["path"])
    assert answer.status_code == case.get("status", 200)
    if "type" in case:
        reply = answer.json()
        comfy_shapes.reply("GET", case["path"], reply)
        assert isinstance(reply, TYPES[case["type"]])
        assert set(case["has"]) <= set(reply)
        for path, keys in case.get("inside", {}).items():
            found = reply
            for step in path.split("."):
                found = found[int(step)] if step.isdecimal() else found[step]
            assert set(keys) <= set(found), path


def test_choices_of_loaders_come_first_in_their_list(server: Server) -> None:
    """Clients read ``input.required.NAME[0]`` as the list of what may be chosen."""
    nodes = server.client.get("/object_info").json()
    for node, name in (
        ("CheckpointLoaderSimple", "ckpt_name"), ("VAELoader", "vae_name"), ("UNETLoader", "unet_name"),
        ("KSampler", "sampler_name"), ("KSampler", "scheduler"), ("LoadImage", "image"),
    ):  # fmt: skip
        assert isinstance(nodes[node]["input"]["required"][name][0], list)
    assert nodes["LoadImage"]["input"]["required"]["image"][1]["image_upload"] is True
    assert nodes["SaveImage"]["output_node"] is True
    assert nodes["KSampler"]["input"]["required"]["seed"][1]["max"] == 2**64 - 1
