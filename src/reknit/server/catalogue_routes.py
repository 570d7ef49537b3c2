"""Routes that describe the server: engines, models, health and metrics. They change nothing."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import PlainTextResponse, Response

from reknit import __version__
from reknit.config import usable_threads
from reknit.core.request import FILL_OPTIONS
from reknit.engines import registry
from reknit.engines.learned import installable
from reknit.models import catalog
from reknit.models.catalog import ModelCard
from reknit.pipeline.plan import AUTOMATIC
from reknit.planner import ask, facts
from reknit.planner.ask import Place
from reknit.planner.verdict import seconds
from reknit.server.metrics import Metrics, family, resident_bytes
from reknit.server.problem import Json
from reknit.server.rooms import Rooms, rooms_of
from reknit.server.schemas import (
    CheckQuery,
    ChecksOut,
    EnginesOut,
    HealthOut,
    ModelsOut,
    engine_out,
    option_out,
)

IMPORTANT = frozenset({"engine", "seed", "count"})

router = APIRouter(tags=["catalogue"])


@router.get("/api/v1/engines", responses={200: {"model": EnginesOut}}, operation_id="engines")
def engines(request: Request) -> Response:
    """List the engines with their options, and the knobs that every fill has, with this server's defaults."""
    settings = rooms_of(request).settings
    usual = settings.defaults
    knobs = (replace(option, default=usual.get(option.name, option.default)) for option in FILL_OPTIONS)
    told = [option_out(option, important=option.name in IMPORTANT) for option in knobs]
    here = settings.ray is None  # a replica elsewhere is not told to hurry
    found = [{**engine, "hurries": engine["hurries"] and here} for engine in _engines()]
    return _packed(request, {"engines": found, "request": told})


@cache
def _engines() -> list[dict[str, Any]]:
    return [engine_out(engine.spec) for engine in registry.every().values()]


@router.get("/api/v1/models", responses={200: {"model": ModelsOut}}, operation_id="models")
def models(request: Request) -> Response:
    """List the models of learned engines, also those that are not here, and those that select by a click."""
    rooms = rooms_of(request)
    return _packed(
        request, {"models": [*_learned(rooms), *(_selecting(name) for name in rooms.segmenter.installed())]}
    )


def _packed(request: Request, content: Any) -> Response:
    """Return a long answer that says much over and over, compressed if the client takes that."""
    answer = Json(content)
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return answer
    headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    packed = gzip.compress(bytes(answer.body), 6, mtime=0)
    return Response(packed, headers=headers, media_type=answer.media_type)


def _learned(rooms: Rooms) -> list[dict[str, Any]]:
    if rooms.models is None:
        return []
    store, where = rooms.models(), _place(rooms)
    erasers = installable(store.cards.values(), AUTOMATIC)
    painters = [card for card in store.every_card.values() if card.engine == "diffusion"]
    found: list[dict[str, Any]] = []
    for card in (*erasers, *(painters if "diffusion" in registry.every() else ())):
        here = store.look(card) is not None
        found.append(
            {
                "name": card.id,
                "engine": "diffusion" if card.engine == "diffusion" else card.family,
                "title": card.title,
                "installed": here,
                "verdict": _verdict(card, where, here=here),
            }
        )
    return found


def _place(rooms: Rooms, query: CheckQuery | None = None) -> Place:
    """Return the place that a question is about; the server's machine if it names none."""
    settings, asked = rooms.settings, query or CheckQuery()
    return ask.place(
        asked.gpu,
        vram=asked.vram,
        ram=asked.ram,
        threads=settings.threads or usable_threads(),
        folder=settings.models,
        fitted=settings.planner,
    )


