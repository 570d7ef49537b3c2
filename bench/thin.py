"""Which engine restores thin damage best, by its thickness: the figures behind ``--engine auto``.

Run ``python -m bench.thin``: scratches and specks of 1 to 13 px over the tuning photos, each engine's metrics
averaged over the photos. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

import reknit
from bench import cases, metrics
from reknit.core.mask import Mask

ENGINES = ("telea", "navier-stokes", "exemplar")
SHOWN = ("psnr", "ssim", "haarpsi", "gmsd", "seam", "fd", "swd", "sharpness")
WIDTHS = (1, 2, 3, 4, 5, 7, 9, 13)
Maker = Callable[[int, int, np.random.Generator, float], cases.Hole]


def scratches(width: int, height: int, rng: np.random.Generator, thickness: float) -> cases.Hole:
    """Four slightly bent lines at random places."""
    y, x = np.mgrid[:height, :width]
    hole = np.zeros((height, width), np.bool_)
    for _ in range(4):
        turn = rng.uniform(0, np.pi)
        dx, dy = x - rng.uniform(0.2, 0.8) * width, y - rng.uniform(0.2, 0.8) * height
        half, bend = rng.uniform(60, 130), rng.uniform(-0.002, 0.002)
        along = dx * np.cos(turn) + dy * np.sin(turn)
        across = dy * np.cos(turn) - dx * np.sin(turn) - bend * along * along
        hole |= (np.abs(across) < thickness / 2) & (np.abs(along) < half)
    return hole


def specks(width: int, height: int, rng: np.random.Generator, thickness: float) -> cases.Hole:
    """25 round specks at random places."""
    return cases.specks(width, height, rng, count=25, radius=thickness / 2)


def means(make: Maker, thickness: float, grow: float) -> dict[str, dict[str, float]]:
    """Return each engine's metrics, averaged over the tuning photos."""
    found: dict[str, list[dict[str, float]]] = {engine: [] for engine in ENGINES}
    for number, (name, ((left, top, wide, high), _)) in enumerate(cases.TUNING_PHOTOS.items()):
        truth = np.ascontiguousarray(cases.photo(name)[top : top + high, left : left + wide])
        rng = np.random.default_rng((int(thickness), number))
        hole = make(truth.shape[1], truth.shape[0], rng, thickness)
        damaged = truth.copy()
        damaged[hole] = 255
        filled_area = Mask.from_bool(hole).grown(grow).fill
        for engine in ENGINES:
            filled = reknit.fill(damaged, hole, engine=engine, grow=grow).to_numpy()
            found[engine].append(metrics.measure(filled, truth, filled_area))
    return {e: {k: float(np.mean([m[k] for m in runs])) for k in SHOWN} for e, runs in found.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grow", type=float, default=2.0, help="px by which the mask is grown first")
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS))
    given = parser.parse_args()
    print("| hole | px | engine |", " | ".join(SHOWN), "|")
    print("|---|---|---|" + "---|" * len(SHOWN))
    for make in (scratches, specks):
        for thickness in given.widths:
            for engine, values in means(make, thickness, given.grow).items():
                cells = " | ".join(f"{values[k]:.2f}" if k == "psnr" else f"{values[k]:.3f}" for k in SHOWN)
                print(f"| {make.__name__} | {thickness} | {engine} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
