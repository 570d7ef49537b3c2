"""Fill a photo: plan → regions → engine → composite → proof.

This is the one use case that every door leads to. It owns the working copy of the photo; engines see pieces
of it (`pipeline.piece`) in threads of their own (`pipeline.crew`), and only this thread writes back. It knows
no file, no terminal and no HTTP.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from types import MappingProxyType

import numpy as np

from reknit.core.composite import Canvas, Proof
from reknit.core.errors import EngineFailed
from reknit.core.image import Photo
from reknit.core.progress import Part, Report, Reporter
from reknit.core.region import Region
from reknit.core.request import FillRequest
from reknit.core.result import FillResult, Plan
from reknit.engines.base import Engine, Foreseeing, Models, Session, Telling, Told
from reknit.engines.kept import KEPT
from reknit.pipeline import learnt
from reknit.pipeline.attempts import Attempts
from reknit.pipeline.crew import run_all
from reknit.pipeline.peak import Peak
from reknit.pipeline.piece import Call, Patch, Piece, cut, filled, has_equal_channels
from reknit.pipeline.plan import Work, plan_fill

SMALL_CROP_PX = 300_000
"""Crops up to this size run side by side, one thread each, where the engine's spec says so; larger ones run one by one
with all threads."""

BATCH_PX = 8_000_000
"""Crops are cut, filled and pasted in batches of at most about this many pixels, to bound memory."""

_CALL_PX = 2_000  # what a call costs, in pixels to fill; for the progress bar only


def fill(
    request: FillRequest, *, threads: int = 1, report: Report | None = None, models: Models | None = None
) -> FillResult:
    """Carry out ``request`` and return the result with its proof.

    Parameters
    ----------
    request
        What to fill, with what.
    threads
        CPU threads to use, at least 1. The result does not depend on it.
    report
        Where progress goes; `Cancelled` raised there stops the work.
    models
        Where engines find the models they run; None to do without.

    Raises
    ------
    ReknitError
        See `core.errors`. After an error nothing was changed or written.
    """
    report = report or Reporter()
    clock = _Clock()
    report.step("plan", 0.0)
    with clock.stage("plan"):
        work = plan_fill(request, threads=threads, models=models)
    seed = random.randrange(2**32) if request.seed == -1 else request.seed
    peak, loading_s = Peak(), KEPT.loading_s
    sessions = _Sessions(work.engine)
    sessions.foresee([(seed + i) % 2**32 for i in range(request.count)])
    attempts = Attempts(work, sessions, models)
    photos: list[Photo] = []
    proofs: list[Proof] = []
    for i in range(request.count):
        part = Part(report, i / request.count, (i + 1) / request.count)
        photo, proof = _fill_once(request, work, (seed + i) % 2**32, sessions, attempts, part, clock)
        photos.append(photo)
        proofs.append(proof)
    told, on_device = sessions.told(), peak.device()
    taken = on_device or peak.ram()
    loading_s = KEPT.loading_s - loading_s
    way = work.ways[0]
    if way.basis is not None and models is not None and not attempts.notes:
        learnt.keep(
            models().models_dir,
            way,
            request,
            work.params,
            told.facts,
            regions=len(work.regions),
            # Loading a model holds it twice in main memory for a moment.
            peak_bytes=on_device or (None if loading_s else taken),
            seconds=clock.done()["engine"] - loading_s,
        )
    notes = (*request.photo.notes, *work.plan.reasons, *told.notes, *attempts.notes)
    notes += learnt.told(way, taken)
    return FillResult(
        photos=tuple(photos),
        facts=told.facts,
        before=request.photo,
        mask=request.mask,
        plan=work.plan,
        seed=seed,
        notes=notes,
        timings=MappingProxyType(clock.done()),
        report=_worst(proofs),
        request=request,
        peak_bytes=taken,
    )


class _Clock:
    """Adds up wall seconds by stage."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._stages[name] = self._stages.get(name, 0.0) + time.perf_counter() - start

    def done(self) -> dict[str, float]:
        return {**self._stages, "total": time.perf_counter() - self._start}


