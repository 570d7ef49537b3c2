"""Out of memory as a typed error that says what was asked for and what was free.

Every stage runs inside one ``memory_guard``; whoever plans acts on the error. It knows no stage and no plan.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager, suppress
from errno import ENOMEM
from typing import Any

from reknit.core.errors import Unavailable
from reknit.core.system import free_ram

_UNITS = {"bytes": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_ASKED = (
    re.compile(r"[Tt]ried to allocate (?P<number>[\d.]+) (?P<unit>bytes|[KMGT]iB)"),
    re.compile(r"you tried to allocate (?P<number>\d+) (?P<unit>bytes)"),
    re.compile(r"[Ii]nvalid buffer size: (?P<number>[\d.]+) (?P<unit>[KMGT]iB|bytes)"),
)
_MARKS = (
    "out of memory",
    "can't allocate memory",
    "invalid buffer size",
    "alloc_failed",
    "resource_exhausted",
)


class OutOfMemory(Unavailable):
    """A device's memory was not enough: code ``memory.out``; facts ``stage``, ``asked_bytes``, ``free_bytes``."""

    def __init__(self, stage: str, *, asked_bytes: int | None, free_bytes: int | None) -> None:
        asked = f", {asked_bytes / 2**20:.0f} MiB more were asked for" if asked_bytes is not None else ""
        free = f", {free_bytes / 2**20:.0f} MiB were free" if free_bytes is not None else ""
        super().__init__(
            f"{stage} ran out of memory{asked}{free}",
            code="memory.out",
            hint="a smaller -p side=PX, -p offload=model or sequential, -p vae_tiling=on or -p quantise=fp8 need less",
            stage=stage,
            asked_bytes=asked_bytes,
            free_bytes=free_bytes,
        )


@contextmanager
def memory_guard(stage: str, device: Any = None) -> Generator[None]:
    """Turn a framework's out-of-memory errors inside the ``with`` into `OutOfMemory`.

    Parameters
    ----------
    stage
        What is being done, as the message names it.
    device
        The device whose free memory is told; by default the one that failed, as far as that can be known.
    """
    try:
        yield
    except MemoryError as error:
        raise OutOfMemory(stage, asked_bytes=None, free_bytes=_free("cpu")) from error
    except OSError as error:  # a file that cannot be mapped
        if error.errno != ENOMEM and "os error 12" not in str(error):
            raise
        raise OutOfMemory(stage, asked_bytes=None, free_bytes=_free("cpu")) from error
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        text = str(error)
        if not any(mark in text.lower() for mark in _MARKS):
            raise
        where = "cpu" if "DefaultCPUAllocator" in text else str(device or _named(text))
        raise OutOfMemory(stage, asked_bytes=_asked(text), free_bytes=_free(where)) from error


def _asked(text: str) -> int | None:
    for pattern in _ASKED:
        if match := pattern.search(text):
            return int(float(match["number"]) * _UNITS[match["unit"]])
    return None


def _named(text: str) -> str:
    lower = text.lower()
    return next((name for name in ("cuda", "hip", "xpu", "mps") if name in lower), "cpu").replace(
        "hip", "cuda"
    )


def _free(device: str) -> int | None:
    import torch

    with suppress(Exception):  # an error about an error helps nobody
        if device.startswith("cuda"):
            return int(torch.cuda.mem_get_info(device)[0])
        if device.startswith("xpu"):
            return int(torch.xpu.mem_get_info(device)[0])
        if device.startswith("mps"):
            return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
        return int(free_ram()[0])
    return None
