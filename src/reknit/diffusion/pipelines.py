"""Every other model that diffusers can inpaint with: its own pipeline class, driven by facts.

The facts of each class lie in ``pipelines.toml``; which arguments a class takes is read from its signature. A
folder says in its ``model_index.json`` which class it was made for. This module has no stages of its own, opens no
connection, and knows no photo, no region and no option of Reknit's.
"""

from __future__ import annotations

import inspect
import json
import tomllib
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import ExternalError, InputError, Unavailable
from reknit.diffusion.components import BUILDING
from reknit.diffusion.memory import memory_guard
from reknit.diffusion.placement import Placement

INDEX = "model_index.json"
"""The file of a folder of diffusers that names its class and its parts."""

OnStep = Callable[[float], "bool | None"]
"""Called after each step with the share that is done; what it raises ends the work, True leaves further steps out where
the class can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineFacts:
    """What is known of one of diffusers' inpainting classes.

    Attributes
    ----------
    name : str
        The class.
    title, family : str
    of : tuple of str
        The classes whose folders it can open.
    native_px : int
        The side of the square pictures its models were trained for.
    multiple_px : int
        Sides of pictures must be multiples of this.
    steps : int
    guidance : float
    guidance_argument : str
        What the class calls the scale of classifier-free guidance.
    negative_prompt : str
        What is given when there is none: some classes guide only if there is one.
    arguments : mapping
        What it is always given.
    config : mapping
        What a denoiser's configuration lacks that its class asks for.
    prior : str or None
        The class of a second folder, beside the first, that turns the prompt into what this one paints.
    control : str or None
        The class of the ControlNet that it paints with; a folder's own class never leads here.
    image_argument, mask_argument : str
        What the class calls the photo and its hole.
    requires : tuple of str
        Packages that it needs beside the extra's.
    source : str
    """

    name: str
    title: str
    family: str
    of: tuple[str, ...]
    native_px: int
    multiple_px: int
    steps: int
    guidance: float
    guidance_argument: str = "guidance_scale"
    negative_prompt: str = ""
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    config: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    prior: str | None = None
    control: str | None = None
    image_argument: str = "image"
    mask_argument: str = "mask_image"
    requires: tuple[str, ...] = ()
    source: str = ""

    @property
    def follows(self) -> bool:
        """Whether its ControlNet follows a picture of its own; if not, that is the photo with its hole."""
        return self.control is not None and self.image_argument != "control_image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Painting:
    """What to paint, and how.

    Attributes
    ----------
    prompt, negative_prompt : str
    steps : int
    guidance : float
    strength : float
        0 to 1; heeded by classes that take it.
    seed : int
        Noise is drawn on the CPU.
    control : ndarray of float32, (H, W, 3), or None
        What the ControlNet follows, 0 to 1.
    control_strength, control_start, control_end : float
    """

    prompt: str
    negative_prompt: str
    steps: int
    guidance: float
    strength: float
    seed: int
    control: NDArray[np.float32] | None = None
    control_strength: float = 1.0
    control_start: float = 0.0
    control_end: float = 1.0


@cache
def known() -> Mapping[str, PipelineFacts]:
    """Return the facts of every class by its name."""
    text = resources.files("reknit.diffusion").joinpath("pipelines.toml").read_text(encoding="utf-8")
    return MappingProxyType(
        {
            name: PipelineFacts(
                name=name,
                **(entry | {key: tuple(entry.get(key, ())) for key in ("of", "requires")}),
            )
            for name, entry in tomllib.loads(text).items()
        }
    )


def class_of(folder: Path) -> str | None:
    """Return the class that a folder was made for; None if it is no folder of diffusers."""
    try:
        index: Any = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    name = index.get("_class_name") if isinstance(index, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return name if isinstance(name, str) else None


def facts_of(folder: Path, *, wanted: str | None = None, control: str | None = None) -> PipelineFacts | None:
    """Return the facts for a folder, or None if no class here opens it.

    Parameters
    ----------
    folder
    wanted
        A class that the catalog names for this very model; by default what the folder says decides.
    control
        The class of a ControlNet to paint with.
    """
    if wanted is not None:
        return _fact(wanted)
    found = class_of(folder)
    return next((facts for facts in known().values() if found in facts.of and facts.control == control), None)


def control_class(folder: Path) -> str | None:
    """Return the class of the ControlNet in a folder of diffusers; None if it is none."""
    try:
        config: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    name = config.get("_class_name") if isinstance(config, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return name if isinstance(name, str) and "ControlNet" in name else None


def _fact(name: str) -> PipelineFacts:
    if name not in known():
        raise InputError(
            f"there are no facts about the pipeline {name}",
            code="model.family",
            hint=f"known: {', '.join(sorted(known()))}",
        )
    return known()[name]


class Adapter:
    """One of diffusers' pipelines, loaded and placed.

    Attributes
    ----------
    facts : PipelineFacts
    pipe : diffusers.DiffusionPipeline
    placement : Placement
    """

    __slots__ = ("_takes", "facts", "pipe", "placement")

    def __init__(self, facts: PipelineFacts, pipe: Any, placement: Placement) -> None:
        self.facts = facts
        self.pipe = pipe
        self.placement = placement
        self._takes = frozenset(inspect.signature(type(pipe).__call__).parameters)

    @property
    def takes_strength(self) -> bool:
        """Whether the class can keep something of what is in the hole."""
        return "strength" in self._takes

    def paint(
        self, pixels: NDArray[np.uint8], hole: NDArray[np.bool_], painting: Painting, on_step: OnStep
    ) -> NDArray[np.uint8]:
        """Return the picture, painted in the hole.

        Parameters
        ----------
        pixels : ndarray of uint8, (H, W, 3)
            Sides are multiples of ``facts.multiple_px``.
        hole : ndarray of bool, (H, W)
            True = paint.
        painting : Painting
        on_step
            Called after each step.
        """
        import torch
        from PIL import Image

        height, width = hole.shape
        given: dict[str, Any] = {
            "prompt": painting.prompt,
            "negative_prompt": painting.negative_prompt or self.facts.negative_prompt,
            "control_image": _control_image(painting.control),
            "controlnet_conditioning_scale": painting.control_strength,
            "control_guidance_start": painting.control_start,
            "control_guidance_end": painting.control_end,
            self.facts.image_argument: Image.fromarray(pixels),
            self.facts.mask_argument: Image.fromarray(hole.astype(np.uint8) * 255),
            "height": height,
            "width": width,
            "strength": painting.strength,
            "num_inference_steps": painting.steps,
            self.facts.guidance_argument: painting.guidance,
            "generator": torch.Generator("cpu").manual_seed(painting.seed),
            "max_area": height * width,
            "output_type": "np",
            **self._callback(on_step),
        }
        wanted = {name: value for name, value in given.items() if name in self._takes}
        try:
            with torch.inference_mode():
                image = np.asarray(self.pipe(**wanted, **self.facts.arguments).images[0])
        finally:
            self.pipe.maybe_free_model_hooks()
        if not np.isfinite(image).all():
            raise ExternalError(
                f"{self.facts.title} made numbers that are no colours (NaN)",
                code="model.nan",
                hint="-p dtype=float32 or bfloat16 computes with a wider range",
            )
        return np.rint(image.clip(0, 1) * 255).astype(np.uint8)

    def _callback(self, on_step: OnStep) -> dict[str, Any]:
        """Return the arguments that make the class call ``on_step``; classes of before 2023 have other ones."""

        def after(pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if on_step((index + 1) / max(1, getattr(pipe, "num_timesteps", index + 1))):
                pipe._interrupt = True  # the classes that know it leave the steps that are left out
            return tensors

        def after_old(index: int, timestep: Any, latents: Any) -> None:
            on_step(min(1.0, (index + 1) / max(1, len(self.pipe.scheduler.timesteps))))

        if "callback_on_step_end" in self._takes:
            return {"callback_on_step_end": after}
        return {"callback": after_old, "callback_steps": 1}


def _control_image(picture: NDArray[np.float32] | None) -> Any:
    from PIL import Image

    return None if picture is None else Image.fromarray(np.rint(picture.clip(0, 1) * 255).astype(np.uint8))


def open_pipeline(
    folder: Path, facts: PipelineFacts, placement: Placement, control: Path | None = None
) -> Adapter:
    """Return the pipeline in ``folder``, loaded and placed.

    Parameters
    ----------
    folder
    facts
    placement
    control
        The folder of the ControlNet, for classes that paint with one.

    Raises
    ------
    Unavailable
        ``engine.missing``: no diffusers, one that does not know the class, or without a package it needs;
        ``model.part``: the folder of the prior is not there.
    ExternalError
        ``model.unreadable``
    """
    import torch

    dtype = getattr(torch, placement.dtype)
    lacking = [name for name in facts.requires if find_spec(name) is None]
    if lacking:
        raise Unavailable(
            f"{facts.title} needs {', '.join(lacking)}, which is not installed",
            code="engine.missing",
            hint=f"pip install {' '.join(lacking)}",
        )
    with _quiet():
        kind = _class(facts.name)
        further = _absent(folder, kind) | _prior(folder, facts, dtype)
        if facts.control is not None and control is not None:
            further["controlnet"] = _loaded(control, _class(facts.control), dtype, {})
        loaded = _loaded(folder, kind, dtype, further)
    loaded.set_progress_bar_config(disable=True)
    if facts.config:
        _denoiser(loaded).register_to_config(**facts.config)
    _place(loaded, placement)
    return Adapter(facts, loaded, placement)


def _class(name: str) -> Any:
    try:
        import diffusers
    except ImportError:
        found = None
    else:
        found = getattr(diffusers, name, None)
    if found is None:
        raise Unavailable(
            f"this model needs {name}, which the installed diffusers does not have",
            code="engine.missing",
            hint="pip install -U 'reknit[diffusion]'",
        )
    return found


def _loaded(folder: Path, kind: Any, dtype: Any, further: Mapping[str, Any]) -> Any:
    try:
        with BUILDING, memory_guard("opening the model"):
            return kind.from_pretrained(
                str(folder), dtype=dtype, local_files_only=True, use_safetensors=True, **further
            )
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise ExternalError(
            f"{folder.name} cannot be loaded as {kind.__name__}",
            code="model.unreadable",
            hint="it may be damaged or incomplete: `reknit models verify` tells",
            path=str(folder),
            reason=str(error)[:500],
        ) from error


_NEEDED = {"movq", "scheduler", "transformer", "unet", "vae"}
"""Parts without which nothing paints."""


def _absent(folder: Path, kind: Any) -> dict[str, Any]:
    """Return None for each part that the class has and the folder does not, such as a third text encoder."""
    index: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    takes = inspect.signature(kind.__init__).parameters
    parts = [name for name, taken in takes.items() if taken.default in (None, taken.empty) and name != "self"]
    stated = {name for name, entry in index.items() if entry != [None, None]}
    needed = stated | _NEEDED
    return {name: None for name in parts if name not in needed and not name.startswith("prior_")}


def _prior(folder: Path, facts: PipelineFacts, dtype: Any) -> dict[str, Any]:
    """Return the parts that a second folder beside the first has, named as the combined class names them."""
    index: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    if facts.prior is None or any(name.startswith("prior_") for name in index):
        return {}
    beside = [other for other in sorted(folder.parent.iterdir()) if class_of(other) == facts.prior]
    if not beside:
        raise Unavailable(
            f"{facts.title} paints with two models, and the first of them ({facts.prior}) is not here",
            code="model.part",
            hint=f"put its folder beside {folder}",
            path=str(folder),
        )
    parts = _loaded(beside[0], _class(facts.prior), dtype, {}).components
    return {f"prior_{name}": part for name, part in parts.items()}


@contextmanager
def _quiet() -> Generator[None]:
    """Keep the libraries from drawing progress bars, and from telling users what their makers should know."""
    from diffusers.utils import logging as one
    from transformers.utils import logging as other

    drawing = [each for each in (one, other) if each.is_progress_bar_enabled()]
    for each in drawing:
        each.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        for each in drawing:
            each.enable_progress_bar()


def _denoiser(pipe: Any) -> Any:
    return getattr(pipe, "transformer", None) or pipe.unet


def _place(pipe: Any, placement: Placement) -> None:
    import torch

    vae = getattr(pipe, "vae", None)
    if vae is not None and placement.vae_tiling:
        vae.enable_tiling()
    if vae is not None and placement.vae_slicing and hasattr(vae, "enable_slicing"):
        vae.enable_slicing()
    if placement.quantise == "fp8":
        _denoiser(pipe).enable_layerwise_casting(
            storage_dtype=torch.float8_e4m3fn, compute_dtype=getattr(torch, placement.dtype)
        )
    elif placement.quantise not in ("none", "gguf"):
        raise Unavailable(
            f"{placement.quantise} is not there for models that diffusers' own pipelines run",
            code="placement.value",
            hint="-p quantise=fp8, or -p offload=model",
        )
    if placement.offload == "model":
        pipe.enable_model_cpu_offload(device=placement.device)
    elif placement.offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=placement.device)
    elif placement.offload == "group":
        pipe.enable_group_offload(
            onload_device=torch.device(placement.device), offload_type="leaf_level", use_stream=False
        )
    else:
        pipe.to(placement.device)
