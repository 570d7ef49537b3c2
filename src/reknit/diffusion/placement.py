"""Where a checkpoint's parts lie and compute: one value that says it all, chosen by whoever plans.

It knows no framework and no machine: it only says what is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from reknit.core.errors import InputError, nearest_name

DTYPES = ("float32", "bfloat16", "float16")
OFFLOADS = ("none", "model", "group", "sequential")
QUANTISATIONS = ("none", "fp8", "int8", "nf4", "gguf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where and how the parts of a checkpoint compute.

    Attributes
    ----------
    device : str
        ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ``xpu``.
    dtype : {'float32', 'bfloat16', 'float16'}
        What is computed in.
    offload : {'none', 'model', 'group', 'sequential'}
        What waits in main memory: nothing; each part (text encoders, VAE, denoiser) that is not at work; each block
        of layers that is not at work; each layer that is not at work. Later ones need less of the device's memory
        and more time.
    vae_tiling, vae_slicing : bool
        Decode in tiles; decode pictures of a batch one by one.
    quantise : {'none', 'fp8', 'int8', 'nf4', 'gguf'}
        How the denoiser's weights are kept; they compute in ``dtype`` all the same. ``gguf`` keeps what a file of
        that format holds.
    compile : bool
        Compile the denoiser at its first step.
    attention_slicing : bool
        Attention in slices; slower, for devices whose attention is not sparing of memory by itself.

    Raises
    ------
    InputError
        ``placement.value``
    """

    device: str = "cpu"
    dtype: str = "float32"
    offload: str = "none"
    vae_tiling: bool = False
    vae_slicing: bool = False
    quantise: str = "none"
    compile: bool = False
    attention_slicing: bool = False

    def __post_init__(self) -> None:
        for name, known in (("dtype", DTYPES), ("offload", OFFLOADS), ("quantise", QUANTISATIONS)):
            value: str = getattr(self, name)
            if value not in known:
                raise InputError(
                    f"there is no {name} {value!r}", code="placement.value", hint=nearest_name(value, known)
                )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {each.name: getattr(self, each.name) for each in fields(self)}
