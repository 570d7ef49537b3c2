"""What every engine is given: photo-like crops of all shapes, depths and holes."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reknit.core.options import check_all
from reknit.engines import registry
from reknit.engines.base import Configurable, Crop, Engine
from reknit.engines.learned import NETWORK
from tests.oracles import networks

ENGINES = {name: engine for name, engine in registry.every().items() if not isinstance(engine, Configurable)}
NETWORKS = {"onnx": "onnx", "torchscript": "torch"}
"""Learned engines have no fill of their own: each runtime gets a small network, slow enough to be cancelled."""


@pytest.fixture(params=[*sorted(ENGINES), *NETWORKS, "diffusion"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    if request.param in ENGINES:
        return ENGINES[request.param]
    if request.param == "diffusion":
        pytest.importorskip("diffusers")
        return diffusion(tmp_path_factory.getbasetemp() / "contract-diffusion")
    pytest.importorskip(NETWORKS[request.param])
    path = tmp_path_factory.getbasetemp() / f"contract.{request.param}"
    if not path.exists():
        made = networks.torchscript if request.param == "torchscript" else networks.write
        made(path, networks.Net(heavy=25))
    return learned(path)


def learned(path: Path) -> Engine:
    """Return the engine that runs the network in ``path``."""
    contract = "image=0..1 mask=1=hole output=0..1"
    given = {"model": str(path), "contract": contract, "device": "cpu"}
    return NETWORK.configured(check_all(NETWORK.spec.options, given, owner="test"), None)


def diffusion(folder: Path) -> Engine:
    """Return the engine that paints with a tiny random model."""
    from reknit.engines.diffusion import DIFFUSION
    from tests.diffusion import tiny

    path = folder / "sd15-inpaint"
    if not path.exists():
        tiny.tiny_folder(folder, "sd15", "inpaint")
    given = {"model": str(path), "device": "cpu", "dtype": "float32", "steps": 3, "side": 64, "guidance": 1.0}
    return DIFFUSION.configured(check_all(DIFFUSION.spec.options, given, owner="test"), None)


def texture(height: int, width: int, channels: int, dtype: type, seed: int = 0) -> NDArray:
    """Return waves, blocks and grain: something with structure at every scale."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = 0.5 + 0.25 * np.sin(x / 5.0 + y / 11.0) + 0.15 * np.sign(np.sin(x / 17.0) * np.sin(y / 13.0))
    levels = waves[..., None] * rng.uniform(0.6, 1.0, channels) + rng.normal(
        0, 0.02, (height, width, channels)
    )
    return np.ascontiguousarray((np.clip(levels, 0, 1) * np.iinfo(dtype).max).astype(dtype))


def crop(pixels: NDArray, hole: NDArray[np.bool_], target: NDArray[np.bool_] | None = None) -> Crop:
    """Return a crop with every known pixel as a source; all arrays read-only."""
    return crop_of(pixels, hole, hole.copy() if target is None else target, ~hole)


def crop_of(
    pixels: NDArray, hole: NDArray[np.bool_], target: NDArray[np.bool_], source: NDArray[np.bool_]
) -> Crop:
    """Return a crop of these arrays, made contiguous and read-only."""
    arrays = {"pixels": pixels, "hole": hole, "target": target, "source": source}
    given = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    for array in given.values():
        array.flags.writeable = False
    return Crop(**given)
