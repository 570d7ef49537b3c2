"""One way to report progress, to be cancelled, and to be hurried.

Everything long takes a `Report` and calls ``report.step`` at least every 250 ms. Where the steps go (a
terminal, a server-sent event, a test) is not known here. A cancel ends the work with an error; work that is hurried
ends soon with what it has, if it is of a kind that has something at every step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from reknit.core.errors import Cancelled
from reknit.core.geometry import Box


class CancelToken:
    """Two flags that any thread may set once: work that was given it stops soon after, or gives what it has."""

    __slots__ = ("_event", "_hurry")

    def __init__(self) -> None:
        self._event = threading.Event()
        self._hurry = threading.Event()

    def cancel(self) -> None:
        """Ask the work to stop. Safe from any thread, and more than once."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._event.is_set()

    def hurry(self) -> None:
        """Ask the work to end early, with what it has. Safe from any thread, and more than once."""
        self._hurry.set()

    @property
    def hurried(self) -> bool:
        """Whether `hurry` was called."""
        return self._hurry.is_set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where the work stands: a stage's name, the whole work's fraction done (0 to 1), maybe a preview."""

    stage: str
    fraction: float
    preview: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """How a part of the photo looks while the work goes on.

    Attributes
    ----------
    pixels : Photo or ndarray, (H, W, 3), uint8, uint16 or floats from 0 to 1
        Of any size; it covers the box.
    box : Box
        Where it lies in the photo that is worked on.
    """

    pixels: Any
    box: Box


class Placed:
    """A `Report` for work on a part of a photo: previews of it become `Preview`s that say where they lie."""

    __slots__ = ("_box", "_report", "_shown")

    def __init__(self, report: Report, box: Box, shown: tuple[float, float] = (1.0, 1.0)) -> None:
        self._report = report
        self._box = box
        self._shown = shown

    def step(self, stage: str, fraction: float, preview: Any = None) -> bool | None:
        """Report a step; of a preview only the share ``shown`` (width, height) is the photo's, the rest padding."""
        if preview is not None:
            height, width = preview.shape[:2]
            across, down = self._shown
            preview = Preview(
                pixels=preview[: max(1, round(down * height)), : max(1, round(across * width))], box=self._box
            )
        return self._report.step(stage, fraction, preview)


class Report(Protocol):
    """What an engine or a use case calls while it works."""

    def step(self, stage: str, fraction: float, preview: Any = None) -> bool | None:
        """Say how far the work is (0 to 1); raises `Cancelled` if the caller asked to stop.

        Returns whether the caller is in a hurry: a walk of many steps ends there, and what it has is its result.
        An engine's ``preview`` is its crop as it looks now: (H, W, 3) of any size, uint8, uint16 or floats
        from 0 to 1. The pipeline hands on a `Preview`.
        """
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

    def step(self, stage: str, fraction: float, preview: Any = None) -> bool | None:
        """Report a step and return whether the token is hurried, or raise `Cancelled`."""
        if self._token is not None and self._token.cancelled:
            raise Cancelled()
        if self._callback is not None:
            self._fraction = max(self._fraction, min(1.0, fraction))
            self._callback(Step(stage=stage, fraction=self._fraction, preview=preview))
        return self._token is not None and self._token.hurried


class Part:
    """A share of a larger `Report`: its 0…1 is ``start…end`` of the whole."""

    __slots__ = ("_end", "_report", "_start")

    def __init__(self, report: Report, start: float, end: float) -> None:
        self._report = report
        self._start = start
        self._end = end

    def step(self, stage: str, fraction: float, preview: Any = None) -> bool | None:
        """Report a step of this share."""
        return self._report.step(stage, self._start + (self._end - self._start) * fraction, preview)
