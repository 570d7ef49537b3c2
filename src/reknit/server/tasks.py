"""The work behind the kinds of job: a payload becomes a request, runs, and its pictures are kept.

`check` says at once what is wrong with a payload, as far as that can be known without decoding a picture;
`handlers` are what a worker calls. It knows pictures and the pipeline, no HTTP and no store.
"""

from __future__ import annotations

import base64
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, cast

import numpy as np

from reknit.core.errors import InputError
from reknit.core.geometry import Box, Size
from reknit.core.image import Photo
from reknit.core.mask import Mask
from reknit.core.options import check_all
from reknit.core.preview import thumbnail
from reknit.core.progress import Preview, Report
from reknit.core.request import FillRequest
from reknit.core.result import FillResult
from reknit.diffusion import emphasis
from reknit.engines import registry
from reknit.engines.base import Models
from reknit.jobs.blobs import DIGEST
from reknit.pipeline.canvas import plan_canvas
from reknit.server.pictures import Pictures

PREVIEW_PX = 512
PREVIEW_QUALITY = 70
SIDES = ("left", "right", "top", "bottom", "aspect", "anchor")
Payload = Mapping[str, Any]
Result = dict[str, Any]
Handler = Callable[[Payload, Report], Result]
Perform = Callable[[str, Any, Report], Any]
"""Does a request with the use case of its kind: ``fill``, ``extend``, ``repair`` or ``paint``."""


class Previews:
    """A `Report` that hands on each `Preview` as a small JPEG file in text, ready for a page.

    ``at`` is where the picture that the client knows lies on the one that is worked on.
    """

    __slots__ = ("_at", "_report")

    def __init__(self, report: Report, at: tuple[int, int] = (0, 0)) -> None:
        self._report = report
        self._at = at

    def step(self, stage: str, fraction: float, preview: Any = None) -> bool | None:
        """Report a step."""
        return self._report.step(
            stage, fraction, None if preview is None else preview_data(preview, self._at)
        )


