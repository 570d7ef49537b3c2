"""The contract that every engine keeps, built in or plugged in."""

import threading
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from reknit.core.errors import Cancelled
from reknit.core.fit import fit
from reknit.core.geometry import Size
from reknit.core.options import check_all
from reknit.core.progress import CancelToken, Reporter
from reknit.engines.base import Crop, Engine
from tests.patience import quick

from .conftest import crop, crop_of, texture

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers


def run(
    engine: Engine, given: Crop, *, seed: int = 1, threads: int = 1, reporter: Reporter | None = None
) -> NDArray:
    """Return what an engine makes of a crop at a size that it takes, outside the hole as it was.

    Networks draw the whole crop anew; what matches their colours to it wants to see that, and what is outside the
    hole is never used.
    """
    params = check_all(engine.spec.options, {}, owner="test")
    at = fit(Size.of(given.hole.shape), engine.spec.size_rule)
    holes = {name: at.apply_hole(getattr(given, name)) for name in ("hole", "target", "source")}
    if holes["hole"].all():  # scaled down, each pixel covers some of the hole: the pipeline does this too
        holes["hole"] = ~at.apply_hole(~given.hole)
        holes["target"] &= holes["hole"]
    holes["source"] = holes["source"] & ~holes["hole"]
    fitted = crop_of(at.apply(given.pixels), **holes)
    filled = engine.load(threads=threads).run(fitted, params, seed, reporter or Reporter())
    assert filled.shape == fitted.pixels.shape
    assert filled.dtype == fitted.pixels.dtype
    filled = at.undo(filled)
    return np.where(given.hole[..., None], filled, given.pixels) if engine.spec.match_rim else filled


def invents(engine: Engine) -> None:
    """Skip what cannot be asked of a random model that paints anew; the pipeline keeps grey photos grey for all."""
    if engine.spec.name == "diffusion":
        pytest.skip("a random model draws noise")


