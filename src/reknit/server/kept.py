"""`Kept`: the most recently used values, up to a cost. Safe to use from several threads.

It knows nothing of what it keeps and makes nothing by itself.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """A mapping from names to values that forgets the least recently used.

    Parameters
    ----------
    limit
        Greatest sum of costs (bytes, or a number of entries). The newest value is kept whatever it costs,
        so that work on one large picture does not start anew at every call.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._values: OrderedDict[str, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> Value | None:
        """Return the value of ``name`` and make it the most recent, or None."""
        with self._lock:
            if name not in self._values:
                return None
            self._values.move_to_end(name)
            return self._values[name][0]

    def put(self, name: str, value: Value, cost: int = 1) -> None:
        """Keep ``value`` under ``name`` and forget the oldest beyond the limit."""
        with self._lock:
            self._held -= self._values.pop(name, (value, 0))[1]
            self._values[name] = value, cost
            self._held += cost
            while self._held > self._limit and len(self._values) > 1:
                self._held -= self._values.popitem(last=False)[1][1]

    def drop(self, name: str) -> None:
        """Forget ``name``."""
        with self._lock:
            if name in self._values:
                self._held -= self._values.pop(name)[1]

    @property
    def held(self) -> int:
        """The sum of the costs of what is kept."""
        return self._held
