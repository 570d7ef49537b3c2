"""Patch distance, exhaustive nearest patches, and the vote, as plain loops."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RADIUS = 2
KNOWN_WEIGHT = 64


def padded(a: NDArray, radius: int = RADIUS) -> NDArray:
    return np.pad(a, ((radius, radius), (radius, radius)) + ((0, 0),) * (a.ndim - 2))


def patch(a: NDArray, x: int, y: int, radius: int = RADIUS) -> NDArray:
    """Return the patch of a padded array centred at the unpadded pixel (x, y)."""
    return a[y : y + 2 * radius + 1, x : x + 2 * radius + 1]


def differences(
    guide: NDArray, weight: NDArray, at: tuple[int, int], source: tuple[int, int], radius: int = RADIUS
) -> NDArray[np.int64]:
    """Return each pixel's weighted squared distance; ``weight`` is the first patch's trust in its pixels."""
    a, b = (patch(padded(guide, radius), *p, radius).astype(np.int64) for p in (at, source))
    w = patch(padded(weight, radius), *at, radius).astype(np.int64)
    return (w[..., None] * (a - b) ** 2).sum(2)


def patch_cost(guide: NDArray, weight: NDArray, at: tuple[int, int], source: tuple[int, int]) -> int:
    """Return the weighted squared distance of two 5 × 5 patches."""
    return int(differences(guide, weight, at, source).sum()) // KNOWN_WEIGHT


def wide_cost(
    guide: NDArray, weight: NDArray, at: tuple[int, int], source: tuple[int, int], ring: float
) -> int:
    """Return that of two 9 × 9 patches: a mean of the inner 5 × 5 and, ``ring`` times as heavy, the rest."""
    all_ = differences(guide, weight, at, source, 4)
    inner = int(all_[2:7, 2:7].sum()) // KNOWN_WEIGHT
    outer = (int(all_.sum()) - int(all_[2:7, 2:7].sum())) // KNOWN_WEIGHT
    core_share, ring_share = int(256 / (1 + ring)), int(256 * ring / (1 + ring) * 25 / 56)
    return (inner * core_share >> 8) + (outer * ring_share >> 8)


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
