"""Pictures in a folder of their own, and photos to put into them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reknit.jobs.blobs import Blobs
from reknit.server.pictures import Pictures

Draw = Callable[..., bytes]


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures(Blobs(tmp_path / "blobs"), tmp_path / "pictures")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def smooth(rng: np.random.Generator, width: int, height: int, bands: int = 3) -> np.ndarray:
    """Return a picture of soft blobs, uint8, which JPEG keeps well."""
    import cv2

    small = rng.integers(0, 256, (max(2, height // 16), max(2, width // 16), bands), dtype=np.uint8)
    return np.ascontiguousarray(
        cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, bands)
    )


def as_file(array: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """Return an 8-bit array as a file, written by another library."""
    buffer = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2:] == (1,) else array).save(buffer, kind, **options)
    return buffer.getvalue()
