"""The dialect of ComfyUI: prompts, their queue and their history; each address also below ``/api``.

A prompt is a job like any other (`server.comfy_work`), so it outlives its worker and this process. It is checked
before it is queued, and refused in ComfyUI's own form. Files are in `server.comfy_files`, what clients ask before they
begin in `server.comfy_lists`, the socket that tells what happens in `server.comfy_socket`. docs/dialects.md lists what
is not honoured.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from fastapi import APIRouter, Request
from starlette.responses import Response

from reknit.core.errors import InputError, NotFound
from reknit.jobs.job import FINAL, Job, State
from reknit.server import comfy_work, tasks
from reknit.server.comfy_work import KIND
from reknit.server.problem import Json, Problem, of_any
from reknit.server.rooms import Rooms, rooms_of

if TYPE_CHECKING:
    from reknit.workflow.graph import GraphNode

NAMES = (
    *("prompt", "queue", "history", "interrupt", "free", "view", "upload", "object_info", "system_stats"),
    *("embeddings", "models", "features", "extensions", "ws"),
)
START = tuple(f"{base}/{name}" for name in NAMES for base in ("", "/api"))
"""Where its addresses begin."""
MAX_ID = 200
PAGE = 500
SECRETS = ("auth_token_comfy_org", "api_key_comfy_org")
"""What clients may send for services that are not used here: never kept."""

router = APIRouter(tags=["comfyui"], include_in_schema=False)

Body = dict[str, Any]


@dataclass(slots=True)
class Desk:
    """What the dialect remembers between requests: the next prompt's number, and which node works for which client."""

    numbers: Iterator[int] = field(default_factory=itertools.count)
    at: dict[str, str] = field(default_factory=dict[str, str])


class Complaint(InputError):
    """What is refused, in ComfyUI's form."""

    def __init__(self, kind: str, message: str, details: str = "") -> None:
        super().__init__(message, code="request.value", hint=details)
        self.error: Mapping[str, Any] = {
            "type": kind, "message": message, "details": details, "extra_info": {}
        }  # fmt: skip
        self.node_errors: Mapping[str, Any] = {}


# ---- prompts


@router.get("/prompt")
async def remaining(request: Request) -> Response:
    """Say how many prompts wait or run."""
    return Json(await asyncio.to_thread(queue_info, rooms_of(request)))


@router.post("/prompt")
async def prompt(request: Request) -> Response:
    """Check a prompt and queue it."""
    asked = _object(await request.body())
    told = await asyncio.to_thread(_queued, rooms_of(request), desk_of(request.app), asked)
    return Json(told)


def queue_info(rooms: Rooms) -> Body:
    """Return how many prompts wait or run, as ComfyUI tells it."""
    return {"exec_info": {"queue_remaining": rooms.store.unfinished(KIND)}}


def desk_of(app: Any) -> Desk:
    """Return what the dialect remembers."""
    return cast(Desk, app.state.comfy)


def _object(body: bytes) -> Body:
    """Return the JSON object of a body, whatever its content type says; nothing is an empty one."""
    try:
        found: Any = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise Complaint("invalid_prompt", "The body is not JSON", str(error)[:200]) from error
    if not isinstance(found, dict):
        raise Complaint("invalid_prompt", "The body is not a JSON object")
    return cast(Body, found)


def _queued(rooms: Rooms, desk: Desk, asked: Body) -> Body:
    graph: Any = asked.get("prompt")
    if "prompt" not in asked:
        raise Complaint("no_prompt", "No prompt provided", "No prompt provided")
    outputs, node_errors = _checked(rooms, graph, asked.get("partial_execution_targets"))
    name = _prompt_id(asked.get("prompt_id"))
    number = _number(asked, next(desk.numbers))
    extra: Body = dict(asked["extra_data"]) if isinstance(asked.get("extra_data"), dict) else {}
    client = asked.get("client_id")
    if client is not None:
        extra["client_id"] = client = str(client)[:MAX_ID]
    payload = {
        "prompt_id": name,
        "client_id": client,
        "number": number,
        "prompt": graph,
        "outputs": list(outputs),
        "extra_data": {key: value for key, value in extra.items() if key not in SECRETS},
    }
    store, key = rooms.store, _key(name)
    known = store.keyed(key)
    if known is not None and known.state in FINAL:  # the newer one takes its place, as there
        store.delete(known.id)
    # Numbers below 0 go before the others, the lowest first.
    job, _ = store.submit(
        KIND, payload, key=key, priority=max(0, -math.floor(number)), max_queued=rooms.settings.max_queued
    )
    rooms.supervisor.tell(job.to_dict(), new=True)
    rooms.supervisor.wake()
    return {"prompt_id": name, "number": number, "node_errors": node_errors}


