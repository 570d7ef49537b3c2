"""Events for browsers: server-sent events out of the hub.

A stream begins with the state of what it tells about, so that a client that was away needs nothing else; the
``Last-Event-ID`` that browsers send is therefore not needed. A comment goes out when nothing happens.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from starlette.responses import StreamingResponse

from reknit.jobs.events import Hub

HEARTBEAT_S = 15.0
FINAL = frozenset({"done", "failed", "cancelled"})
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def event(name: str, data: Any) -> bytes:
    """Return one server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode("ascii")


def of_hub(
    hub: Hub,
    snapshot: Callable[[], Sequence[dict[str, Any]]],
    *,
    only: str | None = None,
    heartbeat_s: float = HEARTBEAT_S,
) -> StreamingResponse:
    """Return the stream of all events, or of those of one job until it has ended.

    Parameters
    ----------
    hub
        Where events come from.
    snapshot
        Gives the jobs to begin with; called in a thread once the stream listens, so that nothing is missed.
    only
        The job's id.
    heartbeat_s
        Seconds of silence after which a comment is sent.
    """
    stream = _stream(hub, snapshot, only, heartbeat_s)
    return StreamingResponse(stream, media_type="text/event-stream", headers=HEADERS)


async def _stream(
    hub: Hub, snapshot: Callable[[], Sequence[dict[str, Any]]], only: str | None, heartbeat_s: float
) -> AsyncIterator[bytes]:
    with hub.subscribe() as events:
        jobs = await asyncio.to_thread(snapshot)
        yield b"retry: 1000\n\n" + b"".join(event("job", job) for job in jobs)
        if only is not None and all(job["state"] in FINAL for job in jobs):
            return
        while True:
            try:
                async with asyncio.timeout(heartbeat_s):
                    found = await anext(events)
            except TimeoutError:
                yield b": still here\n\n"
                continue
            except StopAsyncIteration:
                return
            if found["type"] == "job":
                job = {"position": None, **found["job"]}
                if only in (None, job["id"]):
                    yield event("job", job)
                    if only is not None and job["state"] in FINAL:
                        return
            elif found["type"] == "progress" and only in (None, found["id"]):
                yield event(found["type"], {name: value for name, value in found.items() if name != "type"})
