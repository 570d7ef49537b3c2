"""The ways in which an engine can do its work, the best first: what `pipeline.recover` steps down through.

Asks the planner with what is free now, and says in options of the engine what each way means. Loads nothing. What the
user asked for is the first way; what was left open is chosen so that it fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from reknit.core.errors import Unavailable
from reknit.core.options import check_all
from reknit.core.system import free_ram
from reknit.engines import registry
from reknit.engines.base import Configurable, Engine, Models, Needs, Placeable
from reknit.engines.kept import KEPT, free_of
from reknit.pipeline.recover import Way

_TRIED_ABOVE = 1.25  # a prediction this far beyond what is free is refused before anything is loaded
_ANOTHER = 0.5  # of what the family's smallest form takes: what is stored in less is another network
_LEAST_SIDE = 128
_PLAIN = "auto"


def ways_of(
    engine: Engine, params: Mapping[str, Any], *, threads: int, side: int | None = None
) -> tuple[Way, ...]:
    """Return the ways to run a configured ``engine`` with checked ``params``; at least one.

    Parameters
    ----------
    engine
    params
    threads
        CPU threads that will be used.
    side
        Of the square whose area is worked on, in pixels; by default what the engine says.

    Raises
    ------
    Unavailable
        ``memory.short``: nothing comes near to fitting.
    """
    if isinstance(engine, Placeable):
        needs = engine.needs()
        return _laid_out(needs if side is None else replace(needs, side=side), params, threads)
    if {"device", "side"} <= {option.name for option in engine.spec.options}:
        return _smaller(engine, params)
    return (Way(),)


def _smaller(engine: Engine, params: Mapping[str, Any]) -> tuple[Way, ...]:
    """Return what a network without tiers can do: run on the processor, and at a smaller size if it takes any."""
    ways = [Way()]
    if params["device"] != "cpu":
        ways.append(Way(params={"device": "cpu"}, says=("the processor",)))
    rule, side = engine.spec.size_rule, engine.spec.good_px
    last = dict(ways[-1].params)
    while side is not None and not rule.fixed and side // 2 >= max(_LEAST_SIDE, rule.multiple):
        side //= 2
        says = (*ways[-1].says[:1], f"crops of {side} px") if last else (f"crops of {side} px",)
        ways.append(Way(params={**last, "side": side}, says=says))
    return tuple(ways)


def _laid_out(needs: Needs, params: Mapping[str, Any], threads: int) -> tuple[Way, ...]:
    """Return the planner's tiers as ways, from the first that fits; or from what the user asked for."""
    ways = _tiers(needs, params, threads) or _unmeasured(needs)
    asked = [name for name in ("offload", "vae_tiling", "quantise") if params[name] != _PLAIN]
    if asked:
        kept = {name: params[name] for name in asked}
        later = (replace(way, params={**way.params, **_at_least(way.params, kept)}) for way in ways)
        return (Way(), *(way for way in later if way.says))
    room = _room(needs.device)
    if room is None or not ways[0].need:
        return tuple(ways)
    fitting = [way for way in ways if way.need <= room]
    if not fitting:
        least = min(ways, key=lambda way: way.need)
        if least.need > _TRIED_ABOVE * room:
            raise _too_much(least, room)
        return tuple(ways[ways.index(least) :])
    return tuple(ways[ways.index(fitting[0]) :])


