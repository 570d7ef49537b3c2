"""The engine ``diffusion``: a prompt and a model paint what is to be in the hole.

This module ties a model to the engine's facts (sizes, defaults, notes) without reading a weight; the work is
`diffusion_session`'s. It knows no family by name: families and pipelines are data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from reknit.core.errors import Unavailable
from reknit.core.progress import Reporter
from reknit.engines.base import EngineSpec, Models, Needs, Session, Told
from reknit.engines.diffusion_defaults import REFINE_SCALE, settled, size_rule
from reknit.engines.diffusion_further import NAMED, located, with_control
from reknit.engines.diffusion_models import Found, find
from reknit.engines.diffusion_options import OPTIONS

FEATHER_PX = 8
"""Width of the ring over which a painted hole is blended into its photo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionEngine:
    """An engine that runs diffusion models.

    Attributes
    ----------
    spec : EngineSpec
        Of any model; of the very model, with its own defaults, once `configured`.
    found : Found or None
        The model; None until `configured`.
    values : mapping
        Of every option, once `configured`.
    models : callable or None
        Where a checkpoint's further parts are found.
    notes : tuple of str
        What was chosen for the user.
    """

    spec: EngineSpec
    found: Found | None = None
    values: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    models: Models | None = None
    notes: tuple[str, ...] = ()

    def configured(self, params: Mapping[str, Any], models: Models | None) -> DiffusionEngine:
        """Return this engine for one model: its sizes, and its defaults for all that was left open.

        Raises
        ------
        NotFound, Unavailable, InputError
            There is no such model, it is not installed, or nothing here runs it; an unknown sampler; what
            `diffusion_further.located` says of further models.
        """
        from reknit.diffusion.sampler import sampler

        store = None if models is None else models()
        found = with_control(find(params["model"], models), params["control"], store)
        sampler(params["sampler"], params["scheduler"])
        values, notes = settled(params, found)
        values = located(values, found, store)
        rule = size_rule(found, params["side"], params["refine"])
        side = params["side"] or found.native_px
        spec = replace(
            self.spec,
            options=tuple(replace(option, default=values[option.name]) for option in OPTIONS),
            size_rule=rule,
            good_px=side,
            feather_px=max(FEATHER_PX, round(params["softness"] or 0)),
        )
        return replace(
            self,
            spec=spec,
            found=found,
            values=MappingProxyType(values),
            models=models,
            notes=notes,
        )

    def told(self) -> Told:
        """Return what was chosen for the user."""
        return Told(notes=self.notes)

    def needs(self) -> Needs:
        """Return what it would run, for whoever plans how it is laid out in memory."""
        from reknit.engines.diffusion_placement import chosen

        found = self.found
        if found is None:
            raise _no_model()
        device, dtype = chosen(self.values)
        side = self.values["side"] or found.native_px
        name = Path(found.source).name
        return Needs(family=found.family, file=name, device=device, dtype=dtype, side=side, bytes=found.bytes)

    def load(self, *, threads: int) -> Session:
        """Return a session. It opens the model, or finds it open, when it has the device to itself."""
        from reknit.engines.diffusion_painters import load
        from reknit.engines.diffusion_placement import placement_for
        from reknit.engines.diffusion_session import DiffusionSession

        if self.found is None:
            raise _no_model()
        areas = self.spec.size_rule.areas or (0, 0)
        most = min(areas[1], areas[0] * REFINE_SCALE**2)
        placement = placement_for(self.values, weight_bytes=self.found.bytes, area=most)
        found, values, models = self.found, self.values, self.models
        return DiffusionSession(
            found=found,
            placement=placement,
            painter=lambda: load(found, values, placement, models, Reporter()),
            threads=threads,
            area=areas[0],
            named={name: values[name] for name in NAMED if values[name]},
        )


def _no_model() -> Unavailable:
    return Unavailable(
        "the engine diffusion has no model to run",
        code="model.missing",
        hint="-p model=FILE names one; `reknit models list` shows which there are",
    )


DIFFUSION = DiffusionEngine(
    spec=EngineSpec(
        name="diffusion",
        title="Stable Diffusion, SDXL, FLUX and others: paints what a prompt says; needs a model",
        options=OPTIONS,
        requires=("torch", "diffusers", "transformers"),
        extra="diffusion",
        context=0.5,
        context_min_px=64,
        context_max_px=4096,
        good_px=512,
        feather_px=FEATHER_PX,
        match_rim=True,
        seeded=True,
        needs_model=True,
        hurries=True,
        side_by_side=False,
        seconds_per_hole_px=0,
        seconds_per_region=60.0,
        bytes_per_crop_px=8000,
    )
)
