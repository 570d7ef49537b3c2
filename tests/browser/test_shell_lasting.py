"""The page around the canvas lasts: reloads, servers that go away, tabs, tokens, past results.

The server is a stand-in (`fake.py`) that is slow, failing or away when a test wants it; the canvas is real.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.fake import FakeServer
from tests.browser.kept import kept
from tests.browser.shell import (
    Shell,
)

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

pytestmark = pytest.mark.browser


@pytest.mark.slow
def test_a_reload_in_the_middle_of_a_job_loses_nothing(shell: Shell) -> None:
    shell.server.world.delay_s = 600
    shell.open()
    shell.paint(0.1, 0.2, 0.2, 0.2)
    shell.keys("Enter")
    shell.get("progress").wait_for()
    kept(shell.page, "(found) => found.data.actions.order")
    shell.load()
    shell.get("progress").wait_for()
    shell.server.world.delay_s = 0
    shell.get("variations").wait_for()
    assert len(shell.sent) == 1
    kept(shell.page)
    shell.load()
    assert shell.get("compare").is_enabled()
    shell.keys("Control+z")  # history came back, too
    assert shell.get("compare").is_disabled()
    assert shell.get("run").is_enabled()


@pytest.mark.slow
def test_the_page_finds_a_server_again_that_was_away(shell: Shell) -> None:
    shell.server.world.delay_s = 600
    shell.open()
    shell.paint()
    shell.keys("Enter")
    shell.get("progress").get_by_text("left").wait_for()
    shell.server.stop()
    shell.get("banner").get_by_text("Reconnecting").wait_for()
    shell.server.start()
    shell.server.world.delay_s = 0
    shell.get("variations").wait_for()
    assert len(shell.sent) == 1
    shell.gone("banner")


@pytest.mark.slow
def test_tabs_keep_to_themselves_and_a_fresh_one_may_go_on(shell: Shell, context: BrowserContext) -> None:
    shell.open(name="one.png")
    shell.paint()
    kept(shell.page)
    other = Shell(context.new_page(), shell.server)
    other.load()
    other.get("resume").get_by_text("one.png").wait_for()
    other.open(name="two.png")
    kept(other.page)
    shell.load()
    other.load()
    assert shell.get("document-name").text_content() == "one.png"
    assert other.get("document-name").text_content() == "two.png"
    assert shell.get("run").is_enabled()
    assert other.get("run").is_disabled()
    third = Shell(context.new_page(), shell.server)
    third.load()
    third.click("resume")
    third.get("document-name").get_by_text("two.png").wait_for()
    assert other.faults + third.faults == []


def test_a_locked_server_is_unlocked_by_its_token(server: FakeServer, context: BrowserContext) -> None:
    server.world.token = "sesame"
    shell = Shell(context.new_page(), server)
    shell.page.goto(server.url)
    shell.get("token").fill("wrong")
    shell.click("token-go")
    shell.page.get_by_text("not right").wait_for()
    shell.get("token").fill("sesame")
    shell.keys("Enter")
    shell.page.locator("body[data-ready]").wait_for()
    shell.open()
    assert [fault for fault in shell.faults if "401" not in fault] == []


def test_past_results_are_opened_and_used_again(shell: Shell) -> None:
    shell.open()
    shell.paint()
    shell.fill()
    shell.keys("Control+z", "Delete", "a")
    item = shell.get("gallery-item")
    item.get_by_role("button", name="More").click()
    shell.click("use-again")
    shell.page.get_by_text("taken over").wait_for()
    shell.keys("Enter")
    shell.get("variations").wait_for()
    first, again = shell.sent
    assert again == first
    shell.keys("a")
    shell.get("gallery-item").first.locator(".shot").click()
    assert shell.get("undo").is_disabled()
    assert "640 × 480" in (shell.get("document-facts").text_content() or "")
