"""Thousands of pictures: a work list, worker processes or a Ray cluster, a ledger, a report.

The package is also the function ``reknit.batch(...)``: calling it is calling `folder.batch`. Nothing is imported
until then.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """A package that can be called, because its name is also that of the public function."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Do many pictures; see `reknit.batch.folder.batch`."""
        from reknit.batch.folder import batch

        return batch(*args, **options)


sys.modules[__name__].__class__ = _Callable
