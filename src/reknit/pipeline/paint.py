"""Paint a whole picture: from words alone, or anew from a picture and words.

Where `pipeline.fill` keeps everything outside a hole, here is nothing to keep: the engine gets one crop that is all
hole, and what it makes is the result. Only engines that are told in words what to draw can do that. It knows no file
and no HTTP.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isqrt
from types import MappingProxyType
from typing import Any

import numpy as np

from reknit.core.errors import Unavailable
from reknit.core.fit import Fit, Frame
from reknit.core.geometry import Box, Size, round_up
from reknit.core.image import Photo
from reknit.core.options import check_all
from reknit.core.progress import Part, Placed, Report, Reporter
from reknit.engines import registry
from reknit.engines.base import Configurable, Crop, Engine, EngineSpec, Foreseeing, Models, Telling
from reknit.engines.kept import KEPT
from reknit.pipeline.recover import Way, carry_out
from reknit.pipeline.ways import laid_out, said, ways_of

GREY = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class PaintRequest:
    """Paint a picture.

    Attributes
    ----------
    size : Size
        Of what is to be painted.
    photo : Photo or None
        What to begin from, of that size; how much of it stays is the engine's option ``strength``.
    engine : str
    params : mapping
        The engine's own options.
    seed : int
        0 … 2³²−1, or −1 to draw one; variation *i* has ``(seed + i) mod 2³²``.
    count : int
    """

    size: Size
    engine: str
    photo: Photo | None = None
    params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    seed: int = 0
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Painted:
    """Painted pictures, how they came about, what had to be done otherwise than asked, and what the engine told."""

    photos: tuple[Photo, ...]
    seed: int
    params: Mapping[str, Any]
    seconds: float
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


def can_paint(spec: EngineSpec) -> bool:
    """Return whether an engine is told in words what to draw."""
    return any(option.name == "prompt" for option in spec.options)


def paint(
    request: PaintRequest, *, threads: int = 1, report: Report | None = None, models: Models | None = None
) -> Painted:
    """Carry out ``request``.

    Raises
    ------
    Unavailable
        ``paint.engine``: the engine fills holes only.
    ReknitError
        What the engine raises, and what `core.options.check_all` does.
    """
    start, report = time.perf_counter(), report or Reporter()
    engine = registry.get(request.engine)
    if not can_paint(engine.spec):
        raise Unavailable(
            f"the engine {request.engine} fills holes; it cannot paint a whole picture",
            code="paint.engine",
            hint="install a model that is told in words what to draw: `reknit models list`",
            engine=request.engine,
        )
    params = check_all(engine.spec.options, request.params, owner=f"engine {request.engine}")
    if isinstance(engine, Configurable):
        engine = engine.configured(params, models)
        given = {key: value for key, value in request.params.items() if value is not None}
        params = check_all(engine.spec.options, given, owner=f"engine {request.engine}")
    seed = random.randrange(2**32) if request.seed == -1 else request.seed
    fitted = _fitted(engine, request.size)
    crop = _crop(request, fitted)
    whole = Box.whole(request.size)
    shown = (request.size.width / fitted.working.width, request.size.height / fitted.working.height)
    photos: list[Photo] = []
    notes: list[str] = []
    facts: dict[str, Any] = {}

    def painted(way: Way) -> None:
        """Paint what is not painted yet."""
        laid = laid_out(request.engine, params, way, models)[0] if way.params else engine
        session = laid.load(threads=threads)
        if isinstance(session, Foreseeing):
            session.foresee([(seed + i) % 2**32 for i in range(len(photos), request.count)])
        for i in range(len(photos), request.count):
            part = Part(report, i / request.count, (i + 1) / request.count)
            made: Any = session.run(crop, params, (seed + i) % 2**32, Placed(part, whole, shown))
            photos.append(Photo.from_array(np.ascontiguousarray(fitted.undo(made))))
        if isinstance(session, Telling):
            told = session.told()
            notes.extend(told.notes)
            facts.update(told.facts)

    # The size is what was asked for, so a way that works at another is none.
    every = ways_of(engine, params, threads=threads, side=isqrt(fitted.working.area))
    ways = [way for way in every if "side" not in way.params] or [Way()]
    notes += said(ways)
    carry_out(painted, ways, free=KEPT.free, say=notes.append)
    return Painted(
        photos=tuple(photos),
        seed=seed,
        params=params,
        seconds=time.perf_counter() - start,
        notes=tuple(dict.fromkeys(notes)),
        facts=facts,
    )


def _fitted(engine: Engine, size: Size) -> Fit:
    """Return how the picture meets the engine's multiple: it is padded, never scaled."""
    multiple = engine.spec.size_rule.multiple
    working = Size(width=round_up(size.width, multiple), height=round_up(size.height, multiple))
    return Fit(size=size, scaled=size, working=working)


def _crop(request: PaintRequest, fitted: Fit) -> Crop:
    pixels: Any
    if request.photo is None:
        pixels = np.full((*request.size.shape, 3), GREY, np.uint8)
    else:
        pixels = request.photo.pixels
        if pixels.dtype == np.uint16:
            pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    pixels = np.ascontiguousarray(fitted.apply(pixels))
    everything = np.ones(fitted.working.shape, np.bool_)
    nothing = np.zeros(fitted.working.shape, np.bool_)
    for array in (pixels, everything, nothing):
        array.flags.writeable = False
    frame = Frame(photo=request.size, box=Box.whole(request.size), fit=fitted)
    return Crop(pixels=pixels, hole=everything, target=everything, source=nothing, frame=frame)
