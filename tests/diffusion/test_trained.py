"""The whole path on a model that was really trained: it restores what a hole hid, and nothing else changes."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers")

import reknit
from reknit.core.options import check_all
from reknit.core.progress import Reporter
from reknit.engines.base import Crop
from reknit.engines.diffusion import DIFFUSION
from tests.diffusion import training

pytestmark = [
    pytest.mark.slow,
    pytest.mark.weights,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of diffusers
]

GIVEN = {"steps": 12, "side": 64, "guidance": 1.0, "device": "cpu", "dtype": "float32"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return training.trained_folder(tmp_path_factory.mktemp("trained"))


def error(folder: Path) -> float:
    """Return the mean error in the holes of scenes never seen, in levels of 255, before any matching of colours."""
    rng = np.random.default_rng(99)
    pictures = np.rint(training.scenes(8, rng) * 255).astype(np.uint8)
    engine = DIFFUSION.configured(
        check_all(DIFFUSION.spec.options, {**GIVEN, "model": str(folder)}, owner="test"), None
    )
    params = check_all(engine.spec.options, {}, owner="test")
    session = engine.load(threads=2)
    found = []
    for seed, (truth, hole) in enumerate(zip(pictures, training.holes(8, rng), strict=True)):
        damaged = truth.copy()
        damaged[hole] = 255
        crop = Crop(pixels=damaged, hole=hole, target=hole, source=~hole)
        made = session.run(crop, params, seed, Reporter())
        found.append(np.abs(made[hole].astype(float) - truth[hole]).mean())
    return float(np.mean(found))


def test_training_brings_the_masked_error_down_five_times(folders):
    trained, untrained = (error(folder) for folder in folders)
    print(
        f"masked error: {untrained:.1f} levels untrained, {trained:.1f} trained: {untrained / trained:.1f}x"
    )
    assert untrained > 5 * trained


def test_beyond_the_hole_nothing_changes(folders):
    truth = np.rint(training.scenes(1, np.random.default_rng(5))[0] * 255).astype(np.uint8)
    large = np.kron(truth, np.ones((3, 3, 1), np.uint8))
    mask = np.zeros(large.shape[:2], bool)
    mask[80:110, 70:110] = True
    result = reknit.fill(large, mask, params={**GIVEN, "model": str(folders[0])}, grow=0, feather=0)
    assert np.array_equal(result.to_numpy()[~mask], large[~mask])
    assert np.abs(result.to_numpy()[mask].astype(float) - large[mask]).mean() < 25
