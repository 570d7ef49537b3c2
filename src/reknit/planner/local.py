"""Constants fitted on this machine: measured by `reknit bench fit`, kept in a file, used in place of the general ones.

Measures with PyTorch where it is installed and with NumPy where it is not, in a few seconds, adds what real fills
taught (`planner.runs`), and writes TOML. All of it counts only for the device that it was measured on.
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from reknit.planner import runs
from reknit.planner.hardware import Device
from reknit.planner.laws import Laws, Learned, laws
from reknit.planner.runs import Run

NETWORK_SHARE = 0.8
"""Of the rate that large matrices reach, what whole networks do; assumed."""

_FOR_S = 1.0
_DISK_BYTES = 512 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Constants of the laws, as measured on one device.

    Attributes
    ----------
    device : str
    constants : mapping of str to float
    learned : mapping of str to Learned
        By family, from real fills.
    """

    device: str
    constants: Mapping[str, float]
    learned: Mapping[str, Learned] = field(default_factory=lambda: MappingProxyType({}))


def read(path: Path) -> Fitted | None:
    """Return what was fitted here before; None if nothing was, or the file cannot be understood."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        constants = {str(name): float(value) for name, value in table["constants"].items()}
        learned = {
            str(name): Learned(
                memory=float(given["memory"]), time=float(given["time"]), runs=int(given["runs"])
            )
            for name, given in table.get("family", {}).items()
        }
        sound = all(each.memory > 0 and each.time > 0 for each in learned.values())
        return Fitted(
            device=str(table["device"]),
            constants=constants,
            learned=MappingProxyType(learned if sound else {}),
        )
    except (OSError, tomllib.TOMLDecodeError, KeyError, ValueError, TypeError, AttributeError):
        return None


def write(path: Path, fitted: Fitted) -> None:
    """Keep what was fitted; the file appears whole or not at all."""
    name = fitted.device.replace("\\", " ").replace('"', "'")
    lines = [f'"{each}" = {value:.6g}' for each, value in fitted.constants.items()]
    head = f'# Measured by `reknit bench fit`. Delete this file to go back.\ndevice = "{name}"\n\n[constants]'
    for family, each in fitted.learned.items():
        lines += [
            f'\n[family."{family}"]',
            f"memory = {each.memory:.6g}",
            f"time = {each.time:.6g}",
            f"runs = {each.runs}",
        ]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text("\n".join([head, *lines, ""]), encoding="utf-8")
    part.replace(path)


def applied(known: Laws, device: Device, path: Path | None) -> Laws:
    """Return the laws with what was fitted on this very device."""
    fitted = None if path is None else read(path)
    if fitted is None or fitted.device != device.name.replace('"', "'"):
        return known
    values = {name: value for name, value in fitted.constants.items() if name in known and value > 0}
    return replace(known.having(values, basis="measured here"), learned=fitted.learned)


def learnt(fitted: Fitted, done: Sequence[Run], device: Device) -> Fitted:
    """Return what was measured together with what fills on this device taught beyond it."""
    values = {name: value for name, value in fitted.constants.items() if value > 0}
    base = laws().having({name: value for name, value in values.items() if name in laws()})
    found = {
        family: Learned(memory=peak, time=seconds, runs=count)
        for family, (peak, seconds, count) in runs.factors(done, device, base).items()
    }
    return replace(fitted, learned=MappingProxyType(found))


def measure(device: Device, *, threads: int, weights: Path | None) -> Fitted:
    """Measure this machine.

    Parameters
    ----------
    device
        As `planner.machine` found it.
    threads
        Processor threads that may be used.
    weights
        A large file to read, for the disk's rate; None leaves that out.
    """
    found: dict[str, float] = {}
    if device.kind == "cpu" or find_spec("torch") is None:
        rate = _numpy_tflops() * threads if find_spec("torch") is None else _torch_cpu(threads)
        if device.kind == "cpu":
            found["efficiency.cpu"] = NETWORK_SHARE * rate / device.fp32
    else:
        found |= _torch_device(device)
    if weights is not None:
        found["disk"] = _read_rate(weights)
    return Fitted(device=device.name, constants=found)


def _repeated(work: Callable[[], object], done: Callable[[], None] | None = None) -> float:
    """Return the seconds that ``work`` takes: the best of what fits into about a second, after one to warm up."""
    best, end = float("inf"), time.perf_counter() + _FOR_S
    work()
    while time.perf_counter() < end or best == float("inf"):
        start = time.perf_counter()
        work()
        if done is not None:
            done()
        best = min(best, time.perf_counter() - start)
    return best


def _numpy_tflops() -> float:
    """Return the fp32 rate of one thread."""
    import numpy as np

    side = 1024
    a = np.ones((side, side), np.float32)
    out = np.empty_like(a)
    return 2 * side**3 / _repeated(lambda: np.matmul(a, a, out=out)) / 1e12


def _torch_cpu(threads: int) -> float:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        side = 2048
        a = torch.ones(side, side)
        return 2 * side**3 / _repeated(lambda: torch.mm(a, a)) / 1e12
    finally:
        torch.set_num_threads(before)


def _torch_device(device: Device) -> dict[str, float]:
    """Return the efficiency, the cost of an operation and the link's rate of what PyTorch can use."""
    import torch

    name = {"rocm": "cuda"}.get(device.backend, device.backend)
    module: Any = getattr(torch, name, None)
    if module is None or not module.is_available():
        return {}
    side = 8192 if device.half > 60 else 4096
    a = torch.ones(side, side, dtype=torch.float16, device=name)
    small = torch.ones(8, device=name)
    host = torch.ones(64 << 20, dtype=torch.uint8)
    rate = 2 * side**3 / _repeated(lambda: torch.mm(a, a), module.synchronize) / 1e12
    many = 2000

    def dispatch() -> None:
        for _ in range(many):
            small.add_(1.0)

    found = {f"efficiency.{device.group}": NETWORK_SHARE * rate / device.half}
    tau = "tau.server" if device.kind == "datacenter" else "tau.desktop"
    # A layer's operation is about four times as dear to dispatch as an addition in place.
    found[tau] = 4e6 * _repeated(dispatch, module.synchronize) / many
    if not device.shared:
        found["link.pageable"] = host.nbytes / _repeated(lambda: host.to(name), module.synchronize) / 1e9
    return found


def _read_rate(path: Path) -> float:
    """Return the GB/s that a file is read with; what the system keeps of it in memory counts as it would."""
    done, start = 0, time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while done < _DISK_BYTES and (block := file.read(16 << 20)):
            done += len(block)
    return done / max(time.perf_counter() - start, 1e-6) / 1e9
