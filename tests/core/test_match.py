import numpy as np
import pytest

from reknit.core.match import grain_covariance, match_rim, membrane


def scene(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([90 + y / 8, 110 + x / 12, 100 + (x + y) / 20], axis=-1)


def disc(height: int, width: int, radius: float) -> np.ndarray:
    y, x = np.ogrid[:height, :width]
    return (y - height / 2) ** 2 + (x - width / 2) ** 2 < radius**2


def as_photo(values: np.ndarray, dtype: type) -> np.ndarray:
    scale = np.iinfo(dtype).max / 255
    return np.clip(np.rint(values * scale), 0, np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_colour_cast_that_varies_over_the_picture_is_taken_off(dtype):
    truth = scene(300, 360)
    y, x = np.mgrid[:300, :360].astype(np.float32)
    cast = np.stack([8 + x / 60, -10 + y / 50, 4 - x / 90], axis=-1)
    hole = disc(300, 360, 90)
    original = as_photo(np.where(hole[..., None], 255, truth), dtype)
    filled = as_photo(truth + cast, dtype)
    scale = np.iinfo(dtype).max / 255
    matched = match_rim(filled, original, hole, rng=np.random.default_rng(0)) / scale
    assert np.abs(matched - truth)[hole].max() < 1.5
    assert np.abs(filled / scale - truth)[hole].max() > 8


def test_texture_and_gradients_of_the_fill_stay():
    rng = np.random.default_rng(0)
    hole = disc(200, 240, 60)
    texture = rng.normal(0, 12, (200, 240, 3)).astype(np.float32)
    original = as_photo(scene(200, 240) + rng.normal(0, 12, (200, 240, 3)), np.uint8)
    filled = scene(200, 240) + texture + 15
    matched = match_rim(filled, original, hole, grain=False, rng=rng)
    change = matched - filled
    assert np.abs(change[hole].mean(axis=0) + 15).max() < 2
    steps = np.abs(np.diff(change, axis=1))[hole[:, 1:] & hole[:, :-1]]
    assert steps.max() < 1.0  # texture steps are about 14
    inner = disc(200, 240, 40)
    assert np.abs(np.diff(change, axis=1))[inner[:, 1:]].max() < 0.3


def test_a_fill_that_already_matches_is_left_as_it_is():
    original = as_photo(scene(120, 150), np.uint8)
    matched = match_rim(original, original, disc(120, 150, 30), rng=np.random.default_rng(0))
    assert np.abs(matched - original).max() < 0.5


def test_other_unknown_pixels_are_not_trusted():
    truth = scene(160, 200)
    hole = disc(160, 200, 30)
    unknown = hole.copy()
    unknown[:, 120:] = True
    original = as_photo(truth, np.uint8)
    original[unknown] = 255
    matched = match_rim(truth + 10, original, hole, unknown=unknown, rng=np.random.default_rng(0))
    assert np.abs(matched - truth)[hole].max() < 1.5


def test_without_known_surroundings_nothing_is_done():
    filled = as_photo(scene(40, 50), np.uint8)
    everything = np.ones((40, 50), np.bool_)
    matched = match_rim(filled, filled // 2, everything, rng=np.random.default_rng(0))
    assert np.array_equal(matched, filled)


@pytest.mark.parametrize("sigma", [2.0, 5.0])
def test_missing_grain_is_added_in_the_measure_of_the_surroundings(sigma):
    rng = np.random.default_rng(1)
    hole = disc(300, 300, 80)
    grain = rng.normal(0, sigma, (300, 300, 3))
    original = as_photo(scene(300, 300) + grain, np.uint8)
    smooth = scene(300, 300)
    matched = match_rim(smooth, original, hole, rng=np.random.default_rng(2))
    added = (matched - smooth)[disc(300, 300, 70)]
    assert added.std(axis=0) == pytest.approx([sigma] * 3, rel=0.2)
    assert np.abs(added.mean(axis=0)).max() < 1
    grainy = scene(300, 300) + np.random.default_rng(3).normal(0, sigma, (300, 300, 3))
    kept = match_rim(grainy.astype(np.float32), original, hole, rng=np.random.default_rng(2))
    assert (kept - grainy)[disc(300, 300, 70)].std() < 0.45 * sigma


def test_grey_grain_stays_grey():
    rng = np.random.default_rng(4)
    original = as_photo(scene(300, 300) + rng.normal(0, 5, (300, 300, 1)), np.uint8)
    hole = disc(300, 300, 80)
    added = (match_rim(scene(300, 300), original, hole, rng=rng) - scene(300, 300))[hole]
    assert np.corrcoef(added.T)[0, 1] > 0.95


def test_the_same_generator_gives_the_same_bytes_and_inputs_stay():
    rng = np.random.default_rng(5)
    original = as_photo(scene(200, 200) + rng.normal(0, 5, (200, 200, 3)), np.uint8)
    filled = as_photo(scene(200, 200), np.uint8)
    hole = disc(200, 200, 50)
    before = (original.copy(), filled.copy(), hole.copy())
    for array in (original, filled, hole):
        array.flags.writeable = False
    one, two = (match_rim(filled, original, hole, rng=np.random.default_rng(9)) for _ in range(2))
    assert np.array_equal(one, two)
    assert all(np.array_equal(a, b) for a, b in zip(before, (original, filled, hole), strict=True))


def test_the_membrane_is_harmonic_between_what_is_known():
    """Between two known sides of a strip it is the straight ramp."""
    values = np.zeros((60, 200, 1), np.float32)
    known = np.zeros((60, 200), np.bool_)
    known[:, :10] = known[:, -10:] = True
    values[:, -10:] = 100
    field = membrane(values, known)[30, :, 0]
    ramp = np.clip((np.arange(200) - 9) / 181 * 100, 0, 100)
    assert np.abs(field - ramp)[15:185].max() < 6  # it bends near what is known, which is averaged


def test_edges_and_shading_are_not_grain():
    y, x = np.mgrid[:120, :120].astype(np.float32)
    picture = (x * 2 + 60 * (y > 60))[..., None].repeat(3, axis=2)
    covariance = grain_covariance(picture, np.ones((120, 120), np.bool_))
    assert covariance is not None
    assert np.abs(covariance).max() < 0.01
    assert grain_covariance(picture, np.zeros((120, 120), np.bool_)) is None
    assert grain_covariance(picture[:5], np.ones((5, 120), np.bool_)) is None
