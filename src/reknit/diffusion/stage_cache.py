"""Results of stages, kept by content: what was encoded once is not encoded again.

A cache knows keys and bytes only. A key is made of everything that a result depends on, so an entry never goes stale;
it leaves when room is needed, the one used longest ago first.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from reknit.diffusion.checkpoint import Checkpoint

_DEFAULT_BYTES = 256 << 20


def key_of(stage: str, *parts: Any) -> str:
    """Return the key of a result of ``stage`` that depends on ``parts``: arrays, numbers, text, None, bytes."""
    digest = hashlib.sha256(stage.encode())
    for part in parts:
        if isinstance(part, np.ndarray):
            array = cast("NDArray[Any]", part)
            digest.update(f"|array {array.dtype} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        else:
            digest.update(f"|{type(part).__name__} {part!r}".encode())
    return digest.hexdigest()


def identity(checkpoint: Checkpoint) -> str:
    """Return what tells a checkpoint with its LoRAs from any other, for keys."""
    files = [
        (str(file), file.stat().st_size, file.stat().st_mtime_ns)
        for file in checkpoint.files
        if file.exists()
    ]
    loras = sorted((str(name), weight) for name, weight in checkpoint.loras.items())
    return repr((checkpoint.source, files, loras))


class StageCache:
    """Results by key, at most ``max_bytes`` of them; safe from any thread.

    Parameters
    ----------
    max_bytes
        Of tensors and arrays, on whatever device they lie. A larger result is not kept. 0 keeps nothing.
    """

    __slots__ = ("_bytes", "_entries", "_lock", "hits", "max_bytes", "misses")

    def __init__(self, max_bytes: int = _DEFAULT_BYTES) -> None:
        self.max_bytes = max_bytes
        self.hits = 0
        self.misses = 0
        self._entries: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """What is kept, in bytes."""
        return self._bytes

    def get(self, key: str) -> Any:
        """Return the result, or None."""
        with self._lock:
            if key not in self._entries:
                self.misses += 1
                return None
            self.hits += 1
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: str, result: Any) -> None:
        """Keep a result; it must not be changed afterwards."""
        size = _bytes_of(result)
        with self._lock:
            if key in self._entries or size > self.max_bytes:
                return
            self._entries[key] = (result, size)
            self._bytes += size
            while self._bytes > self.max_bytes:
                _, (_, freed) = self._entries.popitem(last=False)
                self._bytes -= freed

    def drop(self, key: str) -> None:
        """Forget one result, if it is kept."""
        with self._lock:
            if key in self._entries:
                self._bytes -= self._entries.pop(key)[1]

    def clear(self) -> None:
        """Forget everything, e.g. because the device has to be free."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0


def _bytes_of(result: Any) -> int:
    if is_dataclass(result) and not isinstance(result, type):
        return sum(_bytes_of(getattr(result, field.name)) for field in fields(result))
    if isinstance(result, (tuple, list)):
        return sum(_bytes_of(each) for each in result)  # pyright: ignore[reportUnknownVariableType]
    return int(getattr(result, "nbytes", 0))
