"""What a weight file's header says of its tensors, and the guard against headers that lie.

Sizes that a file states are believed only after they were compared with the file's own size; nothing is
allocated on a file's word. It knows no format and no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reknit.core.errors import InputError

MAX_DIMENSIONS = 16
MAX_STEPS = 5_000_000
"""How many pieces of a header are looked at before it is called hostile; the largest real ones have 200 000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A tensor's type and shape.

    Attributes
    ----------
    dtype : str
        NumPy's word where there is one (``float16``), else the format's (``bfloat16``, ``Q4_K``).
    shape : tuple of int, str or None
        A name or None stands for a size decided at run time.
    """

    dtype: str
    shape: tuple[int | str | None, ...]

    @property
    def elements(self) -> int:
        """How many numbers it holds; sizes decided at run time count as 1."""
        count = 1
        for side in self.shape:
            count *= side if isinstance(side, int) else 1
        return count


Tensors = Mapping[str, Tensor]


class Steps:
    """Counts the pieces of a header that were looked at, and refuses to go on for ever."""

    __slots__ = ("_left",)

    def __init__(self, limit: int = MAX_STEPS) -> None:
        self._left = limit

    def take(self) -> None:
        """Count one piece."""
        self._left -= 1
        if self._left < 0:
            raise damaged("its header has more entries than any model's")


def damaged(why: str) -> InputError:
    """Return the error for a file that is cut off, broken or hostile."""
    return InputError(
        f"the file is damaged or not what it seems: {why}",
        code="model.damaged",
        hint="download it again; `reknit models verify` compares a catalogued model with its checksum",
    )


def main_dtype(tensors: Tensors) -> str | None:
    """Return the type that most of the numbers have."""
    weight: dict[str, int] = {}
    for tensor in tensors.values():
        weight[tensor.dtype] = weight.get(tensor.dtype, 0) + tensor.elements
    return max(weight, key=lambda dtype: weight[dtype]) if weight else None
