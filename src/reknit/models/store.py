"""The models on this machine: found wherever they lie, fetched, imported, verified, removed.

A model's own folder is ``models_dir/ID``; files of hub repositories lie in the hub's cache, where other
programs find them too; other programs' folders are looked into and never written to. The store reads no
environment: where to look is told to it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from reknit.core.errors import ExternalError, InputError, NotFound, ReknitError, Unavailable
from reknit.core.progress import Part, Report
from reknit.models import catalog, download, hub, layouts, loose
from reknit.models.catalog import ModelCard, ModelFile
from reknit.models.identify import Identity, identify

STATED = "model.toml"
"""In a model's own folder: what its importer said of it, in the catalog's form."""

_KINDS = {"vae": "vae", "text_encoder": "text", "text_encoder_2": "text"}
"""What `identify` calls a file of a model with several, by its role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A model that is on this machine.

    Attributes
    ----------
    card : ModelCard
    paths : mapping of str to Path
        Where each file lies, by `ModelFile.name`.
    """

    card: ModelCard
    paths: Mapping[str, Path]

    @property
    def main(self) -> Path:
        """The model's only file; of several, the folder that holds them all, else the first file."""
        paths = list(self.paths.values())
        if len(paths) == 1:
            return paths[0]
        first, name = paths[0], next(iter(self.paths))
        root = first.parents[name.count("/")]
        return root if all(root / each == path for each, path in self.paths.items()) else first


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What verifying a file found: ``right``, ``wrong`` or, without anything to compare with, ``unknown``."""

    path: Path
    state: str
    why: str


class Store:
    """Models on this machine.

    Parameters
    ----------
    models_dir
        Reknit's own folder for weights; made when something is put into it.
    offline
        Never open a socket.
    hub_cache
        The hub's cache, or None to do without it.
    others
        Folders of other programs.
    cards
        What is known, by default `catalog.load` with what was imported into ``models_dir``.
    endpoint
        The hub's address, where it is not the usual one.
    """

    def __init__(
        self,
        models_dir: Path,
        *,
        offline: bool,
        hub_cache: Path | None = None,
        others: Iterable[Path] = (),
        cards: Mapping[str, ModelCard] | None = None,
        endpoint: str | None = None,
    ) -> None:
        self.models_dir = models_dir
        self.offline = offline
        self.hub_cache = hub_cache
        self._others = tuple(others)
        self._endpoint = endpoint
        self._given = cards

    @cached_property
    def cards(self) -> dict[str, ModelCard]:
        """Every model that is known, by id."""
        known = dict(catalog.load() if self._given is None else self._given)
        for path in sorted(self.models_dir.glob(f"*/{STATED}")):
            known |= catalog.parse(path.read_text(encoding="utf-8"), origin=str(path))
        return known

    @cached_property
    def every_card(self) -> dict[str, ModelCard]:
        """`cards`, and models of people's own, whose headers are read for it."""
        return self.cards | {name: own.card for name, own in self._own.items()}

    @cached_property
    def _own(self) -> dict[str, loose.Own]:
        paths = (path for paths in self._elsewhere.values() for path in paths)

        def known(path: Path) -> bool:
            pulled = path.parent == self.models_dir and path.name in self.cards
            return pulled or self.known_as(path) is not None

        return loose.models(paths, self.cards, known)

    def find(self, name: str) -> ModelCard:
        """Return the card called ``name``; raises `NotFound` (``model.unknown``)."""
        try:
            return catalog.find(name, self.cards)
        except NotFound:
            return catalog.find(name, self.every_card)

    def installed(self) -> list[Installed]:
        """Return every model that is here, in the catalog's order, people's own checkpoints last."""
        return [found for card in self.every_card.values() if (found := self.look(card)) is not None]

    def look(self, card: ModelCard) -> Installed | None:
        """Return where a model's files lie, or None if one is missing."""
        if card.id not in self.cards and (own := self._own.get(card.id)) is not None:
            return Installed(card=card, paths={file.name: own.root / file.name for file in card.files})
        paths = {file.name: self._path(card, file) for file in card.files}
        whole = {name: path for name, path in paths.items() if path is not None}
        if len(whole) == len(paths):
            return Installed(card=card, paths=whole)
        for file in card.single_files:
            path = self._path(card, file)
            if path is not None:
                return Installed(card=card, paths={file.name: path})
        return None

    def locate(self, name: str) -> Path:
        """Return where a model lies: its file, or the folder of its files.

        Raises
        ------
        NotFound
            ``model.unknown``
        Unavailable
            ``model.missing``; the hint names the command that gets it.
        """
        card = self.find(name)
        found = self.look(card)
        if found is None:
            raise missing(card)
        return found.main

    def pull(self, name: str, report: Report) -> Installed:
        """Download what is missing of a model, check it, and return where it lies.

        Nothing appears under its final name before it was checked. A pull that was stopped goes on where it was.

        Raises
        ------
        NotFound
            ``model.unknown``
        Unavailable, ExternalError
            As `download.fetch` and `hub.fetch`.
        """
        card = self.find(name)
        found = self.look(card)
        if found is not None:
            return found
        wanted = [file for file in card.files if self._path(card, file) is None]
        sizes = [file.bytes or 1 for file in wanted]
        done = 0
        for file, size in zip(wanted, sizes, strict=True):
            share = Part(report, done / sum(sizes), (done + size) / sum(sizes))
            self._fetch(card, file, share)
            done += size
        self._forget()
        found = self.look(card)
        if found is None:
            raise missing(card)
        return found

    def bring(
        self,
        path: Path,
        report: Report,
        *,
        name: str | None = None,
        contract: Mapping[str, str] | None = None,
        licence: str = "unknown",
    ) -> Installed:
        """Copy a file into the store as the model it is.

        A file of the catalog is known by its size and checksum. Any other becomes a model called ``name``, with
        what its contents say and the contract that is stated.

        Raises
        ------
        InputError
            ``model.import``: it can not be used as a model of its own; ``model.damaged``, ``model.unrecognised``
        """
        identity = identify(path)
        digest = download.checksum(path, Part(report, 0.0, 0.5))
        match = self._catalogued(digest)
        if match is not None and name in (None, match[0].id):
            card, file = match
            self._copy(path, self.models_dir / card.id / file.name, report)
        else:
            card = self._stated(path, identity, digest, name, contract, licence)
            folder = self.models_dir / card.id
            self._copy(path, folder / card.files[0].name, report)
            (folder / STATED).write_text(_toml(card), encoding="utf-8")
        self._forget()
        found = self.look(self.cards[card.id])
        if found is None:
            raise InputError(
                f"{path} is one of several files of {card.id}; it was copied, and the others are still missing",
                code="model.part",
                hint=f"reknit models pull {card.id}",
                model=card.id,
            )
        return found

    def verify(self, name: str, report: Report) -> list[Checked]:
        """Compare a model's files with what the catalog says of them."""
        card = self.find(name)
        found = self.look(card)
        if found is None:
            raise missing(card)
        known = {file.name: file for file in (*card.files, *card.single_files)}
        return [_verified(known[each], path, report) for each, path in found.paths.items()]

    def remove(self, name: str) -> list[Path]:
        """Delete a model's own folder, and return what was deleted.

        Raises
        ------
        NotFound
            ``model.not-ours``: it is not in the store's own folder.
        """
        card = self.find(name)
        folder = self.models_dir / card.id
        if not folder.is_dir():
            found = self.look(card)
            where = f"it lies in {found.main}" if found else "it is not on this machine"
            raise NotFound(
                f"{card.id} has no files in {self.models_dir}: {where}",
                code="model.not-ours",
                hint="`hf cache` shows and deletes what is in the hub's cache; other programs' files are theirs",
                model=card.id,
            )
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        with download.disk_errors(folder):
            shutil.rmtree(folder)
        self._forget()
        return files

    def known_as(self, path: Path) -> ModelCard | None:
        """Return the model of which ``path`` is a file, going by its name and size; cheap, unlike a checksum."""
        for card in self.cards.values():
            for file in (*card.files, *card.single_files):
                if (
                    "/" not in file.name
                    and file.basename.lower() == path.name.lower()
                    and _fits(card, file, path)
                ):
                    return card
        return None

    def _path(self, card: ModelCard, file: ModelFile) -> Path | None:
        own = self.models_dir / card.id / file.name
        if own.is_file():
            return own
        if self.hub_cache is not None and (path := hub.cached(file, self.hub_cache)) is not None:
            return path
        if "/" in file.name:
            return None
        near = (path for path in self._elsewhere.get(file.basename.lower(), ()) if _fits(card, file, path))
        return next(near, None)

    def folders(self) -> list[Path]:
        """Return where weights are looked for, besides the hub's cache: the store's own folder first."""
        own = [self.models_dir] if self.models_dir.is_dir() else []
        return [*own, *layouts.folders(self._others)]

    @cached_property
    def _elsewhere(self) -> dict[str, list[Path]]:
        """Weight files by lower-case name: those loose in the store's own folder, then other programs'."""
        found: dict[str, list[Path]] = {}
        for folder in self.folders():
            for path in layouts.weight_files(folder):
                found.setdefault(path.name.lower(), []).append(path)
        return found

    def _forget(self) -> None:
        """Look anew at what there is."""
        for name in ("cards", "every_card", "_own", "_elsewhere"):
            self.__dict__.pop(name, None)

    def _fetch(self, card: ModelCard, file: ModelFile, report: Report) -> Path:
        stage = f"downloading {file.basename}"
        if file.url is not None:
            target = self.models_dir / card.id / file.name
            return download.fetch(
                file.url,
                target,
                report=report,
                offline=self.offline,
                sha256=file.sha256,
                size=file.bytes,
                stage=stage,
            )
        if self.hub_cache is None or file.repo is None:
            raise missing(card)
        return hub.fetch(
            file, self.hub_cache, report=report, offline=self.offline, endpoint=self._endpoint, stage=stage
        )

    def _catalogued(self, digest: str) -> tuple[ModelCard, ModelFile] | None:
        for card in self.cards.values():
            for file in (*card.files, *card.single_files):
                if file.sha256 == digest:
                    return card, file
        return None

    def _copy(self, source: Path, target: Path, report: Report) -> None:
        if target.is_file() and target.samefile(source):
            return
        download.fetch(
            source.absolute().as_uri(),
            target,
            report=Part(report, 0.5, 1.0),
            offline=True,
            size=source.stat().st_size,
            stage="copying",
        )

    def _stated(
        self,
        path: Path,
        identity: Identity,
        digest: str,
        name: str | None,
        contract: Mapping[str, str] | None,
        licence: str,
    ) -> ModelCard:
        engine = {"onnx": "onnx", "torchscript": "torchscript"}.get(identity.format, "diffusion")
        if (
            identity.kind != "inpaint"
            and contract is None
            and not (engine == "diffusion" and identity.kind == "base")
        ):
            raise InputError(
                f"{path} is no model for inpainting that Reknit recognises: {described(identity)}",
                code="model.import",
                hint="if it is one all the same, say what it takes: --contract "
                "'layout=image,mask image=0..1 mask=1=hole output=0..1'",
                path=str(path),
            )
        name = name or loose.id_of(path.stem) or "imported"
        if name in self.cards and not (self.models_dir / name / STATED).is_file():
            raise InputError(
                f"there is a model {name!r} in the catalog, and {path} is not it",
                code="model.import",
                hint="give it another name with --name",
                model=name,
            )
        side = next((s for t in identity.inputs.values() for s in t.shape[2:4] if isinstance(s, int)), None)
        text = _toml(
            ModelCard(
                id=name,
                title=f"{path.name}, imported",
                engine=engine,
                family=identity.family,
                files=(ModelFile(name=path.name, sha256=digest, bytes=identity.bytes),),
                licence=licence,
                native_px=side or {"sdxl": 1024, "sd3": 1024, "flux": 1024}.get(identity.family, 512),
                multiple_of=side or 8,
                fixed_size=side is not None,
                contract=contract,
            )
        )
        return catalog.parse(text, origin=str(path))[name]


