"""What the canvas shows in a real browser: pictures, comparisons, the view, and what it costs.

Uses a page with an `Editor` and made-up pictures; no server is involved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.browser.canvas.tab import Canvas, page_of
from tests.patience import quick, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


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
    canvas.js("api.hold()")
    canvas.js("editor.show(api.derive('second', 'first', [250, 240, 560, 360], '#102030'))")
    canvas.frames(3)
    assert canvas.colour(400, 300) == before
    canvas.js("api.release()")
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
    until(lambda: canvas.colour(400, 300) == before)


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

    def middle_ms() -> float:
        seen = len(canvas.js("editor.frameTimes()"))
        mouse = canvas.page.mouse
        mouse.move(150, 350)
        mouse.down()
        for i in range(60):
            mouse.move(465 + 300 * np.cos(i / 8), 340 + 200 * np.sin(i / 8))
        mouse.up()
        times = sorted(canvas.js("editor.frameTimes()")[seen:])
        assert len(times) > 20
        return times[len(times) // 2]

    quick(8, middle_ms, tries=3)  # as many as the canvas remembers


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


@pytest.mark.parametrize(("wish", "count"), [("reduce", 0), ("no-preference", 1)])
def test_nothing_moves_for_those_who_wish_so(chromium: Browser, address: str, wish: str, count: int) -> None:
    for canvas in page_of(chromium, address, reduced_motion=wish):
        canvas.open(300, 200)
        canvas.js("editor.busy(true)")
        assert canvas.js("document.getAnimations().length") == count
        canvas.js("editor.busy(false)")
        assert canvas.js("document.getAnimations().length") == 0
