"""ControlNets: networks beside the denoiser that follow a picture, found, opened from a folder or one file, placed.

It tells a network's family from its contents and what kind of picture it follows as far as its name says that. How
its output enters the denoising is `reknit.diffusion.denoise`'s; the pictures are
`reknit.diffusion.control_pictures`'.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import inspect
import json
import re
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reknit.core.errors import InputError, NotFound
from reknit.diffusion import components, original, sources, weights
from reknit.diffusion.families import configs
from reknit.diffusion.fitted import fitted
from reknit.diffusion.memory import memory_guard
from reknit.diffusion.weights import Tensors, shape
from reknit.models.identify import identify

if TYPE_CHECKING:
    from reknit.diffusion.checkpoint import Checkpoint
    from reknit.diffusion.placed import Placed
    from reknit.models.store import Store

KINDS = (
    "inpaint",
    "canny",
    "depth",
    "lineart",
    "softedge",
    "scribble",
    "openpose",
    "normal",
    "seg",
    "tile",
    "union",
)
"""What names of ControlNets say they follow."""

_BY_WIDTH = {768: "sd15", 1024: "sd2", 2048: "sdxl"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A ControlNet.

    Attributes
    ----------
    network : ControlNetModel or FluxControlNetModel
    family : {'sd15', 'sd2', 'sdxl', 'flux'}
    kind : str
        One of `KINDS`, or ``unknown``.
    path : Path
    """

    network: Any
    family: str
    kind: str
    path: Path


def locate_controlnet(name: str, models: Store | None = None) -> Path:
    """Return where a ControlNet lies.

    Parameters
    ----------
    name
        A path, a file's name with or without its ending as A1111 lists it, or a hub repository in the local cache.
    models
        The models on this machine.

    Raises
    ------
    NotFound
        ``control.unknown``, with the nearest name as its hint.
    """
    return sources.named(name, "ControlNet", models, code="control.unknown")


def family_of(path: Path) -> str:
    """Return the family of a ControlNet from its file's header or its folder's configuration; reads no weight.

    Raises
    ------
    InputError
        ``control.format``, ``model.damaged``
    """
    if path.is_dir():
        with suppress(OSError, ValueError):
            config: Any = json.loads((path / "config.json").read_text(encoding="utf-8"))
            if str(config.get("_class_name", "")).startswith("Flux"):
                return "flux"
            return _BY_WIDTH.get(config.get("cross_attention_dim", 0), "unknown")
        raise _no_control(path)
    with suppress(InputError):
        found = identify(path)
        if found.kind == "control":
            return found.family
    raise _no_control(path)


def kind_of(path: Path) -> str:
    """Return what the name of a ControlNet says it follows: one of `KINDS`, or ``unknown``."""
    name = path
    if path.stem.startswith("diffusion_pytorch_model"):
        name = path.parent
    if name.parent.name == "snapshots":
        name = name.parent.parent
    return next((kind for kind in KINDS if kind in name.name.lower()), "unknown")


def check_family(path: Path, made: str, wanted: str) -> None:
    """Raise `InputError` (``control.family``) unless a ControlNet was made for the family of a model."""
    if made != wanted:
        raise InputError(
            f"the ControlNet {path.name} was made for {made}, and the model is {wanted}",
            code="control.family",
            hint=f"take a ControlNet for {wanted}",
            control=made,
            checkpoint=wanted,
        )


@contextmanager
def at_work(control: Control, placed: Placed) -> Generator[Any]:
    """Have a ControlNet on a placement's device, in its type, inside the ``with``.

    It stays there afterwards where nothing of the checkpoint is offloaded either.

    Raises
    ------
    OutOfMemory
    """
    network = control.network
    components.cast(network, placed.dtype)
    with memory_guard(f"bringing the ControlNet to {placed.device}", placed.device):
        weights.extra("torch").nn.Module.to(network, placed.device)
    try:
        yield network
    finally:
        if placed.placement.offload != "none":
            weights.extra("torch").nn.Module.to(network, "cpu")


