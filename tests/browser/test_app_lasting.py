"""What the app survives: reloads, a killed server, several tabs, axe's eye."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.browser.app import photos
from tests.browser.app.visitor import PHONE, Visit, Visitor, patient
from tests.browser.kept import kept
from tests.browser.shell import AWAY
from tests.server.live import Server, wait_for

pytestmark = pytest.mark.browser


def check_result(visitor: Visitor, given: bytes, job: dict[str, Any]) -> None:
    """The page shows the finished job, and the download is its picture."""
    done = wait_for(visitor.server, job["id"])
    visitor.get("variations").wait_for()
    assert done["state"] == "done"
    after = photos.read(visitor.download()[0])
    mask = visitor.filled(done)
    changed = (after != photos.read(given)).any(axis=2)
    assert (after == photos.read(visitor.file(done["result"]["images"][0]["id"]))).all()
    assert changed[mask].mean() > 0.5
    assert changed.sum() < 3 * mask.sum()


# --- in the middle of a job --------------------------------------------------------------------------------


def test_a_reload_in_the_middle_of_a_job_loses_nothing(visitor: Visitor) -> None:
    given = photos.png(photos.scene())
    visitor.open(given, "kept.png")
    visitor.paint((200, 150), (260, 170))
    job = visitor.begin()
    kept(visitor.page, f"(found) => found.data.actions.order?.id === '{job['id']}'")
    visitor.page.reload()
    visitor.ready()
    visitor.get("progress").wait_for()
    visitor.release()
    check_result(visitor, given, job)
    assert visitor.job()["id"] == job["id"]  # nothing was sent twice
    kept(visitor.page)
    visitor.page.reload()
    visitor.ready()
    assert visitor.text("document-name") == "kept.png"
    visitor.keys("Control+z")
    assert visitor.download()[0] == given


def test_a_killed_server_comes_back_and_the_job_and_the_page_go_on(tmp_path: Path, visit: Visit) -> None:
    given = photos.png(photos.scene())
    with Server.started(tmp_path, **patient(tmp_path)) as server:
        visitor = visit(server)
        visitor.load()
        visitor.open(given, "kept.png")
        visitor.paint((200, 150), (260, 170))
        job = visitor.begin()
        with visitor.expecting(AWAY.pattern):
            server.process.kill()
            server.process.wait()
            visitor.get("banner").get_by_text("Reconnecting").wait_for()
            port = str(httpx.URL(server.address).port)
            with Server.started(tmp_path, "--port", port, **patient(tmp_path)) as again:
                visitor.server = again
                visitor.release()
                check_result(visitor, given, job)
                visitor.get("banner").wait_for(state="hidden")
                assert visitor.job()["id"] == job["id"]
                visitor.paint((100, 80), (140, 90))
                visitor.get("engine").locator("summary").click()
                visitor.click("engine-auto")
                visitor.get("canvas").focus()
                assert visitor.fill()["state"] == "done"
                visitor.page.goto("about:blank")


def test_work_is_cancelled_and_the_mask_stays(visitor: Visitor) -> None:
    visitor.open(photos.png(photos.scene()))
    visitor.paint((200, 150), (260, 170))
    before = visitor.mask()
    job = visitor.begin()
    visitor.click("cancel")
    visitor.gone("progress")
    assert wait_for(visitor.server, job["id"])["state"] == "cancelled"
    assert (visitor.mask() == before).all()
    visitor.get("engine").locator("summary").click()
    visitor.click("engine-auto")
    visitor.get("canvas").focus()
    assert visitor.fill()["state"] == "done"


def test_two_tabs_work_side_by_side(visitor: Visitor, visit: Visit) -> None:
    given = [photos.png(photos.scene(seed=seed)) for seed in (1, 2)]
    other = visit(visitor.server, beside=visitor)
    other.load()
    jobs = []
    for each, data, name in zip((visitor, other), given, ("one.png", "two.png"), strict=True):
        each.page.bring_to_front()
        each.open(data, name)
        each.paint((200, 150), (260, 170))
        jobs.append(each.begin() if each is visitor else None)
    other.keys("Enter")
    other.get("progress").wait_for()
    visitor.release()
    other.get("variations").wait_for()
    check_result(other, given[1], other.job())
    visitor.page.bring_to_front()
    check_result(visitor, given[0], jobs[0] or {})
    for each, name in ((visitor, "one.png"), (other, "two.png")):
        kept(each.page)
        each.page.reload()
        each.ready()
        assert each.text("document-name") == name


# --- guarded -----------------------------------------------------------------------------------------------


def test_a_phone_gets_in_with_the_token_and_nobody_without(tmp_path: Path, visit: Visit) -> None:
    with Server.started(tmp_path, "--token", "open-sesame") as server:
        phone = visit(server, **PHONE)
        phone.page.goto(server.address)  # as printed, with the token
        phone.ready()
        assert "open-sesame" not in phone.page.url
        phone.open(photos.png(photos.scene()))
        stranger = visit(server)
        with stranger.expecting(r"\b401\b"):
            stranger.page.goto(server.address.partition("?")[0])
            stranger.get("token").fill("wrong-token")
            stranger.keys("Enter")
            stranger.page.get_by_text("not right").wait_for()
            stranger.get("token").fill("open-sesame")
            stranger.keys("Enter")
            stranger.ready()
        for visitor in (phone, stranger):
            visitor.page.goto("about:blank")


# --- reachable ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["dark", pytest.param("light", marks=pytest.mark.slow)])
def test_axe_finds_no_serious_fault(app: Server, visit: Visit, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    visitor = visit(app, color_scheme=scheme)
    visitor.load()
    faults: list[Any] = []

    def look(state: str) -> None:
        faults.extend(
            (state, fault["id"], fault["nodes"][0]["target"])
            for fault in axe.run(visitor.page).response["violations"]
            if fault["impact"] in ("serious", "critical")
        )

    look("welcome")
    visitor.open(photos.png(photos.scene()))
    visitor.paint((200, 150), (260, 170))
    visitor.get("count").get_by_text("2", exact=True).click()
    visitor.get("canvas").focus()
    visitor.fill()
    visitor.keys("c")
    look("result")
    for key, panel in (("a", "gallery-panel"), ("q", "queue-panel")):
        visitor.keys(key)
        visitor.get(panel).wait_for()
        visitor.still()
        look(key)
        visitor.keys("Escape")
    assert faults == []
