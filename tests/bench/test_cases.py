"""The cases are what they say: enough, sized, reproducible, and apart from the tuning set."""

import numpy as np
import pytest

from bench import cases


@pytest.fixture(scope="module")
def held_out():
    return cases.held_out()


@pytest.fixture(scope="module")
def tuning():
    return cases.tuning()


def test_at_least_forty_cases_most_of_them_photos(held_out):
    assert len(held_out) >= 40
    assert sum(case.real for case in held_out) > len(held_out) / 2
    assert len({case.name for case in held_out}) == len(held_out)


def test_holes_cover_five_to_eighteen_percent(held_out, tuning):
    for case in held_out + tuning:
        assert 0.05 <= case.hole.mean() <= 0.18, case.name
        assert case.truth.shape == (*case.hole.shape, 3)


def test_the_hole_hides_the_truth_and_nothing_else(held_out):
    for case in held_out:
        holed = case.holed
        assert (holed[case.hole] == 127).all()
        assert np.array_equal(holed[~case.hole], case.truth[~case.hole])


def test_tuning_uses_other_pictures():
    assert not set(cases.TEST_PHOTOS) & set(cases.TUNING_PHOTOS)
    pictures = [{hash(c.truth.tobytes()) for c in some} for some in (cases.held_out(), cases.tuning())]
    assert not pictures[0] & pictures[1]


def test_cases_are_reproducible(held_out):
    for a, b in zip(held_out, cases.held_out(), strict=True):
        assert a.name == b.name
        assert np.array_equal(a.hole, b.hole)
        assert np.array_equal(a.truth, b.truth)


def test_specks_and_stroke():
    hole = cases.specks(400, 300, np.random.default_rng(0), count=30, radius=3)
    assert 15 * 29 < hole.sum() <= 30 * 29
    assert cases.stroke(400, 300, pixels=int(hole.sum())).sum() == pytest.approx(hole.sum(), rel=0.25)
