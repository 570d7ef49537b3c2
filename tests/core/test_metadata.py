"""What a file carries beside pixels comes back byte for byte."""

import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from reknit.core import codec, exif, isobmff
from reknit.core.image import Metadata, Origin, Photo

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>\xc3\xa9</x:xmpmeta>"
IPTC = b"\x1c\x02\x69\x00\x08headline"
PIXELS = np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def exif_block(orientation=1, order="<", *, thumbnail=False):
    """An EXIF block with IFD0, Exif and GPS directories, odd values and bytes that no library would keep."""
    tags = Image.Exif()
    tags[0x010F], tags[0x0110], tags[0x0112] = "Maker", "Model 5", orientation
    tags[0x011A], tags[0x011B], tags[0x0128] = 240.0, 240.0, 2
    tags[0x8769] = {
        0x9003: "2020:02:02 02:02:02",
        0x829A: (1, 125),
        0x927C: bytes(range(77)),
        0x9286: b"ASCII\0\0\0hi",
    }
    tags[0x8825] = {1: "N", 2: (48.0, 8.0, 14.5), 3: "E", 4: (11.0, 34.0, 31.0)}
    tags.endian = order
    block = tags.tobytes()[6:]
    return block + b"\xaa\xbbtrailing bytes" if thumbnail else block


def photo_with(metadata, container="png"):
    return Photo(pixels=PIXELS.copy(), metadata=metadata, origin=Origin(container=container))


@pytest.mark.parametrize("container", ["jpeg", "png", "webp", "avif"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_blocks_come_back_byte_for_byte(container, order):
    metadata = Metadata(icc=ICC, exif=exif_block(order=order, thumbnail=True), xmp=XMP)
    first = codec.decode(codec.encode(photo_with(metadata), container=container).data)
    assert (first.metadata.icc, first.metadata.exif, first.metadata.xmp) == (ICC, metadata.exif, XMP)
    second = codec.decode(codec.encode(first).data)
    assert second.metadata == first.metadata


@pytest.mark.parametrize("container", codec.WRITABLE)
def test_other_libraries_read_them_too(container):
    metadata = Metadata(icc=ICC, exif=exif_block(), xmp=XMP, dpi=(240.0, 240.0))
    data = codec.encode(replace(photo_with(metadata), origin=None), container=container).data
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        tags = image.getexif()
        assert tags[0x010F] == "Maker"
        assert tags.get_ifd(0x8769)[0x9003] == "2020:02:02 02:02:02"
        assert tags.get_ifd(0x8769)[0x927C] == bytes(range(77))
        assert [float(x) for x in tags.get_ifd(0x8825)[2]] == [48.0, 8.0, 14.5]
        assert image.info.get("icc_profile") == ICC
        if container in ("jpeg", "png", "tiff"):
            assert [round(float(side)) for side in image.info["dpi"]] == [240, 240]


def test_iptc_reaches_jpeg_and_tiff_and_is_named_where_it_cannot():
    metadata = Metadata(iptc=IPTC)
    for container in ("jpeg", "tiff"):
        first = codec.decode(codec.encode(photo_with(metadata), container=container).data)
        assert first.metadata.iptc == IPTC
        assert codec.decode(codec.encode(first).data).metadata.iptc == IPTC
    assert any("IPTC" in note for note in codec.encode(photo_with(metadata), container="png").notes)


def test_png_text_and_colour_chunks_come_back_verbatim():
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "someone")
    text.add_itxt("Title", "Übersicht", "de", "Titel", zip=True)
    text.add_text("Comment", "long " * 99, zip=True)
    text.add(b"gAMA", struct.pack(">I", 45455))
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, "PNG", pnginfo=text, dpi=(300, 150))
    photo = codec.decode(out.getvalue())
    assert photo.metadata.text == (("Author", "someone"), ("Title", "Übersicht"), ("Comment", "long " * 99))
    again = codec.encode(photo).data
    assert chunks(again) == chunks(out.getvalue())
    assert any("text" in note for note in codec.encode(photo, container="jpeg").notes)


