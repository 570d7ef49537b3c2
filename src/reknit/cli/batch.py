"""``reknit batch``: a folder or a manifest of pictures, on this machine or a Ray cluster."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reknit.batch import places
from reknit.batch.folder import OPTIONS, Batch, Progress
from reknit.batch.item import FINDERS, Setup
from reknit.batch.manifest import WorkList
from reknit.cli.flags import PICTURE, fill_flags, given, option_flags, parse_params, parse_quality
from reknit.cli.output import BAR_WIDTH, CLEAR_LINE, print_json
from reknit.cli.work import print_path
from reknit.config import THREADS
from reknit.config import load as load_settings
from reknit.core.errors import Cancelled
from reknit.core.request import FILL_OPTIONS
from reknit.engines.diffusion_options import SHORTCUTS
from reknit.pipeline import defects
from reknit.pipeline.timestamp import CORNERS

if TYPE_CHECKING:
    from types import FrameType


class _Folder(click.Path):
    """A folder or a URI: shells complete folders, and the batch checks what it is."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return it as it is."""
        return value


FOLDER = _Folder(file_okay=False)
SOME_FAILED = 3
FROM_SETTINGS = ("engine", "feather", "max_pixels", "max_bytes")
OTHERS = tuple(option for option in FILL_OPTIONS if option.name not in ("engine", "feather"))
LINE_S = 30.0
"""Where there is no terminal, progress is a line so often."""


@click.command(name="batch")
@click.argument("folder", metavar="IN", type=FOLDER)
@click.argument("out", metavar="OUT", type=FOLDER)
@click.option("--mask", type=PICTURE, metavar="FILE|FOLDER", help="One mask for all, or a folder of masks.")
@click.option(
    "--mask-suffix", metavar="TEXT", help="Masks lie beside the pictures: _mask for photo_mask.png."
)
@click.option("--find", type=click.Choice(FINDERS), help="Look for the mask in each picture.")
@click.option("--corner", type=click.Choice(CORNERS), default=CORNERS[0], help="Where a time stamp is.")
@option_flags(defects.OPTIONS)
@click.option("--manifest", type=PICTURE, metavar="FILE", help="CSV, JSONL or Parquet: one row a picture.")
@click.option("--include", multiple=True, metavar="GLOB", help="Only these names, or paths below IN.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Not these.")
@click.option(
    "--name", default="{stem}{suffix}", metavar="TEMPLATE", help="Names of outputs: {stem}-clean.png."
)
@click.option("--overwrite", is_flag=True, help="Replace files that are in OUT already; sources never.")
@click.option("--resume", is_flag=True, help="Go on where an earlier run stopped.")
@click.option("--retry-failed", is_flag=True, help="With --resume, try again what failed.")
@fill_flags
@option_flags(OPTIONS)
@click.option("--threads", metavar="N", help="CPU threads of each worker; results do not depend on it.")
@click.option("--ray", metavar="auto|ADDRESS", help="Do the work on a Ray cluster.")
@click.option(
    "--report", type=FOLDER, metavar="DIR", help="Where ledger and report lie.  [default: OUT/reknit-batch]"
)
@click.option("--quality", metavar="1-100", help="Encode anew at this quality; by default each input's.")
@click.option("--no-recipe", is_flag=True, help="Do not write into the pictures how they were made.")
@click.option("--max-pixels", metavar="PX", help="Refuse pictures with more pixels than this.")
@click.option("--max-bytes", metavar="BYTES", help="Refuse files larger than this.")
@click.option("--json", "as_json", is_flag=True, help="Print counts and timings as JSON.")
def command(folder: str, out: str, **flags: Any) -> int:
    """Fill every picture in the folder IN, and write the results under their names into OUT.

    A run that was stopped or killed goes on with --resume. The exit status is 0 if all were done and 3 if some
    failed; the report names each with its reason.

    \b
    reknit batch photos clean --mask masks            a mask for each, of the same name
    reknit batch photos clean --mask logo.png         one mask for all
    reknit batch scans clean --find damage
    reknit batch photos clean --mask masks --model sd15-inpainting --prompt "a lawn"
    reknit batch photos clean --manifest jobs.csv --ray auto
    """
    batch = _batch(folder, out, flags)
    try:
        watch = _Watch(batch, quiet=flags["as_json"])
        with _stoppable(batch, watch):
            for _ in batch.run():
                watch.show()
        watch.clear()
        page = batch.report()
        return _finish(batch, page, as_json=flags["as_json"])
    finally:
        batch.close()


