"""Scaling as PyTorch and Pillow do it, sample by sample."""

import numpy as np
import pytest
from PIL import Image

from reknit.workflow.resize import pillow_scaled, scaled

SIZES = [(17, 23), (5, 40), (60, 7), (96, 64), (1, 1)]
VALUES = np.random.default_rng(1).random((2, 30, 41, 3), np.float32)


@pytest.mark.parametrize("method", ["nearest", "nearest-exact", "bilinear", "area", "bicubic"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_as_pytorch(method: str, width: int, height: int) -> None:
    torch = pytest.importorskip("torch")
    given = torch.from_numpy(VALUES).movedim(-1, 1)
    wanted = torch.nn.functional.interpolate(given, size=(height, width), mode=method).movedim(1, -1).numpy()
    assert np.abs(scaled(VALUES, width, height, method) - wanted).max() < 1e-5


@pytest.mark.parametrize("method", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_as_pillow(method: str, width: int, height: int) -> None:
    eight = (VALUES * 255).astype(np.uint8)
    way = getattr(Image.Resampling, method.upper())
    wanted = [np.asarray(Image.fromarray(one).resize((width, height), way)) for one in eight]
    made = pillow_scaled(eight.astype(np.float32) / np.float32(255), width, height, method)
    assert np.abs(np.rint(made * 255) - np.stack(wanted)).max() <= 1


def test_bislerp_keeps_lengths_between_directions() -> None:
    latent = np.zeros((1, 1, 2, 2), np.float32)
    latent[0, 0, 0, 0] = latent[0, 0, 1, 1] = 2.0
    made = scaled(latent, 4, 1, "bislerp")
    assert np.allclose(np.linalg.norm(made, axis=-1), 2.0, atol=1e-6)
    assert np.allclose(made[0, 0, 0], [2, 0], atol=1e-6)
    share = np.pi / 2 * 0.25
    assert np.allclose(made[0, 0, 1], [2 * np.cos(share), 2 * np.sin(share)], atol=1e-6)
