"""Photos with holes whose true content is known: a test set, and a tuning set with other photos and seeds.

Real photos come from the wheels of scikit-image and scikit-learn, so nothing is downloaded; windows of about
512 px are cut from them. Holes are outlines of objects at places where an object could stand, or free-form
strokes. Generated scenes add contents that these photos lack. Never tune on the test set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from examples import scenes, silhouettes

Picture = NDArray[np.uint8]
Hole = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A photo with a hole.

    Attributes
    ----------
    name : str
        Unique, e.g. ``china/0-person``.
    truth : ndarray, (H, W, 3), uint8
    hole : ndarray of bool, (H, W)
        True = fill.
    real : bool
        A photograph, not a generated scene.
    """

    name: str
    truth: Picture
    hole: Hole
    real: bool

    @property
    def holed(self) -> Picture:
        """The photo with the hole painted grey: what every method gets."""
        holed = self.truth.copy()
        holed[self.hole] = 127
        return holed


# photo: window (left, top, width, height), then holes (kind, centre x, centre y, area); no centre for strokes
Plan = dict[str, tuple[tuple[int, int, int, int], tuple[tuple[str, float, float, float], ...]]]

TEST_PHOTOS: Plan = {
    "china.jpg": ((64, 0, 512, 427), (
        ("bird", 0.72, 0.22, 0.06), ("person", 0.80, 0.72, 0.09), ("car", 0.55, 0.85, 0.10),
        ("bush", 0.70, 0.50, 0.12), ("strokes", 0, 0, 0.08),
    )),
    "astronaut.png": ((0, 0, 512, 512), (
        ("bird", 0.57, 0.12, 0.06), ("bush", 0.72, 0.42, 0.10), ("strokes", 0, 0, 0.07),
        ("post", 0.12, 0.50, 0.07),
    )),
    "chelsea.png": ((0, 0, 451, 300), (
        ("bush", 0.20, 0.72, 0.09), ("bird", 0.85, 0.75, 0.08), ("strokes", 0, 0, 0.07),
        ("dog", 0.32, 0.30, 0.07),
    )),
    "coffee.png": ((44, 0, 512, 400), (
        ("bush", 0.86, 0.30, 0.09), ("car", 0.75, 0.88, 0.08), ("post", 0.10, 0.55, 0.06),
        ("dog", 0.50, 0.80, 0.12),
        ("strokes", 0, 0, 0.06),
    )),
    "motorcycle_left.png": ((120, 50, 512, 450), (
        ("dog", 0.50, 0.86, 0.08), ("person", 0.10, 0.55, 0.08), ("bird", 0.45, 0.14, 0.06),
        ("post", 0.85, 0.45, 0.07),
        ("strokes", 0, 0, 0.07),
    )),
    "hubble_deep_field.jpg": ((240, 200, 512, 512), (("person", 0.50, 0.50, 0.12),
    ("car", 0.45, 0.55, 0.16))),
    "brick.png": ((0, 0, 512, 512), (("person", 0.45, 0.50, 0.13), ("bush", 0.55, 0.45, 0.16),
    ("strokes", 0, 0, 0.12))),
    "gravel.png": ((0, 0, 512, 512), (("dog", 0.50, 0.55, 0.14), ("post", 0.40, 0.50, 0.08))),
    "camera.png": ((0, 0, 512, 512), (
        ("person", 0.80, 0.62, 0.10), ("dog", 0.80, 0.75, 0.10), ("bird", 0.78, 0.20, 0.06),
        ("bush", 0.18, 0.72, 0.08),
    )),
}  # fmt: skip

TUNING_PHOTOS: Plan = {
    "flower.jpg": ((64, 0, 512, 427), (
        ("bird", 0.80, 0.30, 0.08), ("person", 0.14, 0.60, 0.10), ("bush", 0.47, 0.50, 0.10),
        ("strokes", 0, 0, 0.08),
    )),
    "rocket.jpg": ((64, 0, 512, 427), (
        ("person", 0.47, 0.60, 0.08), ("bird", 0.35, 0.25, 0.07), ("car", 0.65, 0.86, 0.09),
        ("strokes", 0, 0, 0.07),
    )),
    "retina.jpg": ((300, 420, 512, 512), (("person", 0.50, 0.55, 0.10), ("strokes", 0, 0, 0.09))),
    "grass.png": ((0, 0, 512, 512), (("dog", 0.50, 0.60, 0.14), ("person", 0.45, 0.50, 0.11),
    ("strokes", 0, 0, 0.10))),
    "ihc.png": ((0, 0, 512, 512), (("bush", 0.50, 0.50, 0.12), ("bird", 0.40, 0.50, 0.08))),
    "moon.png": ((0, 0, 512, 512), (("car", 0.50, 0.55, 0.10),)),
    "coins.png": ((0, 0, 384, 303), (("bird", 0.75, 0.80, 0.07), ("post", 0.50, 0.50, 0.06))),
}  # fmt: skip

TEST_SEED, TUNING_SEED = 1000, 7
SCENE_HOLES = {
    "beach": ("person", "car"), "brick": ("person",), "dusk": ("bird", "post"), "facade": ("car",),
    "forest": ("dog",),
    "gravel": ("bush",), "lake": ("person",), "meadow": ("dog", "car"), "mountains": ("bird",),
    "sign": ("strokes",),
    "stucco": ("person", "strokes"), "wood": ("bush",),
}  # fmt: skip


