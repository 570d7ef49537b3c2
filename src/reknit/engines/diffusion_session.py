"""A diffusion model at work on crops: what a hole holds before, one pass or two, one picture or several at once.

The painting itself is a `Painter`'s. The session brings crop and options to it and keeps variations that were
painted ahead. It holds no model: `engines.kept` does, and is asked for it each time the session has the device to
itself, so that two requests never hold two models where one has room. Nothing here knows regions, compositing, or how
a model was found and opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import InputError
from reknit.core.fit import covered, resampled
from reknit.core.geometry import Box, Size, round_up
from reknit.core.progress import Part, Report
from reknit.diffusion.placement import Placement
from reknit.engines.base import Crop, Samples, Told
from reknit.engines.diffusion_defaults import LEAST_PX, REFINE_SCALE
from reknit.engines.diffusion_further import Pictures
from reknit.engines.diffusion_models import Found
from reknit.engines.diffusion_options import to_parameters
from reknit.engines.diffusion_painters import Order, Painter, Picture
from reknit.engines.kept import KEPT, free_of

_FROM_AROUND = ("fill", "exemplar")
"""What a hole may hold before that is taken from its surroundings; with all else a whole picture can be painted."""

_LIBRARIES = ("torch", "diffusers", "transformers")
_BATCH_BYTES_PER_PX = 8000  # of a device's memory, for one more picture at once
_MOST_AT_ONCE = 8
OVERLAP = 6
"""What part of a tile's side the tiles of a second pass overlap by."""


