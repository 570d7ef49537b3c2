"""Facts of the families of latent diffusion models that Reknit denoises itself: pure data, no framework.

The facts lie in ``families.toml`` and, as the configurations of each family's components, in ``configs/NAME.json``.
Nothing here opens a weight file or knows a single checkpoint.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from reknit.core.errors import InputError, nearest_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What the checkpoints of one family have in common.

    Attributes
    ----------
    name : {'sd15', 'sd2', 'sdxl', 'flux'}
    title : str
    latent_channels : int
    native_px : int
        The side of the square pictures it was trained for. Stable Diffusion 2's larger form says its own in the
        checkpoint.
    multiple_px : int
        Sides of pictures must be multiples of this.
    prediction : {'epsilon', 'v_prediction', 'flow'}
        What the denoiser usually predicts; a checkpoint's own is `Checkpoint.prediction`.
    text : tuple of str
        Its text encoders in order: ``clip-l``, ``open-clip-h``, ``open-clip-g``, ``t5-xxl``.
    steps : int
        A good number of steps.
    guidance : mapping of str to float
        A good guidance by kind (``inpaint``, ``base``): of classifier-free guidance, or for ``flux`` of the
        embedded kind.
    sampler, scheduler : str
        Good ones, by the names `reknit.diffusion.sampler` knows.
    latent_rgb : tuple
        One row of three for each latent channel: a linear preview from -1 to 1 of latents as the denoiser sees
        them.
    latent_rgb_bias : tuple of float
        Added to it.
    source : str
        The paper or project it comes from.
    """

    name: str
    title: str
    latent_channels: int
    native_px: int
    multiple_px: int
    prediction: str
    text: tuple[str, ...]
    steps: int
    guidance: Mapping[str, float]
    sampler: str
    scheduler: str
    latent_rgb: tuple[tuple[float, float, float], ...]
    latent_rgb_bias: tuple[float, float, float]
    source: str

    @property
    def denoiser(self) -> str:
        """What the denoiser's component is called in a folder of diffusers: ``unet`` or ``transformer``."""
        return "transformer" if self.prediction == "flow" else "unet"


@cache
def families() -> Mapping[str, Family]:
    """Return every family by name."""
    text = resources.files("reknit.diffusion").joinpath("families.toml").read_text(encoding="utf-8")
    return MappingProxyType({name: _family(name, entry) for name, entry in tomllib.loads(text).items()})


def family(name: str) -> Family:
    """Return the family called ``name``.

    Raises
    ------
    InputError
        ``model.family``: Reknit has no stages for it.
    """
    known = families()
    if name not in known:
        raise InputError(
            f"there are no stages for models of the family {name!r}",
            code="model.family",
            hint=nearest_name(name, known),
            family=name,
        )
    return known[name]


def configs(name: str, kind: str, *variants: str) -> dict[str, dict[str, Any]]:
    """Return the configurations of a family's components, in the words of diffusers and transformers.

    Parameters
    ----------
    name
        Of the family.
    kind : {'inpaint', 'base'}
    *variants
        Further changes that the family's file names, e.g. ``v_prediction``; unknown ones change nothing.

    Returns
    -------
    dict
        By component (``unet`` or ``transformer``, ``vae``, ``text_encoder``, ``text_encoder_2``, ``scheduler``);
        new on each call, so that callers may change them.
    """
    family(name)
    text = resources.files("reknit.diffusion").joinpath("configs", f"{name}.json").read_text(encoding="utf-8")
    data = json.loads(text)
    for variant in (kind, *variants):
        for component, changes in data.get(variant, {}).items():
            data["components"][component] |= changes
    return data["components"]


def _family(name: str, entry: dict[str, Any]) -> Family:
    given = dict(entry)
    given["text"] = tuple(given["text"])
    given["guidance"] = MappingProxyType(given["guidance"])
    given["latent_rgb"] = tuple(tuple(row) for row in given["latent_rgb"])
    given["latent_rgb_bias"] = tuple(given["latent_rgb_bias"])
    return Family(name=name, **given)
