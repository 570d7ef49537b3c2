"""The one error tree of Reknit.

Every failure a caller can meet is a `ReknitError` with a stable ``code``, a message that says what is
wrong, a ``hint`` that names what helps, and ``facts`` for programs. The class decides the exit status of
the command line (and, later, the HTTP status), so no other module maps errors to numbers.

::

    ReknitError               exit 1
      InputError              exit 2   what the caller gave cannot be used
        NotFound              exit 2   a file, engine or option that does not exist
      Unavailable             exit 3   right, but not possible on this machine now
      ExternalError           exit 4   a file system, a network or another program failed
      EngineFailed            exit 5   an engine broke its contract or crashed
      Cancelled               exit 130 the caller asked to stop
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar


class ReknitError(Exception):
    """Base of all errors raised on purpose.

    Parameters
    ----------
    message
        One sentence that says what is wrong, without a trailing full stop being required.
    code
        Stable, dotted, lower-case identifier, e.g. ``"mask.empty"``. Part of the API.
    hint
        What the user can do about it; names a command or an option where one helps.
    **facts
        Machine-readable details (sizes, paths, limits). Values must be JSON-serialisable.
    """

    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, code: str, hint: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint
        self.facts = facts

    def to_dict(self) -> dict[str, Any]:
        """Return the error as plain data: ``code``, ``message``, ``hint`` and ``facts``."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "facts": self.facts}


class InputError(ReknitError):
    """What the caller gave cannot be used."""

    exit_status = 2


class NotFound(InputError):
    """A named thing does not exist."""


class Unavailable(ReknitError):
    """The request is right, but this machine cannot do it now (missing extra, memory, device)."""

    exit_status = 3


class ExternalError(ReknitError):
    """Something outside Reknit failed: the disk, the network, another program."""

    exit_status = 4


class EngineFailed(ReknitError):
    """An engine crashed or broke its contract."""

    exit_status = 5


class Cancelled(ReknitError):
    """The caller asked to stop. Nothing was written."""

    exit_status = 130

    def __init__(self, message: str = "cancelled", *, code: str = "cancelled", hint: str = "", **facts: Any):
        super().__init__(message, code=code, hint=hint, **facts)


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the closest of ``known``, or lists them when nothing is close."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
