"""What A1111's dialect remembers between requests: options, what is being made, and how far that is.

Progress, interrupt and skip are answered while a request blocks, also in the words of the original's own page
(``/internal/progress``). A request is made in rounds (``n_iter``), each a job. An interrupt hurries the round under
way, so that a diffusion model's pictures go back as far as they came; other engines have nothing before they are done,
and are cancelled.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from reknit.server import a1111_lists as lists
from reknit.server import errands
from reknit.server.a1111_work import Asked, Made
from reknit.server.errands import Errand, Pixels
from reknit.server.problem import Json
from reknit.server.rooms import rooms_of

START = "/internal"
FINISHED = 16
"""How many tasks that are done are remembered, as the original does."""

router = APIRouter(tags=["a1111"], include_in_schema=False)


@dataclass(slots=True)
class Desk:
    """What the dialect remembers between requests."""

    options: dict[str, Any] = field(default_factory=lambda: dict(lists.OPTIONS))
    chosen: str | None = None
    under_way: list[Running] = field(default_factory=list["Running"])
    finished: deque[str] = field(default_factory=lambda: deque[str](maxlen=FINISHED))

    @contextmanager
    def at_work(self, asked: Asked, kind: str, *, paints: bool) -> Generator[Running]:
        """Have a request among those under way inside the ``with``; ``paints``: a diffusion model does it."""
        task = asked.force_task_id or f"task({kind}-{random.randrange(2**40):x})"
        running = Running(
            task=task, job=f"scripts_{kind}", rounds=asked.n_iter, steps=asked.steps, paints=paints
        )
        self.under_way.append(running)
        try:
            yield running
        finally:
            self.under_way.remove(running)
            self.finished.append(task)


@dataclass(slots=True, kw_only=True, eq=False)
class Running:
    """A request under way: ``round`` of ``rounds``, each with an errand of its own."""

    task: str
    job: str
    rounds: int
    steps: int
    paints: bool
    round: int = 0
    errand: Errand = field(default_factory=Errand)
    began: float = field(default_factory=time.time)
    stopped: bool = False
    skipped: bool = False
    previews: int = 0
    embeddings: dict[str, str] = field(default_factory=dict[str, str])
    _shown: Any = None

    async def rounds_of(self, batch: int, work: Callable[[int, Errand], Awaitable[list[Pixels]]]) -> Made:
        """Return the pictures of all rounds with their numbers; after an interrupt those that there are.

        ``work`` gets the number of a round's first picture, of which each has ``batch``.
        """
        made: Made = []
        for number in range(self.rounds):
            self.round, self.errand = number, Errand()
            made += enumerate(await work(number * batch, self.errand), number * batch)
            self.embeddings |= self.errand.embeddings
            if self.stopped or (self.errand.cancelled and not self.skipped):
                break
            self.skipped = False
        return made

    @property
    def done(self) -> float:
        """How much of it is done, 0 to 1."""
        return (self.round + self.errand.fraction) / self.rounds

    def preview(self) -> str | None:
        """Return the newest preview as an address that holds it, and count those that were seen."""
        newest = self.errand.preview
        if newest is None:
            return None
        if newest is not self._shown:
            self._shown = newest
            self.previews += 1
        return newest["image"]


def desk_of(request: Request) -> Desk:
    """Return what the dialect remembers in this server."""
    state = request.app.state
    if not hasattr(state, "a1111"):
        state.a1111 = Desk()
    return state.a1111


@router.get("/sdapi/v1/progress")
async def progress(request: Request, skip_current_image: bool = False) -> Response:
    """Say how far the request under way is; exactly 0 when there is none."""
    desk = desk_of(request)
    state: dict[str, Any] = {
        "skipped": False, "interrupted": False, "stopping_generation": False, "job": "", "job_count": 0,
        "job_timestamp": time.strftime("%Y%m%d%H%M%S"), "job_no": 0, "sampling_step": 0, "sampling_steps": 0,
    }  # fmt: skip
    told: dict[str, Any] = {
        "progress": 0.0, "eta_relative": 0.0, "state": state, "current_image": None, "textinfo": None
    }  # fmt: skip
    if desk.under_way:
        now = desk.under_way[0]
        told |= {"textinfo": now.errand.stage or None, **_how_far(now)}
        preview = now.preview()
        if preview is not None and not skip_current_image:
            told["current_image"] = preview.partition(",")[2]
        state |= {
            "skipped": now.skipped, "interrupted": now.stopped, "job": now.job, "stopping_generation": now.stopped,
            "job_count": now.rounds, "job_no": now.round,
            "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.localtime(now.began)),
            "sampling_step": min(now.steps, int(now.errand.fraction * now.steps)), "sampling_steps": now.steps,
        }  # fmt: skip
    return Json(told)


def _how_far(now: Running) -> dict[str, float]:
    done = min(1.0, 0.01 + 0.99 * now.done)
    spent_s = time.time() - now.began
    return {"progress": done, "eta_relative": spent_s / done - spent_s}


@router.post("/sdapi/v1/interrupt")
async def interrupt(request: Request) -> Response:
    """Stop the request under way; it answers with the pictures it has."""
    desk = desk_of(request)
    if desk.under_way:
        desk.under_way[0].stopped = True
        await _stop(request, desk.under_way[0])
    return Json({})


@router.post("/sdapi/v1/skip")
async def skip(request: Request) -> Response:
    """Stop the round under way; the request goes on with the next."""
    desk = desk_of(request)
    if desk.under_way:
        desk.under_way[0].skipped = True
        await _stop(request, desk.under_way[0])
    return Json(None)


async def _stop(request: Request, running: Running) -> None:
    stop = errands.hurry if running.paints else errands.cancel
    await asyncio.to_thread(stop, rooms_of(request), running.errand)


class _Question(BaseModel):
    id_task: str | None = None
    id_live_preview: int = -1
    live_preview: bool = True


@router.post(f"{START}/progress")
async def internal_progress(asked: _Question, request: Request) -> Response:
    """Say how far a task is, by the id that its request was given (``force_task_id``)."""
    desk = desk_of(request)
    waiting = [each.task for each in desk.under_way[1:]]
    active = bool(desk.under_way) and desk.under_way[0].task == asked.id_task
    told: dict[str, Any] = {
        "active": active, "queued": asked.id_task in waiting, "completed": asked.id_task in desk.finished,
        "progress": None, "eta": None, "live_preview": None, "id_live_preview": -1, "textinfo": "Waiting...",
    }  # fmt: skip
    if not active:
        if asked.id_task in waiting:
            told["textinfo"] = f"In queue: {waiting.index(asked.id_task) + 1}/{len(waiting)}"
        return Json(told)
    now = desk.under_way[0]
    far = _how_far(now)
    told |= {"progress": far["progress"], "eta": far["eta_relative"], "textinfo": now.errand.stage or None}
    preview = now.preview()
    told["id_live_preview"] = now.previews
    if preview is not None and asked.live_preview and asked.id_live_preview != now.previews:
        told["live_preview"] = preview
    return Json(told)


@router.get(f"{START}/pending-tasks")
async def pending_tasks(request: Request) -> Response:
    """List the tasks that wait."""
    waiting = [each.task for each in desk_of(request).under_way[1:]]
    return Json({"size": len(waiting), "tasks": waiting})
