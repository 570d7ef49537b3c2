"""Filling a file changes nothing else in it: JPEG coefficients, 16-bit samples, profiles and camera data."""

from __future__ import annotations

import io
from pathlib import Path

import jpeglib
import numpy as np
import pytest
from PIL import Image, ImageCms
from scipy.ndimage import distance_transform_edt

import reknit
from reknit.core import codec
from reknit.core.image import Metadata, Photo

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><a>kept</a></x:xmpmeta><?xpacket end="w"?>'
SUBSAMPLING = {"4:4:4": (8, 8), "4:2:2": (16, 8), "4:2:0": (16, 16)}


def scene(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:height, :width]
    waves = [128 + 70 * np.sin(x / (7 + c) + y / 31) + 30 * np.cos(y / (9 - c)) for c in range(3)]
    return np.clip(np.stack(waves, -1) + rng.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)


def exif(orientation: int = 1) -> bytes:
    block = Image.Exif()
    block[0x010F] = "Maker"
    block[0x0112] = orientation
    block[0x8298] = "somebody"
    return block.tobytes()


def jpeg(path: Path, pixels: np.ndarray, *, orientation: int = 1, **more) -> Path:
    Image.fromarray(pixels).save(path, icc_profile=ICC, exif=exif(orientation), xmp=XMP, **more)
    return path


