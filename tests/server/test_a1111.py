"""A1111's dialect: its real client, unchanged, against the real server; and what other clients send and expect."""

import asyncio
import base64
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from reknit.server import a1111
from tests.patience import PATIENCE_S, until
from tests.server.live import Server, hole, photo, png

webuiapi = pytest.importorskip("webuiapi", reason="pip install 'reknit[test]'")
LONG = {"n_iter": 8, "batch_size": 8}


@contextmanager
def client_of(server: Server, **login: str) -> Iterator[Any]:
    url = server.client.base_url
    client = webuiapi.WebUIApi(host=url.host, port=url.port, **login)
    yield client
    client.session.close()


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Any]:
    with client_of(server) as client:
        yield client


@pytest.fixture(scope="module")
def painting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an engine that is told in words what to draw; the red of its paint is its crop's width / 8."""
    plugins = str(Path(__file__).with_name("plugins"))
    with Server.started(tmp_path_factory.mktemp("data"), PYTHONPATH=plugins) as server:
        yield server


def asymmetric(side: int = 128) -> np.ndarray:
    """A mask whose white is a small rectangle at the upper left: turned round, nearly all is white."""
    mask = np.zeros((side, side), np.uint8)
    mask[20:40, 16:52] = 255
    return mask


def send(server: Server, path: str, **body: Any) -> httpx.Response:
    return server.client.post(f"/sdapi/v1/{path}", json=body)


def text_of(array: np.ndarray) -> str:
    return base64.b64encode(png(array)).decode()


def pictures_of(answer: httpx.Response) -> list[np.ndarray]:
    assert answer.status_code == 200, answer.text
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(each)))) for each in answer.json()["images"]]


def test_the_client_inpaints(client: Any) -> None:
    image, mask = Image.fromarray(photo()), Image.fromarray(asymmetric())
    result = client.img2img(images=[image], mask_image=mask, prompt="a wall", seed=7, mask_blur=4)
    out = np.asarray(result.image)
    assert out.shape == photo().shape
    assert (out[60:] == photo()[60:]).all() and (out[:, 70:] == photo()[:, 70:]).all()
    assert (out[25:35, 22:46] != photo()[25:35, 22:46]).any()
    assert result.info["all_seeds"] == [7] and result.info["sampler_name"] == "Euler a"
    assert result.image.info["parameters"] == result.info["infotexts"][0]
    assert "Seed: 7" in result.image.info["parameters"] and "Mask blur: 4" in result.image.info["parameters"]
    assert result.parameters["init_images"] is None and result.parameters["mask"] is None
    read = client.png_info(result.image)
    assert read.info.startswith("a wall\n")


def test_the_client_makes_batches_that_equal_singles(client: Any) -> None:
    image, mask = Image.fromarray(photo()), Image.fromarray(asymmetric())
    batch = client.img2img(images=[image], mask_image=mask, seed=3, batch_size=2, n_iter=2)
    assert batch.info["all_seeds"] == [3, 4, 5, 6] and len(batch.images) == 4
    single = client.img2img(images=[image], mask_image=mask, seed=5)
    assert (np.asarray(single.image) == np.asarray(batch.images[2])).all()


def test_the_client_s_questions_are_answered(client: Any) -> None:
    assert {"DPM++ 2M", "Euler a", "DDIM"} <= {sampler["name"] for sampler in client.get_samplers()}
    assert "karras" in client.util_get_scheduler_names()
    assert "reknit" in client.util_get_model_names()
    scripts = ["soft inpainting", "controlnet"]
    assert client.get_scripts() == {"txt2img": scripts, "img2img": scripts}
    assert not (client.has_controlnet or client.has_adetailer or client.has_animatediff)
    for question in (
        "sd_vae", "loras", "hypernetworks", "face_restorers", "realesrgan_models", "prompt_styles"
    ):  # fmt: skip
        assert getattr(client, f"get_{question}")() == []
    assert client.get_embeddings() == {"loaded": {}, "skipped": {}}
    assert client.get_upscalers()[0]["name"] == "None" and client.get_latent_upscale_modes()
    memory = client.get_memory()
    assert memory["ram"]["total"] > memory["ram"]["used"] > 0 and set(memory["cuda"]) & {"error", "system"}
    client.refresh_checkpoints()


