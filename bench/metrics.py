"""How good a fill is: numbers about the hole and its rim, in NumPy only.

Each metric takes uint8 RGB pictures (H, W, 3) and the hole (H, W) bool, True = filled. Those with ``truth``
compare with what was there before; `seam` judges the fill against its own surroundings. PSNR and SSIM reward
blur, texture distances reward texture wherever it lies: read all of them together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Hole = NDArray[np.bool_]
Plane = NDArray[np.float64]

HIGHER_IS_BETTER = {
    "psnr": True, "ssim": True, "haarpsi": True, "gmsd": False, "seam": False, "fd": False, "swd": False,
    "sharpness": False,
}  # fmt: skip
MARGIN = 24  # px of surroundings kept around the hole's box; more than any window below reaches


def luma(picture: NDArray[np.generic]) -> Plane:
    """Rec. 601 luma, (H, W), 0..255."""
    return picture[..., :3].astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def _window(hole: Hole) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    return (
        slice(max(0, rows[0] - MARGIN), rows[-1] + 1 + MARGIN),
        slice(max(0, columns[0] - MARGIN), columns[-1] + 1 + MARGIN),
    )


def _shifted(plane: NDArray[np.generic], reach: int) -> NDArray[np.generic]:
    """All (2 reach + 1)² shifts of a plane, mirrored at its borders: (H, W, n, n)."""
    padded = np.pad(plane, reach, mode="symmetric")
    return np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1, 2 * reach + 1))


def _convolved(plane: Plane, down: Plane, across: Plane) -> Plane:
    """Separable correlation, mirrored at the borders; even kernels reach one further to the left and top."""
    for axis, kernel in ((0, down), (1, across)):
        before = len(kernel) // 2
        pads = [(0, 0), (0, 0)]
        pads[axis] = (before, len(kernel) - 1 - before)
        view = np.lib.stride_tricks.sliding_window_view(
            np.pad(plane, pads, mode="symmetric"), len(kernel), axis=axis
        )
        plane = view @ kernel
    return plane


def _halved(plane: Plane) -> Plane:
    """Mean of 2 × 2 pixels, every second pixel."""
    plane = np.pad(plane, ((0, plane.shape[0] % 2), (0, plane.shape[1] % 2)), mode="edge")
    return (plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]) / 4


def grown(hole: Hole, px: int) -> Hole:
    """Dilate by a diamond of that radius."""
    out = hole.copy()
    for _ in range(px):
        wider = out.copy()
        wider[1:] |= out[:-1]
        wider[:-1] |= out[1:]
        wider[:, 1:] |= out[:, :-1]
        wider[:, :-1] |= out[:, 1:]
        out = wider
    return out


def psnr(filled: Picture, truth: Picture, hole: Hole) -> float:
    """Peak signal to noise ratio over the hole's pixels, dB; higher is better, inf when equal."""
    error = np.mean((filled[hole].astype(np.float64) - truth[hole]) ** 2)
    return float(10 * np.log10(255**2 / error)) if error > 0 else float("inf")


def ssim_map(a: Picture, b: Picture) -> Plane:
    """Structural similarity of luma at each pixel (Wang et al. 2004, doi 10.1109/TIP.2003.819861), σ 1.5."""
    at = np.arange(-5, 6)
    g = np.exp(-(at**2) / (2 * 1.5**2))
    g /= g.sum()
    x, y = luma(a), luma(b)
    mx, my = _convolved(x, g, g), _convolved(y, g, g)
    vx, vy = _convolved(x * x, g, g) - mx * mx, _convolved(y * y, g, g) - my * my
    cov = _convolved(x * y, g, g) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))


def ssim(filled: Picture, truth: Picture, hole: Hole) -> float:
    """Mean of `ssim_map` over the hole; 1 = equal."""
    box = _window(hole)
    return float(ssim_map(filled[box], truth[box])[hole[box]].mean())


def gmsd(filled: Picture, truth: Picture, hole: Hole) -> float:
    """Spread of gradient similarity in it (Xue et al. 2014, doi 10.1109/TIP.2013.2293423); 0 = equal."""
    box = _window(hole)
    smooth, edge = np.ones(3) / 3, np.array([1.0, 0.0, -1.0])

    def gradient(picture: Picture) -> Plane:
        y = _halved(luma(picture[box]))
        return np.hypot(_convolved(y, smooth, edge), _convolved(y, edge, smooth))

    a, b = gradient(filled), gradient(truth)
    similarity = (2 * a * b + 170) / (a * a + b * b + 170)
    return float(similarity[_halved(hole[box].astype(np.float64)) > 0].std())


