"""Recipes of finished pictures: read them, and make the pictures again.

A recipe of Reknit's holds everything but the photo, so the photo is needed; a ``parameters`` text of another
program holds no mask either. The photo is looked for beside the picture by its name where none is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os import PathLike, fspath
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from reknit.core import codec
from reknit.core.errors import InputError, NotFound
from reknit.core.image import Photo
from reknit.core.progress import Report, Reporter
from reknit.core.recipe import PICTURES, Recipe, digest, read, read_parameters
from reknit.core.request import FillRequest
from reknit.core.result import FillResult
from reknit.engines.diffusion_options import from_parameters
from reknit.inputs import MaskLike, PhotoLike, as_mask, as_photo
from reknit.pipeline.canvas import expand, plan_canvas

if TYPE_CHECKING:
    from reknit.engines.base import Models


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A request made of a recipe.

    Attributes
    ----------
    request : FillRequest
    expected : ndarray or None
        The pixels that should come out; None if photo or recipe are others than those of the picture.
    container : str or None
        What the pixels have to be encoded in first, where that changes them.
    embeddings : mapping of str to str
        The SHA-256 of the textual inversions that were used, by name.
    notes : tuple of str
    """

    request: FillRequest
    expected: Any
    notes: tuple[str, ...]
    container: str | None = None
    embeddings: Mapping[str, str] = field(default_factory=dict[str, str])


def prepare(
    file: str | PathLike[str],
    photo: PhotoLike | None = None,
    mask: MaskLike | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    limits: codec.Limits | None = None,
) -> Replay:
    """Return the request that makes the picture in ``file`` again.

    Parameters
    ----------
    file
        A picture with a recipe, or with a ``parameters`` text of another program.
    photo
        The photo before; by default the file of its name beside ``file``.
    mask
        Another mask than the recipe's.
    params
        Options to take instead of the recipe's, such as ``model``.
    limits
        Refuse files beyond these.

    Raises
    ------
    NotFound
        ``recipe.missing``: the picture holds none; ``recipe.photo``: its photo is not beside it.
    InputError
        ``recipe.mask``, ``recipe.damaged``, ``recipe.later``
    """
    path = Path(fspath(file))
    picture = codec.read(path, limits=limits or codec.Limits())
    recipe = read(picture)
    if recipe is None:
        return _of_another_program(path, picture, photo, mask, params, limits)
    given = _photo(path, recipe, limits) if photo is None else as_photo(photo, limits=limits)
    before = _extended(given, recipe)
    if mask is not None:
        chosen = as_mask(mask, before.size, limits=limits)
    elif before.size == recipe.size:
        chosen = recipe.mask
    else:
        raise InputError(
            f"the recipe's mask is {recipe.size}, the photo {before.size}",
            code="recipe.mask",
            hint="give the photo that the picture was made of, or a mask for this one",
        )
    notes: tuple[str, ...] = ()
    same = digest(given) == recipe.photo_sha256
    if not same:
        notes = ("the photo is not the one of the recipe",)
    request = FillRequest(
        photo=before,
        mask=chosen,
        source=recipe.source if recipe.source and recipe.source.size == before.size else None,
        engine=recipe.engine,
        params={**recipe.params, **_beside(path, recipe.params), **(params or {})},
        seed=recipe.seed,
        grow=recipe.grow,
        feather=recipe.feather,
        context=recipe.context,
        added=recipe.added,
    )
    exact = same and mask is None and not params
    origin = picture.origin
    return Replay(
        request=request,
        expected=picture.to_numpy() if exact else None,
        container=None if origin is None or origin.lossless else origin.container,
        embeddings=_embeddings(recipe.facts) if params is None or "prompt" not in params else {},
        notes=notes,
    )


