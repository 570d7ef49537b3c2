"""What goes in comes out bit for bit, through any chain of edits and another process; saving encodes once."""

from __future__ import annotations

import hashlib
import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from reknit.core import codec
from reknit.core.errors import ExternalError, InputError, NotFound
from reknit.core.geometry import Box, Size
from reknit.core.image import Photo
from reknit.jobs.blobs import Blobs
from reknit.pipeline.canvas import expand, plan_canvas
from reknit.server.pictures import Pictures

from .conftest import as_file, smooth

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def again(pictures: Pictures) -> Pictures:
    """Return the same pictures as another process would open them."""
    return Pictures(Blobs(pictures.blobs.root), pictures._folder)


def painted(photo: Photo, box: Box, rng: np.random.Generator) -> Photo:
    """Return a photo with noise in a box, in alpha too; grey stays grey."""
    pixels, alpha = photo.pixels.copy(), None if photo.alpha is None else photo.alpha.copy()
    top = np.iinfo(pixels.dtype).max
    grey = photo.origin is not None and photo.origin.grey
    noise = rng.integers(0, top, (*box.size.shape, 1 if grey else 3), pixels.dtype, endpoint=True)
    pixels[box.slices] = noise
    if alpha is not None:
        alpha[box.slices] = rng.integers(0, top, box.size.shape, alpha.dtype, endpoint=True)
    return photo.with_pixels(pixels, alpha)


def same(one: Photo, other: Photo) -> bool:
    origins = [replace(p.origin, pixels=None) if p.origin else None for p in (one, other)]
    return (
        np.array_equal(one.pixels, other.pixels)
        and one.pixels.dtype == other.pixels.dtype
        and (one.alpha is None) == (other.alpha is None)
        and (one.alpha is None or np.array_equal(one.alpha, other.alpha))
        and one.metadata == other.metadata
        and one.notes == other.notes
        and origins[0] == origins[1]
    )


def png16(array: np.ndarray) -> bytes:
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[array.shape[2]]
    return cv2.imencode(".png", np.ascontiguousarray(array[..., order]))[1].tobytes()


