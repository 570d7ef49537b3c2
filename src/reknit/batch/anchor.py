"""Whether a file or folder is still the one that it was: not removed, not another of the same name.

It is kept open, so that the system gives its number to no other. It knows no batch.
"""

from __future__ import annotations

import os
from pathlib import Path


class Anchor:
    """What lies at ``path`` now; on systems that open no folders a folder stays while there is one of its name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
        except PermissionError:
            if not path.is_dir():
                raise

    @property
    def stays(self) -> bool:
        """Whether it is still there; of a share that does not answer that is not known, and who writes will be told."""
        try:
            now = self._path.stat()
            return self._descriptor is None or os.path.samestat(os.fstat(self._descriptor), now)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Let it go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