def missing(card: ModelCard) -> Unavailable:
    """Return the error for a model that is known and not on this machine."""
    size = f" ({card.bytes / 1e6:.0f} MB)" if card.bytes else ""
    return Unavailable(
        f"the model {card.id} is not on this machine",
        code="model.missing",
        hint=f"reknit models pull {card.id}{size}",
        model=card.id,
    )


def described(identity: Identity) -> str:
    """Return in words what a file is."""
    inputs = ", ".join(
        f"{name} {tensor.dtype} {'x'.join('?' if s is None else str(s) for s in tensor.shape)}"
        for name, tensor in identity.inputs.items()
    )
    family = identity.family if identity.family != "unknown" else "unknown family"
    kind = "" if identity.kind == "unknown" else f", {identity.kind}"
    size = f", {_count(identity.parameters)} weights" if identity.parameters else ""
    return f"{identity.format}, {family}{kind}{size}" + (f", inputs {inputs}" if inputs else "")


def _count(number: int) -> str:
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number}"


def _fits(card: ModelCard, file: ModelFile, path: Path) -> bool:
    """Whether a file of the right name is the right one: by its size where that is known, else by its contents."""
    try:
        if file.bytes is not None:
            return path.stat().st_size == file.bytes
        identity = identify(path)
    except (ReknitError, OSError):
        return False
    if file.role in _KINDS:
        return identity.kind == _KINDS[file.role]
    inputs = len((card.contract or {}).get("layout", "image,mask").split(","))
    return (
        identity.family == card.family
        and identity.kind == "inpaint"
        and (not identity.inputs or len(identity.inputs) == inputs)
    )


