"""What other programs' clients may call a model: installed models, and the engines that need none.

Clients of other servers choose a "checkpoint" by a title, a file name, a stem or a hash; here such a name leads to an
engine and its option ``model``. It opens no weights and knows no dialect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath
from typing import Any

from reknit.core.errors import ReknitError
from reknit.engines import registry
from reknit.engines.base import EngineSpec, Models
from reknit.models.store import Installed
from reknit.pipeline.paint import can_paint

AUTO = "reknit"
"""Names the embedded engines: Reknit chooses by the hole."""
SHORT_HASH = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A model by the name that clients use, and what runs it.

    Attributes
    ----------
    name : str
        Its id.
    title : str
        For people.
    engine : str
    model : str or None
        The engine's option ``model``; None for engines that need none.
    sha256 : str or None
        Of its (first) file.
    file : str
        The name of its file, without folders.
    paints : bool
        Whether it is told in words what to draw.
    native_px : int
        The side of the square that it paints best.
    options : frozenset of str
        Names of the engine's options.
    """

    name: str
    title: str
    engine: str
    model: str | None = None
    sha256: str | None = None
    file: str = ""
    paints: bool = False
    native_px: int = 1024
    options: frozenset[str] = frozenset()

    def params(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Return the engine's options for what a client wants, the model first; what it has no option for is left."""
        model = {} if self.model is None else {"model": self.model}
        return model | {
            name: value for name, value in wanted.items() if name in self.options and value is not None
        }

    @property
    def short_hash(self) -> str | None:
        """The first digits of the hash, as clients show them."""
        return None if self.sha256 is None else self.sha256[:SHORT_HASH]

    @property
    def label(self) -> str:
        """The name with its short hash, as A1111 titles a checkpoint."""
        return f"{self.name} [{self.short_hash}]" if self.sha256 else self.name


def offers(models: Models | None) -> tuple[Offer, ...]:
    """Return what can be asked for here: models that paint from words first, the embedded engines last."""
    found = [] if models is None else [_of(model) for model in models().installed()]
    there = sorted((offer for offer in found if offer is not None), key=lambda offer: not offer.paints)
    return (
        *there,
        *_painters(),
        Offer(name=AUTO, title="Reknit chooses an engine by the hole", engine="auto"),
        Offer(name="exemplar", title="Pieces of the photo itself", engine="exemplar"),
    )


def named(name: str, among: Sequence[Offer]) -> Offer | None:
    """Return the offer that ``name`` means: a label, an id, a file's name or stem, or a hash; None if none does."""
    wanted = name.strip().lower()
    bare = wanted.rpartition(" [")[0] if wanted.endswith("]") else wanted
    for offer in among:
        words = {
            offer.label,
            offer.name,
            offer.file,
            PurePath(offer.file).stem,
            offer.sha256,
            offer.short_hash,
        }
        known = {word.lower() for word in words if word}
        if known & {wanted, bare, PurePath(bare).name, PurePath(bare).stem}:
            return offer
    return None


@cache
def _painters() -> tuple[Offer, ...]:
    """Return the engines that paint from words and need no model: plug-ins."""
    specs = (engine.spec for engine in registry.every().values())
    return tuple(
        Offer(name=spec.name, title=spec.title, engine=spec.name, paints=True, options=_names(spec))
        for spec in specs
        if can_paint(spec) and not spec.needs_model
    )


def _names(spec: EngineSpec) -> frozenset[str]:
    return frozenset(option.name for option in spec.options)


def _of(installed: Installed) -> Offer | None:
    card = installed.card
    engine = "diffusion" if card.engine == "diffusion" else card.family
    if card.engine == "none":
        return None
    try:
        spec = registry.get(engine if engine in registry.BUILT_IN else "network").spec
    except ReknitError:  # what runs it is not installed
        return None
    return Offer(
        name=card.id,
        title=card.title,
        engine=spec.name,
        model=card.id,
        sha256=card.files[0].sha256,
        file=installed.main.name,
        paints=can_paint(spec),
        native_px=card.native_px,
        options=_names(spec),
    )