def haarpsi(filled: Picture, truth: Picture, hole: Hole) -> float:
    """Haar wavelet similarity (Reisenhofer et al. 2018, doi 10.1016/j.image.2017.11.001); 1 = equal."""
    box = _window(hole)
    c, alpha = 30.0, 4.2

    def coefficients(y: Plane) -> list[list[Plane]]:
        out = []
        for turn in (False, True):
            scales = []
            for scale in (1, 2, 3):
                flat, rise = np.ones(2**scale) / 2**scale, np.repeat([-1.0, 1.0], 2 ** (scale - 1))
                scales.append(np.abs(_convolved(y, flat, rise) if turn else _convolved(y, rise, flat)))
            out.append(scales)
        return out

    def similarity(a: Plane, b: Plane) -> Plane:
        return (2 * a * b + c * c) / (a * a + b * b + c * c)

    def chroma(picture: Picture) -> list[Plane]:
        rgb = picture[box].astype(np.float64)
        rows = (np.array([0.596, -0.274, -0.322]), np.array([0.211, -0.523, 0.312]))
        return [np.abs(_convolved(_halved(rgb @ row), np.ones(2) / 2, np.ones(2) / 2)) for row in rows]

    a, b = coefficients(_halved(luma(filled[box]))), coefficients(_halved(luma(truth[box])))
    local = [(similarity(a[k][0], b[k][0]) + similarity(a[k][1], b[k][1])) / 2 for k in (0, 1)]
    weight = [np.maximum(a[k][2], b[k][2]) for k in (0, 1)]
    local.append(
        np.mean([similarity(p, q) for p, q in zip(chroma(filled), chroma(truth), strict=True)], axis=0)
    )
    weight.append((weight[0] + weight[1]) / 2)
    inside = _halved(hole[box].astype(np.float64)) > 0
    top = sum(float((w / (1 + np.exp(-alpha * s)))[inside].sum()) for s, w in zip(local, weight, strict=True))
    bottom = sum(float(w[inside].sum()) for w in weight)
    if bottom == 0:
        return 1.0
    score = np.clip(top / bottom, 1e-9, 1 - 1e-9)
    return float((np.log(score / (1 - score)) / alpha) ** 2)


def seam(filled: Picture, hole: Hole, reach: int = 3) -> float:
    """How visible the rim is: |log| of the contrast across it over that of its neighbours; 0 = invisible.

    Each step from a hole pixel to a known one is compared with the ``reach`` steps before and after it in the
    same row or column, so that stripes and local detail don't count as seams.
    """
    across = beside = count = 0.0
    for rgb, inside in ((filled, hole), (filled.transpose(1, 0, 2), hole.T)):
        contrast = np.abs(np.diff(rgb.astype(np.float64), axis=1)).mean(axis=-1)
        rim = inside[:, 1:] != inside[:, :-1]
        rim[:, :reach] = rim[:, max(0, rim.shape[1] - reach) :] = False
        row, column = np.nonzero(rim)
        count += len(row)
        across += contrast[row, column].sum()
        beside += sum(contrast[row, column + k].sum() for k in range(-reach, reach + 1) if k) / (2 * reach)
    return float(abs(np.log((across / max(1, count) + 0.5) / (beside / max(1, count) + 0.5))))


def _laplacian(picture: Picture) -> Plane:
    y = luma(picture)
    p = np.pad(y, 1, mode="edge")
    return np.abs(4 * y - p[:-2, 1:-1] - p[2:, 1:-1] - p[1:-1, :-2] - p[1:-1, 2:])


def sharpness(filled: Picture, truth: Picture, hole: Hole) -> float:
    """|log| of the mean Laplacian in the fill over that in the truth; 0 = as sharp as it was."""
    box = _window(hole)
    inside = hole[box] & ~grown(~hole[box], 2)
    inside = inside if inside.any() else hole[box]
    a, b = _laplacian(filled[box])[inside].mean(), _laplacian(truth[box])[inside].mean()
    return float(abs(np.log((a + 0.5) / (b + 0.5))))


