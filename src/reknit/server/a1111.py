"""The dialect of AUTOMATIC1111's web UI: ``/sdapi/v1/*``, so that its clients run unchanged.

A request becomes a job like any other (`server.a1111_work`) and blocks until its pictures are made; progress and
interrupt are answered meanwhile. What clients ask before they work is answered from `server.a1111_lists`, with empty
lists for what is not here. docs/dialects.md lists what is not honoured.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from reknit.core import exif, parameters
from reknit.core.errors import Cancelled
from reknit.models import loose
from reknit.models.inversion import WIDTHS
from reknit.server import a1111_lists as lists
from reknit.server import a1111_work as work
from reknit.server import errands
from reknit.server.a1111_control import TITLE, Unit, unit_of
from reknit.server.a1111_progress import Desk, Running, desk_of
from reknit.server.a1111_work import DRAWN_SEEDS, Asked, Complaint, Img2Img, Inpaint, Made, Order
from reknit.server.errands import Errand, Pixels
from reknit.server.offers import Offer, named, offers
from reknit.server.problem import Json, Problem, of_any
from reknit.server.rooms import Rooms, rooms_of

START = "/sdapi/v1"
MAX_OPTIONS = 1000

router = APIRouter(prefix=START, tags=["a1111"], include_in_schema=False)


# ---- making pictures


@router.post("/img2img")
async def img2img(asked: Img2Img, request: Request) -> Response:
    """Paint a picture anew, or the masked part of it."""
    rooms, desk = rooms_of(request), desk_of(request)
    if not asked.init_images:
        raise Complaint(404, "Init image not found")
    scripts = work.scripts_of(asked)
    order = await asyncio.to_thread(_order, rooms, desk, asked)
    data = [work.bytes_of(each) for each in asked.init_images]
    photos = [await asyncio.to_thread(work.photo_of, rooms, each) for each in data]
    mask = None
    if asked.mask:
        mask = await asyncio.to_thread(work.mask_of, rooms, asked, photos[0])
    soft = scripts.get(work.SOFT, [False])
    unit = await asyncio.to_thread(_unit, rooms, order, scripts)
    inpaints = [
        Inpaint(rooms, order, asked, photo, each, mask, softness=work.softness_of(asked, soft), control=unit)
        for photo, each in zip(photos, data, strict=True)
    ]
    batch = asked.batch_size if len(inpaints) == 1 else len(inpaints)  # as the original

    async def round_of(first: int, errand: Errand) -> list[Pixels]:
        if len(inpaints) == 1:
            return await inpaints[0].run(request, errand, first, batch)
        made: list[Pixels] = []
        for k, inpaint in enumerate(inpaints):
            made += await inpaint.run(request, errand, first + k, 1)
        return made

    with desk.at_work(asked, "img2img", paints=order.offer.paints) as running:
        made = await running.rounds_of(batch, round_of)
    return await asyncio.to_thread(_response, order, made, running, masked=mask is not None)


@router.post("/txt2img")
async def txt2img(asked: Asked, request: Request) -> Response:
    """Paint a picture from words."""
    rooms, desk = rooms_of(request), desk_of(request)
    scripts = work.scripts_of(asked)
    order = await asyncio.to_thread(_order, rooms, desk, asked)
    work.must_paint(order.offer)
    unit, size = await asyncio.to_thread(_unit, rooms, order, scripts), (asked.width, asked.height)
    control = {} if unit is None else await asyncio.to_thread(unit.params, rooms, None, None, size)
    params = order.params(content="noise", strength=1.0, side=errands.side_of(*size), **control)

    async def round_of(first: int, errand: Errand) -> list[Pixels]:
        payload = {
            "image": None, "width": asked.width, "height": asked.height, "engine": order.offer.engine,
            "params": params, "seed": order.own_seed(first), "count": asked.batch_size,
        }  # fmt: skip
        try:
            result = await errands.run(rooms, "paint", payload, request=request, errand=errand)
        except Cancelled:
            return []
        return await asyncio.to_thread(errands.made, rooms, result)

    with desk.at_work(asked, "txt2img", paints=order.offer.paints) as running:
        made = await running.rounds_of(asked.batch_size, round_of)
    return await asyncio.to_thread(_response, order, made, running, masked=False)


def _response(order: Order, made: Made, running: Running, *, masked: bool) -> Response:
    return Json(work.answer(order, made, running.embeddings, masked=masked, stopped=running.stopped))


def _order(rooms: Rooms, desk: Desk, asked: Asked) -> Order:
    override = asked.override_settings or {}
    there = offers(rooms.models)
    wanted = override.get("sd_model_checkpoint") or desk.chosen
    offer = there[0] if wanted is None else named(str(wanted), there)
    if offer is None:
        raise Complaint(500, f"model {str(wanted)[:200]!r} not found", kind="RuntimeError")
    if not asked.override_settings_restore_afterwards:
        desk.options |= override
        desk.chosen = offer.name
    sampler, schedule = lists.sampler_of(
        asked.sampler_name or asked.sampler_index or "Euler", asked.scheduler
    )
    skip = override.get("CLIP_stop_at_last_layers", desk.options["CLIP_stop_at_last_layers"])
    return Order(
        asked=asked,
        offer=offer,
        seed=_drawn(asked.seed),
        subseed=_drawn(asked.subseed),
        sampler=sampler,
        schedule=schedule,
        clip_skip=min(12, max(1, int(skip))) if isinstance(skip, int | float) else 1,
    )


def _unit(rooms: Rooms, order: Order, scripts: dict[str, list[Any]]) -> Unit | None:
    """Return the ControlNet that is asked for, where the engine can follow one."""
    if "control" not in order.offer.options:
        return None
    return unit_of(scripts.get(TITLE, []), rooms.models)


def _drawn(seed: int) -> int:
    return random.randrange(DRAWN_SEEDS) if seed == -1 else seed % 2**32


# ---- options, models and lists


@router.get("/options")
@router.get("/options/")
async def options(request: Request) -> Response:
    """Return the settings, flat."""
    offer = await asyncio.to_thread(_chosen, rooms_of(request), desk_of(request))
    named_ = {"sd_model_checkpoint": offer.label, "sd_checkpoint_hash": offer.sha256 or ""}
    return Json({**desk_of(request).options, **named_})


@router.post("/options")
@router.post("/options/")
async def set_options(given: dict[str, Any], request: Request) -> Response:
    """Take settings, some or all; names that mean nothing here are kept and given back."""
    rooms, desk = rooms_of(request), desk_of(request)
    wanted = given.get("sd_model_checkpoint")
    if wanted is not None:
        offer = named(str(wanted), await asyncio.to_thread(offers, rooms.models))
        if offer is None:
            raise Complaint(500, f"model {str(wanted)[:200]!r} not found", kind="RuntimeError")
        desk.chosen = offer.name
    own = ("sd_model_checkpoint", "sd_checkpoint_hash")
    kept = {name: value for name, value in given.items() if name not in own}
    if len(desk.options) + len(kept) <= MAX_OPTIONS:
        desk.options |= kept
    return Json(None)


@router.get("/sd-models")
async def sd_models(request: Request) -> Response:
    """List what can be asked for as a checkpoint."""
    there = await asyncio.to_thread(offers, rooms_of(request).models)
    return Json(
        [
            {
                "title": offer.label, "model_name": offer.name, "hash": offer.short_hash, "sha256": offer.sha256,
                "filename": offer.file or offer.name, "config": None,
            }
            for offer in there
        ]
    )  # fmt: skip


@router.get("/samplers")
async def samplers() -> Response:
    """List the samplers."""
    return Json([{"name": n, "aliases": list(a), "options": o} for n, a, o in lists.SAMPLERS])


@router.get("/schedulers")
async def schedulers() -> Response:
    """List the schedulers."""
    return Json(list(lists.SCHEDULERS))


@router.get("/upscalers")
async def upscalers() -> Response:
    """List the upscalers; they are names only."""
    return Json(list(lists.UPSCALERS))


@router.get("/latent-upscale-modes")
async def latent_modes() -> Response:
    """List the latent upscale modes; they are names only."""
    return Json(list(lists.LATENT_MODES))


@router.get("/scripts")
async def scripts() -> Response:
    """List the scripts."""
    return Json({"txt2img": list(lists.SCRIPTS), "img2img": list(lists.SCRIPTS)})


@router.get("/loras")
async def loras(request: Request) -> Response:
    """List the LoRA files that prompts may name, wherever on this machine they were found."""
    found = await asyncio.to_thread(_loras, rooms_of(request))
    return Json([{"name": p.stem, "alias": p.stem, "path": str(p), "metadata": {}} for p in found])


def _loras(rooms: Rooms) -> list[Path]:
    from reknit.diffusion import sources

    return sorted(sources.kept("LoRA", rooms.models() if rooms.models else None).values())


@router.get("/embeddings")
async def embeddings(request: Request) -> Response:
    """List the textual inversions: those for the chosen model, and those for others."""
    return Json(await asyncio.to_thread(_embeddings, rooms_of(request), desk_of(request)))


def _embeddings(rooms: Rooms, desk: Desk) -> dict[str, Any]:
    from reknit.diffusion.textual_inversion import known

    store = rooms.models() if rooms.models else None
    offer = _chosen(rooms, desk)
    family = store.find(offer.model).family if store and offer.model and offer.paints else None
    told: dict[str, Any] = {"loaded": {}, "skipped": {}}
    for path in known(store).values():
        what = loose.identity(path)
        if what is None or what.kind != "embedding":
            continue
        shapes = [tensor.shape for tensor in what.inputs.values()]
        told["loaded" if family in (None, what.family) else "skipped"][path.stem] = {
            "step": None,
            "sd_checkpoint": None,
            "sd_checkpoint_name": None,
            "shape": sum(WIDTHS[what.family]),
            "vectors": shapes[0][0],
        }
    return told


@router.get("/memory")
async def memory() -> Response:
    """Say how much memory there is, and is free, of the machine and of its graphics device."""
    return Json(await asyncio.to_thread(_memory))


def _memory() -> dict[str, Any]:
    from reknit.planner.machine import here

    def shares(free: float, total: float) -> dict[str, int]:
        return {"free": int(free), "used": int(total - free), "total": int(total)}

    machine = here(threads=1)
    device = machine.device
    if device.backend != "cuda":
        cuda: dict[str, Any] = {"error": "unavailable"}
    else:  # models live in the worker: this process allocates nothing there
        cuda = {"system": shares(machine.free, device.memory_gib * 2**30)}
        cuda |= {of: {"current": 0, "peak": 0} for of in ("active", "allocated", "reserved", "inactive")}
        cuda["events"] = {"retries": 0, "oom": 0}
    return {"ram": shares(machine.ram, machine.ram_total), "cuda": cuda}


class _Picture(BaseModel):
    image: str = ""


@router.post("/png-info")
async def png_info(given: _Picture, request: Request) -> Response:
    """Read what a picture says of how it was made."""
    text, items = await asyncio.to_thread(_told_by, rooms_of(request), given.image)
    return Json({"info": text, "items": items, "parameters": _parsed(text)})


def _told_by(rooms: Rooms, image: str) -> tuple[str, dict[str, str]]:
    metadata = work.photo_of(rooms, work.bytes_of(image)).metadata
    items = dict(metadata.text)
    text = items.pop("parameters", "")
    return exif.user_comment(metadata.exif) or text, items


def _parsed(text: str) -> dict[str, Any]:
    """Return an infotext as the original's parser gives it: sizes in two, and defaults for what is not said."""
    if not text:
        return {}
    told = parameters.parse(text)
    values: dict[str, Any] = {"Prompt": told.prompt, "Negative prompt": told.negative_prompt}
    for key, value in told.values.items():
        across, cross, down = value.partition("x")
        if cross and across.isdecimal() and down.isdecimal():
            values |= {f"{key}-1": across, f"{key}-2": down}
        else:
            values[key] = value
    usual = {
        "Clip skip": "1", "Hires resize-1": 0, "Hires resize-2": 0, "Schedule type": "Automatic", "RNG": "GPU",
        "Mask mode": "Inpaint masked", "Masked content": "original", "Inpaint area": "Whole picture",
        "Masked area padding": 32,
    }  # fmt: skip
    return usual | values


