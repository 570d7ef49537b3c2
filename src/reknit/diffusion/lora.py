"""LoRAs: low-rank changes to a checkpoint's networks, loaded with a weight and taken out again without a trace.

Files of kohya's tools, of diffusers and of peft are read; which family a file was made for is read off its shapes.
It does not parse prompts. Layers are added to the networks: `apply` sees to it that a placement knows them.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, filterwarnings

from reknit.core.errors import InputError, NotFound
from reknit.diffusion import sources, weights
from reknit.diffusion.checkpoint import Checkpoint
from reknit.diffusion.components import BUILDING
from reknit.diffusion.memory import OutOfMemory, memory_guard

if TYPE_CHECKING:
    from reknit.diffusion.placed import Placed
    from reknit.models.store import Store

Weight = float | tuple[float, float]
"""How much of a LoRA is added: to all networks, or to the denoiser and to the text encoders."""

_MIXINS = {
    "sd15": "StableDiffusionLoraLoaderMixin",
    "sd2": "StableDiffusionLoraLoaderMixin",
    "sdxl": "StableDiffusionXLLoraLoaderMixin",
    "flux": "FluxLoraLoaderMixin",
}
_TEXTS = ("text_encoder", "text_encoder_2")
_BY_WIDTH = {768: "sd15", 1024: "sd2", 2048: "sdxl"}
_CROSS = re.compile(r"attn2[._](?:processor\.)?to_k")
_DOWN = re.compile(r"lora_down|lora_A|lora\.down|_lora\.down")


def family_of(tensors: Mapping[str, Any]) -> str | None:
    """Return the family a LoRA's tensors were made for, or None where they do not tell."""
    if any(re.search(r"(double|single)_blocks|(single_)?transformer_blocks_\d+_(attn_to|ff)", name) or
           name.startswith("transformer.") for name in tensors):  # fmt: skip
        return "flux"
    for name, tensor in tensors.items():
        if _CROSS.search(name) and _DOWN.search(name) and tensor.ndim >= 2:
            return _BY_WIDTH.get(int(tensor.shape[1]))
    return "sdxl" if any(name.startswith(("lora_te1_", "lora_te2_")) for name in tensors) else None


def load_lora(checkpoint: Checkpoint, path: str | Path, weight: Weight = 1.0) -> None:
    """Load a LoRA with a weight; one that is loaded already gets the weight.

    Parameters
    ----------
    checkpoint
        Not yet placed, or placed without offloading: its networks get more layers.
    path
        A ``.safetensors`` file.
    weight
        1.0 is as it was trained; any number. Two numbers: the denoiser's, and that of the text encoders.

    Raises
    ------
    InputError
        ``lora.family``: made for another family; ``lora.format``: no LoRA, or of a kind that diffusers cannot
        apply; ``model.damaged``, ``model.nan``
    NotFound
        ``file.missing``
    """
    file = Path(path)
    if not file.is_file():
        raise NotFound(f"there is no LoRA {file}", code="file.missing", hint="check the path", path=str(file))
    key = file.resolve()
    if key not in checkpoint.loras:
        tensors = weights.read(file)
        weights.check_finite(tensors, str(file))
        made = family_of(tensors)
        if made is not None and made != checkpoint.family.name:
            raise InputError(
                f"the LoRA {file.name} was made for {made}, and the checkpoint is {checkpoint.family.name}",
                code="lora.family",
                hint=f"take a checkpoint of {made}, or a LoRA for {checkpoint.family.name}",
                lora=made,
                checkpoint=checkpoint.family.name,
            )
        _inject(checkpoint, tensors, _adapter(key), file)
    checkpoint.loras[key] = weight
    _weigh(checkpoint)


def unload_lora(checkpoint: Checkpoint, path: str | Path | None = None) -> None:
    """Take a LoRA out again, or all of them; one that is not loaded is left alone."""
    wanted = [*checkpoint.loras] if path is None else [Path(path).resolve()]
    for key in wanted:
        if key in checkpoint.loras:
            _delete(checkpoint, _adapter(key))
            del checkpoint.loras[key]
    _weigh(checkpoint)


def use_loras(checkpoint: Checkpoint, wanted: Mapping[Path, Weight]) -> None:
    """Have exactly these LoRAs loaded, with these weights; those that stay are not loaded anew.

    Raises
    ------
    InputError, NotFound
        As `load_lora`.
    """
    keys = {path.resolve() for path in wanted}
    for path in [each for each in checkpoint.loras if each not in keys]:
        unload_lora(checkpoint, path)
    for path, weight in wanted.items():
        load_lora(checkpoint, path, weight)


def named(text: str, models: Store | None = None) -> dict[Path, float]:
    """Return the LoRAs that a text such as ``"ink:0.8, film.safetensors"`` names, with their weights.

    Raises
    ------
    InputError
        ``lora.weight``: what follows a colon is no number.
    NotFound
        ``lora.unknown``
    """
    found: dict[Path, float] = {}
    for each in filter(None, (part.strip() for part in text.split(","))):
        name, colon, weight = each.rpartition(":")
        if not colon or Path(each).is_file():
            name, weight = each, "1"
        try:
            found[locate_lora(name.strip(), models)] = float(weight)
        except ValueError:
            raise InputError(
                f"the weight of a LoRA in {each!r} is no number",
                code="lora.weight",
                hint="write NAME:WEIGHT, such as ink:0.8, and a comma between two",
            ) from None
    return found


