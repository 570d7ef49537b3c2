"""What a sampler is told: texts, FLUX's guidance, and control networks with their pictures.

Texts are kept as they were written, with the CLIP that is to read them; the sampler has them encoded. A control
network is a promise too: its file and when it takes part. Torch is not imported here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reknit.workflow.node import link, node, number, text
from reknit.workflow.nodes.models import Clip, Vae

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ControlUse:
    """A control network at work.

    Attributes
    ----------
    path : Path
    picture : ndarray, (B, H, W, 3), float32, 0 to 1
        What it follows.
    strength : float
    start, end : float
        The part of the model's noise levels it takes part in, 0 to 1.
    """

    path: Path
    picture: Floats
    strength: float
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What flows as ``CONDITIONING``.

    Attributes
    ----------
    clip : Clip
    prompt : str
    zero : bool
        Zeros instead of what the text says.
    guidance : float or None
        FLUX's.
    picture : ndarray or None, (B, C, h, w)
        Latents of the masked picture, for inpainting models.
    mask : ndarray or None, (B, H, W)
        Beside them.
    controls : tuple of ControlUse
    """

    clip: Clip
    prompt: str
    zero: bool = False
    guidance: float | None = None
    picture: Floats | None = None
    mask: Floats | None = None
    controls: tuple[ControlUse, ...] = ()


@node(
    "CLIPTextEncode",
    text("text", multiline=True),
    link("clip", "CLIP"),
    outputs="CONDITIONING",
    title="CLIP Text Encode (Prompt)",
    category="conditioning",
)
def clip_text_encode(text: str, clip: Clip) -> Words:
    """Say what is wanted."""
    return Words(clip=clip, prompt=text)


@node(
    "FluxGuidance",
    link("conditioning", "CONDITIONING"),
    number("guidance", 3.5, 0.0, 100.0, step=0.1),
    outputs="CONDITIONING",
    title="FluxGuidance",
    category="advanced/conditioning/flux",
)
def flux_guidance(conditioning: Words, guidance: float) -> Words:
    """Say how closely FLUX keeps to the text."""
    return replace(conditioning, guidance=guidance)


@node(
    "ConditioningZeroOut",
    link("conditioning", "CONDITIONING"),
    outputs="CONDITIONING",
    title="ConditioningZeroOut",
    category="advanced/conditioning",
)
def conditioning_zero_out(conditioning: Words) -> Words:
    """Take all meaning out of a text."""
    return replace(conditioning, zero=True)


@node(
    "ControlNetApplyAdvanced",
    link("positive", "CONDITIONING"),
    link("negative", "CONDITIONING"),
    link("control_net", "CONTROL_NET"),
    link("image", "IMAGE"),
    number("strength", 1.0, 0.0, 10.0),
    number("start_percent", 0.0, 0.0, 1.0, step=0.001),
    number("end_percent", 1.0, 0.0, 1.0, step=0.001),
    link("vae", "VAE", required=False),
    outputs="CONDITIONING:positive CONDITIONING:negative",
    title="Apply ControlNet",
    category="conditioning/controlnet",
)
def control_net_apply_advanced(
    positive: Words,
    negative: Words,
    control_net: Path,
    image: Floats,
    strength: float,
    start_percent: float,
    end_percent: float,
    vae: Vae | None = None,
) -> tuple[Words, Words]:
    """Have a control network follow a picture; after others, it works beside them."""
    if strength == 0:
        return positive, negative
    use = ControlUse(path=control_net, picture=image, strength=strength, start=start_percent, end=end_percent)
    told = [replace(one, controls=(*one.controls, use)) for one in (positive, negative)]
    return told[0], told[1]
