"""``reknit demo``: see it work, on a real photo and on a big generated one."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

import reknit
from reknit.cli.output import ProgressBar, print_json
from reknit.core import codec, files
from reknit.core.image import Photo

Case = tuple[str, NDArray[np.uint8], NDArray[np.bool_]]
"""Name, photo, mask."""


@click.command(name="demo")
@click.option("-o", "--output", default="reknit-demo", metavar="DIR", help="Where the pictures go.")
@click.option(
    "--megapixels",
    type=click.FloatRange(0.01, 1000),
    default=12.0,
    show_default=True,
    help="Size of the generated photo.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(output: str, megapixels: float, as_json: bool) -> int:
    """Fill a hole in a real photo and in a big generated one, and say where the pictures lie.

    The real photo comes from scikit-image (`pip install 'reknit[demo]'`); without it only the generated
    one is filled.
    """
    folder = Path(output)
    files.make_folder(folder, hint="give another one with -o")
    rows: list[dict[str, object]] = []
    for name, photo, mask in _cases(megapixels):
        start = time.perf_counter()
        with ProgressBar(quiet=as_json) as bar:
            result = reknit.fill(photo, mask, progress=bar.show)
        seconds = time.perf_counter() - start
        pictures = {"before": _shaded(photo, mask), "after": result.to_numpy()}
        paths = {label: folder / f"{name}-{label}.jpg" for label in pictures}
        for label, picture in pictures.items():
            codec.write(Photo.from_array(picture), paths[label], quality=92)
        rows.append(
            {
                "name": name,
                "megapixels": round(photo.shape[0] * photo.shape[1] / 1e6, 2),
                "hole_percent": round(100 * float(mask.mean()), 1),
                "seconds": round(seconds, 3),
                "outside_equal": result.report.outside_equal,
                **{label: str(path) for label, path in paths.items()},
            }
        )
    if as_json:
        print_json(rows)
        return 0
    for row in rows:
        click.echo(
            f"{row['name']}: {row['megapixels']} MP, {row['hole_percent']} % hole, filled in {row['seconds']} s, "
            f"every other pixel unchanged: {row['outside_equal']}"
        )
        click.echo(f"  before {row['before']}\n  after  {row['after']}")
    return 0


def _cases(megapixels: float) -> list[Case]:
    scenes: Any = import_module("reknit.examples.scenes")
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    scene, mask, _ = scenes.with_object("beach", width, width * 3 // 4, seed=3)
    cases: list[Case] = [("generated", scene, mask)]
    try:
        data: Any = import_module("skimage.data")
    except ImportError:
        return cases
    photo = np.array(data.astronaut(), np.uint8)
    y, x = np.ogrid[: photo.shape[0], : photo.shape[1]]
    rocket = ((x - 425) / 80) ** 2 + ((y - 140) / 155) ** 2 < 1
    return [("real", photo, rocket), *cases]


def _shaded(photo: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    shaded = photo.copy()
    shaded[mask] = (shaded[mask] * 0.35 + np.array([165, 20, 20])).astype(np.uint8)
    return shaded