def open_controlnet(path: str | Path, *, checkpoint: Checkpoint | None = None, dtype: Any = None) -> Control:
    """Open a ControlNet.

    Parameters
    ----------
    path
        A folder of diffusers, or a ``.safetensors`` or ``.pth`` file in diffusers' or the original layout.
    checkpoint
        The one it is to be used with; another family's is refused.
    dtype
        A torch dtype to bring its weights to; by default they stay as they are kept.

    Raises
    ------
    NotFound
        ``file.missing``
    InputError
        ``control.family``; ``control.format``: it is no ControlNet; ``model.damaged``, ``model.nan``
    """
    where = Path(path)
    if not where.exists():
        raise NotFound(f"there is no ControlNet {where}", code="file.missing", hint="check the path")
    file = weights.weight_file(where) if where.is_dir() else where
    if file is None:
        raise _no_control(where)
    tensors = _diffusers_names(weights.read(file))
    stated = where / "config.json"
    if stated.is_file():
        config: dict[str, Any] = json.loads(stated.read_text(encoding="utf-8"))
    elif "controlnet_cond_embedding.conv_in.weight" in tensors:
        config = _config(tensors, where)
    else:
        raise _no_control(where)
    if "task_embedding" in tensors:
        raise _no_control(where, "a network of several kinds in one (union)")
    flux = "controlnet_x_embedder.weight" in tensors
    family = "flux" if flux else _BY_WIDTH.get(config.get("cross_attention_dim", 0), "unknown")
    if checkpoint is not None:
        check_family(where, family, checkpoint.family.name)
    made = getattr(weights.extra("diffusers"), "FluxControlNetModel" if flux else "ControlNetModel")
    known = inspect.signature(made.__init__).parameters
    with components.weightless():
        network = made(**{key: value for key, value in config.items() if key in known})
    components.filled(network, tensors, str(file))
    if dtype is not None:
        components.cast(network, dtype)
    return Control(network=network, family=family, kind=kind_of(where), path=where)


def _diffusers_names(tensors: Tensors) -> Tensors:
    """Return a ControlNet's weights in diffusers' names; the original's are a UNet's first half and a few more."""
    own = {name.removeprefix("control_model."): tensor for name, tensor in tensors.items()}
    if "input_hint_block.0.weight" not in own:
        return own
    pairs = original.unet_pairs(own)
    count = 1 + max(int(n.split(".")[1]) for n in own if n.startswith("zero_convs."))
    pairs += [(f"zero_convs.{n}.0.", f"controlnet_down_blocks.{n}.") for n in range(count)]
    pairs.append(("middle_block_out.0.", "controlnet_mid_block."))
    hints = sorted(int(n.split(".")[1]) for n in own if re.fullmatch(r"input_hint_block\.\d+\.weight", n))
    inner = [f"blocks.{n}." for n in range(len(hints) - 2)]
    for hint, name in zip(hints, ["conv_in.", *inner, "conv_out."], strict=True):
        pairs.append((f"input_hint_block.{hint}.", f"controlnet_cond_embedding.{name}"))
    return original.renamed(own, pairs)


def _config(tensors: Tensors, where: Path) -> dict[str, Any]:
    """Return the configuration of one that came without, from its family's UNet and its shapes."""
    width = next((shape(t)[1] for n, t in tensors.items() if n.endswith("attn2.to_k.weight")), 0)
    if width not in _BY_WIDTH:
        raise _no_control(where)
    known = configs(_BY_WIDTH[width], "base")["unet"]
    # what only a UNet has, as `fitted` asks for it
    whole = {**tensors, "conv_out.weight": tensors["conv_in.weight"].transpose(0, 1)}
    embedding = [shape(tensors["controlnet_cond_embedding.conv_in.weight"])[0]]
    for name, tensor in tensors.items():
        found = re.fullmatch(r"controlnet_cond_embedding\.blocks\.(\d+)\.weight", name)
        if found is not None and int(found[1]) % 2 == 1:
            embedding.append(shape(tensor)[0])
    stem = shape(tensors["controlnet_cond_embedding.conv_in.weight"])[1]
    return {
        **fitted("unet", known, whole),
        "conditioning_channels": stem,
        "conditioning_embedding_out_channels": sorted(embedding),
    }


def _no_control(path: Path, why: str = "") -> InputError:
    return InputError(
        f"{path} is no ControlNet that Reknit reads" + (f": it is {why}" if why else ""),
        code="control.format",
        hint="a folder of diffusers, or a file with weights of controlnet_cond_embedding or control_model",
        path=str(path),
    )
