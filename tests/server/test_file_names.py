"""Names of files are data: cleaned when they come in, and quoted when they go out."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reknit.server.file_names import clean_name, content_disposition, name_for


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("a.jpg", "a.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\fakepath\\a.jpg", "a.jpg"),
        ("..", ""),
        ("a\0\r\nX: y.jpg", "aX_ y.jpg"),
        ("urlaub \u202egpj.exe", "urlaub gpj.exe"),
        ("Straße 你好.png", "Straße 你好.png"),
        ('<img src="x">.png', "_img src=_x__.png"),
        ("\ud800a.png", "a.png"),
        (" .a. ", "a"),
    ],
)
def test_cleaning(given_name: str, kept: str) -> None:
    assert clean_name(given_name) == kept


@given(st.text(max_size=400))
def test_any_name_is_safe_and_clean_once(name: str) -> None:
    kept = clean_name(name)
    assert len(kept) <= 120
    assert not re.search(r'[\x00-\x1f\x7f/\\<>:"|?*]', kept)
    assert clean_name(kept) == kept
    header = content_disposition(name_for(kept, "jpeg", edited=True))
    assert re.fullmatch(
        r"attachment; filename=\"[\w .()+,=@~-]+\"; filename\*=UTF-8''[\w.~%-]+", header, re.ASCII
    )
    assert unquote(header.rpartition("''")[2]) == name_for(kept, "jpeg", edited=True)


@pytest.mark.parametrize(
    ("name", "container", "edited", "expected"),
    [
        ("a.JPG", "jpeg", False, "a.JPG"),
        ("a.jpeg", "jpeg", True, "a-edited.jpeg"),
        ("a.jpg", "png", True, "a-edited.png"),
        ("scan.2020", "tiff", False, "scan.2020.tif"),
        ("", "webp", False, "picture.webp"),
        (".png", "png", False, "picture.png"),
        ("photo.heic", "png", True, "photo-edited.png"),
    ],
)
def test_download_names(name: str, container: str, edited: bool, expected: str) -> None:
    assert name_for(name, container, edited=edited) == expected


def test_the_plain_name_is_readable() -> None:
    assert 'filename="Strae.jpg"' in content_disposition("Straße.jpg")
    assert 'filename="picture.jpg"' in content_disposition("你好.jpg")
