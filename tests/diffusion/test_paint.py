"""Whole pictures from words, and anew from a picture, over tiny random models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("diffusers")

from reknit.core.errors import InputError
from reknit.core.geometry import Size
from reknit.core.image import Photo
from reknit.core.progress import Preview, Reporter, Step
from reknit.engines.kept import KEPT
from reknit.pipeline.paint import PaintRequest, paint
from tests.diffusion import tiny

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers

SMALL = {"steps": 2, "device": "cpu", "dtype": "float32", "prompt": "a red cat"}
SIZE = Size(width=84, height=60)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("models")
    yield {kind: str(tiny.tiny_folder(root / kind, "sd15", kind)) for kind in ("base", "inpaint")}
    KEPT.free()


def request(model: str, photo: Photo | None = None, **given: Any) -> PaintRequest:
    params = {**SMALL, "model": model, **given.pop("params", {})}
    return PaintRequest(size=SIZE, photo=photo, engine="diffusion", params=params, **given)


def photo() -> Photo:
    rows = np.linspace(0, 255, SIZE.height, dtype=np.uint8)[:, None, None]
    return Photo.from_array(np.broadcast_to(rows, (*SIZE.shape, 3)).copy())


@pytest.mark.parametrize("kind", ["base", "inpaint"])
def test_words_become_pictures_of_any_size_and_seeds_hold(model, kind):
    steps: list[Step] = []
    asked = request(model[kind], params={"content": "noise", "strength": 1.0}, seed=5, count=2)
    two = paint(asked, report=Reporter(steps.append))
    assert [each.size for each in two.photos] == [SIZE, SIZE]
    one = paint(request(model[kind], params={"content": "noise", "strength": 1.0}, seed=6))
    assert np.array_equal(one.photos[0].pixels, two.photos[1].pixels)
    assert not np.array_equal(two.photos[0].pixels, two.photos[1].pixels)
    boxes = {step.preview.box for step in steps if isinstance(step.preview, Preview)}
    assert [box.size for box in boxes] == [SIZE]


def test_strength_says_how_much_of_a_picture_stays(model):
    def changed(strength: float) -> float:
        asked = request(
            model["base"], photo(), params={"content": "original", "strength": strength, "steps": 8}
        )
        made = paint(asked).photos[0].pixels.astype(float)
        return float(np.abs(made - photo().pixels).mean())

    assert changed(0.0) == 0
    assert changed(1.0) > 0


def test_nothing_can_be_taken_from_around_a_whole_picture(model):
    with pytest.raises(InputError) as caught:
        paint(request(model["base"], params={"content": "fill"}))
    assert caught.value.code == "mask.full"
