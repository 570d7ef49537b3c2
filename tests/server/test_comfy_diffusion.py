"""ComfyUI's dialect over a real diffusion model, tiny and of random weights: the workflow that most begin with."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("diffusers")

from tests.diffusion.tiny import tiny_single_file
from tests.patience import quick
from tests.server.comfy import Script, holed, messages, wait_for
from tests.server.live import Server

comfy_api_simplified = pytest.importorskip("comfy_api_simplified", reason="pip install 'reknit[test]'")

EXAMPLE = Path(__file__).parents[2] / "examples" / "workflows" / "inpaint.json"
STEPS = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("comfy")
    made = tiny_single_file(root / "made", "sd15", "inpaint")
    (root / "models").mkdir()
    made.parent.rename(root / "models" / "checkpoints")
    with Server.started(root, "--models-dir", str(root / "models"), REKNIT_THREADS="1") as running:
        yield running


@pytest.fixture
def script(server: Server) -> Script:
    made = Script(server)
    made.upload("hole.png", holed())
    return made


def example(**sampling: Any) -> dict[str, Any]:
    prompt: dict[str, Any] = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    prompt["1"]["inputs"]["ckpt_name"] = "sd15-inpaint.safetensors"
    prompt["2"]["inputs"]["image"] = "hole.png"
    prompt["3"]["inputs"]["text"], prompt["4"]["inputs"]["text"] = "a red house", "bad"
    prompt["6"]["inputs"] |= sampling
    return prompt


def test_the_example_runs_step_by_step_and_shows_nothing_unasked(script: Script) -> None:
    with script.socket() as ws:
        prompt = script.queue_prompt(example(seed=1))["prompt_id"]
        found = messages(ws, prompt)
    assert not any(isinstance(message, bytes) for message in found)
    steps = [
        message["data"]["value"]
        for message in found
        if message["type"] == "progress" and message["data"]["node"] == "6"
    ]
    assert steps == list(range(1, STEPS + 1))
    order = [m["data"]["node"] for m in found if m["type"] == "executing"]
    assert sorted(order[:-1]) == [str(n) for n in range(1, 9)]
    assert order[-3:] == ["7", "8", None]
    [image] = script.get_history(prompt)[prompt]["outputs"]["8"]["images"]
    assert Image.open(io.BytesIO(script.get_image(*image.values()))).size == (128, 128)


@pytest.mark.parametrize("flags", [False, True])
def test_previews_that_were_asked_for(script: Script, flags: bool) -> None:
    with script.socket("api/ws") as ws:
        if flags:
            said = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
            ws.send(json.dumps(said))
            wait_for(ws, "feature_flags", supports_preview_metadata=True)
        extra = {"preview_method": "latent2rgb"}
        prompt = script.queue_prompt(example(seed=2 + flags), extra_data=extra)["prompt_id"]
        found = messages(ws, prompt)
    first = next(k for k, message in enumerate(found) if isinstance(message, bytes))
    preview: bytes = found[first]
    kind, length = int.from_bytes(preview[:4], "big"), int.from_bytes(preview[4:8], "big")
    around = [found[k]["type"] for k in (first - 1, first + 1)]
    if flags:
        metadata = json.loads(preview[8 : 8 + length])
        assert (kind, metadata) == (
            4, {"node_id": "6", "prompt_id": prompt, "display_node_id": "6", "parent_node_id": None,
                "real_node_id": "6", "image_type": "image/jpeg"},
        )  # fmt: skip
        assert around == ["progress_state", "progress"]
        image = preview[8 + length :]
    else:
        assert (kind, length) == (1, 1)
        assert around[0] == "progress"
        image = preview[8:]
    shown = Image.open(io.BytesIO(image))
    assert (shown.format, shown.size) == ("JPEG", (16, 16))


def test_an_interrupt_stops_within_one_step(script: Script) -> None:
    def steps_after() -> int:
        prompt = script.queue_prompt(example(seed=5, steps=900))["prompt_id"]
        wait_for(ws, "progress", node="6", value=3)
        script.server.client.post("/interrupt", json={"prompt_id": prompt})
        found = messages(ws, prompt)
        assert script.get_history(prompt)[prompt]["status"]["messages"][-1][0] == "execution_interrupted"
        [said] = [message["data"] for message in found if message["type"] == "execution_interrupted"]
        assert (said["node_id"], said["node_type"]) == ("6", "KSampler")
        return sum(message["type"] == "progress" for message in found)

    with script.socket() as ws:
        quick(100, steps_after)  # some were on their way when it was asked
        again = messages(ws, script.queue_prompt(example(seed=5, steps=2))["prompt_id"])
    [cached] = [message["data"]["nodes"] for message in again if message["type"] == "execution_cached"]
    assert sorted(cached) == ["1", "2", "3", "4", "5"], "what was done stays known"


def test_the_client_from_pypi_samples(server: Server, script: Script, tmp_path: Path) -> None:
    api = comfy_api_simplified.ComfyApiWrapper(str(server.client.base_url).rstrip("/"))
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps(example()))
    workflow = comfy_api_simplified.ComfyWorkflowWrapper(str(file))
    workflow.set_node_param("KSampler", "seed", 77)
    workflow.set_node_param("KSampler", "steps", 2)
    made = api.queue_and_wait_images(workflow, "SaveImage")
    [data] = made.values()
    assert np.asarray(Image.open(io.BytesIO(data))).std() > 0
    assert api.get_object_info("CheckpointLoaderSimple")["CheckpointLoaderSimple"]["input"]["required"][
        "ckpt_name"
    ][0] == ["sd15-inpaint.safetensors"]
    assert server.client.get("/models/checkpoints").json() == ["sd15-inpaint.safetensors"]


def test_a_value_out_of_range_is_refused_with_its_limits(script: Script) -> None:
    answer = script.server.client.post("/prompt", json={"prompt": example(seed=-1, steps="many", cfg=1000)})
    assert answer.status_code == 400
    told = answer.json()
    assert told["error"]["type"] == "prompt_outputs_failed_validation"
    errors = {fault["extra_info"]["input_name"]: fault for fault in told["node_errors"]["6"]["errors"]}
    assert {name: fault["type"] for name, fault in errors.items()} == {
        "seed": "value_smaller_than_min", "steps": "invalid_input_type", "cfg": "value_bigger_than_max"
    }  # fmt: skip
    assert errors["cfg"]["extra_info"]["received_value"] == 1000
    assert errors["cfg"]["extra_info"]["input_config"][1]["max"] == 100
    assert told["node_errors"]["6"]["dependent_outputs"] == ["8"]
    assert told["node_errors"]["6"]["class_type"] == "KSampler"
