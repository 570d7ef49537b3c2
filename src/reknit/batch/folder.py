"""Do a whole batch: list, settle what an earlier run left, run, report.

`Batch` is the use case that the command line, Python and the server share; `batch` is its Python door. It knows the
ledger and who works (processes here, or a cluster), no pictures and no terminal.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

from reknit.batch import manifest, places
from reknit.batch.anchor import Anchor
from reknit.batch.check import check_setup, record_folder, to_skip, wants_gpu
from reknit.batch.item import Item, Outcome, Setup
from reknit.batch.ledger import DONE, FAILED, FILE_NAME, WAITING, Ledger
from reknit.batch.manifest import WorkList
from reknit.batch.pool import Take
from reknit.batch.processes import Processes, workers_for
from reknit.config import usable_threads
from reknit.core.errors import ExternalError, InputError, Unavailable, nearest_name
from reknit.core.options import Option
from reknit.engines.diffusion_options import SHORTCUTS
from reknit.jobs.lock import FolderLock

COMMIT_S, COMMIT_MOST = 0.25, 64
"""Results are committed after so long, or so many of them."""
AHEAD = 64
"""Items are handed out by the ledger so many at a time."""
WINDOW_S = 30.0
"""The rate is that of so long."""
_UNSEEN_BYTES = 65_536  # a file counts for this much more than its size, in the time that is left

OPTIONS = (
    Option(
        name="workers",
        kind="int",
        default=None,
        minimum=1,
        maximum=4096,
        help="worker processes; by default what fits this machine's cores, memory and GPUs",
    ),
    Option(
        name="retries",
        kind="int",
        default=1,
        minimum=0,
        maximum=100,
        help="how often a picture is tried again after a failure that may pass: the disk, the network, memory",
    ),
)


class Runner(Protocol):
    """Who does the work."""

    def run(self, take: Take, stopping: threading.Event) -> Generator[Outcome | None]:
        """Yield outcomes, and now and then None; see `pool.Pool.run`."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a batch is: counts, pictures a second lately, and the seconds left (None while unknown)."""

    done: int
    failed: int
    total: int
    rate: float
    seconds_left: float | None