def holes(height: int, width: int) -> np.ndarray:
    hole = np.zeros((height, width), bool)
    hole[height // 3 : height // 2, width // 4 : width // 2] = True
    hole[height // 5, width // 2 :] = True
    hole[-3:, -5:] = True
    return hole


def tables(path: Path) -> list[np.ndarray]:
    """Return libjpeg's view of the file: coefficients by component, (rows, columns, 8, 8)."""
    read = jpeglib.read_dct(str(path))
    return [part.copy() for part in (read.Y, read.Cb, read.Cr) if part is not None]


def differing_blocks(before: Path, after: Path) -> list[np.ndarray]:
    return [(a != b).any(axis=(2, 3)) for a, b in zip(tables(before), tables(after), strict=True)]


def blocks_near(hole: np.ndarray, ring_px: float, mcu: tuple[int, int], component: int) -> np.ndarray:
    """Return which blocks of a component lie in an MCU that holds a pixel of hole ⊕ ring."""
    wide, high = mcu
    height, width = hole.shape
    near = np.zeros((-(-height // high) * high, -(-width // wide) * wide), bool)
    near[:height, :width] = distance_transform_edt(~hole) <= ring_px
    units = near.reshape(near.shape[0] // high, high, near.shape[1] // wide, wide).any(axis=(1, 3))
    return np.kron(units, np.ones((high // 8, wide // 8), bool)) if component == 0 else units


@pytest.mark.parametrize("engine", ["exemplar", "telea"])
@pytest.mark.parametrize("subsampling", SUBSAMPLING)
@pytest.mark.parametrize("feather", [0, 6])
def test_every_coefficient_outside_the_ring_is_the_sources(
    tmp_path: Path, subsampling: str, engine: str, feather: int
) -> None:
    hole = holes(203, 317)
    source = jpeg(tmp_path / "in.jpg", scene(203, 317), quality=83, subsampling=subsampling)
    result = reknit.fill(source, hole, engine=engine, feather=feather)
    notes = result.save(tmp_path / "out.jpg")
    assert not notes
    ring_px = result.plan.grow_px + result.plan.feather_px
    changed = differing_blocks(source, tmp_path / "out.jpg")
    assert changed[0].any()
    for component, blocks in enumerate(changed):
        allowed = blocks_near(hole, ring_px, SUBSAMPLING[subsampling], component)
        assert not (blocks & ~allowed[: blocks.shape[0], : blocks.shape[1]]).any()


def test_a_second_fill_of_the_saved_file_leaves_the_first_alone(tmp_path: Path) -> None:
    source = jpeg(tmp_path / "0.jpg", scene(160, 240), quality=75)
    first, second = np.zeros((160, 240), bool), np.zeros((160, 240), bool)
    first[30:60, 30:70] = True
    second[100:130, 150:200] = True
    reknit.fill(source, first).save(tmp_path / "1.jpg")
    reknit.fill(tmp_path / "1.jpg", second).save(tmp_path / "2.jpg")
    last = differing_blocks(tmp_path / "1.jpg", tmp_path / "2.jpg")[0]
    assert not (last & ~blocks_near(second, 2, (16, 16), 0)).any()


def test_grey_and_progressive_files_keep_their_coefficients(tmp_path: Path) -> None:
    hole = holes(150, 170)
    Image.fromarray(scene(150, 170)[..., 0]).save(tmp_path / "grey.jpg", quality=70)
    Image.fromarray(scene(150, 170)).save(tmp_path / "progressive.jpg", progressive=True, subsampling="4:4:4")
    for name in ("grey", "progressive"):
        reknit.fill(tmp_path / f"{name}.jpg", hole).save(tmp_path / f"{name}-out.jpg")
        blocks = differing_blocks(tmp_path / f"{name}.jpg", tmp_path / f"{name}-out.jpg")[0]
        assert blocks.any()
        assert not (blocks & ~blocks_near(hole, 2, (8, 8), 0)).any()


def test_a_turned_photo_loses_nothing_outside_either(tmp_path: Path) -> None:
    source = jpeg(tmp_path / "in.jpg", scene(160, 240), orientation=6, quality=80)
    hole = np.zeros((240, 160), bool)  # upright
    hole[60:100, 40:70] = True
    result = reknit.fill(source, hole)
    notes = result.save(tmp_path / "out.jpg")
    blocks = differing_blocks(source, tmp_path / "out.jpg")[0]
    stored = np.rot90(hole)  # orientation 6: the stored picture is turned clockwise to be upright
    assert blocks.any() and not (blocks & ~blocks_near(stored, 2, (16, 16), 0)).any(), notes


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_profile_and_camera_data_are_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    pixels = scene(90, 120)
    given = Photo(pixels=pixels, metadata=Metadata(icc=ICC, exif=exif().removeprefix(b"Exif\0\0"), xmp=XMP))
    codec.write(given, tmp_path / f"in.{suffix}")
    result = reknit.fill(tmp_path / f"in.{suffix}", holes(90, 120))
    result.save(tmp_path / f"out.{suffix}")
    before, after = (codec.read(tmp_path / f"{name}.{suffix}").metadata for name in ("in", "out"))
    assert before.icc == after.icc == ICC
    assert before.xmp == after.xmp == XMP
    assert before.exif is not None
    assert before.exif == after.exif
    with Image.open(tmp_path / f"out.{suffix}") as seen:
        assert seen.info["icc_profile"] == ICC
        assert seen.getexif()[0x010F] == "Maker"


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("container", ["png", "tiff"])
def test_16_bit_files_are_equal_outside(container: str, channels: int) -> None:
    rng = np.random.default_rng(8)
    shape = (120, 150) if channels == 1 else (120, 150, channels)
    pixels = rng.integers(0, 65536, shape, np.uint16)
    hole = holes(120, 150)
    data = codec.encode(Photo.from_array(pixels), container=container).data
    result = reknit.fill(data, hole, engine="exemplar", feather=3)
    saved = codec.decode(codec.encode(result.photo).data)
    outside = distance_transform_edt(~hole) > 5
    assert saved.bits == 16
    after = saved.to_numpy()
    assert (after[hole] != codec.decode(data).to_numpy()[hole]).any()
    assert np.array_equal(after[outside], codec.decode(data).to_numpy()[outside])
    reference = pixels[..., None].repeat(3, axis=2) if channels == 1 else pixels
    assert np.array_equal(after[outside], reference[outside])


def test_jpeg_bytes_given_in_memory_are_carried_too(tmp_path: Path) -> None:
    data = io.BytesIO()
    Image.fromarray(scene(64, 96)).save(data, "JPEG", quality=60)
    hole = np.zeros((64, 96), bool)
    hole[20:30, 20:30] = True
    saved = codec.encode(reknit.fill(data.getvalue(), hole).photo)
    assert 0 < saved.carried_blocks < saved.total_blocks
