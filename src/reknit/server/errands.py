"""Jobs for clients that wait: of the dialects of other programs, whose requests block until the pictures are made.

Pictures go in as bytes or arrays and come out as arrays; between lies a job like any other, in the queue, with
progress, cancel and history. A client that goes away takes its job with it. It knows no dialect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request

from reknit.core import codec
from reknit.core.errors import Cancelled, ReknitError
from reknit.core.image import Metadata, Photo
from reknit.jobs.events import Subscription
from reknit.jobs.job import FINAL
from reknit.server import tasks
from reknit.server.rooms import Rooms

Pixels = NDArray[np.uint8]
LOOK_S = 0.5
"""How often to look whether the client is still there."""

FILL: Mapping[str, Any] = {
    "source": None, "engine": "auto", "params": {}, "seed": 0, "count": 1, "grow": 0.0, "feather": 0.0,
    "context": None, "mask_from": "luma", "invert": False,
}  # fmt: skip
"""What a fill's payload is unless said otherwise: dialects bring masks that are grown and soft already."""


class JobFailed(ReknitError):
    """A job ended with an error: its ``code``, message and hint."""


@dataclass(slots=True, kw_only=True)
class Errand:
    """A job that a client waits for, as it stands.

    Attributes
    ----------
    job : str or None
        Its id, once it is queued.
    stage, fraction, preview
        What was reported last; a preview as `tasks.preview_data` tells it.
    cancelled, hurried : bool
        Somebody asked to stop, or to end early with what there is.
    embeddings : dict of str to str
        The SHA-256 of the textual inversions that were used, by name.
    """

    job: str | None = None
    stage: str = ""
    fraction: float = 0.0
    preview: Mapping[str, Any] | None = None
    cancelled: bool = False
    hurried: bool = False
    embeddings: dict[str, str] = field(default_factory=dict[str, str])
    watch: Callable[[Mapping[str, Any]], None] | None = field(default=None, repr=False)


async def run(
    rooms: Rooms, kind: str, payload: Mapping[str, Any], *, request: Request, errand: Errand
) -> dict[str, Any]:
    """Queue a job, wait for its end and return its result.

    Raises
    ------
    Cancelled
        It was cancelled, also by the client's going away.
    JobFailed
        It failed, with the job's code, message and hint.
    ReknitError
        It was refused: what `tasks.check` and `Store.submit` raise.
    """
    with rooms.hub.subscribe() as events:
        queued = await asyncio.to_thread(_queued, rooms, kind, payload)
        errand.job = queued["id"]
        if errand.cancelled:
            cancel(rooms, errand)
        elif errand.hurried:
            hurry(rooms, errand)
        try:
            job = await _end(rooms, events, request, errand)
        except BaseException:  # the server stops, or the connection broke
            cancel(rooms, errand)
            raise
    if job["state"] == "cancelled":
        raise Cancelled()
    if job["state"] == "failed":
        error: Mapping[str, Any] = job["error"]
        raise JobFailed(error["message"], code=error["code"], hint=error["hint"])
    errand.embeddings |= job["result"].get("embeddings", {})
    return dict(job["result"])


def side_of(width: int, height: int) -> int:
    """Return the engines' option ``side`` for a picture that is worked at as it is: of a square of its area."""
    return min(4096, max(64, round((width * height) ** 0.5)))


def cancel(rooms: Rooms, errand: Errand) -> None:
    """Ask an errand's job to stop; one that is not queued yet is stopped when it is."""
    errand.cancelled = True
    if errand.job is not None:
        rooms.supervisor.cancel(errand.job)


def hurry(rooms: Rooms, errand: Errand) -> None:
    """Ask an errand's job to end with what it has; one that waits, or is not queued yet, is cancelled."""
    errand.hurried = True
    if errand.job is not None:
        rooms.supervisor.hurry(errand.job)


def decoded(rooms: Rooms, data: bytes) -> Photo:
    """Return a picture from a client; raises what `core.codec.decode` raises."""
    return codec.decode(data, limits=rooms.pictures.limits)


def rgb(photo: Photo, *, background: int = 255) -> Pixels:
    """Return a photo as (H, W, 3) uint8 on a grey background."""
    pixels: Any = photo.pixels
    alpha: Any = photo.alpha
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
        alpha = None if alpha is None else (alpha >> 8).astype(np.uint8)
    if alpha is None or bool((alpha == 255).all()):
        return pixels
    opacity = alpha[..., None].astype(np.uint32)
    return ((pixels * opacity + background * (255 - opacity) + 127) // 255).astype(np.uint8)


def uploaded(rooms: Rooms, pixels: Pixels, name: str) -> str:
    """Keep pixels as a picture; return its id."""
    return rooms.pictures.add(encoded(pixels), name).id


def made(rooms: Rooms, result: Mapping[str, Any]) -> list[Pixels]:
    """Return the pictures of a job's result as (H, W, 3) uint8."""
    return [rgb(rooms.pictures.photo(image["id"])) for image in result["images"]]


def encoded(pixels: Pixels, *, text: str = "", container: str = "png", quality: int | None = None) -> bytes:
    """Return pixels as a file; ``text`` becomes its PNG entry ``parameters``."""
    metadata = Metadata(text=(("parameters", text),)) if text else Metadata()
    photo = Photo(pixels=np.ascontiguousarray(pixels), metadata=metadata)
    return codec.encode(photo, container=container, quality=quality).data


def _queued(rooms: Rooms, kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    tasks.check(rooms.pictures, kind, payload)
    job, _ = rooms.store.submit(kind, payload, max_queued=rooms.settings.max_queued)
    told = job.to_dict()
    rooms.supervisor.tell(told, new=True)
    rooms.supervisor.wake()
    return told


async def _end(rooms: Rooms, events: Subscription, request: Request, errand: Errand) -> Mapping[str, Any]:
    """Return the job as it ended; meanwhile note its progress, and look whether the client is still there."""
    while True:
        try:
            async with asyncio.timeout(LOOK_S):
                async for event in events:
                    if event["type"] == "job" and event["job"]["id"] == errand.job:
                        if event["job"]["state"] in FINAL:
                            return event["job"]
                    elif event["type"] == "progress" and event["id"] == errand.job:
                        _note(errand, event)
        except TimeoutError:
            pass
        job = (await asyncio.to_thread(rooms.store.get, errand.job or "")).to_dict()
        if job["state"] in FINAL:
            return job
        if not errand.cancelled and await request.is_disconnected():
            await asyncio.to_thread(cancel, rooms, errand)


def _note(errand: Errand, event: Mapping[str, Any]) -> None:
    errand.stage, errand.fraction = event["stage"], event["fraction"]
    errand.preview = event["preview"] or errand.preview
    if errand.watch is not None:
        errand.watch(event)
