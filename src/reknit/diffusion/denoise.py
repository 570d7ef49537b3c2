"""The walk from noise to latents: every family, every sampler, inpainting and base models, per-pixel strength.

`denoise` is one loop over a `reknit.diffusion.run.Run` and a `reknit.diffusion.predictor.Predictor`. It knows no
pixels, no prompts' words and no engine; whoever wants previews or to stop it passes ``on_step``.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from reknit.core.errors import EngineFailed
from reknit.diffusion.memory import memory_guard
from reknit.diffusion.predictor import ControlInput, FluxPredictor, Predictor, UNetPredictor
from reknit.diffusion.prepare import Prepared
from reknit.diffusion.run import Run, begin
from reknit.diffusion.sampler import Sampler
from reknit.diffusion.schedule import StrengthRule
from reknit.diffusion.soft_mask import SoftMask
from reknit.diffusion.step_skip import StepSkip

if TYPE_CHECKING:
    from reknit.diffusion.families import Family
    from reknit.diffusion.placed import Placed
    from reknit.diffusion.prompt import Conditioning


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInfo:
    """Where a walk stands, after an evaluation.

    Attributes
    ----------
    index : int
        Evaluations done, from 1.
    total : int
    skipped : int
        Evaluations that were skipped so far (``cache_skip``).
    """

    index: int
    total: int
    skipped: int
    _clean: Callable[[], torch.Tensor]
    _family: Family

    def latents(self) -> torch.Tensor:
        """Return the clean latents as the denoiser now sees them, (N, C, h, w)."""
        return self._clean()

    def preview(self) -> NDArray[np.uint8]:
        """Return the first picture as it now looks, (h, w, 3), RGB, an eighth of the size; computed when called."""
        return preview(self._family, self._clean())


OnStep = Callable[[StepInfo], "bool | None"]
"""Is called after each evaluation; True ends the walk there."""


def denoise(
    placed: Placed,
    conditioning: Conditioning,
    prepared: Prepared,
    sampler: Sampler,
    *,
    steps: int,
    strength: float = 1.0,
    guidance: float = 7.5,
    guidance_rescale: float = 0.0,
    eta: float | None = None,
    rule: StrengthRule = "diffusers",
    start_at: int = 0,
    end_at: int | None = None,
    add_noise: bool = True,
    keep_noise: bool = False,
    keep_known: bool | None = None,
    soft_mask: SoftMask | None = None,
    controls: Sequence[ControlInput] = (),
    image_prompt: tuple[torch.Tensor, torch.Tensor] | None = None,
    cache_skip: float = 0.0,
    on_step: OnStep | None = None,
) -> torch.Tensor:
    """Return latents from which the noise was taken.

    Parameters
    ----------
    placed, conditioning, prepared, sampler
    steps, strength, rule
        How many, and which part of the schedule is walked: `reknit.diffusion.schedule.first_step`. Rule ``diffusers``
        begins at strength 1 with noise alone; the others add it to the prepared latents.
    guidance
        Scale of classifier-free guidance; up to 1 only the prompt is asked. FLUX's embedded guidance is the
        conditioning's.
    guidance_rescale
        0 to 1.
    eta
        For samplers that have one (DDIM).
    start_at, end_at, add_noise, keep_noise
        KSamplerAdvanced's ``start_at_step``, ``end_at_step``, ``add_noise`` and ``return_with_leftover_noise``.
        Latents with noise in them come and go as latents + sigma·noise, whatever the sampler.
    keep_known
        Whether what lies outside the mask is put back, with the noise of its level, after each step. None: for base
        models and wherever there is a strength map, as diffusers' pipelines do.
    soft_mask
        Inpainting as ComfyUI does it, instead of that.
    controls
        Control networks.
    image_prompt
        What an IP-Adapter that was put in attends to: `reknit.diffusion.ip_adapter.embeddings`.
    cache_skip
        Above 0, evaluations that would change little are skipped: see `reknit.diffusion.step_skip`.
    on_step
        Is called after each evaluation; what it raises ends the walk, so a cancel takes effect within one. True ends
        it too: the clean latents as the denoiser then sees them are what is returned.

    Returns
    -------
    Tensor, (N, C, h, w)
        Of the placement's dtype, on its device.

    Raises
    ------
    InputError
        ``sampler.family``, ``sampler.steps``, ``diffusion.strength``.
    EngineFailed
        ``diffusion.nan``
    OutOfMemory
    """
    family, kind = placed.checkpoint.family, placed.checkpoint.kind
    run = begin(
        sampler,
        placed.checkpoint.scheduler_config,
        steps=steps,
        strength=strength,
        rule=rule,
        start_at=start_at,
        end_at=end_at,
        keep_noise=keep_noise,
        tokens=(prepared.size[0] // 16) * (prepared.size[1] // 16),
        device=placed.device,
        family=family.name,
    )
    known = (kind == "base" or prepared.strength_map is not None) if keep_known is None else keep_known
    known = known and soft_mask is None
    walk = _Walk(placed=placed, run=run, prepared=prepared, known=known, soft_mask=soft_mask, on_step=on_step)
    with placed.using("denoiser"), torch.inference_mode(), memory_guard("denoising", placed.device):
        asks = FluxPredictor if family.prediction == "flow" else UNetPredictor
        predictor = asks(
            placed=placed,
            conditioning=conditioning,
            condition=prepared.condition,
            size=prepared.size,
            count=prepared.count,
            guidance=guidance,
            rescale=guidance_rescale,
            controls=controls,
            steps=run.steps,
            image_prompt=image_prompt,
        )
        skip = StepSkip(threshold=cache_skip, total=run.steps) if cache_skip > 0 else None
        return walk.go(predictor, skip, eta, add_noise=add_noise)


@dataclass(slots=True, kw_only=True)
class _Walk:
    placed: Placed
    run: Run
    prepared: Prepared
    known: bool
    soft_mask: SoftMask | None
    on_step: OnStep | None

    def go(
        self, ask: Predictor, skip: StepSkip | None, eta: float | None, *, add_noise: bool
    ) -> torch.Tensor:
        run, prepared = self.run, self.prepared
        clean = prepared.latents.to(self.placed.device, self.placed.dtype)
        clean = clean.repeat(prepared.count // clean.shape[0], 1, 1, 1)
        noise = prepared.noise.to(clean)
        if run.steps == 0:
            return clean
        sample = run.starting(clean, noise) if add_noise else run.own_scale(clean, run.begin)
        generators = prepared.generators
        extra = run.extras(generators if len(generators) == prepared.count > 1 else generators[0], eta)
        kept = _Kept(self.run, prepared, clean, noise) if self.known else None
        if kept is not None and prepared.strength_map is not None:
            sample = kept.put_back(sample, run.begin, first=True)
        for index in range(run.begin, run.end):
            step = run.timesteps[index]
            if self.soft_mask is not None:
                sample = self.soft_mask.before(run, index, sample, clean, noise)
            scaled = run.scheduler.scale_model_input(sample, step) if _scales(run) else sample
            done = (index - run.begin) / run.steps
            prediction = (
                skip.predict(ask, sample, scaled, step, done) if skip else ask(sample, scaled, step, done)
            )
            if self.soft_mask is not None:
                prediction = self.soft_mask.after(run, index, sample, prediction, clean)
            before = sample
            sample = run.step(prediction, index, sample, extra).to(clean.dtype)
            if kept is not None:
                sample = kept.put_back(sample, index + 1)
            info = self._info(index, before, prediction, 0 if skip is None else skip.skipped)
            if self.on_step is not None and self.on_step(info):
                sample = info.latents().to(clean.dtype)
                return sample if kept is None else kept.put_back(sample, len(run.timesteps))
        if not bool(torch.isfinite(sample).all()):
            raise EngineFailed(
                "the denoiser gave values that are not numbers",
                code="diffusion.nan",
                hint="half precision may be too coarse for this model: -p dtype=bfloat16 or float32",
            )
        return run.exploding(sample, run.end)

    def _info(self, index: int, before: torch.Tensor, prediction: torch.Tensor, skipped: int) -> StepInfo:
        run = self.run
        return StepInfo(
            index=index - run.begin + 1,
            total=run.steps,
            skipped=skipped,
            _clean=lambda: run.clean(before, prediction, index),
            _family=self.placed.checkpoint.family,
        )


class _Kept:
    """What is put back after each step: outside the mask, and where the strength map says that it is not yet time."""

    __slots__ = ("_clean", "_joins", "_mask", "_noise", "_run")

    def __init__(self, run: Run, prepared: Prepared, clean: torch.Tensor, noise: torch.Tensor) -> None:
        self._run, self._clean, self._noise = run, clean, noise
        self._mask = None if prepared.mask is None else prepared.mask.to(clean)
        self._joins = None
        if prepared.strength_map is not None:
            left = torch.floor(prepared.strength_map.to(clean.device, torch.float32) * run.whole + 1e-4)
            joins = (run.whole - left - run.passed) * run.order
            self._joins = torch.where(left > 0, joins, torch.inf)

    def put_back(self, sample: torch.Tensor, index: int, *, first: bool = False) -> torch.Tensor:
        """Return the sample of level ``index`` with the known latents of that level."""
        last = index >= len(self._run.timesteps) or (index == self._run.end and self._run.sigmas[index] == 0)
        known = self._clean if last else self._run.noised(self._clean, self._noise, index)
        if self._joins is not None:
            free = (self._joins <= index if first else self._joins < index).to(sample)
        elif self._mask is not None:
            free = self._mask
        else:
            return sample
        return (1 - free) * known + free * sample


def preview(family: Family, latents: torch.Tensor) -> NDArray[np.uint8]:
    """Return the first picture of latents by a linear projection to RGB, (h, w, 3), without a VAE."""
    factors = torch.tensor(family.latent_rgb, dtype=torch.float32)
    bias = torch.tensor(family.latent_rgb_bias, dtype=torch.float32)
    colours = latents[0].detach().float().cpu().permute(1, 2, 0) @ factors + bias
    return ((colours + 1) / 2).clamp(0, 1).mul(255).round().to(torch.uint8).numpy()


def _scales(run: Run) -> bool:
    return run.kind == "exploding" and hasattr(run.scheduler, "scale_model_input")


__all__ = ["ControlInput", "OnStep", "StepInfo", "denoise", "preview"]
