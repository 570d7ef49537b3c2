"""The files of ComfyUI's clients: uploads of pictures and masks, and pictures to be seen.

There are three folders, ``input``, ``output`` and ``temp``; names and subfolders come from clients, so every path is
made by `_place`, which lets none lead out of its folder. Only pictures are taken up, and only pictures are shown. It
runs nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile
from starlette.responses import Response

from reknit.core import codec, files
from reknit.core.errors import InputError, NotFound
from reknit.core.image import Photo
from reknit.jobs.job import FINAL, Job
from reknit.server.comfy import Complaint, entry
from reknit.server.comfy_work import KIND
from reknit.server.file_names import MEDIA_TYPES, clean_name
from reknit.server.problem import Json
from reknit.server.rooms import Rooms, rooms_of

PLACES = ("input", "output", "temp")
MAX_FILES, MAX_FIELDS, MAX_PARTS = 2, 16, 8
MAX_NAME_BYTES = 200
PREVIEW_QUALITY = 90
_PLACED = re.compile(r"^(?P<name>.*?)\s*\[(?P<place>input|output|temp)\]$")
_SAVING = threading.Lock()

router = APIRouter(tags=["comfyui"], include_in_schema=False)


class Outside(InputError):
    """A name that leads out of its folder."""


@router.post("/upload/image")
async def upload_image(request: Request) -> Response:
    """Keep a picture for LoadImage; the same name with the same bytes is the same file."""
    fields, name, data = await _form(request)
    return Json(await asyncio.to_thread(_kept, rooms_of(request), fields, name, data, None))


@router.post("/upload/mask")
async def upload_mask(request: Request) -> Response:
    """Keep a picture with the transparency of the uploaded one."""
    fields, name, data = await _form(request)
    try:
        of: Any = json.loads(fields.get("original_ref", ""))
    except ValueError as error:
        raise Complaint("invalid_upload", "original_ref is not JSON", str(error)[:200]) from error
    if not isinstance(of, dict):
        raise Complaint("invalid_upload", "original_ref is not an object")
    ref = {str(key): str(value) for key, value in cast("dict[Any, Any]", of).items()}
    return Json(await asyncio.to_thread(_kept, rooms_of(request), fields, name, data, ref))


@router.get("/view")
async def view(
    request: Request,
    filename: str = "",
    subfolder: str = "",
    type: str = "output",  # noqa: A002
    preview: str = "",
    channel: str = "rgba",
) -> Response:
    """Return a picture, or a lighter copy of it, or its colours or its transparency alone."""
    rooms = rooms_of(request)
    return await asyncio.to_thread(_seen, rooms, (filename, subfolder, type), preview, channel)


async def _form(request: Request) -> tuple[dict[str, str], str, bytes]:
    """Return the fields of a form, and the name and the bytes of its picture."""
    fields: dict[str, str] = {}
    name, data = "", b""
    async with request.form(max_files=MAX_FILES, max_fields=MAX_FIELDS) as form:
        for key, value in form.multi_items():
            if not isinstance(value, UploadFile):
                fields[key] = value
            elif key == "image":
                name, data = clean_name(value.filename or ""), await value.read()
    if not name or len(name.encode()) > MAX_NAME_BYTES:
        raise Complaint("invalid_upload", "There is no file called image, or its name cannot be used")
    return fields, name, data


def _kept(
    rooms: Rooms, fields: dict[str, str], name: str, data: bytes, ref: dict[str, str] | None
) -> dict[str, str]:
    place = fields.get("type") or "input"
    subfolder = _subfolder(fields.get("subfolder", ""))
    folder = _place(rooms, place, subfolder)
    photo = codec.decode(data, limits=rooms.pictures.limits, name=name)
    if ref is not None:
        data = _masked(rooms, photo, ref)
    with _SAVING:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:  # such as a file of that name
            raise _outside(subfolder) from error
        kept, is_there = _free_name(folder, name, data, overwrite=fields.get("overwrite") in ("true", "1"))
        if not is_there:
            files.write_bytes(folder / kept, data)
    return {"name": kept, "subfolder": subfolder, "type": place}


def _free_name(folder: Path, name: str, data: bytes, *, overwrite: bool) -> tuple[str, bool]:
    """Return the name to keep bytes under, and whether they are there already."""
    stem, dot, suffix = name.rpartition(".")
    stem, suffix = (stem, dot + suffix) if stem else (name, "")
    for number in itertools.count():
        kept = f"{stem} ({number}){suffix}" if number else name
        path = folder / kept
        if overwrite or not path.exists():
            return kept, False
        if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
            return kept, True
    raise AssertionError  # there are numbers enough


def _masked(rooms: Rooms, mask: Photo, ref: dict[str, str]) -> bytes:
    """Return the picture that ``ref`` names as a PNG file with the transparency of ``mask``; its colours stay."""
    path = _found(rooms, ref.get("filename", ""), ref.get("subfolder", ""), ref.get("type") or "output")
    photo = codec.decode(path.read_bytes(), limits=rooms.pictures.limits, name=path.name)
    if mask.size != photo.size:
        message = f"The mask is {mask.size}, the picture {photo.size}"
        raise Complaint("invalid_upload", message, "they must be of one size")
    top = 255 if photo.bits == 8 else 65535
    alpha: Any = np.full(photo.pixels.shape[:2], top, photo.pixels.dtype)
    if mask.alpha is not None:
        opacity = np.rint(mask.alpha * (top / (255 if mask.bits == 8 else 65535)))
        alpha = np.ascontiguousarray(opacity.astype(photo.pixels.dtype))
    return codec.encode(
        Photo(pixels=photo.pixels, alpha=alpha, metadata=photo.metadata), container="png"
    ).data


def _seen(rooms: Rooms, where: tuple[str, str, str], preview: str, channel: str) -> Response:
    filename, subfolder, place = where
    try:
        path = _found(rooms, filename, subfolder, place)
    except NotFound:
        return Response(status_code=404)
    except Outside as error:
        return Response(status_code=403 if error.facts.get("subfolder") else 400)
    data = path.read_bytes()
    if preview or channel in ("rgb", "a"):
        data = _shown(rooms, data, preview, channel)
    media = MEDIA_TYPES.get(codec.sniff(data) or "", "")
    if not media:  # something else lies in the folder
        return Response(status_code=404)
    name = re.sub(r"[^\w .()+-]", "_", path.name, flags=re.ASCII)
    return Response(data, media_type=media, headers={"Content-Disposition": f'filename="{name}"'})


def _shown(rooms: Rooms, data: bytes, preview: str, channel: str) -> bytes:
    """Return a picture as a client wants to see it."""
    photo = codec.decode(data, limits=rooms.pictures.limits)
    pixels, alpha = photo.pixels, photo.alpha
    if channel == "rgb":
        alpha = None
    elif channel == "a":
        opaque = np.full(pixels.shape[:2], 255 if photo.bits == 8 else 65535, pixels.dtype)
        pixels, alpha = np.zeros_like(pixels), opaque if alpha is None else alpha.copy()
    shown = Photo(pixels=np.ascontiguousarray(pixels), alpha=alpha)
    kind, _, quality = preview.partition(";")
    if not preview:
        return codec.encode(shown, container="png").data
    percent = int(quality) if quality.isdecimal() and 1 <= int(quality) <= 100 else PREVIEW_QUALITY
    if kind == "jpeg" or channel not in ("rgba", "a"):
        shown = Photo(pixels=shown.pixels)
    return codec.encode(shown, container="jpeg" if kind == "jpeg" else "webp", quality=percent).data


# ---- paths


def tidy(rooms: Rooms, older_than_s: float) -> None:
    """Remove previews, and other files of the folder ``temp``, that are older than this."""
    for path in (rooms.settings.comfy_dir / "temp").rglob("*"):
        with suppress(OSError):
            if path.is_file() and time.time() - path.stat().st_mtime > older_than_s:
                path.unlink()


class Outputs:
    """The folder ``output`` for `reknit.jobs.retention`: pictures go with the prompts that saved them.

    One that is a link to a folder elsewhere is left alone.
    """

    def __init__(self, rooms: Rooms) -> None:
        self._folder = rooms.settings.comfy_dir / "output"

    def sizes(self) -> dict[str, int]:
        """Return the bytes of its files, by names that begin with ``output/``."""
        found: dict[str, int] = {}
        for path in () if self._folder.is_symlink() else self._folder.rglob("*"):
            with suppress(OSError):
                if path.is_file():
                    found[f"output/{path.relative_to(self._folder).as_posix()}"] = path.stat().st_size
        return found

    def named(self, job: Job) -> set[str]:
        """Return the names of the pictures that a prompt saved."""
        if job.kind != KIND or job.state not in FINAL:
            return set()
        shown: Iterable[Mapping[str, Any]] = entry(job.to_dict())["outputs"].values()
        return {
            (PurePosixPath("output") / image["subfolder"] / image["filename"]).as_posix()
            for each in shown
            for image in each.get("images", ())
            if image["type"] == "output"
        }

    def delete(self, name: str, before: float) -> bool:
        """Remove a picture that was not changed since."""
        path = self._folder / name.removeprefix("output/")
        with suppress(OSError):
            if path.stat().st_mtime < before:
                path.unlink()
                return True
        return False


def _found(rooms: Rooms, filename: str, subfolder: str, place: str) -> Path:
    """Return the file that a client names; raises `NotFound` or `Outside`."""
    match = _PLACED.match(filename)
    if match:
        filename, place = match["name"], match["place"]
    if ".." in filename or filename.startswith(("/", "\\")) or "\0" in filename:
        raise Outside(
            "a file's name leads out of its folder", code="file.outside", hint="name the file alone"
        )
    name = PurePosixPath(filename).name
    path = _place(rooms, place, subfolder) / name
    try:
        is_there = bool(name) and path.is_file()
    except OSError:  # such as a name that is too long
        is_there = False
    if not is_there or not path.resolve().is_relative_to(_place(rooms, place, "")):
        raise NotFound(f"there is no file {filename[:200]!r}", code="file.missing", hint="upload it first")
    return path


def _place(rooms: Rooms, place: str, subfolder: str) -> Path:
    """Return a folder inside one of the three; raises `Outside`."""
    if place not in PLACES:
        raise Outside(f"there is no folder {place[:100]!r}", code="file.outside", hint=", ".join(PLACES))
    root = (rooms.settings.comfy_dir / place).resolve()
    try:
        folder = (root / subfolder).resolve()
    except (OSError, ValueError) as error:
        raise _outside(subfolder) from error
    if not folder.is_relative_to(root):
        raise _outside(subfolder)
    return folder


def _subfolder(given: str) -> str:
    """Return a folder's name to be made: only parts that every system takes."""
    parts = [part for part in given.replace("\\", "/").split("/") if part not in ("", ".")]
    if len(parts) > MAX_PARTS or given.startswith(("/", "\\")) or any(clean_name(p) != p for p in parts):
        raise _outside(given)
    return "/".join(parts)


def _outside(subfolder: str) -> Outside:
    return Outside(
        f"the folder {subfolder[:200]!r} cannot be used",
        code="file.outside",
        hint="name a folder inside, without .. or signs that some system forbids",
        subfolder=subfolder[:200],
    )
