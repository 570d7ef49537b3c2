"""The canvas in a real browser: strokes and tools land where they should.

Uses a page with an `Editor` and made-up pictures; no server is involved.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.browser.canvas.tab import Canvas, box_of, page_of, strip

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


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
    for canvas in page_of(chromium, address, device_scale_factor=2):
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
    yield from page_of(
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


# Tools


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


def test_a_selection_under_way_is_shown_and_can_be_left(canvas: Canvas) -> None:
    canvas.open(300, 200)
    canvas.js("(api.hold(), api.answer = () => ({ box: [40, 30, 90, 70], fill: () => true }))")
    canvas.js("editor.setTool('smart')")
    canvas.drag((30, 20), (100, 80))
    canvas.page.mouse.move(5, 5)
    canvas.frames()
    assert canvas.js("marked()")
    canvas.js("(editor.open(api.make('second', 300, 200)), api.release())")
    canvas.wait("editor.settled && !marked()")
    canvas.page.wait_for_timeout(200)  # time to take the answer, which nobody wants any more
    assert not canvas.js("marked()")
    assert canvas.js("[editor.mask.empty, editor.canUndo]") == [True, False]
