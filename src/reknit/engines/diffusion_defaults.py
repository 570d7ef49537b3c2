"""What is chosen for whoever chose nothing: steps, guidance, sampler, masked content and working size.

Pure functions of what is known of a model. What a user gave is never changed, but for the one value that a family
is known to fail at; each choice that differs from the family's usual one is told in a note.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reknit.core.fit import SizeRule
from reknit.diffusion import families
from reknit.diffusion.distilled import DISTILLED
from reknit.engines.diffusion_models import Found

REFINE_SCALE = 2
"""How much larger, a side, the second pass works than the first in one piece; what is larger it does in tiles."""

MOST_PX = 1 << 25
"""Pixels of a crop that gets a second pass."""

MAX_UPSCALE = 64.0
"""How much a small crop is enlarged at the most: models paint badly far below the size they were trained for."""


LEAST_PX = 8
"""A picture's side; nothing smaller has a latent of its own."""


_FULL_STRENGTH = {("sdxl", "inpaint"): 0.99}
_FULL_NOTE = (
    "strength 1 was taken as 0.99: SDXL's inpainting model paints blurred when it begins with noise alone"
)


def settled(params: Mapping[str, Any], found: Found) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return ``params`` with a value for everything that was left open, and notes.

    Parameters
    ----------
    params
        Checked values of `diffusion_options.OPTIONS`.
    found
        The model.
    """
    usual, notes = _usual(found)
    steps, guidance = usual["steps"], usual["guidance"]
    values = dict(params)
    if values["sampler"] is not None:
        usual.pop("scheduler", None)  # what the sampler's authors chose
    for name, value in usual.items():
        if values[name] is None:
            values[name] = value
    if found.distilled is not None:
        high = params["guidance"] is not None and params["guidance"] > guidance + 1
        many = params["steps"] is not None and params["steps"] > 4 * steps
        if high or many:
            notes += ("more steps or guidance than that make its pictures worse",)
    if values["content"] is None:
        values["content"] = "fill" if values["strength"] >= 1 else "original"
    limit = _FULL_STRENGTH.get((found.family, found.kind))
    if limit is not None and found.pipeline is None and values["strength"] > limit:
        values["strength"] = limit
        notes += (_FULL_NOTE,)
    return values, (*notes, *((found.note,) if found.note else ()))


def _usual(found: Found) -> tuple[dict[str, Any], tuple[str, ...]]:
    if found.pipeline is not None:
        facts = found.pipeline
        return {"steps": facts.steps, "guidance": facts.guidance}, ()
    advice = DISTILLED.get(found.distilled or "")
    family = families.family(found.family)
    if advice is None:
        usual = {"steps": family.steps, "guidance": family.guidance[found.kind]}
        return usual | {"sampler": family.sampler, "scheduler": family.scheduler}, ()
    usual = {"steps": found.stated_steps or advice.steps, "guidance": advice.guidance}
    usual |= {"sampler": advice.sampler, "scheduler": advice.scheduler}
    note = (
        f"{found.name} is distilled ({found.distilled}): {usual['steps']} steps, guidance "
        f"{advice.guidance:g}, sampler {advice.sampler} suit it"
    )
    return usual, (note,)


def size_rule(found: Found, side: int | None, refine: float) -> SizeRule:
    """Return the sizes to work at: the area that the model was trained for, in the crop's own shape.

    Parameters
    ----------
    found
    side
        The side of the square of that area; None for the model's own.
    refine
        Above 0, crops may be larger, for a second pass.
    """
    area = (side or found.native_px) ** 2
    most = max(MOST_PX, area) if refine > 0 else area
    return SizeRule(
        multiple=found.multiple_px, areas=(area, most), max_upscale=MAX_UPSCALE, least_px=LEAST_PX
    )
