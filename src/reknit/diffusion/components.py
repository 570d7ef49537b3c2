"""A checkpoint's networks: which class each is, and how one is built from a configuration and tensors.

A network is built without memory and then takes the tensors as they are: no random start, no copy. Nothing here
looks for files, and nothing reaches for a network of the other kind.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import inspect
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from reknit.core.errors import InputError
from reknit.diffusion.weights import Tensors, check_finite, extra, plain, shape

TEXT = {
    "clip-l": "CLIPTextModel",
    "open-clip-h": "CLIPTextModel",
    "open-clip-g": "CLIPTextModelWithProjection",
    "t5-xxl": "T5EncoderModel",
}
"""The class of transformers for each text encoder."""

_CLASSES = {"unet": "UNet2DConditionModel", "transformer": "FluxTransformer2DModel", "vae": "AutoencoderKL"}


BUILDING = threading.RLock()
"""Held while networks are built or given weights: `weightless` changes PyTorch's modules in every thread."""


@contextmanager
def weightless() -> Generator[None]:
    """Have networks that are built inside the ``with`` get no memory for their weights; one thread at a time.

    accelerate changes PyTorch's modules of the whole process for it. Two at once would undo each other's changes in
    the wrong order and leave one in place, and every network built afterwards would be empty.
    """
    with BUILDING, extra("accelerate").init_empty_weights(include_buffers=False):
        yield


def empty(component: str, config: Mapping[str, Any], text: str = "") -> Any:
    """Return a network without memory for its weights.

    Parameters
    ----------
    component
        ``unet``, ``transformer``, ``vae``, ``text_encoder``, ``text_encoder_2``.
    config
        In the words of diffusers or transformers; keys that the class does not know are left out.
    text
        Of a text encoder: its kind, a key of `TEXT`.
    """
    with weightless():
        if component in _CLASSES:
            made = getattr(extra("diffusers"), _CLASSES[component])
            known = inspect.signature(made.__init__).parameters
            network = made(**{key: value for key, value in config.items() if key in known})
        else:
            transformers = extra("transformers")
            made = getattr(transformers, TEXT[text])
            plain = {key: value for key, value in config.items() if key not in _SAID_OF_FILES}
            network = made(made.config_class(**plain))
    if hasattr(network, "tie_weights"):
        network.tie_weights()
    return network.eval().requires_grad_(False)


def cast(network: Any, dtype: Any) -> Any:
    """Bring a network's weights to ``dtype`` in place, and return it.

    What overflows in half precision (T5's output layers) stays in single precision there, as transformers has it.
    """
    torch = extra("torch")
    torch.nn.Module.to(network, dtype=dtype)  # diffusers' own warns of modules that it does not have
    for module in network.modules():
        if hasattr(module, "compute_dtype"):  # a layer with quantised weights
            module.compute_dtype = dtype
    if dtype == torch.float16 and type(network).__name__ == "T5EncoderModel":
        for name, module in network.named_modules():
            if name.endswith(".wo"):
                module.to(torch.float32)
    return network


def dtype_of(network: Any) -> Any:
    """Return the type that most of a network's weights are kept in."""
    sizes: dict[Any, int] = {}
    for weight in network.parameters():
        sizes[weight.dtype] = sizes.get(weight.dtype, 0) + weight.numel()
    return max(sizes, key=lambda dtype: sizes[dtype])


_SAID_OF_FILES = frozenset({"architectures", "model_type", "torch_dtype", "dtype", "transformers_version"})


def filled(network: Any, tensors: Tensors, where: str) -> Any:
    """Give ``network`` its weights, and return it.

    Raises
    ------
    InputError
        ``model.damaged``: one is missing or has another shape; ``model.nan``
    """
    wanted = network.state_dict()
    given = _renamed(tensors, wanted)
    missing = sorted(set(wanted) - set(given) - _tied(network))
    if missing:
        raise _damaged(where, f"{len(missing)} of {len(wanted)} weights are missing, such as {missing[0]}")
    for name, tensor in given.items():
        if shape(tensor) != tuple(wanted[name].shape):
            raise _damaged(where, f"{name} is {shape(tensor)} where {tuple(wanted[name].shape)} belongs")
    with BUILDING:
        quantised = _quantised(network, given)
    for name in given.keys() - quantised:
        given[name] = plain(given[name])
    check_finite({name: tensor for name, tensor in given.items() if name not in quantised}, where)
    whole = {name: tensor for name, tensor in given.items() if name not in quantised}
    with BUILDING:
        network.load_state_dict(whole, strict=False, assign=True)
        for name in quantised:
            network.get_submodule(name.rpartition(".")[0]).weight = given[name]
        if hasattr(network, "tie_weights"):
            network.tie_weights()
    return network.eval().requires_grad_(False)


def _quantised(network: Any, given: Tensors) -> set[str]:
    """Put layers that compute from quantised weights where such weights were given, and return their names."""
    names = {name for name, tensor in given.items() if hasattr(tensor, "quant_shape")}
    if not names:
        return names
    utils, torch = extra("diffusers.quantizers.gguf.utils"), extra("torch")
    linear = {
        name for name in names if isinstance(network.get_submodule(name.rpartition(".")[0]), torch.nn.Linear)
    }
    utils._replace_with_gguf_linear(network, torch.float32, {name: given[name] for name in linear})
    return linear


def _renamed(tensors: Tensors, wanted: Mapping[str, Any]) -> Tensors:
    """Return the tensors a network wants; text encoders have or lack a prefix, as transformers' version has it."""
    given: Tensors = {}
    for name, tensor in tensors.items():
        bare = name.removeprefix("text_model.")
        for known in (name, bare, f"text_model.{name}"):
            if known in wanted:
                given[known] = tensor
                break
    return given


def _tied(network: Any) -> set[str]:
    """Return the names of weights that are another weight under a second name."""
    return {"encoder.embed_tokens.weight"} if type(network).__name__ == "T5EncoderModel" else set()


def _damaged(where: str, why: str) -> InputError:
    return InputError(
        f"{where} does not hold the whole network: {why}",
        code="model.damaged",
        hint="download it again; `reknit models show FILE` says what it is",
    )
