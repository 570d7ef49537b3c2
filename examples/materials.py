"""What scenes are made of: sky, water, hills, grass, leaves, brick, wood and plaster.

A painter is a function from row numbers to colours (h, W, 3), 0..1; `layers` puts painters over each other.
NumPy only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .textures import Canvas, Floor, Plane, Rows, Texture, colours, fractal, heap, mix, step

Painter = Callable[[Rows], Plane]


def sky(canvas: Canvas, *stops: str, clouds: float = 0.5, horizon: float = 0.5) -> Painter:
    """A gradient from the zenith to the horizon with clouds that flatten towards it."""
    ramp, white = colours(*stops), colours("8e99a8", "dfe4ea", "ffffff")
    noise = fractal(canvas, "clouds", 0.55, gain=0.52, stretch=2.6)

    def paint(rows: Rows) -> Plane:
        y = canvas.y(rows)
        blue = ramp(y / horizon + 0 * canvas.x)
        if clouds == 0:
            return blue
        n = noise(rows) + 0.4
        cover = step(n, 0.75 - clouds, 1.7 - clouds) * (0.92 - 0.5 * np.clip(y / horizon, 0, 1))
        return mix(blue, white(0.75 - 0.35 * n + 0.4 * cover), cover)

    return paint


def above(canvas: Canvas, line: Plane | float, rows: Rows, soft_px: float = 1.2) -> Plane:
    """Coverage (h, W) of what lies below ``line`` (heights 0..1 across the picture)."""
    return step((canvas.y(rows) - line) * canvas.height, -soft_px, soft_px) + 0 * canvas.x


def layers(canvas: Canvas, back: Painter, *parts: tuple[Plane | float, Painter]) -> Painter:
    """Paint ``back``, then each part below its line; a part is skipped on rows it doesn't reach."""

    def paint(rows: Rows) -> Plane:
        y = canvas.y(rows) * canvas.height
        visible = [k for k, (line, _) in enumerate(parts) if np.min(line) * canvas.height < y[-1, 0] + 2]
        full = [k for k in visible if np.max(parts[k][0]) * canvas.height < y[0, 0] - 2]
        start = full[-1] if full else -1
        out = back(rows) if start < 0 else parts[start][1](rows)
        for k in visible:
            if k > start:
                out = mix(out, parts[k][1](rows), above(canvas, parts[k][0], rows))
        return out

    return paint


def textured(
    texture: Texture, paint: Callable[[Plane], Plane], *, base: float = 0.5, gain: float = 0.25
) -> Painter:
    """Colour a texture of mean 0."""
    return lambda rows: paint(base + gain * texture(rows))


def hills(canvas: Canvas, tag: str, *stops: str, haze: float, slant: float = 1.0) -> Painter:
    """Rock and wood on slopes, paler with distance."""
    noise = fractal(canvas, tag, 0.2, gain=0.72, stretch=slant)
    ramp, air = colours(*stops), np.array([0.72, 0.80, 0.88], np.float32)
    return lambda rows: ramp(0.5 + 0.26 * noise(rows)) * (1 - haze) + air * haze


def water(canvas: Canvas, horizon: float, *stops: str) -> Painter:
    """Waves in perspective that mirror the sky."""
    floor = Floor(canvas=canvas, horizon=horizon)
    waves, swell, ramp = (
        floor.noise("waves", 1.2, gain=0.75, stretch=4),
        floor.noise("swell", 6, stretch=3),
        colours(*stops),
    )

    def paint(rows: Rows) -> Plane:
        y = np.clip((canvas.y(rows) - horizon) / (1 - horizon), 0, 1)
        return ramp(0.75 - 0.45 * y + 0.17 * waves(rows) * (0.35 + y) + 0.07 * swell(rows))

    return paint


def grass(canvas: Canvas, tag: str, *stops: str) -> Painter:
    """Blades of grass, with lighter and darker patches."""
    blades = fractal(canvas, tag, 0.05, gain=0.85, stretch=0.16)
    patches, ramp = fractal(canvas, tag + " patches", 0.3, octaves=4, stretch=4), colours(*stops)
    return lambda rows: ramp(0.47 + 0.2 * blades(rows) + 0.1 * patches(rows))


