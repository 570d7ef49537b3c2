import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import distance_transform_edt
from tests.oracles.distance import distance

from reknit import _native

masks = arrays(np.bool_, st.tuples(st.integers(1, 24), st.integers(1, 24)))


@given(masks)
def test_is_the_brute_force_distance_to_the_last_bit(mask):
    assert np.array_equal(_native.distance_transform(mask), distance(mask))


@pytest.mark.parametrize("share", [0.0005, 0.02, 0.6])
def test_agrees_with_scipy_on_a_large_picture(share):
    mask = np.random.default_rng(1).random((517, 700)) < share
    np.testing.assert_allclose(_native.distance_transform(mask), distance_transform_edt(~mask), rtol=1e-6)


def test_the_same_bytes_at_any_number_of_threads():
    mask = np.random.default_rng(2).random((700, 1030)) < 0.001
    one = _native.distance_transform(mask, 1)
    assert all(np.array_equal(one, _native.distance_transform(mask, n)) for n in (2, 4))


def test_takes_a_view_of_a_larger_mask():
    whole = np.random.default_rng(3).random((60, 80)) < 0.05
    view = whole[10:40, 20:70]
    assert np.array_equal(_native.distance_transform(view), _native.distance_transform(view.copy()))


def test_far_distances_are_exact():
    mask = np.zeros((3, 60000), np.bool_)
    mask[0, 0] = True
    assert _native.distance_transform(mask)[2, 59999] == np.float32(np.hypot(2, 59999))


def test_refuses_what_is_not_a_bool_picture():
    for wrong in (np.zeros((3, 3), np.uint8), np.zeros(3, np.bool_), np.zeros((3, 3), np.bool_).T[:, ::2]):
        with pytest.raises((TypeError, ValueError)):
            _native.distance_transform(wrong)