@router.post("/refresh-{what}")
async def refresh(what: str) -> Response:
    """Look again; that is done at every question anyway."""
    return Json(None)


@router.post("/unload-checkpoint")
@router.post("/reload-checkpoint")
async def unload() -> Response:
    """Free, or load, the model; the worker does that by itself."""
    return Json({})


@router.post("/{name}")
@router.post("/{name}/")
async def nothing(name: str) -> Response:
    """Refuse what is not here as the original refuses what it does not know."""
    raise HTTPException(404)


@router.get("/{name}")
@router.get("/{name}/")
async def rest(name: str) -> Response:
    """Answer with an empty list where there is nothing to list."""
    if name not in lists.EMPTY:
        raise HTTPException(404)
    return Json(lists.EMPTY[name])


def _chosen(rooms: Rooms, desk: Desk) -> Offer:
    there = offers(rooms.models)
    return (named(desk.chosen, there) if desk.chosen else None) or there[0]


# ---- refusals


def refused(error: Exception) -> Response:
    """Return an error in the original's form."""
    if isinstance(error, Complaint):
        return _told(error.status, error.kind, error.message)
    if isinstance(error, RequestValidationError):
        detail = [{name: each[name] for name in ("loc", "msg", "type")} for each in error.errors()]
        return Json({"detail": detail}, 422)
    if isinstance(error, HTTPException) and error.status_code == 404:
        return Json({"detail": "Not Found"}, 404)
    return of_problem(of_any(error))


def of_problem(problem: Problem) -> Response:
    """Return a problem in the original's form; a wrong request that it would only find while working is a 500."""
    status = problem.status if problem.status in (401, 403, 404, 408, 413, 421, 429, 431, 503) else 500
    words = f"{problem.message}; {problem.hint}" if problem.hint else problem.message
    return _told(status, problem.code, words, dict(problem.headers))


def _told(status: int, kind: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    return Json({"error": kind, "detail": detail, "body": "", "errors": detail}, status, headers)
