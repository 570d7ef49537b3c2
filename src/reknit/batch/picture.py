"""One picture of a batch, in three steps: read, fill, write.

The steps are apart so that a line of them can overlap (`batch.line`). They do exactly what ``reknit fill`` and
``reknit repair`` do with one picture, to the byte. What goes wrong becomes the `Outcome` of that picture alone.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reknit.batch import places
from reknit.batch.item import Item, Outcome, Setup, outputs_of
from reknit.core import codec
from reknit.core.errors import ExternalError, InputError, ReknitError
from reknit.core.image import Photo
from reknit.core.mask import Mask
from reknit.core.preview import thumbnail
from reknit.core.request import FillRequest
from reknit.core.result import FillResult
from reknit.engines.base import Models
from reknit.inputs import as_box, as_mask, mask_of_photo

NO_STAMP = "no time stamp was found in this corner"
THUMB_PX = 240
THUMB_QUALITY = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A picture that was read; ``mask`` is None where it is to be found in the picture."""

    item: Item
    setup: Setup
    photo: Photo
    mask: Mask | None
    source: Mask | None
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A picture that was filled."""

    item: Item
    setup: Setup
    result: FillResult
    seconds: Mapping[str, float]


class Bench:
    """Does the steps. One `Bench` serves one line: each step is called from one thread at a time.

    Parameters
    ----------
    setup
        How pictures are done.
    threads
        CPU threads of a fill; results do not depend on it.
    models
        Where engines find their models; loaded networks stay loaded from picture to picture.
    """

    def __init__(self, setup: Setup, *, threads: int = 1, models: Models | None = None) -> None:
        self.setup = setup
        self._threads = threads
        self._models = models
        self._last_mask: tuple[Any, Mask] | None = None

    def open(self, item: Item) -> Opened:
        """Read a picture and its mask."""
        start = time.perf_counter()
        setup = replace(self.setup, **_merged(self.setup, item))
        limits = codec.Limits(max_pixels=setup.max_pixels, max_bytes=setup.max_bytes)
        for place in (item.image, item.mask, setup.source):
            if place is not None:
                places.check_within(place, setup.within)
        data = places.read(item.image, max_bytes=limits.max_bytes)
        photo = codec.decode(data, limits=limits, name=item.image.partition("?")[0])
        mask = None if setup.find is not None else self._mask(photo, item, setup, limits)
        source = None
        if setup.source is not None:
            source = as_mask(places.read(setup.source, max_bytes=limits.max_bytes), photo.size, limits=limits)
        seconds = {"read": time.perf_counter() - start}
        return Opened(item=item, setup=setup, photo=photo, mask=mask, source=source, seconds=seconds)

    def fill(self, opened: Opened) -> Filled:
        """Fill it."""
        start = time.perf_counter()
        result = self._repaired(opened) if opened.setup.find == "damage" else self._filled(opened)
        seconds = {**opened.seconds, "fill": time.perf_counter() - start}
        return Filled(item=opened.item, setup=opened.setup, result=result, seconds=seconds)

    def write(self, filled: Filled) -> Outcome:
        """Write it, every variation whole or not at all."""
        start = time.perf_counter()
        item, setup, result = filled.item, filled.setup, filled.result
        outputs = [places.join(setup.out, name) for name in outputs_of(item.output, setup.count)]
        notes = list(result.notes)
        for i, output in enumerate(outputs):
            written = places.name_of(output)
            container = codec.container_of(written) if Path(written).suffix else None
            photo = result.photos[i]
            if setup.recipe:
                photo = result.with_recipe(i)
            encoded = codec.encode(photo, container=container, quality=setup.quality)
            _check_target(output, item)
            places.check_within(output, setup.within)
            places.write(output, encoded.data)
            notes += encoded.notes
        return Outcome(
            id=item.id,
            image=item.image,
            outputs=tuple(outputs),
            engine=result.plan.engine,
            size=(result.plan.size.width, result.plan.size.height),
            hole_px=result.plan.hole_px,
            notes=tuple(dict.fromkeys(notes)),
            thumbs=(_small(result.before), _small(result.photo)) if item.thumb else (),
            seconds={**filled.seconds, "write": time.perf_counter() - start},
        )

    def _filled(self, opened: Opened) -> FillResult:
        from reknit.pipeline.fill import fill
        from reknit.pipeline.repair import unchanged
        from reknit.pipeline.timestamp import find_timestamp

        setup, mask = opened.setup, opened.mask
        if mask is None:
            start = time.perf_counter()
            mask = find_timestamp(opened.photo, corner=setup.corner)
            if not mask.area:
                seconds = time.perf_counter() - start
                return unchanged(opened.photo, NO_STAMP, seed=setup.seed, seconds=seconds)
        grow: dict[str, Any] = {} if setup.grow is None else {"grow": setup.grow}
        request = FillRequest(
            photo=opened.photo,
            mask=mask,
            source=opened.source,
            engine=setup.engine,
            params=setup.params,
            seed=setup.seed,
            count=setup.count,
            feather=setup.feather,
            context=setup.context,
            **grow,
        )
        return fill(request, threads=self._threads, models=self._models)

    def _repaired(self, opened: Opened) -> FillResult:
        from reknit.pipeline.repair import RepairRequest, repair

        setup = opened.setup
        kinds: dict[str, Any] = {"kinds": setup.kinds} if setup.kinds else {}
        request = RepairRequest(
            photo=opened.photo,
            sensitivity=setup.sensitivity,
            engine=setup.engine,
            params=setup.params,
            seed=setup.seed,
            grow=setup.grow or 0.0,
            **kinds,
        )
        return repair(request, threads=self._threads, models=self._models)

    def _mask(self, photo: Photo, item: Item, setup: Setup, limits: codec.Limits) -> Mask:
        boxes = tuple(as_box(text, photo.size) for text in setup.boxes)
        if item.mask is not None:
            if item.mask == item.image and setup.mask_from == "luma":
                raise InputError("the mask is the photo itself", code="mask.photo", hint="give another file")
            mask = self._mask_file(item.mask, photo, setup, limits)
            return mask.united(Mask.from_boxes(photo.size, boxes)) if boxes else mask
        if boxes:
            mask = Mask.from_boxes(photo.size, boxes)
        elif setup.mask_from == "alpha":
            mask = mask_of_photo(photo, "alpha")
        else:
            raise InputError("there is no mask", code="mask.missing", hint="give --mask, --box or --find")
        return mask.inverted() if setup.invert else mask

    def _mask_file(self, place: str, photo: Photo, setup: Setup, limits: codec.Limits) -> Mask:
        """Return a file's mask; the last one is kept, for one mask often serves all pictures."""
        key = (place, photo.size, setup.mask_from, setup.invert, setup.resize_mask)
        if self._last_mask is not None and self._last_mask[0] == key:
            return self._last_mask[1]
        mask = as_mask(
            places.read(place, max_bytes=limits.max_bytes),
            photo.size,
            mask_from=setup.mask_from,
            invert=setup.invert,
            resize=setup.resize_mask,
            limits=limits,
        )
        mask.check_size(photo.size)
        self._last_mask = key, mask
        return mask


