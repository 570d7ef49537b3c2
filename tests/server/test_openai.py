"""OpenAI's dialect: its real client, unchanged, against the real server."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.patience import until
from tests.server.live import Server, photo, png, wait_for

openai = pytest.importorskip("openai", reason="pip install 'reknit[test]'")
PLUGINS = str(Path(__file__).with_name("plugins"))


@pytest.fixture(scope="module")
def painting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an engine that is told in words what to draw."""
    with Server.started(tmp_path_factory.mktemp("data"), "--max-queued", "1", PYTHONPATH=PLUGINS) as server:
        yield server


def client_of(server: Server, **how: Any) -> Any:
    return openai.OpenAI(base_url=f"{server.client.base_url}v1", **{"api_key": "anything", **how})


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Any]:
    with client_of(server) as client:
        yield client


@pytest.fixture(scope="module")
def painter(painting: Server) -> Iterator[Any]:
    with client_of(painting) as client:
        yield client


def cut_out(side: int = 128) -> np.ndarray:
    """A mask, transparent in a small rectangle at the upper left."""
    mask = np.full((side, side, 4), 255, np.uint8)
    mask[20:40, 16:52, 3] = 0
    return mask


KEPT = cut_out()[..., 3] == 255


def picture_of(datum: Any) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(datum.b64_json))).convert("RGB"))


def test_the_client_edits_bytes(client: Any) -> None:
    result = client.images.edit(image=png(photo()), mask=png(cut_out()), prompt="a wall", n=2)
    assert len(result.data) == 2 and result.created > 0
    out = picture_of(result.data[0])
    assert (out[KEPT] == photo()[KEPT]).all()
    assert (out[~KEPT] != photo()[~KEPT]).any()


def test_the_client_edits_files_and_lists_of_them(client: Any, tmp_path: Path) -> None:
    for name, array in (("photo.png", photo()), ("mask.png", cut_out())):
        (tmp_path / name).write_bytes(png(array))
    with (tmp_path / "photo.png").open("rb") as image, (tmp_path / "mask.png").open("rb") as mask:
        result = client.images.edit(image=[image], mask=mask, prompt="x", model="gpt-image-1", size="auto")
    assert (picture_of(result.data[0])[KEPT] == photo()[KEPT]).all()


def test_a_picture_s_own_transparency_is_a_mask(client: Any) -> None:
    see_through = np.dstack((photo(), cut_out()[..., 3]))
    out = picture_of(client.images.edit(image=png(see_through), prompt="x").data[0])
    assert (out[KEPT] == photo()[KEPT]).all() and (out[~KEPT] != photo()[~KEPT]).any()


def test_half_transparent_is_half_edited(client: Any) -> None:
    mask = cut_out()
    mask[20:40, 16:52, 3] = 128
    firm = picture_of(
        client.images.edit(image=png(photo()), mask=png(cut_out()), prompt="x", extra_body={"seed": 5}).data[
            0
        ]
    )
    soft = picture_of(
        client.images.edit(image=png(photo()), mask=png(mask), prompt="x", extra_body={"seed": 5}).data[0]
    )
    between = photo()[~KEPT] * (128 / 255) + firm[~KEPT] * (127 / 255)
    assert np.abs(soft[~KEPT] - between).max() <= 1


def test_sizes_formats_and_addresses(client: Any, server: Server) -> None:
    given: dict[str, Any] = {"image": png(photo()), "mask": png(cut_out()), "prompt": "x"}
    result = client.images.edit(**given, size="96x64", output_format="jpeg", output_compression=80)
    with Image.open(io.BytesIO(base64.b64decode(result.data[0].b64_json))) as out:
        assert (out.format, out.size) == ("JPEG", (96, 64))
    url = client.images.edit(**given, response_format="url", output_format="webp").data[0].url
    with Image.open(io.BytesIO(httpx.get(url).content)) as out:
        assert (out.format, out.size) == ("WEBP", (128, 128))


