"""What is known of every model: pure data, read from ``catalog.toml`` and from overlays of the same form.

A new model is a new entry, not new code. An entry that overlays name again replaces the earlier one. Nothing
here knows where files lie on this machine, opens a socket, or loads weights.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, cast

from reknit.core.errors import InputError, NotFound, nearest_name

ENGINES = ("onnx", "torchscript", "diffusion", "none")
"""What runs a model. ``none``: Reknit recognises its files, and has nothing yet that runs them."""

CONTRACT = MappingProxyType(
    {
        "layout": ("image,mask", "image+mask", "mask+image"),
        "channels": ("rgb", "bgr"),
        "image": ("0..1", "0..255", "-1..1", "uint8"),
        "under_hole": ("kept", "zero"),
        "mask": ("1=hole", "0=hole", "255=hole", "0.5-hole"),
        "output": ("0..1", "0..255", "-1..1", "uint8"),
    }
)
"""The words of a stated contract. ``layout``: two inputs, or one of four channels in that order;
``under_hole``: what the image holds where it is to be filled; ``mask``: its value in the hole, the other end of
its range elsewhere (``0.5-hole``: −0.5 in the hole, +0.5 elsewhere)."""

ENTRY_POINTS = "reknit.models"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """One file of a model, and where it can be had.

    Attributes
    ----------
    name : str
        Its path with ``/`` under the model's own folder; in a hub repository also its path there.
    url : str or None
        Where it can be downloaded; None for a file of a hub repository.
    repo : str or None
        The hub repository, ``owner/name``.
    sha256 : str or None
        As published, in lower case; None where it is not known.
    bytes : int or None
        Its size; None where it is not known.
    role : str
        What it is to the model (``unet``, ``vae``, …); empty for the only file.
    """

    name: str
    url: str | None = None
    repo: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    role: str = ""

    @property
    def basename(self) -> str:
        """The name without folders: how other programs keep the file."""
        return PurePosixPath(self.name).name


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """All that is known of a model before any of its files is opened.

    Attributes
    ----------
    id : str
        What people type: lower case, e.g. ``big-lama``.
    title : str
    engine : {'onnx', 'torchscript', 'diffusion', 'none'}
    family : str
        ``lama``, ``migan``, ``mat``, ``sd15``, ``sd2``, ``sdxl``, ``flux``, …; the words `identify` uses.
    files : tuple of ModelFile
        All of them are needed.
    single_files : tuple of ModelFile
        Each of these alone is the whole model in the form other programs keep it.
    licence : str
    commercial : bool or None
        Whether the licence lets the results be used commercially; None where that is not known.
    gated : bool
        Whether its host asks for a login and an accepted licence.
    native_px : int
        The side, in pixels, the model was trained or exported for.
    multiple_of : int
        Sides of the input must be multiples of this.
    fixed_size : bool
        Whether the input must be exactly ``native_px`` square.
    contract : mapping of str to str, or None
        The words of `CONTRACT`, for files which do not tell it themselves.
    pipeline : str or None
        The class of diffusers that runs it, for diffusion models that Reknit has no stages for; see
        ``diffusion/pipelines.toml``.
    aliases : tuple of str
        Other names that mean this model.
    moved : mapping of str to str
        Names it had elsewhere, and what became of them.
    notes : str
    source : str
        The paper or project it comes from.
    """

    id: str
    title: str
    engine: str
    family: str
    files: tuple[ModelFile, ...]
    single_files: tuple[ModelFile, ...] = ()
    licence: str
    commercial: bool | None = None
    gated: bool = False
    native_px: int
    multiple_of: int = 1
    fixed_size: bool = False
    contract: Mapping[str, str] | None = None
    pipeline: str | None = None
    aliases: tuple[str, ...] = ()
    moved: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    notes: str = ""
    source: str = ""

    @property
    def bytes(self) -> int | None:
        """The size of all files; None where one is not known."""
        sizes = [file.bytes for file in self.files]
        return sum(size for size in sizes if size is not None) if None not in sizes else None

    def moved_note(self, name: str) -> str | None:
        """Return what to tell someone who asked for this model by ``name``, if that name is gone."""
        why = {old.lower(): note for old, note in self.moved.items()}.get(name.lower())
        return f"{name}: {why}; {self.id} is used instead" if why else None

    def to_dict(self) -> dict[str, Any]:
        """Return the card as plain data."""
        data: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        for name in ("files", "single_files"):
            data[name] = [
                {each.name: getattr(file, each.name) for each in fields(file)} for file in data[name]
            ]
        data["contract"] = None if self.contract is None else dict(self.contract)
        return data | {"moved": dict(self.moved), "aliases": list(self.aliases), "bytes": self.bytes}


def load(overlays: Iterable[Path] = (), *, plugins: bool = False) -> dict[str, ModelCard]:
    """Return every model by id: those that come with Reknit, then plug-ins', then those of ``overlays``.

    Parameters
    ----------
    overlays
        TOML files like ``catalog.toml``; those that do not exist are left out.
    plugins
        Ask installed packages too: each entry point of the group ``reknit.models`` is a function that returns
        the path of such a file. This costs about 50 ms.

    Raises
    ------
    InputError
        ``models.catalog``: a file is no TOML, or says something that is not understood.
    """
    cards = dict(_shipped())
    for path in (*(_plugins() if plugins else ()), *overlays):
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise _wrong(str(path), f"cannot be read: {error}") from None
        cards |= parse(text, origin=str(path))
    return cards


def find(name: str, cards: Mapping[str, ModelCard] | None = None) -> ModelCard:
    """Return the model called ``name``: an id, an alias, a hub repository, or a name it had before.

    Parameters
    ----------
    name
        Upper and lower case are the same.
    cards
        As `load` returns them; by default those that come with Reknit.

    Raises
    ------
    NotFound
        ``model.unknown``, with the nearest name as its hint.
    """
    cards = _shipped() if cards is None else cards
    wanted = name.strip().lower()
    if wanted in cards:
        return cards[wanted]
    for card in cards.values():
        if wanted in (known.lower() for known in (*card.aliases, *card.moved)):
            return card
    raise NotFound(
        f"there is no model {name!r}", code="model.unknown", hint=nearest_name(wanted, cards), model=name
    )


def parse(text: str, *, origin: str) -> dict[str, ModelCard]:
    """Return the models that a catalog's text describes.

    Parameters
    ----------
    text
        TOML, one table ``[model.ID]`` each, with the attributes of `ModelCard` and, in ``files`` and
        ``single_files``, tables with those of `ModelFile`.
    origin
        Named in errors.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _wrong(origin, f"is no TOML: {error}") from None
    _known(table, ("model",), origin)
    models: Any = table.get("model", {})
    if not isinstance(models, dict):
        raise _wrong(origin, "has a model that is no table")
    entries = cast("dict[str, Any]", models)
    return {name: _card(name, entry, f"{origin}: {name}") for name, entry in entries.items()}