@cache
def photo(name: str) -> Picture:
    """Read a photo from an installed wheel, (H, W, 3) uint8, read-only."""
    import pyvips
    import skimage
    import sklearn

    folders = (Path(skimage.__file__).parent / "data", Path(sklearn.__file__).parent / "datasets" / "images")
    path = next(folder / name for folder in folders if (folder / name).exists())
    image = pyvips.Image.new_from_file(str(path)).colourspace("srgb")
    pixels = np.ascontiguousarray(image[:3].numpy())
    pixels.flags.writeable = False
    return pixels


def strokes(width: int, height: int, rng: np.random.Generator, *, area: float) -> Hole:
    """Free-form brush strokes that cover at least ``area`` of the picture (0..1)."""
    hole = np.zeros((height, width), np.bool_)
    y, x = np.mgrid[:height, :width]
    unit = min(width, height)
    while hole.mean() < area:
        radius, turn = unit * rng.uniform(0.012, 0.04), rng.uniform(0, 2 * np.pi)
        at = np.array([rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.9) * height])
        for _ in range(int(rng.integers(8, 24))):
            turn += rng.normal(0, 0.5)
            at = np.clip(at + radius * np.array([np.cos(turn), np.sin(turn)]), 0, (width - 1, height - 1))
            box = (
                slice(max(0, int(at[1] - radius)), int(at[1] + radius) + 2),
                slice(max(0, int(at[0] - radius)), int(at[0] + radius) + 2),
            )
            hole[box] |= (x[box] - at[0]) ** 2 + (y[box] - at[1]) ** 2 < radius * radius
    return hole


def specks(width: int, height: int, rng: np.random.Generator, *, count: int, radius: float) -> Hole:
    """That many discs at random places, like dust."""
    hole = np.zeros((height, width), np.bool_)
    reach = int(radius) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = x * x + y * y <= radius * radius
    for _ in range(count):
        top, left = int(rng.integers(0, height - 2 * reach)), int(rng.integers(0, width - 2 * reach))
        hole[top : top + 2 * reach + 1, left : left + 2 * reach + 1] |= disc
    return hole


def stroke(width: int, height: int, *, pixels: int) -> Hole:
    """One straight stroke across the picture's middle with about that many pixels."""
    hole = np.zeros((height, width), np.bool_)
    long = int(0.6 * width)
    thick = max(1, round(pixels / long))
    hole[
        (height - thick) // 2 : (height + thick) // 2 + thick % 2, int(0.2 * width) : int(0.2 * width) + long
    ] = True
    return hole


def hole_of(
    kind: str, width: int, height: int, seed: tuple[int, ...], *, area: float, centre: tuple[float, float]
) -> Hole:
    """Return an object's outline, or strokes, covering about ``area`` of the picture."""
    rng = np.random.default_rng(seed)
    if kind == "strokes":
        return strokes(width, height, rng, area=area)
    placed = silhouettes.place(kind, width, height, rng, area=area, centre=centre)
    return silhouettes.outline(placed, width, height, grow_px=2)


def _photo_cases(plan: Plan, seed: int) -> Iterator[Case]:
    for name, ((left, top, width, height), holes) in plan.items():
        truth = np.ascontiguousarray(photo(name)[top : top + height, left : left + width])
        high, wide = truth.shape[:2]
        for index, (kind, x, y, area) in enumerate(holes):
            hole = hole_of(kind, wide, high, (seed, index, len(name)), area=area, centre=(x, y))
            yield Case(name=f"{Path(name).stem}/{index}-{kind}", truth=truth, hole=hole, real=True)


def _scene_cases(seed: int) -> Iterator[Case]:
    for number, (name, kinds) in enumerate(SCENE_HOLES.items()):
        for index, kind in enumerate(kinds):
            truth = scenes.render(name, 512, 384, seed + index)
            rng = np.random.default_rng((seed, number, index))
            area, centre = rng.uniform(0.06, 0.17), (rng.uniform(0.3, 0.7), rng.uniform(0.4, 0.75))
            hole = hole_of(kind, 512, 384, (seed, number, index, 1), area=area, centre=centre)
            yield Case(name=f"scene-{name}/{index}-{kind}", truth=truth, hole=hole, real=False)


def held_out() -> list[Case]:
    """Return the cases that figures are reported on: 50 holes in 9 photos and 12 scenes."""
    return [*_photo_cases(TEST_PHOTOS, TEST_SEED), *_scene_cases(TEST_SEED)]


def tuning() -> list[Case]:
    """Return the cases to tune on: other photos, other scenes' seeds."""
    return [*_photo_cases(TUNING_PHOTOS, TUNING_SEED), *_scene_cases(TUNING_SEED)]


def big_case(scene: str, width: int, height: int, *, area: float, kind: str = "bush", seed: int = 5) -> Case:
    """Return a big generated scene with one hole."""
    hole = hole_of(kind, width, height, (seed, width), area=area, centre=(0.5, 0.6))
    return Case(
        name=f"{scene}-{width * height / 1e6:.0f}mp-{area:.0%}", hole=hole, real=False,
        truth=scenes.render(scene, width, height, seed),
    )  # fmt: skip
