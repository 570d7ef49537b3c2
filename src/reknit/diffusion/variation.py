"""Noise that is nearly another picture's: a seed varied towards a second one, or drawn for another size.

These are the variation seed and "resize seed from" of A1111's web UI, with its arithmetic. It knows no picture.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

_NEARLY_PARALLEL = 0.9995


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """How noise is drawn otherwise than from each picture's seed alone.

    Attributes
    ----------
    seed : int or None
        Whose noise is varied towards that of each picture's own seed.
    strength : float
        0 is the noise of ``seed``, 1 that of the picture's own.
    size : (int, int) or None
        Columns and rows of latents that the noise is drawn for; its middle is that of the picture.
    """

    seed: int | None = None
    strength: float = 0.0
    size: tuple[int, int] | None = None

    def seeds(self, seeds: Sequence[int]) -> list[int]:
        """Return the seed of each picture's generator."""
        return [int(seed) if self.seed is None else self.seed for seed in seeds]

    def noise(
        self, generators: Sequence[torch.Generator], seeds: Sequence[int], shape: tuple[int, int, int]
    ) -> torch.Tensor:
        """Return the noise of pictures with ``seeds``, (N, C, h, w), float32.

        ``generators`` are fresh ones of `seeds`; what a walk draws later comes from them.
        """
        drawn = [self._one(each, int(seed), shape) for each, seed in zip(generators, seeds, strict=True)]
        return torch.cat(drawn)

    def _one(self, generator: torch.Generator, seed: int, shape: tuple[int, int, int]) -> torch.Tensor:
        wanted = shape if self.size is None else (shape[0], self.size[1], self.size[0])
        noise = torch.randn((1, *shape), generator=generator)
        made = noise
        if wanted != shape:
            made = torch.randn((1, *wanted), generator=_of(generator.initial_seed()))
        if self.seed is not None and self.strength > 0:
            other = torch.randn((1, *wanted), generator=_of(seed))
            made = slerp(made, other, self.strength)
        if wanted == shape:
            return made
        rows, columns = (_common(have, want) for have, want in zip(wanted[1:], shape[1:], strict=True))
        noise[:, :, rows[1], columns[1]] = made[:, :, rows[0], columns[0]]
        return noise


def slerp(low: torch.Tensor, high: torch.Tensor, share: float) -> torch.Tensor:
    """Return noise between two, (1, C, h, w): each column of each channel turned from ``low`` towards ``high``."""
    cosine = (low / low.norm(dim=2, keepdim=True) * (high / high.norm(dim=2, keepdim=True))).sum(2)
    if float(cosine.mean()) > _NEARLY_PARALLEL:
        return low * (1 - share) + high * share
    angle = torch.acos(cosine)[:, :, None]
    return (torch.sin((1 - share) * angle) * low + torch.sin(share * angle) * high) / torch.sin(angle)


def _common(have: int, want: int) -> tuple[slice, slice]:
    """Return where the middle that two lengths have in common lies in each."""
    skip = (want - have) // 2
    count = have if skip >= 0 else have + 2 * skip
    return slice(max(-skip, 0), max(-skip, 0) + count), slice(max(skip, 0), max(skip, 0) + count)


def _of(seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed % 2**64)
