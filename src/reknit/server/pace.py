"""How much and how fast: the length and pace of a body, and the rate of a client's requests.

Nothing here reads a header or knows a route; `server.guard` says what the limits are.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass

from starlette.types import Message, Receive

from reknit.server.problem import Problem

KNOWN_CLIENTS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How slowly a body may arrive.

    Attributes
    ----------
    idle_s : float
        The longest pause.
    start_s, bytes_per_s : float
        In all it may take ``start_s`` plus what it needs at this rate.
    """

    idle_s: float = 20.0
    start_s: float = 30.0
    bytes_per_s: float = 20_000.0


class Refused(Exception):
    """A body was too long or too slow; raised into the application that reads it."""


class Body:
    """Receives a body and watches its length and its pace."""

    def __init__(self, receive: Receive, pace: Pace, limit: int) -> None:
        self.problem: Problem | None = None
        self._receive = receive
        self._pace = pace
        self._limit = limit
        self._count = 0
        self._done = False
        self._start = time.monotonic()

    async def __call__(self) -> Message:
        """Receive the next message; raises `Refused` when a limit is passed."""
        if self._done:
            return await self._receive()
        pace = self._pace
        allowed_s = pace.start_s + self._count / pace.bytes_per_s
        left_s = self._start + allowed_s - time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, min(pace.idle_s, left_s))):
                message = await self._receive()
        except TimeoutError:
            self.problem = Problem(
                status=408,
                code="guard.slow",
                message="the body arrives too slowly",
                hint="send it again over a better connection",
            )
            raise Refused from None
        self._count += len(message.get("body", b""))
        self._done = not message.get("more_body", False)
        if self._count > self._limit:
            self.problem = too_long(self._limit)
            raise Refused
        return message


class Buckets:
    """A token bucket for each client's address."""

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self._rate, self._burst = rate_per_s, burst
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Count a request; return how long the client has to wait, 0 if it need not."""
        if not self._rate:
            return 0.0
        now = time.monotonic()
        level, seen = self._levels.pop(client, (self._burst, now))
        level = min(self._burst, level + (now - seen) * self._rate)
        allowed = level >= 1
        self._levels[client] = (level - 1 if allowed else level, now)
        if len(self._levels) > KNOWN_CLIENTS:
            self._levels.popitem(last=False)
        return 0.0 if allowed else (1 - level) / self._rate


def too_long(limit: int) -> Problem:
    """Return the refusal of a body longer than ``limit`` bytes."""
    return Problem(
        status=413,
        code="guard.body",
        message=f"the body is longer than {limit:,} bytes",
        hint="pictures are uploaded to /api/v1/images; --max-upload raises their limit",
        facts={"limit": limit},
    )
