"""The mask as a whole in a real browser: grown, softened, taken in and handed out.

Uses a page with an `Editor` and made-up pictures; no server is involved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from tests.browser.canvas.tab import Canvas, box_of, draw_something

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.browser


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


def test_growing_by_less_than_a_pixel_keeps_what_was_full(canvas: Canvas) -> None:
    filled = draw_something(canvas)
    canvas.js("editor.growMask(0.5)")
    assert (canvas.mask()[filled] == 255).all()


def test_a_big_mask_is_exported_as_large_as_the_picture(canvas: Canvas) -> None:
    canvas.open(6000, 4000)
    canvas.js("editor.invertMask()")
    assert canvas.js("(await editor.exportMask()).size") < 400_000
    assert canvas.js("editor.mask.area()") == 24_000_000
