"""The whole app as somebody uses it: the real server and the real engine, from the dropped photo to the download."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from examples.damage import damage
from numpy.typing import NDArray
from PIL import Image

from tests.browser.app import photos
from tests.browser.app.photos import MARKS, SIZE, THING, distance
from tests.browser.app.visitor import PHONE, Visit, Visitor
from tests.browser.kept import kept
from tests.patience import until
from tests.server.live import Server

pytestmark = pytest.mark.browser
Mask = NDArray[np.bool_]


def ring(mask: Mask, px: float) -> Mask:
    """Return a mask grown by ``px``."""
    side = 2 * int(np.ceil(px)) + 1
    return cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0


def reach(job: dict[str, Any]) -> float:
    """Return how far from the mask a result may differ, px."""
    plan = job["result"]["plan"]
    return plan["grow_px"] + plan["feather_px"] + 1


def check_only_the_mask_changed(before: NDArray[Any], after: NDArray[Any], mask: Mask, px: float) -> None:
    assert after.shape == before.shape
    assert after.dtype == before.dtype
    off = np.abs(after.astype(int) - before.astype(int)).max(axis=2)
    assert off[~ring(mask, px)].max() == 0
    assert (off[mask] > 0).mean() > 0.5


# --- tools -------------------------------------------------------------------------------------------------


def rectangle(visitor: Visitor) -> tuple[Mask, int]:
    visitor.paint((100, 80), (180, 140))
    expected = np.zeros(SIZE[::-1], bool)
    expected[80:140, 100:180] = True
    return expected, 1


def outlined(visitor: Visitor, corners: list[photos.Point]) -> Mask:
    scaled = (np.array(corners) * 16).round().astype(np.int32)
    return cv2.fillPoly(np.zeros(SIZE[::-1], np.uint8), [scaled], (1,), shift=4) > 0


CORNERS: list[photos.Point] = [(100, 80), (200, 90), (180, 160), (110, 150)]


def lasso(visitor: Visitor) -> tuple[Mask, int]:
    visitor.paint(*CORNERS, CORNERS[0])
    return outlined(visitor, CORNERS), 2


def polygon(visitor: Visitor) -> tuple[Mask, int]:
    for corner in CORNERS:
        visitor.page.mouse.click(*visitor.at(*corner))
    visitor.keys("Enter")
    return outlined(visitor, CORNERS), 2


def line(visitor: Visitor) -> tuple[Mask, int]:
    size = visitor.brush(24)
    visitor.paint((100, 80), (200, 140))
    return distance(SIZE, (100, 80), (200, 140)) < size / 2, 1


def brush(visitor: Visitor) -> tuple[Mask, int]:
    size = visitor.brush(30)
    visitor.paint((100, 80), (200, 80), (200, 140))
    far = np.minimum(distance(SIZE, (100, 80), (200, 80)), distance(SIZE, (200, 80), (200, 140)))
    return far < size / 2, 1


def eraser(visitor: Visitor) -> tuple[Mask, int]:
    visitor.keys("r")
    expected, _ = rectangle(visitor)
    visitor.keys("e")
    size = visitor.brush(30)
    visitor.paint((140, 60), (140, 160))
    return expected & (distance(SIZE, (140, 60), (140, 160)) >= size / 2), 1


def disc() -> Mask:
    x, y, radius = THING
    return distance(SIZE, (x, y), (x, y)) < radius


def wand(visitor: Visitor) -> tuple[Mask, int]:
    with visitor.page.expect_response("**/select") as answer:
        visitor.page.mouse.click(*visitor.at(*THING[:2]))
    answer.value.finished()
    return disc(), 2


def smart(visitor: Visitor) -> tuple[Mask, int]:
    x, y, radius = THING
    far = radius + 14
    with visitor.page.expect_response("**/select") as answer:
        visitor.paint((x - far, y - far), (x + far, y + far))
    answer.value.finished()
    return disc(), 5


TOOLS: dict[str, Callable[[Visitor], tuple[Mask, int]]] = {
    "b": brush, "e": eraser, "r": rectangle, "l": lasso, "p": polygon, "n": line, "g": wand, "s": smart,
}  # fmt: skip


@pytest.mark.parametrize("key", TOOLS, ids=lambda key: TOOLS[key].__name__)
def test_each_tool_marks_what_is_removed(visitor: Visitor, key: str) -> None:
    given = photos.png(photos.thing())
    visitor.open(given)
    visitor.keys(key)
    expected, slack = TOOLS[key](visitor)
    visitor.get("run").and_(visitor.page.locator(":enabled")).wait_for()
    job = visitor.fill()
    mask = visitor.filled(job)
    assert not (mask & ~ring(expected, slack)).any()
    assert not (~mask & ~ring(~expected, slack)).any()
    after = photos.read(visitor.file(job["result"]["images"][0]["id"]))
    check_only_the_mask_changed(photos.read(given), after, mask, reach(job))


def test_the_keyboard_alone_paints_and_fills(visitor: Visitor) -> None:
    given = photos.png(photos.scene())
    visitor.open(given)
    visitor.page.locator(".skip").focus()
    visitor.keys("Enter", "ArrowRight")
    visitor.page.keyboard.down("Space")
    visitor.keys(*["ArrowRight"] * 6)
    visitor.page.keyboard.up("Space")
    job = visitor.fill()
    after = photos.read(visitor.file(job["result"]["images"][0]["id"]))
    check_only_the_mask_changed(photos.read(given), after, visitor.filled(job), reach(job))


def test_the_mask_is_grown_inverted_saved_and_loaded(visitor: Visitor) -> None:
    visitor.open(photos.png(photos.scene()))
    visitor.keys("r")
    expected, _ = rectangle(visitor)
    visitor.click("mask-menu", "mask-grow")
    visitor.keys("Escape")
    grown = visitor.mask() > 127
    assert not (ring(expected, 2) & ~grown).any()
    assert not (grown & ~ring(expected, 5)).any()
    visitor.keys("i")
    inverted = visitor.mask()
    assert ((inverted > 127) == ~grown).all()
    visitor.keys("Delete")
    assert visitor.get("run").is_disabled()
    visitor.get("mask-input").set_input_files(
        {"name": "mask.png", "mimeType": "image/png", "buffer": photos.grey_png(inverted)}
    )
    visitor.get("run").and_(visitor.page.locator(":enabled")).wait_for()
    assert (visitor.mask() == inverted).all()


# --- strokes land where they are seen to land --------------------------------------------------------------


def check_stroke(visitor: Visitor, slack: float, size: tuple[int, int] = SIZE, marks: Any = MARKS) -> None:
    """Paint from one disc on the screen to the other; the mask must join the discs of the picture."""
    width = visitor.brush(26)
    a, b = visitor.marks()
    visitor.drag(a, b)
    check_capsule(visitor, width, slack, size, marks)


def check_capsule(visitor: Visitor, width: int, slack: float, size: tuple[int, int], marks: Any) -> None:
    mask = visitor.mask()
    off = distance(size, *marks) - width / 2
    assert mask.shape == size[::-1]
    assert mask[off < -slack].min() == 255
    assert mask[off > slack].max() == 0


def test_a_stroke_lands_in_the_fitted_picture(visitor: Visitor) -> None:
    visitor.open(photos.png(photos.marked()))
    check_stroke(visitor, 1)


def test_a_stroke_lands_when_zoomed_in_and_moved(visitor: Visitor) -> None:
    visitor.open(photos.png(photos.marked()))
    middle = visitor.at(230, 160)
    visitor.page.mouse.move(*middle)
    for _ in range(3):
        visitor.page.mouse.wheel(0, -120)
        visitor.still()
    visitor.page.keyboard.down("Space")
    visitor.drag(middle, (middle[0] + 37, middle[1] - 21))
    visitor.page.keyboard.up("Space")
    visitor.page.mouse.move(5, 5)
    zoom = float(visitor.text("zoom").rstrip(" %")) / 100
    assert zoom > 2
    check_stroke(visitor, 1)


def test_a_stroke_lands_when_zoomed_out(visitor: Visitor) -> None:
    size, marks = (3000, 2000), ((800.0, 700.0), (2100.0, 1300.0))
    visitor.open(photos.jpeg(photos.marked(size, marks, 40)), "large.jpg")
    width = visitor.brush(200)
    visitor.drag(*visitor.marks())
    check_capsule(visitor, width, 6, size, marks)


def test_a_stroke_lands_on_a_dense_screen(app: Server, visit: Visit) -> None:
    visitor = visit(app, device_scale_factor=2)
    visitor.load()
    visitor.open(photos.png(photos.marked()))
    check_stroke(visitor, 1)


def test_a_finger_paints_where_it_touches(app: Server, visit: Visit) -> None:
    visitor = visit(app, **PHONE)
    visitor.load()
    visitor.open(photos.png(photos.marked()))
    width = visitor.brush(26)
    (ax, ay), (bx, by) = visitor.marks()
    touch = visitor.page.context.new_cdp_session(visitor.page)

    def send(kind: str, *points: tuple[float, float]) -> None:
        found = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": found})

    send("touchStart", (ax, ay))
    for step in range(1, 9):
        send("touchMove", (ax + (bx - ax) * step / 8, ay + (by - ay) * step / 8))
    send("touchEnd")
    check_capsule(visitor, width, 1.5, SIZE, MARKS)
    # Two fingers move the picture and mark nothing.
    before = visitor.mask()
    send("touchStart", (100, 300))
    send("touchStart", (100, 300), (200, 300))
    for step in range(1, 6):
        send("touchMove", (100 - 5 * step, 300 + 8 * step), (200 + 5 * step, 300 + 8 * step))
    send("touchEnd")
    assert (visitor.mask() == before).all()
    visitor.get("run").tap()
    visitor.result()


# --- history, verbs, results -------------------------------------------------------------------------------


def test_undo_and_redo_go_through_picture_and_mask(visitor: Visitor) -> None:
    given = photos.png(photos.scene())
    visitor.open(given)
    visitor.paint((200, 150), (260, 170))
    first = visitor.mask()
    job = visitor.fill()
    result = visitor.download()[0]
    visitor.paint((80, 80), (120, 100))
    second = visitor.mask()
    visitor.keys("Control+z", "Control+z")
    assert (visitor.mask() == first).all()
    assert visitor.download()[0] == given
    visitor.keys("Control+z")
    assert visitor.get("undo").is_disabled()
    assert visitor.get("run").is_disabled()
    visitor.keys("Control+Shift+z", "Control+Shift+z")
    assert visitor.download()[0] == result
    visitor.keys("Control+Shift+z")
    assert (visitor.mask() == second).all()
    assert visitor.get("redo").is_disabled()
    again = visitor.fill()
    assert again["payload"]["image"] == job["result"]["images"][0]["id"]
    assert again["result"]["images"][0]["original"] == job["payload"]["image"]


def test_extending_keeps_the_picture_and_paints_around_it(visitor: Visitor) -> None:
    given = photos.png(photos.scene())
    visitor.open(given)
    visitor.keys("4")
    visitor.get("aspect").get_by_text("16:9").click()
    visitor.get("extend-top").fill("24")
    visitor.keys("Tab", "Escape")
    visitor.get("canvas").focus()
    job = visitor.fill()
    left, right = job["payload"]["left"], job["payload"]["right"]
    data, _ = visitor.download()
    after = photos.read(data)
    assert after.shape == (320 + 24, 480 + left + right, 3)
    inside = after[24:, left : left + 480]
    px = int(np.ceil(reach(job)))
    assert (inside[px:, px : 480 - px] == photos.read(given)[px:, px : 480 - px]).all()
    assert after[:, : left - px].std() > 5
    assert f"{480 + left + right} × 344" in visitor.text("document-facts")


def test_a_border_is_dragged(visitor: Visitor) -> None:
    visitor.open(photos.png(photos.marked()))
    visitor.keys("4")
    visitor.still()
    (ax, ay), (bx, by) = visitor.marks()
    scale = (bx - ax) / (MARKS[1][0] - MARKS[0][0])
    edge = bx + (SIZE[0] - MARKS[1][0]) * scale, (ay + by) / 2
    visitor.drag(edge, (edge[0] + 60 * scale, edge[1]))
    assert int(visitor.get("extend-right").input_value()) == pytest.approx(60, abs=2)
    visitor.fill()
    assert visitor.size == (480 + int(visitor.job()["payload"]["right"]), 320)


def test_found_damage_can_be_corrected_before_it_is_repaired(visitor: Visitor) -> None:
    whole = photos.scene()
    hurt = damage(whole, seed=4, kinds=("dust", "scratch"))
    given = photos.png(hurt.pixels)
    visitor.open(given, "old.png")
    visitor.keys("3", "Enter")
    visitor.get("found").get_by_text("%").wait_for()
    found = visitor.mask() > 127
    truth = np.logical_or.reduce(list(hurt.truth.values()))
    assert (found & ring(truth, 3)).sum() > 0.5 * truth.sum()
    visitor.keys("r")
    visitor.get("option-subtract").check(force=True)
    visitor.paint((-5, -5), (240, 325))
    assert not visitor.mask()[:, :240].any()
    job = visitor.fill()
    after = photos.read(visitor.file(job["result"]["images"][0]["id"]))
    px = int(np.ceil(reach(job)))
    assert (after[:, : 240 - px] == hurt.pixels[:, : 240 - px]).all()
    right = truth[:, 250:] & found[:, 250:]

    def error(pixels: NDArray[np.uint8]) -> float:
        return float(np.abs(pixels[:, 250:].astype(int) - whole[:, 250:])[right].mean())

    assert error(after) < 0.5 * error(hurt.pixels)


def test_variations_differ_in_the_hole_and_the_chosen_one_is_downloaded(visitor: Visitor) -> None:
    given = photos.png(photos.scene())
    visitor.open(given)
    visitor.paint((180, 150), (280, 170))
    visitor.get("count").get_by_text("3", exact=True).click()
    visitor.get("canvas").focus()
    job = visitor.fill()
    images = job["result"]["images"]
    pixels = [photos.read(visitor.file(image["id"])) for image in images]
    mask = visitor.filled(job)
    for each in pixels:
        check_only_the_mask_changed(photos.read(given), each, mask, reach(job))
    assert len({each.tobytes() for each in pixels}) == 3
    visitor.click("side-by-side")
    visitor.get("side").get_by_test_id("variation-3").click()
    visitor.gone("side")
    assert (photos.read(visitor.download()[0]) == pixels[2]).all()
    visitor.get("variations").get_by_test_id("variation-2").click()
    assert (photos.read(visitor.download()[0]) == pixels[1]).all()
    visitor.keys("Control+z")
    assert visitor.download()[0] == given


def test_the_original_is_compared(visitor: Visitor) -> None:
    visitor.open(photos.png(photos.thing()))
    visitor.keys("g")
    wand(visitor)
    visitor.get("run").and_(visitor.page.locator(":enabled")).wait_for()
    visitor.fill()
    spot = visitor.at(*THING[:2])
    visitor.page.mouse.move(5, 5)

    def yellow() -> bool:
        clip = {"x": spot[0], "y": spot[1], "width": 4, "height": 4}
        shot = Image.open(io.BytesIO(visitor.page.screenshot(clip=clip))).convert("RGB")  # pyright: ignore
        red, _, blue = np.asarray(shot).reshape(-1, 3).mean(axis=0)
        return red - blue > 150

    until(lambda: not yellow())
    visitor.page.keyboard.down("\\")
    until(yellow)
    visitor.page.keyboard.up("\\")
    until(lambda: not yellow())
    visitor.keys("c")
    middle = visitor.at(240, 100)
    visitor.drag(middle, (middle[0] + 150, middle[1]))
    until(yellow)  # the original lies left of the slider


def test_words_reach_an_engine_that_reads_and_it_shows_previews_and_ends_early(visitor: Visitor) -> None:
    visitor.open(photos.png(photos.scene()))
    visitor.paint((200, 150), (260, 170))
    visitor.keys("2")
    visitor.get("prompt").fill("a red bench")
    outside = visitor.at(230, 220)
    before = visitor.seen(outside)
    visitor.begin()
    inside = visitor.at(230, 160)
    painted = (150, 122, 92)  # as the engine paints it
    until(lambda: np.abs(np.subtract(visitor.seen(inside), painted)).max() < 12)
    assert np.abs(np.subtract(visitor.seen(outside), before)).max() < 12
    visitor.click("hurry")  # it has something to show before it is done
    job = visitor.result()
    assert job["payload"]["params"]["prompt"] == "a red bench"
    assert job["payload"]["engine"] == "patient"


def test_a_past_result_is_made_again_from_its_recipe(visitor: Visitor) -> None:
    visitor.open(photos.png(photos.scene(seed=8)), "again.png")
    visitor.paint((200, 150), (260, 170))
    job = visitor.fill()
    kept(visitor.page)
    visitor.load()
    visitor.keys("Control+z", "Delete", "a")
    item = visitor.page.locator(f"[data-job='{job['id']}']")
    item.get_by_role("button", name="More").click()
    visitor.click("use-again")
    visitor.page.get_by_text("taken over").wait_for()
    again = visitor.fill()
    assert again["id"] != job["id"]
    assert again["result"]["images"][0]["id"] == job["result"]["images"][0]["id"]  # the same, byte for byte
