"""``reknit jobs``: look at the queue, cancel a job, or run one again.

It works on the data folder itself, whether a server runs or not; a running server notices by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from reknit.cli.flags import Command
from reknit.cli.output import print_json, print_notes

if TYPE_CHECKING:
    from reknit.jobs.job import Job
    from reknit.jobs.store import Store

STATES = ("queued", "running", "done", "failed", "cancelled")
COLOURS = {"running": "blue", "done": "green", "failed": "red", "cancelled": "yellow"}


def _shared(function: Command) -> Command:
    """Add ``--data-dir`` and ``--json``."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    data_dir = click.option("--data-dir", metavar="DIR", help="The server's data folder.")
    return data_dir(as_json(function))


@click.group(name="jobs", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> int | None:
    """List, show, cancel and retry the jobs of `reknit serve`."""
    if context.invoked_subcommand is None:
        return context.invoke(list_)
    return None


@command.command(name="list")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="Only jobs in this state.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, metavar="N", help="How many, the newest first."
)
@_shared
def list_(states: tuple[Any, ...], limit: int, data_dir: str | None, as_json: bool) -> int:
    """List jobs, the newest first."""

    def look(store: Store) -> int:
        jobs, counts = store.list(states or None, limit=limit), store.counts()
        if as_json:
            print_json({"jobs": [job.to_dict() for job in jobs], "counts": counts})
            return 0
        for job in jobs:
            state = click.style(f"{job.state:<9}", fg=COLOURS.get(job.state))
            click.echo(f"{job.id}  {state}  {job.kind:<7} {_age(job):>9}  {_about(job)}".rstrip())
        click.echo(", ".join(f"{number} {state}" for state, number in counts.items() if number) or "no jobs")
        return 0

    return _with_store(data_dir, look)


@command.command(name="show")
@click.argument("job_id", metavar="ID")
@_shared
def show(job_id: str, data_dir: str | None, as_json: bool) -> int:
    """Show all that is known about a job."""

    def look(store: Store) -> int:
        job = store.get(job_id)
        if as_json:
            print_json(job.to_dict() | {"position": store.position(job_id)})
            return 0
        for name, value in job.to_dict().items():
            if value is not None and value != "":
                click.echo(f"{name:<17} {_plain(name, value)}")
        return 0

    return _with_store(data_dir, look)


@command.command(name="cancel")
@click.argument("job_id", metavar="ID")
@_shared
def cancel(job_id: str, data_dir: str | None, as_json: bool) -> int:
    """Cancel a job; a running one stops within a second."""
    return _with_store(data_dir, lambda store: _say(store.cancel(job_id), as_json))


@command.command(name="retry")
@click.argument("job_id", metavar="ID")
@_shared
def retry(job_id: str, data_dir: str | None, as_json: bool) -> int:
    """Queue a failed or cancelled job again."""
    return _with_store(data_dir, lambda store: _say(store.retry(job_id), as_json))


def _with_store(data_dir: str | None, work: Callable[[Store], int]) -> int:
    """Open the store and work on it; where there is none, on an empty one that leaves no file."""
    from pathlib import Path

    from reknit import config
    from reknit.jobs.store import FILE_NAME, Store

    path = config.data_folder(config.load({"data_dir": data_dir})["data_dir"].value) / FILE_NAME
    if not path.exists():
        print_notes((f"no server has kept jobs in {path.parent}",))
    store = Store(path if path.exists() else Path(":memory:"))
    try:
        return work(store)
    finally:
        store.close()


def _say(job: Job, as_json: bool) -> int:
    if as_json:
        print_json(job.to_dict())
    elif job.state == "running":
        click.echo(f"{job.id} is asked to stop")
    else:
        click.echo(f"{job.id} is {job.state}")
    return 0


def _age(job: Job) -> str:
    seconds = max(0.0, time.time() - job.created)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def _about(job: Job) -> str:
    if job.error is not None:
        return str(job.error["message"])
    if job.state == "running":
        return f"{job.fraction:4.0%} {job.stage}"
    if job.state == "done" and job.started is not None and job.finished is not None:
        return f"took {job.finished - job.started:.1f} s"
    return ""


def _plain(name: str, value: Any) -> str:
    if name in ("created", "started", "finished"):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    if isinstance(value, dict):
        import json

        return json.dumps(value, ensure_ascii=False)
    return f"{value:.0%}" if name == "fraction" else str(value)
