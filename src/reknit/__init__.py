"""Reknit: give it a photo and a mask (white = fill), get the photo back completed.

::

    import reknit

    result = reknit.fill("photo.jpg", "mask.png")
    result.save("out.jpg")

Names are imported when they are first used, so ``import reknit`` costs about a millisecond.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reknit import engines
    from reknit.api import check, extend, fill, repair
    from reknit.batch.folder import batch
    from reknit.core.errors import ReknitError
    from reknit.core.image import Photo
    from reknit.core.mask import Mask
    from reknit.core.progress import CancelToken, Step
    from reknit.core.request import FillRequest
    from reknit.core.result import FillResult
    from reknit.drop_in import (
        AutoPipelineForInpainting,
        FluxFillPipeline,
        StableDiffusionInpaintPipeline,
        StableDiffusionXLInpaintPipeline,
    )
    from reknit.recipe import replay

__version__ = "0.1.0"

_HOME = {
    "check": "reknit.api",
    "AutoPipelineForInpainting": "reknit.drop_in",
    "FluxFillPipeline": "reknit.drop_in",
    "StableDiffusionInpaintPipeline": "reknit.drop_in",
    "StableDiffusionXLInpaintPipeline": "reknit.drop_in",
    "fill": "reknit.api",
    "extend": "reknit.api",
    "repair": "reknit.api",
    "CancelToken": "reknit.core.progress",
    "replay": "reknit.recipe",
    "FillRequest": "reknit.core.request",
    "FillResult": "reknit.core.result",
    "Mask": "reknit.core.mask",
    "Photo": "reknit.core.image",
    "ReknitError": "reknit.core.errors",
    "Step": "reknit.core.progress",
}

__all__ = [
    "AutoPipelineForInpainting",
    "CancelToken",
    "FillRequest",
    "FillResult",
    "FluxFillPipeline",
    "Mask",
    "Photo",
    "ReknitError",
    "StableDiffusionInpaintPipeline",
    "StableDiffusionXLInpaintPipeline",
    "Step",
    "batch",
    "check",
    "engines",
    "extend",
    "fill",
    "repair",
    "replay",
]


def __getattr__(name: str) -> Any:
    if name in ("batch", "engines"):
        return import_module(f"reknit.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'reknit' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
