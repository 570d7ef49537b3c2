"""What jobs do with pictures, without a server: requests, previews, changed boxes, and what is checked early."""

import base64
import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import reknit
from reknit.core import codec
from reknit.core.errors import InputError, NotFound
from reknit.core.geometry import Box
from reknit.core.image import Photo
from reknit.core.progress import Preview, Reporter, Step
from reknit.server import tasks
from reknit.server.pictures import Pictures
from reknit.server.schemas import ExtendBody, FillBody, RepairBody
from tests.server.live import hole, photo, png

PICTURES_AND_PARTS = (
    *("control", "control_image", "image_prompt", "vae", "text_encoders", "lora", "embeddings"),
)


def payload(body: Any, **fields: Any) -> dict[str, Any]:
    return body(**fields).model_dump(mode="json", exclude={"priority"})


@pytest.fixture
def ids(pictures: Pictures) -> tuple[str, str]:
    return pictures.add(png(photo()), "photo.png").id, pictures.add(png(hole())).id


def run(pictures: Pictures, kind: str, given: dict[str, Any]) -> dict[str, Any]:
    return tasks.handlers(pictures, partial(tasks.perform_here, threads=1, models=None))[kind](
        given, Reporter()
    )


def test_a_fill_is_the_one_of_the_python_door(pictures: Pictures, ids: tuple[str, str]) -> None:
    given = payload(FillBody, image=ids[0], mask=ids[1], engine="exemplar", seed=5, count=2, grow=3.0)
    result = run(pictures, "fill", given)
    expected = reknit.fill(photo(), hole(), engine="exemplar", seed=5, count=2, grow=3.0)
    for i, image in enumerate(result["images"]):
        assert (pictures.photo(image["id"]).pixels == expected.photos[i].pixels).all()
        assert image["seed"] == 5 + i
        assert image["parent"] == ids[0]
    assert result["plan"]["grow_px"] == 3.0


def test_a_mask_by_transparency_or_turned_round(pictures: Pictures, ids: tuple[str, str]) -> None:
    alpha = np.dstack((photo(), 255 - hole()))
    see_through = pictures.add(png(alpha)).id
    turned = pictures.add(png(255 - hole())).id
    plain = run(pictures, "fill", payload(FillBody, image=ids[0], mask=ids[1]))
    for fields in ({"mask": see_through, "mask_from": "alpha"}, {"mask": turned, "invert": True}):
        other = run(pictures, "fill", payload(FillBody, image=ids[0], **fields))
        assert other["images"][0]["id"] == plain["images"][0]["id"]


def test_only_the_source_is_copied_from(pictures: Pictures, ids: tuple[str, str]) -> None:
    allowed = np.zeros((128, 128), np.uint8)
    allowed[:, :40] = 255
    source = pictures.add(png(allowed)).id
    given = payload(FillBody, image=ids[0], mask=ids[1], source=source, engine="exemplar")
    filled = pictures.photo(run(pictures, "fill", given)["images"][0]["id"]).pixels
    expected = reknit.fill(photo(), hole(), source=allowed, engine="exemplar")
    assert (filled == expected.photo.pixels).all()
    assert (filled != reknit.fill(photo(), hole(), engine="exemplar").photo.pixels).any()


def test_extensions_of_extensions(pictures: Pictures, ids: tuple[str, str]) -> None:
    first = run(pictures, "extend", payload(ExtendBody, image=ids[0], left=10, top="25%"))["images"][0]
    second = run(pictures, "extend", payload(ExtendBody, image=first["id"], aspect="2:1", anchor="left"))[
        "images"
    ][0]
    assert (second["width"], second["height"]) == (320, 160)
    pixels = pictures.photo(second["id"]).pixels
    assert (pixels[32:160, 10:138] == photo()).all()
    assert set(pictures.needs(second["id"])) >= {ids[0], first["id"], second["id"]}