def files(rng: np.random.Generator) -> dict[str, bytes]:
    colour, wide = smooth(rng, 90, 70), rng.integers(0, 65536, (70, 90, 4), dtype=np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a picture"
    return {
        "jpeg": as_file(colour, "JPEG", quality=88, icc_profile=ICC, comment=b"by hand"),
        "turned jpeg": as_file(colour, "JPEG", quality=92, exif=exif.tobytes(), icc_profile=ICC),
        "grey jpeg": as_file(smooth(rng, 90, 70, 1), "JPEG"),
        "png": as_file(colour, icc_profile=ICC),
        "alpha png": as_file(np.dstack((colour, smooth(rng, 90, 70, 1)))),
        "grey png": as_file(smooth(rng, 90, 70, 1)),
        "16-bit png": png16(wide[..., :3]),
        "16-bit alpha png": png16(wide),
        "16-bit grey png": png16(wide[..., :1]),
        "webp": as_file(colour, "WEBP", quality=80),
        "tiff": as_file(colour, "TIFF", compression="tiff_lzw"),
        "gif": as_file(smooth(rng, 90, 70, 1), "GIF"),
        "avif": codec.encode(Photo(pixels=colour), container="avif").data,
    }


KINDS = tuple(files(np.random.default_rng(0)))


@pytest.mark.parametrize("kind", KINDS)
def test_an_upload_is_what_was_uploaded(kind: str, pictures: Pictures, rng: np.random.Generator) -> None:
    data = files(rng)[kind]
    picture = pictures.add(data, "holiday.jpg")
    assert picture.id == hashlib.sha256(data).hexdigest()
    told = picture.to_dict()
    turned = kind.startswith("turned")
    assert (told["width"], told["height"]) == ((70, 90) if turned else (90, 70))
    assert told["bits"] == (16 if "16" in kind else 8)
    assert told["alpha"] == ("alpha" in kind)
    assert told["grey"] == ("grey" in kind)
    assert told["container"] == (kind.split()[-1])
    assert (told["name"], told["bytes"], told["parent"], told["box"]) == (
        "holiday.jpg",
        len(data),
        None,
        None,
    )
    assert (told["original"], told["tile_px"], told["levels"]) == (picture.id, 512, 1)
    assert json.loads(json.dumps(told)) == told
    assert same(pictures.photo(picture.id), codec.decode(data, name="holiday.jpg"))
    assert pictures.encoded(picture.id).data == data
    assert again(pictures).info(picture.id) == picture
    assert pictures.needs(picture.id) == [picture.id]


@pytest.mark.parametrize("kind", KINDS)
def test_a_chain_of_edits_is_rebuilt_bit_for_bit(
    kind: str, pictures: Pictures, rng: np.random.Generator
) -> None:
    first = pictures.add(files(rng)[kind], "a.jpg")
    photo, at, chain = pictures.photo(first.id), first.id, []
    for box in (Box(x0=3, y0=5, x1=40, y1=31), Box(x0=30, y0=0, x1=70, y1=20), Box(x0=0, y0=0, x1=1, y1=1)):
        photo = painted(photo, box, rng)
        picture = pictures.derive(at, photo, box)
        assert (picture.parent, picture.original, picture.box) == (at, first.id, box)
        at = picture.id
        chain.append((picture, photo))
    larger, _ = expand(photo, plan_canvas(photo.size, left=13, top="50%", right=8))
    larger = painted(larger, Box(x0=0, y0=0, x1=13, y1=larger.size.height), rng)
    picture = pictures.derive(at, larger, Box.whole(larger.size), at=(13, photo.size.height // 2))
    chain.append((picture, larger))
    last = painted(larger, Box(x0=2, y0=2, x1=50, y1=60), rng)
    chain.append((pictures.derive(picture.id, last, Box(x0=2, y0=2, x1=50, y1=60)), last))
    for opened in (pictures, again(pictures)):
        for picture, photo in reversed(chain):
            assert same(opened.photo(picture.id), photo)
            assert opened.info(picture.id) == picture
    assert set(pictures.needs(chain[-1][0].id)) == set(pictures.blobs.digests())


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    sides=st.tuples(*[st.integers(0, 9)] * 4),
    seed=st.integers(0, 2**32 - 1),
    alpha=st.booleans(),
    blend=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_any_grown_canvas_is_rebuilt(
    tmp_path_factory: pytest.TempPathFactory,
    size: tuple[int, int],
    sides: tuple[int, int, int, int],
    seed: int,
    alpha: bool,
    blend: bool,
) -> None:
    folder = tmp_path_factory.mktemp("grown")
    pictures, rng = Pictures(Blobs(folder / "b"), folder / "p"), np.random.default_rng(seed)
    first = pictures.add(as_file(rng.integers(0, 256, (size[1], size[0], 4 if alpha else 3), np.uint8)))
    before = pictures.photo(first.id)
    left, top, right, bottom = sides
    full = Size(width=size[0] + left + right, height=size[1] + top + bottom)
    photo = Photo(
        pixels=rng.integers(0, 256, (*full.shape, 3), np.uint8),
        alpha=rng.integers(0, 256, full.shape, np.uint8) if alpha else None,
    )
    if not blend:  # the photo before stays as it was
        pixels, opacity = photo.pixels.copy(), None if photo.alpha is None else photo.alpha.copy()
        place = Box.whole(before.size).moved(left, top)
        pixels[place.slices] = before.pixels
        if opacity is not None and before.alpha is not None:
            opacity[place.slices] = before.alpha
        photo = photo.with_pixels(pixels, opacity)
    picture = pictures.derive(first.id, photo, Box.whole(full), at=(left, top))
    rebuilt = again(pictures).photo(picture.id)
    assert np.array_equal(rebuilt.to_numpy(), photo.to_numpy())
    png, box = pictures.patch(picture.id)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), photo.to_numpy()[box.slices])


def test_only_the_changed_box_is_stored(pictures: Pictures, rng: np.random.Generator) -> None:
    first = pictures.add(as_file(rng.integers(0, 256, (600, 800, 3), np.uint8)))
    before = sum(pictures.blobs.size(d) for d in pictures.blobs.digests())
    box = Box(x0=700, y0=500, x1=720, y1=520)
    picture = pictures.derive(first.id, painted(pictures.photo(first.id), box, rng), box)
    larger, _ = expand(pictures.photo(first.id), plan_canvas(Size(width=800, height=600), left=10, bottom=10))
    pictures.derive(first.id, larger, Box.whole(larger.size), at=(10, 0))
    assert sum(pictures.blobs.size(d) for d in pictures.blobs.digests()) - before < 40_000
    png, where = pictures.patch(picture.id)
    assert where == box
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(png))), pictures.photo(picture.id).pixels[box.slices]
    )


