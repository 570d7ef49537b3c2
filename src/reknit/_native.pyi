from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

def distance_transform(mask: NDArray[np.bool_], threads: int = 1) -> NDArray[np.float32]: ...
def components(mask: NDArray[np.bool_]) -> NDArray[np.int64]: ...
def occupied_cells(mask: NDArray[np.bool_], cell_px: int) -> NDArray[np.int64]: ...
def differences_where_kept(
    before: NDArray[np.uint8], after: NDArray[np.uint8], kept: NDArray[np.uint8], threads: int = 1
) -> int: ...
def exemplar_fill(
    pixels: NDArray[np.uint8 | np.uint16],
    hole: NDArray[np.bool_],
    target: NDArray[np.bool_],
    source: NDArray[np.bool_],
    *,
    settings: Mapping[str, float],
    seed: int,
    threads: int,
    progress: Callable[[float], bool] | None,
    isa: str = "",
) -> NDArray[np.uint8] | NDArray[np.uint16] | None: ...
def instruction_sets() -> list[str]: ...
def instruction_set() -> str: ...