def test_a_card_s_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {"nvidia-smi": "NVIDIA GeForce RTX 3060, 12288, 9216\n"}
    monkeypatch.setattr("reknit.planner.machine.say", lambda tool, *_: lines.get(tool, ""))
    cuda = json.loads(asyncio.run(a1111.memory()).body)["cuda"]
    assert cuda["system"] == {"free": 9 * 2**30, "used": 3 * 2**30, "total": 12 * 2**30}
    assert cuda["active"] == {"current": 0, "peak": 0} and cuda["events"] == {"retries": 0, "oom": 0}


def test_the_client_chooses_a_model(client: Any, server: Server) -> None:
    usual = client.get_options()["sd_model_checkpoint"]
    client.util_set_model("exemplar")
    assert client.util_get_current_model() == "exemplar"
    client.set_options({**client.get_options(), "CLIP_stop_at_last_layers": 2})
    assert client.get_options()["CLIP_stop_at_last_layers"] == 2
    client.set_options({"sd_model_checkpoint": usual, "CLIP_stop_at_last_layers": 1})
    assert client.util_get_current_model() == usual
    wrong = send(server, "options", sd_model_checkpoint="no-such-model")
    assert wrong.status_code == 500 and wrong.json()["error"] == "RuntimeError"
    assert wrong.json()["detail"] == "model 'no-such-model' not found"


def test_the_client_watches_and_interrupts(client: Any) -> None:
    assert client.get_progress()["progress"] == 0.0
    client.util_wait_for_ready()
    image, mask = Image.fromarray(photo(3, 1024)), Image.fromarray(hole(1024))
    engine = {"override_settings": {"sd_model_checkpoint": "exemplar"}}
    results: list[Any] = []
    work = threading.Thread(
        target=lambda: results.append(
            client.img2img(images=[image], mask_image=mask, seed=1, **engine, **LONG)
        )
    )
    work.start()
    told = until(lambda: (now := client.get_progress())["state"]["job_count"] and now)
    assert told["state"]["job_count"] == 8 and told["state"]["job"] == "scripts_img2img"
    assert 0 < told["progress"] < 1 and told["state"]["sampling_steps"] == 20
    client.interrupt()
    work.join(PATIENCE_S)
    assert not work.is_alive()
    made, seeds = results[0].images, results[0].info["all_seeds"]
    assert len(made) in range(8, 64, 8) and seeds == list(range(1, 1 + len(made)))
    assert (np.asarray(made[-1]) == photo(3, 1024)).all(), "the round that was stopped is as it was"
    assert client.get_progress()["state"]["job_count"] == 0 and client.get_progress()["eta_relative"] == 0
    assert client.interrupt() == {}
    assert client.skip() is None


def test_what_only_a_painting_model_can_do_is_refused_in_words(client: Any, server: Server) -> None:
    with pytest.raises(RuntimeError, match="diffusion model"):
        client.img2img(images=[Image.fromarray(photo())], prompt="another")
    with pytest.raises(RuntimeError, match="503"):
        client.txt2img(prompt="a boat")
    black = send(
        server, "img2img", init_images=[text_of(photo())], mask=text_of(np.zeros((128, 128), np.uint8))
    )
    assert black.status_code == 503


@pytest.mark.parametrize("turned", [False, True])
def test_polarity_and_which_pixels_may_change(server: Server, turned: bool) -> None:
    """White is repainted; with the mask turned round black is."""
    mask = 255 - asymmetric() if turned else asymmetric()
    answer = send(
        server, "img2img", init_images=[text_of(photo())], mask=text_of(mask), mask_blur=0,
        inpainting_mask_invert=int(turned), seed=1,
    )  # fmt: skip
    [out] = pictures_of(answer)
    kept = asymmetric() == 0
    assert (out[kept] == photo()[kept]).all()
    assert (out[~kept] != photo()[~kept]).any()


