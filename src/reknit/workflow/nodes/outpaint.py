"""Room around a picture, to be painted. With ComfyUI's arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.workflow.node import integer, link, node

Floats = NDArray[np.float32]


def _steps(count: int) -> Any:
    return np.arange(count)


@node(
    "ImagePadForOutpaint",
    link("image", "IMAGE"),
    *(integer(side, 0, 0, step=8) for side in ("left", "top", "right", "bottom")),
    integer("feathering", 40, 0),
    outputs="IMAGE MASK",
    title="Pad Image for Outpainting",
    category="image",
)
def image_pad_for_outpaint(
    image: Floats, left: int, top: int, right: int, bottom: int, feathering: int
) -> tuple[Floats, Floats]:
    """Put grey around a picture, and a mask that fades into it."""
    count, height, width, channels = image.shape
    inside = np.s_[:, top : top + height, left : left + width]
    made = np.full((count, height + top + bottom, width + left + right, channels), 0.5, np.float32)
    made[inside] = image
    mask = np.ones((1, *made.shape[1:3]), np.float32)
    mask[inside] = 0
    if feathering > 0 and 2 * feathering < min(height, width):
        rows, columns = _steps(height)[:, None], _steps(width)[None, :]
        distances: list[Any] = [
            rows if top else np.full_like(rows, height),
            height - rows if bottom else np.full_like(rows, height),
            columns if left else np.full_like(columns, width),
            width - columns if right else np.full_like(columns, width),
        ]
        nearest = distances[0]
        for one in distances[1:]:
            nearest = np.minimum(nearest, one)
        fade = np.clip((feathering - nearest) / feathering, 0, None)
        mask[inside] = (fade * fade).astype(np.float32)
    return made, mask
