"""Damage is found, clean pictures stay almost unmarked, and every size, depth and option behaves."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from sklearn.datasets import load_sample_image

from reknit.core.errors import Cancelled, InputError
from reknit.core.progress import CancelToken, Reporter
from reknit.pipeline.defects import KINDS, OPTIONS, detect, parse_kinds

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from damage import damage


@pytest.fixture(scope="module")
def cat():
    return skimage.data.chelsea()


@pytest.fixture(scope="module")
def flower():
    return np.ascontiguousarray(load_sample_image("flower.jpg"))


def recall(found, truth):
    return np.count_nonzero(found & truth) / np.count_nonzero(truth)


@pytest.mark.parametrize(("kind", "share"), [("dust", 0.7), ("scratch", 0.55), ("fold", 0.6), ("tear", 0.8)])
def test_drawn_damage_is_found(cat, flower, kind, share):
    shares = []
    for photo in (cat, flower):
        for seed in (31, 33):
            made = damage(photo, seed=seed, kinds=(kind,))
            found = detect(made.pixels, kinds=(kind,))
            shares.append(recall(found.mask, made.truth[kind]))
    assert np.mean(shares) > share


def test_clean_photos_stay_almost_unmarked(cat, flower):
    names = ("astronaut", "coins")
    photos = [cat, flower, *(getattr(skimage.data, name)() for name in names)]
    photos = [np.dstack([photo] * 3) if photo.ndim == 2 else photo for photo in photos]
    marked = [detect(photo).mask.mean() for photo in photos]
    assert np.mean(marked) < 0.003
    assert max(marked) < 0.008


def test_catchlights_stay(cat):
    eyes = np.s_[100:170, 130:330]
    assert detect(cat, kinds=("dust",)).mask[eyes].mean() < 0.002


def test_all_kinds_at_once_mark_little_else(flower):
    made = damage(flower, seed=33)
    found = detect(made.pixels)
    truth = np.logical_or.reduce(list(made.truth.values()))
    near = cv2.dilate(truth.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert recall(found.mask, truth) > 0.75
    assert np.count_nonzero(found.mask & ~near) < 0.002 * truth.size
    assert np.array_equal(found.mask, np.logical_or.reduce([found.by_kind[kind] for kind in KINDS]))


def test_the_mark_covers_a_speck_to_its_soft_edge():
    y, x = np.indices((300, 300))
    pixels = np.dstack([90 + 30 * np.sin(x / 60 + c) + 20 * np.cos(y / 50) for c in range(3)])
    alpha = np.clip(3.5 - np.hypot(x - 150, y - 120), 0, 1)[..., None]
    pixels = np.rint(pixels + alpha * (245 - pixels)).astype(np.uint8)
    found = detect(pixels).mask
    assert found[alpha[..., 0] > 0].all()
    assert np.count_nonzero(found) < 150


def test_more_sensitivity_marks_more(cat):
    made = damage(cat, seed=34)
    areas = [np.count_nonzero(detect(made.pixels, sensitivity=s).mask) for s in (0.0, 0.5, 1.0)]
    assert areas[0] < areas[1] < areas[2]


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 3), (7, 7), (33, 500)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_size_and_depth(shape, dtype):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (*shape, 3)).astype(dtype)
    before = pixels.copy()
    pixels.flags.writeable = False
    found = detect(pixels)
    assert found.mask.shape == shape
    assert found.mask.dtype == np.bool_
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_picture_has_no_damage(level):
    assert not detect(np.full((120, 150, 3), level, np.uint8)).mask.any()


def test_sixteen_bits_find_the_same(flower):
    pixels = damage(flower, seed=35).pixels
    assert np.array_equal(detect(pixels).mask, detect(pixels.astype(np.uint16) * 257).mask)


def test_a_large_scan_is_searched_at_its_own_scale(flower):
    made = damage(flower, seed=36, kinds=("dust", "scratch"))
    size = (flower.shape[1] * 4, flower.shape[0] * 4)
    large = cv2.resize(made.pixels, size, interpolation=cv2.INTER_CUBIC)
    found = detect(large)
    assert found.mask.shape == large.shape[:2]
    truth = np.logical_or(*made.truth.values())
    truth = cv2.resize(truth.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    assert recall(found.mask, truth) > 0.45


def test_kinds_are_kept_apart_and_checked(cat):
    assert set(detect(cat, kinds=("dust",)).by_kind) == {"dust"}
    assert parse_kinds(" dust, fold,dust ") == ("dust", "fold")
    for text in ("", "dust,", "dirt"):
        with pytest.raises(InputError) as caught:
            parse_kinds(text)
        assert caught.value.code == "repair.kind"
        assert "dust" in caught.value.hint
    assert parse_kinds(OPTIONS[1].default) == KINDS


@pytest.mark.parametrize("sensitivity", [-0.1, 1.1, float("nan")])
def test_sensitivity_is_checked(cat, sensitivity):
    with pytest.raises(InputError):
        detect(cat, sensitivity=sensitivity)


def test_progress_rises_and_a_cancel_stops(cat):
    fractions = []
    detect(cat, report=Reporter(lambda step: fractions.append(step.fraction)))
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        detect(cat, report=Reporter(token=token))
