"""A fill as a whole: what engines are given, what comes back, and how it can be stopped."""

from __future__ import annotations

import signal
import threading
import time

import numpy as np
import pytest

import reknit
from reknit.core.errors import Cancelled, EngineFailed, Unavailable
from reknit.core.image import Photo
from reknit.core.mask import Mask
from reknit.core.progress import CancelToken, Step
from reknit.core.request import FillRequest
from reknit.engines.base import EngineSpec
from reknit.pipeline.plan import plan_fill
from tests.patience import PATIENCE_S, quick

from .odd_engines import OddEngine, fixed, learned, mean, noise, offered, wild


def photo_of(height: int, width: int, dtype: type = np.uint8, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Return waves with grain, far from black and white."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    level = 0.5 + 0.2 * np.sin(x / 7 + y / 19) + 0.1 * np.cos(y / 5)
    level = level[..., None] * rng.uniform(0.8, 1.0, channels) + rng.normal(
        0, 0.02, (height, width, channels)
    )
    return (np.clip(level, 0.05, 0.95) * np.iinfo(dtype).max).astype(dtype)


def box(height: int, width: int, top: int, left: int, high: int, wide: int) -> np.ndarray:
    hole = np.zeros((height, width), bool)
    hole[top : top + high, left : left + wide] = True
    return hole


def specks(height: int, width: int, count: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hole = np.zeros((height, width), bool)
    y, x = rng.integers(0, height - 3, count), rng.integers(0, width - 3, count)
    for dy in range(3):
        for dx in range(3):
            hole[y + dy, x + dx] = True
    return hole


# What engines are given


def test_an_8_bit_engine_of_fixed_size_fills_a_16_bit_photo_with_alpha() -> None:
    engine = fixed(mean)
    pixels = np.full((200, 300, 4), 257 * 100, np.uint16)
    pixels[..., 1] = 257 * 30
    pixels[..., 3] = 65535
    hole = box(200, 300, 50, 80, 60, 90)
    damaged = pixels.copy()
    damaged[hole] = 0
    with offered(engine):
        result = reknit.fill(damaged, hole, engine="fixed", grow=0)
    assert {crop.pixels.shape for crop in engine.crops} == {(64, 64, 3)}
    assert {crop.pixels.dtype.name for crop in engine.crops} == {"uint8"}
    assert np.array_equal(result.to_numpy(), pixels)


@pytest.mark.parametrize("name", ["fixed", "learned"])
@pytest.mark.parametrize("mask", ["checkerboard", "all-but-one", "most"])
def test_engines_always_see_something_known(name: str, mask: str) -> None:
    hole = np.zeros((90, 130), bool)
    if mask == "checkerboard":
        hole[::2, ::2] = hole[1::2, 1::2] = True
    elif mask == "all-but-one":
        hole[:] = True
        hole[80, 7] = False
    else:
        hole[4:-4, 4:-4] = True
    flat = np.full((90, 130, 3), (90, 120, 40), np.uint8)
    damaged = flat.copy()
    damaged[hole] = 255
    engine = fixed(mean) if name == "fixed" else learned(mean)
    with offered(engine):
        result = reknit.fill(damaged, hole, engine=name)
    assert np.abs(result.to_numpy().astype(int) - flat).max() <= 2


def test_a_hole_too_large_for_an_engine_is_tiled_and_tiles_see_each_other() -> None:
    engine = learned(mean)
    hole = box(160, 160, 30, 30, 100, 100)
    with offered(engine):
        result = reknit.fill(photo_of(160, 160), hole, engine="learned")
    assert len(result.plan.regions) > 4
    assert all(context.area <= 48 * 48 for _, context in result.plan.regions)
    assert result.report.max_residue == 0
    covered = np.zeros(hole.shape, int)
    for hole_box, _ in result.plan.regions:
        covered[hole_box.slices] += 1
    assert (covered[hole] == 1).all()


def test_a_tiled_hole_has_no_seam_where_tiles_meet() -> None:
    """Tiles of constants, blended, may not fall back to what the hole held."""
    engine = learned(mean)
    flat = np.full((200, 200, 3), 80, np.uint8)
    hole = box(200, 200, 40, 40, 120, 120)
    damaged = flat.copy()
    damaged[hole] = 255
    with offered(engine):
        filled = reknit.fill(damaged, hole, engine="learned", grow=0, feather=7).to_numpy()
    assert np.abs(filled.astype(int) - 80).max() <= 1


def test_a_ring_is_as_wide_as_asked_even_around_a_speck() -> None:
    hole = box(200, 200, 100, 100, 1, 1)
    spec = EngineSpec(name="white", title="white", context_min_px=4, native_depth=True)
    white = OddEngine(spec=spec, answer=lambda crop, seed, report: np.full_like(crop.pixels, 255))
    with offered(white):
        result = reknit.fill(np.zeros((200, 200, 3), np.uint8), hole, engine="white", grow=0, feather=60)
    changed = result.to_numpy()[100, :, 0] > 0
    assert result.report.ring_px > 50
    assert changed[100 - 50 : 100 + 51].all()
    assert (np.diff(result.to_numpy()[100, 100:, 0].astype(int)) <= 0).all()


def test_grey_photos_stay_grey_whatever_the_engine_makes() -> None:
    grey = photo_of(90, 110, channels=1)[..., 0]
    for engine in (fixed(), learned(noise), wild()):
        with offered(engine):
            filled = reknit.fill(grey, box(90, 110, 30, 30, 30, 40), engine=engine.spec.name).to_numpy()
        assert (filled == filled[..., :1]).all()


@pytest.mark.parametrize("engine", ["exemplar", "telea", "fixed"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_hole_from_alpha_comes_back_opaque_and_plausible(engine: str, dtype: type) -> None:
    top = np.iinfo(dtype).max
    photo = photo_of(120, 150, dtype, channels=4)
    photo[..., 3] = top
    hole = box(120, 150, 40, 50, 30, 25)
    photo[hole] = 0
    with offered(fixed(mean)):
        result = reknit.fill(photo, hole_from_alpha(photo), engine=engine)
    filled = result.to_numpy()
    assert (filled[..., 3] == top).all()
    assert abs(float(filled[hole][:, :3].mean()) / top - float(photo[~hole][:, :3].mean()) / top) < 0.12


def hole_from_alpha(photo: np.ndarray) -> Mask:
    return Mask.from_alpha(np.ascontiguousarray(photo[..., 3]))


@pytest.mark.parametrize("mask", ["all-but-one", "checkerboard"])
def test_a_hole_that_cannot_grow_is_filled_as_it_is_and_says_so(mask: str) -> None:
    hole = np.ones((40, 50), bool)
    if mask == "all-but-one":
        hole[20, 20] = False
    else:
        hole[::2, ::2] = hole[1::2, 1::2] = False
    result = reknit.fill(photo_of(40, 50), hole, engine="exemplar")
    assert result.plan.grow_px == 0
    assert result.plan.hole_px == hole.sum()
    assert any("not grown" in note for note in result.notes)


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom", "corners"])
def test_holes_at_borders_are_filled(side: str) -> None:
    hole = np.zeros((90, 120), bool)
    {
        "left": hole[:, :30], "right": hole[:, -30:], "top": hole[:25], "bottom": hole[-25:],
        "corners": hole[::89, ::119],
    }[side][...] = True  # fmt: skip
    photo = photo_of(90, 120)
    damaged = photo.copy()
    damaged[hole] = 255
    filled = reknit.fill(damaged, hole, engine="exemplar").to_numpy()
    assert filled[hole].max() < 255


# Where may be copied from

MAGENTA = (255, 0, 255)


def test_an_excluded_area_is_never_copied_from() -> None:
    photo = photo_of(200, 240)
    photo[:, 130:] = MAGENTA
    hole = box(200, 240, 70, 60, 60, 110)
    source = np.ones(hole.shape, bool)
    source[:, 130:] = False
    filled = reknit.fill(
        photo, hole, source=source, engine="exemplar", grow=0, params={"color_adaptation": "none"}
    ).to_numpy()
    inside = filled[hole].astype(int)
    assert (np.abs(inside - MAGENTA).sum(axis=1) > 100).all()


@pytest.mark.parametrize("mask", ["one box", "specks"])
def test_a_source_far_away_is_found(mask: str) -> None:
    """The crop that suits the hole holds none of the source: the plan looks farther."""
    photo = np.empty((700, 900, 3), np.uint8)
    photo[:] = MAGENTA
    source = box(700, 900, 600, 780, 90, 110)
    photo[source] = (20, 200, 60)
    hole = box(700, 900, 60, 60, 20, 25) if mask == "one box" else specks(700, 900, 40) & ~source
    result = reknit.fill(
        photo, hole, source=source, engine="exemplar", grow=0, params={"color_adaptation": "none"}
    )
    assert (result.to_numpy()[hole] == (20, 200, 60)).all()
    assert any("source" in note for note in result.notes)


# Seeds, variations, threads


def test_count_gives_different_fills_and_each_has_its_own_seed() -> None:
    photo, hole = photo_of(150, 180), box(150, 180, 40, 50, 60, 70)
    three = reknit.fill(photo, hole, engine="exemplar", seed=5, count=3)
    fills = [three.to_numpy(i) for i in range(3)]
    assert not any(np.array_equal(fills[i], fills[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert np.array_equal(fills[2], reknit.fill(photo, hole, engine="exemplar", seed=7).to_numpy())


def test_the_last_seed_wraps_round() -> None:
    photo, hole = photo_of(60, 60), box(60, 60, 20, 20, 20, 20)
    two = reknit.fill(photo, hole, engine="exemplar", seed=2**32 - 1, count=2)
    assert np.array_equal(two.to_numpy(1), reknit.fill(photo, hole, engine="exemplar", seed=0).to_numpy())


def test_seed_minus_one_draws_one_and_reports_it() -> None:
    photo, hole = photo_of(90, 90), box(90, 90, 30, 30, 30, 30)
    drawn = reknit.fill(photo, hole, engine="exemplar", seed=-1)
    assert 0 <= drawn.seed < 2**32
    again = reknit.fill(photo, hole, engine="exemplar", seed=drawn.seed)
    assert np.array_equal(drawn.to_numpy(), again.to_numpy())


@pytest.mark.parametrize("name", ["exemplar", "telea", "wild", "learned"])
@pytest.mark.parametrize("mask", ["specks", "both"])
def test_threads_do_not_change_a_byte(name: str, mask: str) -> None:
    height, width = (120, 140) if name == "learned" else (700, 900)
    photo = photo_of(height, width)
    hole = specks(height, width, height // 12)
    if mask == "both":
        hole |= box(height, width, height // 4, width // 4, height // 4, width // 4)
    with offered(wild(feather_px=4), learned()):
        fills = [reknit.fill(photo, hole, engine=name, threads=n).to_numpy() for n in (1, 2, 4)]
    assert np.array_equal(fills[0], fills[1])
    assert np.array_equal(fills[0], fills[2])


def test_sessions_are_loaded_once_a_worker_and_used_again() -> None:
    engine = wild(context_min_px=16)
    with offered(engine):
        reknit.fill(photo_of(1200, 1200), specks(1200, 1200, 40), engine="wild", threads=2, count=3)
    assert len(engine.crops) > 30
    assert len(engine.loads) <= 3


# Progress, cancelling, failing


@pytest.mark.parametrize("mask", ["box", "specks"])
@pytest.mark.parametrize("threads", [1, 3])
def test_progress_is_told_in_this_thread_and_rises_smoothly_to_one(mask: str, threads: int) -> None:
    def slow(crop, seed, report):
        pause = 0.4 / len(result_regions)
        for k in range(8):
            time.sleep(pause / 8)
            report.step("fill", (k + 1) / 8)
        return crop.pixels

    engine = OddEngine(spec=EngineSpec(name="slow", title="slow", native_depth=True), answer=slow)
    photo = photo_of(500, 500)
    hole = box(500, 500, 100, 100, 200, 200) if mask == "box" else specks(500, 500, 60)
    request = FillRequest(photo=Photo.from_array(photo), mask=Mask.from_bool(hole), engine="telea")
    result_regions = plan_fill(request, threads=1).regions
    seen: list[float] = []
    told_by: set[int] = set()

    def progress(step: Step) -> None:
        seen.append(step.fraction)
        told_by.add(threading.get_ident())

    def widest() -> float:
        seen.clear()
        reknit.fill(photo, hole, engine="slow", threads=threads, progress=progress, count=2)
        assert told_by == {threading.get_ident()}
        assert seen == sorted(seen)
        assert seen[0] == 0
        assert seen[-1] == 1
        return max(np.diff(seen))

    with offered(engine):
        quick(0.4501, widest)


LET_GO = threading.Event()


def stuck(crop, seed, report):
    """Work that does not report before it is let go."""
    LET_GO.wait(PATIENCE_S)
    report.step("fill", 0.5)
    return crop.pixels


@pytest.mark.parametrize("mask", ["box", "specks"])
def test_a_cancel_is_honoured_at_once_even_when_the_engine_does_not_listen(mask: str) -> None:
    engine = OddEngine(spec=EngineSpec(name="stuck", title="stuck", native_depth=True), answer=stuck)
    hole = box(300, 300, 100, 100, 60, 60) if mask == "box" else specks(300, 300, 30)

    def cancelled() -> float:
        token, asked = CancelToken(), []

        def cancel() -> None:
            asked.append(time.perf_counter())
            token.cancel()

        LET_GO.clear()
        threading.Timer(0.1, cancel).start()
        try:
            with pytest.raises(Cancelled):
                reknit.fill(photo_of(300, 300), hole, engine="stuck", threads=2, cancel=token)
            return time.perf_counter() - asked[0]
        finally:
            LET_GO.set()

    with offered(engine):
        quick(0.2, cancelled)


@pytest.mark.parametrize("mask", ["box", "specks"])
def test_ctrl_c_stops_native_work_and_changes_nothing(mask: str) -> None:
    photo = photo_of(1400, 1400)
    before = photo.copy()
    hole = box(1400, 1400, 200, 200, 1000, 1000) if mask == "box" else specks(1400, 1400, 3000)

    def interrupted() -> float:
        asked: list[float] = []

        def interrupt() -> None:
            asked.append(time.perf_counter())
            signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            threading.Timer(0.15, interrupt).start()
            reknit.fill(photo, hole, engine="exemplar", params={"quality": "best"}, threads=2)
        return time.perf_counter() - asked[0]

    quick(0.3, interrupted)
    assert np.array_equal(photo, before)


def test_an_engine_that_crashes_or_breaks_its_contract_is_named() -> None:
    def crash(crop, seed, report):
        raise RuntimeError("no such layer")

    def starve(crop, seed, report):
        raise MemoryError

    photo, hole = photo_of(60, 60), box(60, 60, 20, 20, 10, 10)
    spec = EngineSpec(name="bad", title="bad")
    cases = [
        (crash, EngineFailed, "engine.crashed"),
        (starve, Unavailable, "memory.short"),
        (lambda crop, seed, report: crop.pixels[:-1], EngineFailed, "engine.contract"),
        (lambda crop, seed, report: crop.pixels.astype(float), EngineFailed, "engine.contract"),
    ]
    for answer, error, code in cases:
        with offered(OddEngine(spec=spec, answer=answer)), pytest.raises(error) as caught:
            reknit.fill(photo, hole, engine="bad")
        assert caught.value.code == code
        assert caught.value.facts["engine"] == "bad"


# Which engine


@pytest.mark.parametrize(("thick", "engine"), [(1, "navier-stokes"), (2, "navier-stokes"), (3, "exemplar")])
def test_auto_picks_by_the_thickest_part_and_says_so(thick: int, engine: str) -> None:
    hole = box(120, 150, 20, 10, 1, 100) | box(120, 150, 60, 20, thick, 90)
    result = reknit.fill(photo_of(120, 150), hole)
    assert result.plan.engine == engine
    assert any(engine in note and "2 px" in note for note in result.notes)
