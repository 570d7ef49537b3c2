"""Bring a fill's colour and grain to its surroundings.

For engines that draw a crop anew, the ring of known pixels around the hole shows by how much the engine's
colours are off; that difference is carried into the hole as a membrane (a harmonic function), so gradients
and texture of the fill stay. Grain is measured on both sides and what the fill lacks is added. Both are
plain functions of arrays; nothing here knows an engine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reknit import _native
from reknit.core.fit import resampled
from reknit.core.geometry import Size
from reknit.core.image import Samples

Floats = NDArray[np.float32]
_SOLVE_PX = 192  # longer side of the grid on which the membrane is solved
_SWEEPS = 24
_STRIP_ROWS = 64
_GRAIN_RING_PX = 48
_FEWEST_BLOCKS, _MOST_BLOCKS = 6, 2048
_BLOCK_PX = 8  # grain is measured in blocks of this side
_GRAIN_MOST = 0.05  # of the range of samples: more than this is texture, not grain


def match_rim(
    filled: Samples | Floats,
    original: Samples,
    hole: NDArray[np.bool_],
    *,
    unknown: NDArray[np.bool_] | None = None,
    ring_px: int = 12,
    grain: bool = True,
    rng: np.random.Generator,
) -> Floats:
    """Return ``filled`` with the colour and the grain of the surroundings.

    Parameters
    ----------
    filled : ndarray, (H, W, C), uint8, uint16 or float32
        The engine's crop, on the scale of ``original``: in the hole its fill, around it its own view of the
        known pixels. Where it gives those back unchanged there is nothing to measure and colours stay.
    original : ndarray, (H, W, C), uint8 or uint16
    hole : ndarray of bool, (H, W)
        What was filled.
    unknown : ndarray of bool or None, (H, W)
        Every pixel whose original is not to be trusted; ``hole`` if None.
    ring_px : int
        Width of the ring that is compared.
    grain : bool
        Whether to add what the fill lacks of the surroundings' noise.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float32, (H, W, C)
        On the same scale, not rounded or clipped.

    Notes
    -----
    The membrane is the one of Pérez, Gangnet and Blake (doi:10.1145/882262.882269), solved coarse to fine.
    """
    unknown = hole if unknown is None else unknown | hole
    result = filled.astype(np.float32)
    distance = _native.distance_transform(np.ascontiguousarray(hole))
    near = (distance <= ring_px) & ~unknown
    if not bool(near.any()):
        return result
    result += membrane(original.astype(np.float32) - result, near)
    if grain:
        around = (distance <= _GRAIN_RING_PX) & ~unknown
        _add_grain(result, original, hole, around, rng)
    return result


def membrane(values: Floats, known: NDArray[np.bool_], *, grain_px: float = 3) -> Floats:
    """Return a smooth function (H, W, C): near ``values`` where ``known``, harmonic elsewhere.

    ``values`` are averaged over some ``grain_px`` pixels first, so it carries their level, not their texture.
    The cost is one pass over the crop; the equation is solved on a grid of at most 192 px a side.
    """
    size = Size.of(known.shape)
    scale = min(1.0, 1 / grain_px, _SOLVE_PX / max(size.width, size.height))
    grid = Size(width=max(1, round(size.width * scale)), height=max(1, round(size.height * scale)))
    share = known.astype(np.float32)[..., None]
    weight = _smoothed(resampled(share, grid))
    total = _smoothed(resampled(np.where(known[..., None], values, np.float32(0)), grid))
    reached = resampled(share, grid) > 0
    return resampled(_solved(total, np.where(reached, weight, np.float32(0))), size)


def _solved(total: Floats, weight: Floats) -> Floats:
    """Return total / weight where weight > 0, the harmonic function between; halved grids are solved first."""
    known = weight > 0
    value = np.divide(total, weight, out=np.zeros_like(total), where=known)
    height, width = weight.shape[:2]
    if bool(known.all()):
        return value
    if max(height, width) <= 2:
        mean = (value * known).sum(axis=(0, 1)) / max(int(known.sum()), 1)
        return np.where(known, value, mean.astype(np.float32))
    half = Size(width=-(-width // 2), height=-(-height // 2))
    coarse = _solved(resampled(total * known, half), resampled(weight, half))
    field = np.where(known, value, resampled(coarse, Size(width=width, height=height)))
    for _ in range(_SWEEPS):
        p = np.pad(field, ((1, 1), (1, 1), (0, 0)), mode="edge")
        around = (p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:]) * np.float32(0.25)
        field = np.where(known, value, around)
    return field


def _smoothed(field: Floats) -> Floats:
    """Return a field after two binomial blurs of 5 taps."""
    for axis in (0, 1, 0, 1):
        margins = [(0, 0)] * 3
        margins[axis] = (2, 2)
        p = np.moveaxis(np.pad(field, margins), axis, 0)
        blurred = (p[:-4] + p[4:] + 4 * (p[1:-3] + p[3:-1]) + 6 * p[2:-2]) / 16
        field = np.moveaxis(blurred.astype(np.float32, copy=False), 0, axis)
    return np.ascontiguousarray(field)


def _add_grain(
    result: Floats,
    original: Samples,
    hole: NDArray[np.bool_],
    around: NDArray[np.bool_],
    rng: np.random.Generator,
) -> None:
    """Add to ``result`` in ``hole`` the noise that it lacks of the original's ``around`` it."""
    there = grain_covariance(original, around)
    here = grain_covariance(result, hole)
    if there is None or here is None:
        return
    power, axes = np.linalg.eigh(there - here)
    most = _GRAIN_MOST * float(np.iinfo(original.dtype).max)
    deviation = np.minimum(np.sqrt(np.maximum(power, 0)), most)
    mix = (axes * deviation).astype(np.float32)
    if not mix.any():
        return
    for y in range(0, len(hole), _STRIP_ROWS):
        strip = hole[y : y + _STRIP_ROWS]
        noise = rng.standard_normal((len(mix), int(np.count_nonzero(strip))), dtype=np.float32)
        for channel, shares in enumerate(mix):
            result[y : y + _STRIP_ROWS, :, channel][strip] += (shares[:, None] * noise).sum(axis=0)