def preview_data(preview: Preview, at: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    """Return a preview as ``{"image": "data:image/jpeg;base64,…", "width": …, "height": …, "box": [x0, y0, x1, y1]}``.

    The box is told as seen from ``at``; so in a picture that is being extended it may reach beyond it.
    """
    data, size = preview_jpeg(preview.pixels)
    (left, top), box = at, preview.box
    text = base64.b64encode(data).decode("ascii")
    return {
        "image": f"data:image/jpeg;base64,{text}",
        "width": size.width,
        "height": size.height,
        "box": [box.x0 - left, box.y0 - top, box.x1 - left, box.y1 - top],
    }


def preview_jpeg(pixels: Any) -> tuple[bytes, Size]:
    """Return a preview's pixels as a small JPEG file, and its size."""
    from reknit.core import codec

    photo = pixels
    if isinstance(photo, np.ndarray):
        array = cast(Any, photo)
        if np.issubdtype(array.dtype, np.floating):
            array = (array.clip(0, 1) * 255 + 0.5).astype(np.uint8)
        photo = Photo.from_array(np.ascontiguousarray(array))
    small = thumbnail(photo, PREVIEW_PX)
    data = codec.encode(Photo(pixels=small.pixels), container="jpeg", quality=PREVIEW_QUALITY).data
    return data, small.size


def check(pictures: Pictures, kind: str, payload: Payload) -> None:
    """Raise what would be raised by the job later, as far as no pixel is needed to know it.

    Raises
    ------
    NotFound
        A picture or engine that is not there.
    InputError
        ``mask.size``, ``source.size``, ``option.unknown``, ``option.value``, ``extend.…``.
    """
    if kind == "paint" and payload["image"] is None:
        _check_engine(pictures, payload)
        return
    size = pictures.info(payload["image"]).facts.size
    for name in ("mask", "source"):
        if payload.get(name) is not None:
            _check_size(name, pictures.info(payload[name]).facts.size, size)
    if kind == "extend":
        plan_canvas(size, **{side: payload[side] for side in SIDES})
    _check_engine(pictures, payload)


def _check_engine(pictures: Pictures, payload: Payload) -> None:
    if payload["engine"] != "auto":
        spec = registry.get(payload["engine"]).spec
        check_all(spec.options, payload["params"], owner=f"engine {spec.name}")
    for name, (kind, value) in _named(payload["engine"], payload["params"]).items():
        if kind == "picture" and DIGEST.fullmatch(value):
            pictures.info(value)
        else:
            _check_no_path(name, kind, value)


def check_no_paths(engine: str, params: Mapping[str, Any]) -> None:
    """Raise `InputError` for an option that would have an engine open a file of this machine."""
    for name, (kind, value) in _named(engine, params).items():
        _check_no_path(name, kind, value)


def _named(engine: str, params: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return what options name that engines would take for files: by option its kind and value."""
    engines = registry.every()
    chosen = [engines[engine]] if engine in engines else engines.values()
    kinds = {option.name: option.names for each in chosen for option in each.spec.options if option.names}
    kinds["model"] = "model"
    found = {
        name: (kind, value) for name, kind in kinds.items() if isinstance(value := params.get(name), str)
    }
    if isinstance(prompt := params.get("prompt"), str) and (tags := emphasis.parse(prompt).loras):
        found["a LoRA in the prompt"] = ("model", ",".join(name for name, _ in tags))
    return found


def _check_no_path(name: str, kind: str, text: str) -> None:
    """Raise `InputError` for a path: who asks over HTTP may name models, not files of this machine."""
    parts = [text.strip(), *(part.strip() for part in re.split("[,=:]", text))]
    if not any("/" in part or "\\" in part or os.path.exists(part) for part in parts):  # noqa: PTH110 - of any length
        return
    raise InputError(
        f"{name} must be the id of a {kind}, not a file",
        code="option.value",
        hint="`reknit models import FILE` on the server's machine gives a file an id"
        if kind == "model"
        else "upload the picture and give its id",
        option=name,
    )


def _check_size(name: str, mask: Size, photo: Size) -> None:
    if mask == photo:
        return
    message, hint = f"the {name} is {mask} and the picture {photo}", "upload one of the picture's size"
    facts = {"mask": [mask.width, mask.height], "photo": [photo.width, photo.height]}
    if name == "source":
        raise InputError(message, code="source.size", hint=hint, **facts)
    raise InputError(message, code="mask.size", hint=hint, **facts)


def perform_here(kind: str, request: Any, report: Report, *, threads: int, models: Models | None) -> Any:
    """Do a request in this process; return the use case's result."""
    work = getattr(import_module(f"reknit.pipeline.{kind}"), kind)
    return work(request, threads=threads, report=report, models=models)


def handlers(pictures: Pictures, perform: Perform) -> dict[str, Handler]:
    """Return the handler of each kind of job; ``perform`` does their requests, here or elsewhere.

    A handler's result names the new pictures under ``images``, and under ``blobs`` everything that they and
    their edits need.
    """
    work = _Work(pictures, perform)
    return {"fill": work.fill, "extend": work.extend, "repair": work.repair, "paint": work.paint}


def plan(
    pictures: Pictures, payload: Payload, *, threads: int, models: Models | None = None
) -> dict[str, Any]:
    """Return how a fill with this payload would be carried out, as JSON data; nothing is filled.

    Raises what the fill would raise before its engine is loaded.
    """
    from reknit.pipeline.plan import plan_fill

    told = plan_fill(fill_request(pictures, payload), threads=threads, models=models).plan.to_dict()
    told |= {"seconds": told.pop("predicted_seconds"), "peak_bytes": told.pop("predicted_peak_bytes")}
    return told


def fill_request(pictures: Pictures, payload: Payload) -> FillRequest:
    """Return the request of a fill; decodes its pictures."""
    photo = pictures.photo(payload["image"])
    source = payload["source"]
    return FillRequest(
        photo=photo,
        mask=pictures.mask(
            payload["mask"], photo.size, mask_from=payload["mask_from"], invert=payload["invert"]
        ),
        source=None if source is None else pictures.mask(source, photo.size),
        params=_params(pictures, payload),
        **_knobs(payload, "engine", "seed", "count", "grow", "feather", "context"),
    )


class _Work:
    def __init__(self, pictures: Pictures, perform: Perform) -> None:
        self._pictures = pictures
        self._perform = perform

    def fill(self, payload: Payload, report: Report) -> Result:
        request = fill_request(self._pictures, payload)
        result = self._perform("fill", request, Previews(report))
        return self._keep(payload, result, changed_box(result))

    def extend(self, payload: Payload, report: Report) -> Result:
        from reknit.pipeline.extend import ExtendRequest

        photo = self._pictures.photo(payload["image"])
        knobs = _knobs(payload, *SIDES, "engine", "seed", "count")
        place = plan_canvas(photo.size, **_knobs(payload, *SIDES)).photo_box
        at = (place.x0, place.y0)
        request = ExtendRequest(photo=photo, params=_params(self._pictures, payload), **knobs)
        result = self._perform("extend", request, Previews(report, at))
        return self._keep(payload, result, changed_box(result), at=at)

    def repair(self, payload: Payload, report: Report) -> Result:
        from reknit.pipeline.repair import RepairRequest, find

        photo = self._pictures.photo(payload["image"])
        knobs = _knobs(payload, "sensitivity", "engine", "params", "seed")
        request = RepairRequest(photo=photo, kinds=tuple(payload["kinds"]), **knobs)
        if payload["detect_only"]:
            found = find(request, report=report)
            counts = (f"{kind} {int(mask.sum()):,} px" for kind, mask in found.by_kind.items())
            kept: Result = {
                "images": [],
                "plan": None,
                "seed": payload["seed"],
                "timings": {},
                "report": None,
            }
            kept |= {"notes": [f"found {', '.join(counts)}"], "blobs": self._needs(payload, ())}
            return self._with_mask(kept, Mask.from_bool(found.mask))
        result = self._perform("repair", request, Previews(report))
        return self._with_mask(self._keep(payload, result, changed_box(result)), result.mask)

    def paint(self, payload: Payload, report: Report) -> Result:
        from reknit.pipeline.paint import PaintRequest

        photo = None if payload["image"] is None else self._pictures.photo(payload["image"])
        size = Size(width=payload["width"], height=payload["height"]) if photo is None else photo.size
        params = _params(self._pictures, payload)
        knobs = _knobs(payload, "engine", "seed", "count")
        request = PaintRequest(size=size, photo=photo, params=params, **knobs)
        result = self._perform("paint", request, Previews(report))
        images: list[dict[str, Any]] = []
        for i, each in enumerate(result.photos):
            picture = self._pictures.add(picture_png(each), "painted.png")
            images.append({**picture.to_dict(), "seed": (result.seed + i) % 2**32})
        told: Result = {"images": images, "plan": None, "seed": result.seed, "report": None}
        told |= {"notes": list(result.notes), **_used(result.facts)}
        told |= {"timings": {"total": result.seconds}, "blobs": self._needs(payload, images)}
        return told

    def _keep(
        self, payload: Payload, result: FillResult, box: Box | None, at: tuple[int, int] = (0, 0)
    ) -> Result:
        """Keep every variation and return what the job's result says."""
        images: list[dict[str, Any]] = []
        for i, photo in enumerate(result.photos):
            if box is None:
                picture = self._pictures.info(payload["image"])
            else:
                picture = self._pictures.derive(payload["image"], photo, box, at=at)
            images.append({**picture.to_dict(), "seed": (result.seed + i) % 2**32})
        used = _used(result.facts)
        return {"images": images, **result.to_dict(), **used, "blobs": self._needs(payload, images)}

    def _with_mask(self, kept: Result, mask: Mask) -> Result:
        """Add the mask of what was found, as a picture of its own."""
        picture = self._pictures.add(mask_png(mask))
        return {**kept, "mask": picture.id, "found_px": mask.area, "blobs": [*kept["blobs"], picture.id]}

    def _needs(self, payload: Payload, images: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return the ids of all that the new pictures, and doing it again, need."""
        named = [payload.get(name) for name in ("image", "mask", "source")]
        named += [
            value
            for _, value in _named(payload["engine"], payload["params"]).values()
            if DIGEST.fullmatch(value)
        ]
        names = [*(name for name in named if name is not None), *(image["id"] for image in images)]
        return list(dict.fromkeys(blob for name in names for blob in self._pictures.needs(name)))


def _used(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return which textual inversions were used, by name their SHA-256."""
    return {"embeddings": facts["embeddings"]} if "embeddings" in facts else {}


def _knobs(payload: Payload, *names: str) -> dict[str, Any]:
    return {name: payload[name] for name in names}


def _params(pictures: Pictures, payload: Payload) -> dict[str, Any]:
    """Return the engine's options; pictures that they name by their ids become files."""
    named = _named(payload["engine"], payload["params"])
    files = {
        name: str(pictures.file(value))
        for name, (kind, value) in named.items()
        if kind == "picture" and DIGEST.fullmatch(value)
    }
    return {**payload["params"], **files}


def changed_box(result: FillResult) -> Box | None:
    """Return a box outside which every variation equals what was given; None if nothing was to be filled."""
    box = result.mask.box
    if box is None:
        return None
    margin_px = math.ceil(result.plan.grow_px + result.plan.feather_px) + 1
    return box.grown(margin_px).clipped(result.mask.size)


def mask_png(mask: Mask) -> bytes:
    """Return a mask as an 8-bit grey PNG file, white = fill."""
    return picture_png(Photo.from_array(mask.fill.astype(np.uint8) * 255))


def picture_png(photo: Photo) -> bytes:
    """Return a photo as a PNG file."""
    from reknit.core import codec

    return codec.encode(photo, container="png").data
