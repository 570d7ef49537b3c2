"""Selections over HTTP: every method gives the mask of a box, and mistakes are told with a hint."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.pipeline import tiny_sam

from .asgi import Client
from .conftest import as_file

SELECT = "/api/v1/select"


@pytest.fixture
def image(client: Client, rng: np.random.Generator) -> str:
    """Return the id of a grey wall with a blue square."""
    pixels = rng.normal(150, 3, (300, 400, 3))
    pixels[100:200, 150:250] += (-120, -90, 60)
    file = as_file(pixels.clip(0, 255).astype(np.uint8))
    return client.post("/api/v1/images", content=file).json()["id"]


def mask(client: Client, told: dict) -> np.ndarray:
    """Return the mask as a plane of the picture's size."""
    png = Image.open(io.BytesIO(client.get(f"/api/v1/images/{told['mask']}/file").content))
    assert png.mode == "L"
    x0, y0, x1, y1 = told["box"]
    assert png.size == (x1 - x0, y1 - y0)
    plane = np.zeros((300, 400), np.uint8)
    plane[y0:y1, x0:x1] = np.asarray(png)
    assert set(np.unique(plane)) <= {0, 255}
    assert (plane > 0).sum() == told["area_px"]
    return plane > 0


@pytest.mark.parametrize(
    "how",
    [
        {"method": "wand", "point": [200, 150], "tolerance": 40},
        {"method": "wand", "point": [200.5, 150], "tolerance": 40, "contiguous": False},
        {"method": "box", "box": [130, 80, 280, 220]},
        {"method": "scribble", "foreground": [[180, 120], [183, 123], [220, 180]]},
        {
            "method": "scribble",
            "foreground": [[200, 150]],
            "background": [[50, 50], [60, 60]],
            "box": [120, 80, 290, 230],
        },
    ],
)
def test_the_square_is_selected(client: Client, image: str, how: dict) -> None:
    answer = client.post(SELECT, json={"image": image, **how})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["method"] == how["method"]
    found = mask(client, told)
    expected = np.zeros((300, 400), bool)
    expected[100:200, 150:250] = True
    assert (found & expected).sum() / (found | expected).sum() > 0.97


def test_a_point_needs_a_model(client: Client, image: str, rooms: SimpleNamespace) -> None:
    how = {"image": image, "method": "point", "point": [200, 150]}
    answer = client.post(SELECT, json=how)
    assert (answer.status_code, answer.json()["code"]) == (409, "segment.no-model")
    tiny_sam.write(rooms.segmenter.folder)
    told = client.post(SELECT, json=how).json()
    found = mask(client, told)
    ys, xs = np.nonzero(found)
    assert abs(xs.mean() - 199.5) < 1.5 and abs(ys.mean() - 149.5) < 1.5
    assert client.post(SELECT, json={**how, "background": [[10, 10]]}).json()["area_px"] < told["area_px"]


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ({"method": "wand"}, 400, "select.missing"),
        ({"method": "box"}, 400, "select.missing"),
        ({"method": "scribble"}, 400, "select.missing"),
        ({"method": "point"}, 400, "select.missing"),
        ({"method": "lasso"}, 400, "request.value"),
        ({"method": "wand", "point": [400, 10]}, 400, "select.point"),
        ({"method": "wand", "point": [1]}, 400, "request.value"),
        ({"method": "wand", "point": [1, -1]}, 400, "request.value"),
        ({"method": "wand", "point": ["1", "2"]}, 400, "request.value"),
        ({"method": "wand", "point": [1, 1], "tolerance": 300}, 400, "request.value"),
        ({"method": "wand", "points": [1, 1]}, 400, "request.unknown-field"),
        ({"method": "box", "box": [5, 5, 5, 9]}, 400, "select.box"),
        ({"method": "box", "box": [500, 5, 600, 9]}, 400, "select.box"),
        ({"method": "scribble", "foreground": [[1, 1]], "background": [[1, 900]]}, 400, "select.point"),
        ({"method": "box", "box": [0, 0, 9, 9], "image": "0" * 64}, 404, "picture.missing"),
        ({"method": "box", "box": [0, 0, 9, 9], "image": "../x"}, 400, "request.value"),
    ],
)
def test_mistakes_are_told(client: Client, image: str, how: dict, status: int, code: str) -> None:
    answer = client.post(SELECT, json={"image": image, **how})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["hint"]
