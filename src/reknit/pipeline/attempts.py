"""One request's engine work, carried out in the first way under which memory suffices.

Holds the engine as it is laid out now, and its sessions; when memory runs out it lets go of them, configures the engine
for the next way, and the work that was not finished is asked for again. Results of stages that a session keeps by
content (embeddings, latents) are found again, so a picture does not begin from nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

from reknit.engines.base import Engine, Models
from reknit.engines.kept import KEPT
from reknit.pipeline.piece import Call
from reknit.pipeline.plan import Work
from reknit.pipeline.recover import Way, carry_out
from reknit.pipeline.ways import laid_out

R = TypeVar("R")


class Turning(Protocol):
    """Sessions that can be loaded anew from another engine."""

    def turn_to(self, engine: Engine) -> None:
        """Let go of every session, and load those to come from ``engine``."""
        ...


class Attempts:
    """The ways of one request, and which of them is being tried.

    Parameters
    ----------
    work
        The plan; its engine is laid out as its first way says.
    sessions
        Where the engine's sessions are.
    models
        Where engines find the models they run.
    """

    def __init__(self, work: Work, sessions: Turning, models: Models | None) -> None:
        self.notes: list[str] = []
        self._work = work
        self._models = models
        self._sessions = sessions
        self._ways = work.ways
        self._engine = work.engine
        self._params = work.params

    def call(self, call: Call) -> Call:
        """Return ``call`` for the engine as it is laid out now."""
        return replace(call, spec=self._engine.spec, params=self._params)

    def carry_out(self, work: Callable[[], R]) -> R:
        """Return ``work()``; done again in a way that needs less when memory ran out.

        Raises
        ------
        Unavailable
            ``memory.out``: at last.
        """
        return carry_out(lambda way: self._tried(way, work), self._ways, free=self._free, say=self._say)

    def _tried(self, way: Way, work: Callable[[], R]) -> R:
        if way is not self._ways[0]:
            self._take(way)
        return work()

    def _take(self, way: Way) -> None:
        """Lay the engine out anew; what comes after begins with this way."""
        self._ways = self._ways[self._ways.index(way) :]
        self._engine, self._params = laid_out(self._work.plan.engine, self._params, way, self._models)
        self._sessions.turn_to(self._engine)

    def _free(self) -> None:
        self._sessions.turn_to(self._engine)
        KEPT.free()

    def _say(self, note: str) -> None:
        self.notes.append(note)
