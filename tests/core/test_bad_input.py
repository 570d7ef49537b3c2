"""Whatever a file holds, reading it gives a photo or a typed error with a hint; nothing else, nothing written."""

import errno
import io
import os
import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from reknit.core import codec
from reknit.core.errors import ExternalError, InputError, NotFound, ReknitError

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
FORMS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF", "avif": "AVIF", "gif": "GIF"}


def saved(form, **options):
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, form, **options)
    return out.getvalue()


def tiff(array, **options):
    out = io.BytesIO()
    tifffile.imwrite(out, array, **options)
    return out.getvalue()


def png(width, height, *, body=b"", kind=2, depth=8):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(body))
        + chunk(b"IEND", b"")
    )


def jpeg_with_size(width, height):
    data = bytearray(saved("JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_with_size(width, height):
    body = (
        struct.pack("<B3xI", 0, 0)[:4] + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    )
    chunk = b"VP8X" + struct.pack("<I", 10) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def corpus():
    """Name → (bytes, expected code)."""
    files = {
        "empty.png": (b"", "image.empty"),
        "one-byte.jpg": (b"\xff", "image.unknown"),
        "text.jpg": (b"this is a text file\n" * 20, "image.unknown"),
        "page.png": (b"<!doctype html><html></html>", "image.unknown"),
        "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image.unknown"),
        "entity.svg": (
            b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>",
            "image.unknown",
        ),
        "paper.pdf": (b"%PDF-1.7\n%\xe2\xe3", "image.unknown"),
        "layers.psd": (b"8BPS\0\1" + b"\0" * 30, "image.unknown"),
        "picture.bmp": (saved("BMP"), "image.unknown"),
        "picture.ppm": (saved("PPM"), "image.unknown"),
        "picture.ico": (saved("ICO"), "image.unknown"),
        "archive.zip": (b"PK\x03\x04" + b"\0" * 40, "image.unknown"),
        "program.png": (b"\x7fELF" + b"\0" * 40, "image.unknown"),
        "zeros.png": (b"\0" * 4096, "image.unknown"),
        "noise.png": (np.random.default_rng(1).bytes(4096), "image.unknown"),
        "vips.v": (b"\x08\xf2\xa6\xb6" + b"\0" * 100, "image.unknown"),
        "matrix.mat": (b"2 2\n1 2\n3 4\n", "image.unknown"),
        "film.mp4": (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "image.unknown"),
        "float.tif": (tiff(np.zeros((4, 4, 3), np.float32), photometric="rgb"), "image.samples"),
        "double.tif": (tiff(np.zeros((4, 4))), "image.samples"),
        "wide.tif": (tiff(np.zeros((4, 4), np.uint32)), "image.samples"),
        "signed.tif": (tiff(np.zeros((4, 4), np.int16)), "image.samples"),
        "lab8.tif": (tiff(PIXELS, photometric="cielab"), "image.samples"),
        "five.tif": (
            tiff(
                np.zeros((9, 7, 5), np.uint8), photometric="rgb", planarconfig="contig", extrasamples=[2, 0]
            ),
            "image.samples",
        ),
        "loop.tif": (b"II*\0\x08\0\0\0\1\0\x69\x87\4\0\1\0\0\0\x08\0\0\0\x08\0\0\0", "image.damaged"),
        "far.tif": (b"II*\0\xff\xff\xff\x7f", "image.damaged"),
        "bomb.png": (png(60_000, 60_000, body=b"\0" * 1000), "image.too-large"),
        "wide-bomb.png": (png(2_000_000_000, 1), "image.too-large"),
        "tall-bomb.png": (png(1, 150_000), "image.too-large"),
        "bomb.jpg": (jpeg_with_size(65_500, 65_500), "image.too-large"),
        "side.jpg": (jpeg_with_size(65_535, 48), "image.too-large"),
        "no-pixels.png": (png(0, 10), "image.damaged"),
        "short-data.png": (png(64, 64, body=b"\0" * 50), "image.damaged"),
        "bad-zlib.png": (png(64, 64).replace(b"\x78\x9c", b"\x00\x00"), "image.damaged"),
        "header.webp": (webp_with_size(100, 100), "image.damaged"),
        "bomb.webp": (webp_with_size(16_383 * 4, 16_383 * 4), None),
        "riff.webp": (b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff", "image.damaged"),
        "box.avif": (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\0\0\0\x08meta", "image.damaged"),
        "box.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image.damaged"),
        "nothing.gif": (b"GIF89a\x10\0\x10\0\0\0\0;", "image.damaged"),
        "soi.jpg": (b"\xff\xd8\xff\xd9", "image.damaged"),
        "tables.jpg": (saved("JPEG")[:200], "image.damaged"),
    }
    for suffix, form in FORMS.items():
        whole = saved(form)
        files[f"half.{suffix}"] = (whole[: len(whole) // 2], "image.damaged")
        files[f"magic.{suffix}"] = (whole[:16], "image.damaged")
        middle = bytearray(whole)
        middle[len(whole) // 3 : len(whole) // 3 + 40] = b"\xff" * 40
        files[f"scratched.{suffix}"] = (bytes(middle), None)
    return files


CORPUS = corpus()


def test_the_corpus_is_large_enough():
    assert len(CORPUS) >= 55


@pytest.mark.parametrize("name", CORPUS)
def test_bad_files_are_typed_errors_with_hints(name, tmp_path):
    data, code = CORPUS[name]
    path = tmp_path / name
    path.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        photo = codec.read(path)
    except ReknitError as error:
        assert code is None or error.code == code, error
        assert error.code in {
            "image.empty",
            "image.unknown",
            "image.too-large",
            "image.damaged",
            "image.samples",
        }
        assert error.hint and name in error.message
        assert isinstance(error, InputError) and error.exit_status == 2
    else:  # a scratched file may still decode whole
        assert code is None and photo.pixels.size
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    )  # KiB: nothing was taken up front
    assert path.read_bytes() == data
    assert os.listdir(tmp_path) == [name]  # noqa: PTH208


@pytest.mark.parametrize("suffix", FORMS)
def test_cut_anywhere_is_an_error_not_half_a_picture(suffix):
    whole = saved(FORMS[suffix])
    whole_photo = codec.decode(whole)
    tail = 12 if suffix in ("png", "gif") else 0  # the end marker behind complete pixels may be missing
    for cut in np.linspace(0, len(whole) - 1 - tail, 25).astype(int):
        try:
            photo = codec.decode(whole[:cut])
        except InputError:
            continue
        np.testing.assert_array_equal(photo.pixels, whole_photo.pixels, err_msg=f"cut at {cut}")


@pytest.mark.parametrize("suffix", FORMS)
def test_scrambled_bytes_never_crash(suffix):
    rng = np.random.default_rng(len(suffix))
    whole = saved(FORMS[suffix])
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 4):
            data[at] = rng.integers(0, 256)
        try:
            photo = codec.decode(bytes(data))
            codec.encode(photo)
        except ReknitError as error:
            assert error.hint


def test_paths_that_are_no_files(tmp_path):
    with pytest.raises(NotFound) as caught:
        codec.read(tmp_path / "none.png")
    assert caught.value.code == "file.missing" and caught.value.hint
    with pytest.raises(NotFound):
        codec.read(tmp_path / "none" / "none.png")
    with pytest.raises(InputError) as caught:
        codec.read(tmp_path)
    assert caught.value.code == "file.directory"
    with pytest.raises(InputError):
        codec.read("nul\0byte.png")


def test_an_unreadable_file(tmp_path, monkeypatch):
    path = tmp_path / "secret.png"
    path.write_bytes(saved("PNG"))

    def refuse(*_args, **_options):  # root, who may run the tests, reads every file
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ExternalError) as caught:
        codec.read(path)
    assert caught.value.code == "file.unreadable" and caught.value.exit_status == 4 and caught.value.hint


def test_limits_of_bytes_are_checked_before_reading(tmp_path):
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.truncate(3_000_000_000)
    with pytest.raises(InputError) as caught:
        codec.read(path)
    assert caught.value.code == "image.too-large"
    with pytest.raises(InputError):
        codec.decode(saved("PNG"), limits=codec.Limits(max_bytes=100))
    with pytest.raises(InputError):
        codec.decode(saved("PNG"), limits=codec.Limits(max_side=63))
    assert codec.decode(saved("PNG"), limits=codec.Limits(max_side=64)).size.width == 64


@pytest.mark.parametrize("size", [(1, 1), (65_500, 1), (1, 65_500)])
@pytest.mark.parametrize("container", ["png", "jpeg", "tiff"])
def test_extreme_but_sound_sizes_are_read_and_written(size, container):
    width, height = size
    data = codec.encode(
        codec.decode(png(width, height, body=b"\0" * (height * (1 + 3 * width)))), container=container
    )
    assert codec.decode(data.data).pixels.shape == (height, width, 3)


@pytest.mark.parametrize(("container", "side"), [("webp", 16_384), ("jpeg", 65_535), ("avif", 65_537)])
def test_sides_beyond_a_container_are_refused(container, side):
    photo = codec.decode(png(side, 1, body=b"\0" * (1 + 3 * side)))
    with pytest.raises(InputError) as caught:
        codec.encode(photo, container=container)
    assert caught.value.code == "image.too-large" and "PNG" in caught.value.hint


@pytest.mark.parametrize(
    "options", [{"container": "bmp"}, {"container": "heic"}, {"quality": 0}, {"quality": 101}]
)
def test_bad_options_of_encode(options):
    with pytest.raises(InputError) as caught:
        codec.encode(codec.decode(saved("PNG")), **options)
    assert caught.value.hint