def test_a_repair_without_damage_gives_the_picture_back(pictures: Pictures) -> None:
    image = pictures.add(png(np.full((64, 64, 3), 120, np.uint8))).id
    result = run(pictures, "repair", payload(RepairBody, image=image))
    assert [told["id"] for told in result["images"]] == [image]
    assert result["found_px"] == 0
    assert not pictures.photo(result["mask"]).pixels.any()


def test_a_drawn_seed_is_told(pictures: Pictures, ids: tuple[str, str]) -> None:
    result = run(pictures, "fill", payload(FillBody, image=ids[0], mask=ids[1], engine="exemplar", seed=-1))
    assert result["seed"] == result["images"][0]["seed"] >= 0


@pytest.mark.parametrize(
    ("fields", "error", "code"),
    [
        ({"image": "0" * 64}, NotFound, "picture.missing"),
        ({"mask": "0" * 64}, NotFound, "picture.missing"),
        ({"engine": "exemplr"}, NotFound, "engine.unknown"),
        ({"engine": "telea", "params": {"quality": "best"}}, InputError, "option.unknown"),
        ({"engine": "network", "params": {"model": "/etc/passwd"}}, InputError, "option.value"),
        ({"engine": "lama", "params": {"model": "..\\net.onnx"}}, InputError, "option.value"),
        *(
            ({"engine": "auto", "params": {name: "/etc/passwd"}}, InputError, "option.value")
            for name in PICTURES_AND_PARTS
        ),
    ],
)
def test_mistakes_are_found_before_the_work(
    pictures: Pictures, ids: tuple[str, str], fields: dict[str, Any], error: type[Exception], code: str
) -> None:
    given = payload(FillBody, **{"image": ids[0], "mask": ids[1], **fields})
    with pytest.raises(error) as caught:
        tasks.check(pictures, "fill", given)
    assert caught.value.code == code  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("params", "error", "code"),
    [
        *(({name: "/etc/passwd"}, InputError, "option.value") for name in PICTURES_AND_PARTS),
        ({"lora": "ink:0.8, /etc/passwd:1"}, InputError, "option.value"),
        ({"lora": "pyproject.toml:1"}, InputError, "option.value"),
        ({"embeddings": "ink, x=pyproject.toml"}, InputError, "option.value"),
        ({"prompt": "a cat <lora:/etc/passwd:0.5>"}, InputError, "option.value"),
        ({"control_image": "0" * 64}, NotFound, "picture.missing"),
    ],
)
def test_mistakes_of_diffusion_are_found_before_the_work(
    pictures: Pictures, ids: tuple[str, str], params: dict[str, Any], error: type[Exception], code: str
) -> None:
    pytest.importorskip("diffusers")
    given = payload(FillBody, image=ids[0], mask=ids[1], engine="diffusion", params=params)
    with pytest.raises(error) as caught:
        tasks.check(pictures, "fill", given)
    assert caught.value.code == code  # type: ignore[attr-defined]


def test_many_models_may_be_named(pictures: Pictures, ids: tuple[str, str]) -> None:
    pytest.importorskip("diffusers")
    many = ", ".join(f"lora-{number}:0.5" for number in range(100))
    params = {"lora": many, "prompt": "a cat <lora:ink:0.5>"}
    tasks.check(
        pictures, "fill", payload(FillBody, image=ids[0], mask=ids[1], engine="diffusion", params=params)
    )


