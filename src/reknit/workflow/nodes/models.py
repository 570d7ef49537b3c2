"""Loaders of models for latent diffusion, and what stands for a model, a CLIP and a VAE on their way to a sampler.

Nothing is read before something computes with it: a loader gives a promise (`Source`), and the first node that needs
weights opens it, once for all. LoRAs and layers to skip are kept with the promise. Torch is imported then.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reknit.core.errors import InputError
from reknit.diffusion.placement import Placement
from reknit.workflow.context import Context
from reknit.workflow.node import Input, choice, integer, link, node, number

if TYPE_CHECKING:
    from reknit.core.progress import Report
    from reknit.diffusion.placed import Placed

KEPT = 1
"""How many opened models are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Files that make a model, or a part of one.

    Attributes
    ----------
    path : Path or None
        A whole checkpoint or a denoiser; None where only parts were loaded so far.
    vae : Path or None
    text : tuple of Path
    """

    path: Path | None = None
    vae: Path | None = None
    text: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What flows as ``MODEL``.

    Attributes
    ----------
    source : Source
    loras : tuple of (Path, float)
    differential : float
        Above 0, a soft mask says when each place joins the walk.
    """

    source: Source
    loras: tuple[tuple[Path, float], ...] = ()
    differential: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """What flows as ``CLIP``: ``skip`` of its last layers are left out."""

    source: Source
    skip: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Vae:
    """What flows as ``VAE``."""

    source: Source


_opened: OrderedDict[tuple[Source, Placement], Any] = OrderedDict()
_lock = threading.Lock()


def placement(context: Context) -> Placement:
    """Return where models compute here: on CUDA or Metal if torch has it."""
    from reknit.diffusion.weights import extra

    torch = extra("torch")
    if torch.cuda.is_available():
        return Placement(device="cuda", dtype="float16", offload="model")
    if torch.backends.mps.is_available():
        return Placement(device="mps", dtype="float16")
    return Placement(device="cpu", dtype="float32")


def opened(source: Source, context: Context) -> Placed:
    """Return a model, ready to compute; the same one while it is kept."""
    from reknit.diffusion.checkpoint import open_checkpoint
    from reknit.diffusion.placed import place
    from reknit.diffusion.weights import extra

    where = placement(context)
    key = (source, where)
    with _lock:
        if key not in _opened:
            if source.path is None:
                raise InputError(
                    "this is a part of a model only",
                    code="workflow.model",
                    hint="load the rest of it with Load Checkpoint or Load Diffusion Model",
                )
            while len(_opened) >= KEPT:
                _opened.popitem(last=False)[1].free()
            report: Report = context.report
            checkpoint = open_checkpoint(
                source.path,
                dtype=getattr(extra("torch"), where.dtype),
                vae=source.vae,
                text_encoders=source.text,
                models=None if context.models is None else context.models(),
                report=report,
            )
            _opened[key] = place(checkpoint, where)
        _opened.move_to_end(key)
        return _opened[key]


def free() -> None:
    """Let go of every opened model."""
    with _lock:
        while _opened:
            _opened.popitem()[1].free()


def whole(model: Source, *others: Source) -> Source:
    """Return the files of a model whose CLIP or VAE came from other loaders."""
    made = model
    for other in others:
        if other.path is not None and made.path is None:
            made = replace(made, path=other.path)
        if other.vae is not None:
            made = replace(made, vae=other.vae)
        if other.text:
            made = replace(made, text=other.text)
    return made


def _files(name: str, *kinds: str) -> Input:
    def offered(context: Context) -> tuple[str, ...]:
        return tuple(dict.fromkeys(file for kind in kinds for file in context.weights(kind)))

    return choice(name, offered)


def _path(context: Context, kind: str, name: str) -> Path:
    return context.weights(kind)[name]


@node(
    "CheckpointLoaderSimple",
    _files("ckpt_name", "checkpoints"),
    outputs="MODEL CLIP VAE",
    title="Load Checkpoint",
    category="loaders",
    wants_context=True,
)
def load_checkpoint(context: Context, ckpt_name: str) -> tuple[Model, Clip, Vae]:
    """Load a checkpoint with all its parts."""
    source = Source(path=_path(context, "checkpoints", ckpt_name))
    return Model(source=source), Clip(source=source), Vae(source=source)


