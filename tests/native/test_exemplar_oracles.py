"""The native search and vote against the slow oracles."""

from __future__ import annotations

import numpy as np
import pytest
from tests.oracles import patches

from reknit import _native

H, W = 30, 36


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray]:
    """A guide of grain on waves, and a hole in which it is a poor guess."""
    rng = np.random.default_rng(8)
    y, x = np.mgrid[:H, :W]
    guide = 120 + 50 * np.sin(x / 2.5) + 30 * np.cos(y / 3)
    guide = np.clip(guide[..., None] + rng.normal(0, 15, (H, W, 4)), 0, 255).astype(np.uint8)
    target = (y - 14) ** 2 + (x - 17) ** 2 < 30
    return guide, target


def probe(case, isa="", **settings):
    return _native.exemplar_probe(
        *case, settings={"proximity": 0, "potts": 0, "ring": 0, **settings}, seed=3, isa=isa
    )


@pytest.mark.parametrize("isa", _native.instruction_sets())
@pytest.mark.parametrize("sweeps", [1, 4])
def test_costs_are_those_of_the_oracle(case, isa, sweeps):
    guide, target = case
    got = probe(case, isa, sweeps=sweeps)
    assert np.array_equal(got["site"].astype(bool), patches.sites(target))
    for y, x in zip(*np.nonzero(got["site"]), strict=True):
        dx, dy = got["offset"][y, x]
        cost = patches.patch_cost(guide, got["weight"], (x, y), (x + dx, y + dy))
        assert got["cost"][y, x] == cost


@pytest.mark.parametrize("isa", _native.instruction_sets())
@pytest.mark.parametrize("ring", [1.0, 4.0])
def test_costs_of_wide_patches_are_those_of_the_oracle(case, isa, ring):
    guide, _ = case
    got = probe(case, isa, sweeps=3, ring=ring)
    for y, x in zip(*np.nonzero(got["site"]), strict=True):
        dx, dy = got["offset"][y, x]
        cost = patches.wide_cost(guide, got["weight"], (x, y), (x + dx, y + dy), ring)
        assert got["cost"][y, x] == cost


def test_sources_are_whole_patches(case):
    _, target = case
    got = probe(case, sweeps=3)
    allowed = set(patches.whole_sources(~target))
    for y, x in zip(*np.nonzero(got["site"]), strict=True):
        dx, dy = got["offset"][y, x]
        assert (x + dx, y + dy) in allowed


def test_the_search_comes_close_to_the_best(case):
    guide, target = case
    got = probe(case, sweeps=20)
    sources = patches.whole_sources(~target)
    spots = list(zip(*np.nonzero(got["site"]), strict=True))[::29]
    best = [patches.nearest(guide, got["weight"], (x, y), sources) for y, x in spots]
    found = [int(got["cost"][y, x]) for y, x in spots]
    assert all(f >= b for f, b in zip(found, best, strict=True))
    assert sum(found) < 1.1 * sum(best)


def test_more_sweeps_never_cost_more(case):
    costs = [int(probe(case, sweeps=n)["cost"].sum()) for n in (1, 2, 4, 8)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < costs[0]


def test_trust_falls_with_depth(case):
    _, target = case
    weight = probe(case, sweeps=1, confidence=2)["weight"]
    assert (weight[~target] == patches.KNOWN_WEIGHT).all()
    assert weight[14, 17] < weight[14, 13] < patches.KNOWN_WEIGHT


def test_disagreeing_costs_more_with_potts(case):
    def agreement(potts: float) -> float:
        got = probe(case, sweeps=6, potts=potts)
        both = got["site"][:, 1:] & got["site"][:, :-1]
        same = (got["offset"][:, 1:] == got["offset"][:, :-1]).all(2)
        return float(same[both.astype(bool)].mean())

    assert agreement(20) > agreement(0) + 0.2


@pytest.mark.parametrize("isa", _native.instruction_sets())
def test_the_vote_is_that_of_the_oracle(case, isa):
    guide, target = case
    got = probe(case, isa, sweeps=2)
    want = patches.vote(guide, target, got["offset"], got["share"].astype(float), got["site"].astype(bool))
    assert np.abs(got["voted"].astype(float) - want).max() <= 0.51
    assert np.array_equal(got["voted"][~target], guide[~target])
