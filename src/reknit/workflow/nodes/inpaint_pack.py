"""The nodes of comfyui-inpaint-nodes that fill, blur and grow, and run LaMa and its like.

A mask counts from 0.99 on. Networks get the crops that suit them, not the whole picture squeezed into a small square,
which is the one thing that is otherwise than in the pack.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.workflow.context import Context
from reknit.workflow.node import MAX_SEED, choice, integer, link, node
from reknit.workflow.nodes.ours import filled
from reknit.workflow.nodes.pictures import repeated
from reknit.workflow.resize import as_batch

Floats = NDArray[np.float32]

_MOST = 8191
_SURE = 0.99


@node(
    "INPAINT_MaskedFill",
    link("image", "IMAGE"),
    link("mask", "MASK"),
    choice("fill", ("neutral", "telea", "navier-stokes")),
    integer("falloff", 0, 0, _MOST),
    outputs="IMAGE:image",
    title="Fill Masked Area",
    category="inpaint",
)
def masked_fill(image: Floats, mask: Floats, fill: str, falloff: int) -> Floats:
    """Fill the hole with grey or with what flows in from its rim."""
    made = image.copy()
    for picture, hole in zip(made, repeated(mask, len(image)), strict=True):
        alpha = _softened(_sure(hole), _odd(falloff))[..., None]
        if fill == "neutral":
            picture[..., :3] = (picture[..., :3] - 0.5) * (1 - alpha) + 0.5
        else:
            picture[..., :3] = (
                picture[..., :3] * (1 - alpha) + _flown_in(picture[..., :3], alpha, fill) * alpha
            )
    return made


def _flown_in(picture: Floats, alpha: Floats, method: str) -> Floats:
    import cv2

    way = cv2.INPAINT_TELEA if method == "telea" else cv2.INPAINT_NS
    eight = np.ascontiguousarray((255 * picture).astype(np.uint8))
    made = cv2.inpaint(eight, (255 * alpha).astype(np.uint8), 3, way)
    return made.astype(np.float32) / np.float32(255)


@node(
    "INPAINT_MaskedBlur",
    link("image", "IMAGE"),
    link("mask", "MASK"),
    integer("blur", 255, 3, _MOST),
    integer("falloff", 0, 0, _MOST),
    outputs="IMAGE:image",
    title="Blur Masked Area",
    category="inpaint",
)
def masked_blur(image: Floats, mask: Floats, blur: int, falloff: int) -> Floats:
    """Blur the hole together with its surroundings."""
    blur = _odd(blur)
    falloff = min(_odd(falloff), blur - 2)
    made = image.copy()
    for picture, hole in zip(made, repeated(mask, len(image)), strict=True):
        alpha = _softened(_sure(hole), falloff)[..., None]
        picture += (_gaussian(picture, blur) - picture) * alpha
    return made


@node(
    "INPAINT_ExpandMask",
    link("mask", "MASK"),
    integer("grow", 16, 0, 8096),
    integer("blur", 7, 0, 8096),
    choice("blur_type", ("box", "linear", "gaussian"), "gaussian", required=False),
    outputs="MASK:mask",
    title="Expand Mask",
    category="inpaint",
)
def expand_mask(mask: Floats, grow: int, blur: int, blur_type: str) -> Floats:
    """Grow a mask by a square and blur it."""
    import cv2

    made: list[Floats] = []
    for one in as_batch(mask):
        if grow > 0:
            one = (_spread(one, grow, cv2.dilate) > 0).astype(np.float32)
        made.append(_smoothed(one, _odd(blur), blur_type))
    return np.stack(made)


@node(
    "INPAINT_LoadInpaintModel",
    choice("model_name", lambda context: tuple(context.weights("inpaint"))),
    outputs="INPAINT_MODEL:inpaint_model",
    title="Load Inpaint Model",
    category="inpaint",
    wants_context=True,
)
def load_inpaint_model(context: Context, model_name: str) -> Path:
    """Name the file of LaMa, MI-GAN or another inpainting network."""
    return context.weights("inpaint")[model_name]


@node(
    "INPAINT_InpaintWithModel",
    link("inpaint_model", "INPAINT_MODEL"),
    link("image", "IMAGE"),
    link("mask", "MASK"),
    integer("seed", 0, 0, MAX_SEED),
    link("optional_upscale_model", "UPSCALE_MODEL", required=False),
    outputs="IMAGE:image",
    title="Inpaint (using Model)",
    category="inpaint",
    wants_context=True,
)
def inpaint_with_model(
    context: Context, inpaint_model: Path, image: Floats, mask: Floats, seed: int, **_unused: Any
) -> Floats:
    """Fill the hole with a network; no pixel outside the mask changes."""
    hole = (mask >= _SURE).astype(np.float32)
    params: dict[str, str] = {"model": str(inpaint_model)}
    made, _notes = filled(context, image, hole, engine="network", params=params, seed=seed, grow=0, feather=0)
    return made


def _sure(mask: Floats) -> Floats:
    return (mask >= _SURE).astype(np.float32)


def _odd(size: int) -> int:
    return size + 1 if size > 0 and size % 2 == 0 else size


def _softened(alpha: Floats, falloff: int) -> Floats:
    """Return a hard mask that fades inwards over ``falloff`` pixels."""
    import cv2

    return alpha * _gaussian(_spread(alpha, falloff, cv2.erode), falloff) if falloff > 0 else alpha


def _spread(mask: Floats, reach: int, change: Any) -> Floats:
    """Return the greatest or least of a mask within a square; what lies beyond the picture does not count."""
    reach = min(reach, max(mask.shape))
    for size in ((2 * reach + 1, 1), (1, 2 * reach + 1)):
        mask = change(mask, np.ones(size, np.uint8))
    return mask


def _gaussian(picture: Floats, size: int) -> Floats:
    import cv2

    if size <= 1:
        return picture
    sigma = 0.3 * (size - 1) + 0.8
    kernel = np.exp(-0.5 * ((np.arange(size) - size // 2) / sigma) ** 2)
    return _filtered(picture, kernel / kernel.sum(), cv2.BORDER_REFLECT_101)


def _filtered(picture: Floats, kernel: Any, border: int) -> Floats:
    import cv2

    made: Any = cv2.sepFilter2D(np.ascontiguousarray(picture), cv2.CV_32F, kernel, kernel, borderType=border)
    return made.reshape(picture.shape)


def _smoothed(mask: Floats, size: int, kind: str) -> Floats:
    import cv2

    if size <= 2:
        return mask
    if kind == "gaussian":
        return _gaussian(mask, size)
    half = size // 2
    kernel = np.ones(size)
    if kind == "linear" and size > 3:
        rising = np.linspace(1 / half, (half - 1) / half, half)
        kernel = np.concatenate((rising, [1.0], rising[::-1]))
    return _filtered(mask, kernel / kernel.sum(), cv2.BORDER_REFLECT_101)
