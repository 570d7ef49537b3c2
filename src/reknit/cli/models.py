"""``reknit models``: what weights there are, which are here, and how they get here and leave again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reknit.cli.flags import PICTURE, Command
from reknit.cli.output import ProgressBar, print_json, print_notes
from reknit.core.errors import InputError, NotFound, ReknitError

if TYPE_CHECKING:
    from reknit.models.catalog import ModelCard
    from reknit.models.store import Installed, Store


def _shared(function: Command) -> Command:
    """Add ``--models-dir``, ``--offline`` and ``--json``."""
    for flag in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--offline", is_flag=True, default=None, help="Never open a connection."),
        click.option("--models-dir", metavar="DIR", help="Where weights are kept."),
    ):
        function = flag(function)
    return function


@click.group(name="models", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> int | None:
    """List, download, import and check the weights of learned engines.

    \b
    reknit models pull lama
    reknit models import big-lama.pt
    """
    if context.invoked_subcommand is None:
        return context.invoke(list_, installed=False, models_dir=None, offline=None, as_json=False)
    return None


@command.command(name="list")
@click.option("--installed", is_flag=True, help="Only those on this machine.")
@_shared
def list_(installed: bool, models_dir: str | None, offline: bool | None, as_json: bool) -> int:
    """List the models Reknit knows, with size and licence."""
    store = _store(models_dir, offline, plugins=True)
    here = {found.card.id: found for found in store.installed()}
    cards = [card for card in store.every_card.values() if not installed or card.id in here]
    if as_json:
        print_json({"models": [_data(card, here.get(card.id)) for card in cards]})
        return 0
    for card in cards:
        mark = click.style("*", fg="green") if card.id in here else " "
        use = {True: "", False: ", not for commercial use", None: ""}[card.commercial]
        line = f"{mark} {card.id:<20} {_whole_size(card):>9}  {card.title} ({card.licence}{use})"
        click.echo(line if card.engine != "none" else click.style(line, dim=True))
    if not cards:
        click.echo("no models on this machine")
    counted = f"{len(here)} of {len(store.every_card)}"
    click.echo(f"\n* on this machine, {counted}; ~ estimated; `reknit models pull NAME` gets one")
    return 0


@command.command(name="show")
@click.argument("what", metavar="NAME|FILE")
@_shared
def show(what: str, models_dir: str | None, offline: bool | None, as_json: bool) -> int:
    """Show all that is known of a model. Of a weight file, say what it is, from its contents."""
    from reknit.models.identify import identify
    from reknit.models.store import described

    store = _store(models_dir, offline, plugins=True)
    try:
        card = store.find(what)
    except NotFound:
        if not _looks_like_a_file(what):
            raise
        identity = identify(Path(what))
        if as_json:
            print_json(identity.to_dict())
        else:
            click.echo(described(identity))
            _print_rows(
                {"type": identity.dtype, "channels in": identity.in_channels, "size": _size(identity.bytes)}
            )
            print_notes(identity.notes)
        return 0
    found = store.look(card)
    if as_json:
        print_json(_data(card, found))
    else:
        _print_card(card, found)
    print_notes(tuple(note for note in (card.moved_note(what),) if note))
    return 0


@command.command(name="pull")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_shared
def pull(names: tuple[str, ...], models_dir: str | None, offline: bool | None, as_json: bool) -> int:
    """Download models. One that is here already, in another program's folder too, is not fetched again."""
    store = _store(models_dir, offline, plugins=True)
    done = list[Any]()
    for name in names:
        card = store.find(name)
        print_notes(tuple(note for note in (card.moved_note(name),) if note))
        with ProgressBar(quiet=as_json) as bar:
            found = store.pull(name, bar.reporter)
        done.append(_data(card, found))
        if not as_json:
            click.echo(f"{card.id}: {found.main}")
            if card.commercial is False:
                print_notes((f"{card.id} may not be used commercially ({card.licence})",))
    if as_json:
        print_json({"models": done})
    return 0


@command.command(name="import")
@click.argument("file", type=PICTURE)
@click.option("--name", metavar="NAME", help="What to call it, if it is not in the catalog.")
@click.option(
    "--contract",
    metavar="WORDS",
    help="What it takes and gives, e.g. 'mask=1=hole output=0..255'; docs/models.md.",
)
@click.option("--licence", metavar="TEXT", default="unknown", help="Its licence, to be shown with it.")
@_shared
def import_(
    file: str,
    name: str | None,
    contract: str | None,
    licence: str,
    models_dir: str | None,
    offline: bool | None,
    as_json: bool,
) -> int:
    """Copy a weight file you have into the store, as the model it is."""
    from reknit.models import catalog

    words = None if contract is None else catalog.contract(_words(contract), "--contract")
    store = _store(models_dir, offline, plugins=True)
    with ProgressBar(quiet=as_json) as bar:
        found = store.bring(Path(file), bar.reporter, name=name, contract=words, licence=licence)
    if as_json:
        print_json(_data(found.card, found))
    else:
        click.echo(f"{found.card.id}: {found.main}")
    return 0


