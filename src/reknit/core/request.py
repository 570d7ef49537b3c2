"""What a fill is asked to do: one value with every knob.

Doors (command line, Python, HTTP) build a `FillRequest`; the pipeline reads it. The scalar knobs are
described once, in `FILL_OPTIONS`; flags, schemas and forms are derived from that. Nothing here knows an
engine, and an engine's own parameters travel in ``params`` unchecked until the engine is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from reknit.core.errors import InputError
from reknit.core.image import Photo
from reknit.core.mask import Mask
from reknit.core.options import Option

FILL_OPTIONS: tuple[Option, ...] = (
    Option(
        name="engine",
        kind="text",
        default="auto",
        help="Which engine fills the hole; auto chooses by the hole's thickness.",
    ),
    Option(
        name="seed",
        kind="int",
        default=0,
        minimum=-1,
        maximum=2**32 - 1,
        help="Same seed, same bytes; -1 draws one and reports it.",
    ),
    Option(
        name="count", kind="int", default=1, minimum=1, maximum=64, help="How many different fills to make."
    ),
    Option(
        name="grow",
        kind="float",
        default=2.0,
        minimum=0,
        maximum=512,
        unit="px",
        help="Grow the hole by this much, so that nothing of the removed object stays at its rim.",
    ),
    Option(
        name="feather",
        kind="float",
        default=None,
        minimum=0,
        maximum=512,
        unit="px",
        help="Blend over a ring of this width outside the grown hole; by default what suits the engine.",
    ),
    Option(
        name="context",
        kind="int",
        default=None,
        minimum=1,
        maximum=65535,
        unit="px",
        help="How much surroundings the engine sees on each side of a hole; by default what suits it.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FillRequest:
    """Fill the masked part of a photo.

    Attributes
    ----------
    photo : Photo
    mask : Mask
        Same size as the photo; neither empty nor full.
    source : Mask or None
        Where an exemplar engine may copy from (True = may); None for everywhere outside the hole.
    engine : str
        A registered engine's name, or ``"auto"``.
    params : mapping
        The engine's own options, checked against its description.
    seed : int
        0 … 2³²−1, or −1 to draw one.
    count : int
        How many different fills to make.
    grow : float
        Pixels by which the hole is dilated before it is filled.
    feather : float or None
        Width of the blend ring outside the grown hole; None for the engine's own.
    context : int or None
        Pixels of surroundings an engine sees on each side; None for the engine's own.
    added : (int, int, int, int)
        Pixels that extending added to the photo given, at the left, top, right and bottom.

    Raises
    ------
    InputError
        ``mask.size``, ``mask.empty``, ``mask.full``, ``source.size``, ``source.empty``, ``option.value``.
    """

    photo: Photo
    mask: Mask
    source: Mask | None = None
    engine: str = "auto"
    params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    seed: int = 0
    count: int = 1
    grow: float = 2.0
    feather: float | None = None
    context: int | None = None
    added: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __post_init__(self) -> None:
        for option in FILL_OPTIONS:
            option.check(getattr(self, option.name))
        self.mask.check_against(self.photo.size)
        if self.source is not None:
            check_source(self.source, self.photo)


def check_source(source: Mask, photo: Photo) -> None:
    """Raise `InputError` unless ``source`` has the photo's size and allows something."""
    if source.size != photo.size:
        raise InputError(
            f"the source mask is {source.size}, the photo {photo.size}",
            code="source.size",
            hint="give a source mask of the photo's size",
        )
    if source.area == 0:
        raise InputError(
            "the source mask allows nothing: it has no white",
            code="source.empty",
            hint="paint white where the fill may copy from",
        )
