"""Outlines of everyday objects (people, birds, cars, posts, …), as shaded objects and as holes.

An object is a union of discs, capsules and turned ellipses with a few limbs moved at random, so each seed
gives another one. Only the object's own box is worked on, so photos may be huge. NumPy only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Part = tuple[float, float, float, float, float, int]  # from x, y, to x, y, radius, colour index

ROWS = 256  # rows worked on at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An object at its place: parts in its own units, and how these map to pixels."""

    parts: tuple[Part, ...]
    x: float
    y: float
    scale: float

    def box(self, width: int, height: int, grow_px: int = 3) -> tuple[int, int, int, int]:
        """Return left, top, right, bottom within a picture of that size."""
        left, top, right, bottom = _bounds(self.parts)
        return (
            max(0, int(self.x + left * self.scale) - grow_px),
            max(0, int(self.y + top * self.scale) - grow_px),
            min(width, int(np.ceil(self.x + right * self.scale)) + grow_px),
            min(height, int(np.ceil(self.y + bottom * self.scale)) + grow_px),
        )

    def depth(self, left: int, right: int, rows: NDArray[np.int64]) -> Iterator[tuple[Plane, int]]:
        """Yield for each part how many pixels each pixel lies inside it (h, w), and its colour index."""
        u = ((np.arange(left, right) + 0.5 - self.x) / self.scale).astype(np.float32)[None]
        v = ((rows + 0.5 - self.y) / self.scale).astype(np.float32)[:, None]
        for x0, y0, x1, y1, radius, colour in self.parts:
            dx, dy = x1 - x0, y1 - y0
            along = np.clip(((u - x0) * dx + (v - y0) * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
            yield (radius - np.hypot(u - x0 - along * dx, v - y0 - along * dy)) * self.scale, colour


def _bounds(parts: tuple[Part, ...]) -> tuple[float, float, float, float]:
    return (
        min(min(p[0], p[2]) - p[4] for p in parts),
        min(min(p[1], p[3]) - p[4] for p in parts),
        max(max(p[0], p[2]) + p[4] for p in parts),
        max(max(p[1], p[3]) + p[4] for p in parts),
    )


def person(rng: np.random.Generator) -> list[Part]:
    """Someone standing or walking."""
    stride, swing, bend = rng.uniform(0.05, 0.45), rng.uniform(-0.4, 0.4), rng.uniform(0.0, 0.3)
    return [
        (-0.12, 0.1, -0.12 - stride, 1.75, 0.16, 0), (0.12, 0.1, 0.12 + stride, 1.75, 0.16, 0),
        (-0.12 - stride, 1.8, 0.02 - stride, 1.83, 0.10, 3),
        (0.12 + stride, 1.8, 0.26 + stride, 1.83, 0.10, 3),
        (0, -0.75, 0, 0.12, 0.33, 1), (-0.2, -0.85, 0.2, -0.85, 0.24, 1),
        (-0.36, -0.85, -0.45 - bend, -0.1, 0.12, 1), (-0.45 - bend, -0.1, -0.42 + swing, 0.45, 0.10, 2),
        (0.36, -0.85, 0.45 + bend, -0.1, 0.12, 1), (0.45 + bend, -0.1, 0.42 + swing, 0.45, 0.10, 2),
        (0, -1.15, 0, -1.05, 0.12, 2), (0, -1.5, 0, -1.42, 0.25, 2), (-0.02, -1.58, 0.02, -1.58, 0.25, 3),
    ]  # fmt: skip


def bird(rng: np.random.Generator) -> list[Part]:
    """A bird in flight."""
    lift, sweep = rng.uniform(0.5, 1.1), rng.uniform(-0.3, 0.5)
    return [
        (-0.55, 0.1, 0.5, 0.0, 0.26, 1), (0.62, -0.1, 0.7, -0.12, 0.19, 1),
        (0.85, -0.1, 1.05, -0.05, 0.05, 2),
        (-0.8, 0.15, -1.25, 0.25, 0.11, 0), (-0.8, 0.12, -1.2, 0.05, 0.11, 0),
        (0.15, -0.1, -0.1 - sweep / 2, -0.6 * lift, 0.21, 0),
        (-0.1 - sweep / 2, -0.6 * lift, -0.5 - sweep, -1.3 * lift, 0.12, 3),
        (0.1, 0.0, 0.45 - sweep / 2, -0.55 * lift, 0.20, 0),
        (0.45 - sweep / 2, -0.55 * lift, 0.5 - sweep, -1.25 * lift, 0.11, 3),
    ]  # fmt: skip


def car(rng: np.random.Generator) -> list[Part]:
    """A car from the side."""
    roof = rng.uniform(0.35, 0.8)
    return [
        (-1.35, 0.1, 1.35, 0.12, 0.30, 1), (-1.2, -0.05, 1.1, -0.05, 0.28, 1),
        (-0.75, -0.15, -0.45, -0.62, 0.16, 0), (roof, -0.15, roof - 0.3, -0.62, 0.16, 0),
        (-0.45, -0.62, roof - 0.3, -0.62, 0.16, 1), (-0.4, -0.35, roof - 0.3, -0.35, 0.20, 0),
        (-0.9, 0.38, -0.9, 0.38, 0.30, 3), (0.9, 0.38, 0.9, 0.38, 0.30, 3),
        (-0.9, 0.38, -0.9, 0.38, 0.14, 2), (0.9, 0.38, 0.9, 0.38, 0.14, 2),
    ]  # fmt: skip


def post(rng: np.random.Generator) -> list[Part]:
    """A post with a plate."""
    lean, plate = rng.uniform(-0.08, 0.08), rng.uniform(0.22, 0.5)
    return [
        (0, 1.6, lean, -1.5, 0.12, 0),
        (lean - plate, -1.25, lean + plate, -1.25, 0.3, 1),
        (lean - plate, -1.05, lean + plate, -1.05, 0.3, 1),
    ]


def dog(rng: np.random.Generator) -> list[Part]:
    """A dog from the side."""
    tail, step = rng.uniform(-0.6, 0.1), rng.uniform(0.0, 0.25)
    return [
        (-0.7, 0.0, 0.55, -0.05, 0.32, 1), (-0.7, 0.2, -0.8 - step, 0.95, 0.12, 1),
        (-0.55, 0.2, -0.5 + step, 0.95, 0.12, 0),
        (0.45, 0.2, 0.4 - step, 0.95, 0.12, 0), (0.6, 0.2, 0.7 + step, 0.95, 0.12, 1),
        (0.6, -0.15, 0.95, -0.65, 0.20, 1),
        (0.98, -0.7, 1.3, -0.6, 0.19, 1), (1.35, -0.58, 1.5, -0.55, 0.12, 3),
        (0.85, -0.8, 0.78, -0.5, 0.11, 3),
        (-0.95, -0.1, -1.35, tail, 0.09, 1),
    ]  # fmt: skip


def bush(rng: np.random.Generator) -> list[Part]:
    """A round shrub or rock: a blob of discs."""
    n = int(rng.integers(5, 9))
    turn = np.linspace(0, 2 * np.pi, n, endpoint=False) + rng.uniform(0, 1)
    far, size = rng.uniform(0.25, 0.75, n), rng.uniform(0.35, 0.65, n)
    ring = [
        (f * np.cos(t), 0.75 * f * np.sin(t), 0.9 * f * np.cos(t), 0.7 * f * np.sin(t), s, k % 2)
        for k, (t, f, s) in enumerate(zip(turn, far, size, strict=True))
    ]
    return [*ring, (0, 0, 0.05, 0, 0.55, 0)]


KINDS: dict[str, Callable[[np.random.Generator], list[Part]]] = {
    maker.__name__: maker for maker in (person, bird, car, post, dog, bush)
}


def place(
    kind: str,
    width: int,
    height: int,
    rng: np.random.Generator,
    *,
    area: float,
    centre: tuple[float, float] | None = None,
) -> Placed:
    """Put an object into a picture.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    area : float
        The part of the picture to cover, 0..1; less where the object would not fit in the frame.
    centre : (x, y), optional
        Where in the picture, each 0..1; by default at random in the lower middle.

    Returns
    -------
    Placed
    """
    if kind not in KINDS:
        raise ValueError(f"no object {kind!r}; objects: {', '.join(KINDS)}")
    made = KINDS[kind](rng)
    parts = tuple(
        (s * x0, y0, s * x1, y1, r, c) for s in [rng.choice((-1.0, 1.0))] for x0, y0, x1, y1, r, c in made
    )
    left, top, right, bottom = _bounds(parts)
    trial = Placed(parts=parts, x=-left * 64, y=-top * 64, scale=64)
    rows = np.arange(int((bottom - top) * 64) + 1)
    covered = np.any([d > 0 for d, _ in trial.depth(0, int((right - left) * 64) + 1, rows)], axis=0)
    scale = (area * width * height / (covered.sum() / 64**2)) ** 0.5
    scale = min(scale, 0.94 * width / (right - left), 0.94 * height / (bottom - top))
    cx, cy = centre if centre is not None else (rng.uniform(0.3, 0.7), rng.uniform(0.6, 0.8))
    x = np.clip(
        cx * width - (left + right) / 2 * scale, 0.02 * width - left * scale, 0.98 * width - right * scale
    )
    y = np.clip(
        cy * height - (top + bottom) / 2 * scale, 0.02 * height - top * scale, 0.98 * height - bottom * scale
    )
    return Placed(parts=parts, x=float(x), y=float(y), scale=float(scale))


def outline(placed: Placed, width: int, height: int, *, grow_px: float = 0.0) -> NDArray[np.bool_]:
    """Return the object as a mask, (H, W) bool, True inside."""
    mask = np.zeros((height, width), np.bool_)
    left, top, right, bottom = placed.box(width, height, int(grow_px) + 2)
    for start in range(top, bottom, ROWS):
        rows = np.arange(start, min(start + ROWS, bottom))
        for depth, _ in placed.depth(left, right, rows):
            mask[rows[0] : rows[-1] + 1, left:right] |= depth > -grow_px
    return mask


def draw(photo: NDArray[np.uint8], mask: NDArray[np.bool_], placed: Placed, rng: np.random.Generator) -> None:
    """Paint the object on ``photo`` (H, W, 3) in place and set ``mask`` (H, W) 2 px around all it touches."""
    height, width = mask.shape
    left, top, right, bottom = placed.box(width, height)
    palette = (rng.uniform(50, 210, (4, 1)) + rng.uniform(-45, 45, (4, 3))).astype(np.float32)
    palette[3] *= 0.3
    soft = 0.06 * placed.scale
    for start in range(top, bottom, ROWS):
        rows = np.arange(start, min(start + ROWS, bottom))
        inside = (slice(rows[0], rows[-1] + 1), slice(left, right))
        colour = photo[inside].astype(np.float32)
        for depth, index in placed.depth(left, right, rows):
            alpha = np.clip(depth + 0.5, 0, 1)[..., None]
            round_off = 0.62 + 0.38 * np.clip(depth / soft, 0, 1)[..., None]
            colour += (palette[index] * round_off - colour) * alpha
            mask[inside] |= depth > -2.0
        touched = mask[inside]
        noise = rng.integers(-4, 5, (*touched.shape, 3), dtype=np.int8)
        pasted = np.clip(colour + noise, 0, 255).astype(np.uint8)
        photo[inside][touched] = pasted[touched]
