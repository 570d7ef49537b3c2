"""``reknit workflow``: run, check and draw ComfyUI's workflows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reknit.cli.flags import PICTURE
from reknit.cli.output import ProgressBar, print_json
from reknit.core.errors import InputError

if TYPE_CHECKING:
    from reknit.core.progress import Report
    from reknit.workflow.context import Context
    from reknit.workflow.graph import Graph
    from reknit.workflow.node import Registry
    from reknit.workflow.validate import Verdict


@click.group(name="workflow")
def command() -> None:
    """Run, check and draw ComfyUI's workflows: its API JSON, its own JSON, or a PNG that carries one.

    \b
    reknit workflow run bench.json --input photo.png -o out/
    reknit workflow run bench.json --set 6.seed=7 --set 6.steps=12
    reknit workflow check bench.json
    reknit workflow draw bench.json -o bench.svg
    """


@command.command(name="run")
@click.argument("file", type=PICTURE)
@click.option("--set", "changes", multiple=True, metavar="ID.INPUT=VALUE", help="Change a node's value.")
@click.option(
    "--input", "photo", type=PICTURE, metavar="PHOTO", help="The picture that the first Load Image loads."
)
@click.option(
    "--input-dir", type=PICTURE, metavar="DIR", help="Where pictures are; by default FILE's folder."
)
@click.option(
    "-o", "--output", "output_dir", type=PICTURE, metavar="DIR", help="Where results go.  [default: .]"
)
@click.option(
    "--models-dir", multiple=True, type=PICTURE, metavar="DIR", help="A folder of ComfyUI's models."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
def run(file: str, photo: str | None, as_json: bool, **flags: Any) -> int:
    """Run the workflow in FILE and print the files it saved."""
    from reknit.workflow.run import Runner

    with ProgressBar(quiet=as_json) as bar:
        graph, registry, context = _opened(file, photo, flags, bar.reporter)
        verdict = _checked(graph, registry, context)
        if verdict.error is not None:
            raise InputError(
                "the workflow cannot run: " + "; ".join(verdict.lines()),
                code="workflow.invalid",
                hint=_where_models(verdict, context) or f"`reknit workflow check {file}` lists each fault",
                error=verdict.error,
                node_errors=verdict.node_errors,
            )
        outcome = Runner(registry).run(verdict.graph, verdict.outputs, context)
    saved = [_path(context, image) for ui in outcome.shown.values() for image in ui.get("images", [])]
    texts = [text for ui in outcome.shown.values() for text in ui.get("text", [])]
    if as_json:
        print_json({"files": saved, "text": texts, "executed": list(outcome.executed)})
        return 0
    for line in verdict.lines():
        click.secho(f"note: {line}", fg="yellow", err=True)
    for line in (*saved, *texts):
        click.echo(line)
    return 0


@command.command(name="check")
@click.argument("file", type=PICTURE)
@click.option(
    "--input-dir", type=PICTURE, metavar="DIR", help="Where pictures are; by default FILE's folder."
)
@click.option(
    "--models-dir", multiple=True, type=PICTURE, metavar="DIR", help="A folder of ComfyUI's models."
)
@click.option("--json", "as_json", is_flag=True, help="Print the faults as ComfyUI's server does.")
def check(file: str, as_json: bool, **flags: Any) -> int:
    """Say all that is wrong with the workflow in FILE. Status 2 if nothing of it can run."""
    graph, registry, context = _opened(file, None, {"changes": (), "output_dir": None, **flags}, None)
    verdict = _checked(graph, registry, context)
    if as_json:
        print_json({"error": verdict.error, "node_errors": verdict.node_errors})
    else:
        for line in verdict.lines():
            click.echo(line)
        hint = _where_models(verdict, context)
        if hint:
            click.echo(f"hint: {hint}", err=True)
        if not verdict.node_errors and verdict.error is None:
            click.echo(f"{len(graph.nodes)} nodes, {len(verdict.outputs)} outputs: right")
    return 2 if verdict.error is not None else 1 if verdict.node_errors else 0


@command.command(name="draw")
@click.argument("file", type=PICTURE)
@click.option("-o", "--output", type=PICTURE, metavar="OUT", help="Where to write; by default beside FILE.")
def draw(file: str, output: str | None) -> int:
    """Draw the workflow in FILE as SVG; - for standard output."""
    from reknit.core import files
    from reknit.workflow.draw import svg
    from reknit.workflow.graph import read
    from reknit.workflow.node import Registry

    registry = Registry()
    picture = svg(read(Path(file), registry), registry)
    if output == "-":
        click.echo(picture, nl=False)
        return 0
    target = Path(output) if output else Path(file).with_suffix(".svg")
    files.write_bytes(target, picture.encode())
    click.echo(str(target))
    return 0


def _opened(
    file: str, photo: str | None, flags: dict[str, Any], report: Report | None
) -> tuple[Graph, Registry, Context]:
    """Return the workflow with its changes, the nodes there are, and where they find things."""
    import tempfile

    from reknit import config
    from reknit.core.progress import Reporter
    from reknit.workflow.context import Context
    from reknit.workflow.graph import read
    from reknit.workflow.node import Registry

    registry = Registry()
    graph = read(Path(file), registry)
    given: dict[str, Path] = {}
    if photo is not None:
        given[Path(photo).name] = Path(photo)
        graph = graph.with_values({(_first_loader(graph), "image"): Path(photo).name})
    graph = graph.with_values(_changes(flags["changes"]))
    settings = config.load({})
    store = config.model_store(settings, plugins=True)
    context = Context(
        input_dir=Path(flags["input_dir"] or Path(file).parent),
        given=given,
        output_dir=Path(flags["output_dir"] or "."),
        temp_dir=Path(tempfile.gettempdir()) / "reknit-workflow",
        model_dirs=(*map(Path, flags["models_dir"]), *store.folders()),
        models=lambda: store,
        threads=settings["threads"].value or config.usable_threads(),
        report=report or Reporter(),
        prompt=graph.to_dict(),
    )
    return graph, registry, context


def _checked(graph: Graph, registry: Registry, context: Context) -> Verdict:
    from reknit.workflow import validate

    return validate.check(graph, registry, context)


def _where_models(verdict: Verdict, context: Context) -> str:
    """Return where models are looked for, if one that a graph names is not there; else nothing."""
    absent = [
        fault["extra_info"]["input_name"]
        for entry in verdict.node_errors.values()
        for fault in entry["errors"]
        if fault["type"] == "value_not_in_list" and fault["extra_info"]["received_value"] is not None
    ]
    if not any(name.endswith("_name") and name != "sampler_name" for name in absent):
        return ""
    folders = ", ".join(map(str, context.model_dirs))
    below = f"files in ComfyUI's folders, such as checkpoints, below {folders}, and " if folders else ""
    return f"models are {below}what `reknit models list` shows as installed; --models-dir adds a folder"


def _first_loader(graph: Graph) -> str:
    for node in graph.nodes.values():
        if node.kind == "LoadImage":
            return node.id
    raise InputError(
        "--input: the workflow has no Load Image node", code="workflow.node", hint="--set ID.image=NAME"
    )


def _changes(given: tuple[str, ...]) -> dict[tuple[str, str], Any]:
    changes: dict[tuple[str, str], Any] = {}
    for one in given:
        place, equals, value = one.partition("=")
        node, dot, name = place.partition(".")
        if not equals or not dot:
            raise InputError(
                f"--set {one}: this is not ID.INPUT=VALUE", code="option.value", hint="e.g. --set 6.seed=7"
            )
        changes[node, name] = _literal(value)
    return changes


def _literal(value: str) -> Any:
    """Return a number or a switch for what looks like one, else the text."""
    try:
        read: Any = json.loads(value)
    except ValueError:
        return value
    return read if isinstance(read, (int, float, bool)) else value


def _path(context: Context, image: dict[str, str]) -> str:
    return str(context.folder(image["type"]) / image["subfolder"] / image["filename"])
