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


def test_a_textual_inversion_is_used_recorded_and_replayed(reknit, model, folder):
    import torch
    from safetensors.torch import save_file

    def drawn(path, seed):
        path.parent.mkdir(parents=True, exist_ok=True)
        random = torch.Generator().manual_seed(seed)
        save_file({"emb_params": torch.randn(2, 768, generator=random)}, path)

    def made(name, *more, words="a (red ink:1.2) cat"):
        flags = ("--model", model, "--prompt", words, "--steps", "2", "--seed", "4", *SMALL)
        reknit("fill", "photo.png", "mask.png", *flags, *more, "-o", name, "--json")
        return np.asarray(Image.open(name))

    plain = made("plain.png")
    kept = folder.parent / "data" / "reknit" / "models" / "embeddings" / "Red Ink.safetensors"
    drawn(kept, 1)
    inked = made("inked.png")
    assert not np.array_equal(inked, plain)
    drawn(folder / "other.safetensors", 1)
    named = made("named.png", "-p", "embeddings=other.safetensors", words="a (embedding:other:1.2) cat")
    assert np.array_equal(named, inked)

    text = Image.open("inked.png").text
    [(name, sha256)] = json.loads(text["reknit"])["facts"]["embeddings"].items()
    assert name == "Red Ink" and len(sha256) == 64
    assert f'TI hashes: "Red Ink: {sha256[:12]}"' in text["parameters"]
    assert "TI hashes" not in Image.open("plain.png").text["parameters"]

    same = reknit("replay", "inked.png", "-p", f"model={model}", "--json", "-o", "again.png").data
    assert np.array_equal(np.asarray(Image.open("again.png")), inked)
    assert not any("embedding" in note for note in same["notes"])
    drawn(kept, 2)
    other = reknit("replay", "inked.png", "-p", f"model={model}", "--json", "-o", "other.png").data
    assert "the embedding Red Ink is not the one of the recipe" in other["notes"]
    assert not np.array_equal(np.asarray(Image.open("other.png")), inked)
    kept.unlink()
    none = reknit("replay", "inked.png", "-p", f"model={model}", "--json", "-o", "none.png").data
    assert "the embedding Red Ink is not here: it was read as words" in none["notes"]
