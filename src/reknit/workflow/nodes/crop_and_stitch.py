"""A crop around the mask at the size a model likes, and back: the nodes of ComfyUI-Inpaint-CropAndStitch.

After that pack's documented behaviour: the mask is filled, grown and blurred, its box grown by a factor and to the
target's shape (beyond the picture if need be, where the border repeats), and scaled. The stitcher remembers what to
undo.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import InputError
from reknit.core.geometry import Box
from reknit.workflow.node import MAX_SIDE, choice, integer, link, node, number, switch
from reknit.workflow.nodes.pictures import repeated
from reknit.workflow.resize import pillow_scaled

Floats = NDArray[np.float32]

_ALGORITHMS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
_LEVELS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seam:
    """How one crop goes back.

    Attributes
    ----------
    canvas : ndarray of float32, (H, W, C)
        The picture, with what was put around it.
    whole : Box
        Where the picture lies on the canvas.
    crop : Box
        Where the crop lies on the canvas.
    share : ndarray of float32, (h, w)
        How much of the crop, at the size it was handed out, goes back.
    """

    canvas: Floats
    whole: Box
    crop: Box
    share: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Stitcher:
    """The seams of a batch, and how crops are scaled back."""

    seams: tuple[Seam, ...]
    down: str
    up: str


@node(
    "InpaintCropImproved",
    link("image", "IMAGE"),
    choice("downscale_algorithm", _ALGORITHMS, "bilinear"),
    choice("upscale_algorithm", _ALGORITHMS, "bicubic"),
    switch("preresize", False),
    choice(
        "preresize_mode",
        ("ensure minimum resolution", "ensure maximum resolution", "ensure minimum and maximum resolution"),
        "ensure minimum resolution",
    ),
    integer("preresize_min_width", 1024, 0),
    integer("preresize_min_height", 1024, 0),
    integer("preresize_max_width", MAX_SIDE, 0),
    integer("preresize_max_height", MAX_SIDE, 0),
    switch("mask_fill_holes", True),
    integer("mask_expand_pixels", 0, 0),
    switch("mask_invert", False),
    integer("mask_blend_pixels", 32, 0, 64),
    number("mask_hipass_filter", 0.1, 0, 1),
    switch("extend_for_outpainting", False),
    *(number(f"extend_{side}_factor", 1.0, 0.01, 100.0) for side in ("up", "down", "left", "right")),
    number("context_from_mask_extend_factor", 1.2, 1.0, 100.0),
    switch("output_resize_to_target_size", True),
    integer("output_target_width", 512, 64),
    integer("output_target_height", 512, 64),
    choice("output_padding", ("0", "8", "16", "32", "64", "128", "256", "512"), "32"),
    link("mask", "MASK", required=False),
    link("optional_context_mask", "MASK", required=False),
    outputs="STITCHER:stitcher IMAGE:cropped_image MASK:cropped_mask",
    title="Inpaint Crop (Improved)",
    category="inpaint",
)
def inpaint_crop(
    image: Floats, mask: Floats | None, optional_context_mask: Floats | None, **how: Any
) -> tuple[Stitcher, Floats, Floats]:
    """Cut out what is around the mask, at the size a model likes."""
    count = max(len(image), 1 if mask is None else len(mask))
    if count > 1 and not how["output_resize_to_target_size"]:
        raise InputError(
            "several pictures can only be cut to one size",
            code="workflow.input",
            hint="turn output_resize_to_target_size on",
        )
    image = repeated(image, count)
    mask = _fitting(mask, image)
    context = _fitting(optional_context_mask, image)
    cuts = [_cut(image[i], mask[i], context[i], how) for i in range(count)]
    stitcher = Stitcher(
        seams=tuple(seam for seam, _, _ in cuts),
        down=how["downscale_algorithm"],
        up=how["upscale_algorithm"],
    )
    return stitcher, np.stack([crop for _, crop, _ in cuts]), np.stack([hole for _, _, hole in cuts])


@node(
    "InpaintStitchImproved",
    link("stitcher", "STITCHER"),
    link("inpainted_image", "IMAGE"),
    outputs="IMAGE:image",
    title="Inpaint Stitch (Improved)",
    category="inpaint",
)
def inpaint_stitch(stitcher: Stitcher, inpainted_image: Floats) -> Floats:
    """Put a painted crop back to where it was cut out."""
    seams = stitcher.seams * len(inpainted_image) if len(stitcher.seams) == 1 else stitcher.seams
    made: list[Floats] = []
    for seam, crop in zip(seams, inpainted_image, strict=False):
        width, height = seam.crop.size.width, seam.crop.size.height
        larger = width > crop.shape[1] or height > crop.shape[0]
        method = stitcher.up if larger else stitcher.down
        crop = _scaled(crop, width, height, method)
        share = np.clip(_scaled(seam.share[..., None], width, height, method), 0, 1)
        canvas = seam.canvas.copy()
        here = canvas[seam.crop.slices]
        here[...] = share * crop[..., : here.shape[2]] + (1 - share) * here
        made.append(canvas[seam.whole.slices].copy())
    return np.stack(made)


def _fitting(mask: Floats | None, image: Floats) -> Floats:
    """Return a mask for each picture; an empty one of another size is an empty one of this."""
    if mask is None or (mask.shape[1:] != image.shape[1:3] and not mask.any()):
        return np.zeros(image.shape[:3], np.float32)
    if mask.shape[1:] != image.shape[1:3]:
        raise InputError(
            f"the mask is {mask.shape[2]} x {mask.shape[1]} px, "
            f"the picture {image.shape[2]} x {image.shape[1]} px",
            code="mask.size",
            hint="scale one to the other",
        )
    return repeated(mask, len(image))


def _cut(image: Floats, mask: Floats, context: Floats, how: dict[str, Any]) -> tuple[Seam, Floats, Floats]:
    if how["preresize"]:
        image, mask, context = _preresized(image, mask, context, how)
    if how["mask_fill_holes"]:
        mask = _without_holes(mask)
    if how["mask_expand_pixels"] > 0:
        mask = _grown(mask, how["mask_expand_pixels"])
    if how["mask_invert"]:
        mask = 1 - mask
    blend = how["mask_blend_pixels"]
    if blend > 0:
        mask = _blurred(_grown(mask, blend), blend * 0.5)
    low = how["mask_hipass_filter"]
    if low >= 0.01:
        mask, context = (np.where(one < low, np.float32(0), one) for one in (mask, context))
    if how["extend_for_outpainting"]:
        image, mask, context = _extended(image, mask, context, how)
    height, width = mask.shape
    box = _box(mask) or Box(x0=0, y0=0, x1=width, y1=height)
    factor = how["context_from_mask_extend_factor"]
    if factor >= 1.01:
        across = round(box.size.width * (factor - 1) / 2)
        down = round(box.size.height * (factor - 1) / 2)
        box = Box(
            x0=max(box.x0 - across, 0),
            y0=max(box.y0 - down, 0),
            x1=min(box.x1 + across, width),
            y1=min(box.y1 + down, height),
        )
    extra = _box(context)
    box = box if extra is None else box.united(extra)
    target = (box.size.width, box.size.height)
    if how["output_resize_to_target_size"]:
        target = how["output_target_width"], how["output_target_height"]
    padding = int(how["output_padding"])
    if padding:
        target = tuple(ceil(side / padding) * padding for side in target)
    return _handed_out(image, mask, _shaped(box, target[0] / target[1], width, height), target, blend, how)


def _handed_out(
    image: Floats, mask: Floats, box: Box, target: tuple[int, ...], blend: int, how: dict[str, Any]
) -> tuple[Seam, Floats, Floats]:
    """Return the seam, the crop and its mask for a box that may reach beyond the picture."""
    height, width = mask.shape
    left, top = max(0, -box.x0), max(0, -box.y0)
    right, bottom = max(0, box.x1 - width), max(0, box.y1 - height)
    canvas = np.pad(image, ((top, bottom), (left, right), (0, 0)), mode="edge")
    around = np.pad(mask, ((top, bottom), (left, right)), constant_values=1)
    crop = box.moved(left, top)
    wide, tall = target
    larger = wide > crop.size.width or tall > crop.size.height
    method = how["upscale_algorithm" if larger else "downscale_algorithm"]
    cut = _scaled(canvas[crop.slices], wide, tall, method)
    hole = _scaled(around[crop.slices][..., None], wide, tall, method)[..., 0]
    share = _blurred(hole, blend * 0.5) if blend > 0 else hole
    whole = Box(x0=left, y0=top, x1=left + width, y1=top + height)
    return Seam(canvas=canvas, whole=whole, crop=crop, share=share), cut, hole


def _shaped(box: Box, shape: float, width: int, height: int) -> Box:
    """Return a box grown to a shape: moved into the picture where it fits, else centred on it."""
    wide, tall = box.size.width, box.size.height
    if wide / tall < shape:
        x0, x1 = _stretched(box.x0, wide, int(tall * shape), width)
        return Box(x0=x0, y0=box.y0, x1=x1, y1=box.y1)
    y0, y1 = _stretched(box.y0, tall, int(wide / shape), height)
    return Box(x0=box.x0, y0=y0, x1=box.x1, y1=y1)


def _stretched(start: int, old: int, new: int, most: int) -> tuple[int, int]:
    first = start - (new - old) // 2
    if first < 0 or first + new > most:
        inside = 0 if first < 0 else most - new
        first = inside if new <= most else -((new - most) // 2)
    return first, first + new


def _scaled(values: Floats, width: int, height: int, method: str) -> Floats:
    return pillow_scaled(values[None], width, height, method)[0]


def _box(mask: Floats) -> Box | None:
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    if not len(rows):
        return None
    return Box(x0=int(columns[0]), y0=int(rows[0]), x1=int(columns[-1]) + 1, y1=int(rows[-1]) + 1)


def _without_holes(mask: Floats) -> Floats:
    """Return a mask whose enclosed places are as high as what encloses them, level by level."""
    import cv2

    square = np.ones((3, 3), np.uint8)
    for level in _LEVELS:
        # Closing, with what lies beyond the picture taken for set.
        high = np.pad((mask >= level).astype(np.uint8), 1, constant_values=1)
        wide: Any = cv2.dilate(high, square)[1:-1, 1:-1].copy()
        closed: Any = cv2.erode(wide, square, borderType=cv2.BORDER_CONSTANT, borderValue=1)
        outside = np.pad(1 - closed, 1, constant_values=1).astype(np.uint8)
        _, labels = cv2.connectedComponents(outside, connectivity=4)
        enclosed = (labels != labels[0, 0])[1:-1, 1:-1]
        mask = np.maximum(mask, np.where(enclosed | (closed > 0), np.float32(level), np.float32(0)))
    return mask.astype(np.float32)


def _grown(mask: Floats, pixels: float) -> Floats:
    import cv2

    side = ceil(pixels / 4 * 1.5 + 1)
    anchor = side // 2 - (1 if side % 2 == 0 else 0)
    made: Any = cv2.dilate(mask, np.ones((side, side), np.uint8), anchor=(anchor, anchor))
    return np.clip(made, 0, 1)


def _blurred(mask: Floats, pixels: float) -> Floats:
    import cv2

    sigma = pixels / 4
    if sigma <= 0:
        return mask
    reach = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(mask, reach, mode="symmetric")
    blurred = cv2.sepFilter2D(padded, cv2.CV_32F, kernel, kernel)
    inner = blurred[reach : reach + mask.shape[0], reach : reach + mask.shape[1]]
    return np.clip(inner, 0, 1).astype(np.float32)


def _preresized(
    image: Floats, mask: Floats, context: Floats, how: dict[str, Any]
) -> tuple[Floats, Floats, Floats]:
    height, width = mask.shape
    mode = how["preresize_mode"]
    least = max(how["preresize_min_width"] / width, how["preresize_min_height"] / height)
    most = min(how["preresize_max_width"] / width, how["preresize_max_height"] / height)
    factor, method = 1.0, how["upscale_algorithm"]
    if "minimum" in mode and least > 1:
        if "maximum" in mode and most < 1:
            raise InputError(
                "no size is within both limits of preresize", code="workflow.input", hint="widen them"
            )
        factor = least
    elif "maximum" in mode and most < 1:
        factor, method = most, how["downscale_algorithm"]
    if factor == 1.0:
        return image, mask, context
    wide, tall = int(width * factor), int(height * factor)
    for_masks = "bilinear" if mode == "ensure minimum resolution" else "nearest"
    mask, context = (_scaled(one[..., None], wide, tall, for_masks)[..., 0] for one in (mask, context))
    return _scaled(image, wide, tall, method), mask, context


def _extended(
    image: Floats, mask: Floats, context: Floats, how: dict[str, Any]
) -> tuple[Floats, Floats, Floats]:
    """Return all three with room at the sides, or less of them where a factor is below 1."""
    height, width = mask.shape
    up, down, left, right = (how[f"extend_{side}_factor"] for side in ("up", "down", "left", "right"))
    tall, wide = int(height * (up + down - 1)), int(width * (left + right - 1))
    if tall <= 0 or wide <= 0:
        raise InputError("nothing of the picture would be left", code="workflow.input", hint="raise a factor")
    top, start = int(height * (up - 1)), int(width * (left - 1))
    rows, columns = np.arange(tall) - top, np.arange(wide) - start
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None]
    at = np.ix_(np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1))
    return image[at], np.where(inside, mask[at], np.float32(1)), np.where(inside, context[at], np.float32(0))
