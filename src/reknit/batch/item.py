"""What a batch is made of: how all pictures are done (`Setup`), one picture (`Item`), what came of it (`Outcome`).

All three travel as JSON: to worker processes, into the ledger, over a cluster. Pixels never do. Nothing here reads
a file or fills a hole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Row = Mapping[str, Any]
State = Literal["done", "failed"]
FINDERS = ("damage", "timestamp")
"""Masks that are found by looking at the picture."""

_LAST_SUFFIX = re.compile(r"(\.[^./]*)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How every picture of a batch is done, unless its own row says otherwise.

    Attributes
    ----------
    out : str
        Folder or URI under which outputs lie.
    engine, params, seed, count, grow, feather, context
        As in `FillRequest`; ``grow`` None for the default of the kind of work.
    mask_from, invert, resize_mask
        How mask files are read, as in `inputs.as_mask`.
    boxes : tuple of str
        ``X,Y,W,H`` to fill besides, or instead of, a mask file.
    source : str or None
        A mask file: where exemplar fills may copy from.
    find : {'damage', 'timestamp'} or None
        Look for the mask in each picture.
    kinds, sensitivity
        What damage to look for, as in `RepairRequest`.
    corner : str
        Where a time stamp is looked for.
    quality : int or None
        Of outputs that are encoded anew.
    recipe : bool
        PNG files hold how they were made.
    overwrite : bool
        Outputs may replace files that were there before the batch; sources are never replaced.
    max_pixels, max_bytes : int
        Refuse larger pictures.
    within : tuple of str
        If any are given: folders outside which nothing is read or written, links followed.
    """

    out: str
    engine: str = "auto"
    params: Row = field(default_factory=lambda: MappingProxyType({}))
    seed: int = 0
    count: int = 1
    grow: float | None = None
    feather: float | None = None
    context: int | None = None
    mask_from: Literal["luma", "alpha"] = "luma"
    invert: bool = False
    resize_mask: bool = False
    boxes: tuple[str, ...] = ()
    source: str | None = None
    find: Literal["damage", "timestamp"] | None = None
    kinds: tuple[str, ...] = ()
    sensitivity: float = 0.5
    corner: str = "bottom-right"
    quality: int | None = None
    recipe: bool = True
    overwrite: bool = False
    max_pixels: int = 500_000_000
    max_bytes: int = 2_000_000_000
    within: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON data."""
        names = (name for name in self.__slots__ if name != "params")
        return {**{name: getattr(self, name) for name in names}, "params": dict(self.params)}

    @staticmethod
    def of(data: Row) -> Setup:
        """Return what `to_dict` made."""
        lists = {name: tuple(data[name]) for name in ("boxes", "kinds", "within")}
        given: dict[str, Any] = {**data, **lists}
        return Setup(**given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One picture to do.

    Attributes
    ----------
    id : int
        Its number in the ledger.
    image : str
        Path or URI.
    mask : str or None
        Path or URI of its mask file.
    output : str
        Below ``Setup.out``, with ``/`` between folders.
    row : mapping
        Its own values of `Setup`'s fields.
    tries : int
        How often it was tried before and failed for a reason that may pass.
    thumb : bool
        Make small pictures of it, for the report.
    existed : bool
        Whether there was such an output before the batch.
    file_bytes : int
        Size of the image's file; 0 if unknown.
    """

    id: int
    image: str
    mask: str | None
    output: str
    row: Row = field(default_factory=lambda: MappingProxyType({}))
    tries: int = 0
    thumb: bool = False
    existed: bool = False
    file_bytes: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON data."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "row": dict(self.row)}


def outputs_of(output: str, count: int) -> tuple[str, ...]:
    """Return the name of every variation's file: with ``-1``, ``-2``, … before the suffix if there are several."""
    if count == 1:
        return (output,)
    return tuple(_LAST_SUFFIX.sub(rf"-{i + 1}\1", output, count=1) for i in range(count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one picture.

    Attributes
    ----------
    id : int
        Its number in the ledger.
    image : str
        Path or URI of the source.
    outputs : tuple of str
        Paths or URIs of what was written; empty if it failed.
    state : {'done', 'failed'}
    error : mapping or None
        ``code``, ``message``, ``hint``, ``facts`` of a failure.
    may_pass : bool
        Trying again may help: the disk, the network, memory.
    engine : str
    size : tuple of int
        Width and height in pixels; (0, 0) if that was never known.
    hole_px : int
    seconds : mapping of str to float
        Wall seconds of ``read``, ``fill`` and ``write``.
    notes : tuple of str
    thumbs : tuple of str
        Small JPEG files of before and after in base64, if they were asked for.
    """

    id: int
    image: str
    outputs: tuple[str, ...] = ()
    state: State = "done"
    error: Row | None = None
    may_pass: bool = False
    engine: str = ""
    size: tuple[int, int] = (0, 0)
    hole_px: int = 0
    seconds: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()
    thumbs: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether the output is there."""
        return self.state == "done"

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON data."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "seconds": dict(self.seconds)}

    @staticmethod
    def of(data: Row) -> Outcome:
        """Return what `to_dict` made."""
        given: dict[str, Any] = dict(data)
        given |= {name: tuple(data[name]) for name in ("outputs", "size", "notes", "thumbs")}
        return Outcome(**given)
