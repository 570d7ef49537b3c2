"""What the command line prints: errors, notes, JSON, and a progress bar for anything over a second."""

from __future__ import annotations

import json
import sys
import time
from types import TracebackType
from typing import Any

import click

from reknit.core.errors import ReknitError
from reknit.core.progress import Reporter, Step

BAR_AFTER_S = 1.0
BAR_WIDTH = 28


def report_error(error: Exception, *, as_json: bool) -> int:
    """Print ``error`` and return the exit status. An unexpected error becomes a bug report, not a traceback."""
    known = error if isinstance(error, ReknitError) else _unexpected(error)
    if as_json:
        click.echo(json.dumps({"error": known.to_dict()}))
    else:
        click.secho(f"error: {known.message}", fg="red", err=True)
        if known.hint:
            click.echo(f"hint: {known.hint}", err=True)
    return known.exit_status


def _unexpected(error: Exception) -> ReknitError:
    import traceback

    if isinstance(error, MemoryError):
        return ReknitError(
            "out of memory", code="memory", hint="close other programs, or fill a smaller picture"
        )
    last = traceback.extract_tb(error.__traceback__)[-1]
    return ReknitError(
        f"unexpected {type(error).__name__}: {error} ({last.filename}:{last.lineno})",
        code="internal",
        hint="this is a bug in Reknit; please report it with `reknit doctor --json`",
    )


def print_json(data: Any) -> None:
    """Print ``data`` as indented JSON."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def print_notes(notes: tuple[str, ...]) -> None:
    """Print notes for people to standard error."""
    for note in dict.fromkeys(notes):
        click.secho(f"note: {note}", fg="yellow", err=True)


class ProgressBar:
    """A bar on standard error that appears after a second of work, only on a terminal.

    Use as a context manager; ``.reporter`` goes to the pipeline.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._shown = False
        self._enabled = not quiet and sys.stderr.isatty()
        self._start = self._last = time.monotonic()
        self.reporter = Reporter(self._step if self._enabled else None)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            click.echo("\r" + " " * 79 + "\r", nl=False, err=True)

    def _step(self, step: Step) -> None:
        now = time.monotonic()
        if now - self._start < BAR_AFTER_S or now - self._last < 0.1:
            return
        self._last, self._shown = now, True
        done = round(step.fraction * BAR_WIDTH)
        left = (now - self._start) * (1 - step.fraction) / max(step.fraction, 1e-3)
        bar = "█" * done + "░" * (BAR_WIDTH - done)
        click.echo(
            f"\r{bar} {step.fraction:4.0%}  {step.stage:<12.12} {left:4.0f} s left ", nl=False, err=True
        )
