"""Command-line flags derived from `Option` descriptions, and the flags that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from reknit.core.errors import InputError
from reknit.core.options import Option
from reknit.core.request import FILL_OPTIONS
from reknit.engines.diffusion_options import SHORTCUTS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Command = Callable[..., Any]
PICTURE = click.Path()
"""The type of arguments that name a file: shells complete them; the codec checks them."""


def option_flags(options: Iterable[Option]) -> Callable[[Command], Command]:
    """Return a decorator that adds a flag for every option. Values arrive as text, or None when not given."""

    def decorate(function: Command) -> Command:
        for option in reversed(list(options)):
            metavar = option.unit.upper() or {"int": "N", "float": "X"}.get(option.kind, option.name.upper())
            default = "" if option.default in (None, "") else f"  [default: {option.default}]"
            choices = f" One of: {', '.join(option.choices)}." if option.choices else ""
            function = click.option(
                f"--{option.name.replace('_', '-')}",
                option.name,
                metavar=metavar,
                help=sentence(option.help) + choices + default,
                shell_complete=engine_names if option.name == "engine" else _choices(option.choices),
            )(function)
        return function

    return decorate


def sentence(text: str) -> str:
    """Return a help text with a capital at its beginning and a full stop at its end."""
    return text[:1].upper() + text[1:].rstrip(".") + "."


def fill_flags(function: Command) -> Command:
    """Add what says how holes are filled, the same for one picture and for many."""
    for flag in (
        option_flags(FILL_OPTIONS),
        option_flags(SHORTCUTS),
        params_flag,
        click.option(
            "--source",
            type=PICTURE,
            metavar="MASK",
            help="White where fills may copy from (engine exemplar).",
        ),
        click.option("--resize-mask", is_flag=True, help="Scale masks of another size to the photo's."),
        click.option("--invert", is_flag=True, help="Black = fill."),
        click.option(
            "--mask-from",
            type=click.Choice(["luma", "alpha"]),
            default="luma",
            help="White, or transparent, = fill.",
        ),
        click.option(
            "--box", "boxes", multiple=True, metavar="X,Y,W,H", help="Fill this rectangle too, in pixels."
        ),
    ):
        function = flag(function)
    return function


def output_flags(function: Command) -> Command:
    """Add ``-o``, ``--in-place``, ``--quality``, ``--threads`` and ``--json``."""
    for flag in (
        click.option("--json", "as_json", is_flag=True, help="Print plan, timings and proof as JSON."),
        click.option("--threads", metavar="N", help="CPU threads to use; the result does not depend on it."),
        click.option("--max-bytes", metavar="BYTES", help="Refuse files larger than this."),
        click.option("--max-pixels", metavar="PX", help="Refuse pictures with more pixels than this."),
        click.option(
            "--quality", metavar="1-100", help="Encode anew at this quality; by default the input's."
        ),
        click.option("--no-recipe", is_flag=True, help="Do not write into the file how it was made."),
        click.option("--in-place", is_flag=True, help="Replace the input file."),
        click.option(
            "-o", "--output", type=PICTURE, metavar="OUT", help="Where to write; - for standard output."
        ),
    ):
        function = flag(function)
    return function


def params_flag(function: Command) -> Command:
    """Add ``-p NAME=VALUE``."""
    return click.option(
        "-p",
        "--param",
        "params",
        multiple=True,
        metavar="NAME=VALUE",
        help="An option of the engine; `reknit engines NAME` lists them.",
        shell_complete=_params,
    )(function)


def _choices(words: Iterable[str]) -> Callable[..., list[str]]:
    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def engine_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of an engine."""
    from reknit.engines import registry

    return [name for name in ("auto", *registry.every()) if name.startswith(incomplete)]


def _params(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete ``NAME=VALUE`` from the options of the engine on the line, or of all engines."""
    from click.shell_completion import CompletionItem

    from reknit.engines import registry

    engines = registry.every()
    wanted = context.params.get("engine")
    specs = [engines[wanted].spec] if wanted in engines else [engine.spec for engine in engines.values()]
    words: dict[str, str] = {}
    for option in (option for spec in specs for option in spec.options):
        for value in option.choices or ("",):
            words.setdefault(f"{option.name}={value}", option.help)
    return [CompletionItem(w, help=text) for w, text in words.items() if w.startswith(incomplete)]


def given(values: Mapping[str, Any], options: Iterable[Option]) -> dict[str, Any]:
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
