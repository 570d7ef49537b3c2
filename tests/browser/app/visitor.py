"""Somebody who uses the page: presses, paints, downloads; and whatever goes wrong meanwhile is a fault.

Knows the page by its test ids and by what is seen; it looks into none of the page's objects.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.browser.app.photos import COLOURS, Point, read
from tests.patience import PATIENCE_S
from tests.server.live import Server

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Locator, Page, Response

LAPTOP = {"width": 1280, "height": 800}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}
DROP = """([base64, name, type]) => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type }));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    document.querySelector("[data-testid=drop], .stage").dispatchEvent(
      new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
  }
}"""


def patient(data: Path) -> dict[str, str]:
    """Return the environment of a server whose engine ``patient`` works until `Visitor.release`."""
    return {"PYTHONPATH": str(Path(__file__).parent / "plugins"), "PATIENT_UNTIL": str(data / "released")}


class Visitor:
    """A page of a running server.

    Attributes
    ----------
    faults : list of str
        Errors and warnings of the console, uncaught exceptions, failed requests and answers of 400 and more.
    """

    def __init__(self, page: Page, server: Server) -> None:
        self.page = page
        self.server = server
        self.faults: list[str] = []
        page.set_default_timeout(PATIENCE_S * 1000)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("response", self._answered)
        page.on("requestfailed", lambda request: self._failed(request.url, request.failure or ""))

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.faults.append(f"{message.text} {message.location['url']}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.faults.append(f"{response.status} {response.url}")

    def _failed(self, url: str, why: str) -> None:
        # Downloads, and requests that the page itself took back, end this way.
        if "ERR_ABORTED" not in why:
            self.faults.append(f"{why} {url}")

    @contextmanager
    def expecting(self, pattern: str) -> Iterator[None]:
        """Pardon faults that match ``pattern``."""
        before = len(self.faults)
        yield
        self.page.wait_for_timeout(50)
        self.faults[before:] = [fault for fault in self.faults[before:] if not re.search(pattern, fault)]

    # Pressing

    def get(self, testid: str) -> Locator:
        return self.page.get_by_test_id(testid)

    def click(self, *testids: str) -> None:
        for testid in testids:
            self.get(testid).click()

    def keys(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def gone(self, testid: str) -> None:
        self.get(testid).wait_for(state="hidden")

    def text(self, testid: str) -> str:
        return self.get(testid).text_content() or ""

    def load(self, path: str = "") -> None:
        self.page.goto(self.server.address + path)
        self.ready()

    def ready(self) -> None:
        self.page.locator("body[data-ready]").wait_for()

    def open(self, data: bytes, name: str = "garden.png") -> None:
        self.get("file-input").set_input_files(
            {"name": name, "mimeType": "application/octet-stream", "buffer": data}
        )
        self.opened(name)

    def drop(self, data: bytes, name: str, kind: str) -> None:
        import base64

        self.page.evaluate(DROP, [base64.b64encode(data).decode(), name, kind])
        self.opened(name)

    def opened(self, name: str) -> None:
        self.get("document-name").get_by_text(name, exact=True).wait_for()
        self.still()

    def still(self, count: int = 3) -> None:
        """Let a few frames pass."""
        self.page.evaluate(
            "async (n) => { while (n--) await new Promise((done) => requestAnimationFrame(done)); }", count
        )

    # Painting

    @property
    def size(self) -> tuple[int, int]:
        width, height = self.text("document-facts").split(" · ")[0].split(" × ")
        return int(width), int(height)

    def at(self, x: float, y: float, margin: float = 24) -> Point:
        """Return where an image point of the fitted picture is on the screen."""
        box = self.get("canvas").bounding_box()
        assert box
        width, height = self.size
        scale = min((box["width"] - 2 * margin) / width, (box["height"] - 2 * margin) / height, 2)
        left = box["x"] + (box["width"] - width * scale) / 2
        top = box["y"] + (box["height"] - height * scale) / 2
        return left + x * scale, top + y * scale

    def drag(self, *points: Point, steps: int = 6) -> None:
        """Drag through points of the screen."""
        mouse = self.page.mouse
        mouse.move(*points[0])
        mouse.down()
        for point in points[1:]:
            mouse.move(*point, steps=steps)
        mouse.up()

    def paint(self, *points: Point) -> None:
        """Drag through image points of the fitted picture."""
        self.drag(*(self.at(*point) for point in points))

    def brush(self, size: int) -> int:
        """Set the brush's size as nearly as its slider can, and return what it says."""
        self.get("option-size").fill(str(round(200 * np.log(size) / np.log(1000)) / 2))
        return int(self.page.locator("output[data-of=size]").text_content() or "")

    def marks(self) -> tuple[Point, Point]:
        """Return where the two coloured discs of `photos.marked` are seen, once the picture stands still."""
        before: list[Point] = []
        for _ in range(100):
            shot = np.asarray(Image.open(BytesIO(self.page.screenshot())).convert("RGB")).astype(np.int16)
            now = [found for colour in COLOURS if (found := self._seen(shot, colour)) is not None]
            if len(now) == 2 and now == before:
                return now[0], now[1]
            before = now
            self.still()
        raise AssertionError(f"the marks are not seen: {before}")

    def seen(self, point: Point) -> tuple[int, int, int]:
        """Return the colour at a point of the screen."""
        clip = {"x": int(point[0]), "y": int(point[1]), "width": 1, "height": 1}
        shot = Image.open(BytesIO(self.page.screenshot(clip=clip))).convert("RGB")  # pyright: ignore[reportArgumentType]
        return shot.getpixel((0, 0))  # pyright: ignore[reportReturnType]

    def _seen(self, shot: NDArray[np.int16], colour: tuple[int, int, int]) -> Point | None:
        ys, xs = np.nonzero(np.abs(shot - colour).max(axis=2) < 50)
        if len(xs) < 12:
            return None
        ratio = self.page.evaluate("devicePixelRatio")
        return (xs.mean() + 0.5) / ratio, (ys.mean() + 0.5) / ratio

    def mask(self) -> NDArray[np.uint8]:
        """Return the mask, as the page saves it."""
        self.click("mask-menu")
        with self.page.expect_download() as download:
            self.click("mask-export")
        self.keys("Escape")
        self.gone("mask-panel")
        self.get("canvas").focus()
        picture = Image.open(BytesIO(Path(download.value.path()).read_bytes()))
        assert (picture.format, picture.mode) == ("PNG", "L")
        return np.asarray(picture)

    # Working

    def fill(self) -> dict[str, Any]:
        """Press Enter, wait for the result, and return the finished job."""
        self.keys("Enter")
        return self.result()

    def begin(self) -> dict[str, Any]:
        """Begin a fill that goes on until `release`, and return its job once it is at work."""
        (self.server.data / "released").unlink(missing_ok=True)
        self.get("engine").locator("summary").click()
        self.click("engine-patient")
        self.get("canvas").focus()
        self.keys("Enter")
        self.get("progress").get_by_text("%").wait_for()
        job = self.job()
        assert (job["state"], job["payload"]["engine"]) == ("running", "patient")
        return job

    def release(self) -> None:
        """Let the engine that takes its time come to an end."""
        (self.server.data / "released").touch()

    def result(self) -> dict[str, Any]:
        self.get("variations").wait_for()
        return self.job()

    def job(self) -> dict[str, Any]:
        """Return the newest job."""
        return self.server.client.get("/api/v1/jobs", params={"limit": 1}).json()["jobs"][0]

    def file(self, picture: str) -> bytes:
        return self.server.client.get(f"/api/v1/images/{picture}/file").content

    def filled(self, job: dict[str, Any]) -> NDArray[np.bool_]:
        """Return the mask that a job was given."""
        return read(self.file(job["payload"]["mask"]))[..., 0] > 127

    def download(self, *testids: str) -> tuple[bytes, str]:
        """Return the downloaded file and its name."""
        with self.page.expect_download() as download:
            self.click(*(testids or ("download",)))
        return Path(download.value.path()).read_bytes(), download.value.suggested_filename


Visit = Callable[..., Visitor]
