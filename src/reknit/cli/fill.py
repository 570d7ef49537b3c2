"""``reknit fill``: the main command."""

from __future__ import annotations

from typing import Any

import click

from reknit.cli.destination import Destination, destination
from reknit.cli.flags import PICTURE, fill_flags, given, output_flags
from reknit.cli.work import Job, check_standard_input, read_mask, read_photo, read_source
from reknit.core.request import FILL_OPTIONS, FillRequest

FROM_SETTINGS = ("engine", "grow", "feather")
OTHERS = tuple(option for option in FILL_OPTIONS if option.name not in FROM_SETTINGS)


@click.command(name="fill")
@click.argument("image", type=PICTURE)
@click.argument("mask", type=PICTURE, required=False)
@fill_flags
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
    reknit fill photo.jpg mask.png --model sd15-inpainting --prompt "a wooden bench" --strength 0.75
    cat photo.jpg | reknit fill - mask.png -o - > out.jpg
    """
    from reknit.pipeline.fill import fill
    from reknit.pipeline.plan import plan_fill

    check_standard_input(image, mask, flags["source"])
    others = given(flags, OTHERS)
    target = Destination(paths=())
    if not flags["plan_only"]:
        inputs = (image, mask, flags["source"])
        count = others.get("count", 1)
        target = destination(
            inputs, flags["output"], in_place=flags["in_place"], suffix="filled", count=count
        )
    job = Job.of(flags, target, writes_picture=not flags["plan_only"])
    with job.working():
        photo = read_photo(image, job.limits)
        request = FillRequest(
            photo=photo,
            mask=read_mask(photo, mask, flags, job.limits, image=image),
            source=read_source(photo, flags["source"], job.limits),
            params=job.params,
            **job.defaults(FROM_SETTINGS),
            **others,
        )
        if flags["plan_only"]:
            return job.show_plan(plan_fill(request, threads=job.threads, models=job.models).plan)
        result = fill(request, threads=job.threads, report=job.bar.reporter, models=job.models)
        encoded = job.encode(result)
    return job.finish(result, encoded)
