"""`Photo`: upright pixels plus everything a file carried beside them.

A photo is a value: read-only arrays, never changed in place. It knows no file format; `core.codec` makes
photos from bytes and bytes from photos.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import InputError, Unavailable
from reknit.core.geometry import Size

if TYPE_CHECKING:
    from PIL.Image import Image

Samples: TypeAlias = NDArray[np.uint8 | np.uint16]
"""Values of pixels: uint8, or uint16 over the full range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a file said about its picture, as raw blocks that are carried, never interpreted.

    Attributes
    ----------
    icc, exif, xmp, iptc : bytes or None
        The raw blocks: ICC profile, EXIF as a TIFF structure (no ``Exif\\0\\0`` prefix) whose orientation is
        already 1 (pixels are upright), XMP packet, IPTC-IIM record.
    text : tuple of (str, str)
        PNG text entries, in file order.
    dpi : tuple of (float, float) or None
        Horizontal and vertical resolution in dots per inch.
    blocks : tuple of (str, bytes)
        Everything else that only the origin's container knows (PNG chunks, JPEG segments by marker in hex),
        carried back verbatim into that container.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    text: tuple[tuple[str, str], ...] = ()
    dpi: tuple[float, float] | None = None
    blocks: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The file a photo was decoded from, so that saving can give the same kind of file back.

    Attributes
    ----------
    container : str
        ``"jpeg"``, ``"png"``, ``"webp"``, ``"tiff"``, ``"avif"``, ``"heic"`` or ``"gif"``.
    grey : bool
        The file had one colour channel.
    palette : bool
        The file was indexed.
    lossless : bool
        Whether pixels were stored without loss.
    bits : int
        Bits a sample in the file: 1, 2, 4, 8, 10, 12 or 16.
    compression : int
        A TIFF file's compression tag; 0 elsewhere.
    orientation : int
        EXIF orientation of the stored picture, 1 to 8. The photo's pixels are upright; with any value but 1
        they lie otherwise than in ``data``.
    data : bytes or None
        The file itself, kept for JPEG only, so that unchanged blocks need not be encoded again.
    pixels : ndarray or None
        The upright pixels as decoded from ``data`` (shared with the photo): what "unchanged" is measured
        against.
    left, top : int
        Where the first of these pixels lies in the photo, if its canvas has changed since.
    name : str
        The file's name without its folders; empty if it is not known.
    """

    container: str
    grey: bool = False
    palette: bool = False
    lossless: bool = True
    bits: int = 8
    compression: int = 0
    orientation: int = 1
    data: bytes | None = field(default=None, repr=False)
    pixels: Samples | None = field(default=None, repr=False)
    left: int = 0
    top: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """An upright picture.

    Attributes
    ----------
    pixels : ndarray, (H, W, 3), uint8 or uint16
        RGB in the colour space of ``metadata.icc`` (sRGB without one). C-contiguous, read-only. Grey
        pictures have three equal channels and ``origin.grey``.
    alpha : ndarray or None, (H, W), same dtype
        Opacity, 0 = transparent; not premultiplied.
    metadata : Metadata
    origin : Origin or None
        None for photos made in memory.
    notes : tuple of str
        What decoding had to change, in sentences for people.
    """

    pixels: Samples
    alpha: Samples | None = None
    metadata: Metadata = field(default_factory=Metadata)
    origin: Origin | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        pixels = self.pixels
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype.name not in ("uint8", "uint16"):
            raise ValueError(f"pixels must be (H, W, 3) uint8 or uint16, not {pixels.shape} {pixels.dtype}")
        if not pixels.flags.c_contiguous:
            raise ValueError("pixels must be C-contiguous")
        if 0 in pixels.shape:
            raise ValueError("a photo needs at least one pixel")
        alpha = self.alpha
        if alpha is not None and (alpha.shape != pixels.shape[:2] or alpha.dtype != pixels.dtype):
            raise ValueError(
                f"alpha {alpha.shape} {alpha.dtype} does not match pixels {pixels.shape} {pixels.dtype}"
            )
        pixels.flags.writeable = False
        if alpha is not None:
            alpha.flags.writeable = False

    def __repr__(self) -> str:
        name = f", {self.origin.name!r}" if self.origin and self.origin.name else ""
        kind = "RGB" if self.alpha is None else "RGBA"
        return f"<Photo {self.size.width}×{self.size.height} {kind}, {self.bits} bits{name}>"

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        return Size.of(self.pixels.shape)

    @property
    def bits(self) -> int:
        """8 or 16 bits a sample."""
        return self.pixels.dtype.itemsize * 8

    def with_pixels(
        self,
        pixels: Samples,
        alpha: Samples | None = None,
    ) -> Photo:
        """Return this photo with other pixels, keeping what the file carried."""
        return replace(self, pixels=pixels, alpha=alpha)

    @staticmethod
    def from_array(array: NDArray[Any]) -> Photo:
        """Return a photo of a copy of ``array``; one of a grey array is saved as grey.

        Parameters
        ----------
        array
            (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); uint8 or uint16; RGB order; alpha last.

        Raises
        ------
        InputError
            ``photo.shape`` or ``photo.dtype``.
        """
        if array.dtype.name not in ("uint8", "uint16"):
            raise InputError(
                f"a photo array must be uint8 or uint16, not {array.dtype}",
                code="photo.dtype",
                hint="scale floats yourself, e.g. (x * 255).round().astype(numpy.uint8)",
            )
        if array.ndim == 2:
            array = array[:, :, None]
        if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
            raise InputError(
                f"a photo array must be (H, W), (H, W, 3) or (H, W, 4), not {array.shape}",
                code="photo.shape",
                hint="channels come last",
            )
        grey = array.shape[2] == 1
        pixels = np.repeat(array, 3, axis=2) if grey else np.array(array[:, :, :3], order="C")
        alpha = np.array(array[:, :, 3], order="C") if array.shape[2] == 4 else None
        origin = Origin(container="png", grey=True) if grey else None
        return Photo(pixels=pixels, alpha=alpha, origin=origin)

    def to_numpy(self) -> Samples:
        """Return a new, writable (H, W, 3) array, or (H, W, 4) with alpha."""
        if self.alpha is None:
            return self.pixels.copy()
        return np.dstack((self.pixels, self.alpha))

    def to_pil(self) -> Image:
        """Return a PIL image, RGB or RGBA, 8 bits a channel, with the ICC profile; needs Pillow."""
        try:
            from PIL import Image
        except ImportError:
            raise Unavailable(
                "to_pil needs Pillow, which is not installed",
                code="pillow.missing",
                hint="pip install pillow",
            ) from None
        array = self.to_numpy()
        if self.bits == 16:
            array = ((array.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
        image = Image.fromarray(array)
        if self.metadata.icc:
            image.info["icc_profile"] = self.metadata.icc
        return image
