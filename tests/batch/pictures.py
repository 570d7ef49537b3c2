"""A folder of generated pictures of all sorts, some of them bad, and what a batch should make of each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from reknit.core import codec
from reknit.core.result import FillResult

SUFFIXES = ("jpg", "png", "webp", "tif", "jpg", "gif")
MASK_PX = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The folders, and which pictures (paths below ``source``) are to fail with which code."""

    source: Path
    masks: Path
    bad: dict[str, str]

    def pictures(self) -> list[str]:
        return sorted(p.relative_to(self.source).as_posix() for p in self.source.rglob("*") if p.is_file())

    def mask_of(self, picture: str) -> Path:
        return (self.masks / picture).with_suffix(".png")


def make(root: Path, count: int, *, sides: tuple[int, int] = (256, 400), seed: int = 0) -> Made:
    """Draw ``count`` pictures in folders, with a mask each; every 10th is bad, every 8th unusual."""
    rng = np.random.default_rng(seed)
    made = Made(source=root / "in", masks=root / "masks", bad={})
    for i in range(count):
        height, width = (int(n) for n in np.exp(rng.uniform(*np.log(sides), 2)))  # as many small as large
        suffix = SUFFIXES[i % len(SUFFIXES)]
        name = f"{'' if i % 3 else f'folder {i % 5}/'}p{i:05}.{suffix}"
        picture = made.source / name
        picture.parent.mkdir(parents=True, exist_ok=True)
        mask = made.mask_of(name)
        mask.parent.mkdir(parents=True, exist_ok=True)
        _draw(picture, height, width, rng, special=i % 8)
        fill = np.zeros((height, width), np.uint8)
        x, y = rng.integers(10, 150, 2)
        fill[y : y + MASK_PX, x : x + MASK_PX] = 255
        Image.fromarray(fill).save(mask)
        if i % 10 == 3:
            data = picture.read_bytes()
            picture.write_bytes(data[: len(data) // 3] if i % 20 == 3 else b"no picture")
            made.bad[name] = "image."
        elif i % 10 == 7:
            mask.unlink()
            made.bad[name] = "file.missing"
    return made


def _draw(path: Path, height: int, width: int, rng: np.random.Generator, *, special: int) -> None:
    cells = rng.integers(0, 255, (height // 24 + 1, width // 24 + 1, 3), dtype=np.uint8)
    smooth = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
    noise = rng.integers(0, 12, (64, 64, 3), dtype=np.uint8)
    noisy = cv2.add(smooth, np.tile(noise, (height // 64 + 1, width // 64 + 1, 1))[:height, :width])
    quick = {".png": {"compress_level": 1}, ".webp": {"method": 0}}.get(path.suffix, {})
    if special == 1 and path.suffix in (".png", ".tif"):
        deep = noisy.astype(np.uint16) * 257 + rng.integers(0, 200, noisy.shape, dtype=np.uint16)
        cv2.imwrite(str(path), deep)
    elif special == 4 and path.suffix in (".jpg", ".tif"):
        Image.fromarray(noisy).convert("CMYK").save(path)
    elif special == 2 and path.suffix in (".png", ".webp"):
        Image.fromarray(noisy).convert("LA").convert("RGBA").save(path, **quick)
    else:
        Image.fromarray(noisy).save(path, **quick)


def digests(folder: Path) -> dict[str, str]:
    """Return the hash of every file below a folder."""
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file()
    }


def save_alone(result: FillResult, path: Path) -> None:
    """Write the result of a single fill as the command line does."""
    codec.write(result.with_recipe(0), path)
