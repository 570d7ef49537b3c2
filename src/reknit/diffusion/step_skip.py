"""Skip evaluations of a denoiser that would say nearly what the one before said.

The rule is EasyCache's (Zhou et al. 2025, arXiv:2507.02860), which like TeaCache and First-Block Cache judges by how
much the input has moved since the last full evaluation; it needs no look inside the network, so it serves UNets and
transformers alike. It costs fidelity: the picture is another one, and coarser the higher the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from reknit.diffusion.predictor import Predictor

_WARM_UP, _COOL_DOWN = 0.15, 0.05


@dataclass(slots=True, kw_only=True)
class StepSkip:
    """Predictions, some of them made from the one before.

    Attributes
    ----------
    threshold : float
        How far (relative, summed over skipped steps) an answer may have moved by estimate; 0.05 is careful, 0.2 is
        coarse.
    total : int
        Evaluations of the walk; the first 15 % and the last one are never skipped.
    skipped : int
        How many were.
    """

    threshold: float
    total: int
    skipped: int = 0
    _asked: int = 0
    _moved: float = 0.0
    _rate: float | None = None
    _input: torch.Tensor | None = None
    _full_input: torch.Tensor | None = None
    _answer: torch.Tensor | None = field(default=None)

    def predict(
        self, ask: Predictor, sample: torch.Tensor, scaled: torch.Tensor, step: torch.Tensor, done: float
    ) -> torch.Tensor:
        """Return the denoiser's prediction, or the last one again."""
        index, self._asked = self._asked, self._asked + 1
        inside = _WARM_UP * self.total <= index < self.total - max(1, round(_COOL_DOWN * self.total))
        if inside and self._rate is not None and self._input is not None and self._answer is not None:
            self._moved += self._rate * _relative(scaled, self._input)
            if self._moved < self.threshold:
                self._input = scaled
                self.skipped += 1
                return self._answer
        answer = ask(sample, scaled, step, done)
        if self._answer is not None and self._full_input is not None:
            change = _relative(scaled, self._full_input)
            self._rate = _relative(answer, self._answer) / max(change, 1e-9)
        self._moved, self._input, self._full_input, self._answer = 0.0, scaled, scaled, answer
        return answer


def _relative(now: torch.Tensor, before: torch.Tensor) -> float:
    return float((now - before).abs().mean() / before.abs().mean().clamp_min(1e-9))
