from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.oracles.distance import distance

from reknit.core.composite import Canvas, rim
from reknit.core.geometry import Box
from reknit.core.mask import Mask

masks = arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 20)))
depths = st.sampled_from([np.uint8, np.uint16])


def samples(shape: tuple[int, ...], dtype: type, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@given(masks, st.sampled_from([0, 1, 2, 3.5]), st.sampled_from([0, 1, 4, 7.5]))
def test_the_rim_is_full_inside_and_falls_outward(mask, grow, feather):
    found = rim(mask, grow_px=grow, feather_px=feather)
    far = distance(mask)
    assert np.array_equal(found.hole, far <= grow)
    assert (found.weight[found.hole] == 1).all()
    assert (found.weight[far > grow + feather] == 0).all()
    ring = (far > grow) & (far <= grow + feather)
    assert ((found.weight[ring] > 0) & (found.weight[ring] < 1)).all()


def test_a_crop_has_the_rim_of_the_whole():
    mask = np.random.default_rng(0).random((120, 150)) < 0.01
    whole, part = rim(mask, grow_px=2, feather_px=6), rim(mask[20:100, 30:130], grow_px=2, feather_px=6)
    assert np.array_equal(whole.weight[28:92, 38:122], part.weight[8:-8, 8:-8])
    assert np.array_equal(whole.hole[28:92, 38:122], part.hole[8:-8, 8:-8])


@given(masks, depths, st.integers(3, 4), st.booleans())
def test_paste_blends_rounds_and_stays_inside(mask, dtype, channels, exact):
    before = samples((*mask.shape, channels), dtype)
    kept = before.copy()
    before.flags.writeable = False
    filled = samples(before.shape, dtype, 1)
    weight = rim(mask, grow_px=1, feather_px=0 if exact else 3).weight
    canvas = Canvas(before)
    canvas.paste(Box.whole(canvas.size), filled, weight)
    ideal = before + (filled.astype(np.float64) - before) * weight[..., None].astype(np.float64)
    assert np.abs(canvas.pixels - ideal).max() <= 0.5 + 1e-6
    assert np.array_equal(canvas.pixels[weight == 0], before[weight == 0])
    assert np.array_equal(canvas.pixels[weight == 1], filled[weight == 1])
    assert np.array_equal(before, kept)


@given(masks, depths)
def test_bool_and_float_weights_of_one_hole_agree(mask, dtype):
    before, filled = samples((*mask.shape, 3), dtype), samples((*mask.shape, 3), dtype, 1)
    one, two = Canvas(before), Canvas(before)
    one.paste(Box.whole(one.size), filled, mask)
    two.paste(Box.whole(two.size), filled, mask.astype(np.float32))
    assert np.array_equal(one.pixels, two.pixels)
    assert np.array_equal(one.kept, two.kept)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_floats_are_rounded_and_clipped(dtype):
    canvas = Canvas(np.full((1, 5, 3), 7, dtype))
    top = np.iinfo(dtype).max
    row = np.array([-20.0, 0.49, 0.51, top - 0.4, top + 900.0], np.float32)
    canvas.paste(
        Box(x0=0, y0=0, x1=5, y1=1), np.repeat(row[None, :, None], 3, axis=2), np.ones((1, 5), np.float32)
    )
    assert canvas.pixels[0, :, 0].tolist() == [0, 0, 1, top, top]


def test_alpha_travels_as_the_last_channel():
    pixels, alpha = samples((10, 12, 3), np.uint8), samples((10, 12), np.uint8, 1)
    canvas = Canvas(pixels, alpha)
    box = Box(x0=2, y0=3, x1=8, y1=9)
    crop = canvas.crop(box)
    assert crop.shape == (6, 6, 4)
    assert crop.flags.c_contiguous
    assert not crop.flags.writeable
    assert np.array_equal(crop[..., 3], alpha[3:9, 2:8])
    hole = np.zeros((6, 6), np.bool_)
    hole[2:4, 2:4] = True
    canvas.paste(box, np.full((6, 6, 4), 9, np.uint8), hole)
    assert (canvas.alpha[5:7, 4:6] == 9).all()
    canvas.paste(box, np.full((6, 6, 3), 8, np.uint8), hole)
    assert (canvas.alpha[5:7, 4:6] == 9).all()
    assert (canvas.pixels[5:7, 4:6] == 8).all()
    untouched = np.ones((10, 12), np.bool_)
    untouched[5:7, 4:6] = False
    assert np.array_equal(canvas.alpha[untouched], alpha[untouched])


@given(masks, st.sampled_from([0, 1.5, 2]), st.sampled_from([0, 3]), depths)
def test_the_proof_measures_what_was_done(mask, grow, feather, dtype):
    before = samples((*mask.shape, 3), dtype)
    found = rim(mask, grow_px=grow, feather_px=feather)
    canvas = Canvas(before)
    canvas.paste(Box.whole(canvas.size), samples(before.shape, dtype, 1), found.weight)
    proof = canvas.proof(Mask.from_bool(mask))
    far = distance(mask)
    touched = far <= grow + feather
    assert proof.outside_equal
    assert proof.differing_px == 0
    assert proof.touched_px == touched.sum()
    assert proof.ring_px == pytest.approx(far[touched].max(initial=0))
    assert proof.max_residue == 0


def test_the_proof_sees_a_single_changed_sample_anywhere():
    rng = np.random.default_rng(0)
    mask = np.zeros((97, 131), np.bool_)
    mask[40:50, 60:70] = True
    for dtype in (np.uint8, np.uint16):
        before, alpha = samples((97, 131, 3), dtype), samples((97, 131), dtype, 1)
        for _ in range(20):
            canvas = Canvas(before, alpha)
            canvas.paste(Box.whole(canvas.size), samples((97, 131, 4), dtype, 2), mask)
            y, x = rng.integers(97), rng.integers(131)
            victim = canvas.alpha[..., None] if rng.random() < 0.3 else canvas.pixels
            victim[y, x, rng.integers(victim.shape[2])] ^= 1
            proof = canvas.proof(Mask.from_bool(mask), threads=2)
            assert proof.outside_equal == mask[y, x]
            assert proof.differing_px == (not mask[y, x])


def test_the_proof_sees_what_was_left_of_the_original():
    before = samples((30, 30, 3), np.uint8)
    mask = np.zeros((30, 30), np.bool_)
    mask[10:20, 10:20] = True
    weight = mask.astype(np.float32)
    weight[12, 12] = 0.75
    canvas = Canvas(before)
    canvas.paste(Box.whole(canvas.size), before, weight)
    assert canvas.proof(Mask.from_bool(mask)).max_residue == pytest.approx(0.25, abs=1 / 255)
    # A second fill over it leaves less: shares multiply.
    canvas.paste(Box.whole(canvas.size), before, weight)
    assert canvas.proof(Mask.from_bool(mask)).max_residue == pytest.approx(0.0625, abs=1 / 255)
    weight[12, 12] = 0
    missed = Canvas(before)
    missed.paste(Box.whole(missed.size), before, weight)
    assert missed.proof(Mask.from_bool(mask)).max_residue == 1


def test_the_proof_says_how_far_the_ring_reaches():
    mask = np.zeros((200, 300), np.bool_)
    mask[90:110, 140:160] = True
    weight = mask.astype(np.float32)
    weight[100, 190] = 0.01
    canvas = Canvas(samples((200, 300, 3), np.uint8))
    canvas.paste(Box.whole(canvas.size), canvas.pixels.copy(), weight)
    proof = canvas.proof(Mask.from_bool(mask))
    assert proof.ring_px == 31
    assert replace(proof, ring_px=0).outside_equal


def test_pictures_that_do_not_match_are_refused():
    canvas = Canvas(samples((8, 9, 3), np.uint8))
    canvas.pixels = canvas.pixels[:4]
    with pytest.raises(ValueError, match="do not match"):
        canvas.proof(Mask.from_bool(np.zeros((8, 9), np.bool_)))
