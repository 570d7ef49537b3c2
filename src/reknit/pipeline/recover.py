"""When memory runs out: let go of everything, take a way that needs less, and go on from the last finished stage.

A pure driver over ways that whoever plans has ordered, the best first. It knows no engine and no device: what to do,
how to free, and where notes go are given to it. At most `MOST` steps down are taken for one piece of work.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar, cast

from reknit.core.errors import ReknitError, Unavailable
from reknit.engines.kept import out_of_memory

R = TypeVar("R")
T = TypeVar("T")

MOST = 3
"""Steps down for one piece of work."""

_LESS = 0.9  # of what failed is the most that the next way may be predicted to take


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to do the work.

    Attributes
    ----------
    params : mapping
        Values of the engine's options, in place of those asked for.
    says : tuple of str
        What it changes, for people.
    need : float
        Predicted bytes of the device at its peak; 0 where that is not known.
    seconds : float
        Predicted time of one piece of work; 0 where that is not known.
    basis : object
        What the prediction was made of, for whoever compares it with what was measured.
    """

    params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    says: tuple[str, ...] = ()
    need: float = 0.0
    seconds: float = 0.0
    basis: Any = None


class Finished:
    """Results of stages that are finished, so that a new attempt does not begin from nothing."""

    def __init__(self) -> None:
        self._results: dict[Hashable, Any] = {}

    def once(self, stage: Hashable, make: Callable[[], T]) -> T:
        """Return the result of ``stage``, made now unless it was finished before."""
        if stage not in self._results:
            self._results[stage] = make()
        return cast("T", self._results[stage])

    def __contains__(self, stage: Hashable) -> bool:
        return stage in self._results


def carry_out(
    work: Callable[[Way], R],
    ways: Sequence[Way],
    *,
    free: Callable[[], None],
    say: Callable[[str], None],
    most: int = MOST,
) -> R:
    """Return ``work(way)`` for the first of ``ways`` under which memory suffices.

    Parameters
    ----------
    work
        Called with a way; it keeps what it finished, and goes on from there when it is called again.
    ways
        The best first; the first is tried whatever it needs.
    free
        Lets go of everything that is loaded; called before each further attempt.
    say
        Takes a note for each step down.
    most
        Steps down, at most.

    Raises
    ------
    Unavailable
        ``memory.out``: the last way failed too; the message says which were tried, the hint what needs less.
    """
    way: Way | None = ways[0]
    tried: list[Way] = []
    failed = ""
    while way is not None and len(tried) <= most:
        tried.append(way)
        try:
            return work(way)
        except Exception as error:
            if not out_of_memory(error) or len(ways) == 1:
                raise
            failed = _told(error)
        # Outside of the except clause: the traceback would hold what has to be freed.
        free()
        way = _next(ways, way) if len(tried) <= most else None
        if way is not None:
            say(f"{failed}; went on with {' and '.join(way.says) or 'less'}")
    raise _given_up(failed, tried, ways)


def _next(ways: Sequence[Way], failed: Way) -> Way | None:
    """Return the first later way that is predicted to need clearly less."""
    later = ways[ways.index(failed) + 1 :]
    return next(
        (way for way in later if not way.need or not failed.need or way.need <= _LESS * failed.need), None
    )


def _told(error: BaseException) -> str:
    if isinstance(error, ReknitError):
        return error.message
    return "memory ran out"


def _given_up(failed: str, tried: Sequence[Way], ways: Sequence[Way]) -> Unavailable:
    left = [way for way in ways[ways.index(tried[-1]) + 1 :] if way.says]
    least = min(left, key=lambda way: way.need, default=None)
    hints = ["close other programs", "take a smaller model: `reknit check --all` shows which fit"]
    if least is not None:
        need = f" ({least.need / 2**30:.1f} GiB)" if least.need else ""
        hints.insert(0, f"ask for {' and '.join(least.says)}{need}")
    return Unavailable(
        f"{failed}, {len(tried)} times, each time with less to hold" if len(tried) > 1 else failed,
        code="memory.out",
        hint="; ".join(hints),
        tried=[list(way.says) for way in tried],
    )
