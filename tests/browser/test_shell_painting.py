"""Work that is painted step by step: it ends early where that does something, and takes pictures as options."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.fake import FakeServer
from tests.browser.kept import kept
from tests.browser.shell import TEXT_ENGINE, Shell, photo_file
from tests.patience import until

pytestmark = pytest.mark.browser

FOLLOWED: dict[str, Any] = {
    "name": "control_image", "type": "string", "default": None, "description": "what to follow", "important": True,
    "x-names": "picture", "examples": ["inpaint", "canny"],
}  # fmt: skip
DROP = """([bytes, at]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
  const well = document.querySelector(at);
  const event = (kind) => new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true });
  well.querySelector("button").dispatchEvent(event("dragenter"));
  const sign = getComputedStyle(document.querySelector("#dropping")).display;
  well.querySelector("button").dispatchEvent(event("drop"));
  return [sign, document.querySelector("#dropping").hidden];
}"""


@pytest.fixture(autouse=True)
def painter(server: FakeServer) -> None:
    """Give the server an engine that paints, before the page comes."""
    options = [*TEXT_ENGINE["options"], FOLLOWED]
    server.world.engines.append({**TEXT_ENGINE, "hurries": True, "options": options})


def replacing(shell: Shell) -> None:
    """Mark something and say what is to be there."""
    shell.open()
    shell.paint()
    shell.click("action-replace")
    shell.get("prompt").fill("a bench")


def test_work_that_paints_is_finished_early_with_what_it_has(shell: Shell) -> None:
    world = shell.server.world
    world.delay_s = 600
    replacing(shell)
    hurry = shell.get("hurry")
    shell.click("run")
    shell.get("progress").get_by_text("left").wait_for()
    assert hurry.count() == 0  # no step of it was seen: it might not end early
    world.paints = True
    hurry.wait_for()
    shell.keys("q")
    shell.get("queue-item").get_by_role("button", name="Finish Replace now").click()
    assert "Finishing" in (shell.page.locator("#announcer").text_content() or "")
    shell.keys("Escape")
    shell.get("variations").wait_for()  # its picture is shown like any other
    assert hurry.count() == 0
    shell.keys("Control+z", "1", "Enter")  # what does this has nothing before it is done
    shell.get("progress").get_by_text("left").wait_for()
    shell.still()
    assert hurry.count() == 0
    shell.keys("Escape")
    shell.gone("progress")
    states = [job["state"] for job in world.jobs.values()]
    assert (states, len(world.hurried)) == (["done", "cancelled"], 1)
    shell.page.route("**/cancel", lambda route: route.fulfill(json=[*world.jobs.values()][-1]))
    shell.keys("2", "Enter")
    hurry.wait_for()
    shell.click("cancel")  # takes its time: what is being cancelled cannot be finished
    assert hurry.count() == 0
    world.delay_s = 0


def test_an_option_that_is_a_picture_is_chosen_dropped_and_taken_out(shell: Shell) -> None:
    replacing(shell)
    well = shell.get("parameter-control_image")
    well.get_by_role("button", name="Control image: Choose a picture").wait_for()
    chosen = photo_file((32, 20))
    shell.get("parameter-control_image-file").set_input_files(
        {"name": "depth.png", "mimeType": "image/png", "buffer": chosen}
    )
    well.get_by_text("32 × 20").wait_for()
    assert well.get_by_text("depth.png").is_visible()
    until(lambda: well.locator("img").evaluate("(img) => img.naturalWidth > 0"))
    kept(shell.page)
    shell.load()
    well.get_by_text("depth.png").wait_for()  # of the server now, by its id
    shell.fill()
    sent = shell.sent[0]["params"]
    assert shell.server.world.facts[sent["control_image"]]["width"] == 32
    seen: list[Any] = shell.page.evaluate(
        DROP, [list(photo_file((20, 32))), "[data-testid=parameter-control_image]"]
    )
    assert seen == ["none", True]  # the window does not ask for it, nor opens it
    well.get_by_text("20 × 32").wait_for()
    assert shell.get("document-name").text_content() == "garden.png"
    shell.click("parameter-control_image-clear")
    words = shell.get("parameter-control_image-words")
    assert words.get_by_label("Auto").is_checked()
    words.get_by_text("Canny").click()
    shell.keys("Control+z")
    shell.fill()
    assert shell.sent[1]["params"]["control_image"] == "canny"
