"""The ``reknit`` command: a group whose commands are imported only when they run.

This is a composition root: it catches every error once, prints it for people or as JSON, and turns its class
into the exit status. It knows no option of any command.
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
    "batch": "Fill a folder of pictures, here or on a cluster.",
    "replay": "Make a picture again from the recipe that it holds.",
    "workflow": "Run, check and draw ComfyUI's workflows.",
    "serve": "Serve the page and the API on this machine or a network.",
    "demo": "Fill a real and a generated photo, and say where to look.",
    "jobs": "List, show, cancel and retry the jobs of the server.",
    "engines": "List the engines and their options.",
    "models": "List, download, import and check the weights of learned engines.",
    "check": "Say whether a model will run here or on a card, how well, and with what.",
    "bench": "Hold predictions of memory and time against measurements.",
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


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=True,
)
@click.option("--version", is_flag=True, help="Show the version and exit.")
@click.pass_context
def group(context: click.Context, version: bool) -> None:
    """Reknit: give it a photo and a mask, get the photo back completed.

    \b
    reknit fill photo.jpg mask.png -o out.jpg     white in the mask = fill
    reknit extend photo.jpg --right 25%
    reknit repair scan.tif --mask-out found.png
    """
    if version:
        from reknit import __version__

        click.echo(f"reknit {__version__}")
        context.exit()
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with the error's status."""
    # One BLAS thread: Reknit multiplies no matrices, and starting a pool costs more than a small fill.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(run(sys.argv[1:] if args is None else args))


def run(args: list[str]) -> int:
    """Run the command line and return the exit status; nothing but an exit of click's own is raised."""
    try:
        outcome: Any = group.main(args=args, prog_name="reknit", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        return _unread()
    except (Exception, KeyboardInterrupt) as error:
        from reknit.cli.output import report_error

        try:
            return report_error(error, as_json="--json" in args)
        except BrokenPipeError:
            return _unread()
    return outcome if isinstance(outcome, int) else 0


def _unread() -> int:
    """Return the status of a command whose reader went away; Python will not complain once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