def test_a_patch_carries_the_profile(pictures: Pictures, rng: np.random.Generator) -> None:
    first = pictures.add(files(rng)["jpeg"])
    box = Box(x0=1, y0=1, x1=9, y1=9)
    picture = pictures.derive(first.id, painted(pictures.photo(first.id), box, rng), box)
    assert Image.open(io.BytesIO(pictures.patch(picture.id)[0])).info["icc_profile"] == ICC


def test_a_box_that_is_too_small_is_refused(pictures: Pictures, rng: np.random.Generator) -> None:
    first = pictures.add(files(rng)["alpha png"])
    photo = painted(pictures.photo(first.id), Box(x0=3, y0=3, x1=9, y1=9), rng)
    held = set(pictures.blobs.digests())
    for box in (Box(x0=4, y0=3, x1=9, y1=9), Box(x0=3, y0=3, x1=9, y1=8), Box(x0=0, y0=0, x1=91, y1=70)):
        with pytest.raises(ValueError, match=r"outside|must lie"):
            pictures.derive(first.id, photo, box)
    with pytest.raises(ValueError, match="depth"):
        pictures.derive(first.id, Photo(pixels=photo.pixels), Box.whole(photo.size))
    larger, _ = expand(photo, plan_canvas(photo.size, left=5))
    with pytest.raises(ValueError, match="outside"):
        pictures.derive(first.id, larger, Box(x0=0, y0=0, x1=4, y1=70), at=(5, 0))
    assert set(pictures.blobs.digests()) == held


@pytest.mark.parametrize("kind", ["jpeg", "turned jpeg", "grey jpeg"])
def test_an_edited_jpeg_is_encoded_once_from_the_original(
    kind: str, pictures: Pictures, rng: np.random.Generator
) -> None:
    data = files(rng)[kind]
    at = pictures.add(data).id
    source = codec.decode(data)
    for box in (Box(x0=20, y0=20, x1=30, y1=30), Box(x0=24, y0=24, x1=28, y1=36)):
        at = pictures.derive(at, painted(pictures.photo(at), box, rng), box).id
    encoded = again(pictures).encoded(at)
    out = codec.decode(encoded.data)
    assert 0.6 * encoded.total_blocks < encoded.carried_blocks < encoded.total_blocks
    far = np.ones(source.size.shape, bool)
    far[0:56, 0:56] = False
    assert np.array_equal(out.pixels[far], source.pixels[far])
    assert out.metadata == source.metadata
    assert Image.open(io.BytesIO(encoded.data)).getexif() == Image.open(io.BytesIO(data)).getexif()


def test_an_extended_jpeg_carries_its_blocks_too(pictures: Pictures, rng: np.random.Generator) -> None:
    data = as_file(smooth(rng, 96, 64), "JPEG", quality=90, subsampling=0)
    first = pictures.add(data)
    larger, _ = expand(pictures.photo(first.id), plan_canvas(Size(width=96, height=64), left=16, top=8))
    picture = pictures.derive(first.id, larger, Box.whole(larger.size), at=(16, 8))
    encoded = again(pictures).encoded(picture.id)
    assert encoded.carried_blocks >= 3 * 12 * 8
    assert np.array_equal(codec.decode(encoded.data).pixels[8:, 16:], codec.decode(data).pixels)


