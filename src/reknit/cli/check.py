"""``reknit check``: will a model run on a card, or on this machine, before anything is downloaded."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from reknit.cli.output import print_json
from reknit.core.errors import InputError

if TYPE_CHECKING:
    from reknit.models.store import Store
    from reknit.planner.ask import Place
    from reknit.planner.verdict import Verdict

BAR = 40
_GIB = 2**30
_COLOURS = {"yes": "green", "yes-with": "yellow", "no": "red"}
_SURE = {"sure": "", "likely": " (likely)", "close": " (close)"}


@click.command(name="check")
@click.argument("model", required=False)
@click.option(
    "--gpu", metavar="NAME", help="A card, such as 'RTX 3060 12GB' or 'M2 Pro', or cpu; else this machine."
)
@click.option(
    "--size", metavar="N|WxH", help="Pixels the model works on; by default what it was trained for."
)
@click.option("--steps", type=click.IntRange(1, 1000), help="Steps of denoising; by default what people use.")
@click.option("--count", type=click.IntRange(1, 64), default=1, metavar="N", help="Variations.")
@click.option(
    "--vram", type=click.FloatRange(min=0.5), metavar="GIB", help="Cards of that much memory, in a table."
)
@click.option("--ram", type=click.FloatRange(min=0.5), metavar="GIB", help="Main memory that may be used.")
@click.option("--all", "every", is_flag=True, help="A table of every model.")
@click.option("--models-dir", metavar="DIR", help="Where weights are kept.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    model: str | None,
    gpu: str | None,
    size: str | None,
    steps: int | None,
    count: int,
    vram: float | None,
    ram: float | None,
    every: bool,
    models_dir: str | None,
    as_json: bool,
) -> int:
    """Say whether a model will run, with which settings, how much memory it takes and how long.

    \b
    reknit check flux-fill --gpu "RTX 3060 12GB" --size 1024
    reknit check sdxl --vram 8       on every card of 8 GiB
    reknit check --all               every model on this machine

    Nothing is downloaded and nothing is loaded. Without --gpu and --vram it is this machine as it is now.
    Exits with 1 if the model does not fit.
    """
    from reknit import config
    from reknit.planner import ask, hardware

    settings = config.load({"models_dir": models_dir})
    store = config.model_store(settings)
    px = ask.size(size)
    if model is None and not every and gpu is None and vram is None:
        hint = "reknit check sdxl; reknit check --all"
        raise InputError("name a model, or ask for all", code="argument.missing", hint=hint)
    if model is not None and vram is not None and gpu is None and not every:
        wanted = ask.subject(model, store.every_card)
        places = [ask.place_of(device, ram=ram) for device in hardware.with_memory(vram)]
        rows = [
            ask.ask(wanted, place, px=px, steps=steps, count=count)
            for place in places or [ask.place(vram=vram, ram=ram)]
        ]
        rows.sort(key=lambda row: (not row.fits, row.plan.times.image))
        return _table(f"{wanted.title} on cards of {vram:g} GiB", rows, by="device", as_json=as_json)
    threads = settings["threads"].value or config.usable_threads()
    fitted = config.planner_file(settings)
    where = ask.place(gpu, vram=vram, ram=ram, threads=threads, folder=store.models_dir, fitted=fitted)
    if model is None or every:
        rows = [
            ask.ask(wanted, where, px=px, steps=steps, count=count, installed=_is_here(store, name))
            for name, wanted in ask.subjects(store.every_card).items()
        ]
        return _table(_line_of(where), rows, by="model", as_json=as_json)
    wanted = ask.subject(model, store.every_card)
    found = ask.ask(
        wanted,
        where,
        px=px,
        steps=steps,
        count=count,
        installed=_is_here(store, wanted.id),
        cards=store.every_card,
    )
    if as_json:
        print_json(found.to_dict())
    else:
        _show(found, where)
    return 0 if found.fits else 1


def _is_here(store: Store, name: str) -> bool:
    return name in store.every_card and store.look(store.every_card[name]) is not None


def _line_of(where: Place) -> str:
    device, budget = where.device, where.budget
    kind = "main memory" if device.kind == "cpu" else "unified memory" if device.shared else "memory"
    now = "free now" if where.measured else "to plan with"
    line = f"{device.name}: {budget.device / _GIB:.1f} of {device.memory_gib:.1f} GiB {kind} {now}"
    if budget.ram is not None and not device.shared:
        line += f", {budget.ram / _GIB:.1f} GiB main memory"
    return line


def _show(found: Verdict, where: Place) -> None:
    """Print one verdict: the answer, the bar, what it needs, the plan, what would be faster."""
    from reknit.planner.verdict import seconds

    plan, memory = found.plan, found.plan.memory
    click.echo(f"{click.style(found.title, bold=True)}, {found.width}×{found.height} px")
    click.echo(_line_of(where))
    answer = click.style(found.says, fg=_COLOURS[found.answer], bold=True)
    click.echo(f"\n  {answer}{_SURE[found.sure] if found.fits else ''}\n")
    _bar(found)
    low, high = found.peak_gib
    at = {"text": "while the prompt is read", "denoise": "while denoising", "decode": "while decoding"}
    where_peak = (
        f" {at[memory.stage]}" if len(memory.weights) > 1 or plan.tier.setup.offload != "none" else ""
    )
    rows = [("peak", f"{memory.total / _GIB:.1f} GiB ({low:.1f} to {high:.1f}){where_peak}")]
    if not where.device.shared:
        known = "" if found.budget.ram is None else f" of {found.budget.ram / _GIB:.1f} free"
        rows.append(("main memory", f"{memory.ram / _GIB:.1f} GiB{known}"))
    disk = "" if found.budget.disk is None else f", {found.budget.disk / 1e9:.0f} GB free"
    about = "about " if found.estimated else ""
    rows.append(("download", f"{about}{found.download_bytes / 1e9:.2g} GB{disk}"))
    if found.fits:
        quick, slow = found.image_s
        steps = f", {seconds(plan.times.step)} a step" if found.latent else ""
        each = seconds(plan.times.image / found.at_once)
        rows.append(("time", f"{each} an image ({seconds(quick)} to {seconds(slow)}){steps}"))
        if found.count > 1:
            at_once = f"{found.at_once} at a time" if found.at_once > 1 else "one after another"
            rows.append(("variations", f"{found.count}, {at_once}: {seconds(found.seconds)}"))
        rows.append(("first image", f"{seconds(plan.times.load)} more, to read the weights"))
        rows.append(("plan", ", ".join(plan.tier.says) or "everything on the device"))
    rows += [("faster", line) for line in found.faster]
    rows += [("would fit", line) for line in found.changes]
    rows += [("note", line) for line in found.notes]
    last = ""
    for name, text in rows:
        start = f"  {name if name != last else '':<12} "
        click.echo(textwrap.fill(text, 80, initial_indent=start, subsequent_indent=" " * len(start)))
        last = name


def _bar(found: Verdict) -> None:
    """Print the peak by component, with where the budget ends."""
    budget = found.budget.device / _GIB
    parts = {name: size / _GIB for name, size in found.plan.memory.parts().items() if size > 0}
    if found.device.kind == "cpu":
        parts["libraries"] = parts.pop("driver")
    full = max(budget, found.plan.memory.total / _GIB)
    done = 0.0
    for name, size in sorted(parts.items(), key=lambda part: -part[1]):
        start, end = (round(BAR * at / full) for at in (done, done + size))
        done += size
        click.echo(f"  {name:<22} {' ' * start}{'█' * max(1, end - start):<{BAR - start}} {size:6.2f} GiB")
    edge = round(BAR * budget / full)
    click.echo(f"  {'free':<22} {'─' * max(0, edge - 1)}┤{' ' * (BAR - edge)} {budget:6.2f} GiB\n")


def _table(title: str, rows: Sequence[Verdict], *, by: str, as_json: bool) -> int:
    """Print verdicts as a table of at most 80 columns; returns 1 if none fits."""
    from reknit.planner.verdict import seconds

    if as_json:
        print_json({"verdicts": [row.to_dict() for row in rows]})
        return 0 if any(row.fits for row in rows) else 1
    click.echo(title + "\n")
    click.echo(f"  {'':<19} {'':>9}   GiB of GiB of")
    head = f"  {by:<19} {'px':>9} {'device':>7} {'main':>6} {'an image':>9}  answer"
    click.echo(click.style(head, bold=True))
    for row in rows:
        name = row.model if by == "model" else row.device.name
        took = seconds(row.plan.times.image / row.at_once) if row.fits else "-"
        size = f"{row.width}×{row.height}"
        peak, ram = row.plan.memory.total / _GIB, row.plan.memory.ram / _GIB
        main = "-" if row.device.shared else f"{ram:.0f}"
        start = f"  {name[:19]:<19} {size:>9} {peak:7.1f} {main:>6} {took:>9}  "
        answer = click.style(_short(row), fg=_COLOURS[row.answer])
        click.echo(click.style(start, dim=not row.runs) + answer)
    if any(not row.runs for row in rows):
        click.echo("\ndimmed: Reknit has no engine for these yet; what they would take")
    return 0 if any(row.fits for row in rows) else 1


_SHORT = {
    "tiled": "tiles",
    "model": "offload",
    "group": "streamed",
    "sequential": "by layer",
    "smaller": "smaller",
}


def _short(row: Verdict) -> str:
    """Return the answer in few words."""
    if row.answer != "yes-with":
        return row.answer
    words = [_SHORT.get(word, word) for word in row.plan.tier.name.split("-")]
    return "yes, " + ", ".join(words)
