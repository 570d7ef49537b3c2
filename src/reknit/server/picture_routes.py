"""Routes of pictures: upload, describe, download, tiles, thumbnails, patches.

A picture never changes under its id, so everything here may be kept by the client for good. Decoding and
encoding run in threads. File names from clients are shown, never opened.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from reknit.core import files
from reknit.server import transfer
from reknit.server.edit import corners
from reknit.server.file_names import MEDIA_TYPES, content_disposition
from reknit.server.pictures import Picture, Pictures
from reknit.server.problem import Json
from reknit.server.rooms import rooms_of
from reknit.server.schemas import EXAMPLE_ID, Digest

HEAD_BYTES = 1024
WRITE_BYTES = 1 << 20

router = APIRouter(prefix="/api/v1", tags=["pictures"])

PictureId = Annotated[Digest, Path(alias="id", description="A picture's id.", examples=[EXAMPLE_ID])]
Index = Annotated[int, Path(ge=0, le=1_000_000)]
MISSING: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such picture."}}
BYTES: dict[int | str, dict[str, Any]] = {
    **MISSING,
    206: {"description": "The part that `Range` asked for."},
    304: {"description": "The client has it: `If-None-Match`."},
}
SHOWN: dict[str, Any] = {"content": {"image/jpeg": {}, "image/png": {}}}


class PictureOut(BaseModel):
    """A picture."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": EXAMPLE_ID, "width": 6000, "height": 4000, "bits": 8, "alpha": False, "grey": False,
                "container": "jpeg", "bytes": 9_795_638, "name": "holiday.jpg", "notes": [], "parent": None,
                "original": EXAMPLE_ID, "box": None, "at": None, "tile_px": 512, "levels": 5,
            }
        }
    )  # fmt: skip

    id: str
    width: int
    height: int
    bits: int = Field(description="Bits a sample: 8 or 16.")
    alpha: bool
    grey: bool
    container: str = Field(description="What kind of file was uploaded.")
    bytes: int = Field(description="Of the file, or of the patch that an edit is kept as.")
    name: str
    notes: list[str] = Field(description="What decoding had to change.")
    parent: str | None = Field(description="The picture that this one is an edit of.")
    original: str = Field(description="The upload that it all began with.")
    box: list[int] | None = Field(description="x0, y0, x1, y1: where it differs from its parent.")
    at: list[int] | None = Field(
        description="x, y: where its parent lies in it; other than 0, 0 if it was extended."
    )
    tile_px: int
    levels: int = Field(description="Of tiles: 0 is the full size, each next is half as large.")


