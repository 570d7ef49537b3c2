"""What retention removes, and what it must not."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reknit.jobs.blobs import Blobs
from reknit.jobs.job import Job
from reknit.jobs.retention import Pruned, prune, references
from reknit.jobs.store import Store

DAY_S = 86400.0
GENEROUS = {"max_age_s": 30 * DAY_S, "max_bytes": 10**9, "grace_s": DAY_S}


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def old(blobs: Blobs) -> Callable[[int], str]:
    """Return a function that stores a blob of a size, as if ten days ago."""

    def make(size: int) -> str:
        digest = blobs.put(os.urandom(size))
        then = time.time() - 10 * DAY_S
        os.utime(blobs.path(digest), (then, then))
        return digest

    return make


def done(store: Store, image: str, *results: str) -> str:
    job, _ = store.submit("fill", {"image": image})
    claimed = store.claim("cpu", 60)
    assert claimed is not None
    store.finish(claimed, {"blobs": list(results), "images": [{"id": result} for result in results]})
    return job.id


class Left:
    """Files that jobs left elsewhere, by name: bytes and age in days. A job's payload names them."""

    def __init__(self, **files: tuple[int, float]) -> None:
        self.files = files

    def sizes(self) -> dict[str, int]:
        return {name: size for name, (size, _) in self.files.items()}

    def named(self, job: Job) -> set[str]:
        return set(job.payload.get("left", ()))

    def delete(self, name: str, before: float) -> bool:
        is_old = time.time() - self.files[name][1] * DAY_S < before
        if is_old:
            del self.files[name]
        return is_old


def test_other_files_count_and_go_with_their_jobs(store: Store, blobs: Blobs) -> None:
    left = Left(first=(400, 9), second=(400, 9), shared=(100, 9), fresh=(10, 0), stray=(500, 9), old=(7, 40))
    jobs = [
        store.submit("workflow", {"left": names})[0]
        for names in (["first", "shared", "fresh"], ["second", "shared"])
    ]
    for _ in jobs:
        claimed = store.claim("cpu", 60)
        assert claimed is not None
        store.finish(claimed, {})
    assert prune(store, blobs, **GENEROUS, others=left) == Pruned(jobs=0, blobs=1, bytes=7), "the old stray"
    assert prune(store, blobs, **{**GENEROUS, "max_bytes": 600}, others=left) == Pruned(
        jobs=1, blobs=1, bytes=400
    )
    assert set(left.files) == {"second", "shared", "fresh", "stray"}
    assert prune(store, blobs, **{**GENEROUS, "max_age_s": 0.0}, others=left).jobs == 1
    assert set(left.files) == {"fresh"}


def test_references_are_found_wherever_they_stand() -> None:
    a, b, c = ("a" * 64, "b" * 64, "0" * 64)
    assert references({"x": [{"y": a}, [b]], "z": {"deep": (c,)}, "n": 1, "none": None}) == {a, b, c}
    assert references({"no": "A" * 64, "nor": "a" * 63, "text": f"see {a}"}) == set()


def test_what_a_job_needs_stays_and_what_nobody_needs_goes(
    store: Store, blobs: Blobs, old: Callable[[int], str]
) -> None:
    image, result, waiting, alone = (old(100) for _ in range(4))
    fresh = blobs.put(b"just uploaded")
    done(store, image, result)
    store.submit("fill", {"image": waiting})
    assert prune(store, blobs, **GENEROUS) == Pruned(jobs=0, blobs=1, bytes=100)
    assert {image, result, waiting, fresh} == set(blobs.digests())
    assert alone not in blobs
    assert prune(store, blobs, **GENEROUS) == Pruned(jobs=0, blobs=0, bytes=0)


def test_old_jobs_go_with_what_only_they_need(store: Store, blobs: Blobs, old: Callable[[int], str]) -> None:
    image, result, waiting = old(100), old(50), old(10)
    job = done(store, image, result)
    queued, _ = store.submit("fill", {"image": image, "source": waiting})
    pruned = prune(store, blobs, max_age_s=-1, max_bytes=10**9, grace_s=DAY_S)
    assert pruned == Pruned(jobs=1, blobs=1, bytes=50)
    assert [left.id for left in store.list()] == [queued.id] != [job]
    assert set(blobs.digests()) == {image, waiting}


def test_too_many_bytes_cost_the_oldest_jobs_first(
    store: Store, blobs: Blobs, old: Callable[[int], str]
) -> None:
    shared = old(1000)
    jobs = [done(store, shared, old(1000)) for _ in range(5)]
    pruned = prune(store, blobs, max_age_s=DAY_S, max_bytes=3500, grace_s=DAY_S)
    assert pruned == Pruned(jobs=3, blobs=3, bytes=3000)
    assert [job.id for job in store.list()] == [jobs[4], jobs[3]]
    assert shared in blobs


def test_what_still_has_to_run_stays_however_much_it_is(
    store: Store, blobs: Blobs, old: Callable[[int], str]
) -> None:
    image = old(1000)
    store.submit("fill", {"image": image})
    running, _ = store.submit("fill", {"image": image}, priority=1)
    assert store.claim("cpu", 60) is not None
    assert prune(store, blobs, max_age_s=-1, max_bytes=0, grace_s=0) == Pruned(jobs=0, blobs=0, bytes=0)
    assert store.get(running.id).state == "running"
    assert image in blobs


def test_a_touched_blob_is_spared(store: Store, blobs: Blobs, old: Callable[[int], str]) -> None:
    image = old(10)
    blobs.touch(image)
    assert prune(store, blobs, **GENEROUS).blobs == 0