def foliage(canvas: Canvas, tag: str, size: float, *stops: str) -> Painter:
    """Leaves in light and shade."""
    leaf, light = (
        heap(canvas, tag, size, layers=4, slender=0.5),
        fractal(canvas, tag + " light", 0.35, octaves=4),
    )
    ramp = colours(*stops)
    return lambda rows: ramp(leaf(rows) * (0.95 + 0.45 * light(rows)))


def bricks(canvas: Canvas, course: float) -> Painter:
    """A wall in running bond: mortar, brick tones, chipped edges, stains."""
    own = canvas.rng("bricks").random((256, 256)).astype(np.float32).ravel()
    rough, fine = (
        fractal(canvas, "brick edge", 0.02, octaves=3),
        fractal(canvas, "brick face", 0.03, gain=0.8),
    )
    stain, ramp = (
        fractal(canvas, "brick stain", 0.6, octaves=4),
        colours("54302a", "8d4a3a", "b0664e", "cf8d6d"),
    )
    mortar = colours("847d74", "b9b2a6", "d4cec3")
    tall = course * canvas.unit

    def paint(rows: Rows) -> Plane:
        chip = rough(rows) * 0.03
        v = rows[:, None] / tall + chip
        row = np.floor(v)
        u = np.arange(canvas.width)[None] / (tall * 3) + 0.5 * (row % 2) + chip / 3
        column = np.floor(u)
        edge = np.minimum(np.minimum(v - row, 1 - v + row), 3 * np.minimum(u - column, 1 - u + column))
        tone = own[(row.astype(np.int64) & 255) * 256 + (column.astype(np.int64) & 255)]
        face, dirt = fine(rows), 0.09 * stain(rows)
        lit = 0.12 * (step(v - row, 0.3, 0.05) - step(v - row, 0.75, 0.95))
        wall = ramp(0.25 + 0.45 * tone + 0.11 * face + dirt + lit)
        return mix(
            mortar(0.5 + 0.16 * face + dirt - 0.3 * (step(v - row, 0.2, 0.02))),
            wall,
            step(edge, 0.06, 0.06 + 2.0 / tall),
        )

    return paint


def planks(canvas: Canvas, wide: float) -> Painter:
    """Boards lying across, with grain, and dark joints."""
    own = canvas.rng("planks").random(4096).astype(np.float32)
    flow, pores = (
        fractal(canvas, "grain", 0.9, octaves=6, gain=0.5, stretch=9),
        fractal(canvas, "pores", 0.08, gain=0.8, stretch=30),
    )
    ramp = colours("4a2c17", "7d4f2b", "a8733f", "c9975c", "dcb47e")
    tall = wide * canvas.unit

    def paint(rows: Rows) -> Plane:
        v = rows[:, None] / tall
        board = np.floor(v).astype(np.int64)
        rings = np.sin((flow(rows) * 2.2 + own[(board * 7) & 4095] * 20 + v * 2.2) * 6.3)
        tone = 0.42 + 0.34 * own[board & 4095] + 0.055 * rings + 0.085 * pores(rows)
        joint = np.minimum(v - board, 1 - v + board)
        return ramp(tone * (0.25 + 0.75 * step(joint, 0.0, 0.03 + 1.5 / tall)))

    return paint


def plaster(canvas: Canvas, *stops: str, relief: float = 0.10) -> Painter:
    """A rough wall under light that falls from the upper left."""
    noise, ramp = fractal(canvas, "plaster", 0.08, gain=0.75), colours(*stops)
    cloud = fractal(canvas, "plaster stain", 0.7, octaves=4)

    def paint(rows: Rows) -> Plane:
        return ramp(0.72 - 0.3 * canvas.x - 0.22 * canvas.y(rows) + relief * noise(rows) + 0.06 * cloud(rows))

    return paint


def shade(paint: Painter, dark: Callable[[Rows], Plane]) -> Painter:
    """Multiply a painter's colours by (h, W) light."""
    return lambda rows: paint(rows) * dark(rows)[..., None]
