"""Pictures in a folder of their own, and photos to put into them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from PIL import Image

from reknit.core.errors import ExternalError, NotFound, ReknitError
from reknit.jobs.blobs import Blobs
from reknit.server import picture_routes
from reknit.server.pictures import Pictures
from reknit.server.tiles import Tiles
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
    return SimpleNamespace(pictures=pictures, tiles=Tiles(pictures))


class Client:
    """Calls an application without a network."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def get(self, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._ask("GET", path, options))

    def post(self, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._ask("POST", path, options))

    async def _ask(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(app=self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, **options)


@pytest.fixture
def client(rooms: SimpleNamespace) -> Client:
    """Return a client of an application with picture routes only."""
    app = FastAPI()
    app.state.rooms = rooms
    app.include_router(picture_routes.router)

    @app.exception_handler(ReknitError)
    async def _(request: Request, error: ReknitError) -> Response:
        large = error.code == "image.too-large"
        status = 404 if isinstance(error, NotFound) else 500 if isinstance(error, ExternalError) else 400
        return JSONResponse(error.to_dict(), 413 if large else status)

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, error: RequestValidationError) -> Response:
        return Response(status_code=400)

    return Client(app)


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a running `reknit serve` on a free port of this machine, without a token."""
    with Server.started(tmp_path_factory.mktemp("data"), "--max-upload", "64") as running:
        yield running
