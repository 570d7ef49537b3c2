"""What the page costs: bytes and time of a first visit, and the frames of a stroke on a large photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.browser.app import photos
from tests.browser.app.visitor import Visitor

TIMES = """() => ({
  paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime,
  entries: [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
    .map((entry) => entry.transferSize),
})"""
WATCH_FRAMES = """() => {
  const real = window.requestAnimationFrame.bind(window);
  window.spent = [];
  window.requestAnimationFrame = (act) => real((now) => {
    const begun = performance.now();
    act(now);
    window.spent.push(performance.now() - begun);
  });
}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """A first visit with an empty cache, until the page is ready and idle.

    Attributes
    ----------
    transferred : float
        Bytes with headers: the browser's own ``transferSize``, or what came over the wire where that is more.
    """

    paint_ms: float
    ready_ms: float
    transferred: float
    requests: int


def first_visit(visitor: Visitor) -> First:
    """Load the page and let it come to rest."""
    wire: list[float] = []
    session = visitor.page.context.new_cdp_session(visitor.page)
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: wire.append(event["encodedDataLength"]))
    visitor.load()
    ready = visitor.page.evaluate("performance.now()")
    visitor.page.wait_for_timeout(300)
    visitor.still()
    facts = visitor.page.evaluate(TIMES)
    return First(
        paint_ms=facts["paint"],
        ready_ms=ready,
        transferred=max(sum(facts["entries"]), sum(wire)),
        requests=len(facts["entries"]),
    )


def large_photo(visitor: Visitor) -> None:
    """Open a photo of 24 megapixels on a page that notes what its frames cost."""
    visitor.page.add_init_script(f"({WATCH_FRAMES})()")
    visitor.load()
    small = photos.scene((1500, 1000))
    visitor.open(photos.jpeg(np.kron(small, np.ones((4, 4, 1), np.uint8))), "large.jpg")
    visitor.page.wait_for_timeout(1000)


def stroke(visitor: Visitor, size: int) -> NDArray[np.float64]:
    """Draw a stroke across a large photo, take it away, and return what its frames cost, ms."""
    visitor.brush(size)
    visitor.page.evaluate("window.spent.length = 0")
    points = [visitor.at(*point) for point in ((1000, 800), (4800, 1500), (2500, 3200), (5000, 3500))]
    visitor.drag(*points, steps=25)
    visitor.still()
    spent = visitor.page.evaluate("window.spent")
    visitor.get("canvas").focus()
    visitor.keys("Delete")
    visitor.still()
    return np.array(spent)
