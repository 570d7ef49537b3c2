"""What every engine is given: photo-like crops of all shapes, depths and holes."""

import numpy as np
import pytest
from numpy.typing import NDArray

from reknit.engines import registry
from reknit.engines.base import Crop, Engine

ENGINES = registry.every()


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]


def texture(height: int, width: int, channels: int, dtype: type, seed: int = 0) -> NDArray:
    """Return waves, blocks and grain: something with structure at every scale."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = 0.5 + 0.25 * np.sin(x / 5.0 + y / 11.0) + 0.15 * np.sign(np.sin(x / 17.0) * np.sin(y / 13.0))
    levels = waves[..., None] * rng.uniform(0.6, 1.0, channels) + rng.normal(
        0, 0.02, (height, width, channels)
    )
    return np.ascontiguousarray((np.clip(levels, 0, 1) * np.iinfo(dtype).max).astype(dtype))


def crop(pixels: NDArray, hole: NDArray[np.bool_], target: NDArray[np.bool_] | None = None) -> Crop:
    """Return a crop with every known pixel as a source; all arrays read-only."""
    arrays = {
        "pixels": pixels,
        "hole": hole,
        "target": hole.copy() if target is None else target,
        "source": ~hole,
    }
    for array in arrays.values():
        array.flags.writeable = False
    return Crop(**arrays)
