import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import distance_transform_edt
from tests.oracles.distance import distance

from reknit.core.errors import InputError
from reknit.core.geometry import Box, Size
from reknit.core.mask import Mask, feather, softness_from_luma

fills = arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 20)))
radii = st.sampled_from([0, 0.5, 1, 1.5, 2, math.sqrt(5), 3.7, 9])


@given(fills)
def test_polarity_is_what_the_constructor_says(fill):
    white = fill.astype(np.uint8) * 255
    unit = fill.astype(np.float32)
    made = [
        Mask.from_bool(fill),
        Mask.from_luma(fill),
        Mask.from_luma(white),
        Mask.from_luma(white.astype(np.uint16) * 257),
        Mask.from_luma(np.dstack([white] * 3)),
        Mask.from_luma(np.dstack([white] * 3 + [np.zeros_like(white)])),
        Mask.from_alpha(255 - white),
        Mask.from_unit(unit),
        Mask.from_bool(~fill).inverted(),
    ]
    assert all(np.array_equal(mask.fill, fill) for mask in made)


def test_a_mask_is_read_only_and_leaves_its_input_alone():
    fill = np.zeros((3, 4), np.bool_)
    mask = Mask.from_bool(fill)
    fill[0, 0] = True
    assert mask.area == 0
    with pytest.raises(ValueError, match="read-only"):
        mask.fill[0, 0] = True


def test_jpeg_noise_stays_on_its_side():
    noisy = np.array([[0, 3, 12, 127, 128, 240, 252, 255]], np.uint8)
    assert Mask.from_luma(noisy).fill.tolist() == [[False] * 4 + [True] * 4]
    soft = softness_from_luma(noisy)
    assert soft[0, :2].tolist() == [0, 0]
    assert soft[0, -2:].tolist() == [1, 1]
    assert 0.4 < soft[0, 3] < 0.6
    assert soft.dtype == np.float32


@pytest.mark.parametrize(
    "make",
    [
        lambda: Mask.from_luma(np.zeros((4, 4), np.float32)),
        lambda: Mask.from_luma(np.zeros((4, 4, 2), np.uint8)),
        lambda: Mask.from_luma(np.zeros(4, np.uint8)),
        lambda: Mask.from_luma(np.zeros((0, 4), np.uint8)),
        lambda: Mask.from_bool(np.zeros((4, 4), np.uint8)),
        lambda: Mask.from_unit(np.full((4, 4), 1.5)),
        lambda: Mask.from_unit(np.full((4, 4), np.nan)),
        lambda: Mask.from_unit(np.zeros((4, 4), np.uint8)),
        lambda: Mask.from_alpha(np.zeros((4, 4, 3), np.uint8)),
    ],
)
def test_arrays_of_another_kind_are_refused(make):
    with pytest.raises(InputError) as caught:
        make()
    assert caught.value.code == "mask.array"
    assert caught.value.hint


def test_boxes_are_clipped():
    mask = Mask.from_boxes(
        Size(width=6, height=4), [Box(x0=-2, y0=1, x1=2, y1=3), Box(x0=9, y0=0, x1=12, y1=2)]
    )
    assert mask.area == 4
    assert mask.box == Box(x0=0, y0=1, x1=2, y1=3)


def test_a_polygon_fills_pixel_centres_by_the_even_odd_rule():
    outer = [(1, 1), (7, 1), (7, 5), (1, 5)]
    inner = [(3, 2), (5, 2), (5, 4), (3, 4)]
    mask = Mask.from_polygons(Size(width=8, height=6), [outer, inner])
    expected = np.zeros((6, 8), np.bool_)
    expected[1:5, 1:7] = True
    expected[2:4, 3:5] = False
    assert np.array_equal(mask.fill, expected)


@given(
    st.lists(st.tuples(st.floats(-5, 25), st.floats(-5, 25)), min_size=3, max_size=7),
)
def test_polygons_agree_with_counting_edges_at_every_centre(corners):
    size = Size(width=19, height=17)
    y, x = np.mgrid[:17, :19] + 0.5
    inside = np.zeros(size.shape, np.bool_)
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        if ay > by:
            ax, ay, bx, by = bx, by, ax, ay
        between = (y >= ay) & (y < by)
        with np.errstate(all="ignore"):
            edge = ax + (y - ay) * ((bx - ax) / (by - ay)) if by > ay else np.full_like(y, np.inf)
        inside ^= between & (edge <= x)
    assert np.array_equal(Mask.from_polygons(size, [corners]).fill, inside)