@dataclass(slots=True, kw_only=True)
class DiffusionSession:
    """A `Session` of a diffusion model.

    Attributes
    ----------
    found : Found
    placement : Placement
        Where the model runs.
    painter : callable
        Returns it, loaded unless it is kept.
    threads : int
        CPU threads.
    area : int
        Pixels of the first pass.
    named : mapping
        The paths of what options name, by option.
    """

    found: Found
    placement: Placement
    painter: Callable[[], Painter]
    threads: int
    area: int
    named: Mapping[str, str]
    _seeds: tuple[int, ...] = field(default=(), init=False)
    _ahead: dict[tuple[str, int], Picture] = field(default_factory=dict[Any, Any], init=False)
    _notes: dict[str, None] = field(default_factory=dict[str, None], init=False)
    _facts: dict[str, Any] = field(default_factory=dict[str, Any], init=False)
    _pictures: Pictures = field(default_factory=Pictures, init=False)

    def foresee(self, seeds: Sequence[int]) -> None:
        """Take note of the seeds to come: on a device with memory to spare they are painted at once."""
        self._seeds = tuple(seeds)
        self._ahead.clear()

    def told(self) -> Told:
        """Return notes, and facts for the record."""
        return Told(notes=tuple(self._notes), facts=MappingProxyType(dict(self._facts)))

    def run(self, crop: Crop, params: Mapping[str, Any], seed: int, report: Report) -> Samples:
        """Return the crop with its hole painted.

        Raises
        ------
        InputError
            ``mask.full``, ``image.size``
        OutOfMemory
            ``memory.out``
        """
        report.step("preparing", 0.0)
        size = Size.of(crop.hole.shape)
        if crop.hole.all() and params["content"] in _FROM_AROUND:
            raise InputError(
                "the hole leaves nothing to fill it from", code="mask.full", hint="mask a smaller part"
            )
        if min(size.width, size.height) < LEAST_PX:
            raise InputError(
                f"a crop of {size} px is too small to paint in",
                code="image.size",
                hint=f"sides must be at least {LEAST_PX} px",
            )
        if not crop.hole.any():
            return crop.pixels.copy()
        if params["strength"] == 0:
            self._notes["strength 0 changes nothing"] = None
            return crop.pixels.copy()
        key = _key(crop, params)
        if (key, seed) not in self._ahead:
            with self._turn(report):
                painter = self.painter()
                self._record(painter, params, size, report)
                seeds = self._together(seed, key, size, params)
                made = self._painted(painter, crop, params, seeds, report)
            self._ahead |= {(key, each): picture for each, picture in zip(seeds, made, strict=True)}
        return self._ahead.pop((key, seed))

    def _painted(
        self,
        painter: Painter,
        crop: Crop,
        params: Mapping[str, Any],
        seeds: tuple[int, ...],
        report: Report,
    ) -> list[Picture]:
        pixels = np.ascontiguousarray(crop.pixels, dtype=np.uint8)
        prefilled = params["content"] == "exemplar"
        if prefilled:
            pixels = self._prefilled(crop, seeds[0], Part(report, 0.0, 0.1))
            report = Part(report, 0.1, 1.0)
        if params["refine"] <= 0:
            return self._pass(painter, crop, pixels, crop.hole, params, seeds, report, prefilled=prefilled)
        first = Part(report, 0.0, 0.5)
        small = _smaller(Size.of(crop.hole.shape), self.area, self.found.multiple_px)
        hole = covered(crop.hole, small)
        if hole.all():
            hole = ~covered(~crop.hole, small)
        drawn = resampled(pixels, small)
        drafts = self._pass(painter, crop, drawn, hole, params, seeds, first, prefilled=prefilled)
        made: list[Picture] = []
        for i, (seed, draft) in enumerate(zip(seeds, drafts, strict=True)):
            share = Part(report, 0.5 + 0.5 * i / len(seeds), 0.5 + 0.5 * (i + 1) / len(seeds))
            drawn = np.where(crop.hole[..., None], resampled(draft, Size.of(crop.hole.shape)), pixels)
            made.append(self._refined(painter, crop, drawn, params, seed, share))
        return made

    def _refined(
        self,
        painter: Painter,
        crop: Crop,
        drawn: Picture,
        params: Mapping[str, Any],
        seed: int,
        report: Report,
    ) -> Picture:
        """Return the picture after a second pass at its own size, in overlapping tiles where it is a large one."""
        again = {**params, "strength": params["refine"]}
        side = round((self.area * REFINE_SCALE**2) ** 0.5)
        boxes = tiles(Size.of(crop.hole.shape), side, self.found.multiple_px)
        boxes = [box for box in boxes if crop.hole[box.slices].any()]
        control = self._pictures.control(crop, crop.hole, params)
        soft = strength_map(crop.hole, again["softness"], again["strength"])
        made = drawn.astype(np.float32)
        for number, box in enumerate(boxes):
            here, part = box.slices, Part(report, number / len(boxes), (number + 1) / len(boxes))
            order = self._order(
                np.rint(made[here]).astype(np.uint8),
                crop.hole[here],
                again,
                (seed,),
                prefilled=True,
                control=None if control is None else control[here],
                soft=None if soft is None else soft[here],
            )
            inside = crop.hole[here] if soft is None else soft[here] > 0
            weight = (ramp(box, side // OVERLAP) * inside)[..., None]
            made[here] += weight * (self._paint(painter, order, part)[0] - made[here])
        return np.rint(made).astype(np.uint8)

    def _pass(
        self,
        painter: Painter,
        crop: Crop,
        pixels: Picture,
        hole: NDArray[np.bool_],
        params: Mapping[str, Any],
        seeds: tuple[int, ...],
        report: Report,
        *,
        prefilled: bool,
    ) -> list[Picture]:
        control = self._pictures.control(crop, hole, params)
        soft = strength_map(hole, params["softness"], params["strength"])
        order = self._order(pixels, hole, params, seeds, prefilled=prefilled, control=control, soft=soft)
        return self._paint(painter, order, report)

    def _order(
        self,
        pixels: Picture,
        hole: NDArray[np.bool_],
        params: Mapping[str, Any],
        seeds: tuple[int, ...],
        *,
        prefilled: bool,
        control: NDArray[np.float32] | None,
        soft: NDArray[np.float32] | None,
    ) -> Order:
        return Order(
            pixels=np.ascontiguousarray(pixels),
            hole=np.ascontiguousarray(hole),
            prefilled=prefilled,
            strength_map=soft,
            values={**params, **self.named},
            seeds=seeds,
            control=control,
            image_prompt=self._pictures.of(params["image_prompt"]) if params["image_prompt"] else None,
        )

    def _paint(self, painter: Painter, order: Order, report: Report) -> list[Picture]:
        return painter.paint(order, report, lambda text: self._notes.update({text: None}))

    def _prefilled(self, crop: Crop, seed: int, report: Report) -> Picture:
        """Return the crop as the exemplar engine fills it: what makes "remove" remove."""
        from reknit.core.options import check_all
        from reknit.engines import registry

        engine = registry.get("exemplar")
        params = check_all(engine.spec.options, {}, owner="engine exemplar")
        filled = engine.load(threads=self.threads).run(replace(crop, target=crop.hole), params, seed, report)
        return np.ascontiguousarray(filled, dtype=np.uint8)

    def _together(self, seed: int, key: str, size: Size, params: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the seeds to paint at once, ``seed`` first: on the CPU just that one, elsewhere as fits."""
        device = self.placement.device
        free = None if device == "cpu" else free_of(device)
        if seed not in self._seeds or free is None:
            return (seed,)
        guided = 2 if params["guidance"] > 1 else 1
        room = int(0.8 * free / (_BATCH_BYTES_PER_PX * guided * size.area))
        later = [each for each in self._seeds[self._seeds.index(seed) :] if (key, each) not in self._ahead]
        return tuple(dict.fromkeys(later[: max(1, min(room, _MOST_AT_ONCE))]))

    @contextmanager
    def _turn(self, report: Report) -> Generator[None]:
        """Have the device to oneself; a report that raises ends the waiting."""
        device = self.placement.device
        with KEPT.turn(device, report):
            if device == "cpu":
                _use_threads(self.threads)
            yield

    def _record(self, painter: Painter, params: Mapping[str, Any], size: Size, report: Report) -> None:
        facts = painter.facts(params, _Quiet(report))
        labels = {"sampler": facts.pop("sampler"), "scheduler": facts.pop("scheduler")}
        embeddings: dict[str, str] = facts.pop("embeddings", {})
        self._facts = {
            "model": {
                "name": self.found.name,
                "family": self.found.family,
                "kind": self.found.kind,
                **facts,
            },
            **({"embeddings": embeddings} if embeddings else {}),
            "working_size": [size.width, size.height],
            "placement": self.placement.to_dict(),
            "versions": {name: _version(name) for name in _LIBRARIES},
            "parameters": to_parameters(
                {**params, **labels},
                model=self.found.name,
                model_hash=facts["sha256"][:10],
                embeddings=embeddings,
                size=f"{size.width}x{size.height}",
            ),
        }


class _Quiet:
    """A `Report` of work beside the fill: it can be cancelled, and moves no bar."""

    __slots__ = ("_report",)

    def __init__(self, report: Report) -> None:
        self._report = report

    def step(self, stage: str, fraction: float, preview: Any = None) -> None:
        """Report the stage."""
        self._report.step(stage, 0.0)


def strength_map(
    hole: NDArray[np.bool_], softness: float | None, strength: float
) -> NDArray[np.float32] | None:
    """Return how much each pixel may change: ``strength`` in the hole, falling to 0 over ``softness`` px around it.

    None where nothing is soft: the hole alone changes.
    """
    if not softness:
        return None
    import cv2

    away = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return (strength * np.clip(1 - away / softness, 0, 1)).astype(np.float32)


def tiles(size: Size, side: int, multiple: int) -> list[Box]:
    """Return boxes of at most about ``side``² that cover ``size`` and overlap by a part of it, sides in multiples."""
    across = _spans(size.width, side, multiple)
    return [
        Box(x0=x0, y0=y0, x1=x1, y1=y1) for y0, y1 in _spans(size.height, side, multiple) for x0, x1 in across
    ]


def _spans(length: int, side: int, multiple: int) -> list[tuple[int, int]]:
    side = max(multiple, side // multiple * multiple)
    if length <= side * 5 // 4:  # a little more is better than two
        return [(0, length)]
    count = -(-(length - side // OVERLAP) // (side - side // OVERLAP))
    starts = [round(n * (length - side) / (count - 1)) // multiple * multiple for n in range(count)]
    return [(start, start + side if n < count - 1 else length) for n, start in enumerate(starts)]


def ramp(box: Box, width: int) -> NDArray[np.float32]:
    """Return how much of a tile counts, 0 to 1: ever less towards the tiles to its left and above, painted before."""

    def along(start: int, end: int) -> NDArray[np.float32]:
        place = np.arange(end - start, dtype=np.float32) + np.float32(0.5)
        return np.minimum(place / np.float32(width), 1) if start else np.ones_like(place)

    return along(box.y0, box.y1)[:, None] * along(box.x0, box.x1)[None]


def _smaller(size: Size, area: int, multiple: int) -> Size:
    """Return ``size`` scaled down to about ``area``, sides in multiples; the same where it is no larger."""
    scale = min(1.0, (area / size.area) ** 0.5)
    if scale > 0.95:
        return size
    sides = (max(multiple, round_up(round(side * scale), multiple)) for side in (size.width, size.height))
    width, height = sides
    return Size(width=min(width, size.width), height=min(height, size.height))


def _key(crop: Crop, params: Mapping[str, Any]) -> str:
    found = hashlib.sha256(np.ascontiguousarray(crop.pixels).data)
    found.update(np.packbits(crop.hole).data)
    found.update(repr((crop.hole.shape, sorted(params.items(), key=lambda item: item[0]))).encode())
    return found.hexdigest()


def _use_threads(threads: int) -> None:
    import torch

    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