def _at_least(tier: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was asked for where the tier asks for nothing more thrifty."""
    plain = {"offload": "none", "vae_tiling": "off"}
    return {name: value for name, value in asked.items() if tier.get(name) in (None, plain.get(name))}


def _tiers(needs: Needs, params: Mapping[str, Any], threads: int) -> list[Way]:
    """Return the tiers of a family that the planner knows; nothing for others."""
    from reknit.planner import tiers
    from reknit.planner.facts import Subject, families, format_of, weight_bytes
    from reknit.planner.laws import laws

    family = families().get(needs.family)
    if family is None or not family.latent:
        return []
    weights = format_of(needs.file)
    if 0 < needs.bytes < _ANOTHER * sum(weight_bytes(family, weights, "q4_k").values()):
        return []  # a smaller network than the family's
    subject = Subject(id=needs.file, title=family.title, family=family, weights=weights)
    device = _device(needs.device, threads)
    every = tiers.options(
        subject,
        device,
        laws(),
        width=needs.side,
        height=needs.side,
        steps=params.get("steps"),
        dtype="fp32" if needs.dtype == "float32" else "half",
    )
    ram = free_ram()[0]
    found: list[Way] = []
    for option in every:
        setup = option.tier.setup
        if needs.device != "cpu" and option.memory.ram > ram:
            continue
        chosen: dict[str, Any] = {
            "offload": setup.offload,
            "vae_tiling": "on" if setup.tiled else "off",
        }
        if option.tier.quantise in ("fp8", "nf4"):
            chosen["quantise"] = option.tier.quantise
        if setup.width != needs.side:
            chosen["side"] = setup.width
        found.append(
            Way(
                params=chosen,
                says=option.tier.says,
                need=option.memory.total,
                seconds=option.times.image,
                basis=(device, setup),
            )
        )
    return found


def _unmeasured(needs: Needs) -> list[Way]:
    """Return tiers for a family that the planner has no facts of; in order, without numbers."""
    steps: list[tuple[str, dict[str, Any]]] = [("the decoder in tiles", {"vae_tiling": "on"})]
    if needs.device not in ("cpu", "mps"):
        steps.append(("one part at a time on the card", {"offload": "model"}))
        steps.append(("layers streamed from main memory", {"offload": "group"}))
        steps.append(("layers fetched one by one from main memory", {"offload": "sequential"}))
    steps.append((f"worked at {needs.side // 2} px", {"side": needs.side // 2}))
    ways, params = [Way()], dict[str, Any]()
    for says, more in steps:
        params = {**params, **more}
        ways.append(Way(params=dict(params), says=(says,)))
    return ways


def _device(name: str, threads: int) -> Any:
    """Return the planner's device for PyTorch's name of one."""
    from reknit.planner import hardware, machine

    _, total = free_ram()
    if name == "cpu":
        return machine.processor(threads, total)
    found = machine.here(threads=threads).device
    if found.kind != "cpu":
        return found
    return hardware.of_memory((free_of(name) or 8 << 30) / 2**30)


def _room(device: str) -> float | None:
    """Return the bytes that a run may take: what is free now, and what loaded models would give back."""
    free = free_of(device)
    return None if free is None else free + KEPT.held(device)


def _too_much(least: Way, room: float) -> Unavailable:
    gib = 2**30
    return Unavailable(
        f"this needs {least.need / gib:.1f} GiB of the device even with {' and '.join(least.says)}; "
        f"{room / gib:.1f} GiB are free",
        code="memory.short",
        hint="a smaller model: `reknit check --all` shows which fit; or close programs that use the device",
        need_bytes=round(least.need),
        free_bytes=round(room),
    )


def said(ways: Sequence[Way]) -> tuple[str, ...]:
    """Return why the first way was taken, for the plan."""
    return (f"with {' and '.join(ways[0].says)}, so that it fits",) if ways[0].says else ()


def laid_out(
    name: str, params: Mapping[str, Any], way: Way, models: Models | None
) -> tuple[Engine, Mapping[str, Any]]:
    """Return an engine as a way lays it out, and the parameters its sessions are run with.

    Parameters
    ----------
    name
        The engine's.
    params
        Checked values for all of its options.
    way
        What is changed of them. How the engine lies in memory is no part of what was asked for, so of that only a
        smaller size goes into the parameters.
    models
        Where engines find the models they run.
    """
    engine = registry.get(name)
    changed = check_all(engine.spec.options, {**params, **way.params}, owner=f"engine {name}")
    if isinstance(engine, Configurable):
        engine = engine.configured(changed, models)
    return engine, {**params, "side": changed["side"]} if "side" in way.params else params
