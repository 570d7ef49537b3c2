"""What the page costs in a real browser: bytes, the first paint, and the frames of a stroke."""

from __future__ import annotations

import numpy as np
import pytest

from tests.browser.app.costs import first_visit, large_photo, stroke
from tests.browser.app.visitor import Visit
from tests.patience import quick
from tests.server.live import Server
from tests.test_house_rules import machine_factor

pytestmark = pytest.mark.browser
TRANSFER_BYTES = 100_000
FIRST_PAINT_MS = 200
FRAME_MS = 8
TRIES = 8


def test_the_first_visit_is_light_and_paints_at_once(app: Server, visit: Visit) -> None:
    limit = FIRST_PAINT_MS * machine_factor()
    sizes: list[float] = []

    def paint() -> float:
        visitor = visit(app)
        first = first_visit(visitor)
        sizes.append(first.transferred)
        visitor.page.close()
        return first.paint_ms

    quick(limit, paint, TRIES)
    assert min(sizes) > 50_000
    assert max(sizes) < TRANSFER_BYTES


@pytest.mark.parametrize("size", [120, 1000])
def test_a_stroke_on_24_megapixels_keeps_to_its_frames(app: Server, visit: Visit, size: int) -> None:
    visitor = visit(app)
    large_photo(visitor)
    limit = FRAME_MS * machine_factor()

    def cost() -> float:
        spent = stroke(visitor, size)
        assert len(spent) > 20
        return float(np.percentile(spent, 95))

    quick(limit, cost, TRIES)