class Batch:
    """One batch, from its list to its report.

    Parameters
    ----------
    work : WorkList
    setup : Setup
    record : Path or None
        Folder of the ledger and the report; None for `check.RECORD` below OUT.
    resume : bool
        Go on with the batch that the ledger holds.
    retry_failed : bool
        Also try again what failed then.
    workers : int or None
        Worker processes, or actors; None for what suits the machine.
    threads : int or None
        CPU threads of each; None shares the cores among the workers.
    retries : int
    ray : str or None
        ``"auto"`` or a cluster's address: do the work there.

    Raises
    ------
    InputError
        ``batch.places``, ``batch.exists``, ``batch.changed``, ``batch.empty``, and those of `manifest.entries`.
    Unavailable
        ``batch.running``
    """

    def __init__(
        self,
        work: WorkList,
        setup: Setup,
        *,
        record: Path | None = None,
        resume: bool = False,
        retry_failed: bool = False,
        workers: int | None = None,
        threads: int | None = None,
        retries: int = 1,
        ray: str | None = None,
    ) -> None:
        self.setup = check_setup(setup)
        self.record = record_folder(work.root, setup.out, record)
        self.work = replace(work, skip=to_skip(work, setup.out, self.record))
        self._check_masks()
        self._workers, self._threads, self._retries, self._ray = workers, threads, retries, ray
        self._stopping = threading.Event()
        self._recent: deque[float] = deque()
        self._weights: dict[int, int] = {}
        self.seconds = 0.0
        self.reason = ""
        new = not (self.record / FILE_NAME).exists()
        if not new and not resume:
            raise InputError(
                f"{self.record} holds the ledger of a batch",
                code="batch.exists",
                hint="--resume goes on with it; a new batch needs an empty OUT, or another --report DIR",
            )
        self._lock = FolderLock(self.record / "batch.lock")
        self._anchors: dict[Path, Anchor] = {}
        self._take_lock()
        try:
            self.ledger = Ledger(self.record / FILE_NAME)
            try:
                self._prepare(retry_failed=retry_failed)
            except BaseException:
                self.ledger.close()
                if new:  # nothing was begun: what is put right begins anew
                    self._discard()
                raise
        except BaseException:
            self._let_go()
            raise

    def _let_go(self) -> None:
        for anchor in self._anchors.values():
            anchor.close()
        self._lock.release()

    def _take_lock(self) -> None:
        try:
            self._lock.acquire()
            self._anchors[self._lock.path] = Anchor(self._lock.path)
        except Unavailable as error:
            raise Unavailable(
                f"another process ({error.facts.get('pid') or 'unknown'}) works on this batch",
                code="batch.running",
                hint="wait for it, or stop it with Ctrl-C",
            ) from None
        except OSError as error:
            raise ExternalError(
                f"there can be no record in {self.record}: {error.strerror or error}",
                code="batch.ledger",
                hint="choose another OUT, or another folder for the record with --report DIR",
            ) from error

    def _look_after_folders(self) -> None:
        """Put the record back if somebody removed it, and stop if OUT was: what was done is gone with it."""
        out = Path(self.setup.out)
        if not places.is_uri(self.setup.out) and out not in self._anchors and out.is_dir():
            self._anchors[out] = Anchor(out)
        if out in self._anchors and not self._anchors[out].stays:
            raise ExternalError(
                f"{out} was removed while the batch ran, and all that was in it",
                code="batch.out-gone",
                hint="begin anew with --overwrite, and with another --report DIR if you gave one",
            )
        before = self._anchors[self._lock.path]
        if before.stays and os.path.lexists(self.ledger.path):
            return
        self._lock.release()
        self._take_lock()
        before.close()
        self.ledger.put_back()

    def _check_masks(self) -> None:
        has_mask = self.work.mask or self.work.mask_suffix or self.setup.boxes or self.setup.find
        if not (has_mask or self.work.manifest or self.setup.mask_from == "alpha"):
            raise InputError(
                "there is no mask",
                code="mask.missing",
                hint="give --mask FILE|FOLDER, --mask-suffix, --box X,Y,W,H, --mask-from alpha, or --find damage",
            )

    def _prepare(self, *, retry_failed: bool) -> None:
        """List the pictures, and settle what an earlier run left."""
        asked = json.loads(json.dumps({"setup": self.setup.to_dict(), "work": _asked(self.work)}))
        before = self.ledger.fact("asked")
        if before is not None and before != asked:
            changed = [
                name for part in asked for name in asked[part] if before[part].get(name) != asked[part][name]
            ]
            raise InputError(
                f"the batch in {self.record} was begun with another {', '.join(changed)}",
                code="batch.changed",
                hint="resume it with the same options, or begin a new one with another OUT",
                changed=changed,
            )
        self.ledger.note("asked", asked)
        if retry_failed:
            self.ledger.retry_failed()
        self._known = self.ledger.recover(self.setup)
        self.adopted = len(self._known)
        start = time.perf_counter()
        self.listed = self.ledger.add(manifest.entries(self.work), self.setup)
        self.listing_s = time.perf_counter() - start
        self._known += self.ledger.refuse_existing(self.setup)
        self._tally = self.ledger.counts()
        self.total = sum(self._tally.values())
        if self.total == 0:
            raise InputError(
                f"there are no pictures in {self.work.manifest or self.work.root}",
                code="batch.empty",
                hint="check --include and --exclude; pictures are known by their suffixes",
            )
        self._left = self.ledger.bytes_left() + _UNSEEN_BYTES * self._tally[WAITING]
        self._to_do = self._left

    def _discard(self) -> None:
        """Leave no trace of a batch that cannot begin."""
        for file in self.record.glob(FILE_NAME + "*"):
            file.unlink(missing_ok=True)

    def run(self) -> Generator[Outcome | None]:
        """Yield final outcomes as they come, and None now and then, so that a caller can tell the time.

        Closing the iterator stops the workers at once; `stop` lets them finish what runs.
        """
        start, self._began = time.perf_counter(), time.monotonic()
        known, self._known = self._known, []
        yield from known
        if self._tally[WAITING] == 0:
            return
        runner = self._runner()
        waiting: list[Item] = []
        held: list[Outcome] = []
        settled: list[Outcome] = []

        def take(most: int) -> list[Item]:
            if not waiting:
                waiting.extend(reversed(self.ledger.take(max(AHEAD, most))))
            if not waiting and held:  # what comes back of these is taken by the workers that are there
                settled.extend(self._settled(held))
                held.clear()
                waiting.extend(reversed(self.ledger.take(max(AHEAD, most))))
            taken = [waiting.pop() for _ in range(min(most, len(waiting)))]
            self._weights.update((item.id, item.file_bytes + _UNSEEN_BYTES) for item in taken)
            return taken

        committed = time.monotonic()
        with closing(runner), closing(runner.run(take, self._stopping)) as outcomes:
            try:
                for outcome in outcomes:
                    if outcome is not None:
                        held.append(outcome)
                    now = time.monotonic()
                    if held and (now - committed > COMMIT_S or len(held) >= COMMIT_MOST):
                        committed = now
                        settled.extend(self._settled(held))
                        held.clear()
                    elif outcome is None:
                        yield None
                    while settled:
                        yield settled.pop(0)
            finally:
                final = settled + self._settled(held)
                self.ledger.give_back(item.id for item in waiting)
                self.seconds += time.perf_counter() - start
        yield from final
        if not self._stopping.is_set() and self.ledger.counts()[WAITING]:  # put back at the very end
            yield from self.run()

    def _settled(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Commit outcomes; return the final ones. A cluster may tell the same twice, after a node was lost."""
        self._look_after_folders()
        outcomes = [outcome for outcome in outcomes if outcome.id in self._weights]
        for outcome in filter(lambda outcome: outcome.thumbs, outcomes):
            from reknit.batch.report import keep_thumbs

            keep_thumbs(self.record, outcome)
        self.ledger.sweep(outcomes, self.setup)
        final = self.ledger.record(outcomes, retries=self._retries)
        now = time.monotonic()
        for outcome in final:
            self._tally[DONE if outcome.done else FAILED] += 1
            self._left -= self._weights.pop(outcome.id, 0)
            self._recent.append(now)
        while self._recent and now - self._recent[0] > WINDOW_S:
            self._recent.popleft()
        return final

    def _runner(self) -> Runner:
        on_gpu = wants_gpu(self.setup)
        if self._ray is not None:
            from reknit.batch.on_ray import Cluster

            return Cluster(
                self.setup, address=self._ray, workers=self._workers, threads=self._threads, on_gpu=on_gpu
            )
        workers, self.reason = self._workers, "as asked"
        if workers is None:
            largest = max((_pixels(place) for place in self.ledger.largest(3)), default=0)
            workers, self.reason = workers_for(largest, on_gpu=on_gpu)
        workers = min(workers, max(1, self._tally[WAITING]))
        threads = self._threads or max(1, usable_threads() // workers)
        return Processes(self.setup, workers=workers, threads=threads, on_gpu=on_gpu)

    def stop(self) -> None:
        """Ask `run` to finish the running pictures and end; safe from a signal handler or another thread."""
        self._stopping.set()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def progress(self) -> Progress:
        """Return how far the batch is."""
        done, failed = self._tally[DONE], self._tally[FAILED]
        now = time.monotonic()
        span = min(WINDOW_S, now - self._began)
        spent = self._to_do - self._left
        left = None
        if spent > 0 and now - self._began > 1:
            left = (now - self._began) * self._left / spent
        rate = len(self._recent) / span if span > 0.2 else 0.0
        return Progress(done=done, failed=failed, total=self.total, rate=rate, seconds_left=left)

    def report(self) -> Path:
        """Write the report and return its page."""
        from reknit.batch.report import write_report

        self._look_after_folders()
        return write_report(self.record, self.ledger, self.setup, seconds=self.seconds)

    def close(self) -> None:
        """Close the ledger and let others work on it."""
        self.ledger.close()
        self._let_go()


def batch(
    source: str | Path,
    out: str | Path,
    *,
    manifest: str | Path | None = None,
    mask: str | Path | None = None,
    mask_suffix: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    name: str = "{stem}{suffix}",
    report: str | Path | None = None,
    resume: bool = False,
    retry_failed: bool = False,
    workers: int | None = None,
    threads: int | None = None,
    retries: int = 1,
    ray: str | None = None,
    **how: Any,
) -> Iterator[Outcome]:
    """Fill a folder, or the rows of a manifest; yield an `Outcome` for each picture as it is done or fails.

    The list is made and checked at once; the work is done while the iterator is read. When it ends the report is
    written. Closing it early stops the workers; ``resume=True`` goes on later.

    Parameters
    ----------
    source
        Folder or URI of the pictures.
    out
        Folder or URI for the outputs, which keep their relative paths and names.
    manifest
        A CSV, JSON-lines or Parquet file, one row a picture, instead of every picture in ``source``.
    mask
        One mask for all, or a folder with a mask for each picture.
    mask_suffix
        Masks lie beside the pictures under their name with this added: ``"_mask"``.
    include, exclude
        Globs.
    name
        Template of output names, from ``{stem}`` and ``{suffix}``.
    report
        Folder of the ledger and the report; by default ``reknit-batch`` below ``out``.
    resume, retry_failed
        Go on with an earlier run; try its failures again.
    workers, threads
        Worker processes and the CPU threads of each.
    retries
        How often to try again after a failure that may pass.
    ray
        ``"auto"`` or the address of a Ray cluster.
    **how
        Any field of `Setup`: ``engine``, ``params``, ``seed``, ``grow``, ``boxes``, ``find``, ``mask_from``, …;
        and, as in `reknit.fill`, ``model``, ``prompt``, ``strength``, ``steps``, … for those of ``params``.

    Raises
    ------
    ReknitError
        What is wrong with the call or the list; a picture's own failure is an `Outcome`.
    """
    work = WorkList(
        root=places.absolute(str(source)),
        manifest=None if manifest is None else places.absolute(str(manifest)),
        mask=None if mask is None else places.absolute(str(mask)),
        mask_suffix=mask_suffix,
        include=tuple(include),
        exclude=tuple(exclude),
        name=name,
    )
    made = Batch(
        work,
        _setup(out, how),
        record=None if report is None else Path(report),
        resume=resume,
        retry_failed=retry_failed,
        workers=None if workers is None else OPTIONS[0].check(workers),
        threads=threads,
        retries=OPTIONS[1].check(retries),
        ray=ray,
    )
    return _outcomes(made)


def _setup(out: str | Path, how: dict[str, Any]) -> Setup:
    """Return how pictures are done: fields of `Setup`, and options of engines that have a name of their own."""
    fields_known = [field.name for field in fields(Setup) if field.name != "out"]
    short = {option.name: option for option in SHORTCUTS}
    for key in how:
        if key not in (*fields_known, *short):
            raise InputError(
                f"batch has no option {key!r}",
                code="option.unknown",
                hint=nearest_name(key, (*fields_known, *short)),
            )
    given = {name: short[name].check(value) for name, value in how.items() if name in short}
    rest = {name: value for name, value in how.items() if name not in short}
    rest["params"] = {**given, **rest.get("params", {})}
    return Setup(out=places.absolute(str(out)), **rest)


def _outcomes(made: Batch) -> Generator[Outcome]:
    try:
        with closing(made.run()) as outcomes:
            for outcome in outcomes:
                if outcome is not None:
                    yield outcome
        made.report()
    finally:
        made.close()


def _asked(work: WorkList) -> dict[str, Any]:
    names = ("root", "manifest", "include", "exclude", "mask", "mask_suffix", "name")
    return {name: getattr(work, name) for name in names}


def _pixels(place: str) -> int:
    """Return how many pixels a file's header says it has; 0 if that cannot be told."""
    from reknit.core.containers import libvips

    if places.is_uri(place):
        return 0
    vips: Any = libvips()
    try:
        image = vips.Image.new_from_file(place)
    except vips.Error:
        return 0
    return int(image.width) * int(image.height) * (2 if image.format == "ushort" else 1)
