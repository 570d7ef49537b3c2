"""What the command line prints: errors, notes, JSON, and a progress bar for anything over a second."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from itertools import islice
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any

import click

from reknit.core.errors import Cancelled, InputError, NotFound, ReknitError, Unavailable, nearest_name
from reknit.core.progress import Reporter, Step

BAR_AFTER_S = 1.0
BAR_WIDTH = 28
MOST_NAMES = 2000
"""Of a folder's files so many are looked at for one whose name is near."""
CLEAR_LINE = "\r\x1b[K"


def report_error(error: BaseException, *, as_json: bool) -> int:
    """Print ``error`` and return the exit status. An unexpected error becomes a bug report, not a traceback."""
    known = _known(error)
    if as_json:
        print_json({"error": known.to_dict()})
    else:
        click.secho(f"error: {known.message}", fg="red", err=True)
        if known.hint:
            click.echo(f"hint: {known.hint}", err=True)
    return known.exit_status


def _known(error: BaseException) -> ReknitError:
    if isinstance(error, ReknitError):
        return _nearer(error)
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return Cancelled("cancelled; nothing was written")
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, MemoryError):
        return Unavailable(
            "out of memory", code="memory", hint="close other programs, or fill a smaller picture"
        )
    import traceback

    last = traceback.extract_tb(error.__traceback__)[-1]
    return ReknitError(
        f"unexpected {type(error).__name__}: {error} ({last.filename}:{last.lineno})",
        code="internal",
        hint="this is a bug in Reknit; please report it with `reknit doctor --json`",
    )


def _nearer(error: ReknitError) -> ReknitError:
    """Return a missing file's error with the name of a file that is there and nearly called so."""
    path = Path(str(error.facts.get("path", "")))
    if error.code != "file.missing" or error.hint != "check the path" or not path.name:
        return error
    if "*" in path.name:
        return type(error)(error.message, code=error.code, hint="`reknit batch` does many", **error.facts)
    try:
        there = [entry.name for entry in islice(path.parent.iterdir(), MOST_NAMES)]
    except OSError:
        return error
    same = sorted(name for name in there if PurePath(name).stem == path.name)
    hint = nearest_name(path.name, same[:1] or there)
    if not hint.startswith("did you mean"):
        return error
    return type(error)(error.message, code=error.code, hint=hint, **error.facts)


def _usage(error: click.ClickException) -> ReknitError:
    """Return click's complaint about arguments as an error of Reknit's."""
    message = error.format_message().rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    help_command = f"{context.command_path} --help" if context else "reknit --help"
    if isinstance(error, click.NoSuchOption):
        known = [name for p in context.command.params for name in p.opts] if context else []
        return NotFound(
            f"there is no option {error.option_name}",
            code="option.unknown",
            hint=_nearest(error.option_name, known, help_command),
        )
    if isinstance(error, click.MissingParameter):
        return InputError(_lower(message), code="argument.missing", hint=f"see {help_command}")
    if isinstance(error, (click.BadParameter, click.BadOptionUsage)):
        return InputError(_lower(message), code="option.value", hint=f"see {help_command}")
    group = context.command if context else None
    if isinstance(group, click.Group) and context and message.startswith("No such command"):
        name = message.split("'")[1]
        if os.path.isfile(name):  # noqa: PTH113 - of any length
            hint = f"to fill it: {context.command_path} fill {name} MASK"
            return NotFound(f"{name} is a file, and no command", code="command.unknown", hint=hint)
        hint = nearest_name(name, group.list_commands(context))
        return NotFound(f"there is no command {name!r}", code="command.unknown", hint=hint)
    writes = context is not None and any("-o" in each.opts for each in context.command.params)
    hint = f"see {help_command}" + ("; -o names the output" if writes else "")
    return InputError(_lower(message), code="argument.extra", hint=hint)


def _nearest(name: str, known: list[str], help_command: str) -> str:
    hint = nearest_name(name, known)
    return hint if hint.startswith("did you mean") else f"see {help_command}"


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def print_json(data: Any) -> None:
    """Print ``data`` as indented JSON; letters beyond ASCII are escaped where the terminal has no Unicode."""
    unicode = "utf" in (sys.stdout.encoding or "").lower()
    text = json.dumps(data, indent=2, ensure_ascii=not unicode)
    # A file name that is no valid Unicode holds lone surrogates; backslashes make them JSON escapes.
    click.echo(text.encode("utf-8", "backslashreplace").decode() if unicode else text)


def print_notes(notes: tuple[str, ...]) -> None:
    """Print notes for people to standard error."""
    for note in dict.fromkeys(notes):
        click.secho(f"note: {note}", fg="yellow", err=True)


class ProgressBar:
    """A bar on standard error that appears after a second of work, only on a terminal.

    Use as a context manager; ``.reporter`` goes to the pipeline.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._stage = ""
        self._enabled = not quiet and sys.stderr.isatty()
        self._start = self._last = time.monotonic()
        self.reporter = Reporter(self.show if self._enabled else None)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stage:
            click.echo(CLEAR_LINE, nl=False, err=True)

    def show(self, step: Step) -> None:
        """Draw the bar, if it is time to."""
        if not self._enabled:
            return
        now = time.monotonic()
        soon = now - self._last < 0.1 and step.stage == self._stage
        if now - self._start < BAR_AFTER_S or soon:
            return
        self._last, self._stage = now, step.stage
        done = round(step.fraction * BAR_WIDTH)
        bar = "█" * done + "░" * (BAR_WIDTH - done)
        left = (now - self._start) * (1 - step.fraction) / max(step.fraction, 1e-3)
        remaining = f"{left:.0f} s left" if step.fraction < 1 else ""
        line = f"{bar} {step.fraction:4.0%}  {step.stage}  {remaining}"
        columns = shutil.get_terminal_size().columns
        click.echo(CLEAR_LINE + line[: columns - 1], nl=False, err=True)