def failure(item: Item, error: BaseException) -> Outcome:
    """Return the outcome of a picture that could not be done."""
    if isinstance(error, MemoryError):
        error = ExternalError("out of memory", code="memory.out", hint="fewer --workers leave more for each")
    elif not isinstance(error, ReknitError):
        error = ExternalError(
            f"unexpected {type(error).__name__}: {error}",
            code="batch.crash",
            hint="this is a bug in Reknit or in an engine; please report it",
            type=type(error).__name__,
        )
    may_pass = isinstance(error, ExternalError) and error.code != "batch.crash"
    return Outcome(id=item.id, image=item.image, state="failed", error=error.to_dict(), may_pass=may_pass)


def _merged(setup: Setup, item: Item) -> dict[str, Any]:
    """Return what a picture's row changes of the setup."""
    row = dict(item.row)
    if "params" in row:
        row["params"] = {**setup.params, **row["params"]}
    if "boxes" in row:
        row["boxes"] = tuple(row["boxes"])
    return row


def _check_target(output: str, item: Item) -> None:
    """Raise `InputError` rather than replace the picture or its mask, under whatever name."""
    if places.is_uri(output) or not Path(output).exists():
        return
    for source in (item.image, item.mask):
        if source and not places.is_uri(source) and Path(source).exists() and Path(output).samefile(source):
            raise InputError(
                f"{output} would overwrite {source}", code="output.input", hint="write to another folder"
            )


def _small(photo: Photo) -> str:
    small = thumbnail(photo, THUMB_PX)
    data = codec.encode(Photo(pixels=small.pixels), container="jpeg", quality=THUMB_QUALITY).data
    return base64.b64encode(data).decode("ascii")
