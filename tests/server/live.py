"""A real server: the command in a process of its own, and a client that speaks to it."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from tests.patience import PATIENCE_S

FINAL = ("done", "failed", "cancelled")
COMMAND = [sys.executable, "-c", "from reknit.cli.main import main; main()", "serve", "--port", "0"]


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def photo(seed: int = 1, side: int = 128) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.kron(
        rng.integers(0, 255, (8, 8, 3), dtype=np.uint8), np.ones((side // 8, side // 8, 1), np.uint8)
    )


def hole(side: int = 128) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    mask[side // 3 : side // 2, side // 3 : side // 2] = 255
    return mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    address: str
    data: Path
    client: httpx.Client

    @staticmethod
    @contextmanager
    def started(data: Path, *flags: str, **environment: str) -> Iterator[Server]:
        """Start a server, wait until it answers, and stop it at the end."""
        home = {"XDG_CONFIG_HOME": str(data / "settings"), "NO_PROXY": "*"}
        with (data / "log").open("w") as log:
            process = subprocess.Popen(
                [*COMMAND, "--data-dir", str(data / "data"), *flags],
                stdout=subprocess.PIPE, stderr=log, text=True,
                env={**os.environ, **home, **environment}, cwd=data,
            )  # fmt: skip
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            found = re.match(r"Reknit is at (http://\S+)", line)
            assert found, (line, (data / "log").read_text())
            with httpx.Client(base_url=found[1].partition("?")[0], timeout=2 * PATIENCE_S) as client:
                yield Server(process=process, address=found[1], data=data, client=client)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()

    def url(self, path: str) -> str:
        return f"/api/v1/{path}"

    def upload(self, data: bytes, **query: str) -> Any:
        response = self.client.post(self.url("images"), content=data, params=query)
        assert response.status_code in (200, 201), response.text
        return response.json()

    def pictures(self, seed: int = 1, side: int = 128) -> tuple[str, str]:
        """Upload a photo and a mask, and return their ids."""
        return self.upload(png(photo(seed, side)), name="photo.png")["id"], self.upload(png(hole(side)))["id"]

    def ask(self, kind: str, wait: int = 60, **body: Any) -> httpx.Response:
        headers = {"Prefer": f"wait={wait}"} if wait else {}
        return self.client.post(self.url(kind), json=body, headers=headers)

    def log(self) -> str:
        return (self.data / "log").read_text()


def wait_for(
    server: Server,
    job: str,
    states: tuple[str, ...] = FINAL,
    *,
    seconds: float = PATIENCE_S,
    attempts: int = 0,
) -> Any:
    """Return a job once it is in one of ``states`` and was begun so often."""
    end = time.monotonic() + seconds
    while True:
        found = server.client.get(server.url(f"jobs/{job}")).json()
        if found["state"] in states and found["attempts"] >= attempts:
            return found
        assert time.monotonic() < end, found
        time.sleep(0.02)
