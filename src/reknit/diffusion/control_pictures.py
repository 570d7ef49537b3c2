"""Pictures that ControlNets follow, made from a photo itself where that needs no model.

Depths, poses and lines need networks of their own: such pictures are given. Nothing here knows a network or a file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import InputError

MADE = ("inpaint", "canny", "photo")
"""What can be made: the photo without its hole, its edges, and the photo as it is."""

BY_KIND = {"inpaint": "inpaint", "canny": "canny", "tile": "photo"}
"""What a ControlNet of a kind follows when no picture is given."""

_EDGES = (100, 200)
"""Canny's thresholds, those of A1111's extension and of the examples of diffusers."""


def control_picture(what: str, pixels: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the picture that a ControlNet follows.

    Parameters
    ----------
    what : {'inpaint', 'canny', 'photo'}
        ``inpaint``: the photo with -1 in the hole, as ``control_v11p_sd15_inpaint`` was trained; ``canny``: white edges
        of the photo on black, those of what is in the hole too; ``photo``: the photo, what is in the hole too.
    pixels : ndarray of uint8, (H, W, 3)
    hole : ndarray of bool, (H, W)
        True = fill.

    Returns
    -------
    ndarray of float32, (H, W, 3)
        From 0 to 1, but for the -1 of ``inpaint``.

    Raises
    ------
    InputError
        ``control.picture``
    """
    if what == "canny":
        return edges(pixels)
    made = pixels.astype(np.float32) / np.float32(255)
    if what == "inpaint":
        made[hole] = -1.0
    elif what != "photo":
        raise InputError(
            f"a picture {what!r} to follow is not made from the photo",
            code="control.picture",
            hint=f"{', '.join(MADE)}, or give a file",
        )
    return made


def edges(pixels: NDArray[np.uint8], low: float = _EDGES[0], high: float = _EDGES[1]) -> NDArray[np.float32]:
    """Return Canny's edges, (H, W, 3), 0 or 1 (Canny 1986, doi:10.1109/TPAMI.1986.4767851)."""
    import cv2

    found: Any = cv2.Canny(np.ascontiguousarray(pixels), low, high)
    return np.repeat(found[..., None].astype(np.float32) / np.float32(255), 3, axis=2)
