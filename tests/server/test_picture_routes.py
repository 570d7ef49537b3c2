"""Pictures over HTTP: upload once, ask in parts, keep for good; nothing a client sends becomes a path."""

from __future__ import annotations

import hashlib
import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from reknit.core.codec import Limits
from reknit.core.geometry import Box
from reknit.server import picture_routes
from reknit.server.pictures import Pictures

from .asgi import Client
from .conftest import as_file, smooth

IMAGES = "/api/v1/images"


@pytest.fixture
def photo_bytes(rng: np.random.Generator) -> bytes:
    return as_file(smooth(rng, 700, 520), "JPEG", quality=90)


@pytest.fixture
def uploaded(client: Client, photo_bytes: bytes) -> dict:
    return client.post(IMAGES, params={"name": "Urlaub ü.jpg"}, content=photo_bytes).json()


@pytest.fixture
def edited(pictures: Pictures, uploaded: dict, rng: np.random.Generator) -> dict:
    photo, box = pictures.photo(uploaded["id"]), Box(x0=20, y0=30, x1=60, y1=50)
    pixels = photo.pixels.copy()
    pixels[box.slices] = rng.integers(0, 256, (20, 40, 3), np.uint8)
    return pictures.derive(uploaded["id"], photo.with_pixels(pixels), box).to_dict()


def test_uploading_twice_gives_the_same_picture(client: Client, photo_bytes: bytes) -> None:
    first = client.post(IMAGES, params={"name": "a.jpg"}, content=photo_bytes)
    assert first.status_code == 201
    told = first.json()
    assert told["id"] == hashlib.sha256(photo_bytes).hexdigest()
    assert first.headers["location"] == f"{IMAGES}/{told['id']}"
    assert (told["width"], told["height"], told["name"], told["levels"]) == (700, 520, "a.jpg", 2)
    again = client.post(IMAGES, content=photo_bytes)
    assert (again.status_code, again.json()) == (200, told)
    assert client.get(first.headers["location"]).json() == told
    picture_routes.PictureOut.model_validate(told, strict=True)


def test_a_large_body_is_streamed_to_disk(
    client: Client, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_routes, "WRITE_BYTES", 5000)
    data = as_file(rng.integers(0, 256, (200, 300, 3), np.uint8))

    async def parts():
        yield data[:3]
        for at in range(3, len(data), 1777):
            yield data[at : at + 1777]

    answer = client.post(IMAGES, content=parts())
    assert answer.status_code == 201
    assert client.get(f"{IMAGES}/{answer.json()['id']}/file").content == data


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 400, "image.empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", 400, "image.unknown"),
        (b"<html><script>alert(1)</script></html>" * 100, 400, "image.unknown"),
        (b'{"reknit":"picture","version":1}', 400, "image.unknown"),
        (b"\xff\xd8\xff" + b"<script>" * 1000, 400, "image.samples"),
        (
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xc3\x50\0\0\xc3\x50\x08\x02\0\0\0" + b"\0" * 99,
            413,
            "image.too-large",
        ),
    ],
)
def test_what_is_no_picture_is_refused(
    client: Client, pictures: Pictures, data: bytes, status: int, code: str
) -> None:
    answer = client.post(IMAGES, params={"name": "<b>.png"}, content=data)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["hint"]
    assert not list(pictures.blobs.digests())
    assert not list((pictures.blobs.root / "incoming").glob("*"))


def test_too_many_bytes_are_refused_while_they_come(
    client: Client, pictures: Pictures, photo_bytes: bytes
) -> None:
    pictures.limits = Limits(max_bytes=5000)

    async def parts():
        yield photo_bytes[:3000]
        yield photo_bytes[3000:]

    answer = client.post(IMAGES, content=parts())
    assert (answer.status_code, answer.json()["code"]) == (413, "image.too-large")
    assert not list((pictures.blobs.root / "incoming").glob("*"))
    assert not list(pictures.blobs.digests())