def test_masks_in_alpha_and_of_another_size(server: Server) -> None:
    mask = asymmetric()
    alpha = np.dstack((np.zeros((128, 128, 3), np.uint8), mask))
    given: dict[str, Any] = {"init_images": [text_of(photo())], "mask_blur": 0, "seed": 1}
    plain = pictures_of(send(server, "img2img", mask=text_of(mask), **given))[0]
    assert (pictures_of(send(server, "img2img", mask=text_of(alpha), **given))[0] == plain).all()
    small = np.asarray(Image.fromarray(mask).resize((64, 64), Image.Resampling.NEAREST))
    assert (pictures_of(send(server, "img2img", mask=text_of(small), **given))[0][60:] == photo()[60:]).all()
    data_uri = "data:image/png;base64," + text_of(mask)
    assert (pictures_of(send(server, "img2img", mask=data_uri, **given))[0] == plain).all()


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_sizes(server: Server, mode: int) -> None:
    """Only masked gives the source's size back, the whole picture the one that was asked for."""
    wide = np.ascontiguousarray(photo()[:96])
    mask = np.ascontiguousarray(asymmetric()[:96])
    given: dict[str, Any] = {
        "init_images": [text_of(wide)], "mask": text_of(mask), "width": 80, "height": 64, "resize_mode": mode,
    }  # fmt: skip
    assert pictures_of(send(server, "img2img", **given))[0].shape == (96, 128, 3)
    answer = send(server, "img2img", inpaint_full_res=False, **given)
    assert pictures_of(answer)[0].shape == (64, 80, 3)
    info = json.loads(answer.json()["info"])
    assert (info["width"], info["height"]) == (80, 64)
    assert "Inpaint area" not in info["infotexts"][0]


def test_what_clients_send_beside_is_no_fault(server: Server) -> None:
    body = {
        "init_images": [text_of(photo())], "mask": text_of(asymmetric()), "firstphase_width": 0, "hr_scale": 2,
        "uniqueDocumentId": "x", "sampler_index": "DPM++ 2M Karras", "seed": "", "styles": [], "s_tmax": 0,
        "override_settings": {"no_such_setting": 1}, "alwayson_scripts": {"Soft Inpainting": {"args": [True]}},
        "inpaint_full_res": 1, "scheduler": "automatic", "subseed": None, "script_name": None,
    }  # fmt: skip
    answer = send(server, "img2img", **body)
    assert answer.status_code == 200, answer.text
    info = json.loads(answer.json()["info"])
    assert (info["sampler_name"], info["seed"]) == ("DPM++ 2M", info["all_seeds"][0])
    assert "Schedule type: Karras" in info["infotexts"][0]
    assert not answer.json()["images"][0].startswith("data:")
    assert send(server, "img2img", **body, send_images=False).json()["images"] == []
    echo = send(server, "img2img", **body, include_init_images=True).json()["parameters"]
    assert echo["init_images"] == body["init_images"] and echo["mask"] == body["mask"]


def test_refusals_have_the_original_s_form(server: Server) -> None:
    image, mask = text_of(photo()), text_of(asymmetric())
    wrong: list[tuple[dict[str, Any], int, str]] = [
        ({}, 404, "Init image not found"),
        ({"init_images": []}, 404, "Init image not found"),
        ({"init_images": ["rubbish"]}, 500, "Invalid encoded image"),
        ({"init_images": ["http://127.0.0.1/x.png"]}, 500, "Requests not allowed"),
        (
            {"init_images": [image], "mask": mask, "alwayson_scripts": {"ADetailer": {}}},
            422,
            "Script 'ADetailer'",
        ),
        ({"init_images": [image], "mask": mask, "script_name": "xyz"}, 422, "Script 'xyz' not found"),
    ]
    for body, status, words in wrong:
        answer = send(server, "img2img", **body)
        assert answer.status_code == status, (body, answer.text)
        assert words in answer.json()["detail"]
        assert set(answer.json()) == {"error", "detail", "body", "errors"}
    typed = send(server, "img2img", init_images=[image], steps="many")
    assert typed.status_code == 422 and typed.json()["detail"][0]["loc"] == ["body", "steps"]
    assert server.client.get("/sdapi/v1/nothing-like-that").json() == {"detail": "Not Found"}
    assert server.client.get("/sdapi/v1/options/").status_code == 200


def test_png_info_reads_what_was_written_by_others(server: Server) -> None:
    text = 'a "cat", sitting\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, Size: 512x768, Model: "a, b"'
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x8769] = {0x9286: b"UNICODE\0" + text.encode("utf-16-be")}
    Image.fromarray(photo()).save(buffer, "JPEG", exif=exif)
    told = send(server, "png-info", image=base64.b64encode(buffer.getvalue()).decode()).json()
    assert told["info"] == text
    read = told["parameters"]
    assert (read["Prompt"], read["Negative prompt"]) == ('a "cat", sitting', "dog")
    assert (read["Size-1"], read["Size-2"], read["Model"], read["Clip skip"]) == ("512", "768", "a, b", "1")
    nothing = send(server, "png-info", image=text_of(photo())).json()
    assert nothing == {"info": "", "items": {}, "parameters": {}}


