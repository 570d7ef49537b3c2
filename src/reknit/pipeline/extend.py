"""Extend a photo beyond its borders: a larger canvas whose new area is a hole.

The original is never grown into or blended, so it stays bit-exact and repeated extensions do not drift. Only
the original's pixels are copied from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from reknit.core.image import Photo
from reknit.core.mask import Mask
from reknit.core.progress import Report
from reknit.core.request import FillRequest
from reknit.core.result import FillResult
from reknit.engines.base import Models
from reknit.pipeline.canvas import expand, plan_canvas
from reknit.pipeline.fill import fill


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendRequest:
    """Extend ``photo``; amounts as for `reknit.extend`.

    Attributes
    ----------
    photo : Photo
    left, right, top, bottom : int or str
        Pixels, or a percentage of the photo's side.
    aspect : str or None
        ``"W:H"``.
    anchor : str
        Where the original sits when ``aspect`` decides.
    engine, params, seed, count
        As in `FillRequest`.
    """

    photo: Photo
    left: int | str = 0
    right: int | str = 0
    top: int | str = 0
    bottom: int | str = 0
    aspect: str | None = None
    anchor: str = "center"
    engine: str = "exemplar"
    params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    seed: int = 0
    count: int = 1


def engine_for_extending(params: Mapping[str, Any]) -> str:
    """Return the engine to extend with when none is named: what runs the model or the prompt, else exemplar."""
    return "auto" if params.get("model") or params.get("prompt") else "exemplar"


def fill_request(request: ExtendRequest) -> FillRequest:
    """Return the fill that carries out ``request``: the enlarged photo and the mask of its new area."""
    canvas = plan_canvas(
        request.photo.size,
        left=request.left,
        right=request.right,
        top=request.top,
        bottom=request.bottom,
        aspect=request.aspect,
        anchor=request.anchor,
    )
    photo, new_area = expand(request.photo, canvas)
    return FillRequest(
        photo=photo,
        mask=Mask.from_bool(new_area),
        engine=request.engine,
        params=request.params,
        seed=request.seed,
        count=request.count,
        grow=0.0,
        feather=0.0,
        added=canvas.added,
    )


def extend(
    request: ExtendRequest, *, threads: int = 1, report: Report | None = None, models: Models | None = None
) -> FillResult:
    """Carry out ``request``; raises what `plan_canvas` and `fill` raise."""
    return fill(fill_request(request), threads=threads, report=report, models=models)
