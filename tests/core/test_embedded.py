"""No thumbnail in a saved file shows what was removed from the photo."""

import base64
import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import reknit
from reknit.core import codec, embedded, exif
from reknit.core.image import Photo


def picture(width=160, height=120):
    rows = np.linspace(0, 255, height, dtype=np.uint8)[:, None, None]
    return np.broadcast_to(rows, (height, width, 3)).copy()


def jpeg(array, **options):
    out = io.BytesIO()
    Image.fromarray(array).save(out, "JPEG", **options)
    return out.getvalue()


THUMBNAIL = jpeg(picture(40, 30))


def directory(order, entries, at, follows=0):
    """A directory at ``at`` with entries (tag, kind, count, 4 bytes), and the place of the next one."""
    body = b"".join(struct.pack(order + "HHI", *entry[:3]) + entry[3] for entry in entries)
    return struct.pack(order + "H", len(entries)) + body + struct.pack(order + "I", follows)


def block_with(order="<", *, maker_note=b"", strips=b"", orientation=1):
    """An EXIF block whose second directory has a thumbnail, as cameras write it."""

    def number(tag, value, kind=4):
        packed = struct.pack(order + ("H" if kind == 3 else "I"), value).ljust(4, b"\0")
        return (tag, kind, 1, packed)

    first_at, first_bytes = 8, 2 + 12 * 3 + 4
    note_at = first_at + first_bytes + 2 + 12 + 4
    second_at = note_at + len(maker_note)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", first_at)
    first = [number(0x0112, orientation, 3), (0x0131, 2, 4, b"cam\0"), number(0x8769, first_at + first_bytes)]
    inner = [(0x927C, 7, len(maker_note), struct.pack(order + "I", note_at))]
    pixels, tags = (strips, (0x0111, 0x0117)) if strips else (THUMBNAIL, (0x0201, 0x0202))
    pixels_at = second_at + 2 + 12 * 2 + 4
    second = [number(tags[0], pixels_at), number(tags[1], len(pixels))]
    return b"".join(
        (
            head,
            directory(order, first, first_at, second_at),
            directory(order, inner, first_at + first_bytes),
            maker_note,
            directory(order, second, second_at),
            pixels,
        )
    )


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_thumbnail_goes_and_all_else_stays(order):
    note = b"maker's own " + bytes(range(200))
    block = block_with(order, maker_note=note)
    clean = embedded.without_pictures(block)
    assert THUMBNAIL[:20] not in clean and len(clean) < len(block) - len(THUMBNAIL) // 2
    assert note in clean
    before, after = exif.read(block), exif.read(clean)
    assert before.entries.keys() == after.entries.keys()
    assert after.entries[0x0131].value == b"cam\0"
    with Image.open(io.BytesIO(jpeg(picture(), exif=b"Exif\0\0" + clean))) as image:
        tags = image.getexif()
        assert tags.get_ifd(1) == {}
        assert tags.get_ifd(0x8769)[0x927C] == note


def test_previews_in_makers_notes_and_plain_strips_go_too():
    clean = embedded.without_pictures(block_with(maker_note=b"head" + THUMBNAIL + b"tail"))
    assert THUMBNAIL[:20] not in clean and b"head" in clean and b"tail" in clean
    grey = bytes(range(1, 200)) * 3
    assert grey[:50] not in embedded.without_pictures(block_with(strips=grey))


def test_photoshop_and_xmp_thumbnails_go():
    resource = b"8BIM\x04\x0c\0\0" + struct.pack(">I", 28 + len(THUMBNAIL)) + bytes(28) + THUMBNAIL
    clean = embedded.without_pictures(resource)
    assert len(clean) == len(resource) and THUMBNAIL[:20] not in clean
    text = base64.encodebytes(THUMBNAIL)
    packet = (
        b"<x xmpNote:HasExtendedXMP='77'><xmpGImg:image>"
        + text
        + b"</xmpGImg:image><dc:title>A</dc:title></x>"
    )
    clean = embedded.xmp_without_pictures(packet)
    assert clean == b"<x><xmpGImg:image></xmpGImg:image><dc:title>A</dc:title></x>"


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"\xff\xd8\xff\xe0"]),
)
def test_rubbish_is_survived(data, head):
    clean = embedded.without_pictures(head + data)
    assert len(clean) <= len(head + data)
    embedded.xmp_without_pictures(data)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_filled_jpeg_shows_nothing_old(tmp_path, orientation):
    path, out = tmp_path / "photo.jpg", tmp_path / "out.jpg"
    path.write_bytes(jpeg(picture(), exif=b"Exif\0\0" + block_with(orientation=orientation)))
    mask = np.zeros((160, 120) if orientation == 6 else (120, 160), np.bool_)
    mask[40:60, 40:60] = True
    result = reknit.fill(path, mask, engine="telea")
    assert embedded.NOTE in result.notes
    result.save(out)
    data = out.read_bytes()
    assert data.count(b"\xff\xd8\xff") == 1
    with Image.open(out) as image:
        assert image.getexif().get_ifd(1) == {}
        assert image.getexif()[0x0112] == orientation and image.getexif()[0x0131] == "cam"


@pytest.mark.parametrize("container", ["png", "webp", "avif", "tiff"])
def test_other_containers_show_nothing_old(container):
    source = codec.decode(jpeg(picture(), exif=b"Exif\0\0" + block_with()))
    data = codec.encode(source, container=container).data
    assert THUMBNAIL[:20] not in data
    assert isinstance(codec.decode(data), Photo)


def test_a_photo_without_thumbnail_gets_no_note():
    assert embedded.NOTE not in codec.decode(jpeg(picture())).notes
