"""Server-sent events: snapshot first, then what happens; a heartbeat in silence; an end for one job."""

import asyncio
import json
from typing import Any

from reknit.jobs.events import Hub
from reknit.server import streams
from tests.patience import PATIENCE_S


def job(name: str, state: str) -> dict[str, Any]:
    return {"id": name, "state": state}


def collect(
    hub: Hub,
    snapshot: list[Any],
    happen: Any,
    *,
    only: str | None = None,
    heartbeat_s: float = 5,
    beats: int = 99,
) -> str:
    """Return the text of a stream that ended by itself, or whose hub was closed, or with so many heartbeats."""

    async def run() -> str:
        response = streams.of_hub(hub, lambda: snapshot, only=only, heartbeat_s=heartbeat_s)
        task = asyncio.create_task(happen())
        text = ""
        async for chunk in response.body_iterator:
            text += bytes(chunk).decode() if not isinstance(chunk, str) else chunk  # type: ignore[arg-type]
            if text.count(": still here") >= beats:
                hub.close()
        await task
        return text

    return asyncio.run(asyncio.wait_for(run(), PATIENCE_S))


def events(text: str) -> list[tuple[str, Any]]:
    blocks = [block.split("\n") for block in text.split("\n\n") if block.startswith("event:")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def test_one_job_is_told_from_its_state_to_its_end() -> None:
    hub = Hub()

    async def happen() -> None:
        await asyncio.sleep(0.05)
        hub.publish({"type": "job", "job": job("other", "done")})
        hub.publish({"type": "progress", "id": "a", "stage": "fill", "fraction": 0.5})
        hub.publish({"type": "progress", "id": "other", "stage": "fill", "fraction": 0.1})
        hub.publish({"type": "job", "job": job("a", "done")})

    told = events(collect(hub, [job("a", "queued")], happen, only="a"))
    assert told == [
        ("job", job("a", "queued")),
        ("progress", {"id": "a", "stage": "fill", "fraction": 0.5}),
        ("job", {"position": None, **job("a", "done")}),
    ]


def test_a_job_that_has_ended_ends_its_stream() -> None:
    async def happen() -> None:
        pass

    assert events(collect(Hub(), [job("a", "failed")], happen, only="a")) == [("job", job("a", "failed"))]


def test_all_jobs_are_told_until_the_server_stops() -> None:
    hub = Hub()

    async def happen() -> None:
        await asyncio.sleep(0.05)
        hub.publish({"type": "job", "job": job("b", "running")})
        hub.close()

    told = events(collect(hub, [job("a", "done"), job("b", "queued")], happen))
    assert [(name, data["id"], data["state"]) for name, data in told] == [
        ("job", "a", "done"),
        ("job", "b", "queued"),
        ("job", "b", "running"),
    ]


def test_silence_is_filled_with_comments() -> None:
    async def happen() -> None:
        pass

    text = collect(Hub(), [], happen, heartbeat_s=0.05, beats=2)
    assert text.count(": still here") == 2
    assert text.startswith("retry: ")


def test_text_of_any_kind_stays_on_its_line() -> None:
    line = streams.event("job", {"name": "a\nb\r\u2028\ud800é"})
    assert line.count(b"\n") == 3
    assert json.loads(line.split(b"data: ")[1])["name"] == "a\nb\r\u2028\ud800é"
