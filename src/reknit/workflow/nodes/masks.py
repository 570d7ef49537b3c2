"""Masks: grow, feather, combine. With ComfyUI's arithmetic."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reknit.workflow.node import MAX_SIDE, choice, integer, link, node, number, switch
from reknit.workflow.resize import as_batch

Floats = NDArray[np.float32]


@node(
    "GrowMask",
    link("mask", "MASK"),
    integer("expand", 0, -MAX_SIDE, MAX_SIDE),
    switch("tapered_corners", True),
    outputs="MASK",
    title="Grow Mask",
    category="mask",
)
def grow_mask(mask: Floats, expand: int, tapered_corners: bool) -> Floats:
    """Grow a mask by pixels, or shrink it by as many below 0; tapered corners grow as diamonds, not squares."""
    import cv2

    corner = 0 if tapered_corners else 1
    kernel = np.array([[corner, 1, corner], [1, 1, 1], [corner, 1, corner]], np.uint8)
    change = cv2.dilate if expand > 0 else cv2.erode
    steps = min(abs(expand), sum(mask.shape[-2:]))
    each = as_batch(mask)
    return np.stack([change(one, kernel, iterations=steps) if steps else one for one in each]).astype(
        np.float32
    )


@node("InvertMask", link("mask", "MASK"), outputs="MASK", title="Invert Mask", category="mask")
def invert_mask(mask: Floats) -> Floats:
    """Swap what is painted and what is kept."""
    return 1 - mask


@node(
    "FeatherMask",
    link("mask", "MASK"),
    *(integer(side, 0, 0) for side in ("left", "top", "right", "bottom")),
    outputs="MASK",
    title="Feather Mask",
    category="mask",
)
def feather_mask(mask: Floats, left: int, top: int, right: int, bottom: int) -> Floats:
    """Let a mask fade towards the sides of the picture."""
    made = as_batch(mask).copy()
    height, width = made.shape[-2:]
    for axis, size, first, last in ((2, width, left, right), (1, height, top, bottom)):
        ramp = np.ones(size, np.float32)
        for count, way in ((min(first, size), 1), (min(last, size), -1)):
            if count:
                ramp[::way][:count] *= np.arange(1, count + 1, dtype=np.float32) / np.float32(count)
        made *= ramp[None, None, :] if axis == 2 else ramp[None, :, None]
    return made


@node(
    "ThresholdMask",
    link("mask", "MASK"),
    number("value", 0.5, 0.0, 1.0),
    outputs="MASK",
    title="Threshold Mask",
    category="mask",
)
def threshold_mask(mask: Floats, value: float) -> Floats:
    """Make a mask hard: 1 above a value."""
    return (mask > value).astype(np.float32)


@node(
    "SolidMask",
    number("value", 1.0, 0.0, 1.0),
    integer("width", 512, 1),
    integer("height", 512, 1),
    outputs="MASK",
    title="Solid Mask",
    category="mask",
)
def solid_mask(value: float, width: int, height: int) -> Floats:
    """Make a mask of one value."""
    return np.full((1, height, width), value, np.float32)


@node(
    "CropMask",
    link("mask", "MASK"),
    integer("x", 0, 0),
    integer("y", 0, 0),
    integer("width", 512, 1),
    integer("height", 512, 1),
    outputs="MASK",
    title="Crop Mask",
    category="mask",
)
def crop_mask(mask: Floats, x: int, y: int, width: int, height: int) -> Floats:
    """Cut a piece out of a mask."""
    return as_batch(mask)[:, y : y + height, x : x + width].copy()


@node(
    "MaskComposite",
    link("destination", "MASK"),
    link("source", "MASK"),
    integer("x", 0, 0),
    integer("y", 0, 0),
    choice("operation", ("multiply", "add", "subtract", "and", "or", "xor")),
    outputs="MASK",
    title="Combine Masks",
    category="mask",
)
def mask_composite(destination: Floats, source: Floats, x: int, y: int, operation: str) -> Floats:
    """Combine two masks, the second laid over the first at a place."""
    made = as_batch(destination).copy()
    source = as_batch(source)
    over = source[:, : max(0, made.shape[1] - y), : max(0, made.shape[2] - x)]
    here = made[:, y : y + over.shape[1], x : x + over.shape[2]]
    if operation in ("and", "or", "xor"):
        one, other = np.rint(here).astype(bool), np.rint(over).astype(bool)
        here[...] = {"and": one & other, "or": one | other, "xor": one ^ other}[operation]
    else:
        here[...] = {"multiply": here * over, "add": here + over, "subtract": here - over}[operation]
    return np.clip(made, 0, 1)
