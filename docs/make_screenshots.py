"""Take the pictures of docs/app.md: the real page, the real server, photos of scikit-image.

Run ``python -m docs.make_screenshots [NAME …]`` in the repository, with ``reknit[test]`` and a Chromium installed.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from examples.damage import damage
from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from skimage import data
from tests.browser.app.photos import Point, jpeg
from tests.browser.app.visitor import PHONE, Visitor, patient
from tests.server.live import Server

IMAGES = Path(__file__).parent / "images"
MOST_BYTES = 150_000
WIDE = {"viewport": {"width": 1280, "height": 800}}
MASTS: list[list[Point]] = [[(197, 125), (186, 395)], [(446, 125), (456, 395)]]
ROCKET: list[list[Point]] = [[(318, 140), (316, 390)]]


class Studio:
    """A server, a browser, and what the pictures have in common."""

    def __init__(self, server: Server, browser: Browser) -> None:
        self.server = server
        self.browser = browser

    def visit(self, photo: Any, name: str, *, scheme: str = "light", **how: Any) -> Visitor:
        """Open a photo in a fresh page."""
        context = self.browser.new_context(**(how or WIDE), color_scheme=scheme, reduced_motion="reduce")
        visitor = Visitor(context.new_page(), self.server)
        visitor.load()
        visitor.open(jpeg(photo), name)
        return visitor

    def paint(self, visitor: Visitor, strokes: list[list[Point]], size: int) -> None:
        """Paint a mask and put the pointer away."""
        if visitor.get("seed").is_visible():
            visitor.get("seed").fill("0")
        visitor.brush(size)
        for stroke in strokes:
            visitor.paint(*stroke)
        visitor.page.mouse.move(0, 0)

    def take(self, visitor: Visitor) -> Image.Image:
        """Return what is seen, and close the page."""
        visitor.page.wait_for_timeout(700)
        shot = Image.open(io.BytesIO(visitor.page.screenshot())).convert("RGB")
        visitor.page.context.close()
        assert visitor.faults == [], visitor.faults
        return shot


def painted(studio: Studio) -> Image.Image:
    """A mask over two masts."""
    visitor = studio.visit(data.rocket(), "launch.jpg")
    studio.paint(visitor, MASTS, 44)
    visitor.page.mouse.move(*visitor.at(462, 330))
    return studio.take(visitor)


def result(studio: Studio) -> Image.Image:
    """The result, half of it covered by the original."""
    visitor = studio.visit(data.rocket(), "launch.jpg", scheme="dark")
    studio.paint(visitor, MASTS, 44)
    visitor.fill()
    visitor.keys("c")
    return studio.take(visitor)


def variations(studio: Studio) -> Image.Image:
    """Four ways to do without a rocket."""
    visitor = studio.visit(data.rocket(), "launch.jpg")
    studio.paint(visitor, ROCKET, 64)
    visitor.get("count").get_by_text("4", exact=True).click()
    visitor.get("canvas").focus()
    visitor.fill()
    visitor.click("side-by-side")
    return studio.take(visitor)


def repair(studio: Studio) -> Image.Image:
    """What was found on a damaged print."""
    hurt = damage(data.chelsea(), seed=6, kinds=("dust", "scratch"))
    visitor = studio.visit(hurt.pixels, "old print.jpg")
    visitor.click("action-repair")
    visitor.keys("Enter")
    visitor.get("found").get_by_text("%").wait_for()
    visitor.get("sensitivity").fill("0.8")
    visitor.page.wait_for_timeout(700)
    visitor.gone("progress")
    return studio.take(visitor)


def extend(studio: Studio) -> Image.Image:
    """A picture that is to become wider."""
    visitor = studio.visit(data.chelsea(), "chelsea.jpg", scheme="dark")
    visitor.click("action-extend")
    visitor.get("aspect").get_by_text("16:9").click()
    visitor.page.mouse.move(0, 0)
    return studio.take(visitor)


def gallery(studio: Studio) -> Image.Image:
    """Past results."""
    for photo, kind, how in (
        (data.coffee(), "extend", {"top": "20%"}),
        (damage(data.chelsea(), seed=6, kinds=("dust", "scratch")).pixels, "repair", {"sensitivity": 0.8}),
        (data.chelsea(), "extend", {"aspect": "16:9"}),
    ):
        image = studio.server.upload(jpeg(photo), name="photo.jpg")["id"]
        studio.server.ask(kind, image=image, **how)
    visitor = studio.visit(data.rocket(), "launch.jpg", scheme="dark")
    visitor.keys("a")
    visitor.get("gallery-item").first.wait_for()
    return studio.take(visitor)


def queue(studio: Studio) -> Image.Image:
    """A job at work, and what was done before."""
    visitor = studio.visit(data.chelsea(), "chelsea.jpg")
    studio.paint(visitor, [[(200, 60), (260, 60)]], 30)
    visitor.begin()
    visitor.keys("q")
    shot = studio.take(visitor)
    visitor.release()
    return shot


def phone(studio: Studio) -> Image.Image:
    """Two phones: painting, and the result."""
    shots: list[Image.Image] = []
    for scheme in ("light", "dark"):
        visitor = studio.visit(data.rocket(), "launch.jpg", scheme=scheme, **PHONE)
        studio.paint(visitor, MASTS, 44)
        if scheme == "dark":
            visitor.get("run").tap()
            visitor.result()
        shots.append(studio.take(visitor))
    both = Image.new("RGB", (2 * shots[0].width + 60, shots[0].height), "white")
    for i, shot in enumerate(shots):
        both.paste(shot, (i * (shot.width + 60), 0))
    return both.resize((both.width * 3 // 5, both.height * 3 // 5), Image.Resampling.LANCZOS)


SHOTS: dict[str, Callable[[Studio], Image.Image]] = {
    "painted": painted, "result": result, "variations": variations, "repair": repair, "extend": extend,
    "gallery": gallery, "queue": queue, "phone": phone,
}  # fmt: skip


def main(names: list[str]) -> None:
    """Take the pictures with these names, or all."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    with (
        tempfile.TemporaryDirectory() as folder,
        Server.started(Path(folder), **patient(Path(folder))) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name in names or SHOTS:
            shot = SHOTS[name](Studio(server, browser))
            for quality in (90, 84, 78, 70):
                shot.save(IMAGES / f"app-{name}.jpg", quality=quality, optimize=True, progressive=True)
                if (IMAGES / f"app-{name}.jpg").stat().st_size < MOST_BYTES:
                    break
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
