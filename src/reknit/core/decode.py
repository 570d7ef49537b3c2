"""Photos from bytes, through libvips.

Only listed containers are opened, recognised by content, never by name; sizes are checked from headers
before pixels take memory; a damaged file is an error, not half a picture. Decoded photos are upright, 8 or
16 bits, RGB; what had to change is said in notes. It knows no mask polarity and no options.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.core import exif, files
from reknit.core import metadata as blocks
from reknit.core.containers import SUFFIXES, libvips, sniff
from reknit.core.errors import InputError
from reknit.core.image import Metadata, Origin, Photo, Samples

_FOREIGN = (
    (b"%PDF", "a PDF"), (b"8BPS", "a Photoshop file"), (b"\x00\x00\x00\x0cJXL ", "a JPEG XL file"),
    (b"\xff\x0a", "a JPEG XL file"), (b"BM", "a BMP file"), (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 file"),
    (b"\x76\x2f\x31\x01", "an OpenEXR file"), (b"PK\x03\x04", "a zip archive"), (b"\x7fELF", "a program"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a file may ask for, checked from its header.

    Attributes
    ----------
    max_bytes : int
        Size of the file.
    max_pixels : int
        Width times height.
    max_side : int
        Longer side in pixels.
    """

    max_bytes: int = 2_000_000_000
    max_pixels: int = 500_000_000
    max_side: int = 100_000


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskSource:
    """A mask file's samples before anyone decided its polarity.

    Attributes
    ----------
    luma : ndarray of uint8, (H, W)
        Rec. 601 luma of the stored samples.
    alpha : ndarray of uint8, (H, W), or None
        Opacity where the file has it.
    notes : tuple of str
    """

    luma: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None
    notes: tuple[str, ...] = ()


def read(path: Path | str, *, limits: Limits = DEFAULT_LIMITS) -> Photo:
    """Return the photo in a file. Errors as `decode` and `files.read_bytes`."""
    data = files.read_bytes(path, max_bytes=limits.max_bytes)
    return decode(data, limits=limits, name=str(path))


def decode(data: bytes, *, limits: Limits = DEFAULT_LIMITS, name: str = "") -> Photo:
    """Return the photo in the bytes of a file.

    Parameters
    ----------
    data : bytes
        A whole JPEG, PNG, WebP, TIFF, AVIF, HEIC or GIF file.
    limits : Limits
    name : str
        The file's name for messages; its suffix is compared with the content, which decides.

    Raises
    ------
    InputError
        ``image.empty``, ``image.unknown``, ``image.too-large``, ``image.damaged``, ``image.samples``
    Unavailable
        ``codec.missing``
    """
    try:
        return _decoded(data, limits, name, fail_on="warning")
    except InputError as error:
        if error.code != "image.damaged" or sniff(data) != "jpeg":
            raise
        photo = _decoded(data, limits, name, fail_on="error")  # raises if the file is cut off
        note = f"the file is damaged, parts of the picture may be wrong ({error.facts['reason']})"
        return replace(photo, notes=(*photo.notes, note))


def _decoded(data: bytes, limits: Limits, name: str, *, fail_on: str) -> Photo:
    container, image = _open(data, limits, name, fail_on=fail_on)
    found = _carried(container, data, image)
    notes = _opening_notes(container, data, image, name, found)
    image, carried, notes = _to_rgb(image, name, found.metadata, notes)
    grey = image.bands < 3
    pixels, alpha = _arrays(_upright(container, image, data, name, found))
    bits = _field(image, "bits-per-sample", pixels.dtype.itemsize * 8)
    if pixels.dtype == np.uint16 and container in ("avif", "heic") and 8 < bits < 16:
        for plane in (pixels, alpha):  # full range: repeat the high bits in the low ones that are zero
            if plane is not None:
                plane |= plane >> bits
    origin = Origin(
        container=container,
        grey=grey,
        palette=_field(image, "palette", 0) == 1 or _tiff_number(container, data, exif.PHOTOMETRIC) == 3,
        lossless=_lossless(container, data),
        bits=bits,
        compression=_tiff_number(container, data, exif.COMPRESSION),
        orientation=found.orientation,
        data=data if container == "jpeg" else None,
        pixels=pixels if container == "jpeg" else None,
        name=Path(name).name,
    )
    return Photo(pixels=pixels, alpha=alpha, metadata=carried, origin=origin, notes=tuple(notes))


