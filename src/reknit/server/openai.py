"""OpenAI's dialect: ``/v1/images/edits``, ``/v1/images/generations`` and ``/v1/models``, for its unchanged clients.

A mask is honoured exactly: what it keeps comes back as it was. Whatever must not be repeated says so, because these
clients repeat by themselves. Fields in the form that are not OpenAI's (``seed``, ``steps``, ``strength``, ``guidance``,
``negative_prompt``) reach the engine. docs/dialects.md lists what is not honoured.
"""

from __future__ import annotations

import asyncio
import base64
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile
from starlette.responses import Response, StreamingResponse

from reknit.core.errors import Cancelled, InputError, ReknitError
from reknit.core.fit import covering
from reknit.core.geometry import Size
from reknit.core.image import Photo
from reknit.server import errands, streams
from reknit.server.errands import Errand, JobFailed, Pixels
from reknit.server.offers import Offer, named, offers
from reknit.server.openai_wish import Complaint, Wish, wish_of
from reknit.server.problem import Json, Problem, of_any
from reknit.server.rooms import Rooms, rooms_of

START = "/v1"
THEIRS = ("dall-e", "gpt-image", "chatgpt-image")
"""What clients say by habit; it means the first model here."""
MAX_IMAGES = 16
MAX_FILES, MAX_FIELDS = 64, 100
WHOLE_STRENGTH = 0.75
"""How much a picture without a mask is changed, unless the request says."""
RETRYABLE = frozenset({"jobs.queue-full", "jobs.busy", "guard.rate"})
ASKED_WRONGLY = ("image.", "mask.", "option.", "request.")

