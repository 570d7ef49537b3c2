"""Sizes and boxes: integers, half-open, x before y.

These values carry pixel geometry everywhere outside array code, so that an axis order is never guessed.
NumPy's (row, column) order appears only through `Box.slices`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Size:
    """Width and height in pixels, both at least 1."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a size needs at least 1×1 px, not {self.width}×{self.height}")

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.width * self.height

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)``, as NumPy wants it."""
        return self.height, self.width

    @staticmethod
    def of(shape: tuple[int, ...]) -> Size:
        """Return the size of an array's ``shape`` (height, width, ...)."""
        return Size(width=int(shape[1]), height=int(shape[0]))

    def __str__(self) -> str:
        return f"{self.width}×{self.height}"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Box:
    """A half-open rectangle of pixels: ``x0 <= x < x1`` and ``y0 <= y < y1``. Never empty."""

    x0: int
    y0: int
    x1: int
    y1: int

    def __post_init__(self) -> None:
        if self.x1 <= self.x0 or self.y1 <= self.y0:
            raise ValueError(f"a box needs at least one pixel: {self}")

    @property
    def size(self) -> Size:
        """Width and height."""
        return Size(width=self.x1 - self.x0, height=self.y1 - self.y0)

    @property
    def area(self) -> int:
        """Number of pixels."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of this box in an array of shape ``(height, width, ...)``."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    @staticmethod
    def whole(size: Size) -> Box:
        """Return the box of a whole picture."""
        return Box(x0=0, y0=0, x1=size.width, y1=size.height)

    def grown(
        self, left: int, top: int | None = None, right: int | None = None, bottom: int | None = None
    ) -> Box:
        """Return the box grown by pixels a side; one value serves all four sides."""
        top = left if top is None else top
        right = left if right is None else right
        bottom = top if bottom is None else bottom
        return Box(x0=self.x0 - left, y0=self.y0 - top, x1=self.x1 + right, y1=self.y1 + bottom)

    def clipped(self, size: Size) -> Box:
        """Return the part inside a picture of ``size``; raises ValueError if there is none."""
        return Box(
            x0=max(0, self.x0), y0=max(0, self.y0), x1=min(size.width, self.x1), y1=min(size.height, self.y1)
        )

    def united(self, other: Box) -> Box:
        """Return the smallest box that holds both."""
        return Box(
            x0=min(self.x0, other.x0),
            y0=min(self.y0, other.y0),
            x1=max(self.x1, other.x1),
            y1=max(self.y1, other.y1),
        )

    def intersects(self, other: Box) -> bool:
        """Return whether the two boxes share a pixel."""
        return self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1

    def moved(self, dx: int, dy: int) -> Box:
        """Return the box shifted by ``(dx, dy)``."""
        return Box(x0=self.x0 + dx, y0=self.y0 + dy, x1=self.x1 + dx, y1=self.y1 + dy)

    def inside(self, outer: Box) -> Box:
        """Return this box in the coordinates of ``outer``."""
        return self.moved(-outer.x0, -outer.y0)

    def contains(self, other: Box) -> bool:
        """Return whether ``other`` lies wholly within this box."""
        return self.x0 <= other.x0 and self.y0 <= other.y0 and self.x1 >= other.x1 and self.y1 >= other.y1


def round_up(value: int, multiple: int) -> int:
    """Return the smallest multiple of ``multiple`` that is at least ``value``."""
    return ceil(value / multiple) * multiple
