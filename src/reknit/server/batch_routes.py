"""Routes of batches: which folders are allowed, start one, look at its report. Watching, listing, cancelling and
trying again are those of every job (`job_routes`).

What a batch is, and which folders it may touch, is known to `batch_work`.
"""

from __future__ import annotations

import asyncio
import mimetypes
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, RedirectResponse, Response

from reknit.batch.check import RECORD
from reknit.core.errors import NotFound
from reknit.server import batch_work
from reknit.server.job_routes import MISSING, JobId, Key, begin, job_out
from reknit.server.problem import Json
from reknit.server.rooms import Rooms, rooms_of
from reknit.server.schemas import BatchBody, FoldersOut, JobOut

REPORT_POLICY = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'"

router = APIRouter(prefix="/api/v1", tags=["batches"])


@router.get("/batch", responses={200: {"model": FoldersOut}}, operation_id="batch_folders")
def folders(request: Request) -> Response:
    """List the folders that the operator allowed, and those in them."""
    roots = batch_work.named(rooms_of(request).settings.batch_roots).values()
    found = [found for root in roots for found in batch_work.folders(root)]
    return Json({"folders": [{"name": name, "pictures": pictures} for name, pictures in found]})


@router.post(
    "/batch",
    status_code=202,
    responses={
        200: {"model": JobOut, "description": "The job that this key already made."},
        202: {"model": JobOut, "description": "The job waits or runs."},
        400: {"description": "The body cannot be used, or names a place outside."},
        404: {"description": "A folder or an engine does not exist."},
        409: {"description": "The key was used for another body."},
        429: {"description": "Too many jobs wait."},
    },
    operation_id="batch",
)
async def start(body: BatchBody, request: Request, key: Key = None) -> Response:
    """Fill every picture in a folder, or go on with it. The job's stage says how many are done."""
    job, created = await asyncio.to_thread(_accept, rooms_of(request), body, key)
    return Json(job, 202 if created else 200, {"Location": f"/api/v1/jobs/{job['id']}"})


def _accept(rooms: Rooms, body: BatchBody, key: str | None) -> tuple[dict[str, Any], bool]:
    payload = body.model_dump(mode="json", exclude={"priority"})
    for name, value in rooms.settings.defaults.items():
        if name in payload and name not in body.model_fields_set and (name != "grow" or not payload["find"]):
            payload[name] = value
    batch_work.check(batch_work.named(rooms.settings.batch_roots), payload)
    job, created = rooms.store.submit(
        batch_work.KIND, payload, key=key, priority=body.priority, max_queued=rooms.settings.max_queued
    )
    told = job_out(rooms, job)
    if created:
        begin(rooms, told)
    return told, created


@router.get(
    "/batch/{job_id}/report",
    status_code=307,
    responses={307: {"description": "Where the report is."}, **MISSING},
    operation_id="batch_report",
)
def report(job_id: JobId, request: Request) -> Response:
    """Go to the report of a batch; it is written when the batch ends, or is cancelled."""
    _file(rooms_of(request), job_id, f"{RECORD}/index.html")
    return RedirectResponse(f"files/{RECORD}/index.html", 307)


@router.get(
    "/batch/{job_id}/files/{path:path}",
    response_class=FileResponse,
    responses={200: {"description": "The file."}, **MISSING},
    operation_id="batch_file",
)
def file(job_id: JobId, path: str, request: Request) -> Response:
    """Return a file of a batch's report, or a picture that lies in its OUT."""
    found = _file(rooms_of(request), job_id, path)
    kind = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
    policy = {"Content-Security-Policy": REPORT_POLICY} if kind == "text/html" else {}
    return FileResponse(found, media_type=kind, headers={"Cache-Control": "no-cache", **policy})


def _file(rooms: Rooms, job_id: str, path: str) -> Path:
    job = rooms.store.get(job_id)
    if job.kind != batch_work.KIND:
        raise NotFound(f"job {job_id} is no batch", code="jobs.missing", hint="GET /api/v1/jobs?kind=batch")
    return batch_work.result_file(batch_work.named(rooms.settings.batch_roots), job.payload, path)
