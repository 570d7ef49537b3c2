"""A page with a stand-in for the server, and what the tests of it say over and over.

The server is a stand-in (`fake.py`) that is slow, failing or away when a test wants it; the canvas is real.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from tests.browser.fake import FakeServer
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

LAPTOP = {"width": 1280, "height": 800}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}
SIZE = (640, 480)
BUDGET_BYTES = 90_000
PROMPT = {"name": "prompt", "type": "string", "default": "", "description": "what to draw", "important": True}
TEXT_ENGINE: dict[str, Any] = {
    "name": "painter",
    "title": "Paints from words",
    "seeded": True,
    "needs_model": False,
    "options": [PROMPT],
}
AWAY = re.compile(
    "ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_SOCKET_NOT_CONN|ERR_EMPTY_RESPONSE|"
    "ERR_INCOMPLETE_CHUNKED|ERR_CONTENT_LENGTH_MISMATCH"
)
"""What a browser says of requests to a server that went away, also in the middle of an answer."""


def photo_file(size: tuple[int, int] = SIZE) -> bytes:
    rng = np.random.default_rng(3)
    small = Image.fromarray(rng.integers(40, 220, (12, 16, 3), dtype=np.uint8))
    file = io.BytesIO()
    small.resize(size, Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


class Shell:
    """A page with what the tests say over and over."""

    def __init__(self, page: Page, server: FakeServer) -> None:
        self.page = page
        self.server = server
        self.faults: list[str] = []
        page.set_default_timeout(PATIENCE_S * 1000)
        page.on("console", lambda m: self.faults.append(m.text) if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self.faults.append(str(error)))

    def get(self, testid: str) -> Locator:
        return self.page.get_by_test_id(testid)

    def click(self, *testids: str) -> None:
        for testid in testids:
            self.get(testid).click()

    def keys(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def load(self) -> None:
        self.page.goto(self.server.url)
        self.page.locator("body[data-ready]").wait_for()

    def open(self, size: tuple[int, int] = SIZE, name: str = "garden.png") -> None:
        self.get("file-input").set_input_files(
            {"name": name, "mimeType": "image/png", "buffer": photo_file(size)}
        )
        self.get("document-name").get_by_text(name, exact=True).wait_for()
        self.still()

    def still(self, count: int = 3) -> None:
        """Let a few frames pass."""
        self.page.evaluate(
            "async (n) => { while (n--) await new Promise((done) => requestAnimationFrame(done)); }", count
        )

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a place of the fitted picture, in shares of its sides, is on the screen."""
        box = self.get("canvas").bounding_box()
        assert box
        facts = self.get("document-facts").text_content() or ""
        width, height = map(int, facts.split(" · ")[0].split(" × "))
        scale = min((box["width"] - 48) / width, (box["height"] - 48) / height, 2)
        middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        return middle[0] + (x - 0.5) * width * scale, middle[1] + (y - 0.5) * height * scale

    def paint(self, x0: float = 0.4, y0: float = 0.5, x1: float = 0.6, y1: float = 0.5) -> None:
        mouse = self.page.mouse
        mouse.move(*self.at(x0, y0))
        mouse.down()
        mouse.move(*self.at(x1, y1), steps=4)
        mouse.up()

    def shot(self) -> bytes:
        """Return what is seen of the picture."""
        return self.get("canvas").screenshot()

    def fill(self) -> None:
        self.keys("Enter")
        self.get("variations").wait_for()

    @property
    def sent(self) -> list[dict[str, Any]]:
        return self.server.world.submitted

    def gone(self, testid: str) -> None:
        self.get(testid).wait_for(state="hidden")
