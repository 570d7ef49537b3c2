"""Loaded models, kept for the next request: the longest unused one goes when a device has to hold another.

One keeper serves every runtime of this process, so that a model of one makes room for a model of another. It knows
keys, devices and sizes; how a model is loaded, and how much of a device is free, is told to it.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from reknit.core.errors import ReknitError
from reknit.core.progress import Report
from reknit.core.system import free_of_nvidia, free_ram

T = TypeVar("T")
Free = Callable[[str], "float | None"]

MOST_BYTES = 8 << 30
"""Of models that are kept in main memory, or on a device that cannot be asked what is free, while they are not at
work; the last used one always is."""

_ROOM = 1.1  # of a model's size has to be free before it is loaded
_WAIT_S = 0.05


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, of a device or of the machine."""
    if isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError):
        return True
    return isinstance(error, ReknitError) and error.code == "memory.out"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    value: Any
    device: str
    bytes: int


class Kept:
    """Loaded models by key, the last used one at the end; safe from any thread.

    Parameters
    ----------
    free
        Returns the bytes free on a device, None where that cannot be asked.
    most_bytes
        Of what is kept on the processor's side, and on each device that cannot be asked.

    Attributes
    ----------
    loading_s : float
        Seconds that loading took so far, for whoever times what comes after.
    """

    def __init__(self, free: Free, *, most_bytes: int = MOST_BYTES) -> None:
        self._free = free
        self._most = most_bytes
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.RLock()
        self._turns: dict[str, threading.Lock] = {}
        self._loads: dict[str, threading.RLock] = {}
        self.loading_s = 0.0

    def get(
        self,
        key: Hashable,
        load: Callable[[], T],
        *,
        device: str,
        size: int,
        suits: Callable[[T], bool] | None = None,
    ) -> T:
        """Return the model of ``key``; loaded if it is not kept, after room was made for it.

        Parameters
        ----------
        key
        load
            Called at most twice: once more with nothing else kept on the device, if memory ran out.
        device
            Such as ``cpu`` or ``cuda``. One model at a time is loaded for each; meanwhile what is kept can be had.
        size
            Bytes of its weights, 0 where it is not known.
        suits
            Whether a kept one will do; one that does not goes before it is loaded anew.
        """
        found = self._found(key, suits)
        if found is not None:
            return cast("T", found.value)
        with self._lock:
            loading = self._loads.setdefault(device, threading.RLock())
        with loading:
            found = self._found(key, suits)  # another thread may have loaded it meanwhile
            if found is None:
                self.drop(key)
                start = time.perf_counter()
                self._make_room(device, size)
                found = _Entry(value=self._loaded(load, device), device=device, bytes=size)
                with self._lock:
                    self._entries[key] = found
                    self.loading_s += time.perf_counter() - start
            return cast("T", found.value)

    def _found(self, key: Hashable, suits: Callable[[Any], bool] | None) -> _Entry | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or not (suits is None or suits(entry.value)):
                return None
            self._entries.move_to_end(key)
            return entry

    def drop(self, key: Hashable) -> None:
        """Let go of one model, if it is kept."""
        with self._lock:
            self._entries.pop(key, None)

    def free(self, device: str | None = None) -> None:
        """Let go of every model on ``device``, or everywhere; memory is free when nobody uses them any more."""
        with self._lock:
            for key in [key for key, entry in self._entries.items() if device in (None, entry.device)]:
                del self._entries[key]
        emptied()

    def held(self, device: str) -> int:
        """Return the bytes of the models kept on a device."""
        with self._lock:
            return sum(entry.bytes for entry in self._entries.values() if entry.device == device)

    def order(self) -> list[Hashable]:
        """Return what is kept, the longest unused first."""
        with self._lock:
            return list(self._entries)

    @contextmanager
    def turn(self, device: str, report: Report) -> Generator[None]:
        """Have a device to oneself inside the ``with``; a cancelled report ends the waiting."""
        with self._lock:
            lock = self._turns.setdefault(device, threading.Lock())
        while not lock.acquire(timeout=_WAIT_S):
            report.step("waiting for the device", 0.0)
        try:
            yield
        finally:
            lock.release()

    def _make_room(self, device: str, size: int) -> None:
        while (oldest := self._oldest(device)) is not None:
            left = self._free(device)
            full = (device == "cpu" or left is None) and self.held(device) + size > self._most
            if not full and (left is None or size * _ROOM <= left):
                return
            self.drop(oldest)
            emptied()

    def _loaded(self, load: Callable[[], T], device: str) -> T:
        try:
            return load()
        except Exception as error:
            if not out_of_memory(error) or self._oldest(device) is None:
                raise
        # Outside of the except clause: its traceback holds what was loaded so far.
        self.free(device)
        return load()

    def _oldest(self, device: str) -> Hashable | None:
        with self._lock:
            return next((key for key, entry in self._entries.items() if entry.device == device), None)


def emptied() -> None:
    """Give back what nobody holds any more: Python's cycles, and what PyTorch's allocators keep."""
    gc.collect()
    torch: Any = sys.modules.get("torch")
    for name in ("cuda", "xpu", "mps"):
        module = getattr(torch, name, None)
        if module is not None and module.is_available():
            module.empty_cache()


def free_of(device: str) -> float | None:
    """Return the bytes free on a device now, other programs' use counted; None where it cannot be asked."""
    torch: Any = sys.modules.get("torch")
    try:
        if device == "cpu":
            return free_ram()[0]
        if torch is None:
            return free_of_nvidia(device) if device.startswith("cuda") else None
        if device.startswith(("cuda", "xpu")):
            module = getattr(torch, device.partition(":")[0])
            return float(module.mem_get_info(device)[0])
        if device == "mps":
            held = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
            return float(held)
    except (RuntimeError, AttributeError):
        return None
    return None


KEPT = Kept(free_of)
"""The keeper of this process."""
