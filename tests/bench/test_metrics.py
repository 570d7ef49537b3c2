"""Metrics agree with scikit-image where it has them, and rank fills as eyes do."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from bench import metrics
from examples import scenes


@pytest.fixture(scope="module")
def truth():
    return scenes.render("gravel", 233, 181, 4)


@pytest.fixture(scope="module")
def hole():
    hole = np.zeros((181, 233), bool)
    hole[60:120, 70:150] = True
    return hole


@pytest.fixture
def noisy(truth):
    noise = np.random.default_rng(0).normal(0, 12, truth.shape)
    return np.clip(truth + noise, 0, 255).astype(np.uint8)


def blurred(picture, hole, reach=3):
    window = np.lib.stride_tricks.sliding_window_view(
        np.pad(picture.astype(float), ((reach, reach), (reach, reach), (0, 0)), mode="edge"),
        (2 * reach + 1, 2 * reach + 1), axis=(0, 1),
    )  # fmt: skip
    out = picture.copy()
    out[hole] = window.mean(axis=(-1, -2))[hole].astype(np.uint8)
    return out


def test_psnr_is_skimages(truth, noisy, hole):
    everywhere = np.ones(hole.shape, bool)
    assert metrics.psnr(noisy, truth, everywhere) == pytest.approx(peak_signal_noise_ratio(truth, noisy))
    assert metrics.psnr(noisy, truth, hole) == pytest.approx(
        peak_signal_noise_ratio(truth[60:120, 70:150], noisy[60:120, 70:150])
    )


def test_ssim_is_skimages(truth, noisy):
    x, y = metrics.luma(truth), metrics.luma(noisy)
    _, expected = structural_similarity(
        x, y, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    np.testing.assert_allclose(metrics.ssim_map(truth, noisy), expected, atol=1e-6)


def test_the_truth_is_perfect(truth, hole):
    scores = metrics.measure(truth, truth, hole)
    assert scores["psnr"] == np.inf
    assert scores["ssim"] == pytest.approx(1)
    assert scores["haarpsi"] == pytest.approx(1)
    for name in ("gmsd", "fd", "swd", "sharpness"):
        assert scores[name] == pytest.approx(0, abs=1e-6), name
    assert set(scores) == set(metrics.HIGHER_IS_BETTER)


@pytest.mark.parametrize("name", [n for n in metrics.HIGHER_IS_BETTER if n not in ("seam", "sharpness")])
def test_more_noise_is_worse(name, truth, noisy, hole):
    slight = truth + (noisy.astype(np.int16) - truth) // 4
    a, b = (metrics.measure(p.astype(np.uint8), truth, hole)[name] for p in (slight, noisy))
    assert (a > b) == metrics.HIGHER_IS_BETTER[name]


@pytest.mark.parametrize("name", ["fd", "swd", "sharpness"])
def test_another_part_of_the_texture_beats_blur(name, truth, hole):
    moved = truth.copy()
    moved[60:120, 70:150] = truth[115:175, 70:150]
    assert (
        metrics.measure(moved, truth, hole)[name] < metrics.measure(blurred(truth, hole), truth, hole)[name]
    )


def test_outside_does_not_count(truth, noisy, hole):
    mixed = np.where(metrics.grown(hole, 40)[..., None], truth, noisy)
    assert metrics.fd(mixed, truth, hole) == pytest.approx(0, abs=1e-6)
    assert metrics.ssim(mixed, truth, hole) == pytest.approx(1)


def test_a_step_at_the_rim_is_a_seam(truth, hole):
    brighter = np.where(hole[..., None], np.minimum(truth, 195) + 60, truth).astype(np.uint8)
    assert metrics.seam(brighter, hole) > metrics.seam(truth, hole) + 0.2


def test_stripes_are_no_seam():
    y, x = np.mgrid[:181, :233]
    hole = (x - 110) ** 2 + (y - 90) ** 2 < 60**2
    stripes = np.tile(np.where(np.arange(233) % 4 < 2, 40, 200).astype(np.uint8)[None, :, None], (181, 1, 3))
    assert metrics.seam(stripes, hole) < 0.15


def test_holes_of_any_size_are_measured(truth):
    for hole in (np.zeros((181, 233), bool), np.zeros((181, 233), bool), np.ones((181, 233), bool)):
        if not hole.any():
            hole[0, 0] = hole[90, 232] = True
        other = truth.copy()
        other[hole] //= 2
        assert all(np.isfinite(v) for v in metrics.measure(other, truth, hole).values())
