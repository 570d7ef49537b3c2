"""Will this model run on that device, and how? One value that answers, for every door.

`check` compares the tiers of `planner.tiers` with a budget and takes the first that fits. It measures nothing itself:
who asks gives the device and what is free. A pure function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from reknit.planner.facts import GIB, Subject
from reknit.planner.hardware import Device
from reknit.planner.laws import Laws, laws
from reknit.planner.tiers import Budget, Option, fits, of_name, options, together

ANSWERS = ("yes", "yes-with", "no")
_MUCH_RAM = 12 * GIB
_HARDLY_MORE = 1.03
_TOO_LONG_S = 1800.0
_WORTH = 0.85  # an option is worth naming when it takes at most this share of the plan's time


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether and how a model runs on a device.

    Attributes
    ----------
    model, title : str
    device : Device
    width, height : int
        What was asked for.
    answer : {'yes', 'yes-with', 'no'}
    sure : {'sure', 'likely', 'close'}
        Sure: also at the pessimistic end of the interval. Likely: as predicted, with room. Close: within 5 %.
    plan : Option
        What Reknit would do; for ``no`` the option that takes least.
    budget : Budget
    peak_gib, image_s : (float, float)
        Between what and what device memory and seconds a picture are expected, from published runs that were
        predicted by constants set without their source.
    download_bytes : int
    estimated : bool
        Whether the download's size is an estimate.
    runs : bool
        Whether Reknit has an engine for it.
    count, at_once : int
        Variations asked for, and how many of them are painted together under the plan.
    others : tuple of Option
        Other options that fit.
    faster : tuple of str
        What would be faster.
    changes : tuple of str
        For ``no``: the cheapest changes that would make it fit.
    notes : tuple of str
    """

    model: str
    title: str
    device: Device
    width: int
    height: int
    answer: str
    sure: str
    plan: Option
    budget: Budget
    peak_gib: tuple[float, float]
    image_s: tuple[float, float]
    download_bytes: int
    estimated: bool
    runs: bool = True
    count: int = 1
    at_once: int = 1
    others: tuple[Option, ...] = ()
    faster: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def fits(self) -> bool:
        """Whether it runs at all."""
        return self.answer != "no"

    @property
    def seconds(self) -> float:
        """Of all variations, the model being loaded."""
        whole, rest = divmod(self.count, self.at_once)
        batch = self.plan.times.image
        return whole * batch + (batch * rest / self.at_once if rest else 0.0)

    @property
    def latent(self) -> bool:
        """Whether the model paints in steps."""
        return self.plan.tier.setup.family.latent

    @property
    def says(self) -> str:
        """The answer in one line: ``yes``, ``yes, with …`` or ``no``."""
        if self.answer == "no":
            return "no"
        return "yes" if self.answer == "yes" else "yes, with " + " and ".join(self.plan.tier.says)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; memory in GiB, times in seconds."""
        memory, times = self.plan.memory, self.plan.times
        return {
            "model": self.model,
            "title": self.title,
            "device": self.device.name,
            "size": [self.width, self.height],
            "answer": self.answer,
            "says": self.says,
            "sure": self.sure,
            "runs_in_reknit": self.runs,
            "peak_vram_gib": round(memory.total / GIB, 2),
            "peak_vram_interval_gib": [round(end, 2) for end in self.peak_gib],
            "peak_vram_parts_gib": {name: round(size / GIB, 3) for name, size in memory.parts().items()},
            "peak_stage": memory.stage,
            "budget_vram_gib": round(self.budget.device / GIB, 2),
            "ram_gib": round(memory.ram / GIB, 2),
            "budget_ram_gib": None if self.budget.ram is None else round(self.budget.ram / GIB, 2),
            "download_gb": round(self.download_bytes / 1e9, 2),
            "download_estimated": self.estimated,
            "free_disk_gb": None if self.budget.disk is None else round(self.budget.disk / 1e9, 1),
            "count": self.count,
            "at_once": self.at_once,
            "seconds_count": round(self.seconds, 2),
            "seconds_image": round(times.image / self.at_once, 2),
            "seconds_image_interval": [round(end, 2) for end in self.image_s],
            "seconds_step": round(times.step, 4),
            "seconds_load": round(times.load, 1),
            "plan": _plan(self.plan),
            "others": [_plan(each) for each in self.others],
            "faster": list(self.faster),
            "changes": list(self.changes),
            "notes": list(self.notes),
        }


def _plan(option: Option) -> dict[str, Any]:
    setup = option.tier.setup
    return {
        "tier": option.tier.name,
        "says": list(option.tier.says),
        "size": [setup.width, setup.height],
        "dtype": setup.dtype,
        "offload": setup.offload,
        "vae_tiling": setup.tiled,
        "quantise": option.tier.quantise,
        "peak_vram_gib": round(option.memory.total / GIB, 2),
        "ram_gib": round(option.memory.ram / GIB, 2),
        "seconds_image": round(option.times.image, 2),
    }


def check(
    subject: Subject,
    device: Device,
    *,
    width: int | None = None,
    height: int | None = None,
    count: int = 1,
    steps: int | None = None,
    budget: Budget | None = None,
    constants: Laws | None = None,
) -> Verdict:
    """Return whether and how ``subject`` runs on ``device``.

    Parameters
    ----------
    subject
        As `facts.subject` makes it of a catalog's model.
    device
        As `hardware.find` or `machine.here` gives it.
    width, height
        Of the picture the model works on; by default what it was trained for.
    count, steps
        Variations, as many of them at once as fit; and steps, by default what people use.
    budget
        What is free; by default what a device of this kind lets a program have.
    constants
        By default those that come with Reknit.
    """
    known = constants or laws()
    side = subject.family.native_px
    width, height = width or side, height or width or side
    given = budget or of_name(device, known)
    every = options(subject, device, known, width=width, height=height, steps=steps)
    fitting = [option for option in every if fits(option, device, given)]
    room = _has_disk(subject, given)
    plan = fitting[0] if fitting else _thriftiest(every)
    answer = "no" if not fitting or not room else "yes" if plan is every[0] else "yes-with"
    faster = _faster(plan, fitting, every, given)
    at_once = 1
    if fitting and count > 1 and subject.family.latent and device.kind != "cpu":
        at_once, plan = together(plan, device, given, known, count=count, steps=steps)
    return Verdict(
        model=subject.id,
        title=subject.title,
        device=device,
        width=width,
        height=height,
        answer=answer,
        sure=_sure(plan, given, known),
        plan=plan,
        budget=given,
        peak_gib=(plan.memory.total * known.memory[0] / GIB, plan.memory.total * known.memory[1] / GIB),
        image_s=(plan.times.image / at_once * known.time[0], plan.times.image / at_once * known.time[1]),
        download_bytes=subject.download,
        estimated=subject.estimated,
        runs=subject.runs,
        count=count,
        at_once=at_once,
        others=tuple(option for option in fitting if option is not plan),
        faster=faster,
        changes=() if answer != "no" else _changes(every, subject, device, given, room=room),
        notes=_notes(subject, device, plan, given, fit=bool(fitting)) + _taught(known, subject),
    )


def _has_disk(subject: Subject, budget: Budget) -> bool:
    return budget.disk is None or subject.download <= budget.disk


def _sure(plan: Option, budget: Budget, known: Laws) -> str:
    held = plan.memory.total
    if held * known.memory[1] <= budget.device or held * known.memory[0] > budget.device:
        return "sure"
    return "close" if abs(held / budget.device - 1) <= 0.05 else "likely"


def _thriftiest(every: Sequence[Option]) -> Option:
    """Return the option that takes least; of those that take hardly more, the one that gives up least."""
    least = min(option.memory.total for option in every)
    return next(option for option in every if option.memory.total <= _HARDLY_MORE * least)


def _faster(
    plan: Option, fitting: Sequence[Option], every: Sequence[Option], budget: Budget
) -> tuple[str, ...]:
    """Return what would be faster: another option here, or a card that holds everything."""
    said: list[str] = []
    same = [option for option in fitting if not option.tier.name.startswith("smaller")]
    best = min(same, key=lambda option: option.times.image, default=None)
    if best is not None and best.times.image <= _WORTH * plan.times.image:
        how = " and ".join(best.tier.says) or "everything on the card"
        said.append(f"{how}: {seconds(best.times.image)} an image")
    whole = every[0]
    if whole.memory.total > budget.device and whole.times.image <= _WORTH * plan.times.image:
        need, took = whole.memory.total / GIB, seconds(whole.times.image)
        said.append(f"a card as fast with {need:.0f} GiB free holds everything: {took} an image")
    return tuple(said)


def _changes(
    every: Sequence[Option], subject: Subject, device: Device, budget: Budget, *, room: bool
) -> tuple[str, ...]:
    said: list[str] = []
    if not room and budget.disk is not None:
        said.append(f"free {(subject.download - budget.disk) / 1e9:.1f} GB of disk for the download")
    short_of_ram = [each for each in every if each.memory.total <= budget.device]
    if not device.shared and short_of_ram and budget.ram is not None:
        least = min(short_of_ram, key=lambda option: option.memory.ram)
        if least.memory.ram > budget.ram:
            need = f"{least.memory.ram / GIB:.0f} GiB of free main memory"
            said.append(", ".join((need, *least.tier.says)))
    least = _thriftiest(every)
    if least.memory.total > budget.device:
        where = "free memory" if device.shared else "free memory on the card"
        said.append(", ".join((f"{least.memory.total / GIB:.1f} GiB of {where}", *least.tier.says)))
    return tuple(said)


def _notes(subject: Subject, device: Device, plan: Option, budget: Budget, *, fit: bool) -> tuple[str, ...]:
    said: list[str] = []
    if fit and budget.ram is None and not device.shared and plan.memory.ram > _MUCH_RAM:
        said.append(
            f"needs {plan.memory.ram / GIB:.0f} GiB of free main memory, which was not counted: --ram GIB"
        )
    if fit and plan.times.image > _TOO_LONG_S:
        said.append(
            f"it runs, but {seconds(plan.times.image)} an image is of little use; take a smaller model"
        )
    if not subject.runs:
        said.append("Reknit has no engine for it yet; this is what it would take")
    if plan.tier.setup.dtype == "fp32" and subject.family.latent and device.kind != "cpu":
        said.append(f"{device.name} has no sound 16-bit arithmetic for it: everything in fp32")
    return tuple(said)


def _taught(known: Laws, subject: Subject) -> tuple[str, ...]:
    learned = known.of(subject.family.name)
    if not learned.runs:
        return ()
    own = f"{learned.runs} fill{'s' * (learned.runs != 1)} on this machine"
    return (f"corrected by {own}: activations × {learned.memory:.2f}, time × {learned.time:.2f}",)


def seconds(value: float) -> str:
    """Return a time for people."""
    if value < 1:
        return f"{value:.2f} s"
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"
