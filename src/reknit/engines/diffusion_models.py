"""Which diffusion model is meant, and what is known of it before any weight is read.

A model is a folder of diffusers, one file, a model of the catalog, or a repository in the hub's cache. Its family
comes from headers and configuration files, never from its name. No framework is imported.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from reknit.core.errors import InputError, NotFound, Unavailable
from reknit.diffusion import distilled, families, pipelines
from reknit.diffusion.pipelines import PipelineFacts
from reknit.engines.base import Models
from reknit.models.catalog import ModelCard

if TYPE_CHECKING:
    from reknit.models.store import Store

_BY_WIDTH = {768: "sd15", 1024: "sd2", 2048: "sdxl"}  # of what the denoiser attends to
_FLUX_INPAINT_CHANNELS = 384
_FORMATS = ("safetensors", "gguf", "pickle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model on this machine.

    Attributes
    ----------
    source : str
        What the checkpoint is opened by: a path or a model's id.
    name : str
        What a recipe calls it.
    family : str
    kind : str
        ``inpaint`` or ``base``.
    native_px, multiple_px : int
    distilled : str or None
        ``turbo``, ``lightning``, ``lcm``, ``hyper``, ``schnell``.
    stated_steps : int or None
        What the name of a distilled model says, as in ``lightning_4step``.
    pipeline : PipelineFacts or None
        For models that diffusers' own pipelines run.
    bytes : int
        Of all weights; 0 where it is not known.
    note : str
        What to tell who asked for it by this name.
    """

    source: str
    name: str
    family: str
    kind: str
    native_px: int
    multiple_px: int
    distilled: str | None = None
    stated_steps: int | None = None
    pipeline: PipelineFacts | None = None
    bytes: int = 0
    note: str = ""


def find(model: str | None, models: Models | None) -> Found:
    """Return the model that is meant; None for the first that is installed.

    Raises
    ------
    Unavailable
        ``model.missing``: it is known, but not on this machine; nothing is downloaded.
    NotFound
        ``model.unknown``
    InputError
        ``model.family``: of a family that nothing here runs; ``model.damaged``, ``model.unrecognised``
    """
    from reknit.diffusion import sources
    from reknit.models import catalog

    store = None if models is None else models()
    if model is None:
        model = _first(store)
    card = None
    if not Path(model).expanduser().exists():
        with suppress(NotFound):
            card = catalog.find(model) if store is None else store.find(model)
        if card is not None and store is None:
            from reknit.models.store import missing

            raise missing(card)
    where = sources.locate(model, store, None if store is None else store.hub_cache)
    if card is None and store is not None and where.main.is_file():
        card = store.known_as(where.main)
    found = _folder(where.main, card) if where.main.is_dir() else _file(where.main)
    denoiser, scheduler = _configs(where.main)
    how = None if found.pipeline else distilled.recognise(denoiser, scheduler, where.names)
    found = replace(
        found,
        source=model if where.parts else found.source,
        name=where.main.stem if where.main.is_file() else where.names[0].rpartition("/")[2],
        distilled=how,
        stated_steps=distilled.stated_steps(where.names) if how else None,
    )
    if card is None:
        return found
    return replace(
        found,
        name=card.id,
        native_px=card.native_px,
        multiple_px=max(card.multiple_of, found.multiple_px),
        bytes=card.bytes or found.bytes,
        note=card.moved_note(model) or "",
    )


def _first(store: Store | None) -> str:
    """Return the first model that is installed."""
    cards = [] if store is None else [each.card for each in store.installed()]
    found = next((card.id for card in cards if card.engine == "diffusion"), None)
    if found is None:
        raise Unavailable(
            "the engine diffusion needs a model",
            code="model.missing",
            hint="-p model=FILE or folder names one; `reknit models list` shows which can be pulled",
            engine="diffusion",
        )
    return found


def _configs(main: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configurations of a folder's denoiser and scheduler, as far as they are there."""
    denoiser = _json(main / "unet" / "config.json") or _json(main / "transformer" / "config.json")
    return denoiser, _json(main / "scheduler" / "scheduler_config.json")


def _json(path: Path) -> dict[str, Any]:
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _file(path: Path) -> Found:
    from reknit.models.identify import identify
    from reknit.models.store import described

    identity = identify(path)
    if identity.format not in _FORMATS or identity.kind not in ("inpaint", "base"):
        raise InputError(
            f"{path.name} is no diffusion model: {described(identity)}",
            code="model.family",
            hint="`reknit models show FILE` tells what a file is",
            path=str(path),
        )
    return _native(str(path), identity.family, identity.kind, path.stat().st_size)


def _native(source: str, family: str, kind: str, size: int, native_px: int | None = None) -> Found:
    facts = families.family(family)
    return Found(
        source=source,
        name="",
        family=family,
        kind=kind,
        native_px=native_px or facts.native_px,
        multiple_px=facts.multiple_px,
        bytes=size,
    )


def _folder(folder: Path, card: ModelCard | None) -> Found:
    size = sum(path.stat().st_size for path in folder.glob("*/*") if path.suffix in (".safetensors", ".bin"))
    facts = pipelines.facts_of(folder, wanted=card.pipeline if card else None)
    if facts is not None:
        return Found(
            source=str(folder),
            name="",
            family=card.family if card else facts.family,
            kind="inpaint",
            native_px=facts.native_px,
            multiple_px=facts.multiple_px,
            pipeline=facts,
            bytes=size,
        )
    for part in ("unet", "transformer"):
        config = _json(folder / part / "config.json")
        family, kind = _by_config(part, config)
        if family is not None:
            side = config.get("sample_size") if part == "unet" else None
            large = side * 8 if isinstance(side, int) and side >= 64 else None
            return _native(str(folder), family, kind, size, large)
    told = pipelines.class_of(folder) or "no folder of diffusers"
    raise InputError(
        f"{folder.name} is of a family that Reknit does not know: {told}",
        code="model.family",
        hint="docs/diffusion.md lists the families",
        path=str(folder),
    )


def _by_config(part: str, config: dict[str, Any]) -> tuple[str | None, str]:
    channels = config.get("in_channels")
    if part == "transformer":
        known = config.get("_class_name") == "FluxTransformer2DModel"
        return ("flux" if known else None), "inpaint" if channels == _FLUX_INPAINT_CHANNELS else "base"
    width = config.get("cross_attention_dim")
    width = width[0] if isinstance(width, list) and width else width  # pyright: ignore[reportUnknownVariableType]
    family = _BY_WIDTH.get(width) if isinstance(width, int) else None
    return family, "inpaint" if channels == 9 else "base"
