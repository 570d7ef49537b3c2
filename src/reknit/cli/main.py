"""The ``reknit`` command: a group whose commands are imported only when they run.

This is a composition root: it catches `ReknitError` once, prints it for people or as JSON, and turns its
class into the exit status. It knows no option of any command.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

COMMANDS = {
    "fill": "Fill the masked part of a photo.",
    "extend": "Extend a photo beyond its borders.",
    "repair": "Find dust, scratches, folds and tears, and fill them.",
    "demo": "Fill a real and a generated photo, and say where to look.",
    "engines": "List the engines and their options.",
    "doctor": "Check this installation.",
    "config": "Show settings and where they come from.",
    "completion": "Print the shell-completion script.",
}


class LazyGroup(click.Group):
    """A group that imports ``reknit.cli.<name>`` when ``<name>`` is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in COMMANDS:
            return None
        return import_module(f"reknit.cli.{cmd_name}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Refuse an unknown command, naming the nearest one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from reknit.core.errors import NotFound, nearest_name

            raise NotFound(
                f"there is no command {args[0]!r}",
                code="command.unknown",
                hint=nearest_name(args[0], COMMANDS),
            )
        return super().resolve_command(ctx, args)


@click.command(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="reknit", message="%(prog)s %(version)s")
def group() -> None:
    """Reknit: give it a photo and a mask, get the photo back completed.

    \b
    reknit fill photo.jpg mask.png -o out.jpg     white in the mask = fill
    reknit extend photo.jpg --right 25%
    reknit repair scan.tif --mask-out found.png
    """


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with the error's status."""
    # One BLAS thread: Reknit multiplies no matrices, and starting a pool costs more than a small fill.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(_run(sys.argv[1:] if args is None else args))


def _run(args: list[str]) -> int:
    as_json = "--json" in args
    try:
        outcome: Any = group.main(args=args, prog_name="reknit", standalone_mode=False)
    except click.ClickException as error:
        return _usage_error(error, as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        click.echo("cancelled; nothing was written", err=True)
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - the reader went away; say nothing more
        return 0
    except Exception as error:
        from reknit.cli.output import report_error

        return report_error(error, as_json=as_json)
    return outcome if isinstance(outcome, int) else 0


def _usage_error(error: click.ClickException, *, as_json: bool) -> int:
    if as_json:
        import json

        problem = {"code": "usage", "message": error.format_message(), "hint": "see --help", "facts": {}}
        click.echo(json.dumps({"error": problem}))
    else:
        error.show()
    return error.exit_code