@pytest.mark.parametrize("corners", [[(0, 0), (1, 1)], [(0, 0), (1, 1), (math.nan, 2)]])
def test_a_polygon_that_is_none_is_refused(corners):
    with pytest.raises(InputError) as caught:
        Mask.from_polygons(Size(width=4, height=4), [corners])
    assert caught.value.code == "mask.polygon"


@given(fills, radii)
def test_growing_and_shrinking_are_exact_discs(fill, px):
    mask = Mask.from_bool(fill)
    assert np.array_equal(mask.grown(px).fill, fill | (distance(fill) <= px))
    assert np.array_equal(mask.shrunk(px).fill, fill & (distance(~fill) > px))


def test_growing_is_exact_across_windows():
    fill = np.random.default_rng(0).random((300, 420)) < 0.0008
    fill[120:140, 100:300] = True
    px = 11.3
    far = distance_transform_edt(~fill)
    assert np.array_equal(Mask.from_bool(fill).grown(px).fill, far <= px)
    assert np.array_equal(Mask.from_bool(~fill).shrunk(px).fill, far > px)


@given(fills, fills)
def test_set_operations(a, b):
    if a.shape != b.shape:
        with pytest.raises(InputError):
            Mask.from_bool(a).united(Mask.from_bool(b))
        return
    one, two = Mask.from_bool(a), Mask.from_bool(b)
    assert np.array_equal(one.united(two).fill, a | b)
    assert np.array_equal(one.intersected(two).fill, a & b)
    assert np.array_equal(one.without(two).fill, a & ~b)


@given(fills)
def test_components_and_box(fill):
    mask = Mask.from_bool(fill)
    parts = mask.components()
    assert sum(part.area for part in parts) == mask.area
    assert (mask.box is None) == (not parts)
    if parts:
        box = parts[0].box
        for part in parts[1:]:
            box = box.united(part.box)
        assert mask.box == box
    assert mask.coverage == pytest.approx(fill.mean())


@pytest.mark.parametrize("width", [20, 64, 100, 333])
def test_resizing_keeps_the_share_that_is_filled(width):
    y, x = np.mgrid[:90, :120]
    mask = Mask.from_bool((y - 40) ** 2 + (x - 60) ** 2 < 30**2)
    resized = mask.resized(Size(width=width, height=width * 3 // 4))
    assert resized.size == Size(width=width, height=width * 3 // 4)
    assert resized.coverage == pytest.approx(mask.coverage, rel=0.03)


def test_feather_is_one_on_the_mask_and_nothing_beyond():
    fill = np.zeros((40, 300), np.bool_)
    fill[18:22, 150:160] = True
    weight = feather(Mask.from_bool(fill), 6)
    far = distance(fill)
    assert (weight[fill] == 1).all()
    assert (weight[far > 6] == 0).all()
    ring = (far > 0) & (far <= 6)
    assert ((weight[ring] > 0) & (weight[ring] < 1)).all()
    order = np.argsort(far[ring])
    assert (np.diff(weight[ring][order]) <= 1e-6).all()


@pytest.mark.parametrize(
    ("fill", "size", "code", "words"),
    [
        (np.ones((4, 6), np.bool_), (7, 4), "mask.size", "--resize-mask"),
        (np.zeros((4, 6), np.bool_), (6, 4), "mask.empty", "--invert"),
        (np.ones((4, 6), np.bool_), (6, 4), "mask.full", "--invert"),
    ],
)
def test_a_mask_that_cannot_be_used_says_what_helps(fill, size, code, words):
    with pytest.raises(InputError) as caught:
        Mask.from_bool(fill).check_against(Size(width=size[0], height=size[1]))
    assert caught.value.code == code
    assert words in caught.value.hint
    if code == "mask.size":
        assert "6×4" in caught.value.message
        assert "7×4" in caught.value.message
