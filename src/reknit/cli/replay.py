"""``reknit replay``: make a picture again from the recipe that it holds."""

from __future__ import annotations

from typing import Any

import click

from reknit.cli.destination import destination
from reknit.cli.flags import PICTURE, output_flags, params_flag
from reknit.cli.work import Job


@click.command(name="replay")
@click.argument("file", type=PICTURE)
@click.argument("photo", type=PICTURE, required=False)
@click.argument("mask", type=PICTURE, required=False)
@params_flag
@click.option("--recipe", "show", is_flag=True, help="Print the recipe, and stop.")
@output_flags
def command(file: str, photo: str | None, mask: str | None, show: bool, **flags: Any) -> int:
    """Make the picture in FILE again from its recipe, or do the same to another PHOTO.

    Without PHOTO the one that FILE was made of must lie beside it. MASK replaces the recipe's. A picture of
    AUTOMATIC1111's holds no mask: give PHOTO and MASK.

    \b
    reknit replay out.png
    reknit replay out.png another.jpg another-mask.png -o out2.png
    reknit replay out.png -p seed=7 -p model=sdxl-inpainting
    """
    from reknit import recipe

    if show:
        return _show(file)
    inputs = (file, photo, mask)
    target = destination(inputs, flags["output"], in_place=flags["in_place"], suffix="replayed")
    job = Job.of(flags, target)
    with job.working():
        asked = recipe.prepare(file, photo, mask, params=job.params, limits=job.limits)
        result = recipe.run(asked, threads=job.threads, report=job.bar.reporter, models=job.models)
        encoded = job.encode(result)
    return job.finish(result, encoded)


def _show(file: str) -> int:
    from reknit.cli.output import print_json
    from reknit.core import codec
    from reknit.core.errors import NotFound
    from reknit.core.recipe import read, read_parameters

    picture = codec.read(file)
    found, told = read(picture), read_parameters(picture)
    if found is None and told is None:
        raise NotFound(
            f"{file} holds no recipe",
            code="recipe.missing",
            hint="files that Reknit saved do, unless --no-recipe was given",
        )
    if found is not None:
        print_json({**found.to_dict(), "mask": f"{found.mask.area:,} px of {found.size}"})
    elif told is not None:
        values = dict(told.values)
        print_json({"prompt": told.prompt, "negative_prompt": told.negative_prompt, "values": values})
    return 0
