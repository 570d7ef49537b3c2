"""Write docs/options.md from the descriptions that the commands, settings and engines carry.

Run ``python docs/make_options.py``; a test fails when the page is not what this makes.
"""

from __future__ import annotations

from pathlib import Path

import click

from reknit.cli.flags import sentence
from reknit.cli.main import COMMANDS, group
from reknit.config import SETTINGS
from reknit.core.options import Option
from reknit.engines import registry

PAGE = Path(__file__).with_name("options.md")
WITH_OPTIONS = (
    "workflow",
    "fill",
    "extend",
    "repair",
    "batch",
    "demo",
    "jobs",
    "engines",
    "models",
    "check",
    "bench",
    "doctor",
)

HEAD = """# Options

Every flag, setting and engine option. Made from the program's own descriptions by `docs/make_options.py`.

Unknown names are refused, with the nearest valid one. Values are checked before any work is done.
"""


def page() -> str:
    """Return the page's text."""
    parts = [HEAD]
    context = click.Context(group, info_name="reknit")
    for name in WITH_OPTIONS:
        command = group.get_command(context, name)
        assert command is not None
        parts.append(f"## reknit {name}\n\n{COMMANDS[name]}\n")
        if isinstance(command, click.Group):
            for sub in command.commands.values():
                parts.append(f"### reknit {name} {sub.name}\n\n{sub.help}\n")
                parts.append(_table(("flag", "meaning"), [_flag(p) for p in sub.params]))
        else:
            parts.append(_table(("flag", "meaning"), [_flag(p) for p in command.params]))
    parts.append(_SETTINGS_HEAD)
    rows = [(f"`{o.name}`", f"`REKNIT_{o.name.upper()}`", *_about(o)) for o in SETTINGS]
    parts.append(_table(("setting", "environment", "values", "default", "meaning"), rows))
    parts.append('## Engine options\n\n`-p NAME=VALUE`, or `params={"name": value}` in Python.\n')
    for name, engine in registry.every().items():
        if name in registry.BUILT_IN:
            parts.append(f"### {name}\n")
            rows = [(f"`{o.name}`", *_about(o)) for o in engine.spec.options]
            parts.append(_table(("option", "values", "default", "meaning"), rows))
    return "\n".join(parts)


_SETTINGS_HEAD = """## Settings

A flag wins over the environment, that over `./reknit.toml`, that over the user's own `reknit.toml`
(`reknit config show` says where it is), that over the default. The files hold lines such as `threads = 2`.
"""


def _flag(parameter: click.Parameter) -> tuple[str, str]:
    if isinstance(parameter, click.Option):
        metavar = "" if parameter.is_flag else f" {parameter.metavar or _values(parameter)}"
        return f"`{', '.join(parameter.opts)}{metavar}`", parameter.help or ""
    return (
        f"`{parameter.metavar or (parameter.name or '').upper()}`",
        "Argument; - is standard input." if _file(parameter) else "Argument.",
    )


def _file(parameter: click.Parameter) -> bool:
    return isinstance(parameter.type, click.Path) and parameter.type.file_okay


def _values(parameter: click.Option) -> str:
    if isinstance(parameter.type, click.Choice):
        return "|".join(map(str, parameter.type.choices))
    return "X"


def _about(option: Option) -> tuple[str, str, str]:
    values = ", ".join(option.choices)
    if not values and option.minimum is not None and option.maximum is not None:
        values = f"{option.minimum:,} to {option.maximum:,} {option.unit}".strip()
    default = "automatic" if option.default is None else f"{option.default}"
    return values or option.kind, default, sentence(option.help)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(c.replace("|", "\\|") for c in line) + " |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
