"""Prompts that ComfyUI refuses, and the replies that its clients read: types, words and places of every fault.

``golden/comfy.json`` holds what was sent and what came back, compared with ComfyUI 0.3.64's own definitions, and the
keys of what clients ask before they begin.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.server.live import Server

TRAFFIC: dict[str, list[dict[str, Any]]] = json.loads(
    Path(__file__).with_name("golden").joinpath("comfy.json").read_text(encoding="utf-8")
)
TYPES = {"object": dict, "array": list}


@pytest.mark.parametrize("base", ["", "/api"])
@pytest.mark.parametrize("case", TRAFFIC["prompts"], ids=lambda case: case["name"])
def test_a_prompt_gets_the_original_s_reply(server: Server, case: dict[str, Any], base: str) -> None:
    answer = server.client.post(f"{base}/prompt", content=json.dumps(case["send"]))
    reply = answer.json()
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
