"""ControlNet's part of A1111's dialect: one unit of ``alwayson_scripts.controlnet.args``, as the extension takes it.

A unit becomes the engine's options ``control…``; its picture is laid over the source as the extension does it, and what
a module makes of a picture is made here where that needs no network. Which networks there are is looked up in the
folders of models. It knows no job and no latents.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, cast

import numpy as np
from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.responses import Response

from reknit.diffusion import control_pictures, sources
from reknit.engines.base import Models
from reknit.server import a1111_images as images
from reknit.server import errands
from reknit.server.a1111_work import Complaint, bytes_of, photo_of
from reknit.server.errands import Pixels
from reknit.server.problem import Json
from reknit.server.rooms import Rooms, rooms_of

START = "/controlnet"
TITLE = "controlnet"
VERSION = 3
"""Of the extension's API."""
_INPAINT = ("inpaint", "inpaint_only", "inpaint_global_harmonious")
MODULES = ("none", "canny", *_INPAINT)
"""Preprocessors; others need networks of their own."""
_RESIZE = {
    "just resize": images.STRETCH, "0": images.STRETCH,
    "crop and resize": images.CROP, "inner fit (scale to fit)": images.CROP, "scale to fit (inner fit)": images.CROP,
    "1": images.CROP,
    "resize and fill": images.FILL_EDGES, "outer fit (shrink to fit)": images.FILL_EDGES,
    "envelope (outer fit)": images.FILL_EDGES, "2": images.FILL_EDGES,
}  # fmt: skip
_EDGES = (100.0, 200.0)
"""Canny's thresholds where a unit has none from 1 to 255."""

router = APIRouter(prefix=START, tags=["a1111"], include_in_schema=False)


def _mode(value: Any) -> int:
    return _RESIZE.get(str(value).lower(), images.CROP)


def _module(name: str) -> str:
    if name.lower() not in MODULES:
        raise ValueError(f"module({name[:200]}) not found in supported modules: {', '.join(MODULES)}")
    return name.lower()


def _picture(value: Any) -> str | None:
    """Return the picture of the forms that a unit's ``image`` may have: text, {image, mask}, [image, mask]."""
    if isinstance(value, list):
        value = cast("list[Any]", value)[0] if value else None
    if isinstance(value, dict):
        value = cast("dict[str, Any]", value).get("image")
    return value if isinstance(value, str) and value else None


class Unit(BaseModel):
    """One unit; unknown names are ignored, as the extension does."""

    model_config = ConfigDict(extra="ignore")

    enabled: bool = True
    module: Annotated[str, AfterValidator(_module)] = "none"
    model: str = "None"
    image: Annotated[str | None, BeforeValidator(_picture)] = None
    weight: Annotated[float, Field(ge=0, le=2)] = 1.0
    resize_mode: Annotated[int, BeforeValidator(_mode)] = images.CROP
    threshold_a: float = -1
    threshold_b: float = -1
    guidance_start: Annotated[float, Field(ge=0, le=1)] = 0.0
    guidance_end: Annotated[float, Field(ge=0, le=1)] = 1.0
    inpaint_crop_input_image: bool = True

    def params(
        self, rooms: Rooms, work: images.Work | None, tile: Pixels | None, size: tuple[int, int]
    ) -> dict[str, Any]:
        """Return the engine's options.

        Parameters
        ----------
        rooms
        work
            The inpainting, if there is a mask.
        tile
            What is painted anew, None for a picture from words.
        size
            Width and height of what is painted.
        """
        found = {
            "control": self.model.partition(" [")[0],
            "control_strength": self.weight,
            "control_start": self.guidance_start,
            "control_end": self.guidance_end,
        }
        if self.module in _INPAINT:
            if work is None:
                raise Complaint(422, f"the ControlNet module {self.module} needs a mask", kind="ValueError")
            return found | {"control_image": "inpaint"}
        shown = self._shown(rooms, work, size) if self.image else tile
        if shown is None:
            raise Complaint(422, "the ControlNet unit has no image", kind="ValueError")
        if self.module == "canny":
            low, high = (
                given if 1 <= given <= 255 else usual
                for given, usual in zip((self.threshold_a, self.threshold_b), _EDGES, strict=True)
            )
            shown = (255 * control_pictures.edges(shown, low, high)).astype(np.uint8)
        return found | {"control_image": errands.uploaded(rooms, shown, "control.png")}

    def _shown(self, rooms: Rooms, work: images.Work | None, size: tuple[int, int]) -> Pixels:
        """Return the unit's picture as the tile shows its place."""
        given = errands.rgb(photo_of(rooms, bytes_of(self.image or "")), background=0)
        if work is not None and self.inpaint_crop_input_image:
            return work.framed(given, self.resize_mode)
        return images.resized(self.resize_mode, given, *size)


def unit_of(arguments: list[Any], models: Models | None) -> Unit | None:
    """Return the unit that is on; None where there is none.

    Raises
    ------
    Complaint
        422: a module or a network that is not here, a value out of its range, or several units.
    """
    units: list[Unit] = []
    for given in arguments:
        if not isinstance(given, dict):
            continue
        fields = cast("dict[str, Any]", given)
        if fields.get("enabled") is False:
            continue
        old = {"guidance": "guidance_end", "input_image": "image"}
        try:
            units.append(Unit.model_validate({old.get(name, name): value for name, value in fields.items()}))
        except ValidationError as error:
            wrong = error.errors()[0]
            said = wrong["msg"].removeprefix("Value error, ")
            raise Complaint(422, f"{wrong['loc'][0]}: {said}", kind="ValueError") from None
    if not units:
        return None
    if len(units) > 1:
        raise Complaint(422, "one ControlNet unit at a time: the others have to be off", kind="ValueError")
    [unit] = units
    known = names(models)
    if unit.model.partition(" [")[0].lower() not in known:
        there = ", ".join(known) or "none; put files into a folder ControlNet of your models"
        raise Complaint(
            422, f"model({unit.model[:200]}) not found in supported models: {there}", kind="ValueError"
        )
    if unit.guidance_start >= unit.guidance_end:
        raise Complaint(
            422,
            f"guidance_start({unit.guidance_start}) >= guidance_end({unit.guidance_end})",
            kind="ValueError",
        )
    return unit


def names(models: Models | None) -> tuple[str, ...]:
    """Return the ControlNets on this machine as units name them, in lower case."""
    return tuple(sorted(sources.kept("ControlNet", models() if models else None)))


@router.get("/version")
async def version() -> Response:
    """Say which API of the extension this is."""
    return Json({"version": VERSION})


@router.get("/model_list")
async def model_list(request: Request) -> Response:
    """List the networks."""
    return Json({"model_list": ["None", *await asyncio.to_thread(names, rooms_of(request).models)]})


@router.get("/module_list")
async def module_list() -> Response:
    """List the preprocessors."""
    return Json({"module_list": list(MODULES), "module_detail": {}})


@router.get("/settings")
async def settings() -> Response:
    """Say how many units a request may have."""
    return Json({"control_net_unit_count": 1})
