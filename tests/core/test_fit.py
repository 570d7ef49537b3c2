import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reknit.core.fit import SizeRule, covered, covering, fit, resampled
from reknit.core.geometry import Size

sizes = st.builds(lambda w, h: Size(width=w, height=h), st.integers(1, 90), st.integers(1, 90))
rules = st.builds(
    lambda multiple, native, fixed, most: SizeRule(
        multiple=multiple,
        native_px=None if native is None else native * multiple,
        fixed=fixed and native is not None,
        max_px=most and max(most, multiple),
    ),
    st.sampled_from([1, 8, 16]),
    st.sampled_from([None, 2, 4]),
    st.booleans(),
    st.sampled_from([None, 40, 64]),
)


def ramp(size: Size) -> np.ndarray:
    """Return a picture whose samples are the positions of pixel centres, as shares of the sides."""
    y, x = np.mgrid[: size.height, : size.width].astype(np.float32) + np.float32(0.5)
    return np.stack((x / size.width, y / size.height), axis=-1)


@given(sizes, rules, st.integers(0, 2**32 - 1))
def test_the_geometry_is_met_and_undone(size, rule, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (*size.shape, 3), dtype=np.uint8)
    hole = rng.random(size.shape) < 0.1
    fitted = fit(size, rule)
    given_pixels, given_hole = fitted.apply(pixels), fitted.apply_hole(hole)
    assert Size.of(given_pixels.shape) == Size.of(given_hole.shape) == fitted.working
    assert fitted.working.width % rule.multiple == fitted.working.height % rule.multiple == 0
    if rule.fixed:
        assert fitted.working == Size(width=rule.native_px, height=rule.native_px)
    elif rule.max_px is not None:
        assert max(fitted.working.width, fitted.working.height) <= rule.max_px
    assert fitted.undo(given_pixels).shape == pixels.shape
    assert hole.any() == given_hole.any()
    if fitted.scaled == size:
        assert np.array_equal(fitted.undo(given_pixels), pixels)


@given(sizes, st.sampled_from([np.uint8, np.uint16]), st.integers(3, 4))
def test_nothing_is_touched_where_nothing_needs_scaling(size, dtype, channels):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (*size.shape, channels), dtype=dtype)
    fitted = fit(size, SizeRule(multiple=8))
    assert np.array_equal(fitted.undo(fitted.apply(pixels)), pixels)
    assert fit(size, SizeRule()).apply(pixels) is pixels


@pytest.mark.parametrize("native", [64, 96, 200, 333])
def test_pixel_centres_stay_where_they_are(native):
    """A ramp goes to the working size and back without moving by a hundredth of a pixel."""
    size = Size(width=150, height=110)
    fitted = fit(size, SizeRule(native_px=native, multiple=8, max_upscale=3))
    assert fitted.scaled != size
    inner = np.s_[8:-8, 8:-8]
    moved = np.abs(resampled(ramp(size), fitted.scaled) - ramp(fitted.scaled))[inner]
    assert moved.max() < 0.01 / native
    assert np.abs(fitted.undo(fitted.apply(ramp(size))) - ramp(size))[inner].max() < 0.01 / 150


@given(sizes, sizes, st.sampled_from([np.uint8, np.uint16]))
def test_a_flat_picture_stays_flat(old, new, dtype):
    value = np.iinfo(dtype).max - 3
    assert (resampled(np.full((*old.shape, 2), value, dtype), new) == value).all()


@given(sizes, st.integers(1, 6))
def test_shrinking_by_whole_numbers_is_the_mean(size, factor):
    large = Size(width=size.width * factor, height=size.height * factor)
    pixels = np.random.default_rng(1).random((*large.shape, 1), dtype=np.float32)
    mean = pixels.reshape(size.height, factor, size.width, factor, 1).mean(axis=(1, 3))
    np.testing.assert_allclose(resampled(pixels, size), mean, atol=2e-6)


@given(arrays(np.bool_, st.tuples(st.integers(1, 30), st.integers(1, 30))), sizes)
def test_a_hole_is_never_lost(hole, new):
    small = covered(hole, new)
    assert small.shape == new.shape
    y, x = np.nonzero(hole)
    assert small[y * new.height // hole.shape[0], x * new.width // hole.shape[1]].all()
    back = covered(small, Size.of(hole.shape))
    assert not (hole & ~back).any()
    if not hole.any():
        assert not small.any()


def test_undo_refuses_another_size():
    with pytest.raises(ValueError, match="asked for"):
        fit(Size(width=30, height=20), SizeRule(multiple=8)).undo(np.zeros((20, 30, 3), np.uint8))


def test_inputs_are_left_alone():
    pixels = np.random.default_rng(3).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    pixels.flags.writeable = False
    before = pixels.copy()
    fitted = fit(Size.of(pixels.shape), SizeRule(native_px=64, fixed=True))
    fitted.undo(fitted.apply(pixels))
    assert np.array_equal(pixels, before)


@given(sizes, st.integers(100, 4000), st.integers(1, 4))
def test_an_area_is_met_in_the_crops_own_shape(size, least, times):
    rule = SizeRule(multiple=8, areas=(least, least * times), max_upscale=100)
    scaled = fit(size, rule).scaled
    shape = size.width / size.height
    slack = 2 * (scaled.width + scaled.height)  # rounding of both sides
    assert least - slack <= scaled.area <= least * times + slack
    assert abs(scaled.width - scaled.height * shape) <= 1 + shape
    if least <= size.area <= least * times:
        assert scaled == size


def test_a_small_crop_is_not_enlarged_beyond_the_rule():
    assert fit(Size(width=10, height=20), SizeRule(areas=(10**6, 10**6), max_upscale=3)).scaled == Size(
        width=30, height=60
    )


@pytest.mark.parametrize(
    ("had", "wanted"),
    [((4, 4000), (1024, 1024)), ((4000, 4), (64, 1024)), ((30, 40), (8, 8)), ((1, 9), (9, 1))],
)
def test_a_picture_covers_a_size_and_keeps_its_middle(had: tuple[int, int], wanted: tuple[int, int]) -> None:
    pixels = np.zeros((*had, 3), np.uint8)
    pixels[had[0] // 2, had[1] // 2] = 255
    out = covering(pixels, Size(width=wanted[0], height=wanted[1]))
    assert out.shape == (wanted[1], wanted[0], 3)
    bright = np.argwhere(out[..., 0] > 0.5 * out.max())
    assert np.abs((bright.mean(axis=0) + 0.5) / out.shape[:2] - 0.5).max() < 0.3
