"""One Chromium and one server for all browser tests; without a Chromium they are skipped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.app.visitor import LAPTOP, Visit, Visitor, patient
from tests.browser.canvas import served
from tests.browser.canvas.tab import SIZE, Canvas, fresh
from tests.browser.fake import FakeServer
from tests.browser.shell import AWAY, Shell
from tests.server.live import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Yield the system's Chromium; its event loop is gone before the tests of other packages begin."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium is installed")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield `reknit serve`, with the plug-in engine that takes its time."""
    data = tmp_path_factory.mktemp("app")
    with Server.started(data, **patient(data)) as server:
        yield server


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Visit]:
    """Yield a function that opens a page of a server; no page may have found a fault when the test ends."""
    contexts: list[BrowserContext] = []
    visitors: list[Visitor] = []

    def visit(server: Server, *, beside: Visitor | None = None, **how: Any) -> Visitor:
        if beside is None:
            contexts.append(chromium.new_context(**{"viewport": LAPTOP, "reduced_motion": "reduce", **how}))
            context = contexts[-1]
        else:
            context = beside.page.context
        visitors.append(Visitor(context.new_page(), server))
        return visitors[-1]

    yield visit
    faults = [fault for visitor in visitors for fault in visitor.faults]
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def visitor(app: Server, visit: Visit) -> Visitor:
    """Return somebody with the page before them."""
    visitor = visit(app)
    visitor.load()
    return visitor


@pytest.fixture(scope="package")
def address() -> Iterator[str]:
    with served() as url:
        yield url


@pytest.fixture(scope="package")
def tab(chromium: Browser) -> Iterator[Canvas]:
    context = chromium.new_context(viewport=SIZE)
    yield Canvas(context.new_page())
    context.close()


@pytest.fixture
def canvas(tab: Canvas, address: str) -> Iterator[Canvas]:
    tab.page.set_viewport_size(SIZE)
    yield from fresh(tab, address)


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
