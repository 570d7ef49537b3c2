"""What goes when the data folder grows old or large.

Finished jobs go first, the oldest before the newer; then the blobs that no remaining job refers to. A blob is
referred to by its name, which is recognised wherever it stands in a job's payload or result; a handler lists all
that its result needs under ``blobs``. `Others` are files that jobs leave elsewhere: they count, and go with their jobs.
What any of them hold is not known here, and no job that still has to run, and nothing it needs, is ever removed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast

from reknit.core.errors import InputError, NotFound
from reknit.jobs.blobs import DIGEST, Blobs
from reknit.jobs.job import FINAL, Job
from reknit.jobs.store import Store

PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """How many jobs, and how many blobs and other files, were removed, and these files' bytes."""

    jobs: int
    blobs: int
    bytes: int


class Others(Protocol):
    """Files that jobs leave beside the blobs."""

    def sizes(self) -> Mapping[str, int]:
        """Return their bytes, by names that are no blob's."""
        ...

    def named(self, job: Job) -> set[str]:
        """Return the names of those that a job left."""
        ...

    def delete(self, name: str, before: float) -> bool:
        """Remove one that was not changed since."""
        ...


def prune(
    store: Store,
    blobs: Blobs,
    *,
    max_age_s: float,
    max_bytes: int,
    grace_s: float,
    others: Others | None = None,
) -> Pruned:
    """Remove finished jobs that are too old or too much, and the blobs that nobody needs any more.

    Parameters
    ----------
    max_age_s
        Jobs that finished longer ago go.
    max_bytes
        While the blobs and other files that jobs refer to are more than this, the oldest finished job goes.
    grace_s
        Blobs stored or touched less than this ago stay. Touch a blob before submitting a job that refers to it:
        then it cannot go in between.
    others
        Those that no job has left stay as long as jobs do.
    """
    now = time.time()
    left = {} if others is None else dict(others.sizes())
    sizes = dict(_sizes(blobs)) | left  # before the jobs are read: a later blob is not looked at
    jobs = _jobs(store)
    needs = {job.id: references(job.payload) | references(job.result) for job in jobs}
    if others is not None:
        needs = {job.id: needs[job.id] | others.named(job) for job in jobs}
    strays = set(left).difference(*needs.values())
    uses = Counter(digest for needed in needs.values() for digest in needed)
    total = sum(size for digest, size in sizes.items() if uses[digest])
    gone = 0
    for job in jobs:
        if job.state not in FINAL or not (total > max_bytes or (job.finished or now) < now - max_age_s):
            continue
        try:
            store.delete(job.id)
        except InputError:  # somebody deleted it, or began it again
            continue
        gone += 1
        uses.subtract(needs[job.id])
        total -= sum(sizes.get(digest, 0) for digest in needs[job.id] if not uses[digest])

    def deleted(name: str) -> bool:
        if others is not None and name in left:
            return others.delete(name, now - (max_age_s if name in strays else grace_s))
        return _delete(blobs, name, now - grace_s)

    freed = [name for name in sizes if not uses[name] and deleted(name)]
    blobs.sweep(grace_s)
    return Pruned(jobs=gone, blobs=len(freed), bytes=sum(sizes[digest] for digest in freed))


def references(data: object) -> set[str]:
    """Return every blob's name in JSON-able data."""
    if isinstance(data, str):
        return {data} if DIGEST.fullmatch(data) else set()
    if isinstance(data, Mapping):
        return set[str]().union(*(references(value) for value in cast("Mapping[str, Any]", data).values()))
    if isinstance(data, (list, tuple)):
        return set[str]().union(*(references(value) for value in cast("list[Any]", data)))
    return set()


def _jobs(store: Store) -> list[Job]:
    """Return all jobs, the oldest first."""
    found: list[Job] = []
    while page := store.list(limit=PAGE, before=found[-1].id if found else None):
        found += page
    return found[::-1]


def _sizes(blobs: Blobs) -> Iterator[tuple[str, int]]:
    for digest in blobs.digests():
        with suppress(NotFound):
            yield digest, blobs.size(digest)


def _delete(blobs: Blobs, digest: str, before: float) -> bool:
    """Remove a blob that is still old, which is looked up at the last moment."""
    with suppress(NotFound):
        if blobs.modified(digest) < before:
            blobs.delete(digest)
            return True
    return False
