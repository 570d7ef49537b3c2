"""The PDE engines fill thin holes smoothly at every depth and size, touch nothing else and can be stopped."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from tests.patience import quick

from reknit.core.errors import Cancelled, InputError
from reknit.core.options import check_all
from reknit.core.progress import CancelToken, Reporter, Step
from reknit.engines.base import Crop
from reknit.engines.pde import NAVIER_STOKES, TELEA

ENGINES = pytest.mark.parametrize("engine", [TELEA, NAVIER_STOKES], ids=lambda e: e.spec.name)
DTYPES = pytest.mark.parametrize("dtype", [np.uint8, np.uint16])


def crop_of(pixels, hole):
    pixels = np.ascontiguousarray(pixels)
    pixels.flags.writeable = False
    return Crop(pixels=pixels, hole=hole, target=hole, source=~hole)


def fill(engine, pixels, hole, report=None, **given):
    params = check_all(engine.spec.options, given, owner=engine.spec.name)
    return engine.load(threads=1).run(crop_of(pixels, hole), params, 0, report or Reporter())


def wavy(shape, channels, dtype):
    y, x = np.indices(shape)
    planes = [0.5 + 0.3 * np.sin(x / 19 + c) * np.cos(y / 23 - c) for c in range(channels)]
    return (np.stack(planes, axis=2) * np.iinfo(dtype).max).astype(dtype)


@ENGINES
@DTYPES
@pytest.mark.parametrize("channels", [3, 4])
def test_a_scratch_in_a_smooth_field_is_restored(engine, dtype, channels):
    truth = wavy((70, 91), channels, dtype)
    hole = np.zeros((70, 91), bool)
    hole[:, 40:44] = True
    hole[33:35, :] = True
    damaged = truth.copy()
    damaged[hole] = np.iinfo(dtype).max
    out = fill(engine, damaged, hole)
    assert out.dtype == dtype
    assert np.array_equal(out[~hole], truth[~hole])
    error = np.abs(out.astype(float) - truth)[hole] / np.iinfo(dtype).max
    assert error.mean() < 0.012
    assert error.max() < 0.06


@ENGINES
@DTYPES
@pytest.mark.parametrize("where", ["left", "corner", "last column", "all but one pixel", "checkerboard"])
def test_a_flat_field_stays_flat(engine, dtype, where):
    level = np.iinfo(dtype).max // 2 + 3
    hole = np.zeros((40, 51), bool)
    if where == "left":
        hole[:, :7] = True
    elif where == "corner":
        hole[-9:, -9:] = True
    elif where == "last column":
        hole[:, -1] = True
    elif where == "all but one pixel":
        hole[:] = True
        hole[17, 30] = False
    else:
        hole[np.indices(hole.shape).sum(axis=0) % 2 == 0] = True
    pixels = np.full((40, 51, 3), level, dtype)
    pixels[hole] = 0
    out = fill(engine, pixels, hole)
    assert np.abs(out.astype(int) - level).max() <= (0 if dtype == np.uint8 else 12)


@ENGINES
@DTYPES
def test_what_the_hole_held_does_not_matter(engine, dtype):
    truth = wavy((45, 38), 3, dtype)
    hole = np.zeros((45, 38), bool)
    hole[:6, :] = hole[20:24, 5:30] = hole[:, -2:] = True
    fills = []
    for junk in (0, np.iinfo(dtype).max):
        pixels = truth.copy()
        pixels[hole] = junk
        fills.append(fill(engine, pixels, hole))
    assert np.array_equal(*fills)


@ENGINES
@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (1, 30), (30, 1), (2, 3), (3, 3), (5, 64)])
def test_tiny_crops(engine, shape):
    rng = np.random.default_rng(3)
    pixels = rng.integers(90, 111, (*shape, 3)).astype(np.uint8)
    hole = np.zeros(shape, bool)
    hole.flat[: max(1, hole.size // 2)] = True
    pixels[hole] = 255
    out = fill(engine, pixels, hole)
    assert np.array_equal(out[~hole], pixels[~hole])
    assert out[hole].min() >= 80
    assert out[hole].max() <= 120


@ENGINES
def test_an_empty_hole_gives_the_crop_back_and_a_full_one_is_refused(engine):
    pixels = wavy((9, 9), 3, np.uint8)
    assert np.array_equal(fill(engine, pixels, np.zeros((9, 9), bool)), pixels)
    with pytest.raises(InputError) as caught:
        fill(engine, pixels, np.ones((9, 9), bool))
    assert caught.value.code == "mask.full"


@ENGINES
def test_inputs_stay_and_runs_repeat(engine):
    pixels = wavy((60, 60), 3, np.uint8)
    hole = np.zeros((60, 60), bool)
    hole[10:15, 3:50] = True
    before = pixels.copy()
    first = fill(engine, pixels, hole)
    assert np.array_equal(first, fill(engine, pixels, hole))
    assert np.array_equal(pixels, before)


def test_radius_matters_and_is_checked():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60, 60, 3)).astype(np.uint8)
    hole = np.zeros((60, 60), bool)
    hole[20:30, 10:50] = True
    assert not np.array_equal(fill(TELEA, pixels, hole, radius=2), fill(TELEA, pixels, hole, radius=12))
    with pytest.raises(InputError):
        fill(TELEA, pixels, hole, radius=0)


@ENGINES
def test_a_cancel_frees_the_caller_and_progress_keeps_coming(engine):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (900, 900, 3)).astype(np.uint8)
    hole = np.zeros((900, 900), bool)
    hole[20:-20, 20:-20] = True
    steps: list[tuple[float, Step]] = []

    def cancelled() -> float:
        token = CancelToken()
        asked: list[float] = []

        def ask():
            asked.append(time.monotonic())
            token.cancel()

        steps.clear()
        threading.Timer(0.5, ask).start()
        with pytest.raises(Cancelled):
            report = Reporter(lambda s: steps.append((time.monotonic(), s)), token)
            fill(engine, pixels, hole, report, radius=10)
        return time.monotonic() - asked[0]

    quick(0.9, cancelled)
    times = [t for t, _ in steps]
    assert len(times) >= 3
    fractions = [s.fraction for _, s in steps]
    assert fractions == sorted(fractions)
    assert fractions[-1] < 1
