"""Command-line flags derived from `Option` descriptions, and the flags that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from reknit.core.errors import InputError
from reknit.core.options import Option

Command = Callable[..., Any]


def option_flags(options: Iterable[Option]) -> Callable[[Command], Command]:
    """Return a decorator that adds a flag for every option. Values arrive as text, or None when not given."""

    def decorate(function: Command) -> Command:
        for option in reversed(list(options)):
            metavar = option.unit.upper() or {"int": "N", "float": "X"}.get(option.kind, option.kind.upper())
            default = "" if option.default is None else f"  [default: {option.default}]"
            choices = f" One of: {', '.join(option.choices)}." if option.choices else ""
            function = click.option(
                f"--{option.name.replace('_', '-')}",
                option.name,
                metavar=metavar,
                help=option.help + choices + default,
            )(function)
        return function

    return decorate


def output_flags(function: Command) -> Command:
    """Add ``-o``, ``--in-place``, ``--quality``, ``--threads`` and ``--json``."""
    for flag in (
        click.option("--json", "as_json", is_flag=True, help="Print plan, timings and proof as JSON."),
        click.option("--threads", metavar="N", help="CPU threads to use; the result does not depend on it."),
        click.option("--max-pixels", metavar="PX", help="Refuse pictures with more pixels than this."),
        click.option(
            "--quality", metavar="1-100", help="Encode anew at this quality; by default the input's."
        ),
        click.option("--in-place", is_flag=True, help="Replace the input file."),
        click.option("-o", "--output", metavar="OUT", help="Where to write; - for standard output."),
    ):
        function = flag(function)
    return function


def engine_flags(function: Command) -> Command:
    """Add ``-p NAME=VALUE`` and ``--source``."""
    for flag in (
        click.option(
            "--source", metavar="MASK", help="White where the fill may copy from (exemplar engine)."
        ),
        click.option(
            "-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="An option of the engine."
        ),
    ):
        function = flag(function)
    return function


def given(values: dict[str, Any], options: Iterable[Option]) -> dict[str, Any]:
    """Return the checked values of the flags that were given."""
    return {o.name: o.check(values[o.name]) for o in options if values.get(o.name) is not None}


def parse_params(pairs: Iterable[str]) -> dict[str, str]:
    """Return ``NAME=VALUE`` texts as a mapping; raises `InputError` (``option.syntax``)."""
    params: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError(
                f"-p takes NAME=VALUE, not {pair!r}", code="option.syntax", hint="for example -p quality=best"
            )
        params[name.strip().replace("-", "_")] = value.strip()
    return params


def parse_quality(text: str | None) -> int | None:
    """Return ``--quality`` as a number from 1 to 100."""
    if text is None:
        return None
    option = Option(
        name="quality", kind="int", default=None, minimum=1, maximum=100, help="1 worst, 100 best"
    )
    return option.check(text)


def output_path(image: str, output: str | None, *, in_place: bool, suffix: str) -> str:
    """Return where to write: ``-o``, the input (``--in-place``), or the input's name with ``-suffix``.

    Raises
    ------
    InputError
        ``output.input``: the output is the input and ``--in-place`` was not given.
    """
    if in_place:
        if output is not None or image == "-":
            raise InputError(
                "--in-place replaces the input file, so it goes with neither -o nor standard input",
                code="output.in-place",
                hint="leave one of them out",
            )
        return image
    if output is None:
        if image == "-":
            return "-"
        path = Path(image)
        return str(path.with_name(f"{path.stem}-{suffix}{path.suffix}"))
    if output != "-" and image != "-" and Path(output).exists() and Path(output).samefile(image):
        raise InputError(
            "the output is the input file",
            code="output.input",
            hint="give another -o, or --in-place to replace it",
        )
    return output
