"""The command line with a model and a prompt, and replay."""

import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("diffusers")

from tests.diffusion import tiny

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers

SMALL = ("-p", "side=64", "-p", "device=cpu", "-p", "dtype=float32")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.tiny_folder(tmp_path_factory.mktemp("cli"), "sd15", "inpaint"))


def test_fill_with_a_model_and_replay(reknit, model):
    done = reknit(
        "fill", "photo.png", "mask.png", "--model", model, "--prompt", "a red cat", "--steps", "2",
        "--guidance", "5", "--sampler", "DPM++ 2M Karras", "--seed", "4", *SMALL, "-o", "out.png", "--json",
    )  # fmt: skip
    told = done.data
    assert told["plan"]["engine"] == "diffusion"
    assert told["plan"]["params"]["prompt"] == "a red cat"
    assert told["report"]["outside_equal"]
    text = Image.open("out.png").text
    assert "Steps: 2, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5, Seed: 4" in text["parameters"]
    recipe = json.loads(text["reknit"])
    assert recipe["photo"]["name"] == "photo.png"
    assert "/" not in recipe["params"]["model"]

    again = reknit("replay", "out.png", "-p", f"model={model}", "-o", "again.png", "--json").data
    assert again["seed"] == 4
    assert np.array_equal(np.asarray(Image.open("again.png")), np.asarray(Image.open("out.png")))
    shown = reknit("replay", "out.png", "--recipe").data
    assert shown["engine"] == "diffusion"


def test_plan_says_which_engine_and_why(reknit, model):
    told = reknit("fill", "photo.png", "mask.png", "--model", model, "--plan", "--json").data
    assert told["engine"] == "diffusion"
    assert told["params"]["steps"] == 20
    assert any("it runs" in reason for reason in told["reasons"])
