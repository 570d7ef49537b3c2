"""A tab with the canvas page in it, and what is expected of a stroke."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SIZE = {"width": 900, "height": 700}


class Canvas:
    """The page with what the tests say over and over."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        page.set_default_timeout(PATIENCE_S * 1000)
        page.on("console", lambda m: self.faults.append(m.text) if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self.faults.append(str(error)))

    def js(self, code: str, argument: Any = None) -> Any:
        """Return what a JavaScript expression, of `it`, gives."""
        return self.page.evaluate(f"async (it) => ({code})", argument)

    def wait(self, condition: str) -> None:
        """Wait for a JavaScript condition; the page's policy forbids Playwright's own way, eval."""
        self.page.evaluate(
            f"async () => {{ const end = performance.now() + {PATIENCE_S * 1000};"
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
        """Return the exported mask, decoded by another library."""
        picture = Image.open(BytesIO(base64.b64decode(self.js("base64(await editor.exportMask())"))))
        assert (picture.format, picture.mode) == ("PNG", "L")
        return np.asarray(picture)

    def colour(self, x: float, y: float) -> tuple[int, int, int]:
        """Return what is seen at a point of the picture."""
        left, top = self.at(x, y)
        clip = {"x": int(left), "y": int(top), "width": 1, "height": 1}
        shot = Image.open(BytesIO(self.page.screenshot(clip=clip))).convert("RGB")
        return shot.resize((1, 1)).getpixel((0, 0))  # pyright: ignore[reportReturnType]


def page_of(chromium: Browser, address: str, **how: Any) -> Iterator[Canvas]:
    """Yield the page in a context of its own."""
    context = chromium.new_context(**{"viewport": SIZE, **how})
    yield from fresh(Canvas(context.new_page()), address)
    context.close()


def fresh(canvas: Canvas, address: str) -> Iterator[Canvas]:
    canvas.page.goto(address)
    canvas.wait("window.editor")
    yield canvas
    faults, canvas.faults[:] = list(canvas.faults), []
    assert faults == []


def strip(size: tuple[int, int], a: tuple[float, float], b: tuple[float, float], r: float) -> np.ndarray:
    """Return the distance of every pixel's centre to a segment, less the radius: negative inside."""
    y, x = np.mgrid[: size[1], : size[0]] + 0.5
    (ax, ay), (bx, by) = a, b
    along = max((bx - ax) ** 2 + (by - ay) ** 2, 1e-9)
    t = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / along, 0, 1)
    return np.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay)) - r


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask.max(axis=1))[0], np.nonzero(mask.max(axis=0))[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def draw_something(canvas: Canvas) -> np.ndarray:
    """Put a blob that crosses tiles and a speck into a picture of 700 × 600; return what is filled."""
    canvas.open(700, 600)
    canvas.js("editor.set('size', 61)")
    canvas.drag((200, 230), (330, 300), (300, 420))
    canvas.js("editor.setMask([600, 50, 601, 51], new Uint8Array([255]))")
    return canvas.mask() >= 128
