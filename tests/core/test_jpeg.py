"""JPEG blocks that did not change are the source's own. The oracle for coefficients is jpeglib (libjpeg)."""

import io
import struct
import time
from dataclasses import replace

import cv2
import jpeglib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reknit import _native
from reknit.core import codec, jpeg
from reknit.core.image import Metadata

SAMPLINGS = {"444": 0x111111, "422": 0x211111, "420": 0x221111, "440": 0x121111, "411": 0x411111}


def scene(height, width, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [
        128 + 110 * np.sin(x / 7 + y / 11),
        128 + 100 * np.cos(x / 5 - y / 9),
        128 + 90 * np.sin((x + y) / 13),
    ]
    return np.clip(np.stack(waves, -1) + rng.normal(0, 10, (height, width, 3)), 0, 255).astype(np.uint8)


def coded(pixels, *, sampling="420", quality=90, progressive=False, restart=0):
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    flags += [cv2.IMWRITE_JPEG_RST_INTERVAL, restart]
    if pixels.ndim == 3:
        flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLINGS[sampling]]
        pixels = pixels[..., ::-1]
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(pixels), flags)
    assert done
    return data.tobytes()


def coefficients(data, tmp_path):
    """The oracle: per component (rows, columns, 8, 8)."""
    path = tmp_path / "oracle.jpg"
    path.write_bytes(data)
    read = jpeglib.read_dct(str(path))
    return [part for part in (read.Y, read.Cb, read.Cr) if part is not None]


def ours(data):
    parsed = _native.Jpeg.read(data)
    out = []
    for number in range(parsed.count):
        _, _, _, across, down = parsed.component(number)
        out.append(parsed.coefficients(number)[:down, :across].reshape(down, across, 8, 8).copy())
    return out


def assert_same_coefficients(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        np.testing.assert_array_equal(a, b[: a.shape[0], : a.shape[1]])


def opened(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (64, 48), (97, 131)])
def test_coefficients_equal_libjpegs_and_survive_writing(size, sampling, progressive, tmp_path):
    for quality, restart in ((25, 0), (90, 3), (100, 0)):
        data = coded(
            scene(*size), sampling=sampling, quality=quality, progressive=progressive, restart=restart
        )
        mine = ours(data)
        assert_same_coefficients(mine, coefficients(data, tmp_path))
        written = _native.Jpeg.read(data).write(b"")
        assert_same_coefficients(mine, coefficients(written, tmp_path))
        np.testing.assert_array_equal(opened(written), opened(data))


def segments(data):
    """The (marker, payload) of each segment up to the scan, and the scan's entropy-coded data."""
    at, out = 2, []
    while True:
        marker, size = data[at + 1], struct.unpack_from(">H", data, at + 2)[0]
        out.append((marker, data[at + 4 : at + 2 + size]))
        at += 2 + size
        if marker == 0xDA:
            return out, data[at:-2]


def joined(parts):
    return b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in parts)


@pytest.mark.parametrize("factors", [0x11, 0x22, 0x44])
def test_components_in_scans_of_their_own(factors, tmp_path):
    """Three grey files made into one whose components are not interleaved, as some cameras write them."""
    planes = [coded(scene(45, 61, seed)[..., 0], quality=80) for seed in range(3)]
    tables, _ = segments(planes[0])
    frame = struct.pack(">BHHB", 8, 45, 61, 3) + b"".join(bytes((c, factors, 0)) for c in (1, 2, 3))
    data = b"\xff\xd8" + joined([*(part for part in tables if part[0] == 0xDB), (0xC0, frame)])
    for component, plane in enumerate(planes, 1):
        parts, scan = segments(plane)
        data += joined(part for part in parts if part[0] == 0xC4)
        data += joined([(0xDA, bytes((1, component, 0, 0, 63, 0)))]) + scan
    data += b"\xff\xd9"
    mine = ours(data)
    for coefficients_of_plane, plane in zip(mine, planes, strict=True):
        np.testing.assert_array_equal(coefficients_of_plane, ours(plane)[0])
    written = _native.Jpeg.read(data).write(b"")
    assert_same_coefficients(mine, coefficients(written, tmp_path))
    np.testing.assert_array_equal(opened(written), opened(data))
    photo = codec.decode(data)
    encoded = codec.encode(edited(photo, (8, 8, 16, 16)))
    assert encoded.total_blocks - encoded.carried_blocks == 3
    np.testing.assert_array_equal(opened(encoded.data)[24:], opened(data)[24:])


