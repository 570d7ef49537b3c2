"""Where a command writes, settled and checked before any work is done.

The input is never written over unless ``--in-place`` says so; a name that could not be written later (no such
folder, no permission, an unknown format) is refused now. It writes nothing itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reknit.core import codec
from reknit.core.errors import ExternalError, InputError, NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where pictures go.

    Attributes
    ----------
    paths : tuple of Path
        One file for each variation; empty for standard output.
    keep_container : bool
        Write the input's own container whatever the name says (``--in-place``).
    """

    paths: tuple[Path, ...]
    keep_container: bool = False


def destination(
    inputs: Sequence[str | None], output: str | None, *, in_place: bool, suffix: str, count: int = 1
) -> Destination:
    """Return where to write: ``-o``, the input (``--in-place``), or the input's name with ``-suffix``.

    Parameters
    ----------
    inputs
        The files that are read, the photo first; ``-`` is standard input, None was not given.
    output
        What ``-o`` says; ``-`` is standard output.
    in_place
        Replace the photo.
    suffix
        Added to the photo's name when neither is given.
    count
        Number of variations; several get ``-1``, ``-2``, … before their suffix.

    Raises
    ------
    InputError
        ``output.in-place``, ``output.input``, ``output.count``, ``output.terminal``, ``image.container``,
        ``file.directory``; the photo is not touched.
    NotFound
        ``file.missing``: the folder does not exist.
    ExternalError
        ``file.unwritable``
    """
    for name in inputs:
        if name is not None and name.startswith(("http://", "https://")):
            raise NotFound(
                f"{name} is no file",
                code="file.missing",
                hint="download it first: Reknit fetches no pictures",
            )
    image = inputs[0] or "-"
    if in_place:
        if output is not None or image == "-" or count > 1:
            raise InputError(
                "--in-place replaces the input file, so it goes with neither -o, standard input nor --count",
                code="output.in-place",
                hint="leave one of them out",
            )
        check_file(Path(image))
        return Destination(paths=(Path(image),), keep_container=True)
    if output is None:
        if image != "-" and not Path(image).parent.is_dir():
            raise NotFound(f"{image} does not exist", code="file.missing", hint="check the path", path=image)
        output = "-" if image == "-" else str(_beside(Path(image), suffix))
    if output == "-":
        return _standard_output(count)
    if output.endswith(("/", os.sep)):
        raise InputError(
            f"{output} is a folder", code="file.directory", hint="name a file in it", path=output
        )
    paths = _numbered(Path(output), count)
    for path in paths:
        check_file(path, inputs)
    return Destination(paths=paths)


def check_file(path: Path, inputs: Sequence[str | None] = ()) -> None:
    """Raise unless a picture can be written to ``path`` without touching one of ``inputs``."""
    facts = {"path": str(path)}
    if path.is_dir():
        raise InputError(f"{path} is a folder", code="file.directory", hint="name a file in it", **facts)
    for name in inputs:
        if name is not None and same_file(str(path), name):
            raise InputError(
                f"{path} would overwrite {name}",
                code="output.input",
                hint="give another name, or --in-place to replace the photo",
                **facts,
            )
    if path.suffix and path.suffix.lower() not in _written_suffixes():
        raise InputError(
            f"a picture cannot be written as {path.suffix}",
            code="image.container",
            hint=f"name it one of {', '.join(_written_suffixes())}",
            **facts,
        )
    target = Path(os.path.realpath(path))
    folder = target.parent
    if not folder.is_dir():
        raise NotFound(
            f"the folder {folder} does not exist", code="file.missing", hint=f"mkdir -p {folder}", **facts
        )
    replaced = target.is_file() or not target.exists()  # pipes and devices are only written to
    if not os.access(target if target.exists() else folder, os.W_OK) or (
        replaced and not os.access(folder, os.W_OK | os.X_OK)
    ):
        raise ExternalError(
            f"no permission to write {path}",
            code="file.unwritable",
            hint="check the permissions of the file and its folder, or write elsewhere with -o",
            **facts,
        )


def same_file(one: str, other: str) -> bool:
    """Return whether two arguments name one file; it need not exist."""
    if "-" in (one, other):
        return False
    if Path(one).exists() and Path(other).exists():
        return Path(one).samefile(other)
    return os.path.realpath(one) == os.path.realpath(other)


def _standard_output(count: int) -> Destination:
    if count > 1:
        raise InputError(
            "standard output can carry only one picture",
            code="output.count",
            hint="give -o FILE, or --count 1",
        )
    if sys.stdout.isatty():
        raise InputError(
            "a picture is not written to a terminal",
            code="output.terminal",
            hint="give -o FILE, or send standard output to a file or a program",
        )
    return Destination(paths=())


def _written_suffixes() -> list[str]:
    return [suffix for suffix, container in codec.SUFFIXES.items() if container in codec.WRITABLE]


def _beside(image: Path, suffix: str) -> Path:
    """Return the default name; photos whose format cannot be written become PNG."""
    kept = not image.suffix or image.suffix.lower() in _written_suffixes()
    return image.with_name(f"{image.stem}-{suffix}{image.suffix if kept else '.png'}")


def _numbered(path: Path, count: int) -> tuple[Path, ...]:
    if count == 1:
        return (path,)
    return tuple(path.with_name(f"{path.stem}-{i + 1}{path.suffix}") for i in range(count))
