"""The page around the canvas: what people press, what is sent, and what they are told.

The server is a stand-in (`fake.py`) that is slow, failing or away when a test wants it; the canvas is real.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from reknit.server import static
from tests.browser.fake import WEB, FakeServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page

pytestmark = pytest.mark.browser
LAPTOP = {"width": 1280, "height": 800}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}
SIZE = (640, 480)
BUDGET_BYTES = 90_000
PROMPT = {"name": "prompt", "type": "string", "default": "", "description": "what to draw", "important": True}
TEXT_ENGINE = {
    "name": "painter",
    "title": "Paints from words",
    "seeded": True,
    "needs_model": False,
    "options": [PROMPT],
}
AWAY = re.compile("ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET")


def photo_file(size: tuple[int, int] = SIZE) -> bytes:
    rng = np.random.default_rng(3)
    small = Image.fromarray(rng.integers(40, 220, (12, 16, 3), dtype=np.uint8))
    file = io.BytesIO()
    small.resize(size, Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


class Shell:
    """A page with what the tests say over and over."""

    def __init__(self, page: Page, server: FakeServer) -> None:
        self.page = page
        self.server = server
        self.faults: list[str] = []
        page.set_default_timeout(10_000)
        page.on("console", lambda m: self.faults.append(m.text) if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self.faults.append(str(error)))

    def get(self, testid: str) -> Locator:
        return self.page.get_by_test_id(testid)

    def click(self, *testids: str) -> None:
        for testid in testids:
            self.get(testid).click()

    def keys(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def load(self) -> None:
        self.page.goto(self.server.url)
        self.page.locator("body[data-ready]").wait_for()

    def open(self, size: tuple[int, int] = SIZE, name: str = "garden.png") -> None:
        self.get("file-input").set_input_files(
            {"name": name, "mimeType": "image/png", "buffer": photo_file(size)}
        )
        self.page.locator("body:not(.is-empty)").wait_for()
        self.page.wait_for_timeout(80)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a place of the fitted picture, in shares of its sides, is on the screen."""
        box = self.get("canvas").bounding_box()
        assert box
        facts = self.get("document-facts").text_content() or ""
        width, height = map(int, facts.split(" · ")[0].split(" × "))
        scale = min((box["width"] - 48) / width, (box["height"] - 48) / height, 2)
        middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        return middle[0] + (x - 0.5) * width * scale, middle[1] + (y - 0.5) * height * scale

    def paint(self, x0: float = 0.4, y0: float = 0.5, x1: float = 0.6, y1: float = 0.5) -> None:
        mouse = self.page.mouse
        mouse.move(*self.at(x0, y0))
        mouse.down()
        mouse.move(*self.at(x1, y1), steps=4)
        mouse.up()

    def fill(self) -> None:
        self.keys("Enter")
        self.get("variations").wait_for()

    @property
    def sent(self) -> list[dict[str, Any]]:
        return self.server.world.submitted

    def gone(self, testid: str) -> None:
        self.get(testid).wait_for(state="hidden")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.stop()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport=LAPTOP, reduced_motion="reduce")  # type: ignore[arg-type]
    yield context
    context.close()


@pytest.fixture
def shell(server: FakeServer, context: BrowserContext) -> Iterator[Shell]:
    shell = Shell(context.new_page(), server)
    shell.load()
    yield shell
    assert [fault for fault in shell.faults if not AWAY.search(fault)] == []


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
    shell.page.wait_for_timeout(50)
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
    shell.page.wait_for_timeout(700)
    shell.load()
    shell.get("presets").select_option("Quick look")
    assert shell.get("parameter-quality").get_by_label("Draft").is_checked()


def test_repair_finds_shows_and_mends(shell: Shell) -> None:
    shell.open()
    shell.click("action-repair")
    assert "Find" in (shell.get("run").text_content() or "")
    shell.keys("Enter")
    shell.get("found").get_by_text("%").wait_for()
    kinds = ["dust", "scratch", "fold", "tear"]
    asked = {"kind": "repair", "image": "", "sensitivity": 0.5, "kinds": kinds, "detect_only": True}
    assert shell.sent[0] | {"image": ""} == asked
    shell.get("sensitivity").fill("0.9")
    shell.page.wait_for_timeout(500)
    shell.gone("progress")
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
    shell.page.wait_for_timeout(600)
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
    shell.server.world.delay_s = 20
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
    assert [job["state"] for job in shell.server.world.jobs.values()] == ["cancelled"]
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