class _Sessions:
    """The sessions of one engine, loaded when first needed and used again."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._loaded: dict[int, list[Session]] = {}
        self._seeds: list[int] = []

    def foresee(self, seeds: list[int]) -> None:
        """Tell every session, those to come too, which seeds it will be asked for."""
        self._seeds = seeds

    def get(self, count: int, *, threads: int) -> list[Session]:
        """Return ``count`` sessions of ``threads`` threads each."""
        loaded = self._loaded.setdefault(threads, [])
        while len(loaded) < count:
            session = self._engine.load(threads=threads)
            if isinstance(session, Foreseeing):
                session.foresee(self._seeds)
            loaded.append(session)
        return loaded[:count]

    def told(self) -> Told:
        """Return what the sessions have to tell."""
        told = [s.told() for each in self._loaded.values() for s in each if isinstance(s, Telling)]
        facts = {name: value for each in told for name, value in each.facts.items()}
        notes = dict.fromkeys(note for each in told for note in each.notes)
        return Told(notes=tuple(notes), facts=MappingProxyType(facts))

    def turn_to(self, engine: Engine) -> None:
        """Let go of every session, and load those to come from ``engine``."""
        self._engine, self._loaded = engine, {}


def _fill_once(
    request: FillRequest,
    work: Work,
    seed: int,
    sessions: _Sessions,
    attempts: Attempts,
    report: Report,
    clock: _Clock,
) -> tuple[Photo, Proof]:
    photo, spec, threads = request.photo, work.engine.spec, work.plan.threads
    report.step("fill", 0.0)
    with clock.stage("prepare"):
        canvas = Canvas(photo.pixels, photo.alpha)
        call = Call(
            spec=spec, params=work.params, seed=seed, feather_px=work.plan.feather_px, grey=_is_grey(photo)
        )

    def fill_one(session: Session, piece: Piece, line: Report) -> Patch:
        return filled(session, piece, attempts.call(call), line)

    def fill_all(pieces: list[Piece], line: Report) -> list[Patch]:
        workers = (
            sessions.get(1, threads=threads)
            if len(pieces) == 1 or not spec.side_by_side
            else sessions.get(min(threads, len(pieces)), threads=1)
        )
        weights = [_CALL_PX + int(np.count_nonzero(piece.crop.target)) for piece in pieces]
        return run_all(fill_one, pieces, workers=workers, weights=weights, report=line)

    total, done = sum(region.hole_box.area for region in work.regions), 0
    for batch in _batches(work.regions):
        share = sum(region.hole_box.area for region in batch)
        part = Part(report, 0.98 * done / total, 0.98 * (done + share) / total)
        done += share
        with clock.stage("cut"):
            pieces = [cut(canvas, region, work.hole, request.source, call.feather_px) for region in batch]
        with clock.stage("engine"):
            patches = attempts.carry_out(partial(fill_all, pieces, part))
        pieces.clear()
        with clock.stage("composite"):
            for patch in patches:
                canvas.paste(patch.box, patch.values, patch.weight)
                part.step("composite", 1.0)
    report.step("check", 0.98)
    with clock.stage("check"):
        proof = canvas.proof(request.mask, threads=threads)
    _check(proof, work.plan)
    report.step("done", 1.0)
    return photo.with_pixels(canvas.pixels, canvas.alpha), proof


def _check(proof: Proof, plan: Plan) -> None:
    """Raise `EngineFailed` unless nothing beyond the hole and its ring was touched, let alone changed."""
    if not proof.outside_equal:
        wrong = f"{proof.differing_px} pixels outside the hole changed"
    elif proof.ring_px > plan.grow_px + plan.feather_px + 1e-3:
        wrong = f"pixels were written {proof.ring_px:.2f} px outside the mask"
    else:
        return
    raise EngineFailed(
        wrong,
        code="fill.outside-changed",
        hint="this is a bug in Reknit; nothing was written",
        engine=plan.engine,
    )


def _is_grey(photo: Photo) -> bool:
    if photo.origin is not None:
        return photo.origin.grey
    few = photo.pixels[:: max(1, photo.size.height // 16)]
    return has_equal_channels(few) and has_equal_channels(photo.pixels)


def _batches(regions: Sequence[Region]) -> Iterator[list[Region]]:
    """Yield regions that may be filled at once, whatever the number of threads.

    Small crops of one wave go side by side; a large one goes alone, with every thread inside its engine.
    """
    for _, wave in groupby(regions, key=lambda region: region.wave):
        small: list[Region] = []
        held = 0
        for region in wave:
            area = region.context_box.area
            if area > SMALL_CROP_PX:
                yield [region]
                continue
            if held + area > BATCH_PX:
                yield small
                small, held = [], 0
            small.append(region)
            held += area
        if small:
            yield small


def _worst(proofs: Sequence[Proof]) -> Proof:
    """Return one proof that holds for every variation."""
    return Proof(
        outside_equal=all(p.outside_equal for p in proofs),
        differing_px=max(p.differing_px for p in proofs),
        touched_px=max(p.touched_px for p in proofs),
        ring_px=max(p.ring_px for p in proofs),
        max_residue=max(p.max_residue for p in proofs),
    )