def decode_mask_source(data: bytes, *, limits: Limits = DEFAULT_LIMITS, name: str = "") -> MaskSource:
    """Return luma and alpha of a mask file, in any container that `decode` takes.

    16-bit samples keep their high byte. Errors as `decode`.
    """
    container, image = _open(data, limits, name)
    found = _carried(container, data, image)
    notes = _opening_notes(container, data, image, name, found)
    image, _, notes = _to_rgb(image, name, found.metadata, notes)
    stored = _upright(container, image, data, name, found)
    bands = stored.shape[2]
    luma: Any = stored[..., 0]
    if bands > 2:
        weights = np.array([19595, 38470, 7471], np.uint32)  # Rec. 601 in 16-bit fixed point, sums to 1
        luma = np.empty(stored.shape[:2], stored.dtype)
        for row in range(0, luma.shape[0], 64):
            chunk = stored[row : row + 64, :, :3].astype(np.uint32) @ weights
            luma[row : row + 64] = (chunk + 32768) >> 16
    return MaskSource(
        luma=_eight_bits(luma),
        alpha=_eight_bits(stored[..., -1]) if bands in (2, 4) else None,
        notes=tuple(notes),
    )


def _eight_bits(plane: Samples) -> NDArray[np.uint8]:
    if plane.dtype == np.uint16:
        return (plane >> 8).astype(np.uint8)
    return np.ascontiguousarray(plane, np.uint8)


def _field(image: Any, name: str, default: int) -> int:
    return int(image.get(name)) if image.get_typeof(name) else default