@command.command(name="scan")
@click.argument("folders", nargs=-1, type=PICTURE, metavar="[DIR]...")
@_shared
def scan(folders: tuple[str, ...], models_dir: str | None, offline: bool | None, as_json: bool) -> int:
    """Say what the weight files in folders are. By default in those of the store and of other programs."""
    from reknit.models import layouts
    from reknit.models.identify import identify
    from reknit.models.store import described

    store = _store(models_dir, offline)
    rows = list[dict[str, Any]]()
    for folder in _scanned(folders, store):
        for path in layouts.weight_files(folder):
            row: dict[str, Any] = {"path": str(path)}
            try:
                identity = identify(path)
                card = store.known_as(path)
                row |= {"identity": identity.to_dict(), "model": card.id if card else None}
                says = described(identity) + (f" = {card.id}" if card else "")
            except ReknitError as error:
                row["error"] = error.to_dict()
                says = error.message.removeprefix(f"{path}: ").removeprefix(f"{path} ")
            rows.append(row)
            if not as_json:
                click.echo(f"{path}\n    {says}")
    if as_json:
        print_json({"files": rows})
    elif not rows:
        click.echo("no weight files found")
    return 0


@command.command(name="verify")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@_shared
def verify(names: tuple[str, ...], models_dir: str | None, offline: bool | None, as_json: bool) -> int:
    """Compare models with their published checksums. By default all that are here. Status 1 if one is wrong."""
    store = _store(models_dir, offline, plugins=True)
    results = list[dict[str, Any]]()
    for name in names or [found.card.id for found in store.installed()]:
        with ProgressBar(quiet=as_json) as bar:
            checks = store.verify(name, bar.reporter)
        for check in checks:
            results.append({"model": name, "path": str(check.path), "state": check.state, "why": check.why})
            if not as_json:
                colour = {"right": "green", "wrong": "red"}.get(check.state)
                click.echo(
                    f"{click.style(f'{check.state:<8}', fg=colour)} {name}  {check.path}  ({check.why})"
                )
    if as_json:
        print_json({"files": results})
    elif not results:
        click.echo("no models on this machine")
    return 1 if any(result["state"] == "wrong" for result in results) else 0


@command.command(name="remove")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_shared
def remove(names: tuple[str, ...], models_dir: str | None, offline: bool | None, as_json: bool) -> int:
    """Delete models from the store's own folder. Other programs' files and the hub's cache stay as they are."""
    store = _store(models_dir, offline, plugins=True)
    deleted = [str(path) for name in names for path in store.remove(name)]
    if as_json:
        print_json({"deleted": deleted})
    else:
        for path in deleted:
            click.echo(f"deleted {path}")
    return 0


def _store(models_dir: str | None, offline: bool | None, *, plugins: bool = False) -> Store:
    from reknit import config

    settings = config.load({"models_dir": models_dir, "offline": offline})
    return config.model_store(settings, plugins=plugins)


def _scanned(folders: tuple[str, ...], store: Store) -> list[Path]:
    from reknit.models import layouts

    if not folders:
        return store.folders()
    for folder in folders:
        if not Path(folder).is_dir():
            raise NotFound(
                f"{folder} is no folder", code="file.missing", hint="name a folder with weight files"
            )
    return layouts.folders([Path(folder) for folder in folders])


def _looks_like_a_file(what: str) -> bool:
    from reknit.models import layouts

    return Path(what).exists() or Path(what).suffix.lower() in layouts.SUFFIXES


def _words(text: str) -> dict[str, str]:
    words: dict[str, str] = {}
    for word in text.split():
        key, equals, value = word.partition("=")
        if not equals:
            raise InputError(
                f"--contract: {word!r} is not KEY=VALUE",
                code="option.value",
                hint="e.g. mask=1=hole output=0..1",
            )
        words[key] = value
    return words


def _data(card: ModelCard, found: Installed | None) -> dict[str, Any]:
    paths = None if found is None else {name: str(path) for name, path in found.paths.items()}
    return card.to_dict() | {"installed": found is not None, "paths": paths}


def _print_card(card: ModelCard, found: Installed | None) -> None:
    click.echo(f"{click.style(card.id, bold=True)}  {card.title}")
    _print_rows(
        {
            "engine": card.engine,
            "family": card.family,
            "licence": card.licence + (", not for commercial use" if card.commercial is False else ""),
            "size": _whole_size(card),
            "native size": f"{card.native_px} px" + (", no other" if card.fixed_size else ""),
            "contract": " ".join(f"{key}={value}" for key, value in (card.contract or {}).items()),
            "aliases": ", ".join(card.aliases),
            "notes": card.notes,
            "source": card.source,
            "here": str(found.main) if found else f"no; `reknit models pull {card.id}`",
        }
    )
    for file in card.files:
        click.echo(f"  {file.name}  {_size(file.bytes)}  {file.url or file.repo or ''}")


def _print_rows(rows: dict[str, Any]) -> None:
    for name, value in rows.items():
        if value not in (None, ""):
            click.echo(f"  {name:<12} {value}")


def _whole_size(card: ModelCard) -> str:
    """Return how much there is to fetch, with ``~`` where files state no size and components are counted instead."""
    from reknit.planner import facts

    subject = facts.subject(card) if card.bytes is None else None
    return f"~{_size(subject.download)}" if subject and subject.download else _size(card.bytes)


def _size(size: int | None) -> str:
    if size is None:
        return ""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size} B"
