"""Devices: what they hold, how fast they are, and how people call them. Data from ``hardware.toml``.

`find` takes what people type (``rtx 3060``, ``RTX3060 12GB``, ``4090``, ``m1``) or what a driver says. Nothing here
looks at this machine; `planner.machine` does.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import cache
from importlib import resources
from types import MappingProxyType

from reknit.core.errors import NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device that models run on.

    Attributes
    ----------
    name : str
    group : str
        Devices of one efficiency; ``cpu`` for processors.
    vendor : str
    kind : {'desktop', 'laptop', 'workstation', 'datacenter', 'unified', 'cpu'}
    memory_gib : float
    bandwidth : float
        GB/s of its memory.
    fp32, half : float
        Dense TFLOPS.
    link : float
        GB/s from pinned host memory; 0 where it shares the host's.
    bf16, fp8 : bool
        Whether it computes in that type itself.
    reported : str
        What a driver calls it.
    source : str
    """

    name: str
    group: str
    vendor: str
    kind: str
    memory_gib: float
    bandwidth: float
    fp32: float
    half: float
    link: float
    bf16: bool
    fp8: bool
    reported: str = ""
    source: str = ""

    @property
    def backend(self) -> str:
        """What torch reaches it through: ``cuda``, ``rocm``, ``xpu``, ``mps`` or ``cpu``."""
        return {"NVIDIA": "cuda", "AMD": "rocm", "Intel": "xpu", "Apple": "mps"}.get(self.vendor, "cpu")

    @property
    def shared(self) -> bool:
        """Whether it works in the host's memory, so that offloading to the host frees nothing."""
        return self.kind in ("unified", "cpu")


@cache
def devices() -> Mapping[str, Device]:
    """Return every known device by name."""
    table = tomllib.loads(resources.files("reknit.planner").joinpath("hardware.toml").read_text("utf-8"))
    found: dict[str, Device] = {}
    for group, given in table["group"].items():
        for row in given["devices"]:
            plain = dict(row)
            found[plain["name"]] = Device(
                group=group,
                vendor=given["vendor"],
                bf16=given["bf16"],
                fp8=given["fp8"],
                reported=plain.pop("torch", plain["name"]),
                source=plain.pop("source", given.get("source", "")),
                **plain,
            )
    return MappingProxyType(found)


def find(name: str, *, memory_gib: float | None = None) -> Device:
    """Return the device that people or a driver call ``name``.

    Parameters
    ----------
    name
        Words in any order of writing; ``laptop`` and ``mobile`` are the same.
    memory_gib
        What the driver says it holds; chooses among devices of one name, and is then used as it is.

    Raises
    ------
    NotFound
        ``device.unknown``.
    """
    words = _words(name)
    size = _size(name) if memory_gib is None else memory_gib
    matches = [each for each in devices().values() if words and words <= _all_words(each)]
    if not matches:
        raise NotFound(
            f"there is no device {name!r} in the list",
            code="device.unknown",
            hint=f"{_nearest(name)} Or say how much memory it has: --vram 12",
            device=name,
        )
    laptop = "mobile" in words
    best = min(matches, key=lambda each: _distance(each, words, size, laptop=laptop))
    if memory_gib is not None:
        return replace(best, memory_gib=memory_gib)
    return replace(best, memory_gib=size) if size is not None and best.shared else best


def of_memory(gib: float) -> Device:
    """Return the plainest card of that much memory: the least bandwidth among desktop cards that hold it."""
    cards = [each for each in devices().values() if each.kind == "desktop" and each.bf16]
    nearest = min({each.memory_gib for each in cards}, key=lambda held: abs(held - gib))
    plain = min((each for each in cards if each.memory_gib == nearest), key=lambda each: each.half)
    return replace(plain, memory_gib=gib)


def with_memory(gib: float) -> list[Device]:
    """Return the cards with that much memory of their own, to half a GiB."""
    return [each for each in devices().values() if not each.shared and abs(each.memory_gib - gib) <= 0.5]


def _nearest(name: str) -> str:
    """Return the hint that names the device most like ``name``: of those as near, one of the same digits."""
    written = sorted(_words(name))

    def likeness(device: Device) -> tuple[float, bool]:
        words = sorted(_words(device.name))
        alike = SequenceMatcher(None, " ".join(written), " ".join(words)).ratio()
        return alike + 0.1 * (sorted("".join(written)) == sorted("".join(words))), device.kind == "desktop"

    best = max(devices().values(), key=likeness)
    if likeness(best)[0] >= _ALIKE:
        return f"did you mean {best.name!r}?"
    return "Call it as its maker does, such as 'RTX 4070' or 'M2 Pro'."


_ALIKE = 0.6
_DROPPED = re.compile(
    r"\b(nvidia|geforce|amd|radeon|intel|r|tm|graphics|gpu|apple|gi?b|pcie|sxm\d|generation)\b"
)


def _words(name: str) -> frozenset[str]:
    text = re.sub(r"(\d+)\s*gi?b\b", " ", name.lower())
    text = re.sub(r"\b(rtx|gtx|rx|arc)[\s-]*(?=\w)", r"\1 ", text)
    text = re.sub(r"(?<=\d)(?=(ti|super|xtx|xt|gre)\b)", " ", text)
    text = re.sub(r"\blaptop\b", "mobile", text)
    return frozenset(re.findall(r"[a-z0-9]+", _DROPPED.sub(" ", text)))


def _all_words(device: Device) -> frozenset[str]:
    return _words(device.name) | _words(device.reported)


def _size(name: str) -> float | None:
    found = re.search(r"(\d+)\s*gi?b\b", name.lower())
    return float(found[1]) if found else None


def _distance(
    device: Device, words: frozenset[str], size: float | None, *, laptop: bool
) -> tuple[float, ...]:
    """Order matches: the right kind, no word too many, the memory asked for, then the most common one."""
    extra = len(_words(device.name) - words)
    wrong_kind = (device.kind == "laptop") != laptop
    off = abs(device.memory_gib - size) if size is not None and not device.shared else 0.0
    most = -device.memory_gib if size is None and not device.shared else 0.0
    return (wrong_kind, extra, off, most, -device.half)
