"""What is selected is what was meant: exact for the wand, close to the true shape for GrabCut, at any size."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data, measure

from reknit.core.errors import InputError
from reknit.core.geometry import Box, Size
from reknit.core.image import Photo
from reknit.pipeline.selection import Selection, smart_box, smart_scribble, wand


def whole(selection: Selection, size: Size) -> np.ndarray:
    """Return a selection as a plane of the picture's size."""
    plane = np.zeros(size.shape, bool)
    plane[selection.box.slices] = selection.fill
    return plane


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def blob_scene(width: int, height: int, seed: int = 0) -> tuple[Photo, np.ndarray, Box]:
    """Return a photo of a rough green ellipse on a rough brown ground, its true shape, and a loose box."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    shape = ((x - 0.45 * width) / (0.2 * width)) ** 2 + ((y - 0.5 * height) / (0.3 * height)) ** 2 <= 1
    shape |= (abs(x - 0.62 * width) < 0.08 * width) & (abs(y - 0.5 * height) < 0.04 * height)
    pixels = np.where(shape[..., None], (70, 140, 60), (150, 110, 80)).astype(np.float32)
    soft = cv2.resize(
        rng.normal(0, 12, (max(1, height // 9), max(1, width // 9), 3)).astype(np.float32), (width, height)
    )
    pixels = (pixels + soft + rng.normal(0, 4, pixels.shape)).clip(0, 255).astype(np.uint8)
    box = Box(x0=int(0.2 * width), y0=int(0.15 * height), x1=int(0.75 * width), y1=int(0.86 * height))
    return Photo(pixels=pixels), shape, box


# ---- the wand


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    tolerance=st.sampled_from([0, 1, 40, 100, 254, 255]),
    wide=st.booleans(),
    alpha=st.booleans(),
    contiguous=st.booleans(),
)
@settings(deadline=None)
def test_the_wand_is_what_it_says(
    seed: int, shape: tuple[int, int], tolerance: int, wide: bool, alpha: bool, contiguous: bool
) -> None:
    rng = np.random.default_rng(seed)
    dtype, unit = (np.uint16, 257) if wide else (np.uint8, 1)
    photo = Photo(
        pixels=(rng.choice([0, 30, 60, 255], (*shape, 3)) * unit).astype(dtype),
        alpha=(rng.choice([0, 255], shape) * unit).astype(dtype) if alpha else None,
    )
    y, x = int(rng.integers(shape[0])), int(rng.integers(shape[1]))
    planes = photo.to_numpy().astype(int)
    expected = (np.abs(planes - planes[y, x]) <= tolerance * unit).all(axis=2)
    if contiguous:
        labels = measure.label(expected, connectivity=1)
        expected = labels == labels[y, x]
    found = wand(photo, (x + 0.7, y + 0.2), tolerance=tolerance, contiguous=contiguous)
    assert np.array_equal(whole(found, photo.size), expected)
    assert found.fill.any(axis=0)[[0, -1]].all()
    assert found.fill.any(axis=1)[[0, -1]].all()
    assert found.area == expected.sum()


@pytest.mark.parametrize("point", [(-0.1, 5), (5, -1), (20, 5), (5, 10), (float("nan"), 1), (1e30, 1)])
def test_a_point_outside_is_refused(point: tuple[float, float]) -> None:
    photo = Photo(pixels=np.zeros((10, 20, 3), np.uint8))
    for ask in (
        lambda: wand(photo, point),
        lambda: smart_scribble(photo, [[point]]),
        lambda: smart_scribble(photo, [[(1, 1)]], [[(2, 2), point]]),
    ):
        with pytest.raises(InputError) as caught:
            ask()
        assert caught.value.code == "select.point"


def test_other_nonsense_is_refused() -> None:
    photo = Photo(pixels=np.zeros((10, 20, 3), np.uint8))
    for code, ask in (
        ("select.tolerance", lambda: wand(photo, (1, 1), tolerance=256)),
        ("select.tolerance", lambda: wand(photo, (1, 1), tolerance=-1)),
        ("select.box", lambda: smart_box(photo, Box(x0=20, y0=0, x1=30, y1=5))),
        ("select.box", lambda: smart_scribble(photo, [[(1, 1)]], (), Box(x0=-9, y0=0, x1=0, y1=5))),
        ("select.point", lambda: smart_scribble(photo, [])),
        ("select.point", lambda: smart_scribble(photo, [[]], [[(1, 1)]])),
    ):
        with pytest.raises(InputError) as caught:
            ask()
        assert caught.value.code == code


# ---- GrabCut


@pytest.mark.parametrize("size", [(90, 60), (400, 300), (1501, 1003), (700, 2400)])
def test_the_thing_in_a_box_is_found(size: tuple[int, int]) -> None:
    photo, shape, box = blob_scene(*size)
    found = smart_box(photo, box)
    assert overlap(whole(found, photo.size), shape) > (0.97 if min(size) > 100 else 0.9)


def test_the_edge_is_the_photos_own_at_full_size() -> None:
    photo, shape, box = blob_scene(2400, 1600)
    found = whole(smart_box(photo, box), photo.size)
    wrong = found != shape
    edge = cv2.morphologyEx(shape.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3)))
    far = cv2.distanceTransform(1 - edge, cv2.DIST_L2, 3)
    assert far[wrong].max(initial=0) <= 6  # a pixel of the view that GrabCut saw is eight of the photo's


def test_depth_alpha_and_repetition_do_not_matter() -> None:
    photo, _, box = blob_scene(600, 500)
    found = smart_box(photo, box)
    for other in (
        photo,
        Photo(pixels=photo.pixels.astype(np.uint16) * 257),
        replace(photo, alpha=np.full(photo.size.shape, 255, np.uint8)),
    ):
        again = smart_box(other, box)
        assert again.box == found.box
        assert np.array_equal(again.fill, found.fill)


def test_scribbles_on_and_off() -> None:
    photo, shape, _ = blob_scene(800, 600)
    on = [[(300, 200), (380, 300), (330, 400)]]
    found = whole(smart_scribble(photo, on), photo.size)
    assert overlap(found, shape) > 0.95
    assert found[300, 380]
    off = whole(smart_scribble(photo, on, [[(500, 300), (550, 300)]]), photo.size)
    assert not off[300, 500:550].any()
    assert overlap(off, shape) > 0.8


def test_a_scribble_takes_what_it_touches_only() -> None:
    rng = np.random.default_rng(3)
    pixels = rng.normal((190, 190, 200), 5, (300, 500, 3))
    for x in (80, 320):
        pixels[100:200, x : x + 100] += (-150, -140, 0)
    photo = Photo(pixels=pixels.clip(0, 255).astype(np.uint8))
    found = smart_scribble(photo, [[(100, 120), (160, 180)]])
    assert found.box.clipped(photo.size).x1 < 200
    expected = np.zeros((300, 500), bool)
    expected[100:200, 80:180] = True
    assert overlap(whole(found, photo.size), expected) > 0.97


def test_a_thing_that_leaves_the_view_is_followed() -> None:
    rng = np.random.default_rng(5)
    pixels = rng.normal((60, 60, 60), 5, (400, 1600, 3))
    pixels[180:220, 50:1550] += (150, 100, 0)
    photo = Photo(pixels=pixels.clip(0, 255).astype(np.uint8))
    found = smart_scribble(photo, [[(760, 200), (820, 200)]])
    assert (found.box.x0, found.box.x1) == (50, 1550)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 2), (3, 40)])
def test_tiny_and_flat_pictures_do_not_fail(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    for pixels in (np.full((*shape, 3), 90, np.uint8), rng.integers(0, 256, (*shape, 3), np.uint8)):
        photo = Photo(pixels=pixels)
        for ask in (
            lambda photo=photo: smart_box(photo, Box.whole(photo.size)),
            lambda photo=photo: smart_scribble(photo, [[(0, 0)]]),
            lambda photo=photo: smart_scribble(photo, [[(0, 0)]], [[(0, 0)]]),
        ):
            try:
                found = ask()
            except InputError as error:
                assert error.code == "select.nothing"
            else:
                assert Box.whole(photo.size).contains(found.box)


def test_a_flat_wall_has_no_thing() -> None:
    photo = Photo(pixels=np.full((200, 200, 3), 128, np.uint8))
    try:
        found = smart_box(photo, Box(x0=50, y0=50, x1=150, y1=150))
    except InputError as error:
        assert error.code == "select.nothing"
    else:
        assert Box(x0=48, y0=48, x1=152, y1=152).contains(found.box)


def test_real_things() -> None:
    """Boxes and scribbles on photos; the true shapes are plain enough to be written down."""
    coffee = Photo(pixels=np.ascontiguousarray(data.coffee()))
    saucer = whole(smart_box(coffee, Box(x0=60, y0=5, x1=500, y1=395)), coffee.size)
    truth = np.zeros(coffee.size.shape, np.uint8)
    cv2.ellipse(truth, (277, 227), (204, 160), 0, 0, 360, 1, -1)
    cv2.ellipse(truth, (288, 110), (112, 92), 0, 0, 360, 1, -1)
    assert overlap(saucer, truth > 0) > 0.93
    astronaut = Photo(pixels=np.ascontiguousarray(data.astronaut()))
    badge = whole(smart_box(astronaut, Box(x0=130, y0=340, x1=210, y1=430)), astronaut.size)
    truth = np.zeros(astronaut.size.shape, np.uint8)
    cv2.circle(truth, (169, 384), 37, 1, -1)
    assert overlap(badge, truth > 0) > 0.9
    rocket = Photo(pixels=np.ascontiguousarray(data.rocket()))
    found = smart_scribble(rocket, [[(322, 140), (322, 380)]])
    assert 300 < found.box.x0 < found.box.x1 < 350
    assert found.box.y0 < 135
