"""What an engine is: facts that import in a millisecond, and a session that fills crops.

An engine knows no HTTP, no jobs, no files of photos, no regions and no compositing. It gets a `Crop` and
gives back the crop's pixels with the hole filled; what it does outside the hole is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from reknit.core.fit import Frame, SizeRule
from reknit.core.image import Samples
from reknit.core.options import Option
from reknit.core.progress import Report

if TYPE_CHECKING:
    from reknit.models.store import Store

Hole = NDArray[np.bool_]
Models: TypeAlias = "Callable[[], Store]"
"""Where the models on this machine are looked up; called only when one is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """Facts of an engine. Building one imports nothing heavy.

    Attributes
    ----------
    name : str
        What users type.
    title : str
        One line for listings.
    options : tuple of Option
        The engine's own parameters (``-p NAME=VALUE``).
    requires : tuple of str
        Modules that must be importable.
    extra : str
        The pip extra that brings them, or "".
    size_rule : SizeRule
    context : float
        How much surroundings the engine wants, as a multiple of the hole's longer side, on each side.
    context_min_px : int
        At least this many pixels of surroundings on each side.
    context_max_px : int
        At most this many pixels of surroundings on each side.
    max_pixels : int or None
        Larger crops are tiled; None for engines that take any.
    good_px : int or None
        The side of crops at which a learned engine does best: holes get crops of at least this where the photo
        has room, thin ones no more, and what is scaled down to it is worked coarse to fine. None for engines that
        do as well at any size.
    feather_px : int
        Width of the blend ring outside the grown hole that suits this engine; 0 when its rim is seamless.
    match_rim : bool
        Whether the compositor should match colour and grain to the surroundings (learned engines).
    seeded : bool
        Whether different seeds give different fills.
    needs_model : bool
        Whether it runs a model that must be installed; its option ``model`` names one.
    hurries : bool
        Whether work that is hurried ends after its step, with the picture as far as it came; while it can, it tells
        previews. Others go on to their end.
    native_depth : bool
        True: takes and returns uint8 and uint16 crops of 3 or 4 channels (the fourth is alpha).
        False: gets uint8 RGB and the pipeline carries depth and alpha.
    side_by_side : bool
        Whether small crops are best filled side by side, by sessions of one thread each; False: one after another,
        by one session with all threads (networks, whose weights would have to be loaded more than once).
    seconds_per_hole_px, seconds_per_region, bytes_per_crop_px : float
        Measured rates on one CPU thread, for predictions; docs/benchmarks.md says how they were measured.
    """

    name: str
    title: str
    options: tuple[Option, ...] = ()
    requires: tuple[str, ...] = ()
    extra: str = ""
    size_rule: SizeRule = field(default_factory=SizeRule)
    context: float = 1.0
    context_min_px: int = 64
    context_max_px: int = 1024
    max_pixels: int | None = None
    good_px: int | None = None
    feather_px: int = 0
    match_rim: bool = False
    seeded: bool = False
    needs_model: bool = False
    hurries: bool = False
    native_depth: bool = False
    side_by_side: bool = True
    seconds_per_hole_px: float = 1e-6
    seconds_per_region: float = 1e-3
    bytes_per_crop_px: int = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """What an engine gets.

    Attributes
    ----------
    pixels : ndarray, (H, W, C), uint8 or uint16, C-contiguous, read-only
        C is 3 (RGB) or, for engines with ``native_depth``, maybe 4 (RGB + alpha). Values inside ``hole``
        are the original's and must not influence the result.
    hole : ndarray of bool, (H, W)
        Every unknown pixel, True = fill.
    target : ndarray of bool, (H, W)
        The part of ``hole`` whose values will be used; an engine may skip the rest.
    source : ndarray of bool, (H, W)
        Where an exemplar engine may copy from (never inside ``hole``); others ignore it.
    frame : Frame or None
        Where in the photo it lies, for engines to which options give further pictures of the same view; None if it
        lies in none.
    """

    pixels: Samples
    hole: Hole
    target: Hole
    source: Hole
    frame: Frame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What an engine or a session has to tell about its work.

    Attributes
    ----------
    notes : tuple of str
        For people: what was chosen or had to be done otherwise than asked.
    facts : mapping
        For the record that makes the work repeatable: JSON-serialisable values, such as a model's hash.
    """

    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@runtime_checkable
class Telling(Protocol):
    """An engine, once configured, or a session, once it ran, that has something to tell."""

    def told(self) -> Told:
        """Return it."""
        ...


@runtime_checkable
class Foreseeing(Protocol):
    """A session that works faster when it knows which seeds it will be asked for with the same crop."""

    def foresee(self, seeds: Sequence[int]) -> None:
        """Take note of the seeds of the variations to come; the fills stay the same as without."""
        ...


class Session(Protocol):
    """A loaded engine. Sessions may be used again, from one thread at a time."""

    def run(self, crop: Crop, params: Mapping[str, Any], seed: int, report: Report) -> Samples:
        """Return the crop's pixels, same shape and dtype, with ``crop.target`` filled.

        ``params`` holds a checked value for each of the engine's options. The same seed gives the same
        bytes. Raises `Cancelled` soon after the caller asked to stop.
        """
        ...


class Engine(Protocol):
    """An entry in the registry."""

    spec: EngineSpec

    def load(self, *, threads: int) -> Session:
        """Return a session. ``threads`` ≥ 1 is how many CPU threads it may use."""
        ...


@runtime_checkable
class Configurable(Protocol):
    """An engine whose facts depend on its options, such as which model it runs."""

    def configured(self, params: Mapping[str, Any], models: Models | None) -> Engine:
        """Return the engine for checked ``params``; of a model it reads no more than the header.

        Its options have the model's own defaults.

        ``models`` gives the models on this machine, None where there are none to be found by name.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a configured engine would run, for whoever plans how it is laid out in memory.

    Attributes
    ----------
    family : str
        Of its model, in the catalog's words.
    file : str
        Name of the denoiser's file, which may tell its format.
    device : str
        Where it would run, such as ``cuda``.
    dtype : str
        What it would compute in, such as ``float16``.
    side : int
        Of the square whose area its crops have, in pixels.
    bytes : int
        Of all weights as stored; 0 where it is not known.
    """

    family: str
    file: str
    device: str
    dtype: str
    side: int
    bytes: int = 0


@runtime_checkable
class Placeable(Protocol):
    """An engine, once configured, whose model can be laid out in memory in several ways.

    Its options ``offload``, ``vae_tiling``, ``quantise`` and ``side`` choose among them.
    """

    def needs(self) -> Needs:
        """Return what it would run."""
        ...