@router.get("/api/v1/check", responses={200: {"model": ChecksOut}}, operation_id="check")
def check(query: Annotated[CheckQuery, Query()], request: Request) -> Response:
    """Say whether models will run here or on a card, with which settings, how much memory they take, how long."""
    rooms = rooms_of(request)
    store = None if rooms.models is None else rooms.models()
    cards = catalog.load() if store is None else store.every_card
    here = set[str]() if store is None else {found.card.id for found in store.installed()}
    where, px = _place(rooms, query), ask.size(query.size)
    wanted = ask.subjects(cards).values() if query.model is None else [ask.subject(query.model, cards)]
    rows = [
        ask.ask(
            each,
            where,
            px=px,
            steps=query.steps,
            count=query.count,
            installed=each.id in here,
            cards=cards,
        ).to_dict()
        for each in wanted
    ]
    return _packed(request, {"verdicts": rows})


def _verdict(card: ModelCard, where: Place, *, here: bool) -> dict[str, str]:
    """Return whether a model fits this machine as it is now, for its badge and the line beside it."""
    wanted = facts.subject(card)
    get = "" if here else f"; reknit models pull {card.id}"
    if wanted is None:
        return {"level": "unknown", "reason": card.licence + get}
    found = ask.ask(wanted, where, installed=here)
    level = "wont-fit" if not found.fits else "fits" if found.answer == "yes" else "offload"
    took = f"about {seconds(found.plan.times.image)} an image" if found.fits else "does not fit this machine"
    if found.answer == "yes-with":
        took += f", with {' and '.join(found.plan.tier.says)}"
    return {"level": level, "reason": f"{card.licence}, {took}{get}"}


def _selecting(name: str) -> dict[str, Any]:
    verdict = {"level": "fits", "reason": "it runs on the processor"}
    return {
        "name": name,
        "engine": "select",
        "title": "Select by a click",
        "installed": True,
        "verdict": verdict,
    }


@router.get("/api/v1/health", responses={200: {"model": HealthOut}}, operation_id="health")
async def health(request: Request) -> Response:
    """Say whether the server and its workers are well."""
    rooms = rooms_of(request)
    counts = await asyncio.to_thread(rooms.store.counts)
    workers = [
        {"device": w.device, "pid": w.pid, "state": w.state, "restarts": w.restarts}
        for w in rooms.supervisor.workers()
    ]
    return Json(
        {
            "status": _status([str(worker["state"]) for worker in workers]),
            "version": __version__,
            "uptime_s": round(time.time() - rooms.started, 1),
            "workers": workers,
            "queue": {"queued": counts.get("queued", 0), "running": counts.get("running", 0)},
            "token_required": bool(rooms.settings.rules.token),
        }
    )


def _status(states: Sequence[str]) -> str:
    if all(state in ("idle", "busy") for state in states):
        return "ok"
    return "starting" if "starting" in states else "degraded"


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Return the server's counts as Prometheus text."""
    rooms = rooms_of(request)
    counted: Metrics = request.app.state.metrics
    jobs = await asyncio.to_thread(_job_metrics, rooms)
    return PlainTextResponse(counted.text() + jobs, media_type="text/plain; version=0.0.4; charset=utf-8")


def _job_metrics(rooms: Rooms) -> str:
    counts = rooms.store.counts()
    workers = rooms.supervisor.workers()
    lines = [
        *family(
            "reknit_jobs",
            "gauge",
            "Jobs kept, by state.",
            (({"state": s}, n) for s, n in sorted(counts.items())),
        ),
        *family(
            "reknit_worker_up",
            "gauge",
            "Whether a worker process lives.",
            (({"device": w.device}, w.pid is not None) for w in workers),
        ),
        *family(
            "reknit_worker_restarts_total",
            "counter",
            "Restarts of workers.",
            (({"device": w.device}, w.restarts) for w in workers),
        ),
        *family(
            "reknit_start_time_seconds", "gauge", "When the server started, Unix time.", [({}, rooms.started)]
        ),
        *family(
            "process_resident_memory_bytes",
            "gauge",
            "Memory of the server process.",
            [({}, resident_bytes())],
        ),
    ]
    return "\n".join(lines) + "\n"