def _open(data: bytes, limits: Limits, name: str, *, fail_on: str = "error") -> tuple[str, Any]:
    """Return the container and a lazy libvips image whose header is within the limits.

    ``fail_on`` is for JPEG: ``"error"`` stops at a cut, ``"warning"`` also at what the decoder can step over.
    """
    if not data:
        raise InputError(
            f"{name or 'the file'} is empty", code="image.empty", hint="copy or download it again"
        )
    if len(data) > limits.max_bytes:
        raise files.too_many_bytes(len(data), limits.max_bytes, name)
    container = sniff(data)
    if container is None:
        raise _unknown(data, name)
    if container == "png" and len(data) >= 24:  # libvips refuses the widest without saying why
        _check_size(int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"), limits, name)
    vips = libvips()
    loader = {"avif": "heif", "heic": "heif"}.get(container, container)
    try:
        image = getattr(vips.Image, f"{loader}load_buffer")(
            data, access="sequential", fail_on=fail_on if container == "jpeg" else "error"
        )
    except vips.Error as error:
        raise _damaged(container, name, error) from error
    _check_size(int(image.width), int(image.height), limits, name)
    return container, image


def _check_size(width: int, height: int, limits: Limits, name: str) -> None:
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        raise InputError(
            f"{name or 'the picture'} is {width}×{height} px, more than {limits.max_pixels / 1e6:.0f} megapixels "
            f"or {limits.max_side} px a side",
            code="image.too-large",
            hint="raise the limit of pixels if you trust the file, or scale the picture down",
            width=width,
            height=height,
        )


def _unknown(data: bytes, name: str) -> InputError:
    head = data[:1024].lstrip().lower()
    what = next((words for magic, words in _FOREIGN if data.startswith(magic)), "")
    if head.startswith((b"<svg", b"<?xml", b"<!doctype svg")):
        what = "an SVG or XML document"
    elif not what and not any(byte < 9 for byte in data[:512]):
        what = "text"
    return InputError(
        f"{name or 'the file'} is {what or 'no picture that Reknit knows'}",
        code="image.unknown",
        hint="Reknit reads JPEG, PNG, WebP, TIFF, AVIF, HEIC and GIF; convert the file to one of these",
    )


def _damaged(container: str, name: str, error: Exception) -> InputError:
    lines = str(error).strip().splitlines()
    reason = lines[-1].strip() if lines else ""
    if any(words in reason for words in ("nsupported", "not supported", "out of range", "bad labq")):
        return InputError(
            f"{name or 'the picture'} is a {container.upper()} file of a kind that cannot be read",
            code="image.samples",
            hint="convert the picture to 8- or 16-bit grey or RGB, with or without alpha",
            reason=reason,
        )
    if any(words in reason for words in ("Maximum supported image dimension", "exceeds")):
        return InputError(
            f"{name or 'the picture'} is a {container.upper()} file larger than its decoder can read",
            code="image.too-large",
            hint="scale the picture down, or convert it to PNG or TIFF with another program",
            reason=reason,
        )
    return InputError(
        f"{name or 'the picture'} is a damaged or cut-off {container.upper()} file",
        code="image.damaged",
        hint="get the file again from its source, or open and save it in an editor that repairs it",
        reason=reason,
    )


def _carried(container: str, data: bytes, image: Any) -> blocks.Found:
    found = blocks.read(container, data)
    if container not in ("avif", "heic", "gif"):
        return found

    def blob(name: str) -> bytes | None:
        return bytes(image.get(name)) if image.get_typeof(name) else None

    block = blob("exif-data")
    block = exif.turned(block.removeprefix(b"Exif\0\0"), 1) if block else None
    text: tuple[tuple[str, str], ...] = ()
    if container != "gif":
        from reknit.core import isobmff, own_text

        text = own_text.found(block, isobmff.own(data, own_text.AVIF_BOX))
    metadata = Metadata(icc=blob("icc-profile-data"), exif=block, xmp=blob("xmp-data"), text=text)
    return blocks.without_pictures(blocks.Found(metadata=metadata))


def _to_rgb(image: Any, name: str, carried: Metadata, notes: list[str]) -> tuple[Any, Metadata, list[str]]:
    """Return the image as 8- or 16-bit grey or RGB, maybe alpha; other spaces are converted."""
    space, form = str(image.interpretation), str(image.format)
    bare = replace(carried, icc=None)
    if space == "cmyk" and form in ("uchar", "ushort"):
        profile = carried.icc is not None
        depth = 16 if form == "ushort" else 8
        image = image.icc_transform(
            "srgb",
            embedded=True,
            input_profile="cmyk",
            intent="relative",
            black_point_compensation=True,
            depth=depth,
        )
        how = "its profile" if profile else "a standard CMYK profile (it has none)"
        return image, bare, [*notes, f"converted from CMYK to sRGB through {how}"]
    if space in ("lab", "labs") and form != "uchar":
        wide = _field(image, "bits-per-sample", 16) > 8
        return image.colourspace("rgb16" if wide else "srgb"), bare, [*notes, "converted from CIELAB to sRGB"]
    if form not in ("uchar", "ushort") or image.bands > 4:
        raise InputError(
            f"{name or 'the picture'} has {image.bands} channels of {form} samples ({space}): not supported",
            code="image.samples",
            hint="convert the picture to 8- or 16-bit grey or RGB, with or without alpha",
            bands=int(image.bands),
            format=form,
        )
    return image, carried, notes


def _opening_notes(container: str, data: bytes, image: Any, name: str, found: blocks.Found) -> list[str]:
    suffix = Path(name).suffix.lower()
    notes = [f"the file is {container.upper()}, not {suffix[1:].upper()}"] * (
        SUFFIXES.get(suffix, container) not in (container, {"avif": "heic", "heic": "avif"}.get(container))
    )
    notes.extend(found.notes)
    pages = _field(image, "n-pages", 1)
    if pages > 1:
        notes.append(f"the first of {pages} {'frames' if container in ('gif', 'webp') else 'pages'} is used")
    if _tiff_number(container, data, exif.EXTRA_SAMPLES) == 1:
        notes.append("the colours, stored multiplied by the opacity, were divided by it")
    return notes


def _arrays(stored: Any) -> tuple[Samples, Samples | None]:
    """Return upright samples as (H, W, 3) pixels and (H, W) alpha or None, contiguous."""
    bands = stored.shape[2]
    alpha = np.array(stored[..., -1]) if bands in (2, 4) else None
    if bands == 3:
        return np.ascontiguousarray(stored), alpha
    pixels: Any = np.empty((*stored.shape[:2], 3), stored.dtype)
    pixels[:] = stored[..., :3] if bands == 4 else stored[..., :1]
    return pixels, alpha


def _upright(container: str, image: Any, data: bytes, name: str, found: blocks.Found) -> Any:
    """Decode: return upright samples (H, W, bands)."""
    orientation = 1 if container in ("avif", "heic", "gif") else found.orientation  # libheif turns by itself
    return _turned(_stored(image, data, name), orientation)


def _stored(image: Any, data: bytes, name: str) -> Any:
    """Return the samples as they lie in the file, (H, W, bands)."""
    try:
        memory = image.write_to_memory()
    except libvips().Error as error:
        container = sniff(data) or ""
        if container == "heic" and "not been built in" in str(error):
            from reknit.core import heic

            try:
                return heic.pixels(data)
            except (ValueError, EOFError, RuntimeError, SyntaxError) as damage:
                raise _damaged(container, name, damage) from damage
        raise _damaged(container, name, error) from error
    dtype: Any = np.uint16 if image.format == "ushort" else np.uint8
    return np.frombuffer(memory, dtype).reshape(image.height, image.width, image.bands)


def _turned(stored: Any, orientation: int) -> Any:
    """Return a view of the stored picture, upright (EXIF 2.32, tag 0x0112)."""
    if orientation in (5, 6, 7, 8):
        stored = stored.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        stored = stored[::-1]
    if orientation in (2, 3, 6, 7):
        stored = stored[:, ::-1]
    return stored


def _lossless(container: str, data: bytes) -> bool:
    if container == "webp":
        return blocks.webp_lossless(data)
    if container == "avif":
        from reknit.core import isobmff

        return isobmff.is_lossless(data)
    if container == "tiff":
        return _tiff_number(container, data, exif.COMPRESSION) not in (6, 7, 50001)
    return container in ("png", "gif")


def _tiff_number(container: str, data: bytes, tag: int) -> int:
    first = exif.read(data) if container == "tiff" else None
    return first.number(tag) if first else 0
