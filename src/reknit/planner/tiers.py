"""Ways to run a model, from the one that gives up nothing to the one that gives up most, and which of them fit.

In order: everything on the device; the decoder in tiles; one part at a time on the device (model offload); layers
streamed from main memory (group, then sequential offload); weights in fewer bits; a smaller working size. Pure
functions of facts: nothing here measures a machine or loads a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from reknit.planner import memory, speed
from reknit.planner.facts import AREA, GIB, Subject
from reknit.planner.hardware import Device
from reknit.planner.laws import Laws
from reknit.planner.memory import TILE_PX, Memory, Setup
from reknit.planner.speed import Times

SCALES = (0.75, 0.625, 0.5)
"""Working sizes that are tried when nothing else fits, of the side asked for."""

LEAST_PX = 256
"""No working size goes below this."""

MOST_AT_ONCE = 8
"""Variations that are painted together, at most."""

_FORMATS = {"fp8": ("cuda", "rocm", "xpu"), "nf4": ("cuda",)}
_QUANTISE = {"fp8": "fp8", "int8": "int8", "nf4": "nf4"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A way to run a model.

    Attributes
    ----------
    name : str
        ``resident``, ``tiled``, ``model``, ``group``, ``sequential``, then ``fp8`` or ``nf4``, then ``smaller``.
    says : tuple of str
        What it changes, for people; empty for the first.
    setup : Setup
    """

    name: str
    says: tuple[str, ...]
    setup: Setup

    @property
    def quantise(self) -> str:
        """What `reknit.diffusion.placement.Placement` calls the format of the denoiser's weights."""
        weights = self.setup.weights or "none"
        return "gguf" if weights.startswith("q") else _QUANTISE.get(weights, "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A tier with what it takes on a device.

    Attributes
    ----------
    tier : Tier
    memory : Memory
    times : Times
    """

    tier: Tier
    memory: Memory
    times: Times


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a run may take, in bytes; None for what is not known, and then is not judged.

    Attributes
    ----------
    device : float
    ram, disk : float or None
    """

    device: float
    ram: float | None = None
    disk: float | None = None


def ladder(
    subject: Subject,
    device: Device,
    *,
    width: int,
    height: int,
    images: int = 1,
    dtype: str | None = None,
) -> Iterator[Tier]:
    """Yield the ways to run ``subject`` on ``device``, the best first.

    Parameters
    ----------
    subject
    device
    width, height
        Of the picture the model works on, in pixels.
    images
        Pictures made at once.
    dtype
        ``half`` or ``fp32``; by default what the device is sound in.
    """
    plain = _plain(subject, device, width, height, images)
    if dtype is not None:
        plain = replace(plain, dtype=dtype)
    yield Tier(name="resident", says=(), setup=plain)
    if not subject.family.latent:
        return
    tiles = plain.area > TILE_PX**2 / AREA
    tiled = replace(plain, tiled=tiles, sliced=images > 1)
    layout = ("the decoder in tiles",) if tiles else ()
    if tiles:
        yield Tier(name="tiled", says=layout, setup=tiled)
    if not device.shared:
        yield from _offloaded(tiled, layout)
    for weights in subject.family.formats if subject.weights == "half" else ():
        if device.backend in _FORMATS[weights]:
            says = (f"the denoiser's weights in {weights}", *layout)
            small = replace(tiled, weights=weights, dtype="half")
            yield Tier(name=weights, says=says, setup=small)
            if not device.shared:
                offload = replace(small, offload="model")
                yield Tier(
                    name=f"{weights}-model", says=(*says, "one part at a time on the card"), setup=offload
                )
    yield from _smaller(tiled, device)


def _plain(subject: Subject, device: Device, width: int, height: int, images: int) -> Setup:
    family = subject.family
    full = not family.latent or speed.needs_fp32(family.denoiser, device)
    quantised = subject.weights not in ("half", "fp32")
    return Setup(
        family=family,
        width=width,
        height=height,
        images=images,
        dtype="fp32" if full else "half",
        weights=subject.weights if quantised else None,
        text=subject.text if subject.text != "half" else None,
        backend=device.backend,
        stored=subject.stored,
    )


def _offloaded(setup: Setup, layout: tuple[str, ...]) -> Iterator[Tier]:
    for offload, says in (
        ("model", "one part at a time on the card"),
        ("group", "layers streamed from main memory"),
        ("sequential", "layers fetched one by one from main memory"),
    ):
        yield Tier(name=offload, says=(*layout, says), setup=replace(setup, offload=offload))


def _smaller(setup: Setup, device: Device) -> Iterator[Tier]:
    for scale in SCALES:
        width, height = (max(8, round(side * scale / 64) * 64) for side in (setup.width, setup.height))
        if min(width, height) < LEAST_PX:
            return
        tiles = width * height > TILE_PX**2
        small = replace(setup, width=width, height=height, tiled=tiles)
        says = (f"worked at {width}×{height}", *(("the decoder in tiles",) if tiles else ()))
        yield Tier(name="smaller", says=says, setup=small)
        if not device.shared:
            yield from (replace(tier, name=f"smaller-{tier.name}") for tier in _offloaded(small, says))


def options(
    subject: Subject,
    device: Device,
    laws: Laws,
    *,
    width: int,
    height: int,
    images: int = 1,
    steps: int | None = None,
    dtype: str | None = None,
) -> list[Option]:
    """Return every tier with what it takes."""
    return [
        Option(
            tier=tier,
            memory=memory.predict(tier.setup, laws),
            times=speed.predict(tier.setup, device, laws, steps=steps),
        )
        for tier in ladder(subject, device, width=width, height=height, images=images, dtype=dtype)
    ]


def fits(option: Option, device: Device, budget: Budget) -> bool:
    """Return whether an option's peak is within the budget; what is not known of the budget is not judged."""
    if option.memory.total > budget.device:
        return False
    return device.shared or budget.ram is None or option.memory.ram <= budget.ram


def together(
    option: Option, device: Device, budget: Budget, laws: Laws, *, count: int, steps: int | None = None
) -> tuple[int, Option]:
    """Return how many of ``count`` pictures, at most `MOST_AT_ONCE`, surely fit at once, and what that takes.

    Surely: also at the pessimistic end of the interval. Painting them together saves little time and is worth no risk.
    """
    for images in range(min(count, MOST_AT_ONCE), 1, -1):
        setup = replace(option.tier.setup, images=images, sliced=True)
        more = Option(
            tier=replace(option.tier, setup=setup),
            memory=memory.predict(setup, laws),
            times=speed.predict(setup, device, laws, steps=steps),
        )
        if fits(more, device, budget) and more.memory.total * laws.memory[1] <= budget.device:
            return images, more
    return 1, option


def of_name(device: Device, laws: Laws) -> Budget:
    """Return what a device of this kind lets a program have when nothing of the machine is known."""
    held = device.memory_gib * GIB
    if device.kind == "cpu":
        return Budget(device=held)
    if device.kind == "unified":
        return Budget(device=laws["unified"] * held)
    screen = 0.0 if device.kind == "datacenter" else laws["desktop"] * GIB
    return Budget(device=laws["usable"] * held - screen)


def after(options_: list[Option], failed: Option, *, share: float = 0.9) -> Option | None:
    """Return the first option past ``failed`` that takes at most ``share`` of what it did; None at the end."""
    start = options_.index(failed) + 1
    return next((each for each in options_[start:] if each.memory.total <= share * failed.memory.total), None)
