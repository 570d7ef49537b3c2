"""What a fill gives back: the photos, how they were made, and the proof that nothing else changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from reknit.core.composite import Proof
from reknit.core.geometry import Box, Size
from reknit.core.image import Photo, Samples
from reknit.core.mask import Mask
from reknit.core.request import FillRequest

if TYPE_CHECKING:
    from PIL.Image import Image

    from reknit.core.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a request will be carried out; printable, and made before any pixel is touched.

    Attributes
    ----------
    engine : str
    reasons : tuple of str
        Why this engine and these regions, in sentences.
    params : mapping
        Every option of the engine with the value used.
    size : Size
        The photo's.
    hole_px : int
        Pixels that will be filled (the mask, grown).
    grow_px, feather_px : float
        Dilation of the mask, and width of the blend ring outside it.
    regions : tuple of (Box, Box)
        Hole box and context box of each separate piece of work, in the photo.
    threads : int
    seconds, peak_bytes : float, int
        Predicted; the prediction's basis is the engine's measured rate, see docs/benchmarks.md.
    """

    engine: str
    reasons: tuple[str, ...]
    params: Mapping[str, Any]
    size: Size
    hole_px: int
    grow_px: float
    feather_px: float
    regions: tuple[tuple[Box, Box], ...]
    threads: int
    seconds: float
    peak_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-serialisable data; boxes are ``[x0, y0, x1, y1]``."""
        return {
            "engine": self.engine,
            "reasons": list(self.reasons),
            "params": dict(self.params),
            "width": self.size.width,
            "height": self.size.height,
            "hole_px": self.hole_px,
            "grow_px": self.grow_px,
            "feather_px": self.feather_px,
            "regions": [{"hole": _corners(h), "context": _corners(c)} for h, c in self.regions],
            "threads": self.threads,
            "predicted_seconds": round(self.seconds, 3),
            "predicted_peak_bytes": self.peak_bytes,
        }


def _corners(box: Box) -> list[int]:
    return [box.x0, box.y0, box.x1, box.y1]


@dataclass(frozen=True, slots=True, kw_only=True)
class FillResult:
    """A filled photo, or several variations of it.

    Attributes
    ----------
    photos : tuple of Photo
        One for each variation asked for.
    before : Photo
        What was given.
    mask : Mask
        What was asked to be filled, before growth.
    plan : Plan
    seed : int
        The first variation's seed; variation *i* has ``(seed + i) mod 2³²``.
    notes : tuple of str
        What people should know: conversions, choices, limits.
    timings : mapping of str to float
        Wall seconds a stage.
    report : Proof
    facts : mapping
        What the engine told for the record: its model's hash, versions, ….
    request : FillRequest or None
        What was asked for; None if nothing had to be filled.
    peak_bytes : int or None
        The most that the process held of the memory it computed in, as measured; the plan has what was predicted.
    """

    photos: tuple[Photo, ...]
    before: Photo
    mask: Mask
    plan: Plan
    seed: int
    notes: tuple[str, ...]
    timings: Mapping[str, float]
    report: Proof
    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    request: FillRequest | None = None
    peak_bytes: int | None = None

    def __repr__(self) -> str:
        return f"<FillResult {self.photo.size.width}×{self.photo.size.height}, {self.summary()}>"

    @property
    def photo(self) -> Photo:
        """The (first) filled photo."""
        return self.photos[0]

    def save(
        self, path: str | Path, *, index: int = 0, quality: int | None = None, recipe: bool = True
    ) -> tuple[str, ...]:
        """Write a variation to ``path`` and return notes about the writing.

        The suffix chooses the container; metadata, depth and quality are the input's. JPEG blocks that did
        not change are copied, not encoded again. The file appears whole or not at all. It holds its recipe, unless
        ``recipe`` is False; `reknit.replay` makes it again from that.
        """
        from reknit.core import codec

        photo = self.with_recipe(index) if recipe else self.photos[index]
        return codec.write(photo, Path(path), quality=quality).notes

    def recipe(self, index: int = 0) -> Recipe | None:
        """Return how a variation was made; None if nothing had to be filled."""
        from reknit import __version__
        from reknit.core.recipe import Recipe, digest, portable

        if self.request is None:
            return None
        return Recipe(
            version=__version__,
            engine=self.plan.engine,
            params=portable(self.plan.params),
            seed=(self.seed + index) % 2**32,
            grow=self.request.grow,
            feather=self.request.feather,
            context=self.request.context,
            size=self.before.size,
            added=self.request.added,
            photo_sha256=digest(self.before, self.request.added),
            photo_name=self.before.origin.name if self.before.origin else "",
            mask=self.mask,
            source=self.request.source,
            facts=self.facts,
        )

    def with_recipe(self, index: int = 0) -> Photo:
        """Return a variation with its recipe in its text."""
        from reknit.core.recipe import embedded

        photo, recipe = self.photos[index], self.recipe(index)
        return photo if recipe is None else embedded(photo, recipe)

    def to_numpy(self, index: int = 0) -> Samples:
        """Return a variation as a new (H, W, 3) array, or (H, W, 4) if the photo has alpha."""
        return self.photos[index].to_numpy()

    def to_pil(self, index: int = 0) -> Image:
        """Return a variation as a PIL image (8 bits a channel); needs Pillow."""
        return self.photos[index].to_pil()

    def _repr_html_(self) -> str:
        """Show before and after side by side in a notebook."""
        from reknit.core.preview import before_after_html

        return before_after_html(self.before, self.photo, self.summary())

    def summary(self) -> str:
        """Return one line for people."""
        plan = self.plan
        kept = "every other pixel unchanged" if self.report.outside_equal else "PIXELS OUTSIDE CHANGED"
        return (
            f"{plan.engine}: {plan.hole_px:,} px filled in {self.timings['total']:.2f} s, "
            f"seed {self.seed}, {kept}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything but pixels as JSON-serialisable data."""
        return {
            "plan": self.plan.to_dict(),
            "seed": self.seed,
            "notes": list(self.notes),
            "timings": {k: round(v, 4) for k, v in self.timings.items()},
            "report": asdict(self.report),
            "peak_bytes": self.peak_bytes,
            "memory": {"predicted_bytes": self.plan.peak_bytes, "measured_bytes": self.peak_bytes},
        }