# --- lasting -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_reload_in_the_middle_of_a_job_loses_nothing(shell: Shell) -> None:
    shell.server.world.delay_s = 3
    shell.open()
    shell.paint(0.1, 0.2, 0.2, 0.2)
    shell.keys("Enter")
    shell.get("progress").wait_for()
    shell.page.wait_for_timeout(700)
    shell.load()
    shell.get("progress").wait_for()
    shell.get("variations").wait_for()
    assert len(shell.sent) == 1
    shell.page.wait_for_timeout(700)
    shell.load()
    assert shell.get("compare").is_enabled()
    shell.keys("Control+z")  # history came back, too
    assert shell.get("compare").is_disabled()
    assert shell.get("run").is_enabled()


@pytest.mark.slow
def test_the_page_finds_a_server_again_that_was_away(shell: Shell) -> None:
    shell.server.world.delay_s = 2.5
    shell.open()
    shell.paint()
    shell.keys("Enter")
    shell.get("progress").wait_for()
    shell.server.stop()
    shell.get("banner").get_by_text("Reconnecting").wait_for()
    shell.server.start()
    shell.get("variations").wait_for()
    assert len(shell.sent) == 1
    shell.gone("banner")


@pytest.mark.slow
def test_tabs_keep_to_themselves_and_a_fresh_one_may_go_on(shell: Shell, context: BrowserContext) -> None:
    shell.open(name="one.png")
    shell.paint()
    shell.page.wait_for_timeout(700)
    other = Shell(context.new_page(), shell.server)
    other.load()
    assert other.get("resume").get_by_text("one.png").is_visible()
    other.open(name="two.png")
    other.page.wait_for_timeout(700)
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


# --- reaching it -------------------------------------------------------------------------------------------


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
    server.world.delay_s = 1.5
    shell.click("run")
    shell.get("progress").get_by_text("left").wait_for()
    look("running")
    shell.get("variations").wait_for()
    look("result")
    for key in "234":
        shell.keys(key)
        look(f"verb {key}")
    for key in ("a", "q", "Shift+?"):
        shell.keys(key)
        shell.page.wait_for_timeout(150)
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


# --- words -------------------------------------------------------------------------------------------------


def test_every_word_is_there_and_used() -> None:
    text = (WEB / "strings.js").read_text(encoding="utf-8")
    known = set(re.findall(r'^  "([\w.-]+)":', text, re.MULTILINE))
    sources = [path.read_text(encoding="utf-8") for path in WEB.glob("*.js") if path.name != "strings.js"]
    sources.append(text[text.index("const rules") :])
    page = (WEB / "index.html").read_text(encoding="utf-8")
    named = set(re.findall(r'data-t(?:-\w+)?="([\w.-]+)"', page))
    patterns: set[str] = set()
    for source in sources:
        named |= set(re.findall(r'(?:say|sayTouch|knows)\("([\w.-]+)"', source))
        patterns |= set(re.findall(r"(?:say|knows)\(`([^`]+)`", source))
        patterns |= {f"{name}.touch" for name in re.findall(r'sayTouch\("([\w.-]+)"', source)}
    assert named - known == set()
    whole = "\n".join(sources)
    shapes = [
        re.compile(re.sub(r"\\\$\\\{.*?\\\}", r"[\\w.-]+", re.escape(pattern)) + r"(\.hint)?$")
        for pattern in patterns
    ]
    unused = {
        name for name in known - named if f'"{name}"' not in whole and not any(s.match(name) for s in shapes)
    }
    assert unused == set()


def test_the_page_holds_no_words_and_no_inline_code() -> None:
    page = (WEB / "index.html").read_text(encoding="utf-8")
    body = page[page.index("<body") : page.index("<noscript>")]
    assert set(re.findall(r">\s*([^<>\s][^<>]*)<", body)) <= {"Reknit"}
    assert not re.search(r"style=|<style|\son\w+=|javascript:|https?://", page)


def test_no_text_in_a_script_spans_lines() -> None:
    """The server leaves out comments and indentation on the way."""
    for path in WEB.rglob("*.js"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            code = re.sub(r"/\*.*?\*/|//.*", "", line)
            if not line.lstrip().startswith("*"):
                assert code.count("`") % 2 == 0, f"{path.name}:{number}"


def test_icons_that_are_named_exist() -> None:
    drawn = set(re.findall(r"^  (\w+): \[", (WEB / "icons.js").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r'data-icon="(\w+)"', (WEB / "index.html").read_text(encoding="utf-8")))
    for path in WEB.glob("*.js"):
        for found in re.findall(r'\bicon\("(\w+)"\)|\bicon: "(\w+)"', path.read_text(encoding="utf-8")):
            named |= set(found) - {""}
    assert named - drawn == set()
