"""Bytes from photos, through libvips.

A photo goes back into the kind of file it came from, with everything that file carried; what a container
cannot hold is said in notes. It knows no engines, no masks and no terminal.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.core import files, own_text
from reknit.core import metadata as blocks
from reknit.core.containers import WRITABLE, Encoded, container_of, libvips
from reknit.core.errors import InputError, Unavailable
from reknit.core.image import Metadata, Photo, Samples

_MAX_SIDE = {"jpeg": 65_500, "webp": 16_383, "avif": 65_536}


def write(
    photo: Photo, path: Path | str, *, container: str | None = None, quality: int | None = None
) -> Encoded:
    """Encode a photo into a file, atomically; the suffix chooses the container unless one is given.

    A name without a suffix gets the photo's own container. Errors as `encode` and `files.write_bytes`.
    """
    if container is None and Path(path).suffix:
        container = container_of(path)
    encoded = encode(photo, container=container, quality=quality)
    files.write_bytes(path, encoded.data)
    return encoded


def encode(photo: Photo, *, container: str | None = None, quality: int | None = None) -> Encoded:
    """Return a photo as the bytes of a file.

    Parameters
    ----------
    photo : Photo
    container : str, optional
        ``"jpeg"``, ``"png"``, ``"webp"``, ``"tiff"`` or ``"avif"``. Default: the photo's own; PNG for photos
        without one and for containers that are only read (HEIC, GIF).
    quality : int, optional
        1 to 100 for lossy coding. Default: as the source. A JPEG is then saved without coding unchanged
        blocks again; what was lossless stays lossless; else 95 (JPEG) or 90 (WebP, AVIF).

    Raises
    ------
    InputError
        ``image.container``, ``image.quality``, ``image.too-large``
    Unavailable
        ``codec.missing``
    """
    origin = photo.origin
    if container is None:
        container = origin.container if origin and origin.container in WRITABLE else "png"
    if container not in WRITABLE:
        raise InputError(
            f"{container} cannot be written",
            code="image.container",
            hint=f"choose one of {', '.join(WRITABLE)}",
            container=container,
        )
    if quality is not None and not 1 <= quality <= 100:
        raise InputError(
            f"quality must be 1 to 100, not {quality}", code="image.quality", hint="90 is a good value"
        )
    side = max(photo.size.width, photo.size.height)
    if side > _MAX_SIDE.get(container, side):
        raise InputError(
            f"{container.upper()} holds at most {_MAX_SIDE[container]} px a side, the photo is {photo.size}",
            code="image.too-large",
            hint="save it as PNG or TIFF",
        )
    notes: tuple[str, ...] = ()
    if container != "png":
        carried, notes = own_text.written(photo.metadata)
        photo = replace(photo, metadata=carried)
    if container == "jpeg" and quality is None and origin and origin.data and photo.bits == 8:
        from reknit.core import jpeg

        try:
            encoded = jpeg.resave(photo)
            return replace(encoded, notes=notes + encoded.notes)
        except jpeg.CannotCarry as why:
            notes = (*notes, f"every block was coded again: {why}")
    encoded = _encoded(photo, container, quality)
    return replace(encoded, notes=notes + encoded.notes)


def _encoded(photo: Photo, container: str, quality: int | None) -> Encoded:
    vips = libvips()
    same = photo.origin is not None and photo.origin.container == container
    pixels, alpha, notes = _fitted(photo, container)
    grey = photo.origin is not None and photo.origin.grey and is_grey(pixels)
    carried = photo.metadata
    if carried.icc and carried.icc[16:20] == b"GRAY" and not (grey and container in ("jpeg", "png", "tiff")):
        carried = replace(carried, icc=None)
        notes.append("the grey ICC profile does not fit RGB samples and was left out")
    if container != "png" and own_text.others(carried):
        notes.append(f"{container.upper()} has no place for PNG text entries")
    if carried.iptc and container not in ("jpeg", "tiff"):
        notes.append(f"{container.upper()} has no place for an IPTC record")
    image = vips_image(vips, pixels, alpha, grey=grey, carried=carried)
    if container == "avif":
        for name, blob in (
            ("icc-profile-data", carried.icc),
            ("xmp-data", carried.xmp),
            ("exif-data", carried.exif),
        ):
            if blob:
                image.set_type(
                    vips.GValue.blob_type, name, b"Exif\0\0" + blob if blob is carried.exif else blob
                )
    options = _save_options(photo, container, quality, bits=pixels.dtype.itemsize * 8, notes=notes)
    saver = "heif" if container == "avif" else container
    try:
        data = getattr(image, f"{saver}save_buffer")(**options)
    except vips.Error as error:
        raise Unavailable(
            f"the picture cannot be encoded as {container.upper()}",
            code="codec.encode",
            hint="choose another format",
            reason=str(error).strip(),
        ) from error
    data = blocks.attach(container, data, carried, same=same, opaque=alpha is None)
    return Encoded(data=data, container=container, notes=tuple(notes))


def vips_image(vips: Any, pixels: Samples, alpha: Samples | None, *, grey: bool, carried: Metadata) -> Any:
    """Return a libvips image over the arrays; RGB is not copied."""
    height, width = pixels.shape[:2]
    form = "ushort" if pixels.dtype == np.uint16 else "uchar"
    colour = np.ascontiguousarray(pixels[..., 0]) if grey else np.ascontiguousarray(pixels)
    image = vips.Image.new_from_memory(colour.data, width, height, 1 if grey else 3, form)
    if alpha is not None:
        plane = vips.Image.new_from_memory(np.ascontiguousarray(alpha).data, width, height, 1, form)
        image = image.bandjoin(plane)
    space = ("grey16" if grey else "rgb16") if form == "ushort" else ("b-w" if grey else "srgb")
    x, y = (side / 25.4 for side in carried.dpi) if carried.dpi else (1.0, 1.0)
    return image.copy(interpretation=space, xres=x, yres=y)


def _save_options(
    photo: Photo, container: str, quality: int | None, *, bits: int, notes: list[str]
) -> dict[str, Any]:
    origin = photo.origin
    lossless = quality is None and (origin is None or origin.lossless)
    if container == "jpeg":
        from reknit.core import jpeg

        source = origin.data if origin and quality is None else None
        guess = jpeg.estimated_quality(source) if source else None
        sampling = "auto" if source is None else "on" if jpeg.has_subsampling(source) else "off"
        return {
            "Q": quality or guess or 95,
            "subsample_mode": sampling,
            "optimize_coding": True,
            "keep": "none",
        }
    if container == "png":
        return {"compression": 6, "keep": "none"}
    if container == "tiff":
        names = {1: "none", 5: "lzw", 8: "deflate", 32946: "deflate", 32773: "packbits", 50000: "zstd"}
        compression = names.get(origin.compression if origin else 0, "deflate")
        predictor = {"predictor": "horizontal"} if compression in ("lzw", "deflate", "zstd") else {}
        return {"compression": compression, "resunit": "inch", "keep": "none", **predictor}
    if not lossless:
        notes.append(f"{container.upper()} coded every pixel again (quality {quality or 90})")
    options: dict[str, Any] = {"lossless": True} if lossless else {"Q": quality or 90}
    if container == "webp":
        return {**options, "exact": True, "keep": "none"}
    depth = 8 if bits == 8 else (origin.bits if origin and origin.bits in (10, 12) else 12)
    if bits == 16 and not (origin and origin.bits == depth):
        notes.append("AVIF holds at most 12 bits a sample; the 16 were shortened")
    keep = 0b1011 if photo.metadata.exif else 0b1010  # EXIF, XMP, ICC; libvips would make up an EXIF block
    return {**options, "compression": "av1", "bitdepth": depth, "keep": keep}


def _fitted(photo: Photo, container: str) -> tuple[Samples, Samples | None, list[str]]:
    """Return the samples that a container can hold, and notes on what that cost."""
    pixels, alpha = photo.pixels, photo.alpha
    notes: list[str] = []
    if container in ("jpeg", "webp") and pixels.dtype == np.uint16:
        pixels, alpha = _rounded(pixels), None if alpha is None else _rounded(alpha)
        notes.append(f"{container.upper()} holds 8 bits a sample; the 16 were rounded")
    if container == "jpeg" and alpha is not None:
        if bool((alpha < 255).any()):
            pixels = _on_white(pixels, alpha)
            notes.append("JPEG has no transparency: the picture was laid on white")
        alpha = None
    if photo.origin is not None and photo.origin.palette:
        notes.append("the palette was replaced by full colour, so that every other pixel stays as it was")
    return pixels, alpha, notes


def _rounded(samples: Samples) -> NDArray[np.uint8]:
    out = np.empty(samples.shape, np.uint8)
    for row in range(0, len(samples), 64):
        out[row : row + 64] = (samples[row : row + 64].astype(np.uint32) + 128) // 257
    return out


def _on_white(pixels: Samples, alpha: Samples) -> NDArray[np.uint8]:
    out = np.empty(pixels.shape, np.uint8)
    for row in range(0, len(pixels), 64):
        opacity = alpha[row : row + 64, :, None].astype(np.uint32)
        out[row : row + 64] = (pixels[row : row + 64] * opacity + 255 * (255 - opacity) + 127) // 255
    return out


def is_grey(pixels: Samples) -> bool:
    """Return whether the three channels are equal everywhere."""
    for row in range(0, len(pixels), 256):
        part = pixels[row : row + 256]
        if not (np.array_equal(part[..., 0], part[..., 1]) and np.array_equal(part[..., 0], part[..., 2])):
            return False
    return True