def test_wide_quantisation_tables(tmp_path):
    """Steps over 255 take 16 bits and an extended sequential frame."""
    parts, scan = segments(coded(scene(40, 40), quality=60))
    wide = []
    for marker, body in parts:
        if marker == 0xDB:
            body = bytes((0x10 | body[0],)) + b"".join(struct.pack(">H", 20 * step) for step in body[1:65])
        wide.append((0xC1 if marker == 0xC0 else marker, body))
    data = b"\xff\xd8" + joined(wide) + scan + b"\xff\xd9"
    assert _tables(data)[0].max() > 255
    written = _native.Jpeg.read(data).write(b"")
    assert_same_coefficients(ours(data), coefficients(written, tmp_path))
    for mine, source in zip(_tables(written), _tables(data), strict=True):
        np.testing.assert_array_equal(mine, source)
    np.testing.assert_array_equal(opened(written), opened(data))


def test_grey_file(tmp_path):
    data = coded(scene(50, 61)[..., 0], progressive=True)
    assert_same_coefficients(ours(data), coefficients(data, tmp_path))
    photo = codec.decode(data)
    after = photo.pixels.copy()
    after[8:16, 8:16] = 200
    encoded = codec.encode(photo.with_pixels(after))
    assert (encoded.total_blocks, encoded.carried_blocks) == (56, 55)
    assert codec.decode(encoded.data).origin.grey


def edited(photo, box, value=90):
    x0, y0, x1, y1 = box
    pixels = photo.pixels.copy()
    pixels[y0:y1, x0:x1] = value
    return photo.with_pixels(pixels)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_every_coefficient_of_unchanged_mcus_is_carried(sampling, progressive, tmp_path):
    data = coded(scene(150, 200), sampling=sampling, progressive=progressive)
    photo = codec.decode(data)
    box = (70, 40, 110, 77)
    encoded = codec.encode(edited(photo, box))
    before, after = coefficients(data, tmp_path), coefficients(encoded.data, tmp_path)
    factors = SAMPLINGS[sampling]
    h, v = factors >> 20, factors >> 16 & 15
    changed = 0
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        step_x = 8 if number == 0 else 8 * h
        step_y = 8 if number == 0 else 8 * v
        differs = (old != new).any((2, 3))
        rows, columns = np.nonzero(differs)
        assert rows.min() >= box[1] // step_y and rows.max() <= (box[3] - 1) // step_y
        assert columns.min() >= box[0] // step_x and columns.max() <= (box[2] - 1) // step_x
        changed += int(differs.sum())
    assert 0 < changed <= encoded.total_blocks - encoded.carried_blocks
    for number, tables in enumerate(zip(_tables(data), _tables(encoded.data), strict=True)):
        np.testing.assert_array_equal(*tables, err_msg=str(number))


def _tables(data):
    parsed = _native.Jpeg.read(data)
    return [parsed.quantisation(number).copy() for number in range(parsed.count)]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_all_decoders_see_the_same_picture_far_from_the_change(sampling):
    data = coded(scene(160, 160, 3), sampling=sampling, quality=85)
    photo = codec.decode(data)
    encoded = codec.encode(edited(photo, (64, 64, 96, 96)))
    far = np.ones((160, 160), bool)
    far[60:100, 60:100] = False  # chroma interpolation reaches a few pixels beyond the changed blocks
    for decode in (
        opened,
        lambda d: cv2.imdecode(np.frombuffer(d, np.uint8), 1),
        lambda d: codec.decode(d).pixels,
    ):
        np.testing.assert_array_equal(decode(encoded.data)[far], decode(data)[far])
    inside = codec.decode(encoded.data).pixels[68:92, 68:92].astype(int)
    assert np.abs(inside - 90).max() <= 12


def test_saving_an_unchanged_photo_changes_no_coefficient(tmp_path):
    data = coded(scene(75, 90))
    photo = codec.decode(data)
    encoded = codec.encode(photo)
    assert encoded.carried_blocks == encoded.total_blocks > 0
    assert_same_coefficients(coefficients(data, tmp_path), coefficients(encoded.data, tmp_path))