def grain_covariance(pixels: Samples | Floats, where: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Return the covariance (C, C) of the noise in ``pixels``, or None if ``where`` has too few blocks.

    Measured on second differences in both directions, which neither shading nor straight edges reach
    (Immerkær, doi:10.1006/cviu.1996.0060), in the calmest blocks.
    """
    if min(where.shape) < _BLOCK_PX + 2:
        return None
    # Blocks start at 1, so that each has a margin of one pixel.
    rows, columns = ((n - 2) // _BLOCK_PX for n in where.shape)
    inner = where[1 : 1 + rows * _BLOCK_PX, 1 : 1 + columns * _BLOCK_PX]
    full = inner.reshape(rows, _BLOCK_PX, columns, _BLOCK_PX).all(axis=(1, 3))
    corners = np.argwhere(full) * _BLOCK_PX
    corners = corners[:: 1 + len(corners) // _MOST_BLOCKS]
    side = np.arange(_BLOCK_PX + 2)
    y, x = corners[:, :1, None] + side[:, None], corners[:, 1:, None] + side
    whole = where[y, x].all(axis=(1, 2))
    if np.count_nonzero(whole) < _FEWEST_BLOCKS:
        return None
    tiles = pixels[y[whole], x[whole]].astype(np.float64)
    tiles = tiles[:, :-2] - 2 * tiles[:, 1:-1] + tiles[:, 2:]
    tiles = (tiles[:, :, :-2] - 2 * tiles[:, :, 1:-1] + tiles[:, :, 2:]) / 6
    tiles = tiles.reshape(len(tiles), -1, pixels.shape[2])
    energy = (tiles**2).mean(axis=(1, 2))
    low, high = np.quantile(energy, (0.05, 0.35))
    calm = tiles[(energy >= low) & (energy <= high)].reshape(-1, pixels.shape[2])
    return calm.T @ calm / len(calm)
