"""Extend's geometry: what was asked is what is added, the photo stays whole, nonsense is refused by code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reknit.core.errors import InputError
from reknit.core.geometry import Box, Size
from reknit.core.image import Metadata, Origin, Photo
from reknit.pipeline.canvas import ANCHORS, MAX_SIDE_PX, Canvas, expand, plan_canvas

SIZE = Size(width=300, height=200)
SIDES = st.integers(1, 4000)


@pytest.mark.parametrize(
    ("asked", "added"),
    [
        ({"left": 64}, (64, 0, 0, 0)),
        ({"left": "64"}, (64, 0, 0, 0)),
        ({"right": " 64px "}, (0, 0, 64, 0)),
        ({"top": "25%"}, (0, 50, 0, 0)),
        ({"bottom": "100 %", "right": "33.5%"}, (0, 0, 100, 200)),
        ({"aspect": "16:9"}, (28, 0, 28, 0)),
        ({"aspect": "16:9", "anchor": "left"}, (0, 0, 56, 0)),
        ({"aspect": "16:9", "anchor": "bottom-right"}, (56, 0, 0, 0)),
        ({"aspect": "1/1"}, (0, 50, 0, 50)),
        ({"aspect": "1:1", "anchor": "top"}, (0, 0, 0, 100)),
        ({"aspect": "1:1", "anchor": "left"}, (0, 50, 0, 50)),
        ({"aspect": "2.39:1", "anchor": "right"}, (178, 0, 0, 0)),
        ({"left": 100, "aspect": "1:1", "anchor": "top-right"}, (100, 0, 0, 200)),
        ({"aspect": "301:200"}, (0, 0, 1, 0)),
    ],
)
def test_what_was_asked_is_added(asked, added):
    canvas = plan_canvas(SIZE, **asked)
    assert canvas.added == added
    assert canvas.photo_box.size == SIZE


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({}, "extend.nothing"),
        ({"left": 0, "top": "0%"}, "extend.nothing"),
        ({"left": "0.1%"}, "extend.nothing"),
        ({"aspect": "3:2"}, "extend.nothing"),
        ({"left": -1}, "extend.amount"),
        ({"left": "-5%"}, "extend.amount"),
        ({"top": "many"}, "extend.amount"),
        ({"top": "1.5"}, "extend.amount"),
        ({"top": "1.5px"}, "extend.amount"),
        ({"top": ""}, "extend.amount"),
        ({"top": "٣"}, "extend.amount"),
        ({"top": True}, "extend.amount"),
        ({"top": 1.5}, "extend.amount"),
        ({"top": None}, "extend.amount"),
        ({"right": "9999999999"}, "extend.amount"),
        ({"right": MAX_SIDE_PX}, "extend.too-large"),
        ({"right": "99999%"}, "extend.too-large"),
        ({"right": 40_000, "bottom": 40_000}, "extend.too-large"),
        ({"aspect": "99999:1"}, "extend.too-large"),
        ({"aspect": "16:0"}, "extend.aspect"),
        ({"aspect": "0:9"}, "extend.aspect"),
        ({"aspect": "-16:9"}, "extend.aspect"),
        ({"aspect": "16"}, "extend.aspect"),
        ({"aspect": "wide"}, "extend.aspect"),
        ({"aspect": ""}, "extend.aspect"),
        ({"aspect": "16:9", "anchor": "centre"}, "extend.anchor"),
        ({"left": 10, "anchor": "top"}, "extend.anchor"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_hint(asked, code):
    with pytest.raises(InputError) as caught:
        plan_canvas(SIZE, **asked)
    assert caught.value.code == code
    assert caught.value.hint


@given(width=SIDES, height=SIDES, w=st.integers(1, 30), h=st.integers(1, 30), anchor=st.sampled_from(ANCHORS))
def test_an_aspect_is_reached_to_the_pixel_by_growing_one_way(width, height, w, h, anchor):
    try:
        canvas = plan_canvas(Size(width=width, height=height), aspect=f"{w}:{h}", anchor=anchor)
    except InputError as error:
        assert error.code in ("extend.nothing", "extend.too-large")
        assert error.code == "extend.too-large" or abs(width - height * w / h) <= max(1, w / h) / 2 + 0.5
        return
    left, top, right, bottom = canvas.added
    assert min(canvas.added) >= 0
    assert not (left + right and top + bottom)
    if left + right:
        assert abs(canvas.size.width - canvas.size.height * w / h) <= 0.5
    else:
        assert abs(canvas.size.height - canvas.size.width * h / w) <= 0.5
    assert "left" not in anchor or left == 0
    assert "right" not in anchor or right == 0
    assert "top" not in anchor or top == 0
    assert "bottom" not in anchor or bottom == 0
    if anchor == "center":
        assert right - left in (0, 1)
        assert bottom - top in (0, 1)


@given(
    size=st.tuples(SIDES, SIDES),
    sides=st.tuples(*[st.integers(0, 3000)] * 4).filter(any),
)
def test_pixel_amounts_are_exact(size, sides):
    left, top, right, bottom = sides
    photo = Size(width=size[0], height=size[1])
    canvas = plan_canvas(photo, left=left, top=f"{top}px", right=str(right), bottom=bottom)
    assert canvas.added == sides
    assert canvas.photo_box == Box(x0=left, y0=top, x1=left + photo.width, y1=top + photo.height)


@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    sides=st.tuples(*[st.integers(0, 9)] * 4).filter(any),
    wide=st.booleans(),
    alpha=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_expand_keeps_the_photo_and_marks_the_rest(shape, sides, wide, alpha, seed):
    rng = np.random.default_rng(seed)
    dtype = np.uint16 if wide else np.uint8
    top_value = np.iinfo(dtype).max
    pixels = rng.integers(0, top_value, (*shape, 3), dtype)
    photo = Photo(
        pixels=pixels,
        alpha=rng.integers(0, top_value, shape, dtype) if alpha else None,
        metadata=Metadata(icc=b"profile"),
        origin=Origin(container="jpeg", grey=True, data=b"file", pixels=pixels),
        notes=("noted",),
    )
    canvas = plan_canvas(photo.size, left=sides[0], top=sides[1], right=sides[2], bottom=sides[3])
    larger, new = expand(photo, canvas)
    assert larger.size == canvas.size
    assert larger.pixels.dtype == dtype
    place = canvas.photo_box.slices
    assert np.array_equal(larger.pixels[place], photo.pixels)
    assert not new[place].any()
    assert np.count_nonzero(new) == canvas.size.area - photo.size.area
    if alpha:
        assert np.array_equal(larger.alpha[place], photo.alpha)
        assert (larger.alpha[new] == top_value).all()
    else:
        assert larger.alpha is None
    assert larger.metadata == photo.metadata
    assert larger.notes == photo.notes
    assert larger.origin.grey and larger.origin.data is photo.origin.data
    assert (larger.origin.left, larger.origin.top) == (sides[0], sides[1])


def test_new_pixels_repeat_the_edge():
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    larger, _ = expand(Photo(pixels=pixels), plan_canvas(Size(width=2, height=2), left=3, bottom=1))
    assert np.array_equal(larger.pixels[0, :3], np.repeat(pixels[:1, 0], 3, axis=0))
    assert np.array_equal(larger.pixels[2, 3:], pixels[1])


def test_a_canvas_holds_the_photo_and_more():
    with pytest.raises(ValueError, match="room"):
        Canvas(size=SIZE, photo_box=Box.whole(SIZE))
    with pytest.raises(ValueError, match="room"):
        Canvas(size=SIZE, photo_box=Box(x0=200, y0=0, x1=400, y1=100))
    with pytest.raises(ValueError, match="canvas is for"):
        expand(Photo(pixels=np.zeros((5, 5, 3), np.uint8)), plan_canvas(SIZE, left=1))
