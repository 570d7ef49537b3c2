"""What the kernel and the drivers' own tools say of this machine: their words, files, and free main memory.

Answers in a moment, without any framework; what cannot be found out is empty. Knows no device and no model.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

_TOOL_S = 5.0  # what a tool may take


def free_ram() -> tuple[float, float]:
    """Return the bytes of main memory this process may still take, and those there are.

    Limits of the process and of its control groups count.
    """
    if sys.platform == "darwin":
        total = float(say("sysctl", "-n", "hw.memsize") or 0)
        return _free_of_mac(total), total
    if sys.platform == "win32":
        return _windows_ram()
    text = text_of(Path("/proc/meminfo"))
    sizes = {name: float(kib) * 1024 for name, kib in re.findall(r"(\w+):\s+(\d+) kB", text)}
    total = sizes.get("MemTotal", 0.0)
    free = sizes.get("MemAvailable", total)
    for most, used in _group_limits(text_of(Path("/proc/self/cgroup")), Path("/sys/fs/cgroup")):
        total, free = min(total, most), min(free, max(0.0, most - used))
    return min(free, _left_of_limit()), total


def _left_of_limit() -> float:
    """Return the bytes left of a limit that this process's address space has (``ulimit -v``)."""
    import resource

    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    if most == resource.RLIM_INFINITY:
        return float("inf")
    taken = re.match(r"\d+", text_of(Path("/proc/self/statm")))
    return max(0.0, most - float(taken[0]) * resource.getpagesize()) if taken else float("inf")


def free_of_nvidia(device: str) -> float | None:
    """Return the bytes free on ``cuda``, ``cuda:1``, … as the driver's tool tells them; None where it does not."""
    lines = say("nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits").split()
    index = int(device.partition(":")[2] or 0)
    return float(lines[index]) * 2**20 if index < len(lines) and lines[index].isdigit() else None


def _group_limits(memberships: str, root: Path) -> list[tuple[float, float]]:
    """Return limit and use of each control group this process is in that has a limit; versions 1 and 2."""
    found: list[tuple[float, float]] = []
    for line in memberships.splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root if not controllers else root / "memory"
        old = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        names = old if controllers else ("memory.max", "memory.current")
        # In a container the path may not be there; its own group is then the root of what is mounted.
        here_ = base / path.lstrip("/")
        for folder in dict.fromkeys((here_, *here_.parents, base)):
            if folder != base and base not in folder.parents:
                continue
            most, used = (text_of(folder / name).strip() for name in names)
            if most.isdigit() and int(most) < 2**60:
                cached = re.search(r"^(?:total_)?inactive_file (\d+)", text_of(folder / "memory.stat"), re.M)
                held = float(used or 0) - (float(cached[1]) if cached else 0.0)
                found.append((float(most), max(0.0, held)))
    return found


def _free_of_mac(total: float) -> float:
    page = re.search(r"page size of (\d+)", text := say("vm_stat"))
    counts: Mapping[str, str] = dict(re.findall(r"Pages ([a-z ]+):\s+(\d+)", text))
    free = sum(float(counts.get(kind, 0)) for kind in ("free", "inactive", "purgeable", "speculative"))
    return free * float(page[1]) if page and free else total


def _windows_ram() -> tuple[float, float]:
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("total", "free", "a", "b", "c", "d", "e")),
        )

    status = Status()
    status.length = ctypes.sizeof(Status)
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # pyright: ignore
    return float(status.free), float(status.total)


def say(*command: str) -> str:
    """Return what a tool prints; nothing if it is not there, fails or hangs."""
    import subprocess  # a fill needs the rest of this module, but no tool

    if shutil.which(command[0]) is None:
        return ""

    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TOOL_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def text_of(path: Path) -> str:
    """Return what a file holds; nothing if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
