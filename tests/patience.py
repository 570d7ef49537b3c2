"""Waiting in tests, on machines of any speed.

What has to happen is waited for, generously. What has to be quick may take as long as it likes while something else
keeps the machine busy: the best of a few tries counts, because other work only ever adds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 60.0
"""How long to wait for what will happen within a second on an idle machine."""


def until(happened: Callable[[], Any], within_s: float = PATIENCE_S) -> Any:
    """Wait until ``happened`` returns something true; return it."""
    end = time.monotonic() + within_s
    while not (value := happened()):
        assert time.monotonic() < end, f"it did not happen in time: {value!r}"
        time.sleep(0.005)
    return value


def quick(limit: float, act: Callable[[], float | None], tries: int = 5) -> None:
    """Check that ``act`` can be done within a limit: the best of a few tries, fewer if one was.

    Parameters
    ----------
    limit
        Seconds, or what ``act`` counts.
    act
        Does it once, anew for every try, and returns what counts, or None for the seconds that all of it took.
    tries
        How many.
    """
    spent: list[float] = []
    for _ in range(tries):
        begun = time.monotonic()
        told = act()
        spent.append(time.monotonic() - begun if told is None else told)
        if spent[-1] < limit:
            return
    raise AssertionError(f"not once below {limit}: {spent}")
