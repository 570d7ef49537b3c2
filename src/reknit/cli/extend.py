"""``reknit extend``: outpainting."""

from __future__ import annotations

from typing import Any

import click

from reknit.cli.flags import engine_flags, given, option_flags, output_flags, output_path
from reknit.cli.work import Job, read_photo
from reknit.core.request import FILL_OPTIONS
from reknit.pipeline.canvas import OPTIONS

SHARED = [option for option in FILL_OPTIONS if option.name in ("seed", "count")]


@click.command(name="extend")
@click.argument("image")
@option_flags(OPTIONS)
@click.option("--engine", default="exemplar", help="Which engine fills the new area.")
@engine_flags
@option_flags(SHARED)
@click.option("--plan", "plan_only", is_flag=True, help="Say what would be done, and stop.")
@output_flags
def command(image: str, **flags: Any) -> int:
    """Extend IMAGE beyond its borders; the original stays bit-exact inside.

    \b
    reknit extend photo.jpg --right 25%
    reknit extend photo.jpg --aspect 16:9 --anchor left -o wide.jpg
    """
    from reknit.pipeline.extend import ExtendRequest, fill_request
    from reknit.pipeline.fill import fill
    from reknit.pipeline.plan import plan_fill

    output = output_path(image, flags["output"], in_place=flags["in_place"], suffix="extended")
    job = Job.of(flags, image=image, output=output)
    request = fill_request(
        ExtendRequest(
            photo=read_photo(image, job.limits),
            **given(flags, OPTIONS),
            engine=flags["engine"],
            params=job.params,
            **given(flags, SHARED),
        )
    )
    if flags["plan_only"]:
        return job.show_plan(plan_fill(request, threads=job.threads).plan)
    with job.bar:
        result = fill(request, threads=job.threads, report=job.bar.reporter)
    return job.finish(result)
