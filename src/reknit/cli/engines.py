"""``reknit engines``: what can fill a hole here, and with which options."""

from __future__ import annotations

import click

from reknit.cli.flags import sentence
from reknit.cli.output import print_json


@click.command(name="engines")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(name: str | None, as_json: bool) -> int:
    """List the engines; with NAME, that engine's options."""
    from reknit.engines import registry

    found = registry.every() if name is None else {name: registry.get(name)}
    if as_json:
        print_json(
            [
                {
                    "name": e.spec.name,
                    "title": e.spec.title,
                    "options": {o.name: o.schema() for o in e.spec.options},
                }
                for e in found.values()
            ]
        )
        return 0
    for engine in found.values():
        spec = engine.spec
        click.echo(f"{click.style(spec.name, bold=True):<28} {spec.title}")
        for option in spec.options if name else ():
            values = "|".join(option.choices) or option.kind
            default = "" if option.default is None else f", default {option.default}"
            click.echo(f"  -p {option.name}={values}{default}\n      {sentence(option.help)}")
    if name is None:
        click.echo("\n`reknit engines NAME` shows an engine's options; `--engine auto` chooses by thickness.")
    return 0
