"""Connected parts of a mask with their measures, and the few filters that find marks.

Everything is plain array work through OpenCV, loaded when first needed; what the parts mean is not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Bits = NDArray[np.bool_]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The connected parts of a mask (8 neighbours) and their measures, one entry a part, part 0 first."""

    labels: NDArray[np.int32]
    index: NDArray[np.intp]
    part: NDArray[np.int32]
    area: NDArray[np.float64]
    width: NDArray[np.float64]
    height: NDArray[np.float64]
    center: NDArray[np.float64]

    @staticmethod
    def of(mask: Bits) -> Parts:
        """Return the parts of ``mask``."""
        import cv2

        _, labels, stats, centers = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        measures = cast("NDArray[np.int32]", stats)[1:].astype(np.float64)
        numbers = cast("NDArray[np.int32]", labels)
        index = np.flatnonzero(numbers)
        return Parts(
            labels=numbers,
            index=index,
            part=numbers.ravel()[index] - 1,
            area=measures[:, cv2.CC_STAT_AREA],
            width=measures[:, cv2.CC_STAT_WIDTH],
            height=measures[:, cv2.CC_STAT_HEIGHT],
            center=cast("NDArray[np.float64]", centers)[1:],
        )

    def mean(self, plane: Plane) -> NDArray[np.float64]:
        """Return the mean of ``plane`` over each part."""
        return np.bincount(self.part, plane.ravel()[self.index], self.area.size) / self.area

    def largest(self, plane: Plane) -> NDArray[np.float64]:
        """Return the largest value of ``plane`` in each part."""
        out = np.zeros(self.area.size)
        np.maximum.at(out, self.part, plane.ravel()[self.index])
        return out

    def thickness(self) -> NDArray[np.float64]:
        """Return the mean thickness of each part in pixels: a strip's mean depth is a quarter of it."""
        import cv2

        depth = cv2.distanceTransform((self.labels > 0).astype(np.uint8), cv2.DIST_L2, 5)
        return np.maximum(1, 4 * self.mean(cast(Plane, depth)) - 2)

    def extent(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the length and width of each part as if it were an upright or turned rectangle."""
        rows, columns = np.divmod(self.index, self.labels.shape[1])
        x, y = columns - self.center[self.part, 0], rows - self.center[self.part, 1]
        xx, yy, xy = (np.bincount(self.part, m, self.area.size) / self.area for m in (x * x, y * y, x * y))
        half, apart = (xx + yy) / 2, np.sqrt((xx - yy) ** 2 / 4 + xy**2)
        return np.sqrt(12 * (half + apart) + 1), np.sqrt(12 * np.maximum(0, half - apart) + 1)

    def at_center(self, plane: Plane) -> NDArray[np.float64]:
        """Return the value of ``plane`` at each part's centre."""
        x, y = self.center.astype(np.intp).T
        return plane[y, x].astype(np.float64)

    def only(self, which: Bits) -> Parts:
        """Return the chosen parts, numbered anew."""
        kept = which[self.part]
        number = (np.cumsum(which) - 1).astype(np.int32)
        labels = np.zeros_like(self.labels)
        labels.ravel()[self.index[kept]] = number[self.part[kept]] + 1
        return Parts(
            labels=labels,
            index=self.index[kept],
            part=number[self.part[kept]],
            area=self.area[which],
            width=self.width[which],
            height=self.height[which],
            center=self.center[which],
        )

    def crowd(self, which: Bits, around_px: float) -> NDArray[np.float64]:
        """Return how many of ``which`` lie in a square of ``2 · around_px`` around each part."""
        points = np.zeros(self.labels.shape, np.float32)
        x, y = self.center[which].astype(np.intp).T
        np.add.at(points, (y, x), 1)
        side = round(2 * around_px) | 1
        return self.at_center(local_mean(points, side) * side * side)

    def where(self, which: Bits) -> Bits:
        """Return the mask of the chosen parts."""
        out = np.zeros(self.labels.shape, np.bool_)
        out.ravel()[self.index] = which[self.part]
        return out


def disk(diameter_px: float) -> Bytes:
    """Return a round structuring element of at least 3 px."""
    import cv2

    side = max(3, round(diameter_px) | 1)
    return cast(Bytes, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))


def morphed(operation: int, plane: Plane | Bytes, element: Bytes) -> Plane:
    """Return a morphological filter of ``plane`` (its dtype stays), the border mirrored."""
    import cv2

    return cast(Plane, cv2.morphologyEx(plane, operation, element, borderType=cv2.BORDER_REFLECT))


def local_mean(plane: Plane, side_px: float) -> Plane:
    """Return the mean over a square around each pixel, the border mirrored."""
    import cv2

    side = max(1, round(side_px) | 1)
    return cast(Plane, cv2.blur(plane, (side, side), borderType=cv2.BORDER_REFLECT))


def grown(mask: Bits, px: float) -> Bits:
    """Return ``mask`` grown by ``px``."""
    import cv2

    return morphed(cv2.MORPH_DILATE, mask.astype(np.uint8), disk(2 * px + 1)).astype(np.bool_)
