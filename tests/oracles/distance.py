"""The slow truth of the distance transform: every pixel against every set pixel."""

import numpy as np
from numpy.typing import NDArray


def distance(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the distance of each pixel to the nearest set one; infinity if there is none."""
    ys, xs = np.nonzero(mask)
    if not len(ys):
        return np.full(mask.shape, np.inf, np.float32)
    y, x = np.indices(mask.shape)
    squared = (y[..., None] - ys) ** 2 + (x[..., None] - xs) ** 2
    return np.sqrt(squared.min(axis=-1).astype(np.float64)).astype(np.float32)
