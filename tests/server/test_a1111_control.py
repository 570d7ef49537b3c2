"""ControlNet's units as A1111's clients send them: what becomes of them, and what is refused.

Fields, defaults and aliases are those of the extension sd-webui-controlnet (its ``internal_controlnet/args.py``) and of
webuiapi's ``ControlNetUnit``.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.server.live import Server, photo, png
from tests.server.test_a1111 import asymmetric, client_of, last_job, send, text_of, webuiapi

CANNY = "control_v11p_sd15_canny"


@pytest.fixture(scope="module")
def painting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an engine that follows ControlNets, as it says, and with names of some."""
    root = tmp_path_factory.mktemp("control")
    networks = root / "models" / "ControlNet"
    networks.mkdir(parents=True)
    for name in (CANNY, "control_v11p_sd15_inpaint"):
        (networks / f"{name}.safetensors").touch()
    looks = root / "models" / "Lora" / "looks"
    looks.mkdir(parents=True)
    (looks / "Film Look.safetensors").touch()
    plugins = str(Path(__file__).with_name("plugins"))
    with Server.started(root, "--models-dir", str(root / "models"), PYTHONPATH=plugins) as server:
        yield server


def masked(**more: Any) -> dict[str, Any]:
    return {
        "init_images": [text_of(photo())], "mask": text_of(asymmetric()), "mask_blur": 0, "steps": 1, "width": 96,
        "height": 64, "inpaint_full_res_padding": 16, **more,
    }  # fmt: skip


def unit(**more: Any) -> dict[str, Any]:
    return {"alwayson_scripts": {"ControlNet": {"args": [{"model": CANNY, **more}]}}}


def picture(server: Server, name: str) -> np.ndarray:
    data = server.client.get(server.url(f"images/{name}/file")).content
    return np.asarray(Image.open(io.BytesIO(data)))


def test_a_unit_of_the_real_client(painting: Server) -> None:
    """Its picture is brought to the source's size, cropped with it, and scaled as the tile is."""
    with client_of(painting) as client:
        given = webuiapi.ControlNetUnit(
            image=Image.fromarray(photo()), module="none", model=f"{CANNY} [d14c016b]", weight=0.7,
            guidance_start=0.1, guidance_end=0.8, resize_mode="Just Resize",
        )  # fmt: skip
        client.img2img(
            images=[Image.fromarray(photo())], mask_image=Image.fromarray(asymmetric()), mask_blur=0, steps=1,
            width=96, height=64, inpaint_full_res_padding=16, controlnet_units=[given],
        )  # fmt: skip
    payload = last_job(painting)["payload"]
    params = payload["params"]
    assert params["control"] == CANNY
    told = [params[name] for name in ("control_strength", "control_start", "control_end")]
    assert told == [0.7, 0.1, 0.8]
    assert params["control_image"] == payload["image"], "the same picture is seen in the same place"


@pytest.mark.parametrize("module", ["canny", "Canny"])
@pytest.mark.parametrize("source", [{}, {"image": text_of(photo())}, {"image": {"image": text_of(photo())}}])
def test_edges_are_made_of_the_unit_s_picture_or_of_the_source(
    painting: Server, module: str, source: dict[str, Any]
) -> None:
    assert send(painting, "img2img", **masked(**unit(module=module, **source))).status_code == 200
    params = last_job(painting)["payload"]["params"]
    edges = picture(painting, params["control_image"])
    assert edges.shape == (64, 96, 3) and set(np.unique(edges)) == {0, 255}
    assert 0.01 < (edges > 0).mean() < 0.5