def _checked(rooms: Rooms, data: Any, only: Any) -> tuple[Sequence[str], Mapping[str, Any]]:
    """Return the outputs that can run, and the faults of the others; raises `Complaint` if none can."""
    from reknit.workflow.graph import of_api
    from reknit.workflow.validate import check

    if isinstance(data, dict) and isinstance(data.get("nodes"), list):  # pyright: ignore[reportUnknownMemberType]
        raise Complaint(
            "invalid_prompt",
            "This is the workflow as the page saves it, not a prompt",
            "export it from ComfyUI with Export (API)",
        )
    try:
        graph = of_api(data)
    except InputError as error:
        raise Complaint("invalid_prompt", error.message, error.hint) from error
    targets = [str(each) for each in cast("list[Any]", only)] if isinstance(only, list) else None
    there = comfy_work.context(rooms.settings.comfy_dir, models=rooms.models)
    verdict = check(graph, comfy_work.registry(), there, only=targets)
    if verdict.error is not None:
        complaint = Complaint("invalid_prompt", verdict.error["message"])
        complaint.error, complaint.node_errors = verdict.error, verdict.node_errors
        raise complaint
    for node in graph.nodes.values():
        _refuse_paths(node)
    return verdict.outputs, verdict.node_errors


def _refuse_paths(node: GraphNode) -> None:
    """Refuse options of engines that name files of this machine: graphs of strangers may only name models."""
    words, engine = node.inputs.get("params") or "", node.inputs.get("engine")
    details = f"Node ID '#{node.id}'"
    if not isinstance(words, str):
        raise Complaint("invalid_prompt", "params must be typed in, not linked", details)
    params = {name: value for name, equals, value in (w.partition("=") for w in words.split()) if equals}
    try:
        tasks.check_no_paths(str(engine), params)
    except InputError as error:
        raise Complaint("invalid_prompt", error.message, details) from error


def _prompt_id(given: Any) -> str:
    if given is None:
        return str(uuid.uuid4())
    if not isinstance(given, str) or not 0 < len(given) <= MAX_ID or not given.isprintable():
        raise Complaint("invalid_prompt_id", "prompt_id must be a UUID", f"received {str(given)[:MAX_ID]!r}")
    return given


def _number(asked: Body, next_one: int) -> float:
    given = asked.get("number")
    if isinstance(given, int | float) and not isinstance(given, bool) and -1e9 <= given <= 1e9:
        return given
    return -next_one if asked.get("front") else next_one


def _key(prompt_id: str) -> str:
    return f"comfy:{prompt_id}"


# ---- the queue


@router.get("/queue")
async def queue(request: Request) -> Response:
    """Return the prompts that run and those that wait."""
    jobs = await asyncio.to_thread(jobs_of, rooms_of(request), ("running", "queued"))
    waiting = sorted((job for job in jobs if job.state == "queued"), key=lambda job: (-job.priority, job.id))
    running = [_item(job.payload) for job in jobs if job.state == "running"]
    return Json({"queue_running": running, "queue_pending": [_item(job.payload) for job in waiting]})


@router.post("/queue")
async def change_queue(request: Request) -> Response:
    """Take prompts that wait out of the queue."""
    asked = _object(await request.body())
    await asyncio.to_thread(_stop, rooms_of(request), "queued", None if asked.get("clear") else _names(asked))
    return Response()


@router.post("/interrupt")
async def interrupt(request: Request) -> Response:
    """Stop what runs, or one prompt if it runs."""
    wanted = _object(await request.body()).get("prompt_id")
    await asyncio.to_thread(_stop, rooms_of(request), "running", [str(wanted)] if wanted else None)
    return Response()


@router.post("/free")
async def free(request: Request) -> Response:
    """Let the workers forget answers and models, once they are between two jobs."""
    asked = _object(await request.body())
    if asked.get("unload_models") or asked.get("free_memory"):
        rooms_of(request).supervisor.free()
    return Response()


def jobs_of(rooms: Rooms, states: Sequence[State]) -> list[Job]:
    """Return the prompts in these states, the oldest first."""
    found: list[Job] = []
    while page := rooms.store.list(states, KIND, PAGE, found[-1].id if found else None):
        found += page
    return found[::-1]


