"""The most memory that a piece of work took: of the process, and of the device that PyTorch used.

Reads what the kernel and PyTorch count anyway; it imports no framework that was not imported already.
"""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from reknit.core.system import text_of

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


class Peak:
    """Counts from when it is made; `bytes` tells the most so far."""

    def __init__(self) -> None:
        with suppress(OSError):  # where the kernel has it so, the process's peak begins anew
            _RESET.write_text("5", encoding="ascii")
        for module in _devices():
            with suppress(RuntimeError):
                module.reset_peak_memory_stats()

    def ram(self) -> int | None:
        """Return the most bytes of main memory that the process held; None where the kernel does not tell."""
        found = re.search(r"VmHWM:\s+(\d+) kB", text_of(_STATUS))
        if found:
            return int(found[1]) * 1024
        if sys.platform == "win32":
            return None
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def device(self) -> int | None:
        """Return the most bytes of a device that PyTorch held; None where it used none."""
        held = [0]
        for module in _devices():
            with suppress(RuntimeError):
                held.append(int(module.max_memory_reserved()))
        return max(held) or None


def _devices() -> list[Any]:
    torch: Any = sys.modules.get("torch")
    modules = [getattr(torch, name, None) for name in ("cuda", "xpu")]
    return [module for module in modules if module is not None and module.is_available()]
