"""The geometry of extend: how large the new canvas is and where the photo lies on it.

Sides are given in pixels or in percent of the photo, or as an aspect ratio with an anchor, or both: the
sides are added first and the ratio is reached from there. Everything is exact integer work on values;
what fills the new area is not known here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import InputError, nearest_name
from reknit.core.geometry import Box, Size
from reknit.core.image import Photo
from reknit.core.options import Option

Amount = int | str

MAX_SIDE_PX = 65_535
MAX_PIXELS = 500_000_000

ANCHORS = (
    "center",
    "left",
    "right",
    "top",
    "bottom",
    "top-left",
    "top-right",
    "bottom-left",
    "bottom-right",
)

OPTIONS: tuple[Option, ...] = (
    *(
        Option(
            name=side,
            kind="text",
            default="0",
            help=f"how much to add at the {side}: pixels (64) or percent of the photo's {length} (25%)",
        )
        for side, length in (("left", "width"), ("right", "width"), ("top", "height"), ("bottom", "height"))
    ),
    Option(name="aspect", kind="text", default=None, help="grow to this ratio of width to height, e.g. 16:9"),
    Option(
        name="anchor",
        kind="choice",
        default="center",
        choices=ANCHORS,
        help="where the photo stays on the canvas while it grows to the aspect ratio",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """A larger picture and the place of the photo on it.

    Attributes
    ----------
    size : Size
        Of the whole canvas.
    photo_box : Box
        Where the photo lies; always inside the canvas, never all of it.
    """

    size: Size
    photo_box: Box

    def __post_init__(self) -> None:
        if not Box.whole(self.size).contains(self.photo_box) or self.size == self.photo_box.size:
            raise ValueError(f"the photo at {self.photo_box} does not leave room on a canvas of {self.size}")

    @property
    def added(self) -> tuple[int, int, int, int]:
        """Pixels added at the left, top, right and bottom."""
        box = self.photo_box
        return box.x0, box.y0, self.size.width - box.x1, self.size.height - box.y1


def plan_canvas(
    photo: Size,
    *,
    left: Amount = 0,
    right: Amount = 0,
    top: Amount = 0,
    bottom: Amount = 0,
    aspect: str | None = None,
    anchor: str = "center",
) -> Canvas:
    """Return the canvas that holds a photo of size ``photo`` and what was asked for around it.

    Parameters
    ----------
    photo
        Size of the photo.
    left, right, top, bottom
        What to add at each side: pixels (``64``, ``"64"``, ``"64px"``) or percent of the photo's width or
        height (``"25%"``), rounded to the nearest pixel.
    aspect
        ``"W:H"``. After the sides are added, the canvas grows in one direction until it has this ratio, to
        the nearest pixel; it never shrinks.
    anchor
        Where the photo stays while the canvas grows to ``aspect``: ``"left"`` grows to the right only,
        ``"center"`` to both sides (an odd pixel goes right or down).

    Raises
    ------
    InputError
        ``extend.amount``, ``extend.aspect``, ``extend.anchor`` for values that cannot be used,
        ``extend.nothing`` when the canvas would be the photo, ``extend.too-large`` past `MAX_SIDE_PX` or
        `MAX_PIXELS`.
    """
    across, down = _anchor(anchor, aspect)
    x0 = _amount(left, photo.width, "left")
    x1 = _amount(right, photo.width, "right")
    y0 = _amount(top, photo.height, "top")
    y1 = _amount(bottom, photo.height, "bottom")
    width, height = x0 + photo.width + x1, y0 + photo.height + y1
    if aspect is not None:
        ratio = _ratio(aspect)
        more_x = max(0, round(height * ratio) - width)
        more_y = 0 if more_x else max(0, round(width / ratio) - height)
        x0 += int(more_x * across)
        y0 += int(more_y * down)
        width, height = width + more_x, height + more_y
    if (width, height) == (photo.width, photo.height):
        raise _nothing(photo, aspect)
    if max(width, height) > MAX_SIDE_PX or width * height > MAX_PIXELS:
        raise InputError(
            f"the canvas would be {width}×{height} px",
            code="extend.too-large",
            hint=f"a side may have {MAX_SIDE_PX} px and the canvas {MAX_PIXELS // 1_000_000} megapixels",
            width=width,
            height=height,
        )
    box = Box(x0=x0, y0=y0, x1=x0 + photo.width, y1=y0 + photo.height)
    return Canvas(size=Size(width=width, height=height), photo_box=box)


def expand(photo: Photo, canvas: Canvas) -> tuple[Photo, NDArray[np.bool_]]:
    """Return ``photo`` on its ``canvas`` and where the canvas is new, (H, W) bool, True = to be filled.

    New pixels repeat the photo's edge, a new alpha is opaque; the photo's own samples are equal at their
    place. Metadata and the kind of file stay.
    """
    if canvas.photo_box.size != photo.size:
        raise ValueError(f"the canvas is for a photo of {canvas.photo_box.size}, not {photo.size}")
    left, top, right, bottom = canvas.added
    pixels = np.pad(photo.pixels, ((top, bottom), (left, right), (0, 0)), "edge")
    alpha = photo.alpha
    if alpha is not None:
        opaque = np.iinfo(alpha.dtype).max
        alpha = np.pad(alpha, ((top, bottom), (left, right)), constant_values=opaque)
    origin = photo.origin and replace(photo.origin, left=photo.origin.left + left, top=photo.origin.top + top)
    new = np.ones(canvas.size.shape, np.bool_)
    new[canvas.photo_box.slices] = False
    return replace(photo, pixels=np.ascontiguousarray(pixels), alpha=alpha, origin=origin), new


def _amount(value: object, side_px: int, name: str) -> int:
    """Return an amount in pixels."""
    text = str(value).strip() if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)\s*(px|%)?", text, re.ASCII | re.IGNORECASE)
    if match is None or (match[2] != "%" and "." in match[1]):
        raise InputError(
            f"{name}: {value!r} is not an amount to add",
            code="extend.amount",
            hint="give whole pixels (64) or percent (25%); to take something away, crop the photo",
            side=name,
        )
    return round(Fraction(match[1]) * side_px / 100) if match[2] == "%" else int(match[1])


def _ratio(aspect: object) -> Fraction:
    """Return width / height."""
    number = r"(\d{1,5}(?:\.\d{1,4})?)"
    match = (
        re.fullmatch(rf"{number}\s*[:/]\s*{number}", aspect.strip(), re.ASCII)
        if isinstance(aspect, str)
        else None
    )
    if match is None or 0 in (Fraction(match[1]), Fraction(match[2])):
        raise InputError(
            f"aspect: {aspect!r} is not a ratio",
            code="extend.aspect",
            hint="give width:height, such as 16:9 or 2.39:1",
        )
    return Fraction(match[1]) / Fraction(match[2])


def _anchor(anchor: str, aspect: str | None) -> tuple[Fraction, Fraction]:
    """Return which share of the growth goes before the photo, across and down."""
    if anchor not in ANCHORS:
        raise InputError(
            f"anchor: no {anchor!r}", code="extend.anchor", hint=nearest_name(str(anchor), ANCHORS)
        )
    if anchor != "center" and aspect is None:
        raise InputError(
            "an anchor needs an aspect to grow to",
            code="extend.anchor",
            hint="add an aspect such as 16:9, or give the sides (left, right, top, bottom) and no anchor",
        )
    words = anchor.split("-")
    share = {"left": 0, "top": 0, "right": 1, "bottom": 1}
    across = next((Fraction(share[word]) for word in words if word in ("left", "right")), Fraction(1, 2))
    down = next((Fraction(share[word]) for word in words if word in ("top", "bottom")), Fraction(1, 2))
    return across, down


def _nothing(photo: Size, aspect: str | None) -> InputError:
    if aspect is None:
        return InputError(
            "there is nothing to extend",
            code="extend.nothing",
            hint="say where to and how far: left, right, top, bottom (64 or 25%), or an aspect (16:9)",
        )
    return InputError(
        f"the photo ({photo}) already has the aspect {aspect}",
        code="extend.nothing",
        hint="give another aspect, or the sides to extend",
    )