def _stop(rooms: Rooms, state: State, names: Sequence[str] | None) -> None:
    for job in jobs_of(rooms, (state,)):
        if names is None or job.payload["prompt_id"] in names:
            rooms.supervisor.cancel(job.id)


def _names(asked: Body) -> list[str]:
    given = asked.get("delete")
    return [str(each) for each in cast("list[Any]", given)] if isinstance(given, list) else []


def _item(payload: Mapping[str, Any]) -> list[Any]:
    return [payload[name] for name in ("number", "prompt_id", "prompt", "extra_data", "outputs")]


# ---- history


@router.get("/history")
async def history(request: Request, max_items: int | None = None, offset: int = -1) -> Response:
    """Return what became of the prompts that have ended, the oldest first."""
    rooms = rooms_of(request)
    ended = [job for job in await asyncio.to_thread(jobs_of, rooms, FINAL) if is_history(job.to_dict())]
    if max_items is not None:
        first = max(0, len(ended) - max_items) if offset < 0 else offset
        ended = ended[first : first + max(0, max_items)]
    elif offset > 0:
        ended = ended[offset:]
    return Json({job.payload["prompt_id"]: entry(job.to_dict()) for job in ended})


@router.get("/history/{prompt_id}")
async def one_history(prompt_id: str, request: Request) -> Response:
    """Return what became of a prompt; nothing while it is not known or has not ended."""
    job = await asyncio.to_thread(rooms_of(request).store.keyed, _key(prompt_id))
    if job is None or not is_history(job.to_dict()):
        return Json({})
    return Json({prompt_id: entry(job.to_dict())})


@router.post("/history")
async def change_history(request: Request) -> Response:
    """Forget prompts that have ended; the pictures that they saved stay."""
    asked = _object(await request.body())
    await asyncio.to_thread(_forget, rooms_of(request), None if asked.get("clear") else _names(asked))
    return Response()


def _forget(rooms: Rooms, names: Sequence[str] | None) -> None:
    for job in jobs_of(rooms, FINAL):
        if names is None or job.payload["prompt_id"] in names:
            try:
                rooms.store.delete(job.id)
            except (InputError, NotFound):  # somebody else did, or began it again
                continue


def is_history(job: Mapping[str, Any]) -> bool:
    """Return whether a prompt was begun and has ended; one that was taken out of the queue has no history."""
    return job["state"] in FINAL and (job["state"] != "cancelled" or job["attempts"] > 0)


def entry(job: Mapping[str, Any]) -> Body:
    """Return a prompt's history."""
    done = job["state"] == "done"
    error: Mapping[str, Any] = job["error"] or {"facts": {}}
    said: Mapping[str, Any] = job["result"] if done else error["facts"]
    return {
        "prompt": _item(job["payload"]),
        "outputs": said.get("outputs", {}),
        "status": {
            "status_str": "success" if done else "error",
            "completed": done,
            "messages": said.get("messages") or _messages(job),
        },
        "meta": said.get("meta", {}),
    }


def _messages(job: Mapping[str, Any]) -> list[list[Any]]:
    """Return the messages of a prompt whose worker did not live to tell them."""
    name = job["payload"]["prompt_id"]
    start = {"prompt_id": name, "timestamp": int(1000 * (job["started"] or job["created"]))}
    end: Body = {
        "prompt_id": name, "node_id": "", "node_type": "", "executed": [],
        "timestamp": int(1000 * (job["finished"] or job["created"])),
    }  # fmt: skip
    if job["state"] == "cancelled":
        return [["execution_start", start], ["execution_interrupted", end]]
    error: Mapping[str, Any] = job["error"]
    end |= {
        "exception_message": error["message"], "exception_type": error["code"],
        "traceback": [f"{error['code']}: {error['message']}\n", f"{error['hint']}\n"],
        "current_inputs": {}, "current_outputs": [],
    }  # fmt: skip
    return [["execution_start", start], ["execution_error", end]]


# ---- errors


def refused(error: Exception) -> Response:
    """Return an error in ComfyUI's form."""
    if isinstance(error, Complaint):
        return Json({"error": error.error, "node_errors": error.node_errors}, 400)
    return of_problem(of_any(error))


def of_problem(problem: Problem) -> Response:
    """Return a problem in ComfyUI's form."""
    error = {
        "type": problem.code, "message": problem.message, "details": problem.hint,
        "extra_info": dict(problem.facts),
    }  # fmt: skip
    return Json({"error": error, "node_errors": {}}, problem.status, dict(problem.headers))
