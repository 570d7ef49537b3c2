"""Routes of jobs: ask for a fill, an extension or a repair; watch, list, cancel, try again, forget.

A body is checked here as far as that needs no pixel, so that mistakes are told at once and not by a failed
job. The work itself is unknown here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import Response, StreamingResponse

from reknit.config import usable_threads
from reknit.core.errors import NotFound
from reknit.jobs.job import Job
from reknit.server import streams, tasks
from reknit.server.problem import Json
from reknit.server.rooms import Rooms, rooms_of
from reknit.server.schemas import (
    EXAMPLE_JOB,
    ExtendBody,
    FillBody,
    JobOut,
    JobsOut,
    JobsQuery,
    PlanOut,
    RepairBody,
    Work,
)

MAX_WAIT_S = 60
FINAL = streams.FINAL

router = APIRouter(prefix="/api/v1", tags=["jobs"])

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="The same key and the same body give the same job, however often they are sent.",
    ),
]
Prefer = Annotated[
    str | None,
    Header(
        description="`wait=SECONDS` (up to 60): answer 200 with the finished job if it ends in time.",
        examples=["wait=30"],
    ),
]
JobId = Annotated[str, Path(max_length=100, description="A job's id.", examples=[EXAMPLE_JOB])]


ACCEPTED: dict[int | str, dict[str, Any]] = {
    200: {"model": JobOut, "description": "The finished job, or the one that this key already made."},
    202: {"model": JobOut, "description": "The job waits or runs."},
    400: {"description": "The body cannot be used."},
    404: {"description": "A picture or an engine does not exist."},
    409: {"description": "The key was used for another body."},
    429: {"description": "Too many jobs wait."},
}
MISSING: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such job."}}


@router.post("/fill", status_code=202, responses=ACCEPTED, operation_id="fill")
async def fill(body: FillBody, request: Request, key: Key = None, prefer: Prefer = None) -> Response:
    """Fill the masked part of a picture."""
    return await _submit(request, "fill", body, key, prefer)


@router.post("/extend", status_code=202, responses=ACCEPTED, operation_id="extend")
async def extend(body: ExtendBody, request: Request, key: Key = None, prefer: Prefer = None) -> Response:
    """Extend a picture beyond its borders."""
    return await _submit(request, "extend", body, key, prefer)


@router.post("/repair", status_code=202, responses=ACCEPTED, operation_id="repair")
async def repair(body: RepairBody, request: Request, key: Key = None, prefer: Prefer = None) -> Response:
    """Find dust, scratches, folds and tears, and fill them; or only find them."""
    return await _submit(request, "repair", body, key, prefer)


@router.post(
    "/plan",
    responses={
        200: {"model": PlanOut},
        400: {"description": "The body cannot be used."},
        404: {"description": "A picture or an engine does not exist."},
    },
    operation_id="plan",
)
def plan(body: FillBody, request: Request) -> Response:
    """Say how a fill would be carried out: which engine, which regions, how long. Nothing is filled."""
    rooms = rooms_of(request)
    payload = _payload(rooms, "fill", body)
    tasks.check(rooms.pictures, "fill", payload)
    threads = rooms.settings.threads or usable_threads()
    return Json(tasks.plan(rooms.pictures, payload, threads=threads, models=rooms.models))


async def _submit(request: Request, kind: str, body: Work, key: str | None, prefer: str | None) -> Response:
    rooms = rooms_of(request)
    wait_s = wait_seconds(prefer)
    headers = {"Preference-Applied": f"wait={wait_s}"} if wait_s else {}
    # The subscription begins before the job does, so that its end cannot be missed.
    with rooms.hub.subscribe() if wait_s else nullcontext() as events:
        job, created = await asyncio.to_thread(_accept, rooms, kind, body, key)
        headers["Location"] = f"/api/v1/jobs/{job['id']}"
        if events is not None and job["state"] not in FINAL:
            job = await _end_of(events, job, wait_s)
    finished = job["state"] in FINAL and (wait_s or not created)
    return Json(job, 200 if finished else 202, headers)


def _accept(rooms: Rooms, kind: str, body: Work, key: str | None) -> tuple[dict[str, Any], bool]:
    payload = _payload(rooms, kind, body)
    tasks.check(rooms.pictures, kind, payload)
    for name in ("image", "mask", "source"):
        for digest in rooms.pictures.needs(payload[name]) if payload.get(name) else ():
            rooms.blobs.touch(digest)
    job, created = rooms.store.submit(
        kind, payload, key=key, priority=body.priority, max_queued=rooms.settings.max_queued
    )
    told = job_out(rooms, job)
    if created:
        begin(rooms, told)
    return told, created


def _payload(rooms: Rooms, kind: str, body: Work) -> dict[str, Any]:
    """Return what a job is asked to do; what the body leaves out is as this server's settings say.

    As on the command line, an extension has an engine of its own by default.
    """
    payload = body.model_dump(mode="json", exclude={"priority"})
    for name, value in rooms.settings.defaults.items() if kind != "extend" else ():
        if name in payload and name not in body.model_fields_set:
            payload[name] = value
    return payload


async def _end_of(events: Any, job: dict[str, Any], wait_s: float) -> dict[str, Any]:
    """Return the job as it ended, or as it was last heard of when the time is over."""
    try:
        async with asyncio.timeout(wait_s):
            async for event in events:
                if event["type"] == "job" and event["job"]["id"] == job["id"]:
                    job = {"position": None, **event["job"]}
                    if job["state"] in FINAL:
                        break
    except TimeoutError:
        pass
    return job


def wait_seconds(prefer: str | None) -> int:
    """Return how long a ``Prefer`` header asks to wait, 0 for not at all, at most `MAX_WAIT_S`."""
    found = re.search(r"(?:^|[,;])\s*wait\s*=\s*([0-9]{1,6})\s*(?:$|[,;])", prefer or "", re.IGNORECASE)
    return min(MAX_WAIT_S, int(found[1])) if found else 0


@router.get(
    "/jobs",
    responses={200: {"model": JobsOut}, 400: {"description": "The query cannot be used."}},
    operation_id="jobs",
)
def jobs(query: Annotated[JobsQuery, Query()], request: Request) -> Response:
    """List jobs, newest first."""
    rooms = rooms_of(request)
    states = None if query.state is None else (query.state,)
    found = rooms.store.list(states=states, kind=query.kind, limit=query.limit, before=query.before)
    return Json({"jobs": [job_out(rooms, job) for job in found], "counts": dict(rooms.store.counts())})


@router.get("/jobs/{job_id}", responses={200: {"model": JobOut}, **MISSING}, operation_id="job")
def job(job_id: JobId, request: Request) -> Response:
    """Return a job."""
    rooms = rooms_of(request)
    return Json(job_out(rooms, rooms.store.get(job_id)))


@router.post(
    "/jobs/{job_id}/cancel", responses={200: {"model": JobOut}, **MISSING}, operation_id="cancel_job"
)
def cancel(job_id: JobId, request: Request) -> Response:
    """Cancel a job: at once if it waits, within a second if it runs; a finished one stays as it is."""
    rooms = rooms_of(request)
    return Json(job_out(rooms, rooms.supervisor.cancel(job_id)))


@router.post("/jobs/{job_id}/hurry", responses={200: {"model": JobOut}, **MISSING}, operation_id="hurry_job")
def hurry(job_id: JobId, request: Request) -> Response:
    """End a job early with what it has.

    A diffusion model stops after its step, and the picture is what it sees by then; what has nothing before it is done
    goes on. A job that waits is cancelled.
    """
    rooms = rooms_of(request)
    return Json(job_out(rooms, rooms.supervisor.hurry(job_id)))


@router.post(
    "/jobs/{job_id}/retry",
    responses={200: {"model": JobOut}, 409: {"description": "The job has not failed."}, **MISSING},
    operation_id="retry_job",
)
def retry(job_id: JobId, request: Request) -> Response:
    """Queue a failed or cancelled job again."""
    rooms = rooms_of(request)
    told = job_out(rooms, rooms.store.retry(job_id))
    begin(rooms, told, new=False)
    return Json(told)


@router.delete(
    "/jobs/{job_id}",
    status_code=204,
    responses={204: {"description": "Forgotten."}, 409: {"description": "The job has not ended."}, **MISSING},
    operation_id="delete_job",
)
def delete(job_id: JobId, request: Request) -> Response:
    """Forget a finished job; its pictures go when nothing else needs them."""
    rooms_of(request).store.delete(job_id)
    return Response(status_code=204)


STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "Server-sent events `job` and `progress`.", "content": {"text/event-stream": {}}}
}


@router.get("/jobs/{job_id}/events", responses={**STREAM, **MISSING}, operation_id="job_events")
async def job_events(job_id: JobId, request: Request) -> StreamingResponse:
    """Watch one job until it ends; the stream begins with its state."""
    rooms = rooms_of(request)
    await asyncio.to_thread(rooms.store.get, job_id)
    return streams.of_hub(rooms.hub, lambda: _snapshot_of(rooms, job_id), only=job_id)


@router.get("/events", responses=STREAM, operation_id="events")
async def events(request: Request) -> StreamingResponse:
    """Watch all jobs; the stream begins with those that have not ended, and the latest that have."""
    rooms = rooms_of(request)
    return streams.of_hub(rooms.hub, lambda: _snapshot(rooms))


def _snapshot_of(rooms: Rooms, job_id: str) -> list[dict[str, Any]]:
    try:
        return [job_out(rooms, rooms.store.get(job_id))]
    except NotFound:
        return []


def _snapshot(rooms: Rooms) -> list[dict[str, Any]]:
    ended = rooms.store.list(states=("done", "failed", "cancelled"), limit=20)
    going = rooms.store.list(states=("queued", "running"), limit=200)
    return [job_out(rooms, job) for job in sorted((*ended, *going), key=lambda job: job.id)]


def begin(rooms: Rooms, job: Mapping[str, Any], *, new: bool = True) -> None:
    """Tell that a job waits, and then the workers, so that their news comes later."""
    rooms.supervisor.tell(job, new=new)
    rooms.supervisor.wake()


def job_out(rooms: Rooms, job: Job) -> dict[str, Any]:
    """Return a job as JSON data, with its place in the queue."""
    position = rooms.store.position(job.id) if job.state == "queued" else None
    shown: Mapping[str, Any] = job.to_dict()
    return {**shown, "position": position}