def test_other_formats_and_names(pictures: Pictures, rng: np.random.Generator) -> None:
    first = pictures.add(files(rng)["jpeg"], "C:\\fakepath\\my \u202egpj.day.JPG")
    box = Box(x0=0, y0=0, x1=9, y1=9)
    edit = pictures.derive(first.id, painted(pictures.photo(first.id), box, rng), box)
    assert pictures.filename(first.id) == "my gpj.day.JPG"
    assert pictures.filename(edit.id) == "my gpj.day-edited.JPG"
    assert pictures.filename(edit.id, "png") == "my gpj.day-edited.png"
    png = pictures.encoded(edit.id, "png")
    assert np.array_equal(codec.decode(png.data).pixels, pictures.photo(edit.id).pixels)
    assert pictures.encoded(edit.id, "jpeg", 30).carried_blocks == 0
    assert len(pictures.encoded(first.id, "jpeg", 30).data) < first.facts.bytes
    with pytest.raises(InputError, match="cannot be written"):
        pictures.encoded(edit.id, "gif")


def test_the_same_file_is_taken_up_once(pictures: Pictures, rng: np.random.Generator) -> None:
    data = files(rng)["png"]
    assert not pictures.known(hashlib.sha256(data).hexdigest())
    first = pictures.add(data, "one.png")
    assert pictures.known(first.id)
    assert pictures.add(data).facts.name == "one.png"
    assert pictures.add(data, "two.png").id == first.id
    assert again(pictures).info(first.id).facts.name == "two.png"
    assert len(set(pictures.blobs.digests())) == 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "image.unknown"),
        (b"<!doctype html><script>alert(1)</script>", "image.unknown"),
        (b"", "image.empty"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 50, "image.damaged"),
        (as_file(np.zeros((40, 40, 3), np.uint8))[:-30], "image.damaged"),
        (
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xc3\x50\0\0\xc3\x50\x08\x02\0\0\0" + b"\0" * 40,
            "image.too-large",
        ),
    ],
)
def test_what_is_no_picture_leaves_nothing_behind(pictures: Pictures, data: bytes, code: str) -> None:
    with pytest.raises(InputError) as caught:
        pictures.add(data, "a.png")
    assert caught.value.code == code
    assert not list(pictures.blobs.digests())
    with pytest.raises(NotFound):
        pictures.info(hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "0" * 63, "0" * 64, "A" * 64, "0" * 64 + "/.."])
def test_unknown_names_are_missing(pictures: Pictures, name: str) -> None:
    for ask in (pictures.info, pictures.photo, pictures.encoded, pictures.patch, pictures.needs):
        with pytest.raises(NotFound) as caught:
            ask(name)
        assert caught.value.code == "picture.missing"


def test_damage_on_disk_is_told(pictures: Pictures, rng: np.random.Generator) -> None:
    first = pictures.add(files(rng)["png"])
    box = Box(x0=0, y0=0, x1=30, y1=30)
    edit = pictures.derive(first.id, painted(pictures.photo(first.id), box, rng), box)
    for digest in pictures.needs(edit.id):
        path = pictures.blobs.path(digest)
        data = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(data[:-20] + b"x" + data[-19:])
        with pytest.raises((ExternalError, InputError)) as caught:
            again(pictures).photo(edit.id)
        assert caught.value.code in ("blob.corrupt", "picture.broken")
        path.write_bytes(data)
    again(pictures).photo(edit.id)
    pictures.blobs.delete(pictures.needs(edit.id)[1])
    with pytest.raises((ExternalError, NotFound)):
        again(pictures).photo(edit.id)


@pytest.mark.parametrize(
    "change",
    [
        {"box": [0, 0, 0, 5]},
        {"box": [0, 0, 500, 5]},
        {"box": [0, 0, 5]},
        {"box": "0055"},
        {"at": [-1, 0]},
        {"at": [80, 0]},
        {"parent": "../../etc/passwd"},
        {"patch": None},
        {"version": 2},
        {"facts": {"width": 10**9, "height": 10**9}},
        {"facts": {"width": "9"}},
        {"facts": {"notes": None}},
        {"box": [0, 0, 29, 30]},
    ],
)
def test_an_edit_that_makes_no_sense_is_refused(
    pictures: Pictures, rng: np.random.Generator, change: dict[str, object]
) -> None:
    first = pictures.add(files(rng)["png"])
    box = Box(x0=0, y0=0, x1=30, y1=30)
    edit = pictures.derive(first.id, painted(pictures.photo(first.id), box, rng), box)
    document = json.loads(pictures.blobs.read(edit.id))
    facts = change.get("facts")
    document.update(
        {**change, "facts": {**document["facts"], **facts}} if isinstance(facts, dict) else change
    )
    wrong = pictures.blobs.put(json.dumps(document, separators=(",", ":")).encode())
    with pytest.raises(ExternalError) as caught:
        pictures.photo(wrong)
    assert caught.value.code == "picture.broken"


