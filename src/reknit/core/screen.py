"""Small pictures in a hurry: tiles for a screen, and patches kept between edits.

Tiles are 8-bit sRGB, as browsers show them without asking; patches are lossless PNG with the photo's own
samples and profile. Both are coded for speed, not for size. It knows no files and no caches; files for
people are `core.encode`'s.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.core import metadata as blocks
from reknit.core.containers import libvips
from reknit.core.encode import is_grey, vips_image
from reknit.core.image import Metadata, Photo

_PNG = {"compression": 1, "filter": "sub", "keep": "none"}


def screen_bytes(samples: NDArray[np.uint8], icc: bytes | None = None) -> tuple[bytes, str]:
    """Return samples as a file for a screen, in sRGB, and its media type.

    Parameters
    ----------
    samples : ndarray of uint8, (H, W, 3) or (H, W, 4)
        RGB, the fourth channel opacity, not premultiplied.
    icc : bytes, optional
        The profile of the samples; one that cannot be used counts as sRGB.

    Returns
    -------
    tuple of (bytes, str)
        JPEG (quality 90, 4:4:4), or PNG with alpha.
    """
    vips = libvips()
    height, width, bands = samples.shape
    image = vips.Image.new_from_memory(np.ascontiguousarray(samples).data, width, height, bands, "uchar")
    image = image.copy(interpretation="srgb")
    if icc and not is_srgb(icc):
        image = _converted(vips, image, icc)
    if bands == 4:
        return image.pngsave_buffer(**_PNG), "image/png"
    return image.jpegsave_buffer(Q=90, subsample_mode="off", keep="none"), "image/jpeg"


def patch_png(photo: Photo) -> bytes:
    """Return a photo as a lossless PNG that holds its samples, alpha and ICC profile, and nothing else.

    A grey photo is stored grey if its channels are equal.
    """
    vips = libvips()
    grey = photo.origin is not None and photo.origin.grey and is_grey(photo.pixels)
    icc = photo.metadata.icc
    if icc and (icc[16:20] == b"GRAY") != grey:
        icc = None
    image = vips_image(vips, photo.pixels, photo.alpha, grey=grey, carried=Metadata())
    data: bytes = image.pngsave_buffer(**_PNG)
    return blocks.attach("png", data, Metadata(icc=icc), same=False, opaque=photo.alpha is None)


def mask_png(fill: NDArray[np.bool_]) -> bytes:
    """Return an (H, W) bool plane as an 8-bit grey PNG, True = white."""
    vips = libvips()
    height, width = fill.shape
    plane = np.multiply(fill, np.uint8(255), dtype=np.uint8)
    image = vips.Image.new_from_memory(plane.data, width, height, 1, "uchar").copy(interpretation="b-w")
    return image.pngsave_buffer(compression=1, filter="none", keep="none")


def is_srgb(icc: bytes) -> bool:
    """Return whether an ICC profile calls itself sRGB (ICC.1, the ``desc`` tag)."""
    if len(icc) < 132:
        return False
    for at in range(132, 132 + 12 * min(100, struct.unpack_from(">I", icc, 128)[0]), 12):
        if icc[at : at + 4] == b"desc":
            start, size = struct.unpack_from(">II", icc.ljust(at + 12, b"\0"), at + 4)
            return b"sRGB" in icc[start : start + size].replace(b"\0", b"")
    return False


def _converted(vips: Any, image: Any, icc: bytes) -> Any:
    """Return the image in sRGB; alpha is carried."""
    alpha = image[3] if image.bands == 4 else None
    colour = image[0] if icc[16:20] == b"GRAY" else image.extract_band(0, n=3)
    colour = colour.copy(interpretation="b-w" if colour.bands == 1 else "srgb")
    colour.set_type(vips.GValue.blob_type, "icc-profile-data", icc)
    try:
        memory = colour.icc_transform("srgb", embedded=True, intent="relative").write_to_memory()
    except vips.Error:
        return image
    colour = vips.Image.new_from_memory(memory, image.width, image.height, 3, "uchar")
    colour = colour.copy(interpretation="srgb")
    return colour if alpha is None else colour.bandjoin(alpha)
