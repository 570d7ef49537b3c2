"""The page takes care: it asks before work is lost, shows what will happen, and offers only what makes sense."""

from __future__ import annotations

import pytest

from tests.browser.kept import kept
from tests.browser.shell import SIZE, Shell, photo_file
from tests.patience import until

pytestmark = pytest.mark.browser


def choose(shell: Shell, name: str) -> None:
    file = {"name": name, "mimeType": "image/png", "buffer": photo_file((320, 200))}
    shell.get("file-input").set_input_files(file)  # pyright: ignore[reportArgumentType]


def test_a_mask_that_was_not_used_is_asked_about_before_it_goes(shell: Shell) -> None:
    shell.open(SIZE, "first.png")
    shell.paint()
    name = shell.get("document-name")
    choose(shell, "second.png")
    shell.get("leave").get_by_text("first.png").wait_for()
    shell.click("leave-stay")
    shell.gone("leave")
    assert name.text_content() == "first.png"
    assert shell.get("run").is_enabled()
    choose(shell, "second.png")
    shell.get("leave").wait_for()
    shell.keys("Escape")
    shell.gone("leave")
    assert name.text_content() == "first.png"
    choose(shell, "second.png")
    shell.click("leave-go")
    name.get_by_text("second.png").wait_for()
    choose(shell, "third.png")  # nothing is marked: nothing is asked
    name.get_by_text("third.png").wait_for()


def test_a_closed_dialog_is_gone_at_once(shell: Shell) -> None:
    shell.open()
    left = shell.page.evaluate(
        """async () => {
          const { openDialog } = await import("./web/dialog.js");
          openDialog("Title", () => document.createElement("p"));
          document.querySelector("dialog").close();
          await null; // still the same task: no frame comes in between
          return document.querySelectorAll("dialog").length;
        }"""
    )
    assert left == 0


def test_a_menu_is_closed_by_a_second_press_and_gone_at_once(shell: Shell) -> None:
    shell.open()
    button, panel = shell.get("mask-menu"), shell.get("mask-panel")
    for presses in range(1, 5):
        button.click()
        if presses % 2:
            panel.wait_for()
        else:
            shell.still()
            assert panel.count() == 0
        assert button.get_attribute("aria-expanded") == str(presses % 2 == 1).lower()
    counts = shell.page.evaluate(
        """async () => {
          const button = document.querySelector("#download-more");
          const seen = () => [document.querySelectorAll(".menu").length, button.getAttribute("aria-expanded")];
          button.click();
          document.querySelector(".menu").hidePopover();
          const at_once = seen();
          button.click();
          await new Promise((done) => setTimeout(done, 50)); // the first one has nothing more to say
          return [at_once, seen()];
        }"""
    )
    assert counts == [[0, "false"], [1, "true"]]
    shell.keys("Escape")
    assert shell.page.evaluate("document.activeElement.id") == "download-more"


def test_what_the_engine_will_see_is_asked_before_the_first_job(shell: Shell) -> None:
    shell.open()
    shell.paint()
    planned = shell.server.world.planned
    shell.page.wait_for_timeout(500)  # time to plan
    assert planned == []  # only while it is shown
    before = shell.shot()
    shell.click("mask-menu")
    shell.get("show-crop").check(force=True)
    shell.keys("Escape")
    shell.page.mouse.move(5, 5)
    until(lambda: len(planned) >= 1)
    until(lambda: shell.shot() != before)
    assert shell.sent == []
    shell.paint(0.2, 0.2, 0.3, 0.2)
    until(lambda: len(planned) >= 2)
    assert planned[0]["mask"] != planned[1]["mask"]
    assert planned[0]["seed"] == planned[1]["seed"]  # planning draws none
    shell.keys("Delete")
    shell.page.wait_for_timeout(600)  # time to plan without a mask
    assert len(planned) == 2
    assert shell.shot() != before


def test_pressure_is_offered_once_a_pen_was_seen(shell: Shell) -> None:
    shell.open()
    option = shell.get("option-pressure")
    assert option.count() == 0
    shell.page.evaluate(
        "document.querySelector('#canvas').dispatchEvent("
        "new PointerEvent('pointerover', { pointerType: 'pen', bubbles: true }))"
    )
    assert option.count() == 1
    kept(shell.page)
    shell.load()
    assert option.count() == 1


def test_extend_lets_the_tools_that_paint_rest_and_says_why(shell: Shell) -> None:
    shell.open()
    shell.keys("l")
    shell.click("action-extend")
    brush = shell.get("tool-brush")
    assert brush.get_attribute("aria-disabled") == "true"
    assert "Extend" in (brush.get_attribute("data-tip") or "")
    assert shell.get("tool-pan").get_attribute("aria-disabled") == "false"
    shell.keys("b")
    brush.click(force=True)
    assert brush.get_attribute("aria-pressed") == "false"
    assert "Extend" in (shell.page.locator("#announcer").text_content() or "")
    shell.paint()
    shell.click("action-remove")
    assert shell.get("run").is_disabled()  # nothing was painted
    assert shell.get("tool-lasso").get_attribute("aria-pressed") == "true"
    assert brush.get_attribute("aria-disabled") == "false"
