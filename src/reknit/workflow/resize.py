"""Scale pictures, masks and latents as ComfyUI does: PyTorch's methods without PyTorch, Pillow's without Pillow.

Each method is a matrix for each axis, so a picture is scaled by two products. PyTorch's bilinear and bicubic do not
smooth before they shrink; Pillow's do, and round to 8 bits between the two axes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

METHODS = ("nearest-exact", "bilinear", "area", "bicubic", "lanczos")
"""What ComfyUI offers for pictures; ``nearest`` is known too."""

LATENT_METHODS = ("nearest-exact", "bilinear", "area", "bicubic", "bislerp")


def scaled(values: Floats, width: int, height: int, method: str) -> Floats:
    """Return (B, H, W, C) scaled as ``torch.nn.functional.interpolate`` does; ``lanczos`` as Pillow does on 8 bits."""
    if values.shape[1:3] == (height, width):
        return values
    if method == "lanczos":
        return pillow_scaled(values, width, height, "lanczos")
    if method == "bislerp":
        return _bislerp(values, width, height)
    rows, columns = _matrix(values.shape[1], height, method), _matrix(values.shape[2], width, method)
    return np.einsum("yh,bhwc,xw->byxc", rows, values, columns, optimize=True).astype(np.float32)


def as_batch(mask: Any) -> Floats:
    """Return a mask, alone or one of several, as (B, H, W)."""
    return mask.reshape((-1, *mask.shape[-2:]))


def scaled_mask(mask: Floats, width: int, height: int, method: str = "bilinear") -> Floats:
    """Return (B, H, W) scaled as `scaled` does."""
    return scaled(mask[..., None], width, height, method)[..., 0]


def pillow_scaled(values: Floats, width: int, height: int, method: str) -> Floats:
    """Return (B, H, W, C) of 0 to 1 scaled as Pillow (13) does: through 8 bits, each axis rounded.

    ``method``: nearest, box, bilinear, hamming, bicubic, lanczos.
    """
    eight = np.clip(values * 255.0, 0, 255).astype(np.uint8)
    if method == "nearest":
        rows, columns = (
            np.floor((np.arange(n) + 0.5) * old / n).astype(int)
            for n, old in ((height, values.shape[1]), (width, values.shape[2]))
        )
        return eight[:, rows][:, :, columns].astype(np.float32) / np.float32(255)
    across, down = (2, width), (1, height)
    first = height < values.shape[1] and width > values.shape[2]  # which leaves less to do for the other axis
    for axis, size in (down, across) if first else (across, down):
        if eight.shape[axis] != size:
            weights = _pillow_matrix(eight.shape[axis], size, method)
            moved = np.moveaxis(eight, axis, -1).astype(np.float64) @ weights.T
            eight = np.moveaxis(np.clip(np.floor(moved + 0.5), 0, 255).astype(np.uint8), -1, axis)
    return eight.astype(np.float32) / np.float32(255)


@lru_cache(maxsize=16)
def _matrix(old: int, new: int, method: str) -> Floats:
    """Return (new, old): what each new sample takes of each old one."""
    made = np.zeros((new, old), np.float64)
    here = np.arange(new)
    if method in ("nearest", "nearest-exact"):
        shift = 0.5 if method == "nearest-exact" else 0.0
        made[here, np.minimum(((here + shift) * (old / new)).astype(int), old - 1)] = 1
    elif method == "area":
        for i in range(new):
            first, last = floor(i * old / new), ceil((i + 1) * old / new)
            made[i, first:last] = 1 / (last - first)
    elif method == "bilinear":
        place = np.maximum((here + 0.5) * (old / new) - 0.5, 0)
        first = np.minimum(place.astype(int), old - 1)
        np.add.at(made, (here, first), 1 - (place - first))
        np.add.at(made, (here, np.minimum(first + 1, old - 1)), place - first)
    elif method == "bicubic":
        place = (here + 0.5) * (old / new) - 0.5
        first = np.floor(place).astype(int)
        for k in range(-1, 3):
            weight = _cubic(np.abs(place - (first + k)), -0.75)
            np.add.at(made, (here, np.clip(first + k, 0, old - 1)), weight)
    else:
        raise ValueError(f"there is no way to scale called {method!r}")
    return made.astype(np.float32)


def _cubic(x: Any, a: float) -> Any:
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _lanczos(x: Any) -> Any:
    return np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0)


def _hamming(x: Any) -> Any:
    return np.where(x < 1, np.sinc(x) * (0.54 + 0.46 * np.cos(np.pi * x)), 0)


_PILLOW: dict[str, tuple[Callable[[Any], Any], float]] = {
    "box": (lambda x: np.where(x <= 0.5, 1.0, 0.0), 0.5),
    "bilinear": (lambda x: np.maximum(1 - x, 0), 1.0),
    "hamming": (_hamming, 1.0),
    "bicubic": (lambda x: _cubic(x, -0.5), 2.0),
    "lanczos": (_lanczos, 3.0),
}


@lru_cache(maxsize=16)
def _pillow_matrix(old: int, new: int, method: str) -> NDArray[np.float64]:
    kernel, reach = _PILLOW[method]
    scale = max(old / new, 1.0)
    made = np.zeros((new, old), np.float64)
    for i in range(new):
        centre = (i + 0.5) * old / new
        first = max(int(centre - reach * scale + 0.5), 0)
        last = min(int(centre + reach * scale + 0.5), old)
        offsets = (np.arange(first, last) - centre + 0.5) / scale
        weights = (
            kernel(np.abs(offsets))
            if method != "box"
            else np.where((offsets > -0.5) & (offsets <= 0.5), 1.0, 0.0)
        )
        made[i, first:last] = weights / weights.sum()
    return made


def _bislerp(values: Floats, width: int, height: int) -> Floats:
    """Return (B, H, W, C) scaled between neighbours along great circles of their channels."""
    for axis, size in ((2, width), (1, height)):
        moved = np.moveaxis(values, axis, 1)
        weights = _matrix(moved.shape[1], size, "bilinear")
        first = (weights > 0).argmax(axis=1)
        second = moved.shape[1] - 1 - (weights[:, ::-1] > 0).argmax(axis=1)
        share = np.where(first == second, 0.0, weights[np.arange(size), second]).astype(np.float32)
        values = np.moveaxis(_slerp(moved[:, first], moved[:, second], share[None, :, None, None]), 1, axis)
    return values


def _slerp(one: Floats, other: Floats, share: Floats) -> Floats:
    lengths = [np.linalg.norm(v, axis=-1, keepdims=True) for v in (one, other)]
    units = [
        np.divide(v, n, out=np.zeros_like(v), where=n > 0) for v, n in zip((one, other), lengths, strict=True)
    ]
    dot = (units[0] * units[1]).sum(-1, keepdims=True)
    angle = np.arccos(np.clip(dot, -1, 1))
    sine = np.where(np.sin(angle) == 0, 1, np.sin(angle))
    turned = (np.sin((1 - share) * angle) * units[0] + np.sin(share * angle) * units[1]) / sine
    turned *= lengths[0] * (1 - share) + lengths[1] * share
    turned = np.where(dot > 1 - 1e-5, one, turned)
    return np.where(dot < 1e-5 - 1, one * (1 - share) + other * share, turned).astype(np.float32)
