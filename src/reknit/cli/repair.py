"""``reknit repair``: find damage in a scanned photo, and fill it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from reknit.cli.destination import Destination, check_file, destination
from reknit.cli.flags import PICTURE, given, option_flags, output_flags, params_flag
from reknit.cli.output import print_json
from reknit.cli.work import Job, print_path, read_photo
from reknit.core import codec
from reknit.core.errors import InputError
from reknit.core.image import Photo
from reknit.core.request import FILL_OPTIONS
from reknit.pipeline.defects import KINDS, OPTIONS, Defects, parse_kinds

SHARED = [option for option in FILL_OPTIONS if option.name in ("engine", "seed")]


@click.command(name="repair")
@click.argument("image", type=PICTURE)
@option_flags(OPTIONS)
@click.option(
    "--mask-out",
    type=PICTURE,
    metavar="PNG",
    help="Write what was found as a mask (white = damage), for editing.",
)
@click.option("--detect-only", is_flag=True, help="Write --mask-out, and fill nothing.")
@params_flag
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

    mask_out = flags["mask_out"]
    target = Destination(paths=())
    if not flags["detect_only"]:
        target = destination((image,), flags["output"], in_place=flags["in_place"], suffix="repaired")
    elif mask_out is None:
        raise InputError(
            "--detect-only writes nothing", code="option.missing", hint="add --mask-out FILE.png"
        )
    if mask_out is not None:
        check_file(Path(mask_out), (image, *map(str, target.paths)))
    options = given(flags, OPTIONS)
    job = Job.of(flags, target, writes_picture=not flags["detect_only"])
    with job.working():
        request = RepairRequest(
            photo=read_photo(image, job.limits),
            kinds=parse_kinds(options.pop("kinds", ",".join(KINDS))),
            params=job.params,
            **job.defaults(("engine",)),
            **options,
            **given(flags, [o for o in SHARED if o.name == "seed"]),
        )
        if mask_out is not None and flags["detect_only"]:
            return _finish_detection(job, find(request, report=job.bar.reporter), mask_out)
        result = repair(request, threads=job.threads, report=job.bar.reporter, models=job.models)
        encoded = job.encode(result)
    if mask_out is not None:
        write_mask(result.mask.fill, mask_out)
    return job.finish(result, encoded)


def _finish_detection(job: Job, found: Defects, mask_out: str) -> int:
    write_mask(found.mask, mask_out)
    counts = {kind: int(mask.sum()) for kind, mask in found.by_kind.items()}
    if job.as_json:
        print_json({"outputs": [mask_out], "found_px": counts})
        return 0
    print_path(mask_out)
    click.echo(", ".join(f"{kind} {count:,} px" for kind, count in counts.items()), err=True)
    return 0


def write_mask(fill: NDArray[np.bool_], path: str) -> None:
    """Write a mask as a grey picture, white = fill."""
    codec.write(Photo.from_array(np.where(fill, np.uint8(255), np.uint8(0))), Path(path))
