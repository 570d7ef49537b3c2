"""Fill a photo: plan → regions → engine → composite → proof.

This is the one use case that every door leads to. It owns the working copy of the photo; engines see crops
and the compositor writes back. It knows no file, no terminal and no HTTP.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from reknit.core.composite import Canvas, Proof, rim
from reknit.core.errors import EngineFailed
from reknit.core.fit import Fit
from reknit.core.fit import fit as size_fit
from reknit.core.geometry import Box, Size
from reknit.core.image import Photo
from reknit.core.match import match_rim
from reknit.core.progress import CancelToken, Part, Report, Reporter
from reknit.core.region import Region
from reknit.core.request import FillRequest
from reknit.core.result import FillResult
from reknit.engines.base import Crop, Hole, Samples, Session
from reknit.pipeline.plan import Work, plan_fill

SMALL_CROP_PX = 300_000
"""Crops up to this size run side by side, one thread each; larger ones run one by one with all threads."""


def fill(request: FillRequest, *, threads: int = 1, report: Report | None = None) -> FillResult:
    """Carry out ``request`` and return the result with its proof.

    Parameters
    ----------
    request
        What to fill, with what.
    threads
        CPU threads to use, at least 1. The result does not depend on it.
    report
        Where progress goes; `Cancelled` raised there stops the work.

    Raises
    ------
    ReknitError
        See `core.errors`. After an error nothing was changed or written.
    """
    report = report or Reporter()
    clock = _Clock()
    with clock.stage("plan"):
        work = plan_fill(request, threads=threads)
    seed = random.randrange(2**32) if request.seed == -1 else request.seed
    photos: list[Photo] = []
    proofs: list[Proof] = []
    for i in range(request.count):
        part = Part(report, i / request.count, (i + 1) / request.count)
        photo, proof = _fill_once(request, work, (seed + i) % 2**32, threads, part, clock)
        photos.append(photo)
        proofs.append(proof)
    notes = (*request.photo.notes, *work.plan.reasons)
    return FillResult(
        photos=tuple(photos),
        before=request.photo,
        mask=request.mask,
        plan=work.plan,
        seed=seed,
        notes=notes,
        timings=MappingProxyType(clock.done()),
        report=_worst(proofs),
    )


class _Clock:
    """Adds up wall seconds by stage."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._stages[name] = self._stages.get(name, 0.0) + time.perf_counter() - start

    def done(self) -> dict[str, float]:
        return {**self._stages, "total": time.perf_counter() - self._start}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One variation: what every region needs."""

    request: FillRequest
    work: Work
    seed: int
    threads: int
    canvas: Canvas
    unknown: Hole


def _fill_once(
    request: FillRequest, work: Work, seed: int, threads: int, report: Report, clock: _Clock
) -> tuple[Photo, Proof]:
    with clock.stage("prepare"):
        photo = request.photo
        run = _Run(
            request=request,
            work=work,
            seed=seed,
            threads=threads,
            canvas=Canvas(photo.pixels, photo.alpha),
            unknown=work.hole.copy(),
        )
    total, done = sum(region.hole_box.area for region in work.regions), 0
    for batch, workers in _batches(work.regions, threads):
        share = sum(region.hole_box.area for region in batch)
        part = Part(report, done / total, (done + share) / total)
        done += share
        with clock.stage("engine"):
            crops = [_crop(run, region) for region in batch]
            fills = _engine_fills(run, crops, workers, part)
        with clock.stage("composite"):
            for region, crop, filled in zip(batch, crops, fills, strict=True):
                _composite(run, region, crop, filled)
    with clock.stage("check"):
        proof = run.canvas.proof(request.mask, threads=threads)
    if not proof.outside_equal:
        raise EngineFailed(
            f"{proof.differing_px} pixels outside the hole changed",
            code="fill.outside-changed",
            hint="this is a bug in Reknit; nothing was written",
            engine=work.plan.engine,
        )
    report.step("done", 1.0)
    return photo.with_pixels(run.canvas.pixels, run.canvas.alpha), proof


def _batches(regions: Sequence[Region], threads: int) -> Iterator[tuple[list[Region], int]]:
    """Yield regions that may be filled at once, and how many workers to use.

    Small crops of one wave run side by side; a large one runs alone, with every thread inside its engine.
    """
    for _, wave in groupby(regions, key=lambda region: region.wave):
        small: list[Region] = []
        for region in wave:
            if region.context_box.area > SMALL_CROP_PX:
                yield [region], 1
            else:
                small.append(region)
        if small:
            yield small, min(threads, len(small))


def _crop(run: _Run, region: Region) -> Crop:
    """Cut what the engine needs for ``region`` out of the canvas."""
    box = region.context_box
    hole = run.unknown[box.slices].copy()
    target = np.zeros_like(hole)
    inner = region.hole_box.inside(box).slices
    target[inner] = hole[inner]
    source = ~hole
    if run.request.source is not None:
        source &= run.request.source.fill[box.slices]
    pixels = run.canvas.crop(box)
    for array in (hole, target, source):
        array.flags.writeable = False
    return Crop(pixels=pixels, hole=hole, target=target, source=source)


def _engine_fills(run: _Run, crops: Sequence[Crop], workers: int, report: Report) -> list[Samples]:
    """Run the engine on every crop, ``workers`` at a time, and return the filled crops in order."""
    engine = run.work.engine
    if workers == 1:
        session = engine.load(threads=run.threads if len(crops) == 1 else 1)
        parts = (Part(report, i / len(crops), (i + 1) / len(crops)) for i in range(len(crops)))
        return [_one(run, session, crop, part) for crop, part in zip(crops, parts, strict=True)]
    # Sessions serve one thread at a time; progress is told from this thread only, between crops.
    sessions = [engine.load(threads=1) for _ in range(workers)]
    stop = CancelToken()
    quiet = Reporter(None, stop)

    def fill_share(worker: int) -> list[Samples]:
        return [_one(run, sessions[worker], crop, quiet) for crop in crops[worker::workers]]

    with ThreadPoolExecutor(workers - 1, thread_name_prefix="reknit-fill") as pool:
        others = [pool.submit(fill_share, worker) for worker in range(1, workers)]
        try:
            mine: list[Samples] = []
            for i, crop in enumerate(crops[0::workers]):
                report.step("fill", i * workers / len(crops))
                mine.append(_one(run, sessions[0], crop, Part(report, i * workers / len(crops), 1.0)))
            shares = [mine, *(other.result() for other in others)]
        except BaseException:
            stop.cancel()
            raise
    return [shares[i % workers][i // workers] for i in range(len(crops))]


def _one(run: _Run, session: Session, crop: Crop, report: Report) -> Samples:
    """Run a session on one crop, at the engine's size and depth, and hold it to its contract."""
    spec, params = run.work.engine.spec, run.work.params
    fitted = size_fit(Size.of(crop.pixels.shape), spec.size_rule)
    given = _as_engine_wants(crop, fitted, native_depth=spec.native_depth)
    filled = session.run(given, params, run.seed, report)
    if filled.shape != given.pixels.shape or filled.dtype != given.pixels.dtype:
        raise EngineFailed(
            f"engine {spec.name} returned {filled.shape} {filled.dtype} for a crop of "
            f"{given.pixels.shape} {given.pixels.dtype}",
            code="engine.contract",
            hint="this is a bug in the engine",
            engine=spec.name,
        )
    filled = fitted.undo(filled)
    if filled.dtype == np.uint8 and crop.pixels.dtype == np.uint16:
        return filled.astype(np.uint16) * np.uint16(257)
    return filled


