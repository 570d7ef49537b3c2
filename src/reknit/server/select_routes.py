"""The route of selections: a point, a box or a scribble becomes a mask, at once.

What selects is `pipeline.selection` and `pipeline.segment`; here a body is checked, and the mask is kept as a
picture of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from reknit.core.errors import InputError
from reknit.core.geometry import Box, Size
from reknit.core.image import Photo
from reknit.pipeline.segment import Segmenter
from reknit.pipeline.selection import Point, Selection, smart_box, smart_scribble, wand
from reknit.server.edit import corners
from reknit.server.problem import Json
from reknit.server.rooms import rooms_of
from reknit.server.schemas import EXAMPLE_ID, EXAMPLE_MASK, Digest, Strict

router = APIRouter(prefix="/api/v1", tags=["pictures"])

_GAP = 0.03  # of the longer side: points further apart belong to two strokes

Number = Annotated[float, Field(ge=0, le=1_000_000)]
Pair = Annotated[list[Number], Field(min_length=2, max_length=2)]
Pairs = Annotated[list[Pair], Field(max_length=10_000)]
Corners = Annotated[
    list[Annotated[int, Field(ge=-1_000_000, le=1_000_000)]], Field(min_length=4, max_length=4)
]
Value = TypeVar("Value")
Method = Literal["wand", "box", "scribble", "point"]


class SelectBody(Strict):
    """What to select, and how; places are in the picture's pixels."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"image": EXAMPLE_ID, "method": "box", "box": [120, 80, 400, 360]}}
    )

    image: Digest = Field(description="Id of the picture.")
    method: Method = Field(
        description="`wand`: the colour at `point`; `box`: the thing in `box`; `scribble`: the thing under "
        "`foreground`; `point`: the thing at `point`, by an installed model."
    )
    point: Pair | None = Field(default=None, description="x, y.")
    box: Corners | None = Field(default=None, description="x0, y0, x1, y1.")
    foreground: Pairs = Field(default=[], description="Points on the thing, along strokes.")
    background: Pairs = Field(default=[], description="Points that are not on it.")
    tolerance: int = Field(default=32, ge=0, le=255, description="Of the wand, in each channel.")
    contiguous: bool = Field(default=True, description="The wand takes only what hangs together.")


class SelectionOut(BaseModel):
    """A selection."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"mask": EXAMPLE_MASK, "box": [131, 92, 388, 351], "area_px": 41_022, "method": "box"}
        }
    )

    mask: str = Field(description="Id of a grey PNG of the size of `box`, white = selected.")
    box: list[int] = Field(description="x0, y0, x1, y1: where it lies in the picture.")
    area_px: int
    method: Method


@router.post(
    "/select",
    operation_id="select",
    responses={
        200: {"model": SelectionOut},
        400: {"description": "The body cannot be used, or nothing was found."},
        404: {"description": "There is no such picture."},
        409: {"description": "No model is installed."},
    },
)
def select(body: SelectBody, request: Request) -> Response:
    """Select a part of a picture."""
    rooms = rooms_of(request)
    found = _selected(body, rooms.pictures.photo(body.image), rooms.segmenter)
    mask = rooms.pictures.add_mask(found.fill)
    return Json({"mask": mask.id, "box": corners(found.box), "area_px": found.area, "method": body.method})


def _selected(body: SelectBody, photo: Photo, segmenter: Segmenter) -> Selection:
    box = None if body.box is None else _box(body.box)
    points = [(x, y) for x, y in body.foreground]
    away = [(x, y) for x, y in body.background]
    if body.method == "wand":
        x, y = _needed(body.point, body.method, "point")
        return wand(photo, (x, y), tolerance=body.tolerance, contiguous=body.contiguous)
    if body.method == "box":
        return smart_box(photo, _box(_needed(body.box, body.method, "box")))
    if body.method == "scribble":
        _needed(points, body.method, "foreground")
        return smart_scribble(photo, _strokes(points, photo.size), _strokes(away, photo.size), box)
    if body.point is not None:
        points.insert(0, (body.point[0], body.point[1]))
    if box is None:
        _needed(points, body.method, "point")
    return segmenter.select(photo, body.image, foreground=points, background=away, box=box)


def _needed(value: Value | None, method: str, name: str) -> Value:
    if not value:
        raise InputError(
            f"the method {method} needs {name}",
            code="select.missing",
            hint=f"give {name}, in the picture's pixels",
            field=name,
        )
    return value


def _box(given: Sequence[int]) -> Box:
    x0, y0, x1, y1 = given
    if x1 <= x0 or y1 <= y0:
        raise InputError(
            f"the box {list(given)} is empty",
            code="select.box",
            hint="a box is x0, y0, x1, y1 in the picture's pixels",
        )
    return Box(x0=x0, y0=y0, x1=x1, y1=y1)


def _strokes(points: Sequence[Point], size: Size) -> list[list[Point]]:
    """Return points in a row as strokes: a jump begins a new one."""
    gap = max(8.0, _GAP * max(size.shape))
    strokes: list[list[Point]] = []
    for i, (x, y) in enumerate(points):
        if i == 0 or max(abs(x - points[i - 1][0]), abs(y - points[i - 1][1])) > gap:
            strokes.append([])
        strokes[-1].append((x, y))
    return strokes
