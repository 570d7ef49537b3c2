"""The value that describes one job.

A `Job` is a snapshot of one row of the store: it never changes, and only `reknit.jobs.store` makes new states.
What payload and result mean is known to the handlers alone.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

State = Literal["queued", "running", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
FINAL: tuple[State, ...] = ("done", "failed", "cancelled")
"""States that a job leaves only by `Store.retry`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is known about one job.

    Attributes
    ----------
    id : str
        22 lower-case hex digits; later jobs have greater ones.
    kind : str
        Names the handler.
    payload : mapping
        JSON, given to the handler as it is.
    state : {'queued', 'running', 'done', 'failed', 'cancelled'}
    priority : int
        Higher ones run first; equal ones in the order of their ids.
    key : str or None
        Idempotency key: a second submission with it is the same job.
    created, started, finished : float or None
        Unix time in seconds. ``started`` is that of the last attempt.
    attempts : int
        How often a worker began it.
    stage, fraction
        What the handler reported last; the fraction is 0 to 1.
    worker : str
        Who runs it, or ran it last.
    lease : int
        The token of this attempt; every claim gets a new one, and a write with an old one is refused.
    cancel_requested : bool
    hurried : bool
        It was asked to end early, with what it has.
    result : mapping or None
        JSON, what the handler returned.
    error : mapping or None
        ``code``, ``message``, ``hint`` and ``facts``, as `ReknitError.to_dict` gives them.
    """

    id: str
    kind: str
    payload: Mapping[str, Any]
    state: State
    priority: int
    key: str | None
    created: float
    started: float | None
    finished: float | None
    attempts: int
    stage: str
    fraction: float
    worker: str
    lease: int
    cancel_requested: bool
    hurried: bool
    result: Mapping[str, Any] | None
    error: Mapping[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """Return what clients may see, as JSON-able data: all but ``key``, ``lease`` and ``hurried``."""
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "priority": self.priority,
            "created": self.created,
            "started": self.started,
            "finished": self.finished,
            "attempts": self.attempts,
            "stage": self.stage,
            "fraction": self.fraction,
            "worker": self.worker,
            "cancel_requested": self.cancel_requested,
            "payload": self.payload,
            "result": self.result,
            "error": self.error,
        }


def new_id(last: str | None) -> str:
    """Return an id greater than ``last``: microseconds since 1970, then 32 random bits.

    A clock that goes back does not change the order: then the time of ``last`` is counted on.
    """
    microseconds = time.time_ns() // 1000
    if last is not None:
        microseconds = max(microseconds, int(last[:14], 16) + 1)
    return f"{microseconds:014x}{secrets.token_hex(4)}"