def _verified(file: ModelFile, path: Path, report: Report) -> Checked:
    try:
        size = path.stat().st_size
        if file.bytes is not None and size != file.bytes:
            return Checked(path=path, state="wrong", why=f"{size} bytes instead of {file.bytes}")
        if file.sha256 is None:
            return Checked(path=path, state="unknown", why="its checksum is not published")
        if download.checksum(path, report) != file.sha256:
            return Checked(path=path, state="wrong", why="its sha256 is another")
    except OSError as error:
        raise ExternalError(
            f"cannot read {path}: {error.strerror or error}",
            code="file.unreadable",
            hint="check the permissions of the file and its folder",
            path=str(path),
        ) from error
    return Checked(path=path, state="right", why="sha256")


def _toml(card: ModelCard) -> str:
    """Return a card with one file in the catalog's form."""
    file = card.files[0]

    def line(key: str, value: Any) -> str:
        return f"{key} = {json.dumps(value, ensure_ascii=False)}"  # TOML's basic strings are JSON's

    lines = [
        f"[model.{json.dumps(card.id)}]",
        *(line(key, getattr(card, key)) for key in ("title", "engine", "family", "licence", "native_px")),
        *(line(key, getattr(card, key)) for key in ("multiple_of", "fixed_size")),
        f"files = [{{ {line('name', file.name)}, {line('sha256', file.sha256)}, {line('bytes', file.bytes)} }}]",
    ]
    if card.contract:
        lines.append("contract = { " + ", ".join(line(k, v) for k, v in card.contract.items()) + " }")
    return "\n".join(lines) + "\n"