@router.post(
    "/images",
    status_code=201,
    operation_id="upload",
    responses={
        200: {"model": PictureOut, "description": "This file was uploaded before."},
        201: {"model": PictureOut, "description": "Taken up."},
        400: {"description": "No picture that Reknit reads, or a damaged one."},
        413: {"description": "Too many bytes or pixels."},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The file itself: JPEG, PNG, WebP, TIFF, AVIF, HEIC or GIF.",
            "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def upload(
    request: Request,
    name: Annotated[str, Query(max_length=1000, description="The file's name, to be shown.")] = "",
) -> Response:
    """Upload a picture or a mask; the same bytes get the same id."""
    pictures = rooms_of(request).pictures
    try:
        digest = await _received(request, pictures, name)
    except ClientDisconnect:
        return Response(status_code=400)
    found, new = await run_in_threadpool(_taken_up, pictures, digest, name)
    headers = {"Location": f"/api/v1/images/{found.id}"}
    return Json(found.to_dict(), 201 if new else 200, headers)


async def _received(request: Request, pictures: Pictures, name: str) -> str:
    """Store the body as a blob, unless its first bytes already show that it is no picture."""
    limit = pictures.limits.max_bytes
    chunks = request.stream()
    waiting = bytearray()
    async for chunk in chunks:
        waiting += chunk
        if len(waiting) >= HEAD_BYTES:
            break
    pictures.check_beginning(bytes(waiting[:HEAD_BYTES]), name)
    async with contextmanager_in_threadpool(pictures.blobs.receiving()) as incoming:
        async for chunk in chunks:
            waiting += chunk
            if incoming.size + len(waiting) > limit:
                raise files.too_many_bytes(incoming.size + len(waiting), limit, name)
            if len(waiting) >= WRITE_BYTES:
                await run_in_threadpool(incoming.write, bytes(waiting))
                waiting.clear()
        await run_in_threadpool(incoming.write, bytes(waiting))
    return incoming.digest


def _taken_up(pictures: Pictures, digest: str, name: str) -> tuple[Picture, bool]:
    new = not pictures.known(digest)
    return pictures.add(digest, name), new


@router.get(
    "/images/{id}",
    operation_id="picture",
    responses={200: {"model": PictureOut}, **MISSING},
)
def describe(request: Request, picture: PictureId) -> Response:
    """Say what is known of a picture."""
    return Json(rooms_of(request).pictures.info(picture).to_dict())


@router.get(
    "/images/{id}/file",
    operation_id="download",
    response_class=Response,
    responses={200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}}, **BYTES},
)
def download(
    request: Request,
    picture: PictureId,
    kind: Annotated[
        Literal["source", "png", "jpeg", "webp", "tiff", "avif"],
        Query(
            alias="format",
            description="`source`: as the upload, with its metadata; an upload comes back byte for byte.",
        ),
    ] = "source",
    quality: Annotated[
        int | None, Query(ge=1, le=100, description="Of lossy formats; default: as the upload.")
    ] = None,
    name: Annotated[
        str, Query(max_length=1000, description="What the file was called; default: as the upload.")
    ] = "",
) -> Response:
    """Download a picture. An edited JPEG is encoded once, from the upload: unchanged blocks are its own."""
    pictures = rooms_of(request).pictures
    container = None if kind == "source" else kind
    pictures.info(picture)
    if transfer.unchanged(request, etag := f"{picture[:40]}.{kind}.{quality or 0}"):
        return transfer.answer(request, etag, lambda: (b"", ""))
    encoded = pictures.encoded(picture, container, quality)
    offered = pictures.filename(picture, encoded.container, name)
    return transfer.answer(
        request,
        etag,
        lambda: (encoded.data, MEDIA_TYPES[encoded.container]),
        {"Content-Disposition": content_disposition(offered)},
    )


@router.get(
    "/images/{id}/patch",
    operation_id="patch",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}, **BYTES},
)
def patch(request: Request, picture: PictureId) -> Response:
    """Download what an edit changed, as a PNG; the header `Reknit-Box` says where: x0,y0,x1,y1."""
    pictures = rooms_of(request).pictures
    box = pictures.patch_box(picture)
    where = {"Reknit-Box": ",".join(map(str, corners(box)))}
    return transfer.answer(
        request, f"{picture[:40]}.patch", lambda: (pictures.patch(picture)[0], "image/png"), where
    )


@router.get(
    "/images/{id}/thumbnail",
    operation_id="thumbnail",
    response_class=Response,
    responses={200: SHOWN, **BYTES},
)
def thumbnail(
    request: Request,
    picture: PictureId,
    size: Annotated[int, Query(ge=16, le=2048, description="Of the longer side, in pixels.")] = 256,
) -> Response:
    """Download a small version, in sRGB."""
    rooms = rooms_of(request)
    rooms.pictures.info(picture)
    return transfer.answer(
        request, f"{picture[:40]}.{size}", lambda: rooms.tiles.thumbnail(picture, size).sent()
    )


@router.get(
    "/images/{id}/tiles/{level}/{column}/{row}",
    operation_id="tile",
    response_class=Response,
    responses={200: SHOWN, **BYTES},
)
def tile(request: Request, picture: PictureId, level: Index, column: Index, row: Index) -> Response:
    """Download a tile, in sRGB: level 0 is the full size, the last level fits into one tile."""
    rooms = rooms_of(request)
    rooms.tiles.place(picture, level, column, row)
    return transfer.answer(
        request,
        f"{picture[:40]}.{level}.{column}.{row}",
        lambda: rooms.tiles.tile(picture, level, column, row).sent(),
    )