def _as_engine_wants(crop: Crop, fitted: Fit, *, native_depth: bool) -> Crop:
    if native_depth and fitted.working == fitted.size:
        return crop
    pixels = crop.pixels
    if not native_depth:
        pixels = np.ascontiguousarray(pixels[..., :3])
        if pixels.dtype == np.uint16:
            pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    hole = fitted.apply_hole(crop.hole)
    return Crop(
        pixels=fitted.apply(pixels),
        hole=hole,
        target=fitted.apply_hole(crop.target),
        source=~fitted.apply_hole(~crop.source) & ~hole,
    )


def _composite(run: _Run, region: Region, crop: Crop, filled: Samples) -> None:
    """Blend a filled crop in, and mark its hole as known."""
    box, spec = region.context_box, run.work.engine.spec
    weight = _weight(run, box, crop)
    values: Samples | NDArray[np.float32] = filled
    if spec.match_rim:
        original = crop.pixels[..., :3]
        rng = np.random.default_rng((run.seed, box.x0, box.y0))
        values = match_rim(filled, original, crop.target, unknown=crop.hole, rng=rng)
    if run.canvas.alpha is not None and values.shape[2] == 3:
        # The engine knows no alpha: what it made is opaque.
        opaque = np.iinfo(crop.pixels.dtype).max
        alpha = np.where(crop.target, opaque, crop.pixels[..., 3])
        values = np.dstack((values, alpha.astype(values.dtype)))
    run.canvas.paste(box, values, weight)
    run.unknown[region.hole_box.slices] = False


def _weight(run: _Run, box: Box, crop: Crop) -> NDArray[np.float32] | NDArray[np.bool_]:
    """Return the share of the fill in each pixel: this region's part of the hole, and the ring around it."""
    feather_px = run.work.plan.feather_px
    if feather_px == 0:
        return crop.target
    mine = rim(crop.target, grow_px=0, feather_px=feather_px).weight
    return np.where(crop.target | ~run.work.hole[box.slices], mine, np.float32(0))


def _worst(proofs: Sequence[Proof]) -> Proof:
    """Return one proof that holds for every variation."""
    return Proof(
        outside_equal=all(p.outside_equal for p in proofs),
        differing_px=max(p.differing_px for p in proofs),
        touched_px=max(p.touched_px for p in proofs),
        ring_px=max(p.ring_px for p in proofs),
        max_residue=max(p.max_residue for p in proofs),
    )
