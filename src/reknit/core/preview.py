"""Small before/after pictures for notebooks and pages."""

from __future__ import annotations

import base64
import html

import numpy as np
from numpy.typing import NDArray

from reknit.core import codec
from reknit.core.image import Photo, Samples

LONGEST_SIDE_PX = 420


def thumbnail(photo: Photo, longest_px: int = LONGEST_SIDE_PX) -> Photo:
    """Return an 8-bit copy no longer than ``longest_px`` on either side, by averaging blocks."""
    step = max(1, -(-max(photo.size.shape) // longest_px))
    pixels = _average(photo.pixels, step)
    alpha = None if photo.alpha is None else _average(photo.alpha[:, :, None], step)[:, :, 0].copy()
    return Photo(pixels=pixels, alpha=alpha)


def _average(samples: Samples, step: int) -> NDArray[np.uint8]:
    height, width = (max(1, n // step) for n in samples.shape[:2])
    step_y, step_x = min(step, samples.shape[0]), min(step, samples.shape[1])
    blocks = samples[: height * step_y, : width * step_x].reshape(height, step_y, width, step_x, -1)
    mean = blocks.mean(axis=(1, 3), dtype=np.float32)
    if samples.dtype == np.uint16:
        mean /= 257
    return np.ascontiguousarray((mean + 0.5).astype(np.uint8))


def before_after_html(before: Photo, after: Photo, caption: str) -> str:
    """Return an HTML fragment with both pictures embedded side by side."""
    images = "".join(
        f'<figure style="margin:0"><img src="data:image/png;base64,{_png(photo)}" alt="{label}">'
        f"<figcaption>{label}</figcaption></figure>"
        for label, photo in (("before", before), ("after", after))
    )
    return f'<div style="display:flex;gap:8px;flex-wrap:wrap">{images}</div><p>{html.escape(caption)}</p>'


def _png(photo: Photo) -> str:
    return base64.b64encode(codec.encode(thumbnail(photo), container="png").data).decode("ascii")
