"""A whole folder from the page: asked for in the queue, watched there, its report opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.browser.app.visitor import Visit
from tests.server.live import Server, hole, photo

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("allowed") / "photos"
    for folder in ("in", "masks"):
        (root / folder).mkdir(parents=True)
    for i in range(3):
        Image.fromarray(photo(i)).save(root / "in" / f"{i}.png")
        Image.fromarray(hole()).save(root / "masks" / f"{i}.png")
    (root / "in" / "2.png").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def allowing(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server.started(tmp_path_factory.mktemp("data"), "--batch-root", str(photos)) as server:
        yield server


def test_a_folder_is_filled_from_the_page(allowing: Server, photos: Path, visit: Visit) -> None:
    visitor = visit(allowing)
    visitor.load()
    page = visitor.page
    page.keyboard.press("q")
    page.get_by_test_id("folder-open").click()
    form = page.get_by_test_id("folder")
    form.get_by_test_id("folder-in").select_option("photos/in")
    assert form.get_by_test_id("folder-out").input_value() == "photos/in-clean"
    form.get_by_test_id("folder-mask").fill("photos/nothing")
    form.get_by_test_id("folder-out").fill("photos/../elsewhere")
    with visitor.expecting("400"):
        form.get_by_test_id("folder-go").click()
        form.get_by_text("no place in a folder that was allowed").wait_for()
    form.get_by_test_id("folder-out").fill("photos/in-clean")
    form.get_by_test_id("folder-mask").fill("photos/masks")
    form.get_by_test_id("folder-go").click()
    form.wait_for(state="detached")
    row = page.get_by_test_id("queue-item")
    row.get_by_text("2 done, 1 failed").wait_for()
    assert row.get_by_text("Folder photos/in").count() == 1
    with page.context.expect_page() as opened:
        row.get_by_test_id("folder-report").click()
    report = opened.value
    report.wait_for_load_state()
    assert report.locator("h1").inner_text().endswith("in-clean")
    shown = report.locator("figure img")
    assert shown.count() == 4
    for each in shown.all():
        each.scroll_into_view_if_needed()
    loaded = "() => [...document.querySelectorAll('figure img')].every(e => e.complete && e.naturalWidth > 0)"
    report.wait_for_function(loaded, timeout=10_000)
    assert sorted(path.name for path in (photos / "in-clean").glob("*.png")) == ["0.png", "1.png"]


def test_a_server_that_allows_none_says_so(app: Server, visit: Visit) -> None:
    visitor = visit(app)
    visitor.load()
    visitor.page.keyboard.press("q")
    visitor.page.get_by_test_id("folder-open").click()
    visitor.page.get_by_text("--batch-root").wait_for()