router = APIRouter(prefix=START, tags=["openai"], include_in_schema=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A job and what becomes of its pictures: blended over ``base`` by ``weight`` (0 to 255) where there is one."""

    kind: str
    payload: Mapping[str, Any]
    base: Pixels | None = None
    weight: Pixels | None = None

    def composed(self, made: Pixels) -> Pixels:
        """Return a made picture with everything that the mask keeps as it was."""
        if self.base is None or self.weight is None:
            return made
        weight = self.weight[..., None].astype(np.uint32)
        return ((made * weight + self.base * (255 - weight) + 127) // 255).astype(np.uint8)


@router.post("/images/edits")
async def edits(request: Request) -> Response:
    """Repaint what is transparent in the mask, or in the picture; without either, the whole picture."""
    rooms = rooms_of(request)
    texts, files = await _form(request)
    pictures = files.get("image", [])
    if not pictures:
        raise Complaint("the field 'image' is missing", param="image", why="missing_required_parameter")
    if len(pictures) > MAX_IMAGES:
        raise Complaint(f"at most {MAX_IMAGES} images", param="image", why="array_above_max_length")
    wish, mask = wish_of(texts, rooms.pictures.limits), (files.get("mask") or [None])[0]
    offer = await asyncio.to_thread(_offer, rooms, wish.model)
    for number, further in enumerate(pictures[1:], 1):  # no engine here takes after them; they must be right
        await asyncio.to_thread(_photo, rooms, further, f"image[{number}]")
    work = await asyncio.to_thread(_edit, rooms, offer, wish, pictures[0], mask)
    return await _answered(request, wish, work, "image_edit")


@router.post("/images/generations")
async def generations(request: Request) -> Response:
    """Paint pictures from words, where a model can."""
    rooms = rooms_of(request)
    try:
        given: Any = await request.json()
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise Complaint("the body is not a JSON object", param=None, why="invalid_json")
    wish = wish_of(given, rooms.pictures.limits)  # pyright: ignore[reportUnknownArgumentType]
    offer = await asyncio.to_thread(_offer, rooms, wish.model)
    _must_paint(offer)
    width, height = wish.size or (offer.native_px, offer.native_px)
    payload = _payload(offer, wish, image=None, width=width, height=height)
    payload["params"] |= offer.params({"content": "noise", "side": errands.side_of(width, height)})
    return await _answered(request, wish, Work(kind="paint", payload=payload), "image_generation")


@router.get("/models")
async def models(request: Request) -> Response:
    """List the models."""
    there = await asyncio.to_thread(offers, rooms_of(request).models)
    return Json({"object": "list", "data": [_model(offer) for offer in there]})


@router.get("/models/{name:path}")
async def model(name: str, request: Request) -> Response:
    """Return one model."""
    return Json(_model(await asyncio.to_thread(_offer, rooms_of(request), name)))


def _model(offer: Offer) -> dict[str, Any]:
    return {"id": offer.name, "object": "model", "created": 0, "owned_by": "reknit"}


# ---- reading requests


async def _form(request: Request) -> tuple[dict[str, Any], dict[str, list[bytes]]]:
    """Return the text fields and the files of a form; ``name[]`` is ``name``."""
    texts: dict[str, Any] = {}
    files: dict[str, list[bytes]] = {}
    async with request.form(max_files=MAX_FILES, max_fields=MAX_FIELDS) as form:
        for name, value in form.multi_items():
            plain = name.removesuffix("[]")
            if isinstance(value, UploadFile):
                files.setdefault(plain, []).append(await value.read())
            else:
                texts[plain] = value
    return texts, files


def _offer(rooms: Rooms, name: str | None) -> Offer:
    there = offers(rooms.models)
    if not name or name.lower().startswith(THEIRS):
        return there[0]
    found = named(name, there)
    if found is None:
        raise Complaint(
            f"the model {name[:200]!r} does not exist; GET /v1/models lists those that do",
            param="model", why="model_not_found", status=404,
        )  # fmt: skip
    return found


def _must_paint(offer: Offer) -> None:
    if not offer.paints:
        raise Complaint(
            f"the model {offer.name!r} fills masks; a whole picture needs a diffusion model", param="model",
            why="model_cannot_paint",
        )  # fmt: skip


# ---- making pictures


def _edit(rooms: Rooms, offer: Offer, wish: Wish, data: bytes, mask: bytes | None) -> Work:
    """Return the work that a picture and its mask ask for."""
    photo = _photo(rooms, data, "image")
    weight = _weight(rooms, photo, mask)
    image = errands.rgb(replace(photo, alpha=None) if mask is None and weight is not None else photo)
    size = {"width": photo.size.width, "height": photo.size.height}
    if weight is None or bool((weight == 255).all()):
        if not offer.paints:
            raise Complaint(
                f"the model {offer.name!r} needs a mask: a PNG of the picture's size, transparent where it is edited",
                param="mask", why="mask_required",
            )  # fmt: skip
        payload = _payload(offer, wish, image=errands.uploaded(rooms, image, "edit.png"), **size)
        payload["params"] = (
            offer.params({"content": "original", "strength": WHOLE_STRENGTH}) | payload["params"]
        )
        return Work(kind="paint", payload=payload)
    if not weight.any():
        raise Complaint(
            "the mask is transparent nowhere: nothing is to be edited", param="mask", why="empty_mask"
        )
    untouched = photo.alpha is None and photo.bits == 8
    name = rooms.pictures.add(data, "edit").id if untouched else errands.uploaded(rooms, image, "edit.png")
    hole = rooms.pictures.add_mask(weight > 0).id
    payload = {**errands.FILL, **_payload(offer, wish, image=name), "mask": hole}
    return Work(kind="fill", payload=payload, base=image, weight=weight)


def _payload(offer: Offer, wish: Wish, *, image: str | None, **size: int) -> dict[str, Any]:
    seed = random.randrange(2**32) if wish.seed == -1 else wish.seed
    return {
        "image": image, "engine": offer.engine, "params": wish.params(offer), "seed": seed, "count": wish.n, **size
    }  # fmt: skip


def _photo(rooms: Rooms, data: bytes, param: str) -> Photo:
    try:
        return errands.decoded(rooms, data)
    except InputError as error:
        why = "image_too_large" if error.code == "image.too-large" else "invalid_image_file"
        raise Complaint(f"{param}: {error.message}", param=param, why=why) from error


def _weight(rooms: Rooms, photo: Photo, mask: bytes | None) -> Pixels | None:
    """Return how much of each pixel is to be made anew, 0 to 255; None for the whole picture."""
    source = photo
    if mask is not None:
        source = _photo(rooms, mask, "mask")
        if source.size != photo.size:
            message = f"the mask is {source.size}, the picture {photo.size}; they must be of one size"
            raise Complaint(message, param="mask", why="invalid_image")
        if source.alpha is None:
            message = "the mask has no transparency: transparent is what is edited"
            raise Complaint(message, param="mask", why="invalid_image_file")
    if source.alpha is None:
        return None
    alpha: Any = source.alpha
    weight: Any = 255 - (alpha >> 8 if alpha.dtype == np.uint16 else alpha).astype(np.uint8)
    return None if mask is None and not weight.any() else weight


async def _answered(request: Request, wish: Wish, work: Work, event: str) -> Response:
    rooms, errand = rooms_of(request), Errand()
    if wish.stream:
        return await _streamed(request, wish, work, event)
    result = await errands.run(rooms, work.kind, work.payload, request=request, errand=errand)
    files = await asyncio.to_thread(_files, rooms, wish, work, result)
    data = [await asyncio.to_thread(_datum, request, wish, file) for file in files]
    return Json(
        {"created": int(time.time()), "data": data, "output_format": wish.output_format, "usage": USAGE}
    )


def _files(rooms: Rooms, wish: Wish, work: Work, result: Mapping[str, Any]) -> list[bytes]:
    """Return the pictures of a job as files of the kind and size that were asked for."""
    files: list[bytes] = []
    for each in errands.made(rooms, result):
        pixels = work.composed(each)
        if wish.size is not None:
            pixels = covering(pixels, Size(width=wish.size[0], height=wish.size[1]))
        files.append(errands.encoded(pixels, container=wish.output_format, quality=wish.quality))
    return files


def _datum(request: Request, wish: Wish, file: bytes) -> dict[str, str]:
    if not wish.as_url:
        return {"b64_json": base64.b64encode(file).decode("ascii")}
    picture = rooms_of(request).pictures.add(file, f"edited.{wish.output_format}")
    return {"url": f"{request.url.scheme}://{request.url.netloc}/api/v1/images/{picture.id}/file"}


USAGE = {
    "input_tokens": 0, "output_tokens": 0, "total_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
}  # fmt: skip
"""Nothing is counted: nothing is charged."""


async def _streamed(request: Request, wish: Wish, work: Work, event: str) -> Response:
    """Answer with server-sent events; what is refused before the job is queued is refused as without a stream."""
    rooms, errand = rooms_of(request), Errand()
    previews: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
    errand.watch = lambda told: previews.put_nowait(told) if told["preview"] else None
    job = asyncio.create_task(errands.run(rooms, work.kind, work.payload, request=request, errand=errand))
    while errand.job is None and not job.done():
        await asyncio.sleep(0.005)
    if errand.job is None:
        await job
    said = {"created_at": int(time.time()), "output_format": wish.output_format, "background": "opaque"}
    said |= {"quality": "auto", "size": "auto" if wish.size is None else f"{wish.size[0]}x{wish.size[1]}"}
    frames = _frames(rooms, wish, work, event, said, job, previews)
    return StreamingResponse(frames, media_type="text/event-stream", headers=streams.HEADERS)


async def _frames(
    rooms: Rooms,
    wish: Wish,
    work: Work,
    event: str,
    said: Mapping[str, Any],
    job: asyncio.Task[dict[str, Any]],
    previews: asyncio.Queue[Mapping[str, Any]],
) -> AsyncIterator[bytes]:
    """Yield the previews that were asked for, evenly spread, and then the pictures."""
    try:
        sent = 0
        while not job.done() or not previews.empty():
            with suppress(TimeoutError):
                async with asyncio.timeout(errands.LOOK_S / 5):
                    told = await previews.get()
                    if sent < wish.partial_images and told["fraction"] >= sent / (wish.partial_images + 1):
                        image = await asyncio.to_thread(_partial, rooms, told["preview"])
                        partial = {"partial_image_index": sent, "b64_json": image}
                        yield _frame(f"{event}.partial_image", {**said, **partial})
                        sent += 1
        for file in await asyncio.to_thread(_files, rooms, wish, work, await job):
            image = base64.b64encode(file).decode("ascii")
            yield _frame(f"{event}.completed", {**said, "b64_json": image, "usage": USAGE})
    except ReknitError as error:
        yield b"event: error\ndata: " + bytes(refused(error).body) + b"\n\n"
    finally:
        job.cancel()


def _partial(rooms: Rooms, preview: Mapping[str, Any]) -> str:
    """Return a preview as a PNG file in base64."""
    pixels = errands.rgb(errands.decoded(rooms, base64.b64decode(preview["image"].partition(",")[2])))
    return base64.b64encode(errands.encoded(pixels)).decode("ascii")


def _frame(name: str, data: Mapping[str, Any]) -> bytes:
    return streams.event(name, {"type": name, **data})


# ---- refusals


def refused(error: Exception) -> Response:
    """Return an error in OpenAI's form."""
    if isinstance(error, Complaint):
        return _told(error.status, error.message, error.why, param=error.param)
    if isinstance(error, Cancelled):
        return _told(409, "the job was cancelled", "cancelled")
    if isinstance(error, JobFailed) and error.code.startswith(ASKED_WRONGLY):
        return _told(400, error.message, error.code, param=error.code.partition(".")[0])
    return of_problem(of_any(error))


def of_problem(problem: Problem) -> Response:
    """Return a problem in OpenAI's form."""
    code = "invalid_api_key" if problem.status == 401 else problem.code
    words = f"{problem.message}; {problem.hint}" if problem.hint else problem.message
    return _told(problem.status, words, code, headers=problem.headers)


def _told(
    status: int,
    message: str,
    code: str,
    *,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    kind = (
        "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    )
    error = {"message": message, "type": kind, "param": param, "code": code}
    again = {} if code in RETRYABLE else {"x-should-retry": "false"}
    return Json({"error": error}, status, {**(headers or {}), **again})