def test_the_client_makes_pictures_larger(client: Any, server: Server) -> None:
    image = Image.fromarray(np.ascontiguousarray(photo()[:96]))
    large = client.extra_single_image(image=image, upscaler_1="Lanczos", upscaling_resize=1.5).image
    assert large.size == (192, 144)
    near = np.asarray(large.resize((128, 96))).astype(int) - photo()[:96]
    assert np.abs(near).mean() < 8
    to = {"resize_mode": 1, "upscaling_resize_w": 100, "upscaling_resize_h": 200, "upscaler_1": "Lanczos"}
    assert client.extra_single_image(image=image, **to).image.size == (100, 200)
    assert client.extra_single_image(image=image, upscaling_crop=False, **to).image.size == (266, 200)
    several = client.extra_batch_images(images=[image, image], upscaler_1="None").images
    assert [each.size for each in several] == [(128, 96)] * 2
    trailing = server.client.post("/sdapi/v1/extra-single-image/", json={"image": text_of(photo())})
    assert (trailing.status_code, trailing.json()["html_info"]) == (200, "")
    with pytest.raises(RuntimeError, match="Not Found"):
        client.interrogate(image=image)


def test_a_client_that_leaves_takes_its_job_with_it(painting: Server) -> None:
    asked = {"prompt": "hold 940009", "width": 64, "height": 64, "steps": 2, "seed": 940_000, **LONG}
    url, body = painting.client.base_url, json.dumps(asked).encode()
    head = "POST /sdapi/v1/txt2img HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"

    def rounds() -> list[str]:
        jobs = painting.client.get(painting.url("jobs")).json()["jobs"]
        return [job["state"] for job in jobs if job["payload"].get("seed", 0) // 1000 == 940]

    with socket.create_connection((url.host, url.port or 0)) as line:
        line.sendall(head.encode() + body)
        until(lambda: rounds() == ["running", "done"])
    until(lambda: "running" not in rounds())
    time.sleep(1)  # time to begin rounds that nobody waits for
    assert rounds() == ["cancelled", "done"]


def last_job(server: Server) -> Any:
    return server.client.get(server.url("jobs"), params={"limit": 1}).json()["jobs"][0]


def test_only_masked_is_worked_at_the_size_that_was_asked_for(painting: Server) -> None:
    wide = np.ascontiguousarray(photo()[:96])
    given: dict[str, Any] = {
        "init_images": [text_of(wide)], "mask": text_of(asymmetric()[:96]), "width": 320, "height": 256, "seed": 9,
        "mask_blur": 0, "denoising_strength": 1.0, "inpaint_full_res_padding": 8,
    }  # fmt: skip
    [out] = pictures_of(send(painting, "img2img", **given))
    kept = asymmetric()[:96] == 0
    assert (out[kept] == wide[kept]).all() and out[30, 30].tolist() == [40, 9, 77]
    tile = painting.client.get(painting.url(f"images/{last_job(painting)['payload']['image']}")).json()
    assert (tile["width"], tile["height"]) == (320, 256)
    [whole] = pictures_of(send(painting, "img2img", **given, inpaint_full_res=False))
    assert whole.shape == (256, 320, 3) and whole[85, 85].tolist() == [40, 9, 77]


def test_a_mask_that_fills_its_crop_is_painted_wholly(painting: Server) -> None:
    """Only masked, without padding and blur, of a rectangle: the crop is all mask."""
    given: dict[str, Any] = {
        "init_images": [text_of(photo())], "mask": text_of(asymmetric()), "mask_blur": 0, "width": 144,
        "height": 80, "denoising_strength": 0.5, "inpainting_fill": 1, "seed": 1,
    }  # fmt: skip
    [out] = pictures_of(send(painting, "img2img", **given))
    assert last_job(painting)["kind"] == "paint"
    kept = asymmetric() == 0
    assert (out[kept] == photo()[kept]).all()
    between = photo()[~kept] / 2 + np.array((18, 1, 77)) / 2
    assert np.abs(out[~kept] - between).mean() < 8


def test_words_and_numbers_reach_the_engine(painting: Server) -> None:
    answer = send(
        painting, "img2img", init_images=[text_of(photo())], mask=text_of(asymmetric()), prompt="a cat",
        negative_prompt="dog", styles=["oil"], steps=12, cfg_scale=4.5, denoising_strength=0.6, inpainting_fill=2,
        sampler_name="DPM++ 2M", scheduler="karras", eta=0.3, override_settings={"CLIP_stop_at_last_layers": 2},
        alwayson_scripts={"soft inpainting": {"args": [True, 1, 0.5]}}, seed=2**32 + 5,
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    params = last_job(painting)["payload"]["params"]
    assert params == {
        "prompt": "a cat, oil", "negative_prompt": "dog", "steps": 12, "guidance": 4.5, "sampler": "DPM++ 2M",
        "scheduler": "Karras", "clip_skip": 1, "eta": 0.3, "content": "noise", "strength": 0.6, "side": 512,
        "softness": 4.0, "strength_rule": "a1111",
    }  # fmt: skip
    assert last_job(painting)["payload"]["seed"] == 5
    text = json.loads(answer.json()["info"])["infotexts"][0]
    assert text.startswith(
        "a cat, oil\nNegative prompt: dog\nSteps: 12, Sampler: DPM++ 2M, Schedule type: Karras"
    )
    assert "Masked content: latent noise" in text and "Clip skip: 2" in text


def test_without_a_mask_the_picture_is_painted_anew(painting: Server) -> None:
    answer = send(
        painting, "img2img", init_images=[text_of(photo()), text_of(255 - photo())], denoising_strength=0.5, width=64,
        height=96, seed=4, n_iter=2, mask="",
    )  # fmt: skip
    outs = pictures_of(answer)
    assert [out.shape for out in outs] == [(96, 64, 3)] * 4
    assert json.loads(answer.json()["info"])["all_seeds"] == [4, 5, 6, 7]
    light, dark = (outs[i].astype(int) for i in (0, 1))
    assert np.abs(light + dark - np.array((135, 132, 204))).max() <= 3


def test_words_alone(painting: Server) -> None:
    with client_of(painting) as client:
        result = client.txt2img(prompt="a boat", width=120, height=72, seed=11, batch_size=2, steps=2)
    assert [np.asarray(image)[5, 5].tolist() for image in result.images] == [[15, 11, 77], [15, 12, 77]]
    assert result.image.size == (120, 72) and "Size: 120x72" in result.image.info["parameters"]


def test_previews_are_shown_while_it_works(painting: Server) -> None:
    work, answers = painted(painting, prompt="hold 5", seed=5, steps=4, n_iter=2)
    told = shown(painting, lambda told: told["current_image"])
    with Image.open(io.BytesIO(base64.b64decode(told["current_image"]))) as preview:
        assert int(np.asarray(preview.convert("RGB"))[0, 0, 2]) == pytest.approx(77, abs=4)
    skipped = painting.client.get("/sdapi/v1/progress", params={"skip_current_image": "true"}).json()
    assert skipped["current_image"] is None
    assert told["state"]["job_count"] == 2 and 0 <= told["state"]["sampling_step"] <= 4
    assert painting.client.post("/sdapi/v1/skip").json() is None
    work.join(PATIENCE_S)
    assert answers[0].status_code == 200 and len(answers[0].json()["images"]) == 2


def painted(painting: Server, **body: Any) -> tuple[threading.Thread, list[httpx.Response]]:
    answers: list[httpx.Response] = []
    given = {"prompt": "x", "width": 64, "height": 64, **body}
    work = threading.Thread(target=lambda: answers.append(send(painting, "txt2img", **given)))
    work.start()
    return work, answers


def shown(painting: Server, holds: Any) -> Any:
    """Return the progress once it is as wished."""
    return until(lambda: holds(told := painting.client.get("/sdapi/v1/progress").json()) and told)


def far(told: Any) -> bool:
    """Whether the second round is well under way."""
    return told["state"]["job_no"] == 1 and told["state"]["sampling_step"] >= 4


def test_an_interrupt_gives_what_is_finished_and_the_rest_as_far_as_it_came(painting: Server) -> None:
    work, answers = painted(painting, prompt="hold 7", steps=20, n_iter=3, batch_size=2, seed=5)
    shown(painting, far)
    painting.client.post("/sdapi/v1/interrupt")
    work.join(PATIENCE_S)
    made = pictures_of(answers[0])
    assert [picture[5, 5].tolist() for picture in made[:2]] == [[8, 5, 77], [8, 6, 77]]
    whole = [np.array((8, seed, 77)) for seed in (7, 8)]
    apart = [float(np.abs(picture - colour).mean()) for picture, colour in zip(made[2:], whole, strict=True)]
    assert 3 < apart[0] < apart[1], "the third came farther than the fourth, and neither to its end"
    assert json.loads(answers[0].json()["info"])["all_seeds"] == [5, 6, 7, 8]


def test_a_skip_goes_on_with_the_next_round(painting: Server) -> None:
    work, answers = painted(painting, prompt="hold 6", steps=20, n_iter=3, seed=5)
    shown(painting, far)
    painting.client.post("/sdapi/v1/skip")
    work.join(PATIENCE_S)
    made = pictures_of(answers[0])
    assert [made[k][5, 5].tolist() for k in (0, 2)] == [[8, 5, 77], [8, 7, 77]]
    assert (made[1] != np.array((8, 6, 77))).any()
    assert json.loads(answers[0].json()["info"])["all_seeds"] == [5, 6, 7]


def test_an_interrupted_mask_is_painted_as_far_as_it_came(painting: Server) -> None:
    given: dict[str, Any] = {
        "init_images": [text_of(photo())], "mask": text_of(asymmetric()), "mask_blur": 0, "inpainting_fill": 1,
        "inpaint_full_res_padding": 16, "width": 64, "height": 64, "seed": 9, "denoising_strength": 1.0,
    }  # fmt: skip
    [full] = pictures_of(send(painting, "img2img", **given, steps=2))
    answers: list[httpx.Response] = []
    given |= {"steps": 20, "prompt": "hold 9"}
    work = threading.Thread(target=lambda: answers.append(send(painting, "img2img", **given)))
    work.start()
    shown(painting, lambda told: told["state"]["sampling_step"] >= 4)
    painting.client.post("/sdapi/v1/interrupt")
    work.join(PATIENCE_S)
    assert answers[0].status_code == 200
    [out] = pictures_of(answers[0])
    kept = asymmetric() == 0
    assert (out[kept] == photo()[kept]).all()
    assert (out[~kept] != photo()[~kept]).any() and (out[~kept] != full[~kept]).any()
    assert "interrupted" in json.loads(answers[0].json()["info"])["comments"]
    told = painting.client.get("/sdapi/v1/progress").json()
    assert (told["progress"], told["eta_relative"], told["state"]["job_count"]) == (0, 0, 0)


def test_the_page_s_own_progress_is_told_by_task(painting: Server) -> None:
    def told(task: str, **more: Any) -> Any:
        return painting.client.post("/internal/progress", json={"id_task": task, **more}).json()

    work, _ = painted(painting, prompt="hold 3", seed=3, steps=4, force_task_id="task(mine)")
    shown(painting, lambda told: told["current_image"])
    other, _ = painted(painting, steps=1, force_task_id="task(next)")
    mine = told("task(mine)", id_live_preview=-1)
    assert mine["active"] and not mine["completed"] and 0 < mine["progress"] < 1 and mine["eta"] > 0
    assert mine["live_preview"].startswith("data:image/jpeg;base64,") and mine["id_live_preview"] >= 1
    waits = until(lambda: (now := told("task(next)"))["queued"] and now)
    assert (waits["active"], waits["progress"], waits["textinfo"]) == (False, None, "In queue: 1/1")
    assert painting.client.get("/internal/pending-tasks").json() == {"size": 1, "tasks": ["task(next)"]}
    painting.client.post("/sdapi/v1/interrupt")
    work.join(PATIENCE_S)
    other.join(PATIENCE_S)
    done = told("task(mine)")
    assert done["completed"] and not done["active"] and not done["queued"]


@pytest.fixture
def locked(tmp_path: Any) -> Iterator[Server]:
    with Server.started(tmp_path, "--token", "a-good-token") as running:
        yield running


def test_a_token_is_the_password(locked: Server) -> None:
    url = locked.client.base_url
    refused = httpx.get(f"{url}sdapi/v1/options")
    assert refused.status_code == 401 and set(refused.json()) == {"error", "detail", "body", "errors"}
    with client_of(locked, username="me", password="a-good-token") as client:
        assert client.get_options()["samples_format"] == "png"
    with client_of(locked, username="me", password="a-bad-token") as stranger:
        assert stranger.get_options()["error"] == "guard.token"
