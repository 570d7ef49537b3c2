"""The pixels of an edit: what to keep of it, and how to put it back.

Pure work on photos: a patch is the box that changed; on a grown canvas it holds nothing where the photo
before lies, if that did not change. `Working` applies patches in order and gives the same samples, bit for
bit. It knows no files, no caches and no identifiers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from reknit.core.geometry import Box, Size
from reknit.core.image import Photo, Samples
from reknit.server.edit import Edit


def cut(before: Photo, photo: Photo, box: Box, at: tuple[int, int]) -> tuple[Photo, bool]:
    """Return the patch of an edit, and whether the photo before is to be laid over it.

    Parameters
    ----------
    before, photo
        The photo before and after, of the same depth, both with alpha or both without.
    box
        In ``photo``: everything that changed lies inside it.
    at
        Where ``before`` lies on ``photo``, whose canvas may be larger.

    Raises
    ------
    ValueError
        A pixel outside ``box`` differs: the box is wrong. Or photos and places do not fit together.
    """
    whole, place = Box.whole(photo.size), Box.whole(before.size).moved(*at)
    if photo.bits != before.bits or (photo.alpha is None) != (before.alpha is None):
        raise ValueError("an edit keeps depth and alpha")
    if not whole.contains(place) or not whole.contains(box):
        raise ValueError(f"{place} and {box} must lie in a picture of {photo.size}")
    if not all(place.contains(rest) and _same(photo, rest, before, place) for rest in _around(box, whole)):
        raise ValueError(f"a pixel outside {box} changed")
    patch = crop(replace(photo, metadata=before.metadata, origin=before.origin), box)
    on_top = place != whole and _same(photo, place, before, place)
    if on_top and place.intersects(box):
        hidden = place.inside(box).clipped(box.size).slices
        pixels, alpha = patch.pixels.copy(), None if patch.alpha is None else patch.alpha.copy()
        for plane in (pixels, alpha):
            if plane is not None:
                plane[hidden] = 0
        patch = patch.with_pixels(pixels, alpha)
    return patch, on_top


def crop(photo: Photo, box: Box) -> Photo:
    """Return a copy of ``box`` of a photo."""
    alpha = None if photo.alpha is None else photo.alpha[box.slices].copy()
    return photo.with_pixels(np.array(photo.pixels[box.slices], order="C"), alpha)


def moved(photo: Photo, at: tuple[int, int]) -> Photo:
    """Return a photo whose origin lies ``at`` further right and down, as on a larger canvas."""
    origin = photo.origin
    if origin is None or at == (0, 0):
        return photo
    return replace(photo, origin=replace(origin, left=origin.left + at[0], top=origin.top + at[1]))


class Working:
    """A photo to which patches are applied, copied once."""

    def __init__(self, photo: Photo) -> None:
        self._photo = photo
        self._pixels: Samples = photo.pixels.copy()
        self._alpha: Samples | None = None if photo.alpha is None else photo.alpha.copy()

    def apply(self, patch: Photo, edit: Edit) -> None:
        """Apply one edit; raises ValueError for a patch that does not fit."""
        fits = patch.size == edit.box.size and patch.pixels.dtype == self._pixels.dtype
        place = Box.whole(Size.of(self._pixels.shape)).moved(*edit.at)
        if not fits or (patch.alpha is None) != (self._alpha is None):
            raise ValueError("its patch does not fit")
        if not Box.whole(edit.size).contains(place):
            raise ValueError("the picture before does not fit on its canvas")
        self._pixels = _laid(self._pixels, patch.pixels, edit, place)
        if self._alpha is not None and patch.alpha is not None:
            self._alpha = _laid(self._alpha, patch.alpha, edit, place)
        self._photo = moved(self._photo, edit.at)

    def photo(self) -> Photo:
        """Return the result; no patch may be applied after."""
        return self._photo.with_pixels(self._pixels, self._alpha)


def _laid(before: Samples, patch: Samples, edit: Edit, place: Box) -> Samples:
    whole = Box.whole(edit.size)
    samples: Any = (
        before if place == whole else np.zeros((*whole.size.shape, *before.shape[2:]), before.dtype)
    )
    if edit.parent_on_top:
        samples[edit.box.slices] = patch
    if place != whole:
        samples[place.slices] = before
    if not edit.parent_on_top:
        samples[edit.box.slices] = patch
    return samples


def _around(box: Box, whole: Box) -> Iterator[Box]:
    """Yield the parts of ``whole`` outside ``box``."""
    for x0, y0, x1, y1 in (
        (whole.x0, whole.y0, whole.x1, box.y0),
        (whole.x0, box.y1, whole.x1, whole.y1),
        (whole.x0, box.y0, box.x0, box.y1),
        (box.x1, box.y0, whole.x1, box.y1),
    ):
        if x0 < x1 and y0 < y1:
            yield Box(x0=x0, y0=y0, x1=x1, y1=y1)


def _same(photo: Photo, box: Box, before: Photo, place: Box) -> bool:
    """Return whether ``box`` of a photo equals the photo that was at ``place``."""
    there = box.inside(place).slices
    if not np.array_equal(photo.pixels[box.slices], before.pixels[there]):
        return False
    if photo.alpha is None or before.alpha is None:
        return photo.alpha is before.alpha
    return np.array_equal(photo.alpha[box.slices], before.alpha[there])
