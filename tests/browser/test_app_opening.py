"""Photos come in, in every format and from everywhere, and go out with nothing changed but the mask."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.browser.app import photos
from tests.browser.app.photos import MARKS, SIZE
from tests.browser.app.visitor import Visitor

pytestmark = pytest.mark.browser
Mask = NDArray[np.bool_]


def ring(mask: Mask, px: float) -> Mask:
    """Return a mask grown by ``px``."""
    side = 2 * int(np.ceil(px)) + 1
    return cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0


def coded_blocks(mask: Mask) -> Mask:
    """Return the 16 px blocks that a mask touches, and the pixel beside them that chroma is smoothed with."""
    height, width = mask.shape
    whole = np.zeros((-(-height // 16) * 16, -(-width // 16) * 16), bool)
    whole[:height, :width] = mask
    touched = whole.reshape(whole.shape[0] // 16, 16, -1, 16).any(axis=(1, 3))
    return ring(np.kron(touched, np.ones((16, 16), bool))[:height, :width], 2)


def reach(job: dict[str, Any]) -> float:
    """Return how far from the mask a result may differ, px."""
    plan = job["result"]["plan"]
    return plan["grow_px"] + plan["feather_px"] + 1


def check_only_the_mask_changed(before: NDArray[Any], after: NDArray[Any], mask: Mask, px: float) -> None:
    assert after.shape == before.shape
    assert after.dtype == before.dtype
    off = np.abs(after.astype(int) - before.astype(int)).max(axis=2)
    assert off[~ring(mask, px)].max() == 0
    assert (off[mask] > 0).mean() > 0.5


def test_a_dropped_png_comes_back_with_only_the_mask_changed(visitor: Visitor) -> None:
    given = photos.png(photos.scene())
    visitor.drop(given, "garden.png", "image/png")
    visitor.paint((200, 150), (260, 170))
    job = visitor.fill()
    assert job["result"]["report"]["outside_equal"]
    assert visitor.get("variations").get_by_text("All else unchanged").is_visible()
    data, name = visitor.download()
    assert name.startswith("garden")
    assert name.endswith(".png")
    check_only_the_mask_changed(photos.read(given), photos.read(data), visitor.filled(job), reach(job))
    picture = Image.open(io.BytesIO(data))
    assert picture.info["icc_profile"] == photos.profile()
    assert picture.info["Author"] == photos.ARTIST
    assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_a_jpeg_comes_back_as_a_jpeg_with_its_metadata_and_untouched_blocks(visitor: Visitor) -> None:
    given = photos.jpeg(photos.scene())
    visitor.open(given, "garden.jpg")
    visitor.paint((200, 150), (260, 170))
    job = visitor.fill()
    data, name = visitor.download()
    assert name.endswith(".jpg")
    before, after = photos.read(given), photos.read(data)
    mask = visitor.filled(job)
    touched = coded_blocks(ring(mask, reach(job)))
    assert touched.mean() < 0.2
    assert (after[~touched] == before[~touched]).all()
    assert np.abs(after[mask].astype(int) - before[mask]).mean() > 2
    picture, original = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(given))
    assert picture.format == "JPEG"
    assert picture.info["exif"] == original.info["exif"]
    assert picture.info["icc_profile"] == original.info["icc_profile"]
    assert picture.info["dpi"] == (240, 240)


def test_sixteen_bits_stay_sixteen_bits(visitor: Visitor) -> None:
    rng = np.random.default_rng(1)
    deep = photos.scene().astype(np.uint16) * 256 + rng.integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint16)
    given = photos.png(deep)
    visitor.open(given, "deep.png")
    assert "16 bit" in visitor.text("document-facts")
    visitor.paint((200, 150), (260, 170))
    job = visitor.fill()
    data, _ = visitor.download()
    after = photos.read(data)
    assert after.dtype == np.uint16
    check_only_the_mask_changed(deep, after, visitor.filled(job), reach(job))
    as_jpeg, name = visitor.download("download-more", "download-jpeg")
    assert name.endswith(".jpg")
    assert Image.open(io.BytesIO(as_jpeg)).format == "JPEG"


SLOW = pytest.mark.slow


@pytest.mark.parametrize("kind", ["TIFF", pytest.param("AVIF", marks=SLOW), pytest.param("WEBP", marks=SLOW)])
def test_formats_that_browsers_may_not_know_are_shown(visitor: Visitor, kind: str) -> None:
    file = io.BytesIO()
    Image.fromarray(photos.marked()).save(file, kind)
    visitor.open(file.getvalue(), f"garden.{kind.lower()}")
    a, b = visitor.marks()
    assert b[0] - a[0] == pytest.approx((MARKS[1][0] - MARKS[0][0]) * (b[1] - a[1]) / 120, rel=0.02)


def test_what_is_no_picture_is_refused_in_words(visitor: Visitor) -> None:
    with visitor.expecting(r"\b4\d\d\b"):
        visitor.get("file-input").set_input_files(
            {
                "name": "evil.svg",
                "mimeType": "image/svg+xml",
                "buffer": b"<svg><script>alert(1)</script></svg>",
            }
        )
        visitor.get("error").wait_for()
    assert visitor.page.locator("body.is-empty").count() == 1


# --- from elsewhere ----------------------------------------------------------------------------------------


def test_a_heic_photo_is_opened_painted_and_downloaded(visitor: Visitor) -> None:
    pytest.importorskip("pi_heif", reason="reknit[heic] is not installed")
    visitor.open((Path(__file__).parent / "app" / "marked.heic").read_bytes(), "phone.heic")
    assert visitor.size == SIZE
    visitor.marks()
    visitor.paint((200, 150), (260, 170))
    job = visitor.fill()
    data, name = visitor.download()
    assert name.endswith(".png")  # HEIC is read, not written
    before = photos.read(visitor.download("download-more", "download-png")[0])
    after = photos.read(data)
    assert (after == before).all()
    assert after.shape[:2] == SIZE[::-1]
    visitor.keys("Control+z")
    original = photos.read(visitor.download("download-more", "download-png")[0])
    check_only_the_mask_changed(original, after, visitor.filled(job), reach(job))


def test_fifty_megapixels_are_opened_painted_and_downloaded(visitor: Visitor) -> None:
    small = photos.scene((1640, 1250))
    given = photos.jpeg(np.kron(small, np.ones((5, 5, 1), np.uint8)))
    visitor.open(given, "huge.jpg")
    assert visitor.size == (8200, 6250)
    visitor.brush(60)
    visitor.paint((3000, 3000), (3200, 3100))
    job = visitor.fill()
    assert job["result"]["report"]["outside_equal"]
    data, name = visitor.download()
    assert name.endswith(".jpg")
    before, after = photos.read(given), photos.read(data)
    assert after.shape == before.shape
    touched = coded_blocks(ring(visitor.filled(job), reach(job)))
    differs = (after != before).any(axis=2)
    assert not (differs & ~touched).any()
    assert differs.any()


def test_a_file_is_dragged_in_from_another_window(visitor: Visitor, tmp_path: Path) -> None:
    """The browser itself is told of the drag, as the system tells it; the page sees trusted events."""
    given = photos.png(photos.scene())
    file = tmp_path / "dragged.png"
    file.write_bytes(given)
    session = visitor.page.context.new_cdp_session(visitor.page)
    data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 500, "y": 400, "data": data})
        visitor.page.locator("#dropping").wait_for(state="hidden" if kind == "drop" else "visible")
    visitor.opened("dragged.png")
    assert visitor.download()[0] == given


def test_a_picture_is_dragged_in_from_another_tab(visitor: Visitor) -> None:
    """What is dragged out of another tab of the page may be no more than an address."""
    picture = visitor.server.upload(photos.png(photos.scene()), name="there.png")["id"]
    link = f"{visitor.server.address.rstrip('/')}{visitor.server.url(f'images/{picture}/file')}"
    session = visitor.page.context.new_cdp_session(visitor.page)
    data = {"items": [{"mimeType": "text/uri-list", "data": link}], "files": [], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 500, "y": 400, "data": data})
    visitor.opened("file")
    assert visitor.size == SIZE
