"""``reknit extend``: outpainting."""

from __future__ import annotations

from typing import Any

import click

from reknit.cli.destination import Destination, destination
from reknit.cli.flags import PICTURE, engine_names, given, option_flags, output_flags, params_flag
from reknit.cli.work import Job, read_photo
from reknit.core.request import FILL_OPTIONS
from reknit.engines.diffusion_options import SHORTCUTS
from reknit.pipeline.canvas import OPTIONS

SHARED = [option for option in FILL_OPTIONS if option.name in ("seed", "count")]


@click.command(name="extend")
@click.argument("image", type=PICTURE)
@option_flags(OPTIONS)
@click.option(
    "--engine",
    metavar="NAME",
    help="Which engine fills the new area.  [default: exemplar, or what runs --model]",
    shell_complete=engine_names,
)
@params_flag
@option_flags(SHORTCUTS)
@option_flags(SHARED)
@click.option("--plan", "plan_only", is_flag=True, help="Say what would be done, and stop.")
@output_flags
def command(image: str, **flags: Any) -> int:
    """Extend IMAGE beyond its borders; the original stays bit-exact inside.

    \b
    reknit extend photo.jpg --right 25%
    reknit extend photo.jpg --aspect 16:9 --anchor left -o wide.jpg
    """
    from reknit.pipeline.extend import ExtendRequest, engine_for_extending, fill_request
    from reknit.pipeline.fill import fill
    from reknit.pipeline.plan import plan_fill

    shared = given(flags, SHARED)
    target = Destination(paths=())
    if not flags["plan_only"]:
        count = shared.get("count", 1)
        target = destination(
            (image,), flags["output"], in_place=flags["in_place"], suffix="extended", count=count
        )
    job = Job.of(flags, target, writes_picture=not flags["plan_only"])
    with job.working():
        request = fill_request(
            ExtendRequest(
                photo=read_photo(image, job.limits),
                **given(flags, OPTIONS),
                engine=flags["engine"] or engine_for_extending(job.params),
                params=job.params,
                **shared,
            )
        )
        if flags["plan_only"]:
            return job.show_plan(plan_fill(request, threads=job.threads, models=job.models).plan)
        result = fill(request, threads=job.threads, report=job.bar.reporter, models=job.models)
        encoded = job.encode(result)
    return job.finish(result, encoded)