def apply(placed: Placed, wanted: Mapping[Path, Weight]) -> None:
    """Have exactly these LoRAs in a checkpoint that is placed already.

    Raises
    ------
    InputError, NotFound
        As `load_lora`; the checkpoint then has those that came before the wrong one.
    """
    if placed.checkpoint.loras != {path.resolve(): weight for path, weight in wanted.items()}:
        with placed.altering():
            use_loras(placed.checkpoint, wanted)


def locate_lora(name: str, models: Store | None = None) -> Path:
    """Return the file of the LoRA that prompts call ``name``: a path, or a file's name without its ending.

    Raises
    ------
    NotFound
        ``lora.unknown``, with the nearest name as its hint.
    """
    return sources.named(name, "LoRA", models, code="lora.unknown")


def _adapter(key: Path) -> str:
    """Return what a file's layers are called; names of modules hold no dots, and two files may share a name."""
    return f"{re.sub(r'[^a-zA-Z0-9]', '_', key.stem)}_{zlib.crc32(str(key).encode()):08x}"


def _inject(checkpoint: Checkpoint, tensors: Mapping[str, Any], adapter: str, file: Path) -> None:
    mixin = getattr(weights.extra("diffusers.loaders.lora_pipeline"), _MIXINS[checkpoint.family.name])
    flux = checkpoint.family.name == "flux"
    said = {"return_alphas": True} if flux else {"unet_config": checkpoint.denoiser.config}
    try:
        with catch_warnings(), BUILDING, memory_guard("adding a LoRA"):
            filterwarnings("ignore", "Already found a `peft_config`")  # a second LoRA is meant to be a second
            state, alphas = mixin.lora_state_dict(dict(tensors), **said)[:2]
            state = _fitting(state, checkpoint.denoiser)
            load = mixin.load_lora_into_transformer if flux else mixin.load_lora_into_unet
            if any(name.startswith(f"{checkpoint.family.denoiser}.") for name in state):
                load(state, alphas, checkpoint.denoiser, adapter_name=adapter)
            for name, encoder in zip(_TEXTS, checkpoint.text_encoders, strict=False):
                if any(each.startswith(f"{name}.") for each in state):
                    mixin.load_lora_into_text_encoder(
                        state, alphas, encoder, prefix=name, adapter_name=adapter
                    )
    except OutOfMemory:
        _delete(checkpoint, adapter)
        raise
    except Exception as error:  # diffusers and peft raise whatever their parsers meet
        _delete(checkpoint, adapter)
        raise InputError(
            f"{file} cannot be used as a LoRA: {error}",
            code="lora.format",
            hint="LoRA files of kohya's tools, diffusers and peft are read; LyCORIS' other kinds are not",
            path=str(file),
        ) from error
    if not any(adapter in _adapters(network) for network in _networks(checkpoint)):
        raise InputError(
            f"{file} changes nothing of this checkpoint",
            code="lora.format",
            hint="is it a LoRA?",
            path=str(file),
        )


def _fitting(state: Mapping[str, Any], denoiser: Any) -> dict[str, Any]:
    """Return a LoRA without its change to the first layer, where an inpainting model's takes more channels."""
    made = dict(state)
    for first in ("conv_in", "x_embedder"):
        layer = getattr(denoiser, first, None)
        if layer is None:
            continue
        own = [name for name in state if f".{first}." in name]
        if any(_DOWN.search(name) and state[name].shape[1] != layer.weight.shape[1] for name in own):
            made = {name: tensor for name, tensor in made.items() if name not in own}
    return made


def _weigh(checkpoint: Checkpoint) -> None:
    """Give every adapter its weight, in the networks that have it."""
    text = weights.extra("diffusers.loaders.lora_base").set_adapters_for_text_encoder
    chosen = {
        _adapter(key): weight if isinstance(weight, tuple) else (weight, weight)
        for key, weight in checkpoint.loras.items()
    }
    for network in _networks(checkpoint):
        names = [name for name in chosen if name in _adapters(network)]
        if names and network is checkpoint.denoiser:
            network.set_adapters(names, [chosen[name][0] for name in names])
        elif names:
            text(names, network, [chosen[name][1] for name in names])


def _delete(checkpoint: Checkpoint, adapter: str) -> None:
    peft = weights.extra("diffusers.utils.peft_utils")
    for network in _networks(checkpoint):
        names = _adapters(network)
        if adapter not in names:
            continue
        if len(names) > 1:
            peft.delete_adapter_layers(network, adapter)
            network.peft_config.pop(adapter, None)
        else:
            peft.recurse_remove_peft_layers(network)
            network.peft_config.pop(adapter, None)
            network._hf_peft_config_loaded = False


def _networks(checkpoint: Checkpoint) -> tuple[Any, ...]:
    return (checkpoint.denoiser, *checkpoint.text_encoders)


def _adapters(network: Any) -> list[str]:
    return [*getattr(network, "peft_config", {})]