def test_unchanged_pixels_of_a_changed_block_hardly_move():
    rng = np.random.default_rng(8)
    data = coded(scene(64, 64, 8), sampling="420", quality=92)
    photo = codec.decode(data)
    pixels = photo.pixels.copy()
    pixels[20:26, 20:27] = rng.integers(0, 256, (6, 7, 3))
    carried = codec.decode(codec.encode(photo.with_pixels(pixels)).data).pixels
    anew = opened(coded(pixels, sampling="420", quality=92))
    kept = np.ones((64, 64), bool)
    kept[20:26, 20:27] = False
    block = np.zeros((64, 64), bool)
    block[16:32, 16:32] = True
    error = np.abs(carried.astype(int) - photo.pixels)[kept & block].mean()
    full = np.abs(anew.astype(int) - photo.pixels)[kept & block].mean()
    assert error < full


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    sampling=st.sampled_from(sorted(SAMPLINGS)),
    quality=st.integers(10, 100),
    progressive=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=80)
def test_carry_touches_only_changed_blocks(height, width, sampling, quality, progressive, seed):
    rng = np.random.default_rng(seed)
    data = coded(scene(height, width, seed), sampling=sampling, quality=quality, progressive=progressive)
    photo = codec.decode(data)
    x0, y0 = int(rng.integers(0, width)), int(rng.integers(0, height))
    x1, y1 = int(rng.integers(x0, width)) + 1, int(rng.integers(y0, height)) + 1
    encoded = codec.encode(edited(photo, (x0, y0, x1, y1), rng.integers(0, 256, 3)))
    factors = SAMPLINGS[sampling]
    for number, (old, new) in enumerate(zip(ours(data), ours(encoded.data), strict=True)):
        step_x, step_y = (8, 8) if number == 0 else (8 * (factors >> 20), 8 * (factors >> 16 & 15))
        outside = np.ones(old.shape[:2], bool)
        outside[y0 // step_y : (y1 - 1) // step_y + 1, x0 // step_x : (x1 - 1) // step_x + 1] = False
        np.testing.assert_array_equal(old[outside], new[outside])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_photos_are_carried_as_they_lie(orientation, tmp_path):
    tags = Image.Exif()
    tags[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(scene(83, 121)).save(out, "JPEG", quality=88, exif=tags)
    data = out.getvalue()
    photo = codec.decode(data)
    pixels = photo.pixels.copy()
    pixels[10:20, 30:50] = 128
    encoded = codec.encode(photo.with_pixels(pixels))
    assert encoded.total_blocks - encoded.carried_blocks < 30
    again = codec.decode(encoded.data)
    assert again.origin.orientation == orientation
    assert np.abs(again.pixels[12:18, 34:46].astype(int) - 128).mean() < 6
    far = np.ones(pixels.shape[:2], bool)
    far[:44, :80] = False
    np.testing.assert_array_equal(again.pixels[far], photo.pixels[far])


def test_rgb_stored_file_is_carried(tmp_path):
    out = io.BytesIO()
    Image.fromarray(scene(40, 40)).save(out, "JPEG", quality=95, keep_rgb=True)
    data = out.getvalue()
    parsed = _native.Jpeg.read(data)
    assert parsed.rgb
    photo = codec.decode(data)
    encoded = codec.encode(edited(photo, (8, 8, 16, 16)))
    assert encoded.total_blocks - encoded.carried_blocks == 3
    np.testing.assert_array_equal(opened(encoded.data)[24:], opened(data)[24:])


def test_segments_come_through_untouched_and_in_order():
    data = coded(scene(32, 32))
    extra = b"".join(
        struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
        for marker, body in (
            (0xEC, b"Ducky\0\1\2"),
            (0xFE, b"a comment"),
            (0xE5, b"unknown"),
            (0xE1, b"Exif\0\0junk"),
        )
    )
    data = data[:20] + extra + data[20:]  # behind the 18 bytes of JFIF
    photo = codec.decode(data)
    encoded = codec.encode(edited(photo, (0, 0, 8, 8)))
    assert encoded.data[2 : 20 + len(extra)] == data[2 : 20 + len(extra)]


def on_larger_canvas(photo, left, top, right, bottom, value=77):
    pixels = np.pad(photo.pixels, ((top, bottom), (left, right), (0, 0)), constant_values=value)
    return replace(photo.with_pixels(pixels), origin=replace(photo.origin, left=left, top=top))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_larger_canvas_carries_the_blocks_that_stay_on_the_grid(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(scene(64, 96)).save(out, "JPEG", quality=88, exif=tags)
    photo = codec.decode(out.getvalue())
    larger = on_larger_canvas(photo, 32, 16, 48, 80)
    encoded = codec.encode(larger)
    assert encoded.carried_blocks == 64 * 96 // 64 * 3 // 2
    back = codec.decode(encoded.data)
    assert back.size == larger.size
    height, width = photo.pixels.shape[:2]
    inner = back.pixels[
        16 + 2 : 16 + height - 2, 32 + 2 : 32 + width - 2
    ]  # chroma is interpolated at the seam
    np.testing.assert_array_equal(inner, photo.pixels[2:-2, 2:-2])
    assert np.abs(back.pixels[:, -30:].astype(int) - 77).max() <= 2


def test_a_canvas_off_the_grid_keeps_tables_and_subsampling():
    data = coded(scene(48, 48), sampling="422", quality=77)
    larger = on_larger_canvas(codec.decode(data), 5, 0, 0, 0)
    encoded = codec.encode(larger)
    back = codec.decode(encoded.data)
    assert back.size == larger.size and encoded.carried_blocks == 0
    assert any("coded again" in note for note in encoded.notes)
    for mine, source in zip(_tables(encoded.data), _tables(data), strict=True):
        np.testing.assert_array_equal(mine, source)
    fresh = opened(coded(larger.pixels, sampling="422", quality=77)).astype(int)
    assert np.abs(back.pixels - fresh).mean() < 1.5


@given(
    sides=st.tuples(*[st.integers(0, 40)] * 4),
    sampling=st.sampled_from(sorted(SAMPLINGS)),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
)
@settings(deadline=None, max_examples=60)
def test_any_canvas_is_right_inside(sides, sampling, height, width):
    data = coded(scene(height, width), sampling=sampling, quality=100)
    photo = codec.decode(data)
    larger = on_larger_canvas(photo, *sides, value=128)
    back = codec.decode(codec.encode(larger).data)
    assert back.size == larger.size
    luma = np.array([0.299, 0.587, 0.114])
    assert np.abs((back.pixels.astype(float) - larger.pixels) @ luma).mean() < 4


def test_cmyk_and_changed_metadata():
    out = io.BytesIO()
    Image.new("CMYK", (24, 24), (10, 200, 30, 0)).save(out, "JPEG", quality=83)
    photo = codec.decode(out.getvalue())
    encoded = codec.encode(photo)
    assert encoded.carried_blocks == 0 and any("coded again" in note for note in encoded.notes)
    assert jpeg.estimated_quality(encoded.data) == 83

    photo = codec.decode(coded(scene(40, 40)))
    with_note = codec.encode(replace(photo, metadata=Metadata(xmp=b"<x/>")))
    assert with_note.carried_blocks == with_note.total_blocks
    assert codec.decode(with_note.data).metadata.xmp == b"<x/>"


@pytest.mark.parametrize("quality", [10, 50, 75, 90, 95, 100])
def test_quality_is_estimated(quality):
    assert jpeg.estimated_quality(coded(scene(16, 16), quality=quality)) == quality


def test_incomplete_progressive_is_not_carried_as_if_whole():
    data = coded(scene(64, 64), progressive=True)
    scans = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xda"]
    cut = data[: scans[3]] + b"\xff\xd9"
    with pytest.raises(_native.JpegError):
        _native.Jpeg.read(cut)


def test_damaged_files_raise_and_never_crash():
    rng = np.random.default_rng(11)
    sources = [
        coded(scene(40, 56), sampling=sampling, progressive=progressive, restart=restart)
        for sampling in ("444", "420")
        for progressive in (False, True)
        for restart in (0, 2)
    ]
    read = 0
    for turn in range(3000):
        data = bytearray(sources[turn % len(sources)])
        for _ in range(int(rng.integers(1, 6))):
            data[int(rng.integers(2, len(data)))] = int(rng.integers(0, 256))
        if turn % 3 == 0:
            data = data[: int(rng.integers(2, len(data)))]
        try:
            parsed = _native.Jpeg.read(bytes(data))
            parsed.update(None, np.zeros((parsed.height, parsed.width, 3), np.uint8))
            _native.Jpeg.read(parsed.write(b""))
            read += 1
        except _native.JpegError:
            pass
    assert 0 < read < 3000


def test_a_huge_header_over_little_data_takes_no_memory():
    data = bytearray(coded(scene(16, 16)))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 65000, 65000)
    with pytest.raises(_native.JpegError, match="too short"):
        _native.Jpeg.read(bytes(data))


def test_twelve_megapixels_take_well_under_half_a_second_each_way():
    data = coded(np.tile(scene(300, 400), (10, 10, 1)))
    start = time.process_time()
    parsed = _native.Jpeg.read(data)
    parsed.write(b"")
    assert time.process_time() - start < 1.5  # 0.2 s on an idle machine; loose for busy ones
