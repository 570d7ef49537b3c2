"""The native fill: what must hold for any picture, hole, seed, thread count and instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from bench.metrics import seam
from tests.patience import quick

from reknit import _native


def checkerboard(h: int, w: int) -> np.ndarray:
    return (np.indices((h, w)).sum(0) % 2).astype(bool)


def specks(h: int, w: int, count: int) -> np.ndarray:
    hole = np.zeros(h * w, bool)
    hole[np.random.default_rng(2).choice(h * w, count, replace=False)] = True
    return hole.reshape(h, w)


def all_but_one(h: int, w: int) -> np.ndarray:
    hole = np.ones((h, w), bool)
    hole[h // 2, w // 2] = False
    return hole


def box(h: int, w: int, rows: slice, columns: slice) -> np.ndarray:
    hole = np.zeros((h, w), bool)
    hole[rows, columns] = True
    return hole


HOLES = {
    "one pixel": box(40, 50, slice(20, 21), slice(30, 31)),
    "corner": box(40, 50, slice(0, 13), slice(0, 17)),
    "far corner": box(40, 50, slice(30, 40), slice(41, 50)),
    "across": box(40, 50, slice(10, 24), slice(None)),
    "frame": ~box(40, 50, slice(12, 28), slice(15, 35)),
    "one side": box(40, 90, slice(None), slice(40, 90)),
    "thin": box(40, 300, slice(20, 22), slice(3, 290)),
    "checkerboard": checkerboard(40, 50),
    "specks": specks(120, 160, 2000),
    "all but one": all_but_one(40, 50),
    "tiny": box(3, 3, slice(1, 2), slice(1, 2)),
    "narrow": box(2, 60, slice(None), slice(20, 30)),
    "column": box(70, 1, slice(30, 40), slice(None)),
    "smaller than a patch": box(4, 4, slice(0, 2), slice(0, 4)),
    "barely a patch": box(6, 6, slice(0, 1), slice(0, 1)),
}


@pytest.mark.parametrize("name", HOLES)
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_hole_is_filled_and_nothing_else_changes(fill, name, channels, dtype):
    hole = HOLES[name]
    top = np.iinfo(dtype).max
    # Known samples lie around top / 2; a sample left unfilled would still be 0 or top.
    pixels = (
        np.random.default_rng(1)
        .integers(top * 15 // 32, top * 17 // 32, (*hole.shape, channels))
        .astype(dtype)
    )
    pixels[hole] = checkerboard(*hole.shape)[hole][:, None] * top
    before = pixels.copy()
    out = fill(pixels, hole)
    assert out.dtype == dtype
    assert np.array_equal(out[~hole], pixels[~hole])
    assert np.array_equal(pixels, before)
    assert out[hole].min() > top * 0.2
    assert out[hole].max() < top * 0.8


@pytest.mark.parametrize("name", HOLES)
def test_a_flat_picture_stays_flat(fill, name):
    hole = HOLES[name]
    flat = np.full((*hole.shape, 3), (200, 90, 17), np.uint8)
    pixels = flat.copy()
    pixels[hole] = 255
    assert np.array_equal(fill(pixels, hole), flat)


def test_steps_across_the_rim_are_like_those_beside_it(fill, blob):
    def noisy(seed: int) -> np.ndarray:
        y, x = np.mgrid[:96, :128]
        base = 90 + 60 * (y > 48) + 30 * np.sin(x / 3) + x / 4
        noise = np.random.default_rng(seed).normal(0, 6, (96, 128, 3))
        return np.clip(base[..., None] + [0, 12, -20] + noise, 0, 255).astype(np.uint8)

    def mean_seam(**settings: float) -> float:
        return float(np.mean([seam(fill(noisy(k), blob, **settings), blob) for k in range(8)]))

    assert mean_seam() < 0.03 < mean_seam(screen=-1.0)  # merely copied


def test_what_the_hole_held_has_no_influence(fill, texture, blob):
    other = texture.copy()
    other[blob] = np.random.default_rng(0).integers(0, 256, (int(blob.sum()), 3))
    assert np.array_equal(fill(texture, blob)[blob], fill(other, blob)[blob])


def test_an_empty_hole_changes_nothing(fill, texture):
    assert np.array_equal(fill(texture, np.zeros(texture.shape[:2], bool)), texture)


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_do_not_change_the_bytes(fill, threads):
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (300, 420, 3)).astype(np.uint8)
    hole = box(300, 420, slice(60, 220), slice(90, 300))
    assert np.array_equal(fill(pixels, hole, threads=threads), fill(pixels, hole))


@pytest.mark.parametrize("isa", _native.instruction_sets())
def test_instruction_sets_agree(fill, texture, blob, isa):
    assert np.array_equal(fill(texture, blob, isa=isa), fill(texture, blob, isa="baseline"))


def test_an_unknown_instruction_set_is_refused(fill, texture, blob):
    with pytest.raises(ValueError, match="abacus"):
        fill(texture, blob, isa="abacus")


def test_an_unknown_setting_is_refused(fill, texture, blob):
    with pytest.raises(ValueError, match="magic"):
        fill(texture, blob, magic=1)


def test_seeds_give_different_fills(fill, texture, blob):
    first, second = fill(texture, blob, seed=1), fill(texture, blob, seed=2)
    assert np.array_equal(first, fill(texture, blob, seed=1))
    assert np.abs(first[blob].astype(int) - second[blob]).mean() > 2


def test_only_the_target_is_filled(fill, texture, blob):
    target = blob.copy()
    target[:50] = False
    out = fill(texture, blob, target=target)
    assert np.array_equal(out[~target], texture[~target])
    assert not np.array_equal(out[target], texture[target])


def test_unknown_pixels_outside_the_target_have_no_influence(fill, texture, blob):
    target = blob.copy()
    target[:50] = False
    other = texture.copy()
    other[blob] = 255
    assert np.array_equal(
        fill(texture, blob, target=target)[target], fill(other, blob, target=target)[target]
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_copies_come_only_from_the_source(fill, dtype):
    rng = np.random.default_rng(4)
    scale = np.iinfo(dtype).max // 255
    pixels = (rng.integers(0, 100, (80, 120, 3)) * scale).astype(dtype)
    pixels[:, 60:] += dtype(100 * scale)
    hole = box(80, 120, slice(30, 50), slice(30, 50))
    source = ~hole
    source[:, :60] = False
    out = fill(pixels, hole, source=source, screen=-1)
    allowed = set(map(tuple, pixels[source].tolist()))
    assert set(map(tuple, out[hole].tolist())) <= allowed


def test_alpha_is_copied_along(fill, texture, blob):
    alpha = np.where(np.arange(128) < 64, 255, 40).astype(np.uint8)
    pixels = np.dstack([texture, np.broadcast_to(alpha, texture.shape[:2])])
    out = fill(np.ascontiguousarray(pixels), blob)
    assert set(np.unique(out[blob][:, 3])) <= {40, 255}


def test_deep_pictures_keep_their_depth(fill, texture, blob):
    deep = texture.astype(np.uint16) * 256 + np.random.default_rng(7).integers(0, 256, texture.shape).astype(
        np.uint16
    )
    out = fill(deep, blob, screen=-1)
    known = set(deep[~blob].ravel().tolist())
    assert set(out[blob].ravel().tolist()) <= known
    assert len(set((out[blob] % 256).ravel().tolist())) > 100


def test_progress_rises_to_the_end(fill):
    seen: list[float] = []
    pixels = np.random.default_rng(3).integers(0, 256, (500, 500, 3)).astype(np.uint8)
    fill(pixels, box(500, 500, slice(50, 450), slice(50, 450)), progress=lambda f: seen.append(f) or True)
    assert len(seen) > 3
    assert seen == sorted(seen)
    assert 0 <= seen[0] < 0.5 < seen[-1] <= 1


def test_progress_can_stop_the_work(fill):
    pixels = np.random.default_rng(3).integers(0, 256, (700, 700, 3)).astype(np.uint8)
    hole = box(700, 700, slice(50, 650), slice(50, 650))

    def stopped() -> None:
        assert fill(pixels, hole, progress=lambda f: False, threads=2) is None

    quick(0.5, stopped)


def test_an_exception_from_progress_comes_out(fill):
    def progress(fraction: float) -> bool:
        raise KeyboardInterrupt

    pixels = np.random.default_rng(3).integers(0, 256, (500, 500, 3)).astype(np.uint8)
    with pytest.raises(KeyboardInterrupt):
        fill(pixels, box(500, 500, slice(50, 450), slice(50, 450)), progress=progress, threads=2)


def test_arrays_of_another_kind_are_refused(fill, texture, blob):
    with pytest.raises(TypeError):
        fill(texture.astype(np.float32), blob)
    with pytest.raises(TypeError):
        fill(texture, blob.astype(np.uint8), target=blob, source=~blob)
    with pytest.raises(ValueError, match="large"):
        fill(texture, blob, target=blob[1:], source=~blob)
    with pytest.raises(ValueError, match="channels"):
        fill(np.ascontiguousarray(texture[..., :2]), blob)
