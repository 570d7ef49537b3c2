"""``reknit fill``: the main command."""

from __future__ import annotations

from typing import Any

import click

from reknit.cli.flags import engine_flags, given, option_flags, output_flags, output_path
from reknit.cli.work import Job, read_mask, read_photo
from reknit.core.errors import InputError
from reknit.core.request import FILL_OPTIONS, FillRequest


@click.command(name="fill")
@click.argument("image")
@click.argument("mask", required=False)
@click.option("--box", "boxes", multiple=True, metavar="X,Y,W,H", help="Fill this rectangle too, in pixels.")
@click.option(
    "--mask-from", type=click.Choice(["luma", "alpha"]), default="luma", help="White, or transparent, = fill."
)
@click.option("--invert", is_flag=True, help="Black = fill.")
@click.option("--resize-mask", is_flag=True, help="Scale a mask of another size to the photo's.")
@engine_flags
@option_flags(FILL_OPTIONS)
@click.option("--plan", "plan_only", is_flag=True, help="Say what would be done, and stop.")
@output_flags
def command(image: str, mask: str | None, **flags: Any) -> int:
    """Fill the masked part of IMAGE: white in MASK = fill.

    IMAGE or MASK may be - for standard input. Without MASK, give --box, or --mask-from alpha for a picture
    whose transparent part is to be filled.

    \b
    reknit fill photo.jpg mask.png -o out.jpg
    reknit fill photo.jpg mask.png -p quality=best --count 3
    reknit fill photo.jpg --box 120,80,60,200
    cat photo.jpg | reknit fill - mask.png -o - > out.jpg
    """
    if image == "-" and mask == "-":
        raise InputError(
            "image and mask cannot both come from standard input",
            code="input.stdin",
            hint="give one as a file",
        )
    output = output_path(image, flags["output"], in_place=flags["in_place"], suffix="filled")
    job = Job.of(flags, image=image, output=output)
    photo = read_photo(image, job.limits)
    request = FillRequest(
        photo=photo,
        mask=read_mask(photo, mask, flags, job.limits),
        source=job.source(photo),
        params=job.params,
        **job.defaults(("engine", "grow", "feather")),
        **given(flags, [o for o in FILL_OPTIONS if o.name not in ("engine", "grow", "feather")]),
    )
    from reknit.pipeline.fill import fill
    from reknit.pipeline.plan import plan_fill

    if flags["plan_only"]:
        return job.show_plan(plan_fill(request, threads=job.threads).plan)
    with job.bar:
        result = fill(request, threads=job.threads, report=job.bar.reporter)
    return job.finish(result)
