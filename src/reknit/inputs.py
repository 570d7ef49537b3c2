"""Where the outside becomes values: paths, bytes, arrays and PIL images → `Photo` and `Mask`.

Mask polarity is settled here and nowhere later: white = fill unless the caller says otherwise; nothing is
guessed from a mask's content. Inputs are never mutated.
"""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reknit.core import codec
from reknit.core.errors import InputError
from reknit.core.geometry import Size
from reknit.core.image import Photo
from reknit.core.mask import Mask

if TYPE_CHECKING:
    from PIL.Image import Image

PhotoLike: TypeAlias = "Photo | str | PathLike[str] | bytes | NDArray[np.uint8] | NDArray[np.uint16] | Image"
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
    if isinstance(value, Mask):
        return value
    if isinstance(value, np.ndarray):
        return _mask_from_array(value, mask_from)
    if mask_from not in ("luma", "alpha"):
        raise InputError(
            f"mask_from must be 'luma' or 'alpha', not {mask_from!r}",
            code="option.value",
            hint="luma: white = fill; alpha: transparent = fill",
        )
    return mask_of_photo(as_photo(value, limits=limits), mask_from)


def mask_of_photo(photo: Photo, mask_from: MaskFrom) -> Mask:
    """Return the mask that a picture shows by its brightness or its alpha."""
    if mask_from == "luma":
        return Mask.from_luma(photo.pixels)
    if photo.alpha is None:
        raise InputError(
            "the mask is to come from alpha, but the picture has none",
            code="mask.no-alpha",
            hint="use --mask-from luma for a black-and-white mask",
        )
    return Mask.from_alpha(photo.alpha)


def _mask_from_array(array: NDArray[Any], mask_from: MaskFrom) -> Mask:
    if array.dtype == np.bool_:
        return Mask.from_bool(array)
    if np.issubdtype(array.dtype, np.floating):
        return Mask.from_unit(array)
    if mask_from == "alpha":
        return Mask.from_alpha(array[..., 3] if array.ndim == 3 else array)
    return Mask.from_luma(array)


def _from_pil(value: Any, what: str) -> Photo:
    mode = getattr(value, "mode", None)
    if not isinstance(mode, str) or not hasattr(value, "tobytes"):
        raise InputError(
            f"a {what} cannot be made from {type(value).__name__}",
            code="photo.type",
            hint="give a path, bytes, a NumPy array or a PIL image",
        )
    if mode.startswith("I;16"):
        return Photo.from_array(np.asarray(value).astype(np.uint16))
    if mode not in ("L", "RGB", "RGBA"):
        value = value.convert("RGBA" if mode in ("LA", "PA") or "transparency" in value.info else "RGB")
    photo = Photo.from_array(np.asarray(value))
    icc = value.info.get("icc_profile")
    if icc:
        from dataclasses import replace

        photo = replace(photo, metadata=replace(photo.metadata, icc=icc))
    return photo
