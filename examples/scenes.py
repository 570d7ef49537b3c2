"""Photo-like scenes of any size, drawn by formula, with exact ground truth for inpainting.

A scene is drawn in strips of rows, so 100 MP need little more memory than the picture itself. The same name,
size and seed give the same bytes. `with_object` pastes an object on a scene: the scene without it is the
truth. This module knows no inpainting; it needs NumPy only (pyvips to write files from the command line).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .materials import (
    Painter,
    bricks,
    foliage,
    grass,
    hills,
    layers,
    planks,
    plaster,
    shade,
    sky,
    textured,
    water,
)
from .silhouettes import draw, place
from .textures import (
    Canvas,
    Floor,
    Plane,
    Rows,
    colours,
    fractal,
    heap,
    lattice,
    lettering,
    mix,
    profile,
    step,
)

STRIP = 64  # rows drawn at a time; part of what a seed means, as the grain is drawn per strip


# --- scenes ------------------------------------------------------------------------------------------


def beach(canvas: Canvas) -> Painter:
    """Sky, sea, and sand with a wavy shore."""
    sand = Floor(canvas=canvas, horizon=0.30).noise("sand", 1.0, gain=0.8, stretch=2.0)
    shore = 0.66 + 0.018 * profile(canvas, "shore", 0.7, gain=0.45)
    foam = colours("9aa39b", "e9eeee", "ffffff")
    return layers(
        canvas,
        sky(canvas, "3f79b8", "7fb0dc", "cfe3ee", clouds=0.45, horizon=0.42),
        (0.42, water(canvas, 0.42, "0f4358", "1d6a80", "3f9aa6", "8fc9cd")),
        (shore - 0.012, textured(sand, foam, base=0.85, gain=0.12)),
        (shore, textured(sand, colours("6f5a40", "a58a62", "b99f76", "ccb48c"), base=0.35, gain=0.12)),
        (shore + 0.05, textured(sand, colours("92764f", "c7aa7d", "dcc49b", "eedcbb"), base=0.52, gain=0.17)),
    )


def mountains(canvas: Canvas) -> Painter:
    """Three ridges in haze, over a meadow."""
    far = 0.36 + 0.10 * profile(canvas, "far", 0.55)
    middle = 0.50 + 0.07 * profile(canvas, "middle", 0.4, gain=0.55)
    near = 0.66 + 0.03 * profile(canvas, "near", 0.5, gain=0.62)
    return layers(
        canvas,
        sky(canvas, "2f68ad", "6fa3d6", "d8e6ef", clouds=0.35, horizon=0.6),
        (far, hills(canvas, "rock", "4b5666", "7c8794", "aab2ba", "f2f4f6", haze=0.35)),
        (middle, hills(canvas, "slope", "23342c", "3f5a44", "6c7f5b", haze=0.22)),
        (near, hills(canvas, "wood", "101c10", "22371d", "3f5a2c", haze=0.05, slant=0.35)),
        (
            0.80 + 0.02 * profile(canvas, "field", 0.9),
            grass(canvas, "field", "2f4517", "5b7a2a", "8fa645", "cdd07f"),
        ),
    )


def lake(canvas: Canvas) -> Painter:
    """Wooded hills over still water."""
    hill = 0.34 + 0.08 * profile(canvas, "hill", 0.6)
    bank = 0.50 + 0.006 * profile(canvas, "bank", 0.1)
    return layers(
        canvas,
        sky(canvas, "5d87b8", "a9c4dc", "ecebe2", clouds=0.6, horizon=0.5),
        (hill, hills(canvas, "hill", "2c4237", "4f6b52", "8b9b74", haze=0.25)),
        (hill + 0.1, foliage(canvas, "trees", 0.03, "0c170d", "27421f", "52742f", "a0ad55")),
        (bank, water(canvas, 0.48, "0e2a33", "2c5560", "6d94a0", "c6d8dc")),
    )


def meadow(canvas: Canvas) -> Painter:
    """High grass under a summer sky, with a hedge between."""
    hedge = 0.43 + 0.03 * profile(canvas, "hedge", 0.25, gain=0.6)
    return layers(
        canvas,
        sky(canvas, "3b78c0", "84b5e4", "dbe9f2", clouds=0.55, horizon=0.5),
        (hedge, foliage(canvas, "hedge", 0.026, "0b140a", "2b4a1c", "5d8330", "b5c25c")),
        (
            0.54 + 0.008 * profile(canvas, "rise", 0.5),
            grass(canvas, "meadow", "26390f", "53752a", "86a043", "d2d38c"),
        ),
    )


def forest(canvas: Canvas) -> Painter:
    """Trunks before a wall of leaves."""
    back = foliage(canvas, "leaves", 0.05, "071006", "22401a", "4d7a2a", "a9c653", "eef0a8")
    bark, ramp = (
        fractal(canvas, "bark", 0.09, gain=0.8, stretch=0.12),
        colours("1d1510", "4a3a2c", "7d6a55", "b3a189"),
    )
    rng = canvas.rng("trunks")
    sway = profile(canvas, "floor", 0.4)
    trunks = [
        (k / 5 + rng.uniform(0.02, 0.16), rng.uniform(0.02, 0.05), rng.uniform(-0.05, 0.05)) for k in range(5)
    ]

    def paint(rows: Rows) -> Plane:
        out, tone = back(rows), 0.45 + 0.25 * bark(rows)
        for centre, radius, lean in trunks:
            across = (canvas.x - centre - lean * (canvas.y(rows) - 0.5)) / radius
            alpha = 1 - step(np.abs(across), 1 - 2 / (radius * canvas.width), 1)
            out = mix(out, ramp(tone * (0.95 - 0.45 * across)), alpha)
        return out

    litter = heap(canvas, "litter", 0.035, layers=4, slender=0.45)
    soil = colours("1a120b", "4d331d", "8a6238", "c79b5f")
    return layers(canvas, paint, (0.84 + 0.02 * sway, lambda rows: soil(litter(rows) * 1.1)))


def brick(canvas: Canvas) -> Painter:
    """A brick wall with a soft shadow across."""
    edge = fractal(canvas, "shadow", 0.8, octaves=2)

    def light(rows: Rows) -> Plane:
        return 0.72 + 0.33 * step(canvas.x - 0.35 - 0.35 * canvas.y(rows) + 0.05 * edge(rows), -0.04, 0.04)

    return shade(bricks(canvas, 1 / 16), light)


def facade(canvas: Canvas) -> Painter:
    """A plastered house front: rows of windows with frames and sills, over a plinth of brick."""
    wall, plinth = plaster(canvas, "8d7a55", "d5bd86", "efdcab", relief=0.05), bricks(canvas, 1 / 30)
    glass = fractal(canvas, "glass", 0.3, octaves=5)
    pane, frame = colours("1b2733", "3d5366", "9fb6c6"), np.array([0.93, 0.92, 0.88], np.float32)
    across = max(2, round(canvas.width / canvas.unit * 3))

    def paint(rows: Rows) -> Plane:
        out = wall(rows)
        u = np.abs(np.mod(canvas.x * across, 1) - 0.5)
        v = np.mod(canvas.y(rows) * 3.2 + 0.06, 1) - 0.5
        px = 1.2 / (canvas.width / across)
        outer = (1 - step(u, 0.24 - px, 0.24 + px)) * (1 - step(np.abs(v), 0.33, 0.33 + px))
        inner = (
            step(u, 0.012, 0.012 + px)
            * (1 - step(u, 0.21, 0.21 + px))
            * (1 - step(np.abs(v), 0.30, 0.30 + px))
        )
        inner = inner * step(np.abs(v + 0.1), 0.012, 0.012 + px)
        sill = (1 - step(u, 0.28, 0.28 + px)) * step(v, 0.33, 0.34) * (1 - step(v, 0.38, 0.39))
        out = mix(out, 0 * out + frame, outer)
        out = mix(out, pane(0.45 + 0.22 * glass(rows) - 0.3 * v), inner)
        return mix(out, 0 * out + frame * 0.82, sill)

    return layers(canvas, paint, (0.88, plinth))


def gravel(canvas: Canvas) -> Painter:
    """Pebbles in perspective, under a low wall."""
    floor = Floor(canvas=canvas, horizon=-0.35)
    stones, ramp = (
        heap(canvas, "stones", 0.075, layers=5, slender=0.7, floor=floor),
        colours("14120f", "5b564e", "958e83", "cfc8bb", "efe9de"),
    )
    dust = fractal(canvas, "dust", 0.02, gain=0.85)
    return lambda rows: ramp(stones(rows) * 1.1 + 0.05 * dust(rows))


def wood(canvas: Canvas) -> Painter:
    """Boards in raking light."""
    return shade(planks(canvas, 1 / 7), lambda rows: 1.1 - 0.35 * canvas.x + 0 * canvas.y(rows))


def stucco(canvas: Canvas) -> Painter:
    """A stucco wall above a stone floor, with a skirting line."""
    floor = Floor(canvas=canvas, horizon=0.45)
    slab = floor.noise("slab", 1.5, gain=0.7)
    ramp = colours("3f3a36", "75695d", "9d9184", "c5baac")

    def paving(rows: Rows) -> Plane:
        u, v, span = floor.at(rows)
        joint = np.minimum(np.abs(np.mod(u / 1.2, 1) - 0.5), np.abs(np.mod(v / 1.2, 1) - 0.5)) * 1.2 / span
        return ramp((0.55 + 0.14 * slab(rows)) * (0.5 + 0.5 * step(joint, 0.6, 2.2)))

    wall = plaster(canvas, "6d8a8f", "9fb9ba", "cfe0dc", "f2f6f0")
    return layers(canvas, wall, (0.74, lambda rows: 0.45 * wall(rows)), (0.765, paving))


def dusk(canvas: Canvas) -> Painter:
    """Smooth evening gradients, a low sun, and dark hills: the test for banding and specks."""
    hill = 0.78 + 0.05 * profile(canvas, "hill", 0.7, gain=0.45)
    air = sky(canvas, "20305c", "5b5a8c", "c07a7a", "f3b277", "f9d79a", clouds=0, horizon=0.8)
    aspect = canvas.width / canvas.height

    def glow(rows: Rows) -> Plane:
        near = ((canvas.x - 0.64) * aspect) ** 2 + (canvas.y(rows) - 0.66) ** 2
        sun = 1 - step(near, 0.0018 - 0.1 / canvas.height, 0.0018 + 0.1 / canvas.height)
        light = 0.35 * np.exp(-near * 14) + 0.5 * sun
        return mix(air(rows), np.float32([1.0, 0.93, 0.74]) + 0 * near[..., None], np.clip(light, 0, 1))

    return layers(canvas, glow, (hill, hills(canvas, "dark", "0b0d16", "171a26", "2b2c38", haze=0.03)))


def sign(canvas: Canvas) -> Painter:
    """A painted sign with letters on boards, before leaves."""
    back, board = (
        foliage(canvas, "behind", 0.05, "0a1209", "2a4420", "5c7a35", "b3bd6a"),
        planks(canvas, 1 / 9),
    )
    lines = [lettering(t) for t in ("REST AREA", "LAKE TRAIL", "SCENIC POINT")]
    wide = max(line.shape[1] for line in lines)
    page = np.vstack(
        [
            np.pad(t, ((0, 1), ((wide - t.shape[1]) // 2, wide - t.shape[1] - (wide - t.shape[1]) // 2)))
            for t in lines
        ]
    )
    page = np.pad(page, ((2, 1), (2, 3)))
    ink = np.array([0.96, 0.94, 0.86], np.float32)
    left, right, top, bottom = 0.12, 0.88, 0.18, 0.80

    def paint(rows: Rows) -> Plane:
        y = canvas.y(rows)
        out = back(rows)
        if y[-1, 0] < top - 0.01 or y[0, 0] > bottom + 0.01:
            return out
        edge = np.minimum(
            np.minimum(canvas.x - left, right - canvas.x) * canvas.width,
            np.minimum(y - top, bottom - y) * canvas.height,
        )
        out = mix(out, 0.62 * board(rows) * np.float32([0.55, 0.95, 0.72]), step(edge, -1.2, 1.2))
        j, ty = lattice(
            np.clip((y[:, 0] - top) / (bottom - top) * (page.shape[0] - 1), 0, page.shape[0] - 1.001)
        )
        i, tx = lattice(
            np.clip((canvas.x[0] - left) / (right - left) * (page.shape[1] - 1), 0, page.shape[1] - 1.001)
        )
        line = page[:, i] * (1 - tx) + page[:, i + 1] * tx
        dots = line[j] * (1 - ty[:, None]) + line[j + 1] * ty[:, None]
        border = step(edge, 0.012 * canvas.unit, 0.012 * canvas.unit + 2) * (
            1 - step(edge, 0.02 * canvas.unit, 0.02 * canvas.unit + 2)
        )
        return mix(out, 0 * out + ink, np.maximum(step(dots, 0.42, 0.58), border))

    return paint


SCENES: dict[str, Callable[[Canvas], Painter]] = {
    scene.__name__: scene
    for scene in (beach, brick, dusk, facade, forest, gravel, lake, meadow, mountains, sign, stucco, wood)
}


# --- doors -------------------------------------------------------------------------------------------


def names() -> list[str]:
    """Return the names of all scenes."""
    return sorted(SCENES)


def _developed(pixels: Plane, rows: Rows, canvas: Canvas, grain: float) -> NDArray[np.uint8]:
    """Add vignetting and sensor grain (stronger in bright light, weaker in colour than in luma)."""
    height, width = pixels.shape[:2]
    raw = canvas.rng("grain", int(rows[0])).bytes(4 * height * width)
    noise = np.frombuffer(raw, np.int8).reshape(height, width, 4)
    level = pixels * (255 - 36 * ((canvas.x - 0.5) ** 2 + (canvas.y(rows) - 0.5) ** 2))[..., None]
    strength = grain * (0.012 + 0.010 * pixels[..., 1])
    level += (noise[..., :3] * np.float32(0.6) + noise[..., 3:]) * strength[..., None]
    return np.clip(level + 0.5, 0, 255, out=level).astype(np.uint8)


def render(name: str, width: int, height: int, seed: int = 0, *, grain: float = 1.0) -> NDArray[np.uint8]:
    """Draw a scene.

    Parameters
    ----------
    name : str
        One of `names`.
    width, height : int
        Size in pixels, each at least 1.
    seed : int
        The same seed gives the same bytes.
    grain : float
        Strength of the sensor grain; 1 is about two 8-bit levels, 0 none.

    Returns
    -------
    ndarray, (H, W, 3), uint8, sRGB
    """
    if name not in SCENES:
        raise ValueError(f"no scene {name!r}; scenes: {', '.join(names())}")
    canvas = Canvas(width=width, height=height, seed=seed)
    paint = SCENES[name](canvas)
    photo = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, STRIP):
        rows = np.arange(top, min(top + STRIP, height))
        photo[top : top + len(rows)] = _developed(paint(rows), rows, canvas, grain)
    return photo


def with_object(
    name: str, width: int, height: int, seed: int = 0, *, kind: str = "person", area: float = 0.05
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.uint8]]:
    """Draw a scene and paste an object on it.

    Parameters
    ----------
    kind : str
        A silhouette: see `silhouettes.KINDS`.
    area : float
        About how much of the picture the object covers, 0..1.

    Returns
    -------
    photo : ndarray, (H, W, 3), uint8
        The scene with the object.
    mask : ndarray of bool, (H, W)
        True where the object is, grown by 2 px.
    truth : ndarray, (H, W, 3), uint8
        The scene alone: equal to ``photo`` wherever ``mask`` is False.
    """
    truth = render(name, width, height, seed)
    canvas = Canvas(width=width, height=height, seed=seed)
    rng = canvas.rng(f"{kind} on {name}")
    photo, mask = truth.copy(), np.zeros((height, width), np.bool_)
    draw(photo, mask, place(kind, width, height, rng, area=area), rng)
    return photo, mask, truth


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    return int(width), int(height)


def main() -> None:
    """Write a scene with an object, and the object's mask."""
    parser = argparse.ArgumentParser(
        description="Draw a photo-like scene with an object, and the object's mask."
    )
    parser.add_argument("--scene", choices=names(), default="beach")
    parser.add_argument("--size", type=_size, default=(1500, 1000), metavar="WxH")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--object", default="person", metavar="KIND")
    parser.add_argument("--area", type=float, default=0.05, help="part of the picture that the object covers")
    parser.add_argument("--truth", metavar="FILE", help="also write the scene without the object")
    parser.add_argument("photo", metavar="PHOTO")
    parser.add_argument("mask", metavar="MASK")
    args = parser.parse_args()
    start = time.perf_counter()
    photo, mask, truth = with_object(args.scene, *args.size, args.seed, kind=args.object, area=args.area)
    print(f"{args.scene} {args.size[0]}x{args.size[1]} in {time.perf_counter() - start:.1f} s")
    import pyvips

    write = partial(pyvips.Image.new_from_array, interpretation="srgb")
    write(photo).write_to_file(args.photo)
    pyvips.Image.new_from_array(mask.astype(np.uint8) * 255, interpretation="b-w").write_to_file(args.mask)
    if args.truth:
        write(truth).write_to_file(args.truth)


if __name__ == "__main__":
    main()
