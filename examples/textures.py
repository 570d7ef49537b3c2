"""Textures that look like nature's, drawn by formula in strips of rows.

A texture is a function from row numbers to a (h, W) plane; what it draws depends on its `Canvas`
(size and seed) and tag only. `Floor` lays textures on a plane in perspective, `heap` piles leaves or
pebbles, `lettering` sets type. NumPy only.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Rows = NDArray[np.int64]
Texture = Callable[[Rows], Plane]


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """The size of a picture and its source of chance."""

    width: int
    height: int
    seed: int

    @property
    def unit(self) -> int:
        """Length in pixels that all feature sizes are relative to: the shorter side."""
        return min(self.width, self.height)

    def rng(self, tag: str, index: int = 0) -> np.random.Generator:
        """Return a generator of its own for each layer of the picture."""
        return np.random.default_rng([self.seed, zlib.crc32(tag.encode()), index])

    @property
    def x(self) -> Plane:
        """Pixel centres across, (1, W), in 0..1."""
        return ((np.arange(self.width, dtype=np.float32) + 0.5) / self.width)[None]

    def y(self, rows: Rows) -> Plane:
        """Pixel centres down, (h, 1), in 0..1."""
        return ((rows.astype(np.float32) + 0.5) / self.height)[:, None]


def step(value: Plane, low: float, high: float) -> Plane:
    """Rise smoothly from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((value - low) / (high - low), 0, 1, dtype=np.float32)
    return t * t * (3 - 2 * t)


def mix(below: Plane, above: Plane, alpha: Plane) -> Plane:
    """Lay ``above`` over ``below`` (h, W, 3) with alpha (h, W) or (h, 1)."""
    return below + (above - below) * alpha[..., None]


def lattice(position: Plane) -> tuple[NDArray[np.int64], Plane]:
    """Cell number and smoothed place within the cell, 0..1."""
    cell = np.floor(position)
    t = (position - cell).astype(np.float32)
    return cell.astype(np.int64), t * t * (3 - 2 * t)


def fractal(
    canvas: Canvas, tag: str, cell: float, *, octaves: int = 12, gain: float = 0.5, stretch: float = 1.0
) -> Texture:
    """Sum of value noises, each half as coarse as the one before, down to about 2 px.

    Parameters
    ----------
    cell : float
        Size of the coarsest blobs, as a part of the shorter side.
    gain : float
        Strength of each octave relative to the coarser one.
    stretch : float
        Above 1: blobs longer across; below 1: longer down.

    Returns
    -------
    function from rows to (h, W) float32, about −1..1, mean 0
    """
    rng = canvas.rng(tag)
    layers: list[tuple[float, float, float, Plane]] = []
    across, down, strength = cell * canvas.unit * stretch**0.5, cell * canvas.unit / stretch**0.5, 1.0
    for _ in range(octaves):
        if max(across, down) < 1.9:
            break
        cell_x, cell_y = max(across, 1.0), max(down, 1.0)
        shape = (int(canvas.height / cell_y) + 3, int(canvas.width / cell_x) + 3)
        raw = np.frombuffer(rng.bytes(shape[0] * shape[1]), np.uint8).reshape(shape)
        layers.append((cell_x, cell_y, strength, raw))
        across, down, strength = across / 2, down / 2, strength * gain
    total = sum(s * s for *_, s, _ in layers) ** 0.5

    def draw_rows(rows: Rows) -> Plane:
        out = np.zeros((len(rows), canvas.width), np.float32)
        pixels = np.arange(canvas.width, dtype=np.float64)
        for cell_x, cell_y, strength, raw in layers:
            column, tx = lattice(pixels / cell_x)
            row, ty = lattice(rows / cell_y)
            lines = (
                raw[row[0] : row[-1] + 2].astype(np.float32) * (strength / total / 74)
                - 1.72 * strength / total
            )
            wide = lines[:, column]
            wide += (lines[:, column + 1] - wide) * tx
            row = row - row[0]
            upper = wide[row]
            out += upper
            lower = wide[row + 1]
            lower -= upper
            lower *= ty[:, None]
            out += lower
        return out

    return draw_rows


def profile(canvas: Canvas, tag: str, cell: float, *, gain: float = 0.5) -> Plane:
    """Fractal noise along a row, (W,), about −1..1."""
    line = Canvas(width=canvas.width, height=1, seed=canvas.seed)
    rng = canvas.rng(tag)
    out, size, strength = np.zeros(line.width, np.float32), cell * canvas.unit, 1.0
    while size > 1.9:
        knots = rng.uniform(-1, 1, int(line.width / size) + 3).astype(np.float32)
        at, t = lattice(np.arange(line.width) / size)
        out += strength * (knots[at] + (knots[at + 1] - knots[at]) * t)
        size, strength = size / 2, strength * gain
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """A plane seen in perspective: distance goes as 1 / height below the horizon."""

    canvas: Canvas
    horizon: float

    def at(self, rows: Rows) -> tuple[Plane, Plane, Plane]:
        """Return u (h, W), v (h, 1) in metres or so, and the metres that a pixel spans (h, 1)."""
        below = np.maximum(self.canvas.y(rows) - self.horizon, 0.5 / self.canvas.height)
        distance = 1 / below
        aspect = self.canvas.width / self.canvas.height
        return (self.canvas.x - 0.5) * aspect * distance, distance, distance / self.canvas.height

    def noise(self, tag: str, cell: float, *, gain: float = 0.6, stretch: float = 1.0) -> Texture:
        """Fractal noise lying on the plane; octaves finer than a pixel fade out."""
        rng = self.canvas.rng(tag)
        octaves = max(1, int(np.log2(max(2, cell * self.canvas.height))))
        tables = [rng.uniform(-1.7, 1.7, (256, 257)).astype(np.float32) for _ in range(min(octaves, 9))]
        for table in tables:
            table[:, 256] = table[:, 0]

        def draw_rows(rows: Rows) -> Plane:
            u, v, span = self.at(rows)
            out, size, strength = np.zeros(u.shape, np.float32), cell, (1 - gain * gain) ** 0.5
            for table in tables:
                seen = strength * step(size / span, 1.0, 3.0)
                if seen.max() > 0:
                    column, tx = lattice(u / (size * stretch))
                    row, ty = lattice(v / size)
                    column &= 255
                    near, far = (row & 255) * 257 + column, ((row + 1) & 255) * 257 + column
                    flat = table.ravel()
                    upper, lower = flat[near], flat[far]
                    upper += (flat[near + 1] - upper) * tx
                    lower += (flat[far + 1] - lower) * tx
                    out += seen * (upper + (lower - upper) * ty)
                size, strength = size / 2, strength * gain
            return out

        return draw_rows


