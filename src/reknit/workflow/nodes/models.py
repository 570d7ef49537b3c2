"""Loaders of models for latent diffusion, and what stands for a model, a CLIP and a VAE on their way to a sampler.

Nothing is read before something computes with it: a loader gives a promise that names files, and the first node that
needs weights opens them: `painter` a denoiser with text encoders, `coder` a VAE. What is open is kept with the engines'
models (`reknit.engines.kept`). LoRAs and layers to skip are kept with the promise. Torch is imported then.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from reknit.diffusion.placement import Placement
from reknit.engines.kept import KEPT
from reknit.workflow.context import Context
from reknit.workflow.node import Input, choice, integer, link, node, number

if TYPE_CHECKING:
    from reknit.diffusion.checkpoint import Checkpoint
    from reknit.diffusion.controlnet import Control
    from reknit.diffusion.placed import Placed

_VAE_BYTES = 400 << 20
"""Of a VAE, at most; it may come out of a whole checkpoint."""

Loras = tuple[tuple[Path, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What flows as ``MODEL``.

    Attributes
    ----------
    path : Path
        A whole checkpoint, or a denoiser alone.
    loras : tuple of (Path, float)
    differential : float
        Above 0, a soft mask says when each place joins the walk.
    """

    path: Path
    loras: Loras = ()
    differential: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """What flows as ``CLIP``.

    Attributes
    ----------
    paths : tuple of Path
        A whole checkpoint, or one file for each text encoder.
    loras : tuple of (Path, float)
    skip : int
        How many of its last layers are left out.
    """

    paths: tuple[Path, ...]
    loras: Loras = ()
    skip: int = 0


Adapted = TypeVar("Adapted", Model, Clip)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vae:
    """What flows as ``VAE``: a whole checkpoint, or a VAE alone."""

    path: Path


def placement(context: Context) -> Placement:
    """Return where models compute here: on CUDA or Metal if torch has it."""
    from reknit.diffusion.weights import extra

    torch = extra("torch")
    if torch.cuda.is_available():
        return Placement(device="cuda", dtype="float16", offload="model")
    if torch.backends.mps.is_available():
        return Placement(device="mps", dtype="float16")
    return Placement(device="cpu", dtype="float32")


def painter(context: Context, model: Model, clip: Clip) -> Placed:
    """Return a denoiser with text encoders and LoRAs, ready to compute; the same one while it is kept.

    Raises
    ------
    InputError
        ``model.part``: the text encoders are not those that the denoiser wants.
    """
    from reknit.diffusion import lora
    from reknit.diffusion.checkpoint import open_checkpoint

    texts: tuple[Path, ...] = ()
    if clip.paths != (model.path,):
        texts = clip.paths * 2 if len(clip.paths) == 1 else clip.paths

    def made(dtype: Any) -> Checkpoint:
        return open_checkpoint(
            model.path,
            dtype=dtype,
            text_encoders=texts,
            with_vae=False,
            models=None if context.models is None else context.models(),
            report=_Opening(context),
        )

    paths = tuple(dict.fromkeys((model.path, *texts)))
    placed = _kept("painter", paths, context, made, sum(_bytes(path) for path in paths))
    of_model, of_clip = _summed(model.loras), _summed(clip.loras)
    both = dict.fromkeys((*of_model, *of_clip))
    lora.apply(placed, {path: (of_model.get(path, 0.0), of_clip.get(path, 0.0)) for path in both})
    return placed


def coder(context: Context, vae: Vae) -> Placed:
    """Return a VAE, ready to compute; the same one while it is kept."""
    from reknit.diffusion.checkpoint import open_vae

    def made(dtype: Any) -> Checkpoint:
        return open_vae(vae.path, dtype=dtype, report=_Opening(context))

    return _kept("vae", (vae.path,), context, made, min(_VAE_BYTES, _bytes(vae.path)))


def control(path: Path, placed: Placed) -> Any:
    """Return a control network for a denoiser; the same one while it is kept.

    Raises
    ------
    InputError
        ``control.family``: it was made for another family; ``control.format``
    """
    from reknit.diffusion.controlnet import open_controlnet

    checkpoint = placed.checkpoint
    key = ("workflow control", path, path.stat().st_mtime_ns, placed.dtype, checkpoint.family.name)

    def made() -> Control:
        return open_controlnet(path, checkpoint=checkpoint, dtype=placed.dtype)

    return KEPT.get(key, made, device=placed.placement.device, size=_bytes(path)).network


def _bytes(path: Path) -> int:
    """Return the size of a file, or of all in a folder."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _kept(
    sort: str, paths: tuple[Path, ...], context: Context, made: Callable[[Any], Checkpoint], size: int
) -> Placed:
    from reknit.diffusion.placed import place
    from reknit.diffusion.weights import extra

    where = placement(context)
    key = (f"workflow {sort}", *((path, path.stat().st_mtime_ns) for path in paths), where)
    dtype = getattr(extra("torch"), where.dtype)
    return KEPT.get(key, lambda: place(made(dtype), where), device=where.device, size=size)


class _Opening:
    """A `Report` of a model's opening, which is no step of the node that needs it."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def step(self, stage: str, fraction: float, preview: Any = None) -> None:
        self._context.say(stage)


def _summed(loras: Loras) -> dict[Path, float]:
    found: dict[Path, float] = {}
    for path, strength in loras:
        found[path] = found.get(path, 0.0) + strength
    return found


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
    path = _path(context, "checkpoints", ckpt_name)
    return Model(path=path), Clip(paths=(path,)), Vae(path=path)


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
    return Model(path=_path(context, "diffusion_models", unet_name))


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
    return Clip(paths=(_path(context, "text_encoders", clip_name),))


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
    return Clip(paths=tuple(_path(context, "text_encoders", name) for name in (clip_name1, clip_name2)))


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
    return Vae(path=_path(context, "vae", vae_name))


@node(
    "ControlNetLoader",
    _files("control_net_name", "controlnet"),
    outputs="CONTROL_NET",
    title="Load ControlNet Model",
    category="loaders",
    wants_context=True,
)
def load_controlnet(context: Context, control_net_name: str) -> Path:
    """Load a control network."""
    return _path(context, "controlnet", control_net_name)


def _with_lora(context: Context, to: Adapted, name: str, strength: float) -> Adapted:
    """Return a model or CLIP with a LoRA more; the same with strength 0."""
    return to if strength == 0 else replace(to, loras=(*to.loras, (_path(context, "loras", name), strength)))


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
    with_model = _with_lora(context, model, lora_name, strength_model)
    return with_model, _with_lora(context, clip, lora_name, strength_clip)


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
