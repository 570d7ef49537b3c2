"""Which engine runs a model: by its card in the catalog, else by what its file or folder holds.

It reads no weights and imports no framework.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reknit.core.errors import InputError
from reknit.engines.base import Models

if TYPE_CHECKING:
    from reknit.models.catalog import ModelCard

LEARNED = ("lama", "migan", "mat")
"""Families whose engine has their name; other networks in ONNX or TorchScript files run in ``network``."""


def engine_of(model: str, models: Models | None) -> str:
    """Return the name of the engine that runs ``model``: a path, a model's id, or a hub repository.

    Raises
    ------
    NotFound
        ``model.unknown``
    InputError
        ``model.family``: nothing runs it; ``model.unrecognised``, ``model.damaged``
    """
    from reknit.models import catalog
    from reknit.models.identify import identify

    path = Path(model)
    store = None if models is None else models()
    if path.is_dir():
        return "diffusion"
    if path.is_file():
        card = None if store is None else store.known_as(path)
        if card is not None:
            return _of_card(card)
        found = identify(path)
        if found.format in ("onnx", "torchscript"):
            return found.family if found.family in LEARNED else "network"
        return "diffusion"
    try:
        return _of_card(catalog.find(model) if store is None else store.find(model))
    except InputError as error:
        if error.code == "model.unknown" and model.count("/") == 1:
            return "diffusion"  # a repository that may be in the hub's cache
        raise


def _of_card(card: ModelCard) -> str:
    if card.engine == "diffusion":
        return "diffusion"
    if card.engine in ("onnx", "torchscript"):
        return card.family if card.family in LEARNED else "network"
    raise InputError(
        f"{card.id} does not fill holes: {card.title}",
        code="model.family",
        hint="`reknit models list` shows each model's engine",
        model=card.id,
    )
