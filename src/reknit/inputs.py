"""Where the outside becomes values: paths, bytes, arrays and PIL images → `Photo` and `Mask`.

Mask polarity is settled here and nowhere later: white = fill unless the caller says otherwise; nothing is
guessed from a mask's content. Inputs are never mutated.
"""

from __future__ import annotations

from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reknit.core import codec, files
from reknit.core.errors import InputError
from reknit.core.geometry import Box, Size
from reknit.core.image import Photo, Samples
from reknit.core.mask import Mask

if TYPE_CHECKING:
    from PIL.Image import Image

PhotoLike: TypeAlias = "Photo | str | PathLike[str] | bytes | Samples | Image"
MaskLike: TypeAlias = "Mask | str | PathLike[str] | bytes | NDArray[Any] | Image"
MaskFrom = Literal["luma", "alpha"]


def as_photo(value: PhotoLike, *, limits: codec.Limits | None = None) -> Photo:
    """Return ``value`` as a `Photo`.

    Parameters
    ----------
    value
        A path, a file's bytes, an (H, W), (H, W, 3) or (H, W, 4) array of uint8 or uint16 (RGB order), a
        PIL image, or a `Photo`.
    limits
        Refuse files beyond these.
    """
    limits = limits or codec.Limits()
    if isinstance(value, Photo):
        return value
    if isinstance(value, bytes):
        return codec.decode(value, limits=limits)
    if isinstance(value, np.ndarray):
        return Photo.from_array(value)
    if isinstance(value, (str, PathLike)):
        return codec.read(Path(fspath(value)), limits=limits)
    return _from_pil(value, "photo")


def as_mask(
    value: MaskLike,
    size: Size,
    *,
    mask_from: MaskFrom = "luma",
    invert: bool = False,
    resize: bool = False,
    limits: codec.Limits | None = None,
) -> Mask:
    """Return ``value`` as a `Mask` (True = fill) of ``size``.

    Parameters
    ----------
    value
        As for `as_photo`; arrays may also be bool (True = fill) or float in 0…1 (1 = fill).
    size
        The photo's size; another size is an error unless ``resize``.
    mask_from
        ``"luma"``: brighter than 127 of 255 = fill. ``"alpha"``: transparent = fill.
    invert
        Swap fill and keep.
    resize
        Scale a mask of another size to the photo's.
    """
    mask = _mask(value, mask_from, limits or codec.Limits())
    if invert:
        mask = mask.inverted()
    if resize and mask.size != size:
        mask = mask.resized(size)
    return mask


def _mask(value: MaskLike, mask_from: MaskFrom, limits: codec.Limits) -> Mask:
    if mask_from not in ("luma", "alpha"):
        raise InputError(
            f"mask_from must be 'luma' or 'alpha', not {mask_from!r}",
            code="option.value",
            hint="luma: white = fill; alpha: transparent = fill",
        )
    if isinstance(value, Mask):
        return value
    if isinstance(value, np.ndarray):
        return _mask_from_array(value, mask_from)
    if isinstance(value, (str, PathLike)):
        path = Path(fspath(value))
        return _mask_of_file(files.read_bytes(path, max_bytes=limits.max_bytes), mask_from, limits, str(path))
    if isinstance(value, bytes):
        return _mask_of_file(value, mask_from, limits, "")
    if getattr(value, "mode", None) in ("1", "F"):
        return _mask_from_array(np.asarray(value), mask_from)
    return mask_of_photo(_from_pil(value, "mask"), mask_from)


def _mask_of_file(data: bytes, mask_from: MaskFrom, limits: codec.Limits, name: str) -> Mask:
    planes = codec.decode_mask_source(data, limits=limits, name=name)
    if mask_from == "luma":
        return Mask.from_luma(planes.luma)
    if planes.alpha is None:
        raise _no_alpha()
    return Mask.from_alpha(planes.alpha)


def as_box(text: str, size: Size) -> Box:
    """Return the box that ``"X,Y,W,H"`` names in a picture of ``size``; raises `InputError` (``option.value``)."""
    try:
        x, y, width, height = (int(part) for part in text.split(","))
        box = Box(x0=x, y0=y, x1=x + width, y1=y + height)
    except ValueError:
        raise InputError(
            f"--box takes X,Y,W,H in whole pixels, not {text!r}",
            code="option.value",
            hint="for example --box 120,80,60,200",
        ) from None
    if not box.intersects(Box.whole(size)):
        raise InputError(
            f"--box {text} lies outside the photo of {size} px",
            code="option.value",
            hint="X,Y is the box's left top corner, counted from the photo's left top corner",
        )
    return box


def mask_of_photo(photo: Photo, mask_from: MaskFrom) -> Mask:
    """Return the mask that a picture shows by its brightness or its alpha."""
    if mask_from == "luma":
        return Mask.from_luma(photo.pixels)
    if photo.alpha is None:
        raise _no_alpha()
    return Mask.from_alpha(photo.alpha)


def _no_alpha() -> InputError:
    return InputError(
        "the mask is to come from alpha, but the picture has none",
        code="mask.no-alpha",
        hint="use --mask-from luma for a black-and-white mask",
    )


def _mask_from_array(array: NDArray[Any], mask_from: MaskFrom) -> Mask:
    if mask_from == "alpha":
        if array.ndim == 3 and array.shape[2] not in (1, 4):
            raise _no_alpha()
        return Mask.from_alpha(array[..., -1] if array.ndim == 3 else array)
    if array.dtype == np.bool_:
        return Mask.from_bool(array)
    if np.issubdtype(array.dtype, np.floating):
        return Mask.from_unit(array)
    return Mask.from_luma(array)


def _from_pil(value: Any, what: str) -> Photo:
    """Return a PIL image as a photo: its pixels as they are, and its ICC profile if that fits them."""
    mode = getattr(value, "mode", None)
    if not isinstance(mode, str) or not hasattr(value, "tobytes"):
        raise InputError(
            f"a {what} cannot be made from {type(value).__name__}",
            code="photo.type",
            hint="give a path, bytes, a NumPy array or a PIL image",
        )
    if mode.startswith(("I", "F")):
        return Photo.from_array(_sixteen_bits(np.asarray(value)))
    profile: bytes = value.info.get("icc_profile") or b""
    if mode not in ("L", "RGB", "RGBA"):
        transparent = mode in ("LA", "La", "PA", "RGBa") or "transparency" in value.info
        value = value.convert("RGBA" if transparent else "RGB")
    photo = Photo.from_array(np.asarray(value))
    if profile[16:20] == b"RGB ":
        photo = replace(photo, metadata=replace(photo.metadata, icc=profile))
    return photo


def _sixteen_bits(plane: NDArray[Any]) -> NDArray[np.uint16]:
    whole = np.issubdtype(plane.dtype, np.integer)
    if not whole or plane.min() < 0 or plane.max() > 65535:
        raise InputError(
            "a PIL image of 32-bit samples can be used only if they are whole numbers from 0 to 65535",
            code="photo.dtype",
            hint="scale it to 8 or 16 bits first",
        )
    return plane.astype(np.uint16)
