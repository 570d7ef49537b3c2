"""Textual inversions: which tensors of a small file stand for words of a prompt, and for which family's encoders.

AUTOMATIC1111's files, diffusers' and those of SDXL with two encoders are known. It looks at names and shapes only; a
file with anything else in it is none.
"""

from __future__ import annotations

from reknit.models.header import Tensor, Tensors

SUFFIXES = (".safetensors", ".pt", ".bin")
"""What such files are called; of two with one name the first in this order counts."""
MOST_VECTORS = 75
"""As many as a text encoder reads at once."""
WIDTHS = {"sd15": (768,), "sd2": (1024,), "sdxl": (768, 1280)}
"""How wide a family's text encoders are, in its own order."""

_A1111 = "string_to_param."
_BOTH = ("clip_l", "clip_g")
_NUMBERS = ("float32", "float16", "bfloat16", "float64")


def vectors(tensors: Tensors) -> dict[str, tuple[int, int]]:
    """Return how many vectors of which width there are for each encoder, by the tensor's name; none: no inversion."""
    inside = {name: tensor for name, tensor in tensors.items() if name.startswith(_A1111)} or tensors
    if len(inside) != 1 and set(inside) != set(_BOTH):
        return {}
    found = {name: _size(inside[name]) for name in (_BOTH if len(inside) == 2 else inside)}
    sizes = {name: size for name, size in found.items() if size is not None}
    widths = tuple(width for _, width in sizes.values())
    counts = {count for count, _ in sizes.values()}
    return sizes if widths in WIDTHS.values() and len(counts) == 1 else {}


def family(sizes: dict[str, tuple[int, int]]) -> str:
    """Return the family whose encoders have the widths of `vectors`."""
    widths = tuple(width for _, width in sizes.values())
    return next(name for name, known in WIDTHS.items() if known == widths)


def _size(tensor: Tensor) -> tuple[int, int] | None:
    """Return how many vectors a tensor is, and how wide; None if it can be none."""
    shape = (1, *tensor.shape) if len(tensor.shape) == 1 else tensor.shape
    if len(shape) != 2 or tensor.dtype not in _NUMBERS:
        return None
    count, width = shape
    if isinstance(count, int) and isinstance(width, int) and 1 <= count <= MOST_VECTORS:
        return count, width
    return None
