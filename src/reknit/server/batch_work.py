"""Batches that are asked for over HTTP: in folders that the operator allowed, and nowhere else.

Folders go by names: ``photos/2019`` is the folder ``2019`` in an allowed one that is called ``photos``. A body becomes
a `folder.Batch`, always resumed, so that the same body goes on where it stopped. It knows no HTTP and no store.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path, PurePosixPath

from reknit.batch.check import RECORD, check_setup
from reknit.batch.folder import Batch, Progress
from reknit.batch.item import Setup
from reknit.batch.manifest import Entry, WorkList
from reknit.batch.places import check_within
from reknit.core.containers import SUFFIXES
from reknit.core.errors import InputError, NotFound, nearest_name
from reknit.core.progress import Report
from reknit.server.tasks import Handler, Payload, Result, check_no_paths

KIND = "batch"
"""The kind of the jobs, and the name of the worker that has nothing else to do."""
NICE = 10
"""How much batches give way to what people wait for."""
MOST_FOLDERS = 500
DEPTH = 3
_SAME = (
    "engine", "params", "seed", "count", "grow", "feather", "context", "mask_from", "invert", "resize_mask",
    "find", "corner", "sensitivity", "overwrite",
)  # fmt: skip


def named(roots: Iterable[Path]) -> dict[str, Path]:
    """Return the allowed folders by their names, links followed.

    Raises
    ------
    InputError
        ``serve.batch-root``: one is no folder, or two have one name.
    """
    found: dict[str, Path] = {}
    for root in roots:
        real = Path(os.path.realpath(root))
        if not real.is_dir() or not real.name or real.name in found:
            why = "has the name of another" if real.name in found else "is no folder"
            raise InputError(
                f"--batch-root {root} {why}",
                code="serve.batch-root",
                hint="give folders that exist, each of another name",
            )
        found[real.name] = real
    return found


def place(roots: Mapping[str, Path], name: str) -> Path:
    """Return what a name such as ``photos/2019`` stands for, links followed.

    Raises
    ------
    NotFound
        ``batch.root``: no allowed folder is called so.
    InputError
        ``batch.outside``
    """
    parts = name.split("/")
    outside = InputError(
        f"{name[:200]!r} is no place in a folder that was allowed",
        code="batch.outside",
        hint="write NAME/FOLDER, without .. and links that lead out",
    )
    if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
        raise outside
    if parts[0] not in roots:
        raise NotFound(
            f"no folder called {parts[0][:200]!r} was allowed",
            code="batch.root",
            hint=nearest_name(parts[0][:200], roots) if roots else "start `reknit serve --batch-root DIR`",
        )
    root = roots[parts[0]]
    real = Path(os.path.realpath(root.joinpath(*parts[1:])))
    if not real.is_relative_to(root):
        raise outside
    return real


def folders(root: Path) -> Iterator[tuple[str, int]]:
    """Yield (name, pictures in it) of an allowed folder and of those in it, three deep; no links."""
    waiting, seen = [(root, root.name, 0)], 0
    while waiting and seen < MOST_FOLDERS:
        folder, name, depth = waiting.pop(0)
        pictures, inner = 0, list[tuple[Path, str, int]]()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.name == RECORD:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        inner.append((Path(entry.path), f"{name}/{entry.name}", depth + 1))
                    elif PurePosixPath(entry.name).suffix.lower() in SUFFIXES:
                        pictures += 1
        except OSError:  # one that may not be read is none
            continue
        seen += 1
        yield name, pictures
        if depth < DEPTH:
            waiting += sorted(inner)


def check(roots: Mapping[str, Path], payload: Payload) -> None:
    """Raise what the job would raise before it lists its pictures, as far as that needs no picture."""
    work, setup = _asked(roots, payload)
    if not Path(work.root).is_dir():
        raise NotFound(
            f"there is no folder {payload['folder']}",
            code="file.missing",
            hint="GET /api/v1/batch lists them",
        )
    if work.manifest is not None and not Path(work.manifest).is_file():
        raise NotFound(
            f"there is no manifest {payload['manifest']}",
            code="file.missing",
            hint="it is a file in a folder that was allowed: NAME/FILE.csv",
        )
    check_no_paths(setup.engine, setup.params)
    check_setup(setup)


def _asked(roots: Mapping[str, Path], payload: Payload) -> tuple[WorkList, Setup]:
    place(roots, f"{payload['out']}/{RECORD}")
    root, out = place(roots, payload["folder"]), place(roots, payload["out"])
    mask, manifest = payload["mask"], payload.get("manifest")  # jobs of before had none
    within = tuple(map(str, roots.values()))

    def vet(entry: Entry) -> None:
        for each in (entry.image, entry.mask, entry.row.get("source")):
            if each is not None:
                check_within(each, within)
        engine = entry.row.get("engine", payload["engine"])
        check_no_paths(engine, entry.row.get("params", {}))

    work = WorkList(
        root=str(root),
        manifest=None if manifest is None else str(place(roots, manifest)),
        vet=vet,
        include=tuple(payload["include"]),
        exclude=tuple(payload["exclude"]),
        mask=None if mask is None else str(place(roots, mask)),
        mask_suffix=payload["mask_suffix"],
        name=payload["name"],
    )
    setup = Setup(
        out=str(out),
        boxes=tuple(payload["boxes"]),
        kinds=tuple(payload["kinds"]) if payload["find"] == "damage" else (),
        within=within,
        **{name: payload[name] for name in _SAME},
    )
    return work, setup


def handlers(roots: Iterable[Path], **limits: int) -> dict[str, Handler]:
    """Return the handler of batches; ``limits`` are those of `Setup`."""
    from dataclasses import replace

    places = named(roots)

    def run(payload: Payload, report: Report) -> Result:
        work, setup = _asked(places, payload)
        batch = Batch(
            work,
            replace(setup, **limits),
            resume=True,
            retry_failed=payload["retry_failed"],
            workers=payload["workers"],
            retries=payload["retries"],
        )
        with closing(batch):
            try:
                report.step("listed", 0.0)
                with closing(batch.run()) as outcomes:
                    for _ in outcomes:
                        progress = batch.progress()
                        report.step(words(progress), (progress.done + progress.failed) / progress.total)
            finally:
                batch.report()
                counts = batch.ledger.counts()
        return {
            "images": [],
            "blobs": [],
            "counts": counts,
            "timings": {"total": round(batch.seconds, 3)},
        }

    return {KIND: run}


def words(progress: Progress) -> str:
    """Return how far a batch is: ``1,204 of 20,000, 3 failed``."""
    failed = f", {progress.failed:,} failed" if progress.failed else ""
    return f"{progress.done + progress.failed:,} of {progress.total:,}{failed}"


def result_file(roots: Mapping[str, Path], payload: Payload, path: str) -> Path:
    """Return a file of a batch's report, or a picture in its OUT; raises `NotFound` for all others."""
    missing = NotFound(
        "there is no such file of this batch", code="request.path", hint=f"{RECORD}/index.html"
    )
    try:
        found = place(roots, f"{payload['out']}/{path}")
    except InputError:
        raise missing from None
    inner = PurePosixPath(path)
    of_report = path in (f"{RECORD}/{name}" for name in ("index.html", "report.json", "failures.csv"))
    thumb = inner.parent == PurePosixPath(RECORD, "thumbs") and inner.suffix == ".jpg"
    picture = inner.parts[0] != RECORD and inner.suffix.lower() in SUFFIXES
    if not (of_report or thumb or picture) or not found.is_file():
        raise missing
    return found
