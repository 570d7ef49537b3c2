"""Measure what docs/app.md says of the page's cost: first paint, bytes of the first visit, frames of a stroke.

Run ``python -m docs.measure_page [VISITS]`` in the repository, with ``reknit[test]`` and a Chromium installed, on a
machine that does nothing else.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, sync_playwright
from tests.browser.app.costs import First, first_visit, large_photo, stroke
from tests.browser.app.visitor import LAPTOP, Visitor
from tests.server.live import Server

VISITS = 11
STROKES = 4
BRUSHES = (60, 120, 1000)


def visits(browser: Browser, server: Server, count: int) -> list[First]:
    """Visit with an empty cache, again and again; the first visit, when the server is cold, is left out."""
    found: list[First] = []
    for _ in range(count + 1):
        context = browser.new_context(viewport=LAPTOP)
        found.append(first_visit(Visitor(context.new_page(), server)))
        context.close()
    return found[1:]


def tell(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(count: int) -> None:
    """Measure, and print a line for each figure."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    with (
        tempfile.TemporaryDirectory() as folder,
        Server.started(Path(folder)) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        found = visits(browser, server, count)
        paints = [first.paint_ms for first in found]
        tell(
            f"first paint: {np.median(paints):.0f} ms median, {min(paints):.0f} to {max(paints):.0f}, {count} visits"
        )
        tell(f"ready to use: {np.median([first.ready_ms for first in found]):.0f} ms median")
        tell(f"transferred: {found[0].transferred:.0f} bytes, headers included, {found[0].requests} answers")
        visitor = Visitor(browser.new_context(viewport=LAPTOP).new_page(), server)
        large_photo(visitor)
        for size in BRUSHES:
            frames = np.concatenate([stroke(visitor, size) for _ in range(STROKES)])
            tell(
                f"a brush of {size} px on 24 megapixels: {np.percentile(frames, 95):.1f} ms p95, {len(frames)} frames"
            )
        browser.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else VISITS)