@cache
def _shipped() -> Mapping[str, ModelCard]:
    text = resources.files("reknit.models").joinpath("catalog.toml").read_text(encoding="utf-8")
    return MappingProxyType(parse(text, origin="catalog.toml"))


def _plugins() -> list[Path]:
    from importlib.metadata import entry_points

    return [Path(point.load()()) for point in entry_points(group=ENTRY_POINTS)]


def _card(name: str, entry: Any, where: str) -> ModelCard:
    if not _ID.fullmatch(name):
        raise _wrong(where, "is no id: lower-case letters, digits, dots and dashes")
    if not isinstance(entry, dict):
        raise _wrong(where, "is no table")
    given = dict(cast("dict[str, Any]", entry))
    _known(given, [each.name for each in fields(ModelCard) if each.name != "id"], where)
    _typed(given, where, {"title": str, "engine": str, "family": str, "licence": str, "native_px": int})
    _typed(given, where, _OPTIONAL, needed=False)
    if given["engine"] not in ENGINES:
        raise _wrong(where, f"has no engine {given['engine']!r}", nearest_name(given["engine"], ENGINES))
    for key in ("files", "single_files"):
        given[key] = tuple(_file(each, where) for each in given.get(key, []))
    if not given["files"]:
        raise _wrong(where, "has no files")
    if given["native_px"] < 1 or given.get("multiple_of", 1) < 1:
        raise _wrong(where, "has a size below 1")
    given["aliases"] = tuple(str(alias) for alias in given.get("aliases", []))
    given["moved"] = MappingProxyType({str(old): str(note) for old, note in given.get("moved", {}).items()})
    if "contract" in given:
        given["contract"] = contract(given["contract"], where)
    return ModelCard(id=name, **given)


_OPTIONAL: Mapping[str, type] = {
    "files": list,
    "single_files": list,
    "commercial": bool,
    "gated": bool,
    "multiple_of": int,
    "fixed_size": bool,
    "contract": dict,
    "pipeline": str,
    "aliases": list,
    "moved": dict,
    "notes": str,
    "source": str,
}


def _file(entry: Any, where: str) -> ModelFile:
    if not isinstance(entry, dict):
        raise _wrong(where, "has a file that is no table")
    given = dict(cast("dict[str, Any]", entry))
    _known(given, [each.name for each in fields(ModelFile)], where)
    _typed(given, where, {"name": str})
    _typed(given, where, {"url": str, "repo": str, "sha256": str, "bytes": int, "role": str}, needed=False)
    name = PurePosixPath(given["name"])
    if (
        name.is_absolute()
        or not name.parts
        or ".." in name.parts
        or "\\" in given["name"]
        or ":" in given["name"]
    ):
        raise _wrong(
            where, f"has a file named {given['name']!r}", "name a path inside the model's own folder"
        )
    if "sha256" in given and not _SHA256.fullmatch(given["sha256"]):
        raise _wrong(where, f"has a sha256 of {given['name']} that is not 64 digits of 0-9 a-f")
    if given.get("bytes", 1) < 1:
        raise _wrong(where, f"has a size of {given['name']} below 1")
    return ModelFile(**given)


def contract(given: Mapping[str, Any], where: str) -> Mapping[str, str]:
    """Return a stated contract, checked against the words of `CONTRACT`."""
    _known(given, list(CONTRACT), where)
    for key, word in given.items():
        if word not in CONTRACT[key]:
            raise _wrong(where, f"has a contract with {key} {word!r}", nearest_name(str(word), CONTRACT[key]))
    return MappingProxyType({key: str(word) for key, word in given.items()})


def _known(given: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    names = list(known)
    for key in given:
        if key not in names:
            raise _wrong(where, f"has an unknown key {key!r}", nearest_name(key, names))


def _typed(given: Mapping[str, Any], where: str, types: Mapping[str, type], *, needed: bool = True) -> None:
    for key, kind in types.items():
        if key not in given:
            if needed:
                raise _wrong(where, f"lacks {key!r}")
        elif type(given[key]) is not kind:
            raise _wrong(where, f"has {key!r} of type {type(given[key]).__name__}, not {kind.__name__}")


def _wrong(where: str, what: str, hint: str = "") -> InputError:
    return InputError(
        f"{where} {what}", code="models.catalog", hint=hint or "see docs/models.md for the form", origin=where
    )
