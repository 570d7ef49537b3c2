"""The page around the canvas: what people press, what is sent, and what they are told.

The server is a stand-in (`fake.py`) that is slow, failing or away when a test wants it; the canvas is real.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.browser.kept import kept
from tests.browser.shell import (
    TEXT_ENGINE,
    Shell,
    photo_file,
)
from tests.patience import until

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.browser


# --- coming in ---------------------------------------------------------------------------------------------

DROP = """([bytes, name, type]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name, { type }));
  const event = (kind) => new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event("dragenter"));
  const shown = !document.querySelector("#dropping").hidden;
  document.body.dispatchEvent(event("drop"));
  return shown;
}"""
PASTE = """(bytes) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], "image.png", { type: "image/png" }));
  document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
}"""


def test_a_photo_comes_in_by_dropping_pasting_and_choosing(shell: Shell) -> None:
    name = shell.get("document-name")
    assert shell.page.evaluate(DROP, [list(photo_file()), "dropped.heic", ""])
    name.get_by_text("dropped.heic").wait_for()
    shell.page.evaluate(PASTE, list(photo_file()))
    name.get_by_text("image.png").wait_for()
    shell.open((320, 200), "chosen.png")
    name.get_by_text("chosen.png").wait_for()
    assert "320 × 200" in (shell.get("document-facts").text_content() or "")
    accepted = shell.get("file-input").get_attribute("accept") or ""
    assert all(ending in accepted for ending in (".heic", ".avif", ".tiff", ".png", ".jpg", ".webp"))
    assert shell.get("camera-input").get_attribute("capture") == "environment"


def test_the_sample_shows_the_whole_way_to_a_file(shell: Shell) -> None:
    shell.click("sample")
    shell.page.locator("body:not(.is-empty)").wait_for()
    assert shell.get("run").is_disabled()
    shell.paint(0.55, 0.75, 0.72, 0.75)
    shell.fill()
    [fill] = shell.sent
    mask = np.asarray(shell.server.world.pictures[fill["mask"]].convert("L"))
    assert mask.shape == (853, 1280)
    assert mask[640, 810] == 255
    assert mask[100, 100] == 0
    with shell.page.expect_download() as download:
        shell.click("download")
    result = np.asarray(Image.open(download.value.path()).convert("RGB")).astype(int)
    before = np.asarray(shell.server.world.pictures[fill["image"]].convert("RGB")).astype(int)
    assert (result[mask == 0] == before[mask == 0]).all()
    assert np.abs(result[mask > 127] - before[mask > 127]).mean() > 1
    shell.click("download-more", "download-jpeg")
    shell.keys("Control+z")
    shell.gone("variations")
    assert shell.get("undo").is_enabled()
    assert shell.get("run").is_enabled()  # the mask is back


# --- doing -------------------------------------------------------------------------------------------------


def test_variations_are_chosen_side_by_side_and_stay_one_step(shell: Shell) -> None:
    shell.open()
    shell.paint()
    shell.get("count").get_by_text("3", exact=True).click()
    shell.fill()
    assert shell.sent[0]["count"] == 3
    shell.click("side-by-side")
    shell.get("side").get_by_test_id("variation-2").click()
    shell.gone("side")
    assert shell.get("variations").get_by_test_id("variation-2").get_attribute("aria-checked") == "true"
    shell.click("undo")
    assert shell.get("compare").is_disabled()  # the original again, after one step
    shell.click("redo")
    assert shell.get("compare").is_enabled()
    with shell.page.expect_download() as download:
        shell.click("download")
    second = next(iter(shell.server.world.jobs.values()))["result"]["images"][1]["id"]
    assert download.value.url.split("/images/")[1].startswith(second)
    shell.keys("c")
    assert shell.get("split").get_attribute("aria-pressed") == "true"


def test_try_again_uses_another_seed_and_the_same_mask(shell: Shell) -> None:
    shell.open()
    shell.paint()
    shell.fill()
    shell.click("again")
    until(lambda: len(shell.sent) == 2)
    shell.get("variations").wait_for()
    first, second = shell.sent
    assert first["mask"] == second["mask"]
    assert first["image"] == second["image"]
    assert first["seed"] != second["seed"]


def test_the_form_sends_what_was_chosen_and_nothing_more(shell: Shell) -> None:
    shell.open()
    shell.paint()
    shell.fill()
    assert shell.sent[0]["params"] == {}
    shell.keys("Control+z")
    shell.get("engine").locator("summary").click()
    shell.click("engine-exemplar")
    shell.get("parameter-quality").get_by_text("Best").click()
    assert not shell.get("parameter-rotation").is_visible()
    shell.get("more-settings").locator("summary").click()
    shell.get("parameter-rotation").select_option("medium")
    shell.get("parameter-grow").fill("9.5")
    shell.get("seed").fill("77")
    shell.keys("Enter")  # leaves the field …
    shell.keys("Enter")  # … and fills
    shell.get("variations").wait_for()
    sent = shell.sent[1]
    assert (sent["engine"], sent["seed"], sent["grow"]) == ("exemplar", 77, 9.5)
    assert sent["params"] == {"quality": "best", "rotation": "medium"}
    shell.keys("Control+z", "Enter")
    shell.get("variations").wait_for()
    assert shell.sent[2]["seed"] == 77  # a seed that was typed is locked


def test_presets_are_kept(shell: Shell) -> None:
    shell.open()
    shell.get("engine").locator("summary").click()
    shell.click("engine-exemplar")
    shell.get("parameter-quality").get_by_text("Draft").click()
    shell.click("preset-save")
    shell.get("preset-name").fill("Quick look")
    shell.click("preset-store")
    shell.get("parameter-quality").get_by_text("Best").click()
    kept(shell.page)
    shell.load()
    shell.get("presets").select_option("Quick look")
    assert shell.get("parameter-quality").get_by_label("Draft").is_checked()


def test_repair_finds_shows_and_mends(shell: Shell) -> None:
    shell.open()
    shell.click("action-repair")
    assert "Find" in (shell.get("run").text_content() or "")
    shell.keys("Enter")
    found = shell.get("found")
    found.get_by_text("%").wait_for()
    first = found.text_content() or ""
    kinds = ["dust", "scratch", "fold", "tear"]
    asked = {"kind": "repair", "image": "", "sensitivity": 0.5, "kinds": kinds, "detect_only": True}
    assert shell.sent[0] | {"image": ""} == asked
    shell.get("sensitivity").fill("0.9")
    until(lambda: "%" in (now := found.text_content() or "") and now != first)
    assert shell.sent[1]["sensitivity"] == 0.9
    shell.paint(0.2, 0.8, 0.3, 0.8)  # an edited mask is not thrown away by the slider
    shell.get("sensitivity").fill("0.1")
    shell.page.wait_for_timeout(600)
    assert len(shell.sent) == 2
    shell.click("run")
    shell.get("variations").wait_for()
    mask = np.asarray(shell.server.world.pictures[shell.sent[2]["mask"]].convert("L"))
    assert mask[384, 160] == 255
    assert mask[30, 40] == 255


def test_extend_by_shape_and_by_field(shell: Shell) -> None:
    shell.open()
    shell.keys("4")
    assert shell.get("run").is_disabled()
    shell.get("aspect").get_by_text("16:9").click()
    assert shell.get("extend-left").input_value() == "106"
    shell.get("extend-top").fill("20")
    shell.keys("Tab")
    assert "853 × 500" in (shell.get("extend-size").text_content() or "")
    shell.keys("Enter")  # leaves the field
    shell.fill()
    amounts = {side: shell.sent[0][side] for side in ("left", "right", "top", "bottom")}
    assert amounts == {"left": 106, "right": 107, "top": 20, "bottom": 0}
    assert "853 × 500" in (shell.get("document-facts").text_content() or "")
    assert shell.get("run").is_disabled()


def test_replace_says_why_it_cannot_and_works_with_an_engine_that_reads(shell: Shell) -> None:
    shell.open()
    shell.paint()
    shell.click("action-replace")
    assert shell.get("replace-reason").is_visible()
    assert shell.get("run").is_disabled()
    shell.server.world.engines.append(TEXT_ENGINE)
    verdict = {"level": "offload", "reason": "Parts wait in main memory"}
    shell.server.world.models.append(
        {"name": "small", "engine": "painter", "title": "Painter S", "installed": True, "verdict": verdict}
    )
    kept(shell.page)
    shell.load()
    shell.get("prompt").fill("a red bench")
    shell.get("negative").fill("people")
    shell.get("engine").locator("summary").click()
    assert shell.get("engine").get_by_text("Needs offload").is_visible()
    shell.click("engine-painter/small")
    shell.keys("Enter")
    shell.get("variations").wait_for()
    assert shell.sent[0]["engine"] == "painter"
    assert shell.sent[0]["params"] == {"model": "small", "prompt": "a red bench", "negative_prompt": "people"}


def test_progress_is_told_and_work_can_be_cancelled(shell: Shell) -> None:
    shell.server.world.delay_s = 600
    shell.open()
    shell.paint()
    shell.keys("Enter")
    progress = shell.get("progress")
    progress.get_by_text("left").wait_for()
    assert progress.get_by_role("progressbar").get_attribute("aria-valuenow") is not None
    shell.keys("q")
    shell.get("queue-item").get_by_text("Running").wait_for()
    shell.keys("Escape", "Escape")  # the drawer, then the work
    shell.gone("progress")
    until(lambda: [job["state"] for job in shell.server.world.jobs.values()] == ["cancelled"])
    assert shell.get("run").is_enabled()


def test_errors_are_told_with_what_helps(shell: Shell) -> None:
    shell.open()
    shell.paint()
    shell.server.world.error = {
        "code": "engine.crash",
        "message": "the engine crashed",
        "hint": "try another",
    }
    shell.keys("Enter")
    error = shell.get("error")
    error.get_by_text("The engine crashed").wait_for()
    assert error.get_by_text("Try another").is_visible()
    assert error.get_attribute("role") == "alert"
    error.get_by_role("button").click()
    problem = {"code": "jobs.queue-full", "message": "the queue is full", "hint": "wait a little"}
    shell.server.world.refusal = (429, problem)
    shell.keys("Enter")
    error.get_by_text("The queue is full").wait_for()
    shell.faults = [fault for fault in shell.faults if "429" not in fault]
