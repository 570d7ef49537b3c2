"""The canvas in a real browser: strokes land where they should, and everything can be taken back.

Uses a page with an `Editor` and made-up pictures; no server is involved.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.browser.canvas import served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served() as url:
        yield url


class Canvas:
    """The page with what the tests say over and over."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        page.on("console", lambda m: self.faults.append(m.text) if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self.faults.append(str(error)))

    def js(self, code: str, argument: Any = None) -> Any:
        """Return what a JavaScript expression, of `it`, gives."""
        return self.page.evaluate(f"async (it) => ({code})", argument)

    def wait(self, condition: str) -> None:
        """Wait for a JavaScript condition; the page's policy forbids Playwright's own way, eval."""
        self.page.evaluate(
            "async () => { const end = performance.now() + 10000;"
            f"while (!({condition})) {{ if (performance.now() > end) throw new Error('waited in vain');"
            "await new Promise((done) => setTimeout(done, 5)); } }"
        )

    def frames(self, count: int = 2) -> None:
        self.page.evaluate(
            "async (n) => { while (n--) await new Promise((done) => requestAnimationFrame(done)); }", count
        )

    def open(self, width: int, height: int, name: str = "first") -> None:
        self.js("editor.open(api.make(...it))", [name, width, height])
        self.wait("editor.settled")

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point of the picture is in the window."""
        place = self.js("editor.imageToScreen(...it)", [x, y])
        return place["x"], place["y"]

    def drag(self, *points: tuple[float, float], steps: int = 4) -> None:
        """Drag through points of the picture."""
        mouse = self.page.mouse
        mouse.move(*self.at(*points[0]))
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.at(*point), steps=steps)
        mouse.up()

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.at(x, y))

    def mask(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return the exported mask."""
        data = self.page.evaluate(
            "async () => { const mask = await exported(); let text = '';"
            "for (let y = 0; y < mask.height; y++) for (let x = 0; x < mask.width; x++)"
            "text += String.fromCharCode(mask.at(x, y)); return [mask.width, mask.height, text]; }"
        )
        return np.frombuffer(data[2].encode("latin-1"), np.uint8).reshape(data[1], data[0])


@pytest.fixture
def canvas(chromium: Browser, address: str) -> Iterator[Canvas]:
    yield from _page(chromium, address)


def _page(chromium: Browser, address: str, **how: Any) -> Iterator[Canvas]:
    context = chromium.new_context(**{"viewport": {"width": 900, "height": 700}, **how})
    canvas = Canvas(context.new_page())
    canvas.page.goto(address)
    canvas.wait("window.editor")
    yield canvas
    context.close()
    assert canvas.faults == []


def strip(size: tuple[int, int], a: tuple[float, float], b: tuple[float, float], r: float) -> np.ndarray:
    """Return the distance of every pixel's centre to a segment, less the radius: negative inside."""
    y, x = np.mgrid[: size[1], : size[0]] + 0.5
    (ax, ay), (bx, by) = a, b
    along = max((bx - ax) ** 2 + (by - ay) ** 2, 1e-9)
    t = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / along, 0, 1)
    return np.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay)) - r


def test_a_stroke_lands_where_it_was_drawn(canvas: Canvas) -> None:
    canvas.open(300, 200)
    canvas.js("editor.set('size', 20)")
    canvas.drag((60, 50), (200, 120))
    mask = canvas.mask()
    off = strip((300, 200), (60, 50), (200, 120), 10)
    assert (mask[off < -0.6] == 255).all()
    assert (mask[off > 0.6] == 0).all()


def test_undo_and_redo_bring_every_pixel_back(canvas: Canvas) -> None:
    canvas.open(600, 400)
    canvas.js("editor.set('size', 40)")
    canvas.drag((100, 100), (300, 200))
    first = canvas.mask()
    canvas.js("editor.setTool('eraser')")
    canvas.drag((200, 50), (200, 250))
    second = canvas.mask()
    assert first.sum() > second.sum() > 0
    assert canvas.js("[editor.canUndo, editor.canRedo]") == [True, False]
    canvas.js("editor.undo()")
    assert (canvas.mask() == first).all()
    canvas.js("editor.undo()")
    assert not canvas.mask().any()
    assert canvas.js("[editor.canUndo, editor.canRedo, editor.mask.empty]") == [False, True, True]
    canvas.js("editor.goTo(2)")
    assert (canvas.mask() == second).all()
    assert [step["label"] for step in canvas.js("editor.history()")] == ["open", "brush", "eraser"]
