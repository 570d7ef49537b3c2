import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reknit.core.geometry import Box, Size
from reknit.core.region import Region, plan_regions


def specks(count: int, height: int, width: int, side: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hole = np.zeros((height, width), np.bool_)
    for y, x in zip(rng.integers(0, height - side, count), rng.integers(0, width - side, count), strict=True):
        hole[y : y + side, x : x + side] = True
    return hole


def check(hole: np.ndarray, regions: tuple[Region, ...]) -> None:
    """Assert what holds for every plan."""
    covered = np.zeros(hole.shape, np.int32)
    whole = Box.whole(Size.of(hole.shape))
    for region in regions:
        covered[region.hole_box.slices] += 1
        assert region.context_box.contains(region.hole_box)
        assert whole.contains(region.context_box)
        assert hole[region.hole_box.slices].any()
    assert covered.max(initial=0) <= 1
    assert (covered[hole] == 1).all()
    waves = [region.wave for region in regions]
    assert waves == sorted(waves)
    assert set(waves) == set(range(max(waves, default=-1) + 1))
    for i, one in enumerate(regions):
        for other in regions[i + 1 :]:
            if one.wave == other.wave:
                assert not one.context_box.intersects(other.hole_box)
                assert not other.context_box.intersects(one.hole_box)


def megapixels(regions: tuple[Region, ...]) -> float:
    return sum(region.context_box.area for region in regions) / 1e6


@settings(max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.integers(0, 40),
    st.sampled_from([0.0, 0.25, 1.0, 1e6]),
    st.sampled_from([0, 8, 64]),
    st.sampled_from([None, 1, 40]),
    st.sampled_from([0, 4096, 512 * 512]),
    st.sampled_from([None, 1, 3000, 20000]),
)
def test_every_plan_is_a_partition_into_independent_regions(
    seed, shape, count, context, least, most, call, limit
):
    rng = np.random.default_rng(seed)
    hole = np.zeros(shape, np.bool_)
    for _ in range(count):
        y, x, h, w = rng.integers(0, (*shape, 30, 30))
        hole[y : y + h + 1, x : x + w + 1] = True
    regions = plan_regions(
        hole, context=context, context_min_px=least, context_max_px=most, call_px=call, max_pixels=limit
    )
    check(hole, regions)
    assert regions == plan_regions(
        hole, context=context, context_min_px=least, context_max_px=most, call_px=call, max_pixels=limit
    )


@given(arrays(np.bool_, st.tuples(st.integers(1, 30), st.integers(1, 30))))
def test_noise_is_a_partition_too(hole):
    check(hole, plan_regions(hole, context=0, context_min_px=0, call_px=0))


def test_no_hole_needs_no_region():
    assert plan_regions(np.zeros((9, 9), np.bool_)) == ()


def test_a_compact_hole_is_one_region_with_its_context():
    hole = np.zeros((800, 1000), np.bool_)
    hole[300:400, 500:620] = True
    (region,) = plan_regions(hole, context=0.5, context_min_px=32)
    assert region.hole_box == Box(x0=500, y0=300, x1=620, y1=400)
    assert region.context_box == region.hole_box.grown(60)


def test_context_is_capped_and_clipped():
    hole = np.zeros((800, 1000), np.bool_)
    hole[0:200, 700:900] = True
    (region,) = plan_regions(hole, context=2.0, context_max_px=150)
    assert region.context_box == Box(x0=550, y0=0, x1=1000, y1=350)


def test_300_specks_cost_about_what_a_stroke_of_their_area_costs():
    hole = specks(300, 3000, 4000, 10)
    stroke = np.zeros_like(hole)
    stroke[1500:1515, 500:2500] = True
    check(hole, plan_regions(hole))
    assert megapixels(plan_regions(hole)) < 1.5 * megapixels(plan_regions(stroke))


def test_specks_are_merged_where_a_call_is_dear():
    hole = specks(300, 3000, 4000, 10)
    few = plan_regions(hole, call_px=200_000)
    check(hole, few)
    assert len(few) < 60 < len(plan_regions(hole))


def test_near_holes_share_a_crop_and_far_ones_do_not():
    near, far = np.zeros((2, 600, 2000), np.bool_)
    near[300:340, 300:340] = near[300:340, 350:390] = True
    far[300:340, 300:340] = far[300:340, 1700:1740] = True
    assert len(plan_regions(near)) == 1
    assert len(plan_regions(far)) == 2
    assert {region.wave for region in plan_regions(far)} == {0}


def test_a_thin_diagonal_scratch_does_not_make_one_crop_of_the_photo():
    hole = np.zeros((3000, 4000), np.bool_)
    x = np.arange(4000)
    for k in range(4):
        hole[x * 3 // 4, np.minimum(x + k, 3999)] = True
    regions = plan_regions(hole)
    check(hole, regions)
    assert megapixels(regions) < 3
    hole |= specks(500, 3000, 4000, 4)
    regions = plan_regions(hole)
    check(hole, regions)
    assert megapixels(regions) < 6


def test_a_compact_hole_among_specks_keeps_its_own_crop():
    y, x = np.ogrid[:3000, :4000]
    disc = (y - 1500) ** 2 + (x - 2000) ** 2 < 400**2
    hole = disc | specks(300, 3000, 4000, 10)
    regions = plan_regions(hole)
    check(hole, regions)
    assert max(region.hole_box.area for region in regions) < 1.4 * 800**2
    assert megapixels(regions) < 1.6 * megapixels(plan_regions(disc))


@pytest.mark.parametrize("step", [1, 2, 8, 16])
def test_a_checkerboard_is_a_few_regions(step):
    y, x = np.indices((1000, 1500))
    hole = (x // step + y // step) % 2 == 0
    regions = plan_regions(hole)
    assert len(regions) <= 2
    check(hole, regions)


def test_2000_specks_stay_at_most_2000_regions():
    hole = specks(2000, 3000, 4000, 4)
    regions = plan_regions(hole)
    assert len(regions) <= 2000
    assert megapixels(regions) <= 12


def test_a_huge_hole_is_one_region_unless_an_engine_has_a_limit():
    hole = np.zeros((2400, 3000), np.bool_)
    hole[300:2100, 300:2700] = True
    assert len(plan_regions(hole, context=0.25)) == 1
    regions = plan_regions(hole, context=0.25, max_pixels=700 * 700)
    check(hole, regions)
    assert len(regions) > 4
    assert all(region.context_box.area <= 700 * 700 for region in regions)
    # Tiles overlap: each sees some of its neighbours.
    assert all(any(a.context_box.intersects(b.hole_box) for b in regions if b is not a) for a in regions)


def test_every_tile_sees_something_known_when_its_wave_comes():
    hole = np.zeros((1200, 1200), np.bool_)
    hole[60:1140, 60:1140] = True
    unknown = hole.copy()
    regions = plan_regions(hole, context=0.25, context_min_px=32, max_pixels=200 * 200)
    check(hole, regions)
    for wave in sorted({region.wave for region in regions}):
        batch = [region for region in regions if region.wave == wave]
        assert all((~unknown[region.context_box.slices]).mean() > 0.05 for region in batch)
        for region in batch:
            unknown[region.hole_box.slices] = False


def test_planning_takes_a_moment():
    hole = specks(300, 3000, 4000, 10)
    plan_regions(hole)
    start = time.process_time()
    plan_regions(hole)
    assert time.process_time() - start < 0.1  # 0.006 s on an idle machine