def test_the_upload_is_downloaded_as_it_was(client: Client, uploaded: dict, photo_bytes: bytes) -> None:
    answer = client.get(f"{IMAGES}/{uploaded['id']}/file")
    assert answer.content == photo_bytes
    assert answer.headers["content-type"] == "image/jpeg"
    said = answer.headers["content-disposition"]
    assert said == "attachment; filename=\"Urlaub u.jpg\"; filename*=UTF-8''Urlaub%20%C3%BC.jpg"
    assert "immutable" in answer.headers["cache-control"]


def test_a_download_has_the_name_that_is_asked_for(client: Client, uploaded: dict) -> None:
    answer = client.get(f"{IMAGES}/{uploaded['id']}/file?format=png&name=../b/strand.jpg")
    assert 'filename="strand.png"' in answer.headers["content-disposition"]


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-9", 206, slice(0, 10)),
        ("bytes=100-", 206, slice(100, None)),
        ("bytes=-7", 206, slice(-7, None)),
        ("bytes=-99999999", 206, slice(None)),
        ("bytes=5-99999999", 206, slice(5, None)),
        ("bytes=99999999-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=9-5", 200, slice(None)),
        ("bytes=0-1,3-4", 200, slice(None)),
        ("bytes=-", 200, slice(None)),
        ("bytes=x-y", 200, slice(None)),
        ("lines=1-2", 200, slice(None)),
    ],
)
def test_ranges(
    client: Client, uploaded: dict, photo_bytes: bytes, asked: str, status: int, part: slice | None
) -> None:
    answer = client.get(f"{IMAGES}/{uploaded['id']}/file", headers={"Range": asked})
    assert answer.status_code == status
    size = len(photo_bytes)
    if part is None:
        assert answer.headers["content-range"] == f"bytes */{size}"
        return
    assert answer.content == photo_bytes[part]
    if status == 206:
        first, end, _ = part.indices(size)
        assert answer.headers["content-range"] == f"bytes {first}-{end - 1}/{size}"
    assert answer.headers["accept-ranges"] == "bytes"


def test_a_range_of_something_else_is_all(client: Client, uploaded: dict, photo_bytes: bytes) -> None:
    address = f"{IMAGES}/{uploaded['id']}/file"
    etag = client.get(address).headers["etag"]
    parts = {"Range": "bytes=0-9"}
    assert client.get(address, headers={**parts, "If-Range": etag}).status_code == 206
    assert client.get(address, headers={**parts, "If-Range": '"other"'}).content == photo_bytes


def test_what_the_client_has_is_not_sent_again(client: Client, uploaded: dict, edited: dict) -> None:
    seen = set()
    for name in (
        f"{uploaded['id']}/file",
        f"{uploaded['id']}/file?format=png",
        f"{uploaded['id']}/file?format=jpeg&quality=50",
        f"{edited['id']}/file",
        f"{edited['id']}/patch",
        f"{edited['id']}/thumbnail",
        f"{edited['id']}/thumbnail?size=64",
        f"{edited['id']}/tiles/0/1/1",
        f"{edited['id']}/tiles/1/0/0",
    ):
        answer = client.get(f"{IMAGES}/{name}")
        assert answer.status_code == 200, name
        etag = answer.headers["etag"]
        assert etag not in seen
        seen.add(etag)
        for known in (etag, f'"x", W/{etag}', "*"):
            again = client.get(f"{IMAGES}/{name}", headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        assert client.get(f"{IMAGES}/{name}", headers={"If-None-Match": '"x"'}).status_code == 200


def test_an_edit_is_downloaded_in_any_format(client: Client, edited: dict, pictures: Pictures) -> None:
    address = f"{IMAGES}/{edited['id']}/file"
    for kind, mime in (
        ("jpeg", "image/jpeg"),
        ("png", "image/png"),
        ("webp", "image/webp"),
        ("tiff", "image/tiff"),
    ):
        answer = client.get(address, params={"format": kind})
        assert answer.headers["content-type"] == mime
        assert (
            f"Urlaub u-edited.{ {'jpeg': 'jpg', 'tiff': 'tif'}.get(kind, kind) }"
            in answer.headers["content-disposition"]
        )
        assert Image.open(io.BytesIO(answer.content)).size == (700, 520)
    png = client.get(address, params={"format": "png"}).content
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), pictures.photo(edited["id"]).pixels)
    source = client.get(address).content
    parts = [
        client.get(address, headers={"Range": f"bytes={at}-{at + 9999}"})
        for at in range(0, len(source), 10_000)
    ]
    assert b"".join(part.content for part in parts) == source
    small = client.get(address, params={"quality": 20}).content
    assert len(small) < len(source) / 2


