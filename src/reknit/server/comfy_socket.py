"""ComfyUI's WebSocket: a client hears what becomes of its prompts, in ComfyUI's messages and their order.

Each connection reads the hub by itself. What a worker tells passes through while it works; how a prompt ended is sent
when its job has ended, so that its history is there when the client asks. Clients are told apart by the id that they
choose.
"""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from reknit.jobs.events import Subscription
from reknit.jobs.job import FINAL
from reknit.server import comfy
from reknit.server.comfy import MAX_ID, Desk
from reknit.server.comfy_lists import features_of
from reknit.server.comfy_work import KIND
from reknit.server.rooms import Rooms

PREVIEW, PREVIEW_WITH_METADATA = 1, 4
"""Kinds of binary messages."""
JPEG, PNG = 1, 2
"""What is in them."""
FOR_ALL = ("progress", "progress_state")
"""Messages that go to every client if the prompt's own has no id."""

router = APIRouter(tags=["comfyui"])


@router.websocket("/ws")
async def ws(socket: WebSocket) -> None:
    """Tell a client what happens until it leaves or the server stops."""
    rooms: Rooms = socket.app.state.rooms
    await socket.accept()
    with rooms.hub.subscribe() as events:
        line = _Line(socket, rooms, comfy.desk_of(socket.app))
        tasks = [asyncio.create_task(line.hear()), asyncio.create_task(line.tell(events))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    with suppress(RuntimeError, WebSocketDisconnect):  # it left
        await socket.close(1001)


class _Line:
    """One connection."""

    def __init__(self, socket: WebSocket, rooms: Rooms, desk: Desk) -> None:
        self._socket = socket
        self._rooms = rooms
        self._desk = desk
        self._id = socket.query_params.get("clientId", "")[:MAX_ID] or uuid.uuid4().hex
        self._metadata = False

    async def hear(self) -> None:
        """Read what the client sends until it leaves; only its first message can mean something."""
        first = True
        with suppress(WebSocketDisconnect):
            while (message := await self._socket.receive())["type"] != "websocket.disconnect":
                if first and message.get("text"):
                    first = False
                    await self._features(message["text"])

    async def tell(self, events: Subscription) -> None:
        """Send what happens."""
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._send("status", {"status": await self._queue(), "sid": self._id})
            if self._id in self._desk.at:
                await self._send("executing", {"node": self._desk.at[self._id]})
            async for event in events:
                if event["type"] == "told":
                    await self._told(event["told"])
                elif event["type"] == "job" and event["job"]["kind"] == KIND:
                    await self._changed(event["job"])

    async def _told(self, told: Mapping[str, Any]) -> None:
        event, client = told["event"], told["client"]
        if event == "executing" and client is not None:
            self._desk.at[client] = told["data"]["node"]
        if client != self._id and (client is not None or event not in FOR_ALL):
            return
        image = base64.b64decode(told["image"]) if "image" in told else None
        if image is not None and self._metadata:
            await self._socket.send_bytes(_with_metadata(image, told["data"]))
        await self._send(event, told["data"])
        if image is not None and not self._metadata:
            await self._socket.send_bytes(_number(PREVIEW) + _number(_format(image)) + image)

    async def _changed(self, job: Mapping[str, Any]) -> None:
        """Tell that a job changed its state; when it has ended, how, and that nothing works any more."""
        client = job["payload"]["client_id"]
        over = job["state"] in FINAL
        ended = comfy.entry(job)["status"]["messages"][-1] if comfy.is_history(job) else None
        if ended is not None and (client == self._id or ended[0] == "execution_interrupted"):
            await self._send(*ended)
        await self._send("status", {"status": await self._queue()})
        if over and client is not None:
            self._desk.at.pop(client, None)
        if ended is not None and client == self._id:
            await self._send("executing", {"node": None, "prompt_id": job["payload"]["prompt_id"]})

    async def _features(self, text: str) -> None:
        try:
            said: Any = json.loads(text)
            flags = said["data"] if said["type"] == "feature_flags" else None
            self._metadata = flags is not None and bool(flags.get("supports_preview_metadata"))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return
        if flags is not None:
            await self._send("feature_flags", features_of(self._rooms))

    async def _queue(self) -> Mapping[str, Any]:
        return await asyncio.to_thread(comfy.queue_info, self._rooms)

    async def _send(self, event: str, data: Mapping[str, Any]) -> None:
        await self._socket.send_text(json.dumps({"type": event, "data": data}))


def _with_metadata(image: bytes, progress: Mapping[str, Any]) -> bytes:
    """Return the message of a preview that says whose it is."""
    node = progress["node"]
    said = {
        "node_id": node, "prompt_id": progress["prompt_id"], "display_node_id": node, "parent_node_id": None,
        "real_node_id": node, "image_type": "image/png" if _format(image) == PNG else "image/jpeg",
    }  # fmt: skip
    text = json.dumps(said).encode()
    return _number(PREVIEW_WITH_METADATA) + _number(len(text)) + text + image


def _format(image: bytes) -> int:
    return PNG if image.startswith(b"\x89PNG") else JPEG


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")