def test_models_are_listed(client: Any) -> None:
    assert {"reknit", "exemplar"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("exemplar").object == "model"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("no-such-model")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


WRONG: list[tuple[dict[str, Any], str, str | None]] = [
    ({"image": b"rubbish"}, "invalid_image_file", "image"),
    ({"mask": png(cut_out(64))}, "invalid_image", "mask"),
    ({"mask": png(photo())}, "invalid_image_file", "mask"),
    ({"mask": png(np.full((128, 128, 4), 255, np.uint8))}, "empty_mask", "mask"),
    ({"mask": png(np.zeros((128, 128, 4), np.uint8))}, "mask_required", "mask"),
    ({"mask": None}, "mask_required", "mask"),
    ({"n": 11}, "invalid_value", "n"),
    ({"size": "7x7"}, "invalid_value", "size"),
    ({"quality": "best"}, "invalid_value", "quality"),
    ({"prompt": ""}, "missing_required_parameter", "prompt"),
    ({"output_format": "gif"}, "invalid_value", "output_format"),
    ({"extra_body": {"steps": "many"}}, "invalid_type", "steps"),
    ({"image": [png(photo()), b"rubbish"]}, "invalid_image_file", "image[1]"),
    ({"image": [png(photo())] * 17}, "array_above_max_length", "image"),
]


@pytest.mark.parametrize(("change", "code", "param"), WRONG)
def test_wrong_requests_are_told_once(
    client: Any, change: dict[str, Any], code: str, param: str | None
) -> None:
    given = {"image": png(photo()), "mask": png(cut_out()), "prompt": "x", **change}
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.edit(**{name: value for name, value in given.items() if value is not None})
    error = caught.value
    assert (error.code, error.param, error.type) == (code, param, "invalid_request_error")
    assert error.response.headers["x-should-retry"] == "false"


def test_other_refusals_have_their_classes(client: Any, server: Server, tmp_path: Path) -> None:
    with pytest.raises(openai.NotFoundError):
        client.images.edit(image=png(photo()), mask=png(cut_out()), prompt="x", model="no-such-model")
    with pytest.raises(openai.BadRequestError, match="diffusion model"):
        client.images.generate(prompt="a boat")
    variations = server.client.post("/v1/images/variations")
    assert (variations.status_code, variations.json()["error"]["type"]) == (404, "invalid_request_error")
    answer = server.client.post(
        "/v1/images/edits", content=b"no form", headers={"Content-Type": "text/plain"}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "missing_required_parameter")
    with Server.started(tmp_path, "--token", "a-good-token") as locked:
        with client_of(locked) as stranger, pytest.raises(openai.AuthenticationError) as caught:
            stranger.models.list()
        assert caught.value.code == "invalid_api_key"
        with client_of(locked, api_key="a-good-token") as right:
            assert right.models.list().data


def test_half_a_character_is_refused(painting: Server) -> None:
    body, json = b'{"prompt": "a\\ud83d", "size": "64x64"}', {"Content-Type": "application/json"}
    answer = painting.client.post("/v1/images/generations", content=body, headers=json)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (400, "false")
    assert answer.json()["error"]["code"] == "jobs.text"


def test_a_failure_is_not_repeated(painting: Server, painter: Any) -> None:
    """The client repeats whatever fails, unless it is told not to."""
    before = sum(painting.client.get(painting.url("jobs")).json()["counts"].values())
    with pytest.raises(openai.InternalServerError, match="out of paint") as caught:
        painter.images.edit(image=png(photo()), mask=png(cut_out()), prompt="crash")
    assert (caught.value.code, caught.value.type) == ("engine.crashed", "server_error")
    assert sum(painting.client.get(painting.url("jobs")).json()["counts"].values()) == before + 1


def test_words_paint_whole_pictures_and_holes(painting: Server, painter: Any) -> None:
    made = painter.images.generate(prompt="a boat", size="96x64", n=2, extra_body={"seed": 9})
    outs = [picture_of(datum) for datum in made.data]
    assert [out.shape for out in outs] == [(64, 96, 3)] * 2
    assert [tuple(out[0, 0]) for out in outs] == [(12, 9, 77), (12, 10, 77)]
    edit = painter.images.edit(image=png(photo()), prompt="x", extra_body={"seed": 3, "strength": 0.5})
    assert np.abs(picture_of(edit.data[0]) - (photo() / 2 + np.array((16, 3, 77)) / 2)).max() <= 1
    holed = painter.images.edit(
        image=png(photo()), mask=png(cut_out()), prompt="red", extra_body={"steps": 3, "guidance": "4.5"}
    )
    assert (picture_of(holed.data[0])[~KEPT][:, 2] == 77).all()
    job = painting.client.get(painting.url("jobs"), params={"limit": 1}).json()["jobs"][0]
    assert job["kind"] == "fill"
    wanted = {"prompt": "red", "steps": 3, "guidance": 4.5}
    assert wanted.items() <= job["payload"]["params"].items()


@pytest.mark.parametrize("partial", [0, 2])
def test_streams(painter: Any, partial: int) -> None:
    given: dict[str, Any] = {"prompt": "x", "stream": True, "partial_images": partial}
    told = list(
        painter.images.edit(image=png(photo()), mask=png(cut_out()), **given, extra_body={"steps": 40})
    )
    assert [event.type for event in told] == ["image_edit.partial_image"] * partial + ["image_edit.completed"]
    assert [event.partial_image_index for event in told[:-1]] == list(range(partial))
    assert (picture_of(told[-1])[KEPT] == photo()[KEPT]).all() and told[-1].usage.total_tokens == 0
    for event in told[:-1]:
        assert int(picture_of(event)[0, 0, 2]) == pytest.approx(77, abs=4)
    painted = list(painter.images.generate(**given, size="64x64"))
    assert painted[-1].type == "image_generation.completed"


def test_a_full_queue_is_worth_another_try(painting: Server, painter: Any) -> None:
    image, mask = painting.pictures(3, 512)
    long = {"image": image, "mask": mask, "engine": "painter", "params": {"steps": 100_000}}
    jobs = [painting.ask("fill", wait=0, **long).json() for _ in range(1)]
    wait_for(painting, jobs[0]["id"], ("running",))
    jobs.append(painting.ask("fill", wait=0, **long).json())
    once = painter.with_options(max_retries=0)
    with pytest.raises(openai.RateLimitError) as caught:
        once.images.edit(image=png(photo()), mask=png(cut_out()), prompt="x")
    headers = caught.value.response.headers
    assert "x-should-retry" not in headers and headers["retry-after"]
    with pytest.raises(openai.RateLimitError):
        once.images.edit(image=png(photo()), mask=png(cut_out()), prompt="x", stream=True)
    for job in reversed(jobs):
        painting.client.post(painting.url(f"jobs/{job['id']}/cancel"))
    wait_for(painting, jobs[0]["id"])


def test_a_stream_that_fails_says_why(painting: Server, painter: Any) -> None:
    stream = painter.images.edit(
        image=png(photo()),
        mask=png(cut_out()),
        prompt="hold 5",
        stream=True,
        extra_body={"steps": 4, "seed": 5},
    )
    running = until(
        lambda: painting.client.get(painting.url("jobs"), params={"state": "running"}).json()["jobs"]
    )
    painting.client.post(painting.url(f"jobs/{running[0]['id']}/cancel"))
    with pytest.raises(openai.APIError, match="cancelled"):
        list(stream)