@pytest.mark.parametrize(
    "preview",
    [
        Photo(pixels=np.full((700, 1400, 3), 200, np.uint8)),
        np.full((700, 1400, 3), 200, np.uint8),
        np.full((700, 1400, 3), 200 * 257, np.uint16),
        np.full((700, 1400, 3), 200 / 255, np.float32),
        np.full((700, 1400), 200, np.uint8),
    ],
    ids=["photo", "8 bits", "16 bits", "floats", "grey"],
)
def test_previews_are_small_pictures_in_text(preview: Any) -> None:
    steps: list[Step] = []
    placed = Preview(pixels=preview, box=Box(x0=30, y0=20, x1=130, y1=70))
    tasks.Previews(Reporter(steps.append), at=(40, 0)).step("denoise", 0.5, placed)
    told = steps[0].preview
    assert told["box"] == [-10, 20, 90, 70]
    kind, data = told["image"].split(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as small:
        assert max(small.size) <= 512
        assert small.size == (told["width"], told["height"])
        assert small.size[0] == pytest.approx(2 * small.size[1], abs=2)
        assert abs(int(np.asarray(small.convert("L")).mean()) - 200) < 3


def test_no_preview_stays_none() -> None:
    steps: list[Step] = []
    tasks.Previews(Reporter(steps.append)).step("fill", 0.25)
    assert (steps[0].preview, steps[0].fraction) == (None, 0.25)


def test_a_plan_tells_what_the_fill_would_do(pictures: Pictures, ids: tuple[str, str]) -> None:
    given = payload(FillBody, image=ids[0], mask=ids[1], engine="exemplar", grow=3.0)
    told = tasks.plan(pictures, given, threads=1)
    done = run(pictures, "fill", given)["plan"]
    assert told["regions"] == done["regions"] and told["regions"][0]["hole"] == [39, 39, 67, 67]
    assert (told["engine"], told["grow_px"]) == ("exemplar", 3.0)
    assert (told["seconds"], told["peak_bytes"]) == (done["predicted_seconds"], done["predicted_peak_bytes"])


def test_a_picture_tells_where_its_parent_lies(pictures: Pictures, ids: tuple[str, str]) -> None:
    extended = run(pictures, "extend", payload(ExtendBody, image=ids[0], left=10, top=6))["images"][0]
    filled = run(pictures, "fill", payload(FillBody, image=ids[0], mask=ids[1]))["images"][0]
    assert (extended["at"], filled["at"], pictures.info(ids[0]).to_dict()["at"]) == ([10, 6], [0, 0], None)


def test_an_edit_is_named_as_the_latest_upload_of_its_bytes(
    pictures: Pictures, ids: tuple[str, str], tmp_path: Path
) -> None:
    given = payload(FillBody, image=ids[0], mask=ids[1])
    first = run(pictures, "fill", given)["images"][0]
    elsewhere = Pictures(pictures.blobs, tmp_path / "pictures")  # as the server's process has them
    elsewhere.add(png(photo()), "renamed.png")
    second = run(pictures, "fill", given)["images"][0]
    assert (first["name"], second["name"]) == ("photo.png", "renamed.png")
    assert elsewhere.filename(second["id"]) == "renamed-edited.png"
    assert elsewhere.filename(first["id"]) == "photo-edited.png"


def test_pictures_that_options_name_are_uploads(pictures: Pictures, ids: tuple[str, str]) -> None:
    pytest.importorskip("diffusers")
    told = {"control_image": ids[0], "image_prompt": ids[1], "control": "some-net"}
    given = payload(FillBody, image=ids[0], mask=ids[1], engine="diffusion", params=told)
    tasks.check(pictures, "fill", given)
    asked = tasks.fill_request(pictures, given).params
    assert asked["control"] == "some-net"
    assert codec.read(asked["control_image"]).size == pictures.info(ids[0]).facts.size
    word = payload(FillBody, image=ids[0], mask=ids[1], engine="diffusion", params={"control_image": "canny"})
    tasks.check(pictures, "fill", word)
    assert tasks.fill_request(pictures, word).params["control_image"] == "canny"


def test_an_edit_can_be_a_picture_to_follow(pictures: Pictures, ids: tuple[str, str]) -> None:
    edit = run(pictures, "fill", payload(FillBody, image=ids[0], mask=ids[1], engine="telea"))["images"][0]
    file = pictures.file(edit["id"])
    assert np.array_equal(codec.read(file).pixels, pictures.photo(edit["id"]).pixels)
