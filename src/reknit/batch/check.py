"""What can be said about a batch before any picture is opened: its values, its engine, its folders.

A mistake that would fail every picture is told here, once. Nothing is read but the header of a named model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reknit.batch import places
from reknit.batch.item import FINDERS, Setup
from reknit.batch.manifest import RECORD, WorkList
from reknit.config import load, model_store
from reknit.core.errors import InputError, nearest_name
from reknit.core.geometry import Size
from reknit.core.options import check_all
from reknit.core.request import FILL_OPTIONS
from reknit.engines import registry
from reknit.engines.base import Configurable
from reknit.engines.choice import engine_of
from reknit.inputs import as_box
from reknit.pipeline.plan import AUTOMATIC
from reknit.pipeline.timestamp import CORNERS

if TYPE_CHECKING:
    from reknit.models.store import Store


def check_setup(setup: Setup) -> Setup:
    """Return ``setup`` with checked values, or raise `InputError` for what no picture could be done with."""
    checked: dict[str, Any] = {}
    for option in FILL_OPTIONS:
        value = getattr(setup, option.name)
        checked[option.name] = None if value is None else option.check(value)
    for text in setup.boxes:
        as_box(text, Size(width=2**30, height=2**30))
    for name, value, choices in (
        ("find", setup.find, FINDERS),
        ("mask_from", setup.mask_from, ("luma", "alpha")),
        ("corner", setup.corner, CORNERS),
    ):
        if value is not None and value not in choices:
            raise InputError(
                f"{name}: {value!r} is not a choice",
                code="option.value",
                hint=nearest_name(str(value), choices),
            )
    if setup.find is not None and (setup.boxes or setup.mask_from == "alpha"):
        raise InputError(
            "a mask is either found or given",
            code="batch.mask",
            hint="leave away --find, or --box and --mask-from",
        )
    name = engine_known(setup)
    if name is not None:
        engine = registry.get(name)
        params = check_all(engine.spec.options, setup.params, owner=f"engine {name}")
        if isinstance(engine, Configurable):
            engine.configured(params, _models)
    else:
        _check_some_engine(setup.params)
    return replace(setup, **checked)


def _check_some_engine(params: Mapping[str, Any]) -> None:
    """Refuse an option that none of the engines has from which `auto` chooses for each picture."""
    engines = [registry.get(name) for name in ("exemplar", "navier-stokes", *AUTOMATIC)]
    known = {option.name for engine in engines for option in engine.spec.options}
    for name in params:
        if name not in known:
            raise InputError(
                f"no engine that auto may choose has the option {name!r}",
                code="option.unknown",
                hint="name the --engine or the --model it is for",
            )


def engine_known(setup: Setup) -> str | None:
    """Return the engine of all pictures, if it is named, or follows from the model or the prompt."""
    if setup.engine != "auto":
        return setup.engine
    if setup.params.get("model"):
        return engine_of(str(setup.params["model"]), _models)
    return "diffusion" if setup.params.get("prompt") else None


def _models() -> Store:
    return model_store(load())


def wants_gpu(setup: Setup) -> bool:
    """Return whether the engine of all pictures is known, can use a GPU, and was not told otherwise."""
    name = engine_known(setup)
    if name is None:
        return False
    options = {option.name: option for option in registry.get(name).spec.options}
    return "device" in options and setup.params.get("device", "auto") in ("auto", "cuda")


def record_folder(root: str, out: str, record: Path | None) -> Path:
    """Return where the ledger and the report lie; raises `InputError` (``batch.places``)."""
    if not places.is_uri(out) and out == root:
        raise InputError(
            "IN and OUT are the same folder; sources are never overwritten",
            code="batch.places",
            hint="name another OUT; it may lie in IN",
        )
    if not places.is_uri(out) and Path(out).exists() and not Path(out).is_dir():
        raise InputError(f"{out} is a file; OUT is a folder", code="batch.places", hint="name another OUT")
    if record is not None:
        return Path(places.absolute(str(record)))
    if places.is_uri(out):
        raise InputError(
            f"the ledger needs a folder on this machine, and {out} is none",
            code="batch.places",
            hint="--report DIR names one",
        )
    return Path(out, RECORD)


def to_skip(work: WorkList, out: str, record: Path) -> tuple[str, ...]:
    """Return the folders in which no source lies: OUT, the record, and a folder of masks."""
    masks = [work.mask] if work.mask is not None and work.mask != work.root else []
    return tuple(place for place in (out, str(record), *masks) if not places.is_uri(place))
