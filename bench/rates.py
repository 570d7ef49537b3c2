"""Measure the rates of an `EngineSpec` that plans predict from: seconds a hole pixel and a region, bytes a crop pixel.

Run ``python -m bench.rates ENGINE`` on an idle machine and copy the three numbers into the engine's spec.
Memory is read from Linux's /proc.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import reknit
from bench import cases
from examples import scenes
from reknit.core.result import FillResult

RUNS = 3


def peak_bytes() -> int:
    """Return this process's highest resident size since the last `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def forget_peak() -> None:
    """Start measuring the peak anew."""
    Path("/proc/self/clear_refs").write_text("5")


def fastest(photo: cases.Picture, hole: cases.Hole, engine: str) -> FillResult:
    """Return the fill that spent the least time in the engine, of a few, at one thread."""
    fills = (reknit.fill(photo, hole, engine=engine, threads=1) for _ in range(RUNS))
    return min(fills, key=lambda result: result.timings["engine"])


def rates(engine: str) -> dict[str, float]:
    """Return the fields of `EngineSpec` by name."""
    photo = scenes.render("meadow", 2400, 1800, 1)
    rng = np.random.default_rng(0)
    small, large = (
        cases.hole_of("bush", 2400, 1800, (1,), area=area, centre=(0.5, 0.5)) for area in (0.01, 0.06)
    )
    one, other = (fastest(photo, hole, engine) for hole in (small, large))
    a_pixel = (other.timings["engine"] - one.timings["engine"]) / (other.plan.hole_px - one.plan.hole_px)
    far_apart = cases.specks(2400, 1800, rng, count=24, radius=2)
    dust = fastest(photo, far_apart, engine)
    rest = dust.timings["engine"] - dust.plan.hole_px * a_pixel
    forget_peak()
    before = peak_bytes()
    reknit.fill(photo, large, engine=engine, threads=1)
    crop_px = max(context.area for _, context in other.plan.regions)
    # Beside the engine's own memory there are the canvas, and two planes of bytes, as `pipeline.plan` counts.
    planes = photo.nbytes + 2 * photo.shape[0] * photo.shape[1]
    return {
        "seconds_per_hole_px": float(f"{a_pixel:.2g}"),
        "seconds_per_region": float(f"{max(rest, 0) / len(dust.plan.regions):.2g}"),
        "bytes_per_crop_px": max(8, round((peak_bytes() - before - planes) / crop_px)),
    }


def main() -> None:
    """Print the rates of one engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine")
    for name, value in rates(parser.parse_args().engine).items():
        print(f"{name}={value:g}")


if __name__ == "__main__":
    main()
