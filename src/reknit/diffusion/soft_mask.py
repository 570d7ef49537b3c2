"""Inpainting as ComfyUI samples it: a soft mask at every question to the denoiser, not only after every step.

Before the denoiser is asked, what the mask keeps is replaced by the known latents with this level's noise; of what it
answers, the same share is replaced by the known latents themselves, so that a solver's memory of earlier steps holds
them too. The mask is never rounded. It knows no solver, no schedule and no node.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from dataclasses import dataclass

import torch

from reknit.diffusion.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftMask:
    """What a walk repaints, as ``KSamplerX0Inpaint`` of ComfyUI does it.

    Attributes
    ----------
    mask : Tensor, (1 or N, 1, h, w)
        0 to 1; 1 = fill.
    noise : Tensor, (N, C, h, w), or None
        What the known part is noised with; None: the noise that the walk began with.
    differential : float
        Above 0, a place is repainted from the moment on at which no more than its value of the walk is left
        (ComfyUI's DifferentialDiffusion); below 1, the soft mask keeps its share.
    """

    mask: torch.Tensor
    noise: torch.Tensor | None = None
    differential: float = 0.0

    def at(self, run: Run, index: int) -> torch.Tensor:
        """Return the mask of an evaluation."""
        if self.differential <= 0:
            return self.mask
        first, last = _step(run, run.begin), _last(run)
        left = (_step(run, index) - last) / max(first - last, 1e-9)
        joined = (self.mask >= left).to(self.mask)
        share = min(self.differential, 1.0)
        return share * joined + (1 - share) * self.mask

    def before(
        self, run: Run, index: int, sample: torch.Tensor, clean: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        """Return the sample that the denoiser is asked about at evaluation ``index``.

        Parameters
        ----------
        run, index
        sample : (N, C, h, w)
            Scaled as the solver's.
        clean, noise : (N, C, h, w)
            The known latents, and the noise the walk began with.
        """
        mask = self.at(run, index).to(sample)
        known = run.noised(clean, noise if self.noise is None else self.noise.to(sample), index)
        return sample * mask + known * (1 - mask)

    def after(
        self, run: Run, index: int, sample: torch.Tensor, prediction: torch.Tensor, clean: torch.Tensor
    ) -> torch.Tensor:
        """Return the prediction of which clean latents follow that are the known ones where the mask keeps them."""
        mask = self.at(run, index).to(sample)
        seen = run.clean(sample, prediction, index)
        return prediction + run.per_clean(index) * (clean - seen) * (1 - mask)


def _step(run: Run, index: int) -> float:
    return float(run.timesteps[index])


def _last(run: Run) -> float:
    """Return the training step at which the walk ends; 0 if that is without noise."""
    return _step(run, run.end) if run.end < len(run.timesteps) and run.sigmas[run.end] > 0 else 0.0