def replay(
    file: str | PathLike[str],
    photo: PhotoLike | None = None,
    mask: MaskLike | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    threads: int | None = None,
    report: Report | None = None,
) -> FillResult:
    """Make the picture in ``file`` again, or do to another photo what was done there.

    Parameters
    ----------
    file, photo, mask, params
        As for `prepare`.
    threads
        CPU threads; None for all.
    report
        Where progress goes.

    Returns
    -------
    FillResult
        Its notes say whether the pixels are those of ``file``.
    """
    from reknit.config import THREADS, load, model_store, usable_threads

    asked = prepare(file, photo, mask, params=params)
    number = usable_threads() if threads is None else THREADS.check(threads)
    return run(asked, threads=number, report=report or Reporter(), models=lambda: model_store(load()))


def run(asked: Replay, *, threads: int, report: Report, models: Models) -> FillResult:
    """Carry out a prepared replay and compare its result with what is expected."""
    from reknit.pipeline.fill import fill

    result = fill(asked.request, threads=threads, report=report, models=models)
    made = result.to_numpy()
    if asked.container is not None and asked.expected is not None:
        made = codec.decode(codec.encode(result.photo, container=asked.container).data).to_numpy()
    compared = (*_compared(made, asked.expected), *_others(asked.embeddings, _embeddings(result.facts)))
    return replace(result, notes=(*asked.notes, *compared, *result.notes))


def _embeddings(facts: Mapping[str, Any]) -> Mapping[str, str]:
    told: Any = facts.get("embeddings")
    return cast("Mapping[str, str]", told) if isinstance(told, Mapping) else {}


def _others(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Return notes on the embeddings of a recipe that are not here, or here are others."""
    return tuple(
        f"the embedding {name} is {'not the one of the recipe' if name in now else 'not here: it was read as words'}"
        for name, sha256 in before.items()
        if now.get(name) != sha256
    )


def _compared(made: Any, expected: Any) -> tuple[str, ...]:
    if expected is None or expected.shape != made.shape or expected.dtype != made.dtype:
        return ()
    different = int(np.count_nonzero((made != expected).any(axis=2)))
    return (f"{different:,} pixels differ from the picture's" if different else "the same pixels as before",)


def _extended(photo: Photo, recipe: Recipe) -> Photo:
    if not any(recipe.added):
        return photo
    left, top, right, bottom = recipe.added
    canvas = plan_canvas(photo.size, left=left, top=top, right=right, bottom=bottom)
    return expand(photo, canvas)[0]


def _beside(path: Path, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pictures that options name and that lie beside the result."""
    found = {name: path.parent / str(params[name]) for name in PICTURES if params.get(name)}
    return {name: str(file) for name, file in found.items() if file.is_file()}


def _photo(path: Path, recipe: Recipe, limits: codec.Limits | None) -> Photo:
    name = Path(recipe.photo_name).name
    for folder in (path.parent, Path()):
        if name and (folder / name).is_file():
            return codec.read(folder / name, limits=limits or codec.Limits())
    raise NotFound(
        f"the photo that {path.name} was made of is not beside it",
        code="recipe.photo",
        hint=f"reknit replay {path.name} PHOTO" + (f"; it was called {name}" if name else ""),
    )


def _of_another_program(
    path: Path,
    picture: Photo,
    photo: PhotoLike | None,
    mask: MaskLike | None,
    params: Mapping[str, Any] | None,
    limits: codec.Limits | None,
) -> Replay:
    told = read_parameters(picture)
    if told is None:
        raise NotFound(
            f"{path.name} holds no recipe",
            code="recipe.missing",
            hint="files that Reknit saved do, unless --no-recipe was given; editors may drop it",
        )
    if photo is None or mask is None:
        raise InputError(
            f"{path.name} holds the parameters of another program, and those know no photo and no mask",
            code="recipe.mask",
            hint=f"reknit replay {path.name} PHOTO MASK",
        )
    before = as_photo(photo, limits=limits)
    seed = told.values.get("Seed", "")
    request = FillRequest(
        photo=before,
        mask=as_mask(mask, before.size, limits=limits),
        engine="diffusion",
        params=MappingProxyType({**from_parameters(told), **(params or {})}),
        seed=int(seed) % 2**32 if seed.isdigit() else 0,
    )
    return Replay(request=request, expected=None, notes=("made from the parameters of another program",))
