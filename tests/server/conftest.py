"""Pictures in a folder of their own, and photos to put into them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from PIL import Image

from reknit.core.errors import ReknitError
from reknit.jobs.blobs import Blobs
from reknit.pipeline.segment import Segmenter
from reknit.server import picture_routes, problem, select_routes
from reknit.server.pictures import Pictures
from reknit.server.tiles import Tiles
from tests.server.asgi import Client
from tests.server.live import Server


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


@pytest.fixture
def rooms(pictures: Pictures, tmp_path: Path) -> SimpleNamespace:
    """Return what picture routes ask their application for."""
    return SimpleNamespace(
        pictures=pictures, tiles=Tiles(pictures), segmenter=Segmenter(tmp_path / "models" / "sam")
    )


@pytest.fixture
def client(rooms: SimpleNamespace) -> Client:
    """Return a client of an application with the routes of pictures only."""
    handlers = {ReknitError: problem.answer, RequestValidationError: problem.answer}
    app = FastAPI(exception_handlers=handlers)
    app.state.rooms = rooms
    app.include_router(picture_routes.router)
    app.include_router(select_routes.router)
    return Client(app)


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a running `reknit serve` on a free port of this machine, without a token."""
    with Server.started(tmp_path_factory.mktemp("data"), "--max-upload", "64") as running:
        yield running
