"""What this machine has: its device, and how much of device memory, main memory and disk is free now.

Asks the driver's own tools and the kernel, never torch, so that it answers in a moment and before anything is
installed. What cannot be found out is None or left at the processor. Knows no model and no law.
"""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from reknit.core.errors import NotFound
from reknit.core.system import free_ram, say, text_of
from reknit.planner import hardware
from reknit.planner.facts import GIB
from reknit.planner.hardware import Device

_FLOPS_A_CYCLE = {"avx512f": 64.0, "fma": 32.0, "avx": 16.0, "neon": 16.0, "asimd": 16.0}
"""fp32 operations a core does each cycle, by its widest instructions."""


_BF16 = {"amx_bf16", "avx512_bf16", "bf16"}
"""What processors that multiply bfloat16 call that; the engine computes in it there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine, measured now.

    Attributes
    ----------
    device : Device
        The graphics device if there is one that torch could use, else the processor.
    free : float
        Bytes of device memory that no program uses; of main memory where the device shares it.
    ram : float
        Bytes of main memory that this process may still take.
    ram_total : float
    """

    device: Device
    free: float
    ram: float
    ram_total: float


def here(*, threads: int) -> Machine:
    """Return this machine; ``threads`` is how many processor threads may be used."""
    ram, total = free_ram()
    for look in (_nvidia, _amd, _apple):
        found = look(total)
        if found is not None:
            device, free = found
            return Machine(
                device=device, free=min(free, ram) if device.shared else free, ram=ram, ram_total=total
            )
    return Machine(device=processor(threads, total), free=ram, ram=ram, ram_total=total)


def free_disk(folder: Path) -> float | None:
    """Return the bytes free where ``folder`` is, or would be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return float(shutil.disk_usage(folder).free)
    except OSError:
        return None


def processor(threads: int, ram: float) -> Device:
    """Return this machine's processor as a device.

    Its rate is cores × operations a cycle × clock; `reknit bench fit` measures it instead.
    """
    text = text_of(Path("/proc/cpuinfo"))
    flags = set(re.findall(r"\w+", next(iter(re.findall(r"(?:flags|Features)\s*:(.*)", text)), "")))
    clocks = [float(mhz) for mhz in re.findall(r"cpu MHz\s*:\s*([\d.]+)", text)]
    ghz = max([*clocks, 2500.0]) / 1000
    cycle = next((ops for flag, ops in _FLOPS_A_CYCLE.items() if flag in flags), 16.0)
    name = next(iter(re.findall(r"model name\s*:\s*(.*)", text)), "")
    name = name or say("sysctl", "-n", "machdep.cpu.brand_string")
    return Device(
        name=f"{name.strip() or 'processor'} ({threads} threads)",
        group="cpu",
        vendor="",
        kind="cpu",
        memory_gib=ram / GIB,
        bandwidth=min(60.0, 12.0 * threads),
        fp32=threads * cycle * ghz / 1000,
        half=threads * cycle * ghz / 1000,
        link=0.0,
        bf16=bool(flags & _BF16),
        fp8=False,
    )


def _nvidia(_: float) -> tuple[Device, float] | None:
    """Return the NVIDIA card with most free memory."""
    fields = "--query-gpu=name,memory.total,memory.free"
    cards: list[tuple[float, str, float]] = []
    for line in say("nvidia-smi", fields, "--format=csv,noheader,nounits").splitlines():
        name, total, free = (*(part.strip() for part in line.split(",")), "", "")[:3]
        if total.isdigit() and free.isdigit():
            cards.append((float(free) * 2**20, name, float(total) / 1024))
    if not cards:
        return None
    free, name, total = max(cards)
    return _known(name, total), free


def _amd(_: float) -> tuple[Device, float] | None:
    """Return the AMD card with most memory, as the kernel tells it."""
    cards: list[tuple[float, float, str]] = []
    for folder in Path("/sys/class/drm").glob("card[0-9]*/device"):
        total, used = text_of(folder / "mem_info_vram_total"), text_of(folder / "mem_info_vram_used")
        if total.strip().isdigit():
            name = text_of(folder / "product_name").strip()
            cards.append((float(total), float(total) - float(used or 0), name or "AMD graphics"))
    if not cards:
        return None
    total, free, name = max(cards)
    return _known(name, total / GIB), free


def _apple(total: float) -> tuple[Device, float] | None:
    """Return a Mac's own graphics; its memory is the machine's."""
    if sys.platform != "darwin":
        return None
    chip = say("sysctl", "-n", "machdep.cpu.brand_string").strip()
    if not chip.startswith("Apple"):
        return None
    return _known(chip, total / GIB), free_ram()[0]


def _known(name: str, total_gib: float) -> Device:
    """Return the device of that name, or, where it is not in the list, a plain one of that memory."""
    try:
        return hardware.find(name, memory_gib=total_gib)
    except NotFound:
        plain = hardware.of_memory(total_gib)
        return replace(plain, name=f"{name} (not in the list; timed as {plain.name})")
