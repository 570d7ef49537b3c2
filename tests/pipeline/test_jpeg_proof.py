"""A filled JPEG: outside the ring every coefficient is the source's; libjpeg, through jpeglib, is the judge."""

import io

import jpeglib
import numpy as np
import pytest
from PIL import Image
from skimage import data as samples

import reknit

MCU_PX = {0: (8, 8), 1: (16, 8), 2: (16, 16)}  # Pillow's names of 4:4:4, 4:2:2, 4:2:0


def stored(mask, orientation):
    """The mask as it lies in a file of this orientation (1 or 6)."""
    return mask if orientation == 1 else np.rot90(mask)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("subsampling", MCU_PX)
@pytest.mark.parametrize("progressive", [False, True])
def test_coefficients_outside_the_ring_are_the_sources(subsampling, progressive, orientation, tmp_path):
    picture = samples.astronaut()[100:404, 60:380]
    tags = Image.Exif()
    tags[0x0112], tags[0x010F] = orientation, "Maker"
    profile = b"\0" * 16 + b"RGB " + b"\7" * 200
    source = tmp_path / "photo.jpg"
    Image.fromarray(np.ascontiguousarray(stored(picture, orientation))).save(
        source, quality=91, subsampling=subsampling, progressive=progressive, exif=tags, icc_profile=profile
    )
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[101:150, 37:90] = 255
    out = io.BytesIO()
    Image.fromarray(mask).save(out, "PNG")

    result = reknit.fill(source, out.getvalue(), engine="exemplar")
    assert result.report.outside_equal
    target = tmp_path / "out.jpg"
    result.save(target)

    ring = 2 + int(result.report.ring_px)
    near = np.zeros(mask.shape, bool)
    near[101 - ring : 150 + ring, 37 - ring : 90 + ring] = True
    near = stored(near, orientation)
    before, after = jpeglib.read_dct(str(source)), jpeglib.read_dct(str(target))
    width, height = MCU_PX[subsampling]
    rows, columns = -(-near.shape[0] // height), -(-near.shape[1] // width)
    changed = np.zeros((rows * height, columns * width), bool)
    changed[: near.shape[0], : near.shape[1]] = near
    changed = changed.reshape(rows, height, columns, width).any((1, 3))  # by MCU
    for old, new in ((before.Y, after.Y), (before.Cb, after.Cb), (before.Cr, after.Cr)):
        assert old.shape == new.shape
        down, across = -(-old.shape[0] // rows), -(-old.shape[1] // columns)
        outside = ~np.kron(changed, np.ones((down, across), bool))[: old.shape[0], : old.shape[1]]
        assert outside.any() and not outside.all()
        np.testing.assert_array_equal(old[outside], new[outside])
        assert (old[~outside] != new[~outside]).any()
    np.testing.assert_array_equal(before.qt, after.qt)
    with Image.open(source) as old_file, Image.open(target) as new_file:
        assert new_file.info["exif"] == old_file.info["exif"]
        assert new_file.info["icc_profile"] == profile
