"""The work list: which pictures, with which masks, under which names.

Pictures come from a folder (with globs) or from a manifest (CSV, JSON lines or Parquet; one row a picture). Entries
are yielded one by one, so that a list of any length takes no memory. What a row says is checked here, before any
work is done; no picture is opened.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import csv
import io
import json
import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, cast
from urllib.parse import unquote

from reknit.batch import places
from reknit.batch.item import Row
from reknit.core.containers import SUFFIXES, WRITABLE
from reknit.core.errors import InputError, NotFound, Unavailable, nearest_name
from reknit.core.request import FILL_OPTIONS
from reknit.engines.diffusion_options import SHORTCUTS

ROW_OPTIONS = {option.name: option for option in FILL_OPTIONS if option.name != "count"}
PLACES = ("image", "mask", "output", "source")
SHORT = tuple(option.name for option in SHORTCUTS)
"""Columns that are short for ``param.NAME``: as the flags of `reknit fill`."""
PARAM = "param."
"""Columns with this before an engine option's name set that option."""
COLUMNS = (*PLACES, *ROW_OPTIONS, "box", "params", *SHORT)

RECORD = "reknit-batch"
"""The folder below OUT that holds the ledger and the report, unless another is named; none holds sources."""
_MASK_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".gif", ".PNG", ".JPG", ".TIF")
_MOST_BYTES = 2**40


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkList:
    """Where pictures and masks are found, and how outputs are named.

    Attributes
    ----------
    root : str
        Folder or URI of the pictures; a manifest's relative paths begin there.
    manifest : str or None
        A ``.csv``, ``.jsonl`` or ``.parquet`` file.
    include, exclude : tuple of str
        Globs over paths below ``root``, or over file names if they hold no ``/``.
    mask : str or None
        One mask file for all, or a folder with a mask for each picture, of the same path and any suffix.
    mask_suffix : str or None
        Masks lie beside the pictures, under their name with this before the suffix: ``_mask``.
    name : str
        Template of an output's file name, from ``{stem}`` and ``{suffix}``.
    skip : tuple of str
        Absolute paths of folders to leave out.
    vet : callable or None
        Gets what each row of the manifest asks for, and raises `InputError` for what may not be.
    """

    root: str
    manifest: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    mask: str | None = None
    mask_suffix: str | None = None
    name: str = "{stem}{suffix}"
    skip: tuple[str, ...] = ()
    vet: Callable[[Entry], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A picture on the list: as in `Item`, and its file's size in bytes (0 if unknown)."""

    image: str
    mask: str | None
    output: str
    row: Row = field(default_factory=lambda: MappingProxyType({}))
    file_bytes: int = 0


def entries(work: WorkList) -> Iterator[Entry]:
    """Yield every picture of a work list.

    Raises
    ------
    NotFound
        ``file.missing``: there is no such folder or manifest.
    InputError
        ``manifest.column``, ``manifest.row``, ``manifest.format``, ``batch.name``
    """
    _check_name(work.name)
    mask = _mask_rule(work)
    if work.manifest is not None:
        yield from _listed(work, mask)
        return
    if not places.is_folder(work.root):
        if places.exists(work.root):
            raise InputError(
                f"{work.root} is a file; IN is a folder",
                code="batch.places",
                hint="`reknit fill` does one picture; --manifest FILE lists many",
            )
        raise NotFound(
            f"there is no folder {work.root}", code="file.missing", hint="check the path", path=work.root
        )
    for path, size in places.walk(work.root, skip=frozenset(work.skip)):
        if _wanted(path, work) and places.join(work.root, path) != work.mask:
            yield Entry(
                image=places.join(work.root, path),
                mask=mask(path),
                output=output_name(path, work.name),
                file_bytes=size,
            )


def output_name(path: str, template: str) -> str:
    """Return the path below OUT of the picture at ``path`` below IN; what cannot be written becomes PNG."""
    folder, name = posixpath.split(path)
    pure = PurePosixPath(name)
    container = SUFFIXES.get(pure.suffix.lower())
    suffix = pure.suffix if not pure.suffix or container in WRITABLE else ".png"
    return posixpath.join(folder, template.format(stem=pure.stem, suffix=suffix))


def _check_name(template: str) -> None:
    try:
        made = template.format(stem="photo", suffix=".jpg")
    except (KeyError, IndexError, ValueError):
        made = ""
    if not made or "/" in made or "\\" in made or made.startswith(".") or "{stem}" not in template:
        raise InputError(
            f"--name {template!r} is no template of a file name",
            code="batch.name",
            hint="it is made of text, {stem} and {suffix}: {stem}-clean{suffix}, or {stem}.png",
        )
    suffix = PurePosixPath(made).suffix.lower()
    if suffix and SUFFIXES.get(suffix) not in WRITABLE:
        raise InputError(
            f"a picture cannot be written as {suffix}",
            code="image.container",
            hint=f"end the name with {{suffix}} or one of {', '.join(WRITABLE)}",
        )


def _wanted(path: str, work: WorkList) -> bool:
    pure = PurePosixPath(path)
    if pure.suffix.lower() not in SUFFIXES or RECORD in pure.parts:
        return False
    if work.mask_suffix and pure.stem.endswith(work.mask_suffix):
        return False

    def matches(glob: str) -> bool:
        return fnmatchcase(path if "/" in glob else pure.name, glob)

    if any(map(matches, work.exclude)):
        return False
    return not work.include or any(map(matches, work.include))


def _mask_rule(work: WorkList) -> Callable[[str], str | None]:
    """Return what gives the mask of the picture at a path below the root."""
    if work.mask_suffix:
        return _named_after(work.root, work.mask_suffix)
    mask = work.mask
    if mask is None:
        return lambda path: None
    if places.is_folder(mask):
        return _named_after(mask, "")
    if not places.exists(mask):
        raise NotFound(
            f"the mask {mask} does not exist", code="file.missing", hint="check the path", path=mask
        )
    return lambda path: mask


def _named_after(folder: str, ending: str) -> Callable[[str], str]:
    """Return what finds the file below ``folder`` with a picture's path, but for ``ending`` and the suffix.

    A PNG that is not there, if there is none. An object store is listed once, and not asked for every name.
    """
    names = frozenset(path for path, _ in places.walk(folder)) if places.is_uri(folder) else None

    def there(path: str) -> bool:
        return places.exists(places.join(folder, path)) if names is None else path in names

    def find(path: str) -> str:
        pure = PurePosixPath(path)
        base = posixpath.join(posixpath.dirname(path), pure.stem + ending)
        found = (base + suffix for suffix in dict.fromkeys((".png", pure.suffix, *_MASK_SUFFIXES)))
        return places.join(folder, next(filter(there, found), base + ".png"))

    return find


# --- manifests -------------------------------------------------------------------------------------------


def _listed(work: WorkList, mask: Callable[[str], str | None]) -> Iterator[Entry]:
    assert work.manifest is not None
    for line, row in _rows(work.manifest):
        try:
            entry = _entry(row, work, mask)
            if work.vet is not None:
                work.vet(entry)
        except InputError as error:
            raise InputError(
                f"{work.manifest}, row {line}: {error.message}",
                code="manifest.row" if error.code == "option.value" else error.code,
                hint=error.hint,
                row=line,
                **{name: value for name, value in error.facts.items() if name != "row"},
            ) from None
        yield entry


def _rows(manifest: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row number from 1, values that are given)."""
    reader = {".csv": _csv, ".jsonl": _jsonl, ".ndjson": _jsonl, ".parquet": _parquet}.get(
        Path(manifest.partition("?")[0]).suffix.lower()
    )
    if reader is None:
        raise InputError(
            f"{manifest} is no manifest: its name must end with .csv, .jsonl or .parquet",
            code="manifest.format",
            hint="docs/batch.md shows each",
        )
    for line, row in enumerate(reader(manifest), 1):
        yield line, {name: value for name, value in row.items() if value not in (None, "")}


def _csv(manifest: str) -> Iterator[dict[str, Any]]:
    for row in csv.DictReader(_text(manifest)):
        if None in row or None in row.values():
            raise InputError(
                f"{manifest} has a row whose number of cells is not that of the first line",
                code="manifest.format",
                hint="quote cells that hold commas",
            )
        yield row


def _jsonl(manifest: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(_text(manifest), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise InputError(
                f"{manifest}, line {number} is no JSON object",
                code="manifest.format",
                hint='one object a line: {"image": "a.jpg", "mask": "a.png"}',
            )
        yield cast("dict[str, Any]", row)


def _parquet(manifest: str) -> Iterator[dict[str, Any]]:
    try:
        from pyarrow import parquet  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise Unavailable(
            "Parquet manifests need the module 'pyarrow', which is not installed",
            code="place.missing-module",
            hint="pip install 'reknit[cluster]'",
        ) from error
    table: Any = parquet
    source = io.BytesIO(places.read(manifest, max_bytes=_MOST_BYTES)) if places.is_uri(manifest) else manifest
    try:
        with table.ParquetFile(source) as file:
            for batch in file.iter_batches(batch_size=4096):
                yield from batch.to_pylist()
    except (OSError, ValueError) as error:
        raise InputError(
            f"{manifest} cannot be read as Parquet: {error}", code="manifest.format", hint="check the file"
        ) from error


def _text(manifest: str) -> Iterator[str]:
    if places.is_uri(manifest):
        yield from io.StringIO(places.read(manifest, max_bytes=_MOST_BYTES).decode("utf-8-sig"), newline="")
        return
    try:
        with Path(manifest).open(encoding="utf-8-sig", newline="") as file:
            yield from file
    except FileNotFoundError:
        raise NotFound(
            f"{manifest} does not exist", code="file.missing", hint="check the path", path=manifest
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{manifest} cannot be read as text: {error}", code="manifest.format", hint="save it as UTF-8"
        ) from error


def _entry(given: Mapping[str, Any], work: WorkList, mask: Callable[[str], str | None]) -> Entry:
    for name in given:
        if name not in COLUMNS and not name.startswith(PARAM):
            raise InputError(
                f"there is no column {name!r}",
                code="manifest.column",
                hint=nearest_name(name, COLUMNS) + f" ({PARAM}NAME sets an option of the engine)",
            )
    for name in PLACES:
        if name in given and (not isinstance(given[name], str) or "\0" in given[name]):
            raise InputError(f"{name} must be a path", code="option.value", hint='"image": "a.jpg"')
    if "image" not in given:
        raise InputError("there is no image", code="manifest.row", hint="the column image names the picture")
    image = places.join(work.root, given["image"])
    path = _below(image, work.root)
    own_mask = given.get("mask")
    return Entry(
        image=image,
        mask=mask(path) if own_mask is None else places.join(work.root, own_mask),
        output=_safe(given["output"]) if "output" in given else output_name(path, work.name),
        row=MappingProxyType(_row(given, work.root)),
        file_bytes=_size(image),
    )


def _row(given: Mapping[str, Any], root: str) -> dict[str, Any]:
    """Return a row's own values of `Setup`'s fields."""
    row = {name: option.check(given[name]) for name, option in ROW_OPTIONS.items() if name in given}
    params = given.get("params", {})
    if isinstance(params, str):
        try:
            params = json.loads(params)
        except ValueError:
            params = None
    if not isinstance(params, dict):
        raise InputError("params must be a JSON object", code="option.value", hint='{"quality": "best"}')
    params = dict(cast("dict[str, Any]", params))
    params |= {name: given[name] for name in SHORT if name in given}
    params |= {name[len(PARAM) :]: value for name, value in given.items() if name.startswith(PARAM)}
    if params:
        row["params"] = params
    if "box" in given:
        row["boxes"] = [text.strip() for text in str(given["box"]).split(";")]
    if "source" in given:
        row["source"] = places.join(root, given["source"])
    return row


def _below(image: str, root: str) -> str:
    """Return an image's path below the root, or only its name if it lies elsewhere."""
    if places.is_uri(image):
        base = root.partition("?")[0].rstrip("/") + "/"
        plain = image.partition("?")[0]
        return unquote(plain[len(base) :]) if plain.startswith(base) else places.name_of(image)
    normal = Path(posixpath.normpath(image))
    return normal.relative_to(root).as_posix() if normal.is_relative_to(root) else normal.name


def _safe(output: str) -> str:
    pure = PurePosixPath(output.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts or places.is_uri(output) or not pure.name:
        raise InputError(
            f"the output {output!r} does not lie below OUT",
            code="option.value",
            hint="outputs are paths without .. that begin below OUT",
        )
    suffix = pure.suffix.lower()
    if suffix and SUFFIXES.get(suffix) not in WRITABLE:
        raise InputError(
            f"a picture cannot be written as {suffix}",
            code="image.container",
            hint=f"write one of {', '.join(WRITABLE)}",
        )
    return str(pure)


def _size(image: str) -> int:
    if places.is_uri(image):
        return 0
    try:
        return Path(image).stat().st_size
    except (OSError, ValueError):
        return 0
