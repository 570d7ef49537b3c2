"""Textual inversions as A1111's and ComfyUI's clients list them."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI

from reknit.models.store import Store
from reknit.server import a1111, comfy_lists
from tests.models import weights
from tests.models.test_loose import INPAINT
from tests.server.asgi import Client

STEPS = {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None}


@pytest.fixture
def webui(tmp_path: Path) -> Path:
    """Make a folder of A1111 with three embeddings, a file that is none, and a picture."""
    root = tmp_path / "webui"
    (root / "embeddings" / "mine").mkdir(parents=True)
    (root / "models" / "Stable-diffusion").mkdir(parents=True)
    inside = root / "embeddings"
    weights.safetensors(inside / "EasyNegative.safetensors", {"emb_params": (8, 768)})
    weights.torch_zip(inside / "mine" / "ink.pt", weights.state({"string_to_param.*": (2, 768)}))
    weights.safetensors(inside / "xl.safetensors", {"clip_l": (4, 768), "clip_g": (4, 1280)})
    weights.safetensors(inside / "none.safetensors", {"other": (8, 770)})
    (inside / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return root


@pytest.fixture
def client(tmp_path: Path, webui: Path) -> Client:
    def models() -> Store:
        return Store(tmp_path / "models", offline=True, others=[webui], cards={})

    app = FastAPI()
    app.state.rooms = SimpleNamespace(models=models, settings=SimpleNamespace(comfy_dir=tmp_path / "comfy"))
    app.include_router(a1111.router)
    app.include_router(comfy_lists.router)
    return Client(app)


def test_a1111_lists_all_where_no_model_chooses(client: Client) -> None:
    told = client.get("/sdapi/v1/embeddings").json()
    assert told == {
        "loaded": {
            "EasyNegative": {**STEPS, "shape": 768, "vectors": 8},
            "ink": {**STEPS, "shape": 768, "vectors": 2},
            "xl": {**STEPS, "shape": 2048, "vectors": 4},
        },
        "skipped": {},
    }
    assert client.post("/sdapi/v1/refresh-embeddings").json() is None


def test_a1111_skips_those_for_other_models(client: Client, webui: Path) -> None:
    pytest.importorskip("diffusers")  # without it no model is offered
    weights.safetensors(webui / "models" / "Stable-diffusion" / "mine.safetensors", INPAINT)
    told = client.get("/sdapi/v1/embeddings").json()
    assert {*told["loaded"]} == {"EasyNegative", "ink"}
    assert told["skipped"] == {"xl": {**STEPS, "shape": 2048, "vectors": 4}}


def test_comfyui_lists_names_and_files(client: Client) -> None:
    assert client.get("/embeddings").json() == ["EasyNegative", "mine/ink", "none", "xl"]
    assert client.get("/models/embeddings").json() == [
        "EasyNegative.safetensors", "mine/ink.pt", "none.safetensors", "xl.safetensors"
    ]  # fmt: skip
    assert "embeddings" in client.get("/models").json()
