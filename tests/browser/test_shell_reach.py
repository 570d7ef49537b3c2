"""The page is within reach: by keyboard, on a phone, in either theme, for those who hear it.

The server is a stand-in (`fake.py`) that is slow, failing or away when a test wants it; the canvas is real.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from reknit.server import static
from tests.browser.fake import WEB, FakeServer
from tests.browser.shell import (
    BUDGET_BYTES,
    LAPTOP,
    PHONE,
    Shell,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


def test_the_keyboard_reaches_the_tools(shell: Shell) -> None:
    shell.open()
    for key, tool in {
        "e": "eraser",
        "r": "rectangle",
        "l": "lasso",
        "g": "wand",
        "s": "smart",
        "b": "brush",
    }.items():
        shell.keys(key)
        assert shell.get(f"tool-{tool}").get_attribute("aria-pressed") == "true"
    shell.keys("x")
    assert shell.get("tool-eraser").get_attribute("aria-pressed") == "true"
    shell.keys("x")
    before = float(shell.get("option-size").input_value())
    shell.keys("]", "]")
    assert float(shell.get("option-size").input_value()) > before
    shell.keys("i")
    assert shell.get("run").is_enabled()
    shell.keys("Delete")
    assert shell.get("run").is_disabled()
    shell.keys("Shift+?")
    sheet = shell.get("shortcuts-sheet")
    sheet.get_by_text("Swap brush and eraser").wait_for()
    shell.keys("e")  # keys belong to the sheet now
    shell.keys("Escape")
    shell.gone("shortcuts-sheet")
    assert shell.get("tool-brush").get_attribute("aria-pressed") == "true"


def test_the_theme_follows_the_system_until_it_is_chosen(shell: Shell) -> None:
    root = shell.page.locator("html")
    assert root.get_attribute("data-theme") == "light"
    shell.page.emulate_media(color_scheme="dark")
    shell.page.locator("html[data-theme=dark]").wait_for()
    shell.click("theme")
    assert root.get_attribute("data-theme") == "light"
    shell.load()
    assert root.get_attribute("data-theme") == "light"


def test_a_phone_has_everything_below_the_thumb(chromium: Browser, server: FakeServer) -> None:
    context = chromium.new_context(**PHONE, reduced_motion="reduce")  # type: ignore[arg-type]
    shell = Shell(context.new_page(), server)
    shell.load()
    assert shell.get("welcome-camera").is_visible()
    shell.open()
    assert shell.page.evaluate("document.documentElement.scrollWidth") == 390
    for testid in ("tool-brush", "tool-pan", "action-remove", "action-extend", "run"):
        box = shell.get(testid).bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert 700 < box["y"] + box["height"] <= 844
        assert box["height"] >= 44
    shell.get("action-extend").tap()
    shell.get("aspect").get_by_text("1:1").tap()
    assert shell.get("run").is_enabled()
    shell.get("run").tap()
    shell.get("variations").wait_for()
    assert shell.faults == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_axe_finds_no_fault_in_any_state(chromium: Browser, server: FakeServer, scheme: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    how: dict[str, Any] = {"viewport": LAPTOP} if scheme == "light" else PHONE
    context = chromium.new_context(**how, color_scheme=scheme, reduced_motion="reduce")
    shell = Shell(context.new_page(), server)
    faults: dict[str, list[Any]] = {}

    def look(state: str) -> None:
        found = axe.run(shell.page).response["violations"]
        faults[state] = [(fault["id"], fault["impact"], fault["nodes"][0]["target"]) for fault in found]

    shell.load()
    look("empty")
    shell.open()
    shell.paint()
    shell.click("mask-menu")
    look("mask")
    shell.keys("Escape")
    if scheme == "dark":
        shell.click("action-remove")
    shell.get("count").get_by_text("2", exact=True).click()
    shell.get("engine").locator("summary").click()
    look("settings")
    server.world.delay_s = 600
    shell.click("run")
    shell.get("progress").get_by_text("left").wait_for()
    look("running")
    server.world.delay_s = 0
    shell.get("variations").wait_for()
    look("result")
    for key in "234":
        shell.keys(key)
        look(f"verb {key}")
    for key, panel in (("a", "gallery-panel"), ("q", "queue-panel"), ("Shift+?", "shortcuts-sheet")):
        shell.keys(key)
        shell.get(panel).wait_for()
        shell.still()
        look(key)
        shell.keys("Escape")
    context.close()
    assert {state: found for state, found in faults.items() if found} == {}


def test_buttons_have_names_and_the_first_visit_is_light(shell: Shell) -> None:
    shell.open()
    nameless = shell.page.evaluate(
        "[...document.querySelectorAll('button, input:not([type=file]), select')]"
        ".filter((e) => !e.textContent.trim() && !e.getAttribute('aria-label') && !e.labels?.length)"
        ".map((e) => e.outerHTML)"
    )
    assert nameless == []
    names = shell.page.evaluate(
        "performance.getEntriesByType('resource').map((e) => new URL(e.name).pathname)"
    )
    folder = static.Folder(WEB)
    sizes = [
        len(folder.get(name.removeprefix("/web/")).packed or b"")
        for name in {*names}
        if name.startswith("/web/")
    ]
    assert len(sizes) > 30
    assert sum(sizes) + len(folder.get("index.html").packed or b"") < BUDGET_BYTES
