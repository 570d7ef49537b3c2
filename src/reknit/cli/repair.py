"""``reknit repair``: find damage in a scanned photo, and fill it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from reknit.cli.flags import engine_flags, given, option_flags, output_flags, output_path
from reknit.cli.output import print_json
from reknit.cli.work import Job, read_photo
from reknit.core import codec
from reknit.core.errors import InputError
from reknit.core.image import Photo
from reknit.core.request import FILL_OPTIONS
from reknit.pipeline.defects import KINDS, OPTIONS, Defects

SHARED = [option for option in FILL_OPTIONS if option.name in ("engine", "seed")]


@click.command(name="repair")
@click.argument("image")
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Look only for this damage; repeatable."
)
@option_flags(OPTIONS)
@click.option(
    "--mask-out", metavar="PNG", help="Write what was found as a mask (white = damage), for editing."
)
@click.option("--detect-only", is_flag=True, help="Write --mask-out, and fill nothing.")
@engine_flags
@option_flags(SHARED)
@output_flags
def command(image: str, **flags: Any) -> int:
    """Find dust, scratches, folds and tears in IMAGE, and fill them.

    \b
    reknit repair scan.tif -o clean.tif
    reknit repair scan.tif --detect-only --mask-out found.png
    reknit fill scan.tif found.png --grow 0
    """
    from reknit.pipeline.repair import RepairRequest, find, repair

    output = output_path(image, flags["output"], in_place=flags["in_place"], suffix="repaired")
    job = Job.of(flags, image=image, output=output)
    request = RepairRequest(
        photo=read_photo(image, job.limits),
        kinds=tuple(flags["kinds"]) or KINDS,
        params=job.params,
        **job.defaults(("engine",)),
        **given(flags, OPTIONS),
        **given(flags, [o for o in SHARED if o.name == "seed"]),
    )
    if flags["detect_only"]:
        with job.bar:
            found = find(request, report=job.bar.reporter)
        return _finish_detection(job, found, flags["mask_out"])
    with job.bar:
        result = repair(request, threads=job.threads, report=job.bar.reporter)
    if flags["mask_out"]:
        write_mask(result.mask.fill, flags["mask_out"])
    return job.finish(result)


def _finish_detection(job: Job, found: Defects, mask_out: str | None) -> int:
    if mask_out is None:
        raise InputError(
            "--detect-only writes nothing", code="option.missing", hint="add --mask-out FILE.png"
        )
    write_mask(found.mask, mask_out)
    counts = {kind: int(mask.sum()) for kind, mask in found.by_kind.items()}
    if job.as_json:
        print_json({"outputs": [mask_out], "found_px": counts})
        return 0
    click.echo(mask_out)
    click.echo(", ".join(f"{kind} {count:,} px" for kind, count in counts.items()), err=True)
    return 0


def write_mask(fill: NDArray[np.bool_], path: str) -> None:
    """Write a mask as a grey picture, white = fill."""
    codec.write(Photo.from_array(np.where(fill, np.uint8(255), np.uint8(0))), Path(path))
