"""What a fill adds to a network: ``python -m bench.learned`` runs one of LaMa's true shape, with random weights.

It times a whole fill of 512 × 512 px over the network alone, and a 24-megapixel JPEG with a 400 px hole over the
small fill plus reading and writing that file, interleaved on one machine; it states the peak memory, and with
``--fills`` whether memory grows over many fills. It needs no download.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import reknit
from bench import clock, lama_shaped
from bench.rates import forget_peak, peak_bytes
from examples import scenes
from reknit.core import codec
from reknit.engines import onnx

CONTRACT = "image=0..1 under_hole=zero mask=1=hole output=0..1"
SIDE = 512
WIDTH, HEIGHT, HOLE_PX = 6000, 4000, 400


def resident_bytes() -> int:
    """Return this process's resident size now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def hole_of(height: int, width: int, side: int) -> np.ndarray:
    """Return a disc in the middle, ``side`` px wide."""
    y, x = np.mgrid[:height, :width]
    return (y - height / 2) ** 2 + (x - width / 2) ** 2 < (side / 2) ** 2


def measured(folder: Path, *, rounds: int, threads: int, blocks: int) -> dict[str, Any]:
    """Return ratios, seconds and bytes."""
    model = folder / "lama_shaped.onnx"
    weights = lama_shaped.write(model, side=SIDE, blocks=blocks)
    params = {"model": str(model), "contract": CONTRACT, "device": "cpu"}
    small = scenes.render("meadow", SIDE, SIDE, 1)
    small_hole = hole_of(SIDE, SIDE, 200)
    large = folder / "large.jpg"
    large.write_bytes(
        codec.encode(reknit.Photo(pixels=scenes.render("meadow", WIDTH, HEIGHT, 1)), container="jpeg").data
    )
    large_hole = hole_of(HEIGHT, WIDTH, HOLE_PX)

    def fill(photo: Any, hole: np.ndarray) -> reknit.FillResult:
        return reknit.fill(photo, hole, engine="network", params=params, threads=threads)

    fill(small, small_hole)
    session = onnx.load(model, threads=threads, device="cpu").session
    inputs = {
        "image": np.ascontiguousarray(small.transpose(2, 0, 1)[None], np.float32) / np.float32(255),
        "mask": np.ascontiguousarray(small_hole[None, None], np.float32),
    }
    done = fill(large, large_hole).photo
    works = {
        "session.run": lambda: session.run(None, inputs),
        "fill 512": lambda: fill(small, small_hole),
        "read 24 MP": lambda: codec.decode(large.read_bytes()),
        "write 24 MP": lambda: codec.encode(done),
        "file 24 MP": lambda: codec.encode(fill(large, large_hole).photo),
    }
    seconds = clock.interleaved(works, rounds)
    pairs = zip(*(seconds[name] for name in ("fill 512", "read 24 MP", "write 24 MP")), strict=True)
    whole = [sum(three) for three in pairs]
    works.clear()
    gc.collect()
    forget_peak()
    before = peak_bytes()
    fill(large, large_hole)
    return {
        "weights": weights,
        "threads": threads,
        "seconds": {name: round(statistics.median(values), 3) for name, values in seconds.items()},
        "fill 512 / session.run": round(clock.ratio(seconds, "fill 512", "session.run"), 3),
        "file 24 MP / (fill 512 + read + write)": round(
            statistics.median(a / b for a, b in zip(seconds["file 24 MP"], whole, strict=True)), 3
        ),
        "peak of the 24 MP fill, MiB": round(peak_bytes() / 2**20),
        "of which were there before, MiB": round(before / 2**20),
    }


def growth(folder: Path, fills: int) -> dict[str, Any]:
    """Return how resident memory changes over many fills by a small network."""
    model = folder / "small.onnx"
    lama_shaped.write(model, side=64, blocks=1)
    photo, hole = scenes.render("meadow", 96, 96, 1), hole_of(96, 96, 30)
    params = {"model": str(model), "contract": CONTRACT, "device": "cpu"}
    sizes: list[int] = []
    for turn in range(fills + 1):
        reknit.fill(photo, hole, engine="network", params=params, threads=1)
        if turn in (fills // 10, fills):
            gc.collect()
            sizes.append(resident_bytes())
    first, last = sizes
    return {
        "fills": fills,
        "MiB after a tenth": round(first / 2**20, 1),
        "MiB at the end": round(last / 2**20, 1),
    }


def main() -> None:
    """Print what was measured as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--blocks", type=int, default=lama_shaped.BLOCKS, metavar="N", help="residual blocks")
    parser.add_argument(
        "--fills", type=int, default=0, metavar="N", help="see whether memory grows over N fills"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.fills:
            result = growth(folder, args.fills)
        else:
            result = measured(folder, rounds=args.rounds, threads=args.threads, blocks=args.blocks)
    print(json.dumps(result | {"machine": clock.machine()}, indent=1))


if __name__ == "__main__":
    main()