def _batch(folder: str, out: str, flags: dict[str, Any]) -> Batch:
    settings = load_settings({name: flags.get(name) for name in ("grow", *FROM_SETTINGS)})
    options = given(flags, OTHERS)
    if flags["find"] != "damage":
        options.setdefault("grow", settings["grow"].value)
    found = given(flags, defects.OPTIONS)
    setup = Setup(
        out=places.absolute(out),
        params={**given(flags, SHORTCUTS), **parse_params(flags["params"])},
        mask_from=flags["mask_from"],
        invert=flags["invert"],
        resize_mask=flags["resize_mask"],
        boxes=flags["boxes"],
        source=flags["source"] and places.absolute(flags["source"]),
        find=flags["find"],
        kinds=defects.parse_kinds(found["kinds"]) if "kinds" in found else (),
        sensitivity=found.get("sensitivity", 0.5),
        corner=flags["corner"],
        quality=parse_quality(flags["quality"]),
        recipe=not flags["no_recipe"],
        overwrite=flags["overwrite"],
        **{name: settings[name].value for name in FROM_SETTINGS},
        **options,
    )
    work = WorkList(
        root=places.absolute(folder),
        manifest=flags["manifest"] and places.absolute(flags["manifest"]),
        include=flags["include"],
        exclude=flags["exclude"],
        mask=flags["mask"] and places.absolute(flags["mask"]),
        mask_suffix=flags["mask_suffix"],
        name=flags["name"],
    )
    numbers = given(flags, OPTIONS)
    return Batch(
        work,
        setup,
        record=flags["report"] and Path(flags["report"]),
        resume=flags["resume"],
        retry_failed=flags["retry_failed"],
        workers=numbers.get("workers"),
        threads=None if flags["threads"] is None else THREADS.check(flags["threads"]),
        retries=numbers.get("retries", 1),
        ray=flags["ray"],
    )


class _Watch:
    """Tells how far the batch is: a bar on a terminal, else a line now and then."""

    def __init__(self, batch: Batch, *, quiet: bool) -> None:
        self._batch = batch
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._last = time.monotonic()

    def show(self) -> None:
        """Show the progress, if it is time to."""
        now = time.monotonic()
        if self._quiet or now - self._last < (0.2 if self._terminal else LINE_S):
            return
        self._last = now
        progress = self._batch.progress()
        if not self._terminal:
            click.echo(describe(progress), err=True)
            return
        done = round((progress.done + progress.failed) / progress.total * BAR_WIDTH)
        line = "█" * done + "░" * (BAR_WIDTH - done) + " " + describe(progress)
        click.echo(CLEAR_LINE + line[: shutil.get_terminal_size().columns - 1], nl=False, err=True)

    def clear(self) -> None:
        """Take the bar away."""
        if self._terminal and not self._quiet:
            click.echo(CLEAR_LINE, nl=False, err=True)

    def say(self, text: str) -> None:
        """Print a line for people."""
        if not self._quiet:
            self.clear()
            click.echo(text, err=True)


def describe(progress: Progress) -> str:
    """Return progress in words: ``1,204 of 20,000, 3 failed, 12.3 a second, 25 min left``."""
    parts = [f"{progress.done + progress.failed:,} of {progress.total:,}"]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.rate:
        parts.append(
            f"{progress.rate:.1f} a second" if progress.rate >= 0.1 else f"{progress.rate * 60:.1f} a minute"
        )
    if progress.seconds_left is not None:
        parts.append(f"{duration(progress.seconds_left)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return a time in the two units that matter: ``8 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    whole = max(0, round(seconds))
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {smaller}"
    return f"{whole} s"


@contextmanager
def _stoppable(batch: Batch, watch: _Watch) -> Generator[None]:
    """Let Ctrl-C, or a request to terminate, finish the running pictures; the second one ends at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        if batch.stopped:
            raise KeyboardInterrupt
        batch.stop()
        watch.say("finishing the pictures that are being filled; Ctrl-C again ends at once")

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _finish(batch: Batch, page: Path, *, as_json: bool) -> int:
    counts = batch.ledger.counts()
    left = counts["waiting"] + counts["running"]
    status = Cancelled.exit_status if left else SOME_FAILED if counts["failed"] else 0
    if as_json:
        facts = {
            "listed": batch.listed,
            "listing_seconds": round(batch.listing_s, 3),
            "adopted": batch.adopted,
        }
        print_json({"counts": counts, "seconds": round(batch.seconds, 3), "report": str(page), **facts})
        return status
    took = f" in {duration(batch.seconds)}" if batch.seconds >= 1 else ""
    click.echo(f"{counts['done']:,} done, {counts['failed']:,} failed{took}", err=True)
    for code, number in batch.ledger.reasons()[:5]:
        click.echo(f"  {number:,} × {code}: {batch.ledger.example(code)}", err=True)
    if left:
        click.secho(f"stopped; {left:,} are left: --resume goes on", fg="yellow", err=True)
    print_path(str(page))
    return status
