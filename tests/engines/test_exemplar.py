"""The exemplar engine's options, presets and errors; the contract is tested for every engine elsewhere."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from tests.patience import quick

from reknit.core.errors import Cancelled, InputError
from reknit.core.options import check_all
from reknit.core.progress import CancelToken, Reporter
from reknit.engines.base import Crop
from reknit.engines.exemplar import EXEMPLAR
from reknit.engines.variants import Variant, sheet, variants


def crop(pixels: np.ndarray, hole: np.ndarray, source: np.ndarray | None = None) -> Crop:
    return Crop(pixels=pixels, hole=hole, target=hole, source=~hole if source is None else source)


def run(given: Crop, *, seed: int = 0, threads: int = 1, reporter: Reporter | None = None, **options: Any):
    params = check_all(EXEMPLAR.spec.options, options, owner="exemplar")
    return EXEMPLAR.load(threads=threads).run(given, params, seed, reporter or Reporter())


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, np.ndarray]:
    """A (90, 110) picture of stripes that lean one way, and a hole."""
    y, x = np.mgrid[:90, :110]
    rng = np.random.default_rng(6)
    stripes = 120 + 70 * np.sign(np.sin((x + y) / 4.0))
    pixels = np.clip(stripes[..., None] + rng.normal(0, 5, (90, 110, 3)), 0, 255).astype(np.uint8)
    return pixels, (y - 45) ** 2 + (x - 55) ** 2 < 200


def error(filled: np.ndarray, scene: tuple[np.ndarray, np.ndarray]) -> float:
    pixels, hole = scene
    return float(np.abs(filled[hole].astype(int) - pixels[hole]).mean())


@pytest.mark.parametrize("quality", ["draft", "normal", "best"])
def test_each_preset_continues_stripes(scene, quality):
    assert error(run(crop(*scene), quality=quality), scene) < 15


@pytest.mark.parametrize(
    "options",
    [
        {"mirror": True},
        {"rotation": "low"},
        {"rotation": "full"},
        {"scale": True},
        {"color_adaptation": "none"},
        {"color_adaptation": "high"},
        {"color_adaptation": "very-high"},
        {"mirror": True, "rotation": "medium", "scale": True, "color_adaptation": "high", "quality": "draft"},
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [3, 4])
def test_each_option_fills_well_and_touches_nothing_else(scene, options, channels):
    pixels, hole = scene
    if channels == 4:
        pixels = np.dstack([pixels, np.full(hole.shape, 200, np.uint8)])
    filled = run(crop(pixels, hole), **options)
    assert filled.shape == pixels.shape
    assert filled.flags.c_contiguous
    assert np.array_equal(filled[~hole], pixels[~hole])
    assert error(filled[..., :3], scene) < 25
    assert np.array_equal(filled, run(crop(pixels, hole), threads=2, **options))


def test_mirrored_pieces_complete_what_only_a_mirror_shows():
    y, x = np.mgrid[:80, :161]
    lean = np.sin((np.abs(x - 80) + y) / 3.0)  # leans left on one side and right on the other
    pixels = np.repeat((128 + 90 * lean)[..., None], 3, axis=2).astype(np.uint8)
    hole = (x > 92) & (x < 130) & (y > 20) & (y < 60)
    source = ~hole & (x < 80)
    missing = crop(pixels, hole, source)
    without, mirrored = run(missing), run(missing, mirror=True)
    assert error(mirrored, (pixels, hole)) < 0.7 * error(without, (pixels, hole))


def test_turned_pieces_are_used():
    y, x = np.mgrid[:96, :96]
    pixels = np.where(x < 48, np.sin(x / 2.0), np.sin(y / 2.0))
    pixels = np.repeat((128 + 90 * pixels)[..., None], 3, axis=2).astype(np.uint8)
    hole = (x > 60) & (x < 84) & (y > 30) & (y < 60)
    missing = crop(pixels, hole, (x < 46) & ~hole)
    without, turned = run(missing), run(missing, rotation="full")
    assert error(turned, (pixels, hole)) < 0.8 * error(without, (pixels, hole))


def test_relit_pieces_bridge_a_change_of_light():
    y, x = np.mgrid[:80, :120]
    rng = np.random.default_rng(0)
    light = np.where(x < 60, 1.0, 0.75)
    pixels = (np.clip(150 + rng.normal(0, 20, (80, 120, 1)), 0, 255) * light[..., None]).repeat(3, 2)
    pixels = pixels.astype(np.uint8)
    hole = (x > 80) & (x < 100) & (y > 30) & (y < 50)
    missing = crop(pixels, hole, (x < 58) & ~hole)
    off = [
        abs(float(run(missing, color_adaptation=c)[hole].mean()) - float(pixels[hole].mean()))
        for c in ("none", "very-high")
    ]
    assert off[1] < 0.5 * off[0]


def test_deep_crops_keep_their_depth_through_copies(scene):
    pixels, hole = scene
    deep = pixels.astype(np.uint16) * 200
    filled = run(crop(deep, hole), mirror=True, rotation="low", scale=True)
    assert filled.dtype == np.uint16
    assert error(filled, (deep, hole)) < 25 * 200


def test_no_source_means_any_known_pixel(scene):
    pixels, hole = scene
    nothing = np.zeros_like(hole)
    assert np.array_equal(run(crop(pixels, hole, nothing)), run(crop(pixels, hole)))


def test_a_hole_without_surroundings_is_refused(scene):
    pixels, hole = scene
    with pytest.raises(InputError) as caught:
        run(crop(pixels, np.ones_like(hole)))
    assert caught.value.code == "mask.full"


def test_progress_reaches_the_end_and_never_goes_back():
    pixels = np.random.default_rng(3).integers(0, 256, (400, 400, 3)).astype(np.uint8)
    hole = np.zeros((400, 400), bool)
    hole[60:340, 60:340] = True
    seen: list[float] = []
    run(crop(pixels, hole), quality="best", reporter=Reporter(lambda step: seen.append(step.fraction)))
    assert seen[0] == 0
    assert seen[-1] == 1
    assert len(seen) > 5
    assert seen == sorted(seen)


def test_a_cancel_is_honoured_soon():
    pixels = np.random.default_rng(3).integers(0, 256, (900, 900, 3)).astype(np.uint8)
    hole = np.zeros((900, 900), bool)
    hole[60:840, 60:840] = True

    def cancelled() -> float:
        token = CancelToken()
        asked: list[float] = []

        def callback(step: Any) -> None:
            if step.fraction > 0.2 and not asked:
                asked.append(time.perf_counter())
                token.cancel()

        with pytest.raises(Cancelled):
            run(crop(pixels, hole), threads=2, reporter=Reporter(callback, token))
        return time.perf_counter() - asked[0]

    quick(0.5, cancelled)


def test_variants_are_what_was_asked_for():
    assert variants(mirror=False, rotation="none", scale=False, gains=()) == ()
    assert variants(mirror=True, rotation="low", scale=False, gains=(1.2,)) == (
        Variant(mirrored=True),
        Variant(angle=-8),
        Variant(angle=8),
        Variant(gain=1.2),
    )


def test_a_sheet_holds_the_crop_and_copies_of_what_may_be_copied(scene):
    pixels, hole = scene
    made = sheet(crop(pixels, hole), [Variant(mirrored=True), Variant(angle=90)])
    height, width = hole.shape
    assert np.array_equal(made.pixels[:height, :width], pixels)
    assert np.array_equal(made.hole[:height, :width], hole)
    assert not made.target[height:].any()
    assert not (made.source & made.hole).any()
    copies = made.source[height:].sum()
    assert 1.9 * (~hole).sum() < copies <= 2 * (~hole).sum()
    mirrored = made.pixels[height + 64 : 2 * height + 64, :width]
    assert np.array_equal(mirrored, pixels[:, ::-1])


def test_a_large_crop_is_copied_only_around_its_hole():
    pixels = np.zeros((3000, 3000, 3), np.uint8)
    hole = np.zeros((3000, 3000), bool)
    hole[2500:2510, 100:110] = True
    made = sheet(crop(pixels, hole), [Variant(mirrored=True)])
    assert made.hole.shape[0] < 3000 + 2100


def facade(height: int = 300, width: int = 420) -> np.ndarray:
    """Windows at equal steps on a plain wall with grain."""
    y, x = np.mgrid[:height, :width]
    window = (x % 60 > 14) & (x % 60 < 44) & (y % 72 > 16) & (y % 72 < 58)
    bars = (x % 60 == 29) | (y % 72 == 37)
    grain = np.random.default_rng(4).normal(0, 3, (height, width, 1))
    colours = np.where((window & ~bars)[..., None], (52, 70, 88), (196, 170, 128)) + grain
    return np.clip(colours, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("quality", ["draft", "normal"])
def test_what_repeats_is_put_where_it_belongs(quality):
    pixels = facade()
    hole = np.zeros(pixels.shape[:2], bool)
    hole[95:205, 130:290] = True
    filled = run(crop(np.where(hole[..., None], 0, pixels).astype(np.uint8), hole), quality=quality)
    wrong = np.abs(filled[hole].astype(int) - pixels[hole]).max(1) > 40
    assert wrong.mean() < 0.03


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_nothing_foreign_is_put_before_a_wall(seed):
    data = pytest.importorskip("skimage.data")
    photo = data.astronaut()
    y, x = np.mgrid[:512, :512]
    rocket = ((x - 425) / 80) ** 2 + ((y - 140) / 155) ** 2 < 1
    filled = run(crop(photo, rocket), seed=seed)
    wall = rocket & (y < 180)
    assert (filled[wall].mean(1) < 110).mean() < 0.01  # hair and suit are darker than any wall