def test_thresholds_of_edges_count_where_they_are_in_range(painting: Server) -> None:
    def edges(**more: Any) -> int:
        soft = np.clip(photo().astype(int) // 4 + 90, 0, 255).astype(np.uint8)
        given = masked(**unit(module="canny", image=text_of(soft), **more))
        assert send(painting, "img2img", **given).status_code == 200
        return int((picture(painting, last_job(painting)["payload"]["params"]["control_image"]) > 0).sum())

    assert edges(threshold_a=1, threshold_b=2) > edges() == edges(threshold_a=-1, threshold_b=300)


def test_a_whole_picture_and_one_from_words(painting: Server) -> None:
    wide = png(photo()[:64])
    given = {"image": {"image": text_of(photo()[:64]), "mask": None}, "resize_mode": 0}
    assert send(painting, "img2img", **masked(inpaint_full_res=False, **unit(**given))).status_code == 200
    shown = picture(painting, last_job(painting)["payload"]["params"]["control_image"])
    assert shown.shape == (64, 96, 3)
    assert send(painting, "txt2img", steps=1, width=128, height=64, **unit(**given)).status_code == 200
    job = last_job(painting)
    assert job["kind"] == "paint"
    shown = picture(painting, job["payload"]["params"]["control_image"])
    assert (shown == np.asarray(Image.open(io.BytesIO(wide)))).all()


def test_inpaint_is_made_by_the_engine_and_what_is_off_is_off(painting: Server) -> None:
    given = masked(**unit(module="inpaint_only", model="control_v11p_sd15_inpaint"))
    assert send(painting, "img2img", **given).status_code == 200
    assert last_job(painting)["payload"]["params"]["control_image"] == "inpaint"
    off = {"ControlNet": {"args": [{"enabled": False, "model": "nonsense"}, None]}}
    assert send(painting, "img2img", **masked(alwayson_scripts=off)).status_code == 200
    assert "control" not in last_job(painting)["payload"]["params"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"module": "openpose"}, "module(openpose) not found in supported modules: none, canny, inpaint"),
        ({"model": "control_v11p_sd15_openpose"}, f"not found in supported models: {CANNY}"),
        ({"model": "../../secret"}, "not found in supported models"),
        ({"weight": 3}, "weight: Input should be less than or equal to 2"),
        ({"guidance_start": 0.9, "guidance": 0.2}, "guidance_start(0.9) >= guidance_end(0.2)"),
        ({"image": "no picture"}, "Invalid encoded image"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_what_can(
    painting: Server, given: dict[str, Any], said: str
) -> None:
    answer = send(painting, "img2img", **masked(**unit(**given)))
    assert answer.status_code == (500 if "encoded" in said else 422)
    assert said in answer.json()["detail"]


def test_two_units_and_units_without_a_picture_are_refused(painting: Server) -> None:
    two = {"ControlNet": {"args": [{"model": CANNY}] * 2}}
    answer = send(painting, "img2img", **masked(alwayson_scripts=two))
    assert answer.status_code == 422 and "one ControlNet unit" in answer.json()["detail"]
    answer = send(painting, "txt2img", steps=1, **unit())
    assert answer.status_code == 422 and "no image" in answer.json()["detail"]
    answer = send(painting, "txt2img", steps=1, **unit(module="inpaint_only"))
    assert answer.status_code == 422 and "needs a mask" in answer.json()["detail"]


def test_clients_are_told_what_there_is(painting: Server) -> None:
    with client_of(painting) as client:
        assert client.controlnet_model_list() == ["None", CANNY, "control_v11p_sd15_inpaint"]
        assert client.controlnet_module_list()[:2] == ["none", "canny"]
        assert client.controlnet_version() == 3
    assert painting.client.get("/controlnet/settings").json() == {"control_net_unit_count": 1}
    assert painting.client.post("/controlnet/detect", json={}).status_code in (404, 405)


def test_loras_are_listed_where_a1111_keeps_them(painting: Server) -> None:
    with client_of(painting) as client:
        (found,) = client.get_loras()
    assert found["name"] == found["alias"] == "Film Look"
    assert Path(found["path"]).parts[-3:] == ("Lora", "looks", "Film Look.safetensors")
