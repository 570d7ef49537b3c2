"""Distilled models: those trained to need few steps and little guidance, how they are told, and what they need.

It knows facts, not how a sampler works. No tensor says that a model is a Turbo or a Lightning: those are told by
what the file, its folder or its metadata call it; LCM and FLUX.1 [schnell] by their layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Distilled:
    """What a distilled model needs.

    Attributes
    ----------
    name : {'turbo', 'lightning', 'lcm', 'hyper', 'schnell'}
    steps : int
    guidance : float
        1.0 switches classifier-free guidance off; of FLUX.1 [schnell], 0.0: it has no embedded guidance.
    sampler, scheduler : str
        By the names `reknit.diffusion.sampler` knows.
    source : str
        Who says so.
    """

    name: str
    steps: int
    guidance: float
    sampler: str
    scheduler: str
    source: str


DISTILLED: Mapping[str, Distilled] = {
    each.name: each
    for each in (
        Distilled(
            name="turbo",
            steps=4,
            guidance=1.0,
            sampler="euler a",
            scheduler="sgm_uniform",
            source="Sauer et al., Adversarial Diffusion Distillation, arXiv:2311.17042",
        ),
        Distilled(
            name="lightning",
            steps=8,
            guidance=1.0,
            sampler="euler",
            scheduler="sgm_uniform",
            source="Lin et al., SDXL-Lightning, arXiv:2402.13929",
        ),
        Distilled(
            name="lcm",
            steps=8,
            guidance=1.0,
            sampler="lcm",
            scheduler="sgm_uniform",
            source="Luo et al., Latent Consistency Models, arXiv:2310.04378",
        ),
        Distilled(
            name="hyper",
            steps=8,
            guidance=1.0,
            sampler="euler",
            scheduler="sgm_uniform",
            source="Ren et al., Hyper-SD, arXiv:2404.13686",
        ),
        Distilled(
            name="schnell",
            steps=4,
            guidance=0.0,
            sampler="euler",
            scheduler="simple",
            source="https://huggingface.co/black-forest-labs/FLUX.1-schnell",
        ),
    )
}

_WORDS = {
    "turbo": ("turbo",),
    "lightning": ("lightning",),
    "hyper": ("hyper", "hypersd", "hypersdxl"),
    "lcm": ("lcm",),
    "schnell": ("schnell",),
}


def recognise(denoiser: Mapping[str, Any], scheduler: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Return which kind of distilled model it is, or None.

    Parameters
    ----------
    denoiser
        Its configuration.
    scheduler
        The configuration of the scheduler it came with.
    names
        What the model is called: its file or folder, its repository, its title.
    """
    if denoiser.get("time_cond_proj_dim") or scheduler.get("_class_name") == "LCMScheduler":
        return "lcm"
    if denoiser.get("guidance_embeds") is False:
        return "schnell"
    words = {word for name in names for word in _words(name)}
    return next((kind for kind, marks in _WORDS.items() if words & set(marks)), None)


def stated_steps(names: Iterable[str]) -> int | None:
    """Return the number of steps a model's name states, as in ``sdxl_lightning_4step``; None if it does not."""
    for name in names:
        if match := re.search(r"(?<!\d)(\d{1,2})[ _-]?steps?(?![a-z])", name.lower()):
            return int(match[1])
    return None


def _words(name: str) -> list[str]:
    """Return a name's words in lower case: parted by signs, digits, and capitals inside."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return re.findall(r"[a-z]+", parted.lower())