def chunks(data):
    """The ancillary chunks, sorted; each with a sound checksum."""
    at, out = 8, []
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", data, at + 8 + size)[0] == zlib.crc32(name + body)
        out += [(name, body)] if name[0] & 32 else []
        at += 12 + size
    return sorted(out)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_tiff_carries_every_exif_tag(order, big):
    out = io.BytesIO()
    if big:
        tifffile.imwrite(
            out, PIXELS, photometric="rgb", byteorder=order, bigtiff=True, description="a view", metadata=None
        )
    else:
        Image.fromarray(PIXELS).save(
            out, "TIFF", exif=exif_block(order=order), icc_profile=ICC, dpi=(200, 200)
        )
    photo = codec.decode(out.getvalue())
    again = codec.decode(codec.encode(photo).data)
    if big:
        assert exif.read(again.metadata.exif).entries[0x010E].value == b"a view\0"
        return
    assert tag_values(again.metadata.exif) == tag_values(photo.metadata.exif)
    assert tag_values(photo.metadata.exif)[0x8769, 0x927C] == bytes(range(77))
    assert again.metadata.icc == ICC and again.metadata.dpi == pytest.approx((200, 200))


def tag_values(block):
    first = exif.read(block)
    values = {(0, tag): entry.value for tag, entry in first.entries.items() if tag not in (0x8769, 0x8825)}
    for pointer in (0x8769, 0x8825):
        inner = exif.read_at(block, first.number(pointer), first.order)
        values |= {(pointer, tag): entry.value for tag, entry in inner.entries.items()}
    return values


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_patched_and_no_other_byte(order):
    block = exif_block(6, order, thumbnail=True)
    patched = exif.turned(block, 1)
    assert exif.orientation(block) == 6 and exif.orientation(patched) == 1
    assert sum(a != b for a, b in zip(block, patched, strict=True)) == 1
    assert exif.turned(patched, 6) == block
    assert exif.turned(b"rubbish", 3) == b"rubbish"


@given(st.binary(max_size=300), st.booleans())
@settings(deadline=None, max_examples=300)
def test_rubbish_directories_are_survived(data, shaped):
    block = b"II*\0\x08\0\0\0" + data if shaped else data
    assert 1 <= exif.orientation(block) <= 8
    exif.turned(block, 1)
    exif.from_tiff(block)
    isobmff.is_lossless(block)
    assert isobmff.with_exif(b"\0\0\0\x0cftypavif" + data, b"x")


@given(
    exif_bytes=st.binary(min_size=1, max_size=200),
    xmp=st.binary(min_size=1, max_size=200),
    icc=st.binary(min_size=20, max_size=70_000),
    container=st.sampled_from(["jpeg", "png", "webp"]),
)
@settings(deadline=None, max_examples=60)
def test_any_bytes_are_carried(exif_bytes, xmp, icc, container):
    metadata = Metadata(icc=icc.replace(b"GRAY", b"RGB "), exif=exif.turned(exif_bytes, 1), xmp=xmp)
    back = codec.decode(codec.encode(photo_with(metadata), container=container).data).metadata
    assert (back.icc, back.exif, back.xmp) == (metadata.icc, metadata.exif, metadata.xmp)


def test_a_gain_map_that_shows_the_old_picture_is_left_out():
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, "MPO", save_all=True, append_images=[Image.fromarray(255 - PIXELS)])
    photo = codec.decode(out.getvalue())
    assert any("left out" in note for note in photo.notes)
    encoded = codec.encode(photo)
    assert b"MPF\0" not in encoded.data and len(encoded.data) < len(out.getvalue())
    assert encoded.carried_blocks == encoded.total_blocks


def test_metadata_can_be_removed():
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, "JPEG", exif=exif_block(6), icc_profile=ICC)
    photo = codec.decode(out.getvalue())
    encoded = codec.encode(replace(photo, metadata=Metadata()))
    bare = codec.decode(encoded.data)
    assert bare.metadata.exif is None and bare.metadata.icc is None
    assert bare.size == photo.size  # nothing says how the picture lies, so it was coded upright
    assert np.abs(bare.pixels.astype(int) - photo.pixels).mean() < 6
