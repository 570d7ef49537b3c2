"""A1111's "extras": pictures made larger. Only plain scaling is here; networks that upscale are not.

It is done at once, without a job: it takes less time than the picture took to arrive.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from reknit.core.geometry import Size
from reknit.server import a1111_images as images
from reknit.server import a1111_work as work
from reknit.server import errands
from reknit.server.a1111_work import MAX_SIDE, Complaint
from reknit.server.errands import Pixels
from reknit.server.problem import Json
from reknit.server.rooms import Rooms, rooms_of

router = APIRouter(prefix="/sdapi/v1", tags=["a1111"], include_in_schema=False)


class _Extras(BaseModel):
    model_config = ConfigDict(extra="ignore")

    resize_mode: int = 0
    upscaling_resize: Annotated[float, Field(ge=1, le=8)] = 2
    upscaling_resize_w: Annotated[int, Field(ge=1, le=MAX_SIDE)] = 512
    upscaling_resize_h: Annotated[int, Field(ge=1, le=MAX_SIDE)] = 512
    upscaling_crop: bool = True
    upscaler_1: str = "None"


class _Single(_Extras):
    image: str = ""


class _Named(BaseModel):
    data: str
    name: str = ""


class _Several(_Extras):
    imageList: Annotated[list[_Named], Field(max_length=work.MAX_IMAGES)]  # noqa: N815 (the client's name)


@router.post("/extra-single-image")
@router.post("/extra-single-image/")
async def extra_single_image(asked: _Single, request: Request) -> Response:
    """Make a picture larger."""
    made = await asyncio.to_thread(_made, rooms_of(request), asked, asked.image)
    return Json({"html_info": "", "image": made})


@router.post("/extra-batch-images")
@router.post("/extra-batch-images/")
async def extra_batch_images(asked: _Several, request: Request) -> Response:
    """Make pictures larger."""
    rooms = rooms_of(request)
    made = [await asyncio.to_thread(_made, rooms, asked, each.data) for each in asked.imageList]
    return Json({"html_info": "", "images": made})


def _made(rooms: Rooms, asked: _Extras, text: str) -> str:
    pixels = errands.rgb(work.photo_of(rooms, work.bytes_of(text)))
    return base64.b64encode(errands.encoded(_larger(pixels, asked))).decode("ascii")


def _larger(pixels: Pixels, asked: _Extras) -> Pixels:
    """Return pixels at the size asked for; the upscaler ``None`` leaves them as they are, as in the original."""
    if asked.upscaler_1 == "None":
        return pixels
    size, wanted = Size.of(pixels.shape), (asked.upscaling_resize_w, asked.upscaling_resize_h)
    by = asked.upscaling_resize
    if asked.resize_mode == 1:
        if asked.upscaling_crop:
            return images.resized(images.CROP, pixels, *wanted)
        by = max(wanted[0] / size.width, wanted[1] / size.height)
    width, height = (max(1, int(side * by)) for side in (size.width, size.height))
    if max(width, height) > MAX_SIDE:
        raise Complaint(422, f"{width} x {height} px are more than {MAX_SIDE} a side")
    return images.resized(images.STRETCH, pixels, width, height)
