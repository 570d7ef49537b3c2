"""``reknit config show``: every setting, its value, and where it came from."""

from __future__ import annotations

import click

from reknit.cli.output import print_json


@click.group(name="config", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> int | None:
    """Show settings and where they come from."""
    return context.invoke(show, as_json=False) if context.invoked_subcommand is None else None


@command.command(name="show")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(as_json: bool) -> int:
    """Print every setting with its origin. That is the default, a file, or the environment."""
    from reknit.config import SETTINGS, load, user_file

    settings = load()
    if as_json:
        print_json({n: {"value": s.value, "origin": s.origin} for n, s in settings.items()})
        return 0
    for option in SETTINGS:
        setting = settings[option.name]
        value = "automatic" if setting.value is None else f"{setting.value} {option.unit}".strip()
        click.echo(f"{option.name:<12} {value:<20} {setting.origin}")
    click.echo(f"\nflag > REKNIT_NAME > ./reknit.toml > {user_file()} > default")
    return 0
