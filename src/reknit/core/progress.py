"""One way to report progress and to be cancelled.

Everything long takes a `Report` and calls ``report.step`` at least every 250 ms. Where the steps go (a
terminal, a server-sent event, a test) is not known here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from reknit.core.errors import Cancelled


class CancelToken:
    """A flag that any thread may set once; work that was given it stops soon after."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the work to stop. Safe from any thread, and more than once."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._event.is_set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where the work stands: a stage's name, the whole work's fraction done (0 to 1), maybe a preview."""

    stage: str
    fraction: float
    preview: Any = None


class Report(Protocol):
    """What an engine or a use case calls while it works."""

    def step(self, stage: str, fraction: float, preview: Any = None) -> None:
        """Say how far the work is (0 to 1); raises `Cancelled` if the caller asked to stop."""
        ...


class Reporter:
    """The `Report` that hands steps to a callback and honours a `CancelToken`.

    Fractions never go backwards: a lower one is reported as the highest so far.
    """

    __slots__ = ("_callback", "_fraction", "_token")

    def __init__(
        self, callback: Callable[[Step], None] | None = None, token: CancelToken | None = None
    ) -> None:
        self._callback = callback
        self._token = token
        self._fraction = 0.0

    def step(self, stage: str, fraction: float, preview: Any = None) -> None:
        """Report a step, or raise `Cancelled`."""
        if self._token is not None and self._token.cancelled:
            raise Cancelled()
        if self._callback is not None:
            self._fraction = max(self._fraction, min(1.0, fraction))
            self._callback(Step(stage=stage, fraction=self._fraction, preview=preview))


class Part:
    """A share of a larger `Report`: its 0…1 is ``start…end`` of the whole."""

    __slots__ = ("_end", "_report", "_start")

    def __init__(self, report: Report, start: float, end: float) -> None:
        self._report = report
        self._start = start
        self._end = end

    def step(self, stage: str, fraction: float, preview: Any = None) -> None:
        """Report a step of this share."""
        self._report.step(stage, self._start + (self._end - self._start) * fraction, preview)
