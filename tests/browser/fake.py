"""A stand-in for the server that does what a test of the page wants: slow, failing, locked, or away.

It answers the HTTP interface that the page uses, fills holes with OpenCV, and serves the page's own files.
Knows no part of Reknit but where those files lie.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import queue
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import cv2
import numpy as np
from PIL import Image

WEB = Path(__file__).parents[2] / "src" / "reknit" / "web"
KINDS = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".html": "text/html; charset=utf-8",
}
POLICY = "default-src 'self'; img-src 'self' blob: data:; connect-src 'self' blob: data:"
TILE_PX = 512
QUALITY = {
    "name": "quality", "type": "string", "enum": ["draft", "normal", "best"], "default": "normal",
    "description": "how much time to spend", "important": True,
}  # fmt: skip
ROTATION = {
    "name": "rotation", "type": "string", "enum": ["none", "low", "medium", "high", "full"], "default": "none",
    "description": "also copy turned pieces", "important": False,
}  # fmt: skip
RADIUS = {
    "name": "radius", "type": "integer", "minimum": 1, "maximum": 30, "default": 3, "x-unit": "px",
    "description": "how far the known pixels count", "important": True,
}  # fmt: skip
GROW = {
    "name": "grow", "type": "number", "minimum": 0, "maximum": 512, "default": 2.0, "x-unit": "px",
    "description": "Grow the hole by this much.", "important": False,
}  # fmt: skip
PREVIEW = {
    "image": "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7",
    "width": 1, "height": 1, "box": [200, 180, 440, 300],
}  # fmt: skip
ENGINES = [
    {
        "name": "exemplar",
        "title": "Patches of the photo itself",
        "seeded": True,
        "needs_model": False,
        "options": [QUALITY, ROTATION],
    },
    {
        "name": "telea",
        "title": "Fast marching: thin scratches",
        "seeded": False,
        "needs_model": False,
        "options": [RADIUS],
    },
]


@dataclass
class World:
    """What the server knows and how it behaves; a test changes it at will."""

    delay_s: float = 0.15
    error: dict[str, Any] | None = None
    refusal: tuple[int, dict[str, Any]] | None = None
    paints: bool = False
    token: str = ""
    engines: list[dict[str, Any]] = field(default_factory=lambda: list(ENGINES))
    models: list[dict[str, Any]] = field(default_factory=list)
    pictures: dict[str, Image.Image] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    submitted: list[dict[str, Any]] = field(default_factory=list)
    hurried: set[str] = field(default_factory=set)
    planned: list[dict[str, Any]] = field(default_factory=list)
    listeners: list[queue.Queue[tuple[str, Any]]] = field(default_factory=list)

    def publish(self, kind: str, data: Any) -> None:
        for listener in list(self.listeners):
            listener.put((kind, data))

    def add(self, image: Image.Image, name: str, **facts: Any) -> dict[str, Any]:
        file = io.BytesIO()
        image.save(file, "PNG")
        digest = hashlib.sha256(file.getvalue()).hexdigest()
        self.pictures[digest] = image
        levels = max(1, int(np.ceil(np.log2(max(image.size) / TILE_PX))) + 1)
        self.facts[digest] = {
            "id": digest, "width": image.width, "height": image.height, "bits": 8, "alpha": False,
            "grey": image.mode == "L", "container": "png", "bytes": len(file.getvalue()), "name": name, "notes": [],
            "parent": None, "original": digest, "box": None, "tile_px": TILE_PX, "levels": levels, **facts,
        }  # fmt: skip
        return self.facts[digest]

    def submit(self, kind: str, payload: dict[str, Any], key: str) -> dict[str, Any]:
        if key in self.keys:
            return self.jobs[self.keys[key]]
        self.submitted.append({"kind": kind, **payload})
        job = {
            "id": f"{time.time_ns():020d}", "kind": kind, "state": "queued", "priority": 0, "position": 0,
            "created": time.time(), "started": None, "finished": None, "attempts": 0, "stage": "", "fraction": 0,
            "payload": payload, "result": None, "error": None,
        }  # fmt: skip
        self.jobs[job["id"]] = job
        self.keys[key] = job["id"]
        threading.Thread(target=self._work, args=(job,), daemon=True).start()
        return dict(job)

    def _work(self, job: dict[str, Any]) -> None:
        self.change(job, state="running", started=time.time(), position=None, attempts=1)
        began = time.monotonic()
        while (spent := time.monotonic() - began) < self.delay_s:  # a test may change its mind meanwhile
            part = {
                "id": job["id"],
                "stage": "fill",
                "fraction": spent / self.delay_s,
                "seconds_left": self.delay_s - spent,
                "preview": PREVIEW if self.paints else None,
            }
            self.publish("progress", part)
            time.sleep(min(0.05, self.delay_s / 2))
            if job["state"] == "cancelled":
                return
            if job["id"] in self.hurried:
                break
        if self.error:
            self.change(job, state="failed", finished=time.time(), error={"facts": {}, **self.error})
        else:
            self.change(job, state="done", finished=time.time(), fraction=1, result=self._result(job))

    def plan(self, payload: dict[str, Any]) -> dict[str, Any]:
        self.planned.append(payload)
        hole = Image.fromarray(
            (np.asarray(self.pictures[payload["mask"]].convert("L")) > 127).astype(np.uint8)
        ).getbbox()
        image = self.pictures[payload["image"]]
        region = {"hole": list(hole or ()), "context": [0, 0, image.width // 2, image.height]}
        return {
            "engine": "exemplar",
            "regions": [region],
            "grow_px": 2,
            "feather_px": 4,
            "seconds": 0.1,
            "reasons": [],
        }

    def change(self, job: dict[str, Any], **changes: Any) -> None:
        job.update(changes)
        self.publish("job", job)

    def _result(self, job: dict[str, Any]) -> dict[str, Any]:
        payload = job["payload"]
        image = self.pictures[payload["image"]]
        if payload.get("detect_only"):
            found = np.zeros((image.height, image.width), np.uint8)
            reach = int(10 + 60 * payload["sensitivity"])
            cv2.line(found, (40, 30), (40 + 3 * reach, 30 + 2 * reach), 255, 5)
            mask = self.add(Image.fromarray(found), "found.png")
            return {"images": [], "mask": mask["id"], "seed": 0, "found": int((found > 0).sum())}
        sides = [int(payload.get(side) or 0) for side in ("left", "top", "right", "bottom")]
        pixels = cv2.copyMakeBorder(
            np.asarray(image.convert("RGB")), sides[1], sides[3], sides[0], sides[2], cv2.BORDER_REFLECT
        )
        box = [0, 0, pixels.shape[1], pixels.shape[0]]
        made = []
        for n in range(payload.get("count") or 1):
            filled = pixels
            if "mask" in payload:
                hole = (np.asarray(self.pictures[payload["mask"]].convert("L")) > 127).astype(np.uint8)
                ys, xs = np.nonzero(hole)
                box = [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]
                filled = cv2.inpaint(pixels, hole, 3 + 4 * n, cv2.INPAINT_TELEA)
                filled[hole > 0] = np.clip(filled[hole > 0].astype(int) + 9 * n, 0, 255)
            parent = self.facts[payload["image"]]
            facts = {
                "parent": parent["id"],
                "original": parent["original"],
                "box": box,
                "seed": payload["seed"] + n,
            }
            made.append(self.add(Image.fromarray(filled), parent["name"], **facts))
        return {
            "images": made,
            "seed": payload["seed"],
            "report": {"outside_equal": True},
            "timings": {},
            "notes": [],
        }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: World

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/" or path.startswith("/web/"):
            self._file("index.html" if path == "/" else path[5:])
        elif self._allowed():
            self._api(path.removeprefix("/api/v1/").split("/"))

    def do_DELETE(self) -> None:
        self.world.jobs.pop(self.path.rsplit("/", 1)[1], None)
        self._answer(204, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self._allowed():
            return
        path = urlsplit(self.path).path.removeprefix("/api/v1/").split("/")
        if path[0] == "images":
            self._json(201, self._upload(body))
        elif path[0] in ("fill", "extend", "repair") and self.world.refusal:
            self._json(*self.world.refusal)
        elif path[0] in ("fill", "extend", "repair"):
            self._json(202, self.world.submit(path[0], json.loads(body), self.headers["Idempotency-Key"]))
        elif path[0] == "plan":
            self._json(200, self.world.plan(json.loads(body)))
        elif path[-1] == "hurry":
            self.world.hurried.add(path[1])
            self._json(200, self.world.jobs[path[1]])
        elif path[-1] == "cancel":
            job = self.world.jobs[path[1]]
            self.world.change(job, state="cancelled", finished=time.time())
            self._json(200, job)
        else:
            self._json(404, {"code": "not.there", "message": "no such thing", "hint": ""})

    def _upload(self, body: bytes) -> dict[str, Any]:
        name = dict(parse_qsl(urlsplit(self.path).query)).get("name", "")
        image = Image.open(io.BytesIO(body))
        return self.world.add(image.convert("L" if image.mode == "L" else "RGB"), name)

    def _allowed(self) -> bool:
        token = self.world.token
        if not token or f"reknit_token={token}" in (self.headers.get("Cookie") or ""):
            return True
        self._json(401, {"code": "guard.token", "message": "a token is needed", "hint": ""})
        return False

    def _api(self, path: list[str]) -> None:
        world = self.world
        query = dict(parse_qsl(urlsplit(self.path).query))
        if path == ["events"]:
            self._events()
        elif path == ["engines"]:
            self._json(200, {"engines": world.engines, "request": [GROW]})
        elif path == ["models"]:
            self._json(200, {"models": world.models})
        elif path == ["jobs"]:
            found = [
                job for job in reversed(world.jobs.values()) if query.get("state") in (None, job["state"])
            ]
            self._json(200, {"jobs": found[: int(query.get("limit", 50))], "counts": {}})
        elif path[0] == "jobs" and path[1] in world.jobs:
            self._json(200, world.jobs[path[1]])
        elif path[0] == "images" and path[1] in world.pictures:
            self._picture(world.pictures[path[1]], world.facts[path[1]], path[2:], query)
        else:
            self._json(404, {"code": "not.there", "message": "no such thing", "hint": ""})

    def _picture(
        self, image: Image.Image, facts: dict[str, Any], rest: list[str], query: dict[str, str]
    ) -> None:
        if not rest:
            self._json(200, facts)
            return
        kind = query.get("format", "png")
        kind = "png" if kind == "source" else kind
        if rest[0] == "tiles":
            level, column, row = map(int, rest[1:])
            size = (max(1, -(-image.width >> level)), max(1, -(-image.height >> level)))
            small = image.resize(size)
            box = (
                column * TILE_PX,
                row * TILE_PX,
                min(size[0], (column + 1) * TILE_PX),
                min(size[1], (row + 1) * TILE_PX),
            )
            image = small.crop(box)
        elif rest[0] == "thumbnail":
            image = image.copy()
            image.thumbnail((int(query.get("size", 256)),) * 2)
        elif rest[0] == "patch":
            image = image.crop(facts["box"])
        file = io.BytesIO()
        image.save(file, kind.upper())
        headers = {"Content-Type": f"image/{kind}"}
        if rest[0] == "file":
            headers["Content-Disposition"] = f'attachment; filename="result.{kind}"'
        if rest[0] == "patch":
            headers["Reknit-Box"] = ",".join(map(str, facts["box"]))
        self._answer(200, file.getvalue(), headers)

    def _events(self) -> None:
        mine: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.world.listeners.append(mine)
        for job in list(self.world.jobs.values()):
            mine.put(("job", job))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            self.wfile.write(b": hello\n\n")
            while True:
                kind, data = mine.get()
                if kind == "close":
                    break
                self.wfile.write(f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode())
                self.wfile.flush()
        except OSError:
            pass
        finally:
            self.world.listeners.remove(mine)
            self.close_connection = True

    def _file(self, name: str) -> None:
        path = WEB / name
        token = dict(parse_qsl(urlsplit(self.path).query)).get("token")
        if not path.is_file():
            self._answer(404, b"")
            return
        headers = {
            "Content-Type": KINDS[path.suffix],
            "Content-Security-Policy": POLICY,
            "Cache-Control": "no-cache",
        }
        if token:
            headers["Set-Cookie"] = f"reknit_token={token}; HttpOnly; SameSite=Strict"
        self._answer(200, path.read_bytes(), headers)

    def _json(self, status: int, data: Any) -> None:
        self._answer(status, json.dumps(data).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        try:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *args: Any) -> None:
        self.open: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Cut every connection, as the death of a server does."""
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """Stay silent about browsers that hang up."""


class FakeServer:
    """Serves a `World`; `stop` and `start` keep the port, as a restart does."""

    def __init__(self) -> None:
        self.world = World()
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    def start(self) -> None:
        handler = type("Bound", (Handler,), {"world": self.world})
        self._listener = _Listener(("127.0.0.1", self._port), handler)
        self._port = self._listener.server_address[1]
        threading.Thread(
            target=self._listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def stop(self) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        self._listener.hang_up()
        self.world.publish("close", None)