def scatter(
    rng: np.random.Generator,
    u: Plane,
    v: Plane,
    size: Plane | float,
    table: Plane,
    *,
    slender: float,
    soft: float,
) -> tuple[Plane, Plane, Plane]:
    """One layer of leaves or pebbles: an ellipse in each cell of a turned grid.

    Returns
    -------
    alpha, tone, side : (h, W) float32
        Coverage 0..1, each ellipse's own random tone 0..1, and the place across it −1..1.
    """
    angle, shift = rng.uniform(0.2, 1.3), rng.uniform(0, 64, 2)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    a, b = (u * cos + v * sin) / size + shift[0], (v * cos - u * sin) / size + shift[1]
    i, j = np.floor(a), np.floor(b)
    at = (j.astype(np.int32) & 127) * 128 + (i.astype(np.int32) & 127)
    table = table.reshape(-1, 6)
    leaf = table[at]
    da, db = (a - i).astype(np.float32) - leaf[..., 0], (b - j).astype(np.float32) - leaf[..., 1]
    along = da * leaf[..., 2] + db * leaf[..., 3]
    side = (db * leaf[..., 2] - da * leaf[..., 3]) / slender
    radius2 = (along * along + side * side) / (leaf[..., 4] * leaf[..., 4])
    return 1 - step(radius2, 1 - soft, 1.0), leaf[..., 5], side / leaf[..., 4]


def leaves_table(rng: np.random.Generator) -> Plane:
    """Centre, direction, radius and tone of the ellipses of 128 × 128 cells."""
    n = 128 * 128
    turn = rng.uniform(0, 2 * np.pi, n)
    table = [rng.uniform(0.42, 0.58, n), rng.uniform(0.42, 0.58, n), np.cos(turn), np.sin(turn)]
    table += [rng.uniform(0.26, 0.42, n), rng.random(n)]
    return np.stack(table, axis=-1).astype(np.float32)


def heap(
    canvas: Canvas, tag: str, size: float, *, layers: int, slender: float, floor: Floor | None = None
) -> Texture:
    """Leaves or pebbles lying over each other: a (h, W) tone 0..1, dark in the gaps."""
    tables = [leaves_table(canvas.rng(tag, k)) for k in range(layers)]

    def draw_rows(rows: Rows) -> Plane:
        if floor is None:
            u, v = canvas.x * (canvas.width / canvas.unit), canvas.y(rows) * (canvas.height / canvas.unit)
            blur = 1.5 / (size * canvas.unit * 0.35)
        else:
            u, v, span = floor.at(rows)
            blur = float(np.median(span)) * 1.5 / (size * 0.35)
        tone = np.full((len(rows), canvas.width), 0.08, np.float32)
        for k, table in enumerate(tables):
            depth = (k + 1) / layers
            alpha, own, side = scatter(
                canvas.rng(tag, 100 + k), u, v, size * (0.8 + 0.4 * depth), table, slender=slender,
                soft=min(0.9, max(0.2, blur)),
            )  # fmt: skip
            lit = (0.15 + 0.6 * own) * (0.45 + 0.55 * depth) + 0.14 * side
            tone += (lit - tone) * alpha
        return tone

    return draw_rows


def colours(*stops: str) -> Callable[[Plane], Plane]:
    """Map tones 0..1 to colours, evenly spaced ``rrggbb`` stops, smoothly between."""
    knots = np.array([[int(s[k : k + 2], 16) for k in (0, 2, 4)] for s in stops], np.float32) / 255
    at = np.linspace(0, 1, len(stops))
    ramp = np.linspace(0, 1, 1024)
    table = np.stack([np.interp(ramp, at, knots[:, c]) for c in range(3)], axis=-1).astype(np.float32)

    def paint(tone: Plane) -> Plane:
        return table[np.clip(tone * 1023, 0, 1023).astype(np.int16)]

    return paint


GLYPHS = {
    "A": "0e11111f111111", "C": "0e11101010110e", "E": "1f10101e10101f", "I": "0e04040404040e",
    "K": "11121418141211",
    "L": "1010101010101f", "N": "11191915131311", "O": "0e11111111110e", "P": "1e11111e101010",
    "R": "1e11111e141211",
    "S": "0f10100e01011e", "T": "1f040404040404", "U": "1111111111110e", "Y": "11110a04040404",
    " ": "00000000000000",
}  # fmt: skip


def lettering(text: str) -> Plane:
    """Set a line in a 5 × 7 dot alphabet: (9, 6 n + 2) float32 of 0 and 1."""
    rows = [[bin(32 + int(GLYPHS[c][2 * k : 2 * k + 2], 16))[3:] + "0" for c in text] for k in range(7)]
    dots = np.array([[int(dot) for dot in "".join(row)] for row in rows], np.float32)
    return np.pad(dots, ((1, 1), (2, 0)))
