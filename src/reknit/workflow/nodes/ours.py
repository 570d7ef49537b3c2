"""Reknit's own nodes: fill a hole with any of its engines, or say how it would."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import InputError
from reknit.core.image import Photo
from reknit.core.mask import Mask
from reknit.core.progress import Part
from reknit.core.request import FillRequest
from reknit.engines import registry as engines
from reknit.workflow.context import Context
from reknit.workflow.node import MAX_SEED, Shown, choice, integer, link, node, number, text
from reknit.workflow.nodes.pictures import repeated
from reknit.workflow.resize import scaled_mask

Floats = NDArray[np.float32]


def _engines(context: Context) -> tuple[str, ...]:
    return ("auto", *engines.BUILT_IN)


@node(
    "ReknitFill",
    link("image", "IMAGE"),
    link("mask", "MASK"),
    choice("engine", _engines, "auto", loose=True),
    integer("seed", 0, 0, MAX_SEED),
    number("grow", 2.0, 0, 512),
    number("feather", -1.0, -1, 512, required=False),
    text("params", "", required=False),
    outputs="IMAGE:image STRING:notes",
    title="Reknit Fill",
    category="reknit",
    wants_context=True,
)
def reknit_fill(
    context: Context,
    image: Floats,
    mask: Floats,
    engine: str,
    seed: int,
    grow: float,
    feather: float,
    params: str,
) -> tuple[Floats, str]:
    """Fill the hole at full size; every pixel outside it and its rim stays as it was."""
    given = _params(params)
    return filled(context, image, mask, engine=engine, params=given, seed=seed, grow=grow, feather=feather)


@node(
    "ReknitPlan",
    link("image", "IMAGE"),
    link("mask", "MASK"),
    choice("engine", _engines, "auto", loose=True),
    number("grow", 2.0, 0, 512),
    text("params", "", required=False),
    outputs="STRING:plan",
    title="Reknit Plan",
    category="reknit",
    is_output=True,
    wants_context=True,
)
def reknit_plan(
    context: Context, image: Floats, mask: Floats, engine: str, grow: float, params: str
) -> Shown:
    """Say which engine would fill the hole, in which pieces, and what that would cost."""
    from reknit.pipeline.plan import plan_fill

    fitted = scaled_mask(mask, image.shape[2], image.shape[1])
    request = FillRequest(
        photo=_photo(image[0]),
        mask=Mask.from_bool(fitted[0] > 0.5),
        engine=engine,
        params=_params(params),
        grow=grow,
    )
    plan = plan_fill(request, threads=context.threads, models=context.models).plan
    said = json.dumps(plan.to_dict())
    return Shown(ui={"text": [said]}, outputs=(said,))


def filled(
    context: Context,
    image: Floats,
    mask: Floats,
    *,
    engine: str,
    params: Mapping[str, Any],
    seed: int,
    grow: float,
    feather: float,
) -> tuple[Floats, str]:
    """Return pictures with their holes filled, and notes; samples that the fill leaves alone stay to the last bit.

    ``feather`` below 0 is what suits the engine. A mask of another size is scaled; nothing masked, nothing done.
    """
    from reknit.pipeline.fill import fill

    holes = repeated(scaled_mask(mask, image.shape[2], image.shape[1]), len(image)) > 0.5
    made, notes = image.copy(), dict[str, None]()
    for index, (picture, hole) in enumerate(zip(image, holes, strict=True)):
        if not hole.any():
            notes["nothing is masked"] = None
            continue
        request = FillRequest(
            photo=_photo(picture),
            mask=Mask.from_bool(np.ascontiguousarray(hole)),
            engine=engine,
            params=params,
            seed=(seed + index) % 2**32,
            grow=grow,
            feather=None if feather < 0 else feather,
        )
        report = Part(context.report, index / len(image), (index + 1) / len(image))
        result = fill(request, threads=context.threads, report=report, models=context.models)
        before, after = request.photo.to_numpy(), result.to_numpy()
        changed = (before != after).any(axis=2) | hole
        made[index][changed] = after[changed][:, : picture.shape[2]].astype(np.float32) / np.float32(255)
        notes |= dict.fromkeys(result.notes)
    return made, "\n".join(notes)


def _photo(picture: Floats) -> Photo:
    return Photo.from_array(np.clip(np.rint(picture * np.float32(255)), 0, 255).astype(np.uint8))


def _params(words: str) -> dict[str, str]:
    """Return ``"quality=best radius=5"`` as a mapping."""
    found: dict[str, str] = {}
    for word in words.split():
        name, equals, value = word.partition("=")
        if not equals:
            raise InputError(f"{word!r} is not NAME=VALUE", code="option.value", hint="e.g. quality=best")
        found[name] = value
    return found
