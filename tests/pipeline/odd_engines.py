"""Engines that no photo would want, but that the pipeline must keep in bounds.

All of them change every pixel they are given, in the hole and outside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from reknit.core.fit import SizeRule
from reknit.core.progress import Report
from reknit.engines import registry
from reknit.engines.base import Crop, EngineSpec, Samples

Answer = Callable[[Crop, int, Report], Samples]


@dataclass
class OddEngine:
    """An engine whose session is one function; it remembers what it was given."""

    spec: EngineSpec
    answer: Answer
    crops: list[Crop] = field(default_factory=list)
    loads: list[int] = field(default_factory=list)

    def load(self, *, threads: int) -> OddEngine:
        self.loads.append(threads)
        return self

    def run(self, crop: Crop, params: Mapping[str, Any], seed: int, report: Report) -> Samples:
        report.step("fill", 0.0)
        self.crops.append(crop)
        for array in (crop.pixels, crop.hole, crop.target, crop.source):
            assert not array.flags.writeable
            assert array.flags.c_contiguous
        assert not (crop.target & ~crop.hole).any()
        assert not (crop.source & crop.hole).any()
        filled = self.answer(crop, seed, report)
        report.step("fill", 1.0)
        return filled


def noise(crop: Crop, seed: int, report: Report) -> Samples:
    """Return noise everywhere."""
    rng = np.random.default_rng((seed, *crop.pixels.shape))
    return rng.integers(
        0, np.iinfo(crop.pixels.dtype).max, crop.pixels.shape, crop.pixels.dtype, endpoint=True
    )


def mean(crop: Crop, seed: int, report: Report) -> Samples:
    """Return the mean of what is known, everywhere."""
    known = crop.pixels[~crop.hole]
    assert len(known), "an engine needs something known"
    filled = np.empty_like(crop.pixels)
    filled[...] = known.mean(axis=0).round()
    return filled


def tinted(crop: Crop, seed: int, report: Report) -> Samples:
    """Return the mean of what is known in the hole and brighter pixels around it."""
    filled = np.minimum(crop.pixels, np.iinfo(crop.pixels.dtype).max - 20) + 20
    filled[crop.hole] = mean(crop, seed, report)[crop.hole]
    return filled.astype(crop.pixels.dtype)


def wild(**facts: Any) -> OddEngine:
    """Noise at any size and depth."""
    spec = EngineSpec(name="wild", title="noise", native_depth=True, seeded=True, **facts)
    return OddEngine(spec=spec, answer=noise)


def fixed(answer: Answer = noise) -> OddEngine:
    """8-bit RGB at 64 × 64 only."""
    rule = SizeRule(multiple=8, native_px=64, fixed=True)
    return OddEngine(spec=EngineSpec(name="fixed", title="64 px", size_rule=rule), answer=answer)


def learned(answer: Answer = tinted) -> OddEngine:
    """8-bit RGB in multiples of 8 and small tiles, blended and matched."""
    spec = EngineSpec(
        name="learned",
        title="as learned engines are",
        size_rule=SizeRule(multiple=8),
        context_min_px=8,
        max_pixels=48 * 48,
        feather_px=5,
        match_rim=True,
    )
    return OddEngine(spec=spec, answer=answer)


@contextmanager
def offered(*engines: OddEngine) -> Iterator[None]:
    """Let the registry know some engines for a while."""
    by_name = {engine.spec.name: engine for engine in engines}
    get = registry.get
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "get", lambda name: by_name[name] if name in by_name else get(name))
        yield
