"""``reknit bench``: hold the planner's predictions against measurements, others' and this machine's."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from reknit.cli.output import print_json

if TYPE_CHECKING:
    from reknit.planner.fit import Blind
    from reknit.planner.laws import Laws
    from reknit.planner.published import Row


@click.group(name="bench")
def command() -> None:
    """Hold predictions of memory and time against measurements.

    \b
    reknit bench planner     published runs, row by row
    reknit bench fit         measure this machine, and keep what it gives
    """


@command.command(name="fit")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def fit_(as_json: bool) -> int:
    """Measure this machine, and predict with that. Takes a few seconds, and learns from the fills it did too."""
    from reknit import config
    from reknit.planner import local, machine, runs
    from reknit.planner.laws import laws

    settings = config.load()
    threads = settings["threads"].value or config.usable_threads()
    store = config.model_store(settings)
    files = [path for found in store.installed() for path in found.paths.values()]
    largest = max(files, key=lambda path: path.stat().st_size, default=None)
    device = machine.here(threads=threads).device
    done = runs.read(store.models_dir / runs.NAME)
    fitted = local.learnt(local.measure(device, threads=threads, weights=largest), done, device)
    path = config.planner_file(settings)
    local.write(path, fitted)
    if as_json:
        families = {name: asdict(each) for name, each in fitted.learned.items()}
        told = {"device": fitted.device, "constants": dict(fitted.constants), "families": families}
        print_json({**told, "file": str(path)})
        return 0
    click.echo(f"{fitted.device}\n")
    for name, value in fitted.constants.items():
        constant = laws().constants[name]
        click.echo(f"  {name:<22} {value:8.3g}   instead of {constant.value:g}")
    for name, each in fitted.learned.items():
        taken = f"activations × {each.memory:.2f}, time × {each.time:.2f}"
        click.echo(f"  {name:<22} {taken}, from {each.runs} fill{'s' * (each.runs != 1)}")
    if not fitted.learned:
        click.echo("\nno fill by a diffusion model is known of here yet; each that is done teaches something")
    click.echo(f"\nkept in {path}")
    return 0


@command.command(name="planner")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def planner(as_json: bool) -> int:
    """Compare predictions with every published run. Those that set a constant and those held out are marked."""
    from reknit.planner import fit, published
    from reknit.planner.laws import laws

    known, rows = laws(), published.rows()
    blind = {each.row.id: each for each in fit.out_of_fold(known, rows)}
    summary = fit.summary(known, rows, list(blind.values()))
    if as_json:
        unused = [{"id": each.id, "title": each.title, "why": each.why} for each in published.unused()]
        print_json(
            {
                "rows": [_data(row, known, blind.get(row.id)) for row in rows],
                "unused": unused,
                "summary": summary,
            }
        )
        return 0
    for name, metrics, unit in (
        ("Video memory", published.MEMORY, "GiB"),
        ("Main memory", ("ram",), "GiB"),
        ("Time", published.TIME, "s"),
    ):
        click.secho(f"{name}\n", bold=True)
        click.echo(f"   id what     {unit:>9} predicted   error    blind  set         run")
        for row in (row for row in rows if row.metric in metrics):
            click.echo(_line(row, known, blind[row.id]))
        click.echo()
    _out_of_memory(rows, known)
    click.secho("Absolute error\n", bold=True)
    click.echo("  what    rows          count  median     p90     max")
    for kind, uses in summary.items():
        for use, off in uses.items():
            errors = "".join(f"{off[each]:8.1%}" for each in ("median", "p90", "max"))
            click.echo(f"  {kind:<7} {use:<11} {off['rows']:>7}{errors}")
    click.echo(
        "\nfitted: a constant was set on it; held out: none was; blind, or out of fold: by\n"
        "constants set without any row of its source. The form of the laws was found\n"
        "with all rows in sight."
    )
    click.echo(f"\n{len(published.unused())} published figures are not compared; --json says why")
    return 0


def _line(row: Row, known: Laws, blind: Blind) -> str:
    from reknit.planner.published import predicted

    said = predicted(row, known)
    error = said / row.value - 1
    line = f"  {row.id:>3} {row.metric:<8} {row.value:9.3g} {said:9.3g} {error:+8.1%} "
    line += f"{blind.predicted / row.value - 1:+8.1%}  "
    return line + f"{'fitted' if row.fit else 'held out':<9} {row.grade}  {row.title[:13]}"


def _out_of_memory(rows: tuple[Row, ...], known: Laws) -> None:
    from reknit.planner.published import predicted, room

    click.secho("Ran out of memory, and must not be said to fit\n", bold=True)
    for row in (row for row in rows if row.metric == "oom"):
        need, held = predicted(row, known), room(row, known)
        says = click.style("fits, WRONG", fg="red") if need <= held else "does not fit"
        click.echo(f"  {row.id:>3} {need:6.1f} of {held:5.1f} GiB: {says:<13} {row.title[:36]}")
    click.echo()


def _data(row: Row, known: Laws, blind: Blind | None) -> dict[str, Any]:
    from reknit.planner.published import predicted

    return {
        "id": row.id,
        "title": row.title,
        "device": None if row.device is None else row.device.name,
        "metric": row.metric,
        "measured": row.value,
        "predicted": round(predicted(row, known), 4),
        "predicted_out_of_fold": None if blind is None else round(blind.predicted, 4),
        "grade": row.grade,
        "fit": row.fit,
        "source": row.source,
    }