@node(
    "UNETLoader",
    _files("unet_name", "diffusion_models"),
    choice("weight_dtype", ("default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2")),
    outputs="MODEL",
    title="Load Diffusion Model",
    category="advanced/loaders",
    wants_context=True,
)
def load_unet(context: Context, unet_name: str, weight_dtype: str) -> Model:
    """Load a denoiser alone; its weights keep the type that they have."""
    return Model(source=Source(path=_path(context, "diffusion_models", unet_name)))


_CLIP_TYPES = ("stable_diffusion", "stable_cascade", "sd3", "stable_audio", "mochi", "ltxv", "pixart", "cosmos",
               "lumina2", "wan", "hidream", "chroma", "ace", "omnigen2", "qwen_image", "hunyuan_image")  # fmt: skip


@node(
    "CLIPLoader",
    _files("clip_name", "text_encoders"),
    choice("type", _CLIP_TYPES),
    choice("device", ("default", "cpu"), "default", required=False),
    outputs="CLIP",
    title="Load CLIP",
    category="advanced/loaders",
    wants_context=True,
)
def load_clip(context: Context, clip_name: str, type: str, device: str) -> Clip:  # noqa: A002
    """Load a text encoder alone."""
    return Clip(source=Source(text=(_path(context, "text_encoders", clip_name),)))


@node(
    "DualCLIPLoader",
    _files("clip_name1", "text_encoders"),
    _files("clip_name2", "text_encoders"),
    choice("type", ("sdxl", "sd3", "flux", "hunyuan_video", "hidream", "hunyuan_image")),
    choice("device", ("default", "cpu"), "default", required=False),
    outputs="CLIP",
    title="DualCLIPLoader",
    category="advanced/loaders",
    wants_context=True,
)
def load_two_clips(context: Context, clip_name1: str, clip_name2: str, type: str, device: str) -> Clip:  # noqa: A002
    """Load two text encoders, in any order."""
    from reknit.models.identify import identify

    paths = [_path(context, "text_encoders", name) for name in (clip_name1, clip_name2)]
    if type == "flux" and "t5" in identify(paths[0]).family:
        paths.reverse()
    return Clip(source=Source(text=tuple(paths)))


@node(
    "VAELoader",
    _files("vae_name", "vae"),
    outputs="VAE",
    title="Load VAE",
    category="loaders",
    wants_context=True,
)
def load_vae(context: Context, vae_name: str) -> Vae:
    """Load a VAE alone."""
    return Vae(source=Source(vae=_path(context, "vae", vae_name)))


def _with_lora(context: Context, model: Model, name: str, strength: float) -> Model:
    if strength == 0:
        return model
    return replace(model, loras=(*model.loras, (_path(context, "loras", name), strength)))


@node(
    "LoraLoader",
    link("model", "MODEL"),
    link("clip", "CLIP"),
    _files("lora_name", "loras"),
    number("strength_model", 1.0, -100, 100),
    number("strength_clip", 1.0, -100, 100),
    outputs="MODEL CLIP",
    title="Load LoRA",
    category="loaders",
    wants_context=True,
)
def load_lora(
    context: Context, model: Model, clip: Clip, lora_name: str, strength_model: float, strength_clip: float
) -> tuple[Model, Clip]:
    """Add a LoRA to a model."""
    return _with_lora(context, model, lora_name, strength_model), clip


@node(
    "LoraLoaderModelOnly",
    link("model", "MODEL"),
    _files("lora_name", "loras"),
    number("strength_model", 1.0, -100, 100),
    outputs="MODEL",
    title="LoraLoaderModelOnly",
    category="loaders",
    wants_context=True,
)
def load_lora_model_only(context: Context, model: Model, lora_name: str, strength_model: float) -> Model:
    """Add a LoRA to a model's denoiser."""
    return _with_lora(context, model, lora_name, strength_model)


@node(
    "CLIPSetLastLayer",
    link("clip", "CLIP"),
    integer("stop_at_clip_layer", -1, -24, -1),
    outputs="CLIP",
    title="CLIP Set Last Layer",
    category="conditioning",
)
def clip_set_last_layer(clip: Clip, stop_at_clip_layer: int) -> Clip:
    """Leave out CLIP's last layers."""
    return replace(clip, skip=-1 - stop_at_clip_layer)


@node(
    "DifferentialDiffusion",
    link("model", "MODEL"),
    number("strength", 1.0, 0.0, 1.0, required=False),
    outputs="MODEL",
    title="Differential Diffusion",
    category="_for_testing",
)
def differential_diffusion(model: Model, strength: float) -> Model:
    """Let a soft mask say how much of the walk each place takes part in."""
    return replace(model, differential=strength)