def patches(picture: NDArray[np.generic], where: Hole, side: int, most: int) -> Plane:
    """At most ``most`` patches centred at evenly drawn pixels of ``where``: (n, side² · 3)."""
    reach = side // 2
    at = np.flatnonzero(where)
    if len(at) > most:
        at = at[np.linspace(0, len(at) - 1, most).astype(np.int64)]
    row, column = np.unravel_index(at, where.shape)
    columns = [_shifted(picture[..., c], reach)[row, column].reshape(len(at), -1) for c in range(3)]
    return np.concatenate(columns, axis=1).astype(np.float64)


def _features(picture: Picture, hole: Hole) -> Plane:
    """Strength of fixed random 7 × 7 filters at three scales, 16 each: (n, 48).

    Twelve filters of a scale have mean 0 in each colour (texture), four only over all (colour).
    """
    rng = np.random.default_rng(20180712)
    scaled, where, out = picture.astype(np.float64), hole, []
    for _ in range(3):
        filters = rng.normal(size=(3, 49, 16))
        filters[..., :12] -= filters[..., :12].mean(axis=1, keepdims=True)
        filters[..., 12:] -= filters[..., 12:].mean(axis=(0, 1), keepdims=True)
        filters = filters.reshape(147, 16) / np.linalg.norm(filters.reshape(147, 16), axis=0)
        out.append(np.abs(patches(scaled, where, 7, 4000) @ filters))
        scaled = np.stack([_halved(scaled[..., c]) for c in range(3)], axis=-1)
        where = _halved(where.astype(np.float64)) >= 0.5
        if where.sum() < 64:
            break
    most = max(len(f) for f in out)
    return np.concatenate([f[np.linspace(0, len(f) - 1, most).astype(np.int64)] for f in out], axis=1)


def fd(filled: Picture, truth: Picture, hole: Hole) -> float:
    """Fréchet distance of random-convolution features in fill and truth, per feature; 0 = equal statistics.

    Each feature is measured in units of its spread in the truth; then, for the two Gaussians,
    (|μ₁ − μ₂|² + tr(C₁ + C₂ − 2 (C₁ C₂)^½)) / features (Heusel et al. 2017, arXiv 1706.08500).
    """
    box = _window(hole)
    a, b = _features(filled[box], hole[box]), _features(truth[box], hole[box])
    unit = b.std(axis=0) + 1.0
    a, b = a / unit, b / unit
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    spread, basis = np.linalg.eigh(cb)
    root = (basis * np.sqrt(np.maximum(spread, 0))) @ basis.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ ca @ root), 0)).sum()
    gap = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
    return float(max(0.0, gap + np.trace(ca) + np.trace(cb) - 2 * cross) / a.shape[1])


def swd(filled: Picture, truth: Picture, hole: Hole) -> float:
    """Sliced Wasserstein distance of 7 × 7 patches, mean of three scales, in 8-bit levels; 0 = equal."""
    box = _window(hole)
    rng = np.random.default_rng(19870420)
    a, b, where, distances = filled[box].astype(np.float64), truth[box].astype(np.float64), hole[box], []
    for _ in range(3):
        directions = rng.normal(size=(147, 64))
        directions /= np.linalg.norm(directions, axis=0)
        p = np.sort(patches(a, where, 7, 4000) @ directions, axis=0)
        q = np.sort(patches(b, where, 7, 4000) @ directions, axis=0)
        distances.append(np.abs(p - q).mean())
        a, b = (np.stack([_halved(s[..., c]) for c in range(3)], axis=-1) for s in (a, b))
        where = _halved(where.astype(np.float64)) >= 0.5
        if where.sum() < 64:
            break
    return float(np.mean(distances))


def measure(filled: Picture, truth: Picture, hole: Hole) -> dict[str, float]:
    """Return all metrics by name (see `HIGHER_IS_BETTER`)."""
    return {
        "psnr": psnr(filled, truth, hole),
        "ssim": ssim(filled, truth, hole),
        "haarpsi": haarpsi(filled, truth, hole),
        "gmsd": gmsd(filled, truth, hole),
        "seam": seam(filled, hole),
        "fd": fd(filled, truth, hole),
        "swd": swd(filled, truth, hole),
        "sharpness": sharpness(filled, truth, hole),
    }
