"""The canvas in a real browser: strokes land where they should, and everything can be taken back.

Uses a page with an `Editor` and made-up pictures; no server is involved.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import Image

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


SIZE = {"width": 900, "height": 700}


@pytest.fixture(scope="module")
def tab(chromium: Browser) -> Iterator[Canvas]:
    context = chromium.new_context(viewport=SIZE)
    yield Canvas(context.new_page())
    context.close()


@pytest.fixture
def canvas(tab: Canvas, address: str) -> Iterator[Canvas]:
    tab.page.set_viewport_size(SIZE)
    yield from _fresh(tab, address)


def _page(chromium: Browser, address: str, **how: Any) -> Iterator[Canvas]:
    """Yield the page in a context of its own."""
    context = chromium.new_context(**{"viewport": SIZE, **how})
    yield from _fresh(Canvas(context.new_page()), address)
    context.close()


def _fresh(canvas: Canvas, address: str) -> Iterator[Canvas]:
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


# Where strokes land, however the picture is looked at and whatever draws


def check_stroke(
    canvas: Canvas, size: tuple[int, int], a: tuple[float, float], b: tuple[float, float]
) -> None:
    canvas.js("editor.set('size', 20)")
    canvas.drag(a, b)
    off = strip(size, a, b, 10)
    mask = canvas.mask()
    assert (mask[off < -1] == 255).all()
    assert (mask[off > 1] == 0).all()


def test_a_stroke_lands_when_zoomed_in_and_panned(canvas: Canvas) -> None:
    canvas.open(600, 400)
    canvas.js("editor.zoomBy(5)")
    canvas.page.mouse.move(300, 300)
    canvas.page.mouse.down(button="middle")
    canvas.page.mouse.move(420, 250)
    canvas.page.mouse.up(button="middle")
    assert canvas.at(300, 200) == pytest.approx((465 + 120, 340 - 50), abs=3)
    check_stroke(canvas, (600, 400), (250, 180), (310, 230))


def test_a_stroke_lands_when_zoomed_out(canvas: Canvas) -> None:
    canvas.open(2400, 1600)
    canvas.js("editor.set('size', 200)")
    canvas.drag((600, 600), (1500, 900))
    off = strip((2400, 1600), (600, 600), (1500, 900), 100)
    mask = canvas.mask()
    assert (mask[off < -4] == 255).all()
    assert (mask[off > 4] == 0).all()


def test_a_stroke_lands_on_a_dense_screen(chromium: Browser, address: str) -> None:
    for canvas in _page(chromium, address, device_scale_factor=2):
        canvas.open(300, 200)
        assert canvas.js("[...document.querySelectorAll('canvas')].map((c) => c.width)") == [1700] * 3
        check_stroke(canvas, (300, 200), (60, 50), (200, 120))


def test_a_stroke_lands_after_the_page_was_laid_out_anew(canvas: Canvas) -> None:
    canvas.open(300, 200)
    canvas.page.set_viewport_size({"width": 700, "height": 800})
    canvas.frames(4)
    assert canvas.at(150, 100) == pytest.approx((40 + 325, 20 + 370), abs=1)
    check_stroke(canvas, (300, 200), (60, 50), (200, 120))


class Fingers:
    """Touches, several at once, through the DevTools protocol."""

    def __init__(self, page: Page) -> None:
        self.session = page.context.new_cdp_session(page)

    def send(self, kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})


@pytest.fixture
def phone(chromium: Browser, address: str) -> Iterator[Canvas]:
    yield from _page(
        chromium,
        address,
        viewport={"width": 390, "height": 700},
        device_scale_factor=3,
        has_touch=True,
        is_mobile=True,
    )


def test_one_finger_paints(phone: Canvas) -> None:
    phone.open(300, 200)
    phone.js("editor.set('size', 20)")
    fingers = Fingers(phone.page)
    fingers.send("touchStart", phone.at(100, 60))
    for step in range(1, 6):
        fingers.send("touchMove", phone.at(100 + step * 20, 60 + step * 10))
    fingers.send("touchEnd")
    mask = phone.mask()
    off = strip((300, 200), (100, 60), (200, 110), 10)
    assert (mask[off < -1] == 255).all()
    assert (mask[off > 1] == 0).all()


def test_a_second_finger_takes_the_stroke_back_and_zooms(phone: Canvas) -> None:
    phone.open(300, 200)
    fit = phone.at(300, 0)[0] - phone.at(0, 0)[0]
    fingers = Fingers(phone.page)
    fingers.send("touchStart", (180, 340))
    fingers.send("touchMove", (190, 340))
    fingers.send("touchStart", (190, 340), (230, 340))
    before = phone.js("editor.screenToImage(210, 340)")
    fingers.send("touchMove", (170, 360), (250, 360))
    fingers.send("touchMove", (170, 360), (250, 360))
    phone.frames()
    after = phone.js("editor.screenToImage(210, 360)")
    assert (after["x"], after["y"]) == pytest.approx((before["x"], before["y"]), abs=1)
    width = phone.at(300, 0)[0] - phone.at(0, 0)[0]
    assert width == pytest.approx(2 * fit, rel=0.01)
    fingers.send("touchEnd", (170, 360))
    fingers.send("touchMove", (200, 300))
    fingers.send("touchEnd")
    assert phone.js("[editor.mask.empty, editor.canUndo]") == [True, False]


def test_a_pen_draws_by_pressure(canvas: Canvas) -> None:
    canvas.open(300, 200)
    canvas.js("editor.set('size', 40)")
    session = canvas.page.context.new_cdp_session(canvas.page)

    def pen(kind: str, x: float, force: float) -> None:
        place = canvas.at(x, 100)
        session.send(
            "Input.dispatchMouseEvent",
            {"type": kind, "x": place[0], "y": place[1], "button": "left", "buttons": 1, "clickCount": 1,
             "force": force, "pointerType": "pen"},
        )  # fmt: skip

    pen("mousePressed", 50, 0.1)
    for step in range(1, 21):
        pen("mouseMoved", 50 + step * 10, 0.1 + 0.9 * step / 20)
    pen("mouseReleased", 250, 0)
    widths = (canvas.mask() >= 128).sum(axis=0)
    assert widths[60] < 16
    assert widths[240] > 36
    assert (np.diff(widths[60:240].astype(int)) >= -1).all()


# Tools


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask.max(axis=1))[0], np.nonzero(mask.max(axis=0))[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def test_hardness_softens_the_edge_only(canvas: Canvas) -> None:
    canvas.open(300, 200)
    canvas.js("[editor.set('size', 100), editor.set('hardness', 0.2)]")
    canvas.click(150, 100)
    row = canvas.mask()[100].astype(int)
    assert row[150] == 255
    assert ((row > 0) & (row < 255)).sum() > 60
    assert (np.diff(row[80:150]) >= 0).all()
    filled = np.nonzero(row >= 128)[0]
    assert filled[-1] - filled[0] == pytest.approx(60, abs=2)


def test_the_eraser_and_alt_take_away(canvas: Canvas) -> None:
    canvas.open(300, 200)
    canvas.js("editor.setTool('rectangle')")
    canvas.drag((50, 50), (250, 150))
    full = int((canvas.mask() >= 128).sum())
    assert full == 200 * 100
    canvas.page.keyboard.down("Alt")
    canvas.drag((100, 70), (200, 130))
    canvas.page.keyboard.up("Alt")
    assert canvas.js("editor.mask.area()") == full - 100 * 60
    canvas.js("[editor.setTool('eraser'), editor.set('size', 10)]")
    canvas.drag((60, 20), (60, 180))
    assert canvas.js("editor.mask.area()") == pytest.approx(full - 100 * 60 - 10 * 100, abs=120)


def test_shift_joins_strokes_by_a_line(canvas: Canvas) -> None:
    canvas.open(300, 200)
    canvas.js("editor.set('size', 10)")
    canvas.click(50, 50)
    canvas.page.keyboard.down("Shift")
    canvas.click(250, 150)
    canvas.page.keyboard.up("Shift")
    off = strip((300, 200), (50, 50), (250, 150), 5)
    mask = canvas.mask()
    assert (mask[off < -1] == 255).all()
    assert (mask[off > 1] == 0).all()


def test_the_line_tool_with_shift_keeps_level(canvas: Canvas) -> None:
    canvas.open(300, 200)
    canvas.js("[editor.setTool('line'), editor.set('size', 10)]")
    canvas.page.keyboard.down("Shift")
    canvas.drag((50, 100), (250, 112))
    canvas.page.keyboard.up("Shift")
    assert box_of(canvas.mask() >= 128) == pytest.approx((45, 95, 255, 105), abs=2)


def test_a_rectangle_is_of_whole_pixels(canvas: Canvas) -> None:
    canvas.open(300, 200)
    canvas.js("editor.setTool('rectangle')")
    canvas.drag((20.3, 30.2), (99.8, 80.4))
    mask = canvas.mask()
    assert set(np.unique(mask)) == {0, 255}
    assert box_of(mask) == (20, 30, 100, 80)
    assert canvas.js("[editor.mask.bounds(), editor.mask.area()]") == [[20, 30, 100, 80], 80 * 50]


def test_a_lasso_fills_what_it_goes_around(canvas: Canvas) -> None:
    canvas.open(300, 200)
    canvas.js("editor.setTool('lasso')")
    ring = [(150 + 60 * np.cos(t), 100 + 60 * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 60)]
    canvas.drag(*ring, steps=1)
    off = strip((300, 200), (150, 100), (150, 100), 60)
    mask = canvas.mask()
    assert (mask[off < -1.5] == 255).all()
    assert (mask[off > 1.5] == 0).all()


@pytest.mark.parametrize("close", ["Enter", "double", "first"])
def test_a_polygon_closes(canvas: Canvas, close: str) -> None:
    canvas.open(300, 200)
    canvas.js("editor.setTool('polygon')")
    for corner in [(50, 40), (250, 40), (250, 160)]:
        canvas.click(*corner)
    if close == "double":
        canvas.page.mouse.dblclick(*canvas.at(50, 160))
    else:
        canvas.click(50, 160)
        if close == "first":
            canvas.click(51, 41)
        else:
            canvas.page.keyboard.press(close)
    assert canvas.js("editor.mask.area()") == pytest.approx(200 * 120, rel=0.01)
    assert [step["label"] for step in canvas.js("editor.history()")] == ["open", "polygon"]


def test_escape_leaves_a_polygon_and_takes_a_stroke_back(canvas: Canvas) -> None:
    canvas.open(300, 200)
    canvas.js("editor.setTool('polygon')")
    for corner in [(50, 40), (250, 40), (250, 160)]:
        canvas.click(*corner)
    canvas.page.keyboard.press("Escape")
    canvas.page.keyboard.press("Enter")
    canvas.js("editor.setTool('brush')")
    canvas.page.mouse.move(*canvas.at(100, 100))
    canvas.page.mouse.down()
    canvas.page.mouse.move(*canvas.at(200, 100), steps=3)
    canvas.page.keyboard.press("Escape")
    canvas.page.mouse.move(*canvas.at(200, 150), steps=3)
    canvas.page.mouse.up()
    assert canvas.js("[editor.mask.empty, editor.canUndo]") == [True, False]
    assert not canvas.mask().any()


def test_the_wand_asks_the_server_and_takes_its_answer(canvas: Canvas) -> None:
    canvas.open(300, 200)
    canvas.js("[editor.setTool('wand'), editor.set('tolerance', 40), editor.set('contiguous', false)]")
    canvas.js("api.answer = () => ({ box: [40, 30, 90, 70], fill: (x, y) => x < 60 })")
    canvas.click(70.5, 50.5)
    canvas.wait("!editor.mask.empty")
    asked = {"image": "first", "method": "wand", "point": [70, 50], "tolerance": 40, "contiguous": False}
    assert canvas.js("api.asked") == [asked]
    assert canvas.js("editor.mask.bounds()") == [40, 30, 60, 70]
    canvas.js("api.answer = () => ({ box: [40, 30, 90, 50], fill: () => true })")
    canvas.page.keyboard.down("Alt")
    canvas.click(70.5, 50.5)
    canvas.page.keyboard.up("Alt")
    canvas.wait("editor.history().length === 3")
    assert canvas.js("editor.mask.bounds()") == [40, 50, 60, 70]


def test_smart_select_by_box_point_and_scribble(canvas: Canvas) -> None:
    canvas.open(300, 200)
    canvas.js("editor.setTool('smart')")
    canvas.js(
        "api.answer = ({ method }) => ({ box: [40, 30, 90, 70], fill: (x, y) => method !== 'scribble' || x < 60 })"
    )
    canvas.drag((30, 20), (100, 80))
    canvas.wait("api.asked.length === 1 && !editor.mask.empty")
    canvas.js("editor.undo()")
    canvas.click(60.5, 50.5)
    canvas.wait("api.asked.length === 2 && !editor.mask.empty")
    canvas.js("editor.undo()")
    canvas.js("editor.set('smart', 'scribble')")
    canvas.drag((50, 40), (80, 60))
    canvas.wait("api.asked.length === 3 && !editor.mask.empty")
    box, point, scribble = canvas.js("api.asked")
    assert (box["method"], box["box"]) == ("box", [30, 20, 100, 80])
    assert (point["method"], point["point"]) == ("point", [60, 50])
    assert scribble["method"] == "scribble"
    assert scribble["foreground"][0] == [50, 40]
    assert canvas.js("editor.mask.bounds()") == [40, 30, 60, 70]
    # What is not meant: the selection is made anew, in place of the last.
    canvas.page.keyboard.down("Alt")
    canvas.drag((85, 65), (89, 55))
    canvas.page.keyboard.up("Alt")
    canvas.wait("api.asked.length === 4 && editor.history().length === 2")
    again = canvas.js("api.asked[3]")
    assert again["foreground"] == scribble["foreground"]
    assert again["background"][0] == [85, 65]


def test_a_selection_that_fails_is_told_and_changes_nothing(canvas: Canvas) -> None:
    canvas.open(300, 200)
    canvas.js("[editor.setTool('wand'), (api.answer = () => { throw new Error('no such place'); })]")
    canvas.click(70, 50)
    canvas.wait("events.some((event) => event.name === 'error')")
    assert canvas.js("events.find((event) => event.name === 'error').detail.error.message") == "no such place"
    assert canvas.js("[editor.mask.empty, editor.canUndo]") == [True, False]


# The mask as a whole


def draw_something(canvas: Canvas) -> np.ndarray:
    """Put a blob that crosses tiles and a speck into a picture of 700 × 600; return what is filled."""
    canvas.open(700, 600)
    canvas.js("editor.set('size', 61)")
    canvas.drag((200, 230), (330, 300), (300, 420))
    canvas.js("editor.setMask([600, 50, 601, 51], new Uint8Array([255]))")
    return canvas.mask() >= 128


def test_growing_and_shrinking_are_exact(canvas: Canvas) -> None:
    filled = draw_something(canvas)
    canvas.js("editor.growMask(7.5)")
    away = cv2.distanceTransform((~filled).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert ((canvas.mask() >= 128) == (away <= 7.5)).all()
    canvas.js("[editor.undo(), await editor.growMask(-5)]")
    deep = cv2.distanceTransform(filled.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert ((canvas.mask() >= 128) == (deep > 5)).all()


def test_the_border_does_not_eat_a_shrinking_mask(canvas: Canvas) -> None:
    canvas.open(300, 200)
    canvas.js("[editor.invertMask(), await editor.growMask(-10)]")
    assert (canvas.mask() == 255).all()


def test_feathering_softens_and_keeps_the_middle_of_the_edge(canvas: Canvas) -> None:
    canvas.open(700, 600)
    canvas.js("editor.setMask([100, 100, 500, 500], new Uint8Array(400 * 400).fill(255))")
    canvas.js("editor.featherMask(20)")
    mask = canvas.mask().astype(int)
    row = mask[300]
    assert (np.diff(row[60:300]) >= 0).all()
    assert (row[60], row[140]) == (0, 255)
    assert abs(row[99] + row[100] - 255) < 8
    square = mask[:600, :600]
    assert np.abs(square - square.T).max() <= 2


def test_inverting_and_clearing_can_be_undone(canvas: Canvas) -> None:
    filled = draw_something(canvas)
    before = canvas.mask()
    canvas.js("editor.invertMask()")
    assert (canvas.mask() == 255 - before).all()
    assert canvas.js("editor.mask.area()") == 700 * 600 - filled.sum()
    canvas.js("editor.clearMask()")
    assert canvas.js("[editor.mask.empty, editor.mask.bounds(), editor.mask.area()]") == [True, None, 0]
    canvas.js("editor.goTo(2)")
    assert (canvas.mask() == before).all()


def test_bounds_and_area_count_what_is_filled(canvas: Canvas) -> None:
    filled = draw_something(canvas)
    assert canvas.js("editor.mask.area()") == filled.sum()
    assert tuple(canvas.js("editor.mask.bounds()")) == box_of(filled)


def test_a_mask_goes_out_and_comes_in_again_unchanged(canvas: Canvas) -> None:
    canvas.open(700, 600)
    canvas.js("[editor.set('hardness', 0), editor.set('size', 200)]")
    canvas.drag((300, 300), (400, 350))
    before = canvas.mask()
    canvas.js("(window.kept = await editor.exportMask(), editor.clearMask(), editor.importMask(kept))")
    assert (canvas.mask() == before).all()


def test_importing_scales_a_mask_of_the_same_shape_and_refuses_another(canvas: Canvas) -> None:
    canvas.open(300, 200)
    grey = "encodeGrey({w}, {h}, (y0, y1, into) => into.fill(0).fill(255, 0, {w} * 10))"
    canvas.js(f"editor.importMask(await {grey.format(w=150, h=100)})")
    assert canvas.js("editor.mask.bounds()") == [0, 0, 300, 20]
    code = canvas.js(f"editor.importMask(await {grey.format(w=100, h=100)}).catch((error) => error.code)")
    assert code == "mask.size"


@pytest.mark.parametrize(("mode", "left"), [("add", 20_000), ("subtract", 8_000), ("replace", 12_000)])
def test_pixels_are_added_taken_away_or_put_in_place(canvas: Canvas, mode: str, left: int) -> None:
    canvas.open(300, 200)
    canvas.js("editor.setMask([0, 0, 100, 140], new Uint8Array(100 * 140).fill(255))")
    canvas.js("editor.setMask([0, 80, 200, 140], new Uint8Array(200 * 60).fill(255), it)", mode)
    assert canvas.js("editor.mask.area()") == left


# Pictures


def test_an_edit_clears_the_mask_and_undo_brings_picture_and_mask_back(canvas: Canvas) -> None:
    canvas.open(1500, 1000)
    canvas.js("editor.set('size', 100)")
    canvas.drag((300, 300), (500, 300))
    before = canvas.mask()
    canvas.js(
        "editor.apply(api.derive('second', 'first', [250, 240, 560, 360], '#102030'), { label: 'remove', job: 'j1' })"
    )
    canvas.wait("editor.settled")
    assert canvas.js("[editor.picture.id, editor.original.id, editor.mask.empty]") == [
        "second",
        "first",
        True,
    ]
    assert canvas.colour(400, 300) == pytest.approx((16, 32, 48), abs=4)
    canvas.js("editor.undo()")
    canvas.wait("editor.settled")
    assert canvas.js("editor.picture.id") == "first"
    assert (canvas.mask() == before).all()
    canvas.js("editor.redo()")
    assert canvas.js("[editor.picture.id, editor.mask.empty]") == ["second", True]
    entry = canvas.js("editor.history()[2]")
    assert entry == {"index": 2, "label": "remove", "kind": "picture", "job": "j1", "current": True}


def test_an_edit_fetches_only_the_tiles_it_touched(canvas: Canvas) -> None:
    canvas.open(3000, 2000)
    canvas.js("editor.actualSize()")
    canvas.wait("editor.settled")
    canvas.js("api.drawn.length = 0")
    canvas.js(
        "editor.apply(api.derive('second', 'first', [1400, 900, 1500, 1000], '#102030'), { label: 'remove' })"
    )
    canvas.wait("editor.settled")
    drawn = canvas.js("api.drawn")
    assert {name.rsplit("/", 3)[0] for name in drawn} == {"second"}
    assert {tuple(map(int, name.split("/")[1:])) for name in drawn if name.split("/")[1] == "0"} == {
        (0, 2, 1)
    }


def test_the_old_picture_stays_until_the_new_one_has_come(canvas: Canvas) -> None:
    canvas.open(1500, 1000)
    before = canvas.colour(400, 300)
    canvas.js("api.delay = 400")
    canvas.js("editor.show(api.derive('second', 'first', [250, 240, 560, 360], '#102030'))")
    canvas.frames(3)
    assert canvas.colour(400, 300) == before
    canvas.wait("editor.settled")
    canvas.frames(2)
    assert canvas.colour(400, 300) == pytest.approx((16, 32, 48), abs=4)


def test_comparing_and_the_slider_show_the_original(canvas: Canvas) -> None:
    canvas.open(1500, 1000)
    old = canvas.colour(300, 300)
    canvas.js("editor.apply(api.derive('second', 'first', [0, 0, 1500, 1000], '#102030'), { label: 'x' })")
    canvas.wait("editor.settled")
    canvas.js("editor.compare(true)")
    canvas.frames()
    assert canvas.colour(300, 300) == old
    canvas.js("editor.compare(false)")
    canvas.js("editor.setSplit(0.5)")
    canvas.frames()
    assert canvas.colour(300, 300) == old
    assert canvas.colour(1200, 300) == pytest.approx((16, 32, 48), abs=4)
    canvas.drag((750, 500), (225, 500))
    canvas.frames()
    assert canvas.colour(300, 300) == pytest.approx((16, 32, 48), abs=4)
    assert canvas.js("events.filter((e) => e.name === 'split').at(-1).detail.fraction") == pytest.approx(
        0.15, abs=0.01
    )
    assert canvas.js("editor.mask.empty")


def test_a_preview_covers_its_box_until_it_is_taken_away(canvas: Canvas) -> None:
    canvas.open(1500, 1000)
    before = canvas.colour(400, 300)
    canvas.js("editor.setPreview(await plain(20, 20, '#ff0000'), [300, 200, 500, 400])")
    canvas.frames()
    assert canvas.colour(400, 300) == pytest.approx((255, 0, 0), abs=3)
    assert canvas.colour(520, 420) != pytest.approx((255, 0, 0), abs=3)
    canvas.js("editor.setPreview(null)")
    canvas.page.wait_for_timeout(300)
    assert canvas.colour(400, 300) == before


def test_a_session_goes_through_json_and_comes_back(canvas: Canvas) -> None:
    canvas.open(1500, 1000)
    canvas.js("[editor.set('size', 77), editor.set('hardness', 0.3)]")
    canvas.drag((300, 300), (500, 300))
    first = canvas.mask()
    canvas.js(
        "editor.apply(api.derive('second', 'first', [250, 240, 560, 360], '#102030'), { label: 'remove' })"
    )
    canvas.js("editor.setTool('lasso')")
    canvas.drag((700, 300), (900, 300), (800, 500))
    second = canvas.mask()
    kept = canvas.js("JSON.stringify(editor.serialize())")
    canvas.js("editor.open(api.make('other', 200, 200))")
    canvas.js("editor.restore(JSON.parse(it))", kept)
    canvas.wait("editor.settled")
    assert (canvas.mask() == second).all()
    assert canvas.js("[editor.picture.id, editor.original.id, editor.tool, editor.settings.size]") == [
        "second", "first", "lasso", 77,
    ]  # fmt: skip
    canvas.js("editor.goTo(1)")
    assert (canvas.mask() == first).all()
    assert canvas.js("editor.picture.id") == "first"
    canvas.js("editor.goTo(3)")
    assert (canvas.mask() == second).all()


def test_extending_by_handles(canvas: Canvas) -> None:
    canvas.open(600, 400)
    canvas.js("editor.setExtend({ left: 0, right: 0, top: 0, bottom: 0 })")
    canvas.page.keyboard.down("Shift")
    canvas.drag((600, 200), (657, 205))
    canvas.page.keyboard.up("Shift")
    assert canvas.js("events.filter((e) => e.name === 'extend').at(-1).detail") == {
        "left": 0, "right": 57, "top": 0, "bottom": 0, "final": True,
    }  # fmt: skip
    # Near 16:9 it stops there.
    canvas.drag((657, 200), (709, 200))
    right = canvas.js("events.filter((e) => e.name === 'extend').at(-1).detail.right")
    assert (600 + right) / 400 == pytest.approx(16 / 9, abs=0.002)
    canvas.js("editor.setExtend(null)")
    canvas.frames()
    assert canvas.js("editor.mask.empty")


def test_what_is_masked_stays_in_place_when_the_picture_grows(canvas: Canvas) -> None:
    canvas.open(600, 400)
    canvas.js("editor.set('size', 40)")
    canvas.drag((100, 100), (200, 100))
    before, place = canvas.mask(), canvas.at(100, 100)
    grown = "api.make('wide', 800, 500, { parent: 'first', box: [0, 0, 800, 500] })"
    canvas.js(f"editor.apply({grown}, {{ label: 'extend', at: [150, 60] }})")
    canvas.wait("editor.settled")
    assert canvas.at(250, 160) == pytest.approx(place, abs=1)
    canvas.drag((700, 450), (780, 450))
    assert canvas.mask().shape == (500, 800)
    canvas.js("editor.goTo(1)")
    assert (canvas.mask() == before).all()
    assert canvas.at(100, 100) == pytest.approx(place, abs=1)


# Moving about


def test_the_wheel_zooms_about_the_pointer(canvas: Canvas) -> None:
    canvas.open(600, 400)
    x, y = canvas.at(150, 100)
    canvas.page.mouse.move(x, y)
    before = canvas.js("editor.screenToImage(...it)", [x, y])
    for _ in range(4):
        canvas.page.mouse.wheel(0, -120)
        canvas.frames()
    after = canvas.js("editor.screenToImage(...it)", [x, y])
    assert (after["x"], after["y"]) == pytest.approx((before["x"], before["y"]), abs=0.6)
    assert canvas.js("events.filter((e) => e.name === 'view').length") > 0
    wide = canvas.at(600, 0)[0] - canvas.at(0, 0)[0]
    assert wide == pytest.approx(850 * 0.94 * np.exp(0.96), rel=0.06)


def test_space_and_a_drag_pan_without_painting(canvas: Canvas) -> None:
    canvas.open(600, 400)
    canvas.js("editor.actualSize()")
    before = canvas.at(0, 0)
    canvas.page.mouse.click(300, 300)
    canvas.js("editor.undo()")
    canvas.page.keyboard.down(" ")
    canvas.page.mouse.move(300, 300)
    canvas.page.mouse.down()
    canvas.page.mouse.move(330, 350)
    canvas.page.mouse.up()
    canvas.page.keyboard.up(" ")
    assert canvas.at(0, 0) == pytest.approx((before[0] + 30, before[1] + 50), abs=0.01)
    assert canvas.js("editor.mask.empty")
    canvas.js("editor.fit()")
    assert canvas.at(300, 200) == pytest.approx((465, 340), abs=1)


def test_the_keyboard_alone_can_paint(canvas: Canvas) -> None:
    canvas.open(600, 400)
    canvas.js("[editor.set('size', 20), document.getElementById('canvas').focus()]")
    keys = canvas.page.keyboard
    keys.press("ArrowRight")
    keys.down(" ")
    for _ in range(10):
        keys.press("ArrowRight")
    keys.up(" ")
    keys.press("ArrowDown")
    step = 80 / (canvas.at(1, 0)[0] - canvas.at(0, 0)[0])
    x0, y0, x1, y1 = canvas.js("editor.mask.bounds()")
    assert (x0, y0, y1) == pytest.approx((290, 190, 210), abs=2)
    assert x1 == pytest.approx(300 + step + 10, abs=2)
    canvas.js("editor.setTool('rectangle')")
    keys.down(" ")
    keys.press("Shift+ArrowDown")
    keys.press("Shift+ArrowLeft")
    keys.up(" ")
    assert [entry["label"] for entry in canvas.js("editor.history()")] == ["open", "brush", "rectangle"]


def test_nothing_is_painted_while_a_job_is_at_work(canvas: Canvas) -> None:
    canvas.open(300, 200)
    canvas.js("editor.busy(true)")
    canvas.drag((50, 50), (100, 100))
    assert canvas.js("editor.mask.empty")
    canvas.js("[editor.busy(false), editor.fit()]")
    canvas.drag((50, 50), (100, 100))
    assert not canvas.js("editor.mask.empty")


# Costs


def test_a_stroke_on_24_megapixels_keeps_its_frames_short(canvas: Canvas) -> None:
    canvas.open(6000, 4000)
    canvas.drag((500, 500), (900, 900), steps=10)
    seen = len(canvas.js("editor.frameTimes()"))
    mouse = canvas.page.mouse
    mouse.move(150, 350)
    mouse.down()
    for i in range(60):
        mouse.move(465 + 300 * np.cos(i / 8), 340 + 200 * np.sin(i / 8))
    mouse.up()
    times = sorted(canvas.js("editor.frameTimes()")[seen:])
    assert len(times) > 20
    assert times[len(times) // 2] < 8


def test_a_big_mask_is_exported_as_large_as_the_picture(canvas: Canvas) -> None:
    canvas.open(6000, 4000)
    canvas.js("editor.invertMask()")
    assert canvas.js("(await editor.exportMask()).size") < 400_000
    assert canvas.js("editor.mask.area()") == 24_000_000


def test_destroying_gives_everything_back(canvas: Canvas) -> None:
    canvas.open(300, 200)
    canvas.js("editor.destroy()")
    assert canvas.js("document.querySelectorAll('canvas').length") == 0
    canvas.page.mouse.click(300, 300)
    canvas.page.keyboard.press("ArrowLeft")
    canvas.page.set_viewport_size({"width": 500, "height": 500})
    canvas.frames(3)


def test_a_tile_that_fails_is_asked_for_again(canvas: Canvas) -> None:
    canvas.js("(window.tile = api.tile, api.tile = async () => null)")
    canvas.js("editor.open(api.make('first', 300, 200))")
    canvas.frames(3)
    canvas.js("(api.tile = tile)")
    canvas.wait("editor.settled")


def test_a_selection_under_way_is_shown_and_can_be_left(canvas: Canvas) -> None:
    canvas.open(300, 200)
    canvas.js("(api.delay = 300, api.answer = () => ({ box: [40, 30, 90, 70], fill: () => true }))")
    canvas.js("editor.setTool('smart')")
    canvas.drag((30, 20), (100, 80))
    canvas.page.mouse.move(5, 5)
    canvas.frames()
    assert canvas.js("marked()")
    canvas.js("editor.open(api.make('second', 300, 200))")
    canvas.page.wait_for_timeout(400)
    assert not canvas.js("marked()")
    assert canvas.js("[editor.mask.empty, editor.canUndo]") == [True, False]


def test_growing_by_less_than_a_pixel_keeps_what_was_full(canvas: Canvas) -> None:
    filled = draw_something(canvas)
    canvas.js("editor.growMask(0.5)")
    assert (canvas.mask()[filled] == 255).all()


@pytest.mark.parametrize(("wish", "count"), [("reduce", 0), ("no-preference", 1)])
def test_nothing_moves_for_those_who_wish_so(chromium: Browser, address: str, wish: str, count: int) -> None:
    for canvas in _page(chromium, address, reduced_motion=wish):
        canvas.open(300, 200)
        canvas.js("editor.busy(true)")
        assert canvas.js("document.getAnimations().length") == count
        canvas.js("editor.busy(false)")
        assert canvas.js("document.getAnimations().length") == 0


@pytest.mark.parametrize("hardness", [1.0, 0.25])
def test_a_winding_stroke_has_no_gaps_and_no_seams(canvas: Canvas, hardness: float) -> None:
    canvas.open(600, 400)
    canvas.js("[editor.set('size', 60), editor.set('hardness', it)]", hardness)
    turns = np.linspace(0, 9, 50)
    points = [(300 + (60 + 16 * t) * np.cos(t), 200 + (40 + 12 * t) * np.sin(t)) for t in turns]
    canvas.drag(*points, steps=1)
    away = np.minimum.reduce([strip((600, 400), a, b, 0) for a, b in pairwise(points)])
    inner = min(30 * hardness, 29.5)
    expected = np.clip((30.5 - away) / (30.5 - inner), 0, 1) * 255
    off = np.abs(canvas.mask() - expected)
    # Half a pixel in place: the mouse goes in whole px, and runs that are nearly straight are joined.
    assert off.max() <= 255 * min(1, 1.2 / (30.5 - inner))
    assert (off[(away < inner - 0.8) | (away > 31.3)] == 0).all()
    assert off.mean() < (4 if hardness == 1 else 2.5)
