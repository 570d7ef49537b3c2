"""A client of ComfyUI written as its own example scripts are, and graphs that need no torch."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

pytest.importorskip("websockets", reason="pip install -e .")

from websockets.sync.client import ClientConnection, connect

from tests.patience import PATIENCE_S
from tests.server import comfy_shapes
from tests.server.live import Server, photo, png

HOLE = (slice(24, 56), slice(16, 72))
"""Rows and columns of the hole; it is asymmetric, so that one turned round or mirrored would be noticed."""


def holed(seed: int = 1, side: int = 128) -> bytes:
    """Return a photo whose hole is transparent, with its colours under it, as a PNG file."""
    alpha = np.full((side, side, 1), 255, np.uint8)
    alpha[HOLE] = 0
    return png(np.dstack((photo(seed, side), alpha)))


def filling(
    image: str = "hole.png", *, seed: int = 1, prefix: str = "ComfyUI", **given: Any
) -> dict[str, Any]:
    """Return a prompt: load a picture, fill what is transparent in it, save."""
    fill = {"image": ["1", 0], "mask": ["1", 1], "engine": "exemplar", "seed": seed, "grow": 2.0, **given}
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": image}, "_meta": {"title": "Load Image"}},
        "2": {"class_type": "ReknitFill", "inputs": fill, "_meta": {"title": "Fill"}},
        "3": {
            "class_type": "SaveImage",
            "inputs": {"images": ["2", 0], "filename_prefix": prefix},
            "_meta": {"title": "Save Image"},
        },
    }


def long(image: str, **given: Any) -> dict[str, Any]:
    """Return a prompt that takes many seconds in its second node."""
    return filling(image, engine="exemplar", params="quality=best", grow=400.0, **given)


@dataclass(slots=True)
class Script:
    """What ComfyUI's example scripts do: HTTP with urllib, and a socket that is read until nothing works."""

    server: Server
    client_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def base(self) -> str:
        return str(self.server.client.base_url)

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.base + path, timeout=PATIENCE_S) as response:
            told = json.loads(response.read())
        comfy_shapes.reply("GET", path, told)
        return told

    def queue_prompt(self, prompt: dict[str, Any], **more: Any) -> dict[str, Any]:
        data = json.dumps({"prompt": prompt, "client_id": self.client_id, **more}).encode("utf-8")
        with urllib.request.urlopen(
            urllib.request.Request(f"{self.base}prompt", data=data), timeout=PATIENCE_S
        ) as r:
            told = json.loads(r.read())
        comfy_shapes.reply("POST", "prompt", told)
        return told

    def get_image(self, filename: str, subfolder: str, folder_type: str) -> bytes:
        data = {"filename": filename, "subfolder": subfolder, "type": folder_type}
        with urllib.request.urlopen(
            f"{self.base}view?{urllib.parse.urlencode(data)}", timeout=PATIENCE_S
        ) as response:
            return response.read()

    def get_history(self, prompt_id: str) -> dict[str, Any]:
        return self.get(f"history/{prompt_id}")

    def upload(self, name: str, data: bytes, **fields: str) -> dict[str, str]:
        answer = self.server.client.post("/upload/image", files={"image": (name, data)}, data=fields)
        assert answer.status_code == 200, answer.text
        comfy_shapes.reply("POST", "upload/image", answer.json())
        return answer.json()

    @contextmanager
    def socket(self, path: str = "ws", **how: Any) -> Iterator[ClientConnection]:
        url = f"{self.base.replace('http', 'ws', 1)}{path}?clientId={self.client_id}"
        with connect(url, open_timeout=PATIENCE_S, proxy=None, **how) as ws:
            yield ws

    def get_images(self, ws: ClientConnection, prompt: dict[str, Any], **more: Any) -> dict[str, list[bytes]]:
        prompt_id = self.queue_prompt(prompt, **more)["prompt_id"]
        messages(ws, prompt_id)
        history = self.get_history(prompt_id)[prompt_id]
        return {
            node: [self.get_image(i["filename"], i["subfolder"], i["type"]) for i in output.get("images", [])]
            for node, output in history["outputs"].items()
        }


def heard(text: str) -> dict[str, Any]:
    """Return a message, which has to have its shape."""
    message = json.loads(text)
    comfy_shapes.message(message)
    return message


def messages(ws: ClientConnection, prompt_id: str) -> list[Any]:
    """Return what comes until nothing works on a prompt any more: JSON, or bytes."""
    found: list[Any] = []
    while True:
        out = ws.recv(timeout=120)
        found.append(heard(out) if isinstance(out, str) else out)
        last = found[-1]
        over = isinstance(last, dict) and last["type"] == "executing" and last["data"]["node"] is None
        if over and last["data"]["prompt_id"] == prompt_id:
            return found


def missed(ws: ClientConnection) -> None:
    """Forget what has come and was not read yet."""
    with suppress(TimeoutError):
        while True:
            ws.recv(timeout=0)


def wait_for(ws: ClientConnection, kind: str, **data: Any) -> dict[str, Any]:
    """Return the data of the first message of a type that says this."""
    while True:
        out = ws.recv(timeout=120)
        if isinstance(out, str):
            message = heard(out)
            if message["type"] == kind and data.items() <= message["data"].items():
                return message["data"]
