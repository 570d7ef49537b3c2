"""Questions as people put them: a model by name, a card by name or by memory, or this machine as it is.

Turns those words into the values `verdict.check` takes. It looks at this machine through `planner.machine` only where
no card was named; it reads no settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from reknit.core.errors import InputError, NotFound, nearest_name
from reknit.core.system import free_ram
from reknit.models import catalog
from reknit.models.catalog import ModelCard
from reknit.planner import facts, hardware, local, machine, tiers, verdict
from reknit.planner.facts import GIB, Subject, families
from reknit.planner.hardware import Device
from reknit.planner.laws import Laws, laws
from reknit.planner.tiers import Budget
from reknit.planner.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A device and what is free there.

    Attributes
    ----------
    device : Device
    budget : Budget
    laws : Laws
    measured : bool
        Whether it is this machine, with what is free now.
    """

    device: Device
    budget: Budget
    laws: Laws
    measured: bool


def place(
    gpu: str | None = None,
    *,
    vram: float | None = None,
    ram: float | None = None,
    threads: int = 1,
    folder: Path | None = None,
    fitted: Path | None = None,
) -> Place:
    """Return the place that a question is about.

    Parameters
    ----------
    gpu
        A card's name; ``cpu`` for this machine's processor; None for this machine's best device.
    vram, ram
        GiB of the card, and of main memory, in place of what is known.
    threads
        Processor threads that may be used here.
    folder
        Where models are kept; its disk is counted. None leaves the disk out.
    fitted
        The file of constants fitted on this machine.

    Raises
    ------
    NotFound
        ``device.unknown``.
    """
    known = laws()
    disk = None if folder is None else machine.free_disk(folder)
    given_ram = None if ram is None else ram * GIB
    if gpu is None and vram is None:
        here = machine.here(threads=threads)
        budget = Budget(device=here.free, ram=given_ram or here.ram, disk=disk)
        if here.device.kind == "unified":
            budget = replace(budget, device=min(here.free, known["unified"] * here.ram_total))
        known = local.applied(known, here.device, fitted)
        return Place(device=here.device, budget=budget, laws=known, measured=True)
    if gpu is not None and gpu.lower() == "cpu":
        free, total = free_ram()
        device = machine.processor(threads, total)
        return Place(
            device=device,
            budget=Budget(device=given_ram or free, ram=given_ram or free, disk=disk),
            laws=local.applied(known, device, fitted),
            measured=True,
        )
    device = hardware.find(gpu) if gpu is not None else hardware.of_memory(vram or 0.0)
    if vram is not None:
        device = replace(device, memory_gib=vram)
    return place_of(device, ram=ram)


def place_of(device: Device, *, ram: float | None = None) -> Place:
    """Return a device of the list as a place, with ``ram`` GiB of main memory if that is known."""
    known = laws()
    budget = replace(tiers.of_name(device, known), ram=None if ram is None else ram * GIB)
    return Place(device=device, budget=budget, laws=known, measured=False)


def subjects(cards: Mapping[str, ModelCard]) -> dict[str, Subject]:
    """Return every model whose family has facts: the catalog's, then those known for planning only."""
    found = {card.id: facts.subject(card) for card in cards.values()}
    known = {name: each for name, each in found.items() if each is not None}
    return known | {
        family.name: facts.planned(family.name) for family in families().values() if family.listed
    }


def subject(name: str, cards: Mapping[str, ModelCard]) -> Subject:
    """Return the model called ``name``.

    Raises
    ------
    NotFound
        ``model.unknown``; ``model.no-facts``: a family that nothing is known of.
    """
    try:
        card = catalog.find(name, cards)
    except NotFound:
        every = subjects(cards)
        if name.lower() in every:
            return every[name.lower()]
        raise NotFound(
            f"there is no model {name!r}", code="model.unknown", hint=nearest_name(name, every), model=name
        ) from None
    found = facts.subject(card)
    if found is None:
        raise NotFound(
            f"nothing is known of what models of the family {card.family!r} take",
            code="model.no-facts",
            hint=f"known: {', '.join(families())}",
            model=name,
        )
    return found


def size(text: str | None) -> tuple[int, int] | None:
    """Return width and height of ``1024`` or ``1280x832``; None for None.

    Raises
    ------
    InputError
        ``option.value``.
    """
    if text is None:
        return None
    sides = text.lower().replace("×", "x").split("x")
    if not (
        1 <= len(sides) <= 2 and all(side.strip().isdigit() and 64 <= int(side) <= 16384 for side in sides)
    ):
        raise InputError(
            f"{text!r} is no size",
            code="option.value",
            hint="a side or width x height in pixels: 1024, 1280x832",
        )
    return int(sides[0]), int(sides[-1])


def ask(
    wanted: Subject,
    where: Place,
    *,
    px: tuple[int, int] | None = None,
    steps: int | None = None,
    count: int = 1,
    installed: bool = False,
    cards: Mapping[str, ModelCard] | None = None,
) -> Verdict:
    """Return the verdict; ``installed`` models need no disk.

    If it is no, and ``cards`` are given, the changes name another model of the family that fits.
    """
    budget = replace(where.budget, disk=None) if installed else where.budget
    found = _checked(wanted, where, budget, px, steps, count)
    if found.fits:
        return found
    others = [facts.subject(card) for card in (cards or {}).values() if card.family == wanted.family.name]
    smaller = [other for other in others if other is not None and other.download < wanted.download]
    for other in sorted(smaller, key=lambda each: -each.download):
        instead = _checked(other, where, where.budget, px, steps, count)
        if instead.fits:
            said = f"{other.id}, {other.title}: {instead.says}"
            return replace(found, changes=(said, *found.changes))
    return found


def _checked(
    wanted: Subject,
    where: Place,
    budget: Budget,
    px: tuple[int, int] | None,
    steps: int | None,
    count: int,
) -> Verdict:
    return verdict.check(
        wanted,
        where.device,
        width=None if px is None else px[0],
        height=None if px is None else px[1],
        count=count,
        steps=steps,
        budget=budget,
        constants=where.laws,
    )