def hole_of(kind: str, height: int, width: int) -> NDArray[np.bool_]:
    hole = np.zeros((height, width), bool)
    rng = np.random.default_rng(7)
    match kind:
        case "middle":
            hole[height // 3 : height // 2 + 1, width // 3 : width // 2 + 1] = True
        case "border":
            hole[: height // 3, : width // 2] = True
        case "corner":
            hole[-height // 4 :, -width // 4 :] = True
        case "side":
            hole[:, width // 2 :] = True
        case "one":
            hole[height // 2, width // 2] = True
        case "all-but-one":
            hole[:] = True
            hole[height // 2, width // 3] = False
        case "checkerboard":
            hole[::2, ::2] = hole[1::2, 1::2] = True
        case "specks":
            hole[rng.integers(0, height, 2000), rng.integers(0, width, 2000)] = True
        case "frame":
            hole[:] = True
            hole[height // 4 : -height // 4, width // 4 : -width // 4] = False
        case "scratch":
            steps = np.arange(height)
            hole[steps, (steps * width) // height] = True
    return hole


KINDS = (
    "middle",
    "border",
    "corner",
    "side",
    "one",
    "all-but-one",
    "checkerboard",
    "specks",
    "frame",
    "scratch",
)


@pytest.mark.parametrize("kind", KINDS)
def test_fills_every_kind_of_hole_and_nothing_else(engine: Engine, kind: str) -> None:
    pixels, hole = texture(97, 131, 3, np.uint8), hole_of(kind, 97, 131)
    before = pixels.copy()
    given = crop(pixels, hole)
    filled = run(engine, given)
    assert filled.shape == before.shape
    assert filled.dtype == before.dtype
    assert np.array_equal(given.pixels, before), "the input was touched"
    assert np.array_equal(filled[~hole], before[~hole])


@pytest.mark.parametrize("kind", ["middle", "border", "specks", "frame"])
def test_what_lies_in_the_hole_has_no_influence(engine: Engine, kind: str) -> None:
    pixels, hole = texture(64, 81, 3, np.uint8), hole_of(kind, 64, 81)
    other = pixels.copy()
    other[hole] = 255 - other[hole]
    assert np.array_equal(run(engine, crop(pixels, hole)), run(engine, crop(other, hole)))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3), (5, 5), (7, 64), (63, 17), (129, 65)])
def test_odd_sizes(engine: Engine, shape: tuple[int, int]) -> None:
    pixels = texture(*shape, 3, np.uint8)
    hole = np.zeros(shape, bool)
    hole[shape[0] // 2, shape[1] // 2] = shape != (1, 1)
    filled = run(engine, crop(pixels, hole))
    assert filled.shape == pixels.shape
    assert np.array_equal(filled[~hole], pixels[~hole])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
def test_depths_and_alpha(engine: Engine, dtype: type, channels: int) -> None:
    if not engine.spec.native_depth:
        assert channels in (3, 4)
        return
    pixels, hole = texture(60, 70, channels, dtype), hole_of("middle", 60, 70)
    filled = run(engine, crop(pixels, hole))
    assert filled.dtype == dtype
    assert filled.shape == pixels.shape
    assert np.array_equal(filled[~hole], pixels[~hole])
    top = np.iinfo(dtype).max
    assert abs(float(filled[hole].mean()) - float(pixels[hole].mean())) < 0.2 * top


def test_grey_stays_grey(engine: Engine) -> None:
    invents(engine)
    grey = np.repeat(texture(60, 70, 1, np.uint8), 3, axis=2)
    filled = run(engine, crop(np.ascontiguousarray(grey), hole_of("middle", 60, 70)))
    assert np.array_equal(filled[..., 0], filled[..., 1])
    assert np.array_equal(filled[..., 0], filled[..., 2])


def test_a_flat_photo_is_filled_flat(engine: Engine) -> None:
    invents(engine)
    pixels = np.full((50, 60, 3), (10, 200, 90), np.uint8)
    hole = hole_of("middle", 50, 60)
    damaged = pixels.copy()
    damaged[hole] = 255
    difference = np.abs(run(engine, crop(damaged, hole)).astype(int) - pixels)
    assert difference.max() <= 1


@pytest.mark.parametrize("kind", ["middle", "side", "specks"])
def test_same_seed_same_bytes_at_any_thread_count(engine: Engine, kind: str) -> None:
    pixels, hole = texture(160, 190, 3, np.uint8), hole_of(kind, 160, 190)
    one, again, two, four = (run(engine, crop(pixels, hole), threads=n) for n in (1, 1, 2, 4))
    assert np.array_equal(one, again)
    assert np.array_equal(one, two)
    assert np.array_equal(one, four)


def test_another_seed_gives_another_fill(engine: Engine) -> None:
    pixels, hole = texture(160, 190, 3, np.uint8), hole_of("middle", 160, 190)
    same = np.array_equal(run(engine, crop(pixels, hole), seed=1), run(engine, crop(pixels, hole), seed=2))
    assert same is not engine.spec.seeded


def test_only_the_target_has_to_be_filled(engine: Engine) -> None:
    pixels, hole = texture(90, 90, 3, np.uint8), hole_of("specks", 90, 90) | hole_of("middle", 90, 90)
    target = hole.copy()
    target[:, 45:] = False
    filled = run(engine, crop(pixels, hole, target))
    assert np.array_equal(filled[~hole], pixels[~hole])


def test_cancel_is_honoured_within_a_second(engine: Engine) -> None:
    pixels, hole = texture(1400, 1400, 3, np.uint8), hole_of("frame", 1400, 1400)

    def cancelled() -> float:
        token = CancelToken()
        cancelled_at = []

        def cancel() -> None:
            cancelled_at.append(time.perf_counter())
            token.cancel()

        threading.Timer(0.3, cancel).start()
        with pytest.raises(Cancelled):
            run(engine, crop(pixels, hole), reporter=Reporter(None, token))
        return time.perf_counter() - cancelled_at[0]

    quick(1.0, cancelled)


def test_progress_rises_to_the_end(engine: Engine) -> None:
    seen: list[float] = []
    run(
        engine,
        crop(texture(300, 300, 3, np.uint8), hole_of("frame", 300, 300)),
        reporter=Reporter(lambda step: seen.append(step.fraction)),
    )
    assert seen
    assert seen == sorted(seen)
    assert 0 <= seen[0] <= seen[-1] <= 1
