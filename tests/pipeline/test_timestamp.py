"""Dates printed into a corner are found, and nothing else is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from examples import scenes
from reknit.core.errors import InputError
from reknit.core.image import Photo
from reknit.pipeline.timestamp import find_timestamp

AMBER, WHITE, RED = (255, 150, 40), (250, 250, 245), (230, 60, 40)


def scene(name: str, width: int = 1200, height: int = 900) -> np.ndarray:
    return scenes.render(name, width, height, 3)


def stamped(pixels: np.ndarray, text: str, colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture with a date in its lower right corner, and where the date is."""
    height, width = pixels.shape[:2]
    size = height / 900
    ink = np.zeros((height, width), np.uint8)
    at = (int(width - 330 * size), int(height - 40 * size))
    cv2.putText(ink, text, at, cv2.FONT_HERSHEY_DUPLEX, 1.2 * size, 255, max(1, round(3 * size)), cv2.LINE_AA)
    share = ink[..., None].astype(np.float32) / 255
    return np.rint(pixels * (1 - share) + np.array(colour) * share).astype(np.uint8), ink > 60


@pytest.mark.parametrize("colour", [AMBER, WHITE, RED])
@pytest.mark.parametrize("name", ["beach", "lake", "meadow"])
def test_a_date_is_found(name: str, colour: tuple[int, int, int]) -> None:
    pixels, ink = stamped(scene(name), "12 24 '98", colour)
    fill = find_timestamp(Photo.from_array(pixels)).fill
    assert (fill & ink).sum() > 0.93 * ink.sum()
    assert fill.sum() < 6 * ink.sum()


def test_size_and_depth_do_not_matter() -> None:
    small, ink = stamped(scene("meadow", 640, 480), "2003 7 5", AMBER)
    deep = Photo.from_array(small.astype(np.uint16) * 257)
    assert (find_timestamp(deep).fill & ink).sum() > 0.9 * ink.sum()
    large, ink = stamped(scene("meadow", 3200, 2400), "2003 7 5", AMBER)
    assert (find_timestamp(Photo.from_array(large)).fill & ink).sum() > 0.9 * ink.sum()


# The windows of "facade" are a row of lights of one height: they are mistaken for digits, as docs/batch.md says.
@pytest.mark.parametrize("name", sorted(set(scenes.SCENES) - {"facade"}))
def test_a_picture_without_a_date_stays_as_it_is(name: str) -> None:
    assert find_timestamp(Photo.from_array(scene(name, 600, 450))).area < 0.002 * 600 * 450


def test_other_corners() -> None:
    pixels, ink = stamped(scene("meadow"), "12 24 '98", AMBER)
    turned = np.ascontiguousarray(pixels[::-1, ::-1])
    found = find_timestamp(Photo.from_array(turned), corner="top-left").fill[::-1, ::-1]
    assert (found & ink).sum() > 0.9 * ink.sum()
    assert find_timestamp(Photo.from_array(turned), corner="bottom-left").area == 0
    with pytest.raises(InputError):
        find_timestamp(Photo.from_array(turned), corner="middle")