def test_the_patch_says_where_it_lies(
    client: Client, edited: dict, uploaded: dict, pictures: Pictures
) -> None:
    answer = client.get(f"{IMAGES}/{edited['id']}/patch")
    assert answer.headers["reknit-box"] == "20,30,60,50"
    assert answer.headers["content-type"] == "image/png"
    pixels = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert np.array_equal(pixels, pictures.photo(edited["id"]).pixels[30:50, 20:60])
    answer = client.get(f"{IMAGES}/{uploaded['id']}/patch")
    assert (answer.status_code, answer.json()["code"]) == (404, "picture.no-patch")


def test_tiles_and_thumbnails(client: Client, edited: dict, pictures: Pictures) -> None:
    tile = client.get(f"{IMAGES}/{edited['id']}/tiles/0/1/0")
    assert tile.headers["content-type"] == "image/jpeg"
    shown = np.asarray(Image.open(io.BytesIO(tile.content))).astype(int)
    assert np.abs(shown - pictures.photo(edited["id"]).pixels[:512, 512:]).mean() < 3
    thumbnail = client.get(f"{IMAGES}/{edited['id']}/thumbnail", params={"size": 100})
    assert Image.open(io.BytesIO(thumbnail.content)).size == (100, 74)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("0" * 64, 404),
        ("0" * 64 + "/file", 404),
        ("0" * 64 + "/tiles/0/0/0", 404),
        ("0" * 63, 400),
        ("0" * 65 + "/file", 400),
        ("A" * 64, 400),
        ("..%2f..%2fetc%2fpasswd", 404),
        ("../../etc/passwd", 404),
        ("%2e%2e/file", 400),
        ("incoming/file", 400),
        ("{id}/file?format=svg", 400),
        ("{id}/file?format=../x", 400),
        ("{id}/file?quality=0", 400),
        ("{id}/file?quality=x", 400),
        ("{id}/thumbnail?size=15", 400),
        ("{id}/thumbnail?size=1e3", 400),
        ("{id}/thumbnail?size=99999999999999999999", 400),
        ("{id}/tiles/9/0/0", 404),
        ("{id}/tiles/0/2/0", 404),
        ("{id}/tiles/-1/0/0", 400),
        ("{id}/tiles/0/0/x", 400),
    ],
)
def test_wrong_addresses(client: Client, uploaded: dict, name: str, status: int) -> None:
    answer = client.get(f"{IMAGES}/{name.replace('{id}', uploaded['id'])}")
    assert answer.status_code == status, answer.text


def test_damage_on_disk_is_told(client: Client, uploaded: dict, pictures: Pictures) -> None:
    path = pictures.blobs.path(uploaded["id"])
    path.write_bytes(path.read_bytes()[:-5] + b"12345")
    answer = client.get(f"{IMAGES}/{uploaded['id']}/file")
    assert (answer.status_code, answer.json()["code"]) == (500, "blob.corrupt")


def test_a_name_is_only_shown(client: Client, photo_bytes: bytes, rooms: SimpleNamespace) -> None:
    name = '../../<script>alert(1)</script>"\r\nX-Evil: 1\u202e.jpg'
    told = client.post(IMAGES, params={"name": name}, content=photo_bytes).json()
    assert told["name"] == "script__X-Evil_ 1.jpg"
    answer = client.get(f"{IMAGES}/{told['id']}/file")
    assert "x-evil" not in answer.headers
    files = {path.name for path in rooms.pictures.blobs.root.parent.rglob("*") if path.is_file()}
    assert files == {told["id"], f"{told['id']}.json"}
