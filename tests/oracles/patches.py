"""Patch distance, exhaustive nearest patches, and the vote, as plain loops."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RADIUS = 2
KNOWN_WEIGHT = 64


def padded(a: NDArray, value: int = 0) -> NDArray:
    width = ((RADIUS, RADIUS), (RADIUS, RADIUS)) + ((0, 0),) * (a.ndim - 2)
    return np.pad(a, width, constant_values=value)


def patch(a: NDArray, x: int, y: int) -> NDArray:
    """Return the 5 × 5 patch of a padded array centred at the unpadded pixel (x, y)."""
    return a[y : y + 2 * RADIUS + 1, x : x + 2 * RADIUS + 1]


def patch_cost(guide: NDArray, weight: NDArray, at: tuple[int, int], source: tuple[int, int]) -> int:
    """Return the weighted squared distance of two patches; ``weight`` is the first one's trust in its pixels."""
    a = patch(padded(guide), *at).astype(np.int64)
    b = patch(padded(guide), *source).astype(np.int64)
    w = patch(padded(weight), *at).astype(np.int64)
    return int((w[..., None] * (a - b) ** 2).sum()) // KNOWN_WEIGHT


def whole_sources(known: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the centres (x, y) of all patches inside the picture that are wholly known."""
    h, w = known.shape
    return [
        (x, y)
        for y in range(RADIUS, h - RADIUS)
        for x in range(RADIUS, w - RADIUS)
        if known[y - RADIUS : y + RADIUS + 1, x - RADIUS : x + RADIUS + 1].all()
    ]


def nearest(guide: NDArray, weight: NDArray, at: tuple[int, int], sources: list[tuple[int, int]]) -> int:
    """Return the cost of the best of ``sources``."""
    return min(patch_cost(guide, weight, at, s) for s in sources)


def vote(
    guide: NDArray, target: NDArray[np.bool_], offset: NDArray, share: NDArray, is_site: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the guide with each target pixel set to the mean, by ``share``, of what its patches show there."""
    out = guide.astype(np.float64)
    h, w = target.shape
    for y, x in zip(*np.nonzero(target), strict=True):
        total, weight = np.zeros(guide.shape[2]), 0.0
        for v in range(max(0, y - RADIUS), min(h, y + RADIUS + 1)):
            for u in range(max(0, x - RADIUS), min(w, x + RADIUS + 1)):
                if is_site[v, u]:
                    dx, dy = offset[v, u]
                    total += share[v, u] * guide[y + dy, x + dx]
                    weight += share[v, u]
        out[y, x] = total / weight
    return out


def sites(target: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the centres of all patches that cover a target pixel."""
    h, w = target.shape
    wide = padded(target)
    out = np.zeros_like(target)
    for dy in range(2 * RADIUS + 1):
        for dx in range(2 * RADIUS + 1):
            out |= wide[dy : dy + h, dx : dx + w]
    return out
