"""Small pictures and a short way to call the native fill."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from reknit import _native

Fill = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def texture() -> np.ndarray:
    """A (96, 128, 3) picture with an edge, a gradient, stripes and grain."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:96, :128]
    base = 90 + 60 * (y > 48) + 30 * np.sin(x / 3) + x / 4
    return np.clip(base[..., None] + [0, 12, -20] + rng.normal(0, 6, (96, 128, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def blob() -> np.ndarray:
    """A (96, 128) round hole."""
    y, x = np.mgrid[:96, :128]
    return (y - 50) ** 2 + (x - 60) ** 2 < 18**2


@pytest.fixture(scope="session")
def fill() -> Fill:
    def call(pixels: np.ndarray, hole: np.ndarray, **given: object) -> np.ndarray:
        names = ("target", "source", "seed", "threads", "progress", "isa")
        chosen = {name: given.pop(name) for name in names if name in given}
        done = _native.exemplar_fill(
            pixels,
            hole,
            chosen.pop("target", hole),
            chosen.pop("source", ~hole),
            settings=given,
            **{"seed": 1, "threads": 1, "progress": None, **chosen},
        )
        return None if done is None else done[0]

    return call
