"""Photos that the tests of the whole app open, and what is expected of a stroke."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

Pixels = NDArray[np.uint8]
Point = tuple[float, float]

SIZE = (480, 320)
MARKS: tuple[Point, Point] = (120.0, 100.0), (340.0, 220.0)
MARK_PX = 9
COLOURS = (255, 0, 255), (0, 255, 255)
THING = (240, 160, 44)
"""Where the yellow disc of `thing` lies: centre and radius."""
ARTIST = "Ada Weaver"


def scene(size: tuple[int, int] = SIZE, seed: int = 3) -> Pixels:
    """Return soft blobs with grain, RGB."""
    rng = np.random.default_rng(seed)
    width, height = size
    small = rng.integers(60, 190, (12, 16, 3)).astype(np.float32)
    soft = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = cv2.resize(rng.normal(0, 9, (height // 2, width // 2)).astype(np.float32), (width, height))
    return np.clip(soft + grain[..., None], 0, 255).astype(np.uint8)


def marked(size: tuple[int, int] = SIZE, marks: tuple[Point, Point] = MARKS, radius: int = MARK_PX) -> Pixels:
    """Return a scene with a disc of each colour, by which a test finds its way on the screen."""
    pixels = scene(size)
    for (x, y), colour in zip(marks, COLOURS, strict=True):
        # Centred between four pixels, as the points of `MARKS` are.
        far = distance(size, (x, y), (x, y))
        pixels[far < radius] = colour
    return pixels


def thing() -> Pixels:
    """Return a scene with a yellow disc on it."""
    pixels = scene()
    x, y, radius = THING
    pixels[distance(SIZE, (x, y), (x, y)) < radius] = (240, 220, 20)
    return pixels


def distance(size: tuple[int, int], a: Point, b: Point) -> NDArray[np.float64]:
    """Return how far every pixel's centre is from a segment."""
    y, x = np.mgrid[: size[1], : size[0]] + 0.5
    (ax, ay), (bx, by) = a, b
    along = max((bx - ax) ** 2 + (by - ay) ** 2, 1e-9)
    t = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / along, 0, 1)
    return np.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay))


def png(pixels: NDArray[Any]) -> bytes:
    """Return a PNG file, 8 or 16 bits, with a profile and a text."""
    if pixels.dtype == np.uint16:
        done, data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        assert done
        return data.tobytes()
    text = PngInfo()
    text.add_text("Author", ARTIST)
    return _saved(pixels, "PNG", pnginfo=text, icc_profile=profile(), dpi=(300, 300))


def jpeg(pixels: Pixels) -> bytes:
    """Return a JPEG file with EXIF and a profile."""
    exif = Image.Exif()
    exif[0x013B] = ARTIST
    exif[0x0112] = 1
    return _saved(pixels, "JPEG", quality=91, exif=exif, icc_profile=profile(), dpi=(240, 240))


@cache
def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _saved(pixels: Pixels, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def read(data: bytes) -> NDArray[Any]:
    """Return the RGB pixels of a file, at its own depth."""
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_COLOR)
    assert found is not None
    return cv2.cvtColor(found, cv2.COLOR_BGR2RGB)


def grey_png(pixels: Pixels) -> bytes:
    return _saved(pixels, "PNG")
