"""The habits of the house, as tests: layers, start-up budgets, no work at import, README snippets."""

import os
import re
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import click
import numpy as np
import pytest
from PIL import Image

from reknit.cli.main import group
from reknit.engines import registry
from tests.patience import quick

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "reknit"
TRIES = 8
"""A machine's noise comes in phases that outlast one measurement."""


def cpu_ms(command: list[str], cwd: Path, runs: int = 5) -> float:
    """Return the least CPU time of a few runs: noise only ever adds, and the first may have to compile."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    best = float("inf")
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, cwd=cwd, capture_output=True, env=env)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best * 1000


def machine_factor() -> float:
    """Return how much slower this machine is now than the one the budgets were set on.

    Importing NumPy, the floor of every fill, took 125 ms there.
    """
    return max(1.0, cpu_ms([sys.executable, "-c", "import numpy"], ROOT) / 125)


def reknit(*args: str) -> list[str]:
    return [sys.executable, "-c", "from reknit.cli.main import main; main()", *args]


def test_layers() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_help_starts_within_its_budget(tmp_path: Path) -> None:
    quick(100, lambda: cpu_ms(reknit("--help"), tmp_path) / machine_factor(), TRIES)


def test_a_small_fill_stays_within_its_budget(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    smooth = np.kron(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8), np.ones((32, 32, 1), np.uint8))
    mask = np.zeros((256, 256), np.uint8)
    mask[100:150, 90:160] = 255
    Image.fromarray(smooth).save(tmp_path / "photo.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    command = reknit("fill", "photo.png", "mask.png", "-o", "out.png", "--engine", "exemplar")
    quick(300, lambda: cpu_ms(command, tmp_path) / machine_factor(), TRIES)


def test_importing_reknit_imports_nothing_heavy() -> None:
    code = "import sys, reknit; print(sorted({'numpy', 'pyvips', 'cv2', 'click', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_api_does_not_import_engines_libraries() -> None:
    code = "import sys, reknit.api; print(sorted({'cv2', 'PIL', 'skimage', 'pyvips'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_modules_are_short_and_say_what_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 500
    assert text.startswith('"""')


def snippets(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    """Return a folder with the files that the README's snippets name."""
    rng = np.random.default_rng(5)
    photo = np.kron(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8), np.ones((20, 20, 1), np.uint8))
    mask = np.zeros((120, 160), np.uint8)
    mask[40:80, 50:100] = 255
    Image.fromarray(photo).save(tmp_path / "photo.jpg", quality=90)
    Image.fromarray(photo).save(tmp_path / "scan.tif")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path


@pytest.mark.parametrize("snippet", snippets("python"))
def test_readme_python_runs(snippet: str, photo_folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", snippet], cwd=photo_folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


README_COMMANDS = [
    line.split("  #")[0]
    for block in snippets("console")
    for line in block.splitlines()
    if line.startswith("reknit ")
]


@pytest.mark.parametrize("line", README_COMMANDS)
def test_readme_commands_run(line: str, photo_folder: Path) -> None:
    done = subprocess.run(
        reknit(*shlex.split(line)[1:]),
        cwd=photo_folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert done.returncode == 0, done.stderr


def flags(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            yield from flags(cast("click.Command", command.get_command(context, name)), context)


def test_commands_flags_and_options_that_are_named_are_there() -> None:
    """Errors say which command helps, so there has to be one."""
    context = click.Context(group)
    known = {*flags(group, context), "--help"}
    options = {option.name for engine in registry.every().values() for option in engine.spec.options}
    places = [*SOURCE.rglob("*.py"), *SOURCE.rglob("*.js"), *ROOT.glob("docs/*.md"), *ROOT.glob("*.md")]
    wrong: list[str] = []
    for path in places:
        text = path.read_text(encoding="utf-8")
        for name, inner in re.findall(r"(?<!from )\breknit ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", text):
            command = group.get_command(context, name)
            if command is None or (
                inner and isinstance(command, click.Group) and inner not in command.commands
            ):
                wrong.append(f"{path.name}: reknit {name} {inner}")
        if path.suffix == ".py":
            hints = re.findall(r"hint=\(?\s*f?(\"[^\n]*|'[^\n]*)", text)
            named = {flag for hint in hints for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", hint)}
            wrong += [f"{path.name}: {flag}" for flag in named - known - _OF_OTHERS]
            named = {option for hint in hints for option in re.findall(r"-p ([a-z_]+)=", hint)}
            wrong += [f"{path.name}: -p {option}" for option in named - options]
    assert wrong == []


_OF_OTHERS = {"--no-deps", "--head"}
"""Flags of pip and ray, which hints name too."""
