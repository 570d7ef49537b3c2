"""The dialects over a real diffusion model, tiny and of random weights: what clients get from it through the server."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("diffusers")

import torch
from safetensors.torch import save_file

from tests.diffusion import tiny
from tests.server.live import Server, photo, png
from tests.workflow.tiny_models import control_network

webuiapi = pytest.importorskip("webuiapi", reason="pip install 'reknit[test]'")
openai = pytest.importorskip("openai", reason="pip install 'reknit[test]'")

MASK = np.zeros((128, 128), np.uint8)
MASK[20:40, 16:52] = 255


def installed(models: Path, name: str, kind: str) -> None:
    """Put a tiny model where the server looks for models, with the card that says what it is."""
    folder = tiny.tiny_folder(models.parent / "made", "sd15", kind)
    models.mkdir(parents=True, exist_ok=True)
    folder.rename(models / name)
    files = sorted(p.relative_to(models / name).as_posix() for p in (models / name).rglob("*") if p.is_file())
    card = [f"[model.{name}]", 'title = "Tiny"', 'engine = "diffusion"', 'family = "sd15"']
    card += ['licence = "none"', "native_px = 64", "multiple_of = 8"]
    for file in files:
        card += [
            f"[[model.{name}.files]]",
            f"name = {json.dumps(file)}",
            f'url = "https://example.org/{file}"',
        ]
    (models / name / "model.toml").write_text("\n".join(card) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("diffusion")
    installed(root / "models", "tiny-inpaint", "inpaint")
    installed(root / "models", "tiny-base", "base")
    (root / "models" / "ControlNet").mkdir()
    save_file(control_network().state_dict(), root / "models" / "ControlNet" / "tiny_canny.safetensors")
    with Server.started(root, "--models-dir", str(root / "models"), REKNIT_THREADS="1") as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Any]:
    url = server.client.base_url
    client = webuiapi.WebUIApi(host=url.host, port=url.port)
    yield client
    client.session.close()


def last_job(server: Server) -> Any:
    return server.client.get(server.url("jobs"), params={"limit": 1}).json()["jobs"][0]


def test_a1111_s_client_inpaints(client: Any, server: Server) -> None:
    assert client.util_get_model_names()[-2:] == ["tiny-base", "tiny-inpaint"]
    image, mask = Image.fromarray(photo()), Image.fromarray(MASK)
    result = client.img2img(
        images=[image], mask_image=mask, prompt="a cat", steps=2, width=96, height=64, seed=3, mask_blur=0,
        inpaint_full_res_padding=8, sampler_name="DPM++ 2M", scheduler="karras", denoising_strength=0.8,
    )  # fmt: skip
    out = np.asarray(result.image)
    assert (out[MASK == 0] == photo()[MASK == 0]).all() and (out[MASK > 0] != photo()[MASK > 0]).any()
    job = last_job(server)
    assert job["payload"]["params"]["model"] in ("tiny-base", "tiny-inpaint")
    assert job["result"]["plan"]["regions"] == [
        {"hole": job["result"]["plan"]["regions"][0]["hole"], "context": [0, 0, 96, 64]}
    ]
    again = client.img2img(
        images=[image], mask_image=mask, prompt="a cat", steps=2, width=96, height=64, seed=3, mask_blur=0,
        inpaint_full_res_padding=8, sampler_name="DPM++ 2M Karras", denoising_strength=0.8,
    )  # fmt: skip
    assert (np.asarray(again.image) == out).all()


def test_a1111_s_client_paints(client: Any) -> None:
    made = client.txt2img(prompt="a boat", steps=2, width=72, height=64, seed=4, batch_size=2)
    assert [image.size for image in made.images] == [(72, 64)] * 2
    assert (np.asarray(made.images[0]) != np.asarray(made.images[1])).any()
    plain = client.img2img(
        images=[Image.fromarray(photo())], steps=4, width=64, height=64, denoising_strength=0.5
    )
    assert plain.image.size == (64, 64)
    full = client.img2img(
        images=[Image.fromarray(photo())],
        mask_image=Image.fromarray(MASK),
        mask_blur=0,
        steps=2,
        width=72,
        height=40,
    )
    assert (np.asarray(full.image)[MASK == 0] == photo()[MASK == 0]).all()


def test_an_interrupted_request_of_a1111_s_client_ends_with_the_picture_so_far(
    client: Any, server: Server
) -> None:
    given = {
        "images": [Image.fromarray(photo())], "mask_image": Image.fromarray(MASK), "mask_blur": 0, "seed": 3,
        "width": 64, "height": 64, "inpaint_full_res_padding": 8, "denoising_strength": 1.0,
    }  # fmt: skip
    full = np.asarray(client.img2img(**given, steps=3).image)
    results: list[Any] = []
    work = threading.Thread(target=lambda: results.append(client.img2img(**given, steps=100)))
    work.start()
    end = time.monotonic() + 60
    while client.get_progress()["state"]["sampling_step"] < 10:  # of which 5 are for the text and the picture
        assert time.monotonic() < end
        time.sleep(0.02)
    client.interrupt()
    work.join(60)
    out = np.asarray(results[0].image)
    assert (out[MASK == 0] == photo()[MASK == 0]).all()
    assert (out[MASK > 0] != photo()[MASK > 0]).any() and (out[MASK > 0] != full[MASK > 0]).any()
    job = last_job(server)
    assert job["state"] == "done"
    [told] = [note for note in job["result"]["notes"] if note.startswith("stopped after step ")]
    assert int(told.split()[3]) in range(3, 100) and told.split()[5] == "100,"
    idle = client.get_progress()
    assert (idle["progress"], idle["eta_relative"], idle["state"]["job_count"]) == (0, 0, 0)


def test_a_control_net_of_a1111_s_client_is_followed(client: Any, server: Server) -> None:
    def made(**more: Any) -> np.ndarray:
        given = webuiapi.ControlNetUnit(module="canny", model="tiny_canny [0123456789]", **more)
        return np.asarray(
            client.img2img(
                images=[Image.fromarray(photo())], mask_image=Image.fromarray(MASK), mask_blur=0, steps=2, seed=3,
                width=64, height=64, inpaint_full_res_padding=16, controlnet_units=[given],
            ).image
        )  # fmt: skip

    followed, other = made(), made(image=Image.fromarray(photo(8)))
    assert last_job(server)["payload"]["params"]["control"] == "tiny_canny"
    without = made(enabled=False)
    assert (followed[MASK == 0] == photo()[MASK == 0]).all()
    assert (followed != without).any() and (followed != other).any()


def test_a1111_s_variations(client: Any, server: Server) -> None:
    small = {"prompt": "a boat", "steps": 2, "width": 72, "height": 64, "sampler_name": "Euler"}

    def made(**more: Any) -> Any:
        return client.txt2img(**small, **more)

    def apart(one: Any, other: Any) -> float:
        return float(np.abs(np.asarray(one).astype(int) - np.asarray(other)).mean())

    first, other = made(seed=4).image, made(seed=9).image
    few = made(seed=4, subseed=9, subseed_strength=0.2, batch_size=2)
    assert (few.info["all_seeds"], few.info["all_subseeds"]) == ([4, 4], [9, 10])
    assert "Seed: 4," in few.info["infotexts"][1] and "Variation seed: 10," in few.info["infotexts"][1]
    assert 0 < apart(few.images[0], first) < apart(few.images[0], other)
    assert (np.asarray(few.images[0]) != np.asarray(few.images[1])).any()
    assert apart(made(seed=4, subseed=9, subseed_strength=1.0).image, other) < 1
    resized = made(seed=4, seed_resize_from_w=64, seed_resize_from_h=64)
    assert "Seed resize from: 64x64" in resized.info["infotexts"][0]
    assert apart(resized.image, first) > 0


def test_a_textual_inversion_of_a1111_s_client_is_a_word(client: Any, server: Server) -> None:
    folder = server.data / "models" / "embeddings"
    folder.mkdir()
    given = {"steps": 2, "seed": 3, "width": 64, "height": 64, "mask_blur": 0, "cfg_scale": 5}
    pictures = {"images": [Image.fromarray(photo())], "mask_image": Image.fromarray(MASK)}

    def made() -> Any:
        return client.img2img(prompt="a cat", negative_prompt="(EasyNegative:1.1)", **pictures, **given)

    plain = made()
    vectors = np.random.default_rng(1).normal(0, 1, (8, 768)).astype(np.float32)
    save_file({"emb_params": torch.from_numpy(vectors)}, folder / "easynegative.safetensors")
    assert client.get_embeddings()["loaded"]["easynegative"]["vectors"] == 8
    called = made()
    assert (np.asarray(called.image) != np.asarray(plain.image)).any()
    assert 'TI hashes: "easynegative: ' in called.info["infotexts"][0]
    assert "TI hashes" not in plain.info["infotexts"][0]
    drawn = client.txt2img(prompt="embedding:easynegative cat", steps=2, width=64, height=64)
    assert drawn.info["extra_generation_params"]["TI hashes"].startswith("easynegative: ")


def test_openai_s_client_edits_and_paints(server: Server) -> None:
    cutout = np.dstack((np.full((128, 128, 3), 255, np.uint8), 255 - MASK))
    with openai.OpenAI(base_url=f"{server.client.base_url}v1", api_key="k") as client:
        few = {"steps": 2, "seed": 1}
        edit = client.images.edit(image=png(photo()), mask=png(cutout), prompt="a cat", extra_body=few)
        told = list(
            client.images.edit(
                image=png(photo()), mask=png(cutout), prompt="a cat", stream=True, partial_images=2,
                extra_body={**few, "steps": 8},
            )
        )  # fmt: skip
        whole = client.images.edit(image=png(photo()), prompt="a cat", extra_body=few)
        made = client.images.generate(prompt="a boat", size="72x64", model="tiny-base", extra_body=few)
    pictures = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(each.data[0].b64_json))))
        for each in (edit, whole, made)
    ]
    assert (pictures[0][MASK == 0] == photo()[MASK == 0]).all()
    assert [picture.shape for picture in pictures] == [(128, 128, 3), (128, 128, 3), (64, 72, 3)]
    assert told[-1].type == "image_edit.completed" and len(told) > 1