def test_masks(pictures: Pictures, rng: np.random.Generator) -> None:
    plane = np.zeros((30, 40, 1), np.uint8)
    plane[5:9, 6:20] = 255
    mask = pictures.add(as_file(plane))
    size = Size(width=40, height=30)
    assert np.array_equal(pictures.mask(mask.id, size).fill, plane[..., 0] > 0)
    assert np.array_equal(pictures.mask(mask.id, size, invert=True).fill, plane[..., 0] == 0)
    with pytest.raises(InputError) as caught:
        pictures.mask(mask.id, Size(width=41, height=30))
    assert caught.value.code == "mask.size"
    with pytest.raises(InputError) as caught:
        pictures.mask(mask.id, size, mask_from="alpha")
    assert caught.value.code == "mask.no-alpha"
    rgba = pictures.add(as_file(np.dstack((np.repeat(plane, 3, 2), 255 - plane))))
    assert np.array_equal(pictures.mask(rgba.id, size, mask_from="alpha").fill, plane[..., 0] > 0)
    box = Box(x0=0, y0=0, x1=10, y1=10)
    white = pictures.photo(rgba.id).pixels.copy()
    white[box.slices] = 255
    edit = pictures.derive(
        rgba.id, pictures.photo(rgba.id).with_pixels(white, pictures.photo(rgba.id).alpha), box
    )
    assert pictures.mask(edit.id, size).fill[:10, :10].all()


def test_a_long_history_needs_no_deep_stack(pictures: Pictures) -> None:
    at = pictures.add(as_file(np.zeros((8, 8, 3), np.uint8))).id
    photo, box = pictures.photo(at), Box(x0=1, y0=1, x1=2, y1=2)
    for step in range(120):
        pixels = photo.pixels.copy()
        pixels[1, 1] = step % 255 + 1, step // 255, 0
        photo = photo.with_pixels(pixels)
        at = pictures.derive(at, photo, box).id
    assert same(again(pictures).photo(at), photo)
    assert len(pictures.needs(at)) == 241


def test_a_picture_asked_for_many_times_at_once_is_decoded_once(
    pictures: Pictures, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pictures.add(files(rng)["jpeg"])
    box = Box(x0=0, y0=0, x1=9, y1=9)
    edit = pictures.derive(first.id, painted(pictures.photo(first.id), box, rng), box)
    opened, seen = again(pictures), []
    decode = codec.decode
    monkeypatch.setattr(codec, "decode", lambda *a, **k: seen.append(1) or decode(*a, **k))
    with ThreadPoolExecutor(8) as pool:
        photos = list(pool.map(lambda _: opened.photo(edit.id), range(24)))
    assert len(seen) == 2  # the upload and the patch
    assert all(photo is photos[0] for photo in photos)


def test_memory_is_bounded(tmp_path: Path, rng: np.random.Generator) -> None:
    pictures = Pictures(Blobs(tmp_path / "b"), tmp_path / "p", cache_bytes=100_000)
    ids = [pictures.add(as_file(smooth(rng, 100 + i, 100))).id for i in range(6)]
    for name in ids:
        pictures.photo(name)
    assert pictures._photos.held <= 100_000
    assert pictures.photo(ids[-1]) is pictures.photo(ids[-1])


def test_facts_of_removed_uploads_are_tidied(pictures: Pictures, rng: np.random.Generator) -> None:
    keep, drop = pictures.add(files(rng)["png"]), pictures.add(files(rng)["jpeg"])
    pictures.blobs.delete(drop.id)
    assert pictures.tidy() == 1
    assert pictures.info(keep.id) == keep
    with pytest.raises(NotFound):
        pictures.info(drop.id)
