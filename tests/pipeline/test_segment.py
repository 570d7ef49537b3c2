"""The contract with Segment Anything models: right tensors in, and the mask back where the click was."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reknit.core.errors import ExternalError, InputError, Unavailable
from reknit.core.geometry import Box
from reknit.core.image import Photo
from reknit.pipeline import segment
from reknit.pipeline.segment import Segmenter

pytest.importorskip("onnxruntime")
from . import tiny_sam


def plain(width: int, height: int, dtype: type = np.uint8) -> Photo:
    return Photo(pixels=np.full((height, width, 3), 100, dtype))


def disc(width: int, height: int, x: float, y: float, rx: float, ry: float) -> np.ndarray:
    ys, xs = np.mgrid[:height, :width] + 0.5
    return ((xs - x) / rx) ** 2 + ((ys - y) / ry) ** 2 <= 1


def overlap(found: Any, expected: np.ndarray) -> float:
    plane = np.zeros(expected.shape, bool)
    plane[found.box.slices] = found.fill
    return float((plane & expected).sum() / (plane | expected).sum())


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, np.ndarray]]:
    """Return a list of what the models are given, as they are run."""
    seen: list[dict[str, np.ndarray]] = []
    run = segment._Model._run

    def watched(self: Any, session: Any, inputs: Any) -> Any:
        seen.append({name: np.array(value) for name, value in inputs.items()})
        return run(self, session, inputs)

    monkeypatch.setattr(segment._Model, "_run", watched)
    return seen


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (1024, 1024), (2400, 1600), (1000, 3000)])
@pytest.mark.parametrize("kind", ["sam", "mobile"])
def test_the_mask_lies_where_the_click_was(tmp_path: Path, size: tuple[int, int], kind: str) -> None:
    tiny_sam.write(tmp_path, kind=kind)
    width, height = size
    x, y = width * 0.6, height * 0.3
    found = Segmenter(tmp_path).select(plain(width, height), "a", foreground=[(x, y)])
    radius = tiny_sam.RADII[2] * 4 * max(size) / 1024  # of the three masks for one point the best
    assert overlap(found, disc(width, height, x, y, radius, radius)) > 0.95


def test_sam2_sees_a_square(tmp_path: Path) -> None:
    tiny_sam.write(tmp_path, kind="sam2", scores=(0.1, 0.7, 0.2))
    found = Segmenter(tmp_path).select(plain(1600, 800), "a", foreground=[(400, 500)])
    radius = tiny_sam.RADII[1] * 4 / 1024
    assert overlap(found, disc(1600, 800, 400, 500, radius * 1600, radius * 800)) > 0.95


def test_a_picture_is_normalised_and_padded(tmp_path: Path, runs: list[dict[str, np.ndarray]]) -> None:
    tiny_sam.write(tmp_path)
    pixels = np.zeros((600, 1200, 3), np.uint8)
    pixels[...] = (200, 100, 50)
    Segmenter(tmp_path).select(Photo(pixels=pixels), "a", foreground=[(300, 150)])
    image = runs[0]["image"]
    assert (image.shape, image.dtype) == ((1, 3, 1024, 1024), np.float32)
    expected = [(200 - 123.675) / 58.395, (100 - 116.28) / 57.12, (50 - 103.53) / 57.375]
    assert np.allclose(image[0, :, :512], np.reshape(expected, (3, 1, 1)), atol=1e-5)
    assert (image[0, :, 512:] == 0).all()
    prompt = runs[1]
    assert np.allclose(prompt["point_coords"], [[[256, 128], [0, 0]]])
    assert prompt["point_labels"].tolist() == [[1, -1]]
    assert prompt["mask_input"].shape == (1, 1, 256, 256)
    assert not prompt["mask_input"].any() and prompt["has_mask_input"].tolist() == [0]
    assert prompt["orig_im_size"].tolist() == [512, 1024]


def test_raw_samples_keep_their_shape(tmp_path: Path, runs: list[dict[str, np.ndarray]]) -> None:
    tiny_sam.write(tmp_path, kind="mobile")
    Segmenter(tmp_path).select(plain(400, 800, np.uint16), "a", foreground=[(1, 1)])
    assert runs[0]["input_image"].shape == (1024, 512, 3)
    assert runs[1]["image_embeddings"][:3].tolist() == [0, 0, 0]  # 100 of 65535
    assert runs[1]["image_embeddings"][3:].tolist() == [1024, 512, 3]


def test_several_points_and_a_box(tmp_path: Path, runs: list[dict[str, np.ndarray]]) -> None:
    tiny_sam.write(tmp_path)
    segmenter = Segmenter(tmp_path)
    found = segmenter.select(
        plain(512, 512), "a", foreground=[(100, 100), (120, 100)], background=[(300, 300)]
    )
    assert runs[-1]["point_labels"].tolist() == [[1, 1, 0, -1]]
    radius = tiny_sam.RADII[0] * 2  # the mask for several points
    assert overlap(found, disc(512, 512, 100, 100, radius, radius)) > 0.9
    segmenter.select(plain(512, 512), "a", box=Box(x0=10, y0=20, x1=200, y1=210))
    assert runs[-1]["point_labels"].tolist() == [[2, 3]]
    assert runs[-1]["point_coords"].tolist() == [[[20, 40], [400, 420]]]


def test_a_picture_is_encoded_once(tmp_path: Path, runs: list[dict[str, np.ndarray]]) -> None:
    tiny_sam.write(tmp_path)
    segmenter = Segmenter(tmp_path)
    for name in ("a", "a", "b", "a"):
        segmenter.select(plain(300, 200), name, foreground=[(50, 50)])
    assert ["image" in given for given in runs] == [True, False, False, True, False, False]


def test_no_model(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "sam"
    with pytest.raises(Unavailable) as caught:
        Segmenter(folder).select(plain(30, 20), "a", foreground=[(5, 5)])
    assert caught.value.code == "segment.no-model"
    assert str(folder) in caught.value.hint
    tiny_sam.write(folder)
    assert Segmenter(folder).installed() == ("tiny",)
    (folder / "tiny.encoder.onnx").unlink()
    assert Segmenter(folder).installed() == ()


def test_without_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_sam.write(tmp_path)
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Unavailable) as caught:
        Segmenter(tmp_path).select(plain(30, 20), "a", foreground=[(5, 5)])
    assert caught.value.code == "segment.onnxruntime"
    assert "pip install onnxruntime" in caught.value.hint


@pytest.mark.parametrize("broken", ["encoder", "decoder"])
def test_files_that_are_no_models(tmp_path: Path, broken: str) -> None:
    tiny_sam.write(tmp_path)
    path = tmp_path / f"tiny.{broken}.onnx"
    for data in (b"", b"not a model", path.read_bytes()[:100]):
        path.write_bytes(data)
        with pytest.raises(ExternalError) as caught:
            Segmenter(tmp_path).select(plain(30, 20), "a", foreground=[(5, 5)])
        assert caught.value.code == "segment.failed"


def test_a_model_of_another_kind(tmp_path: Path) -> None:
    tiny_sam.write(tmp_path)
    (tmp_path / "tiny.decoder.onnx").write_bytes((tmp_path / "tiny.encoder.onnx").read_bytes())
    with pytest.raises(ExternalError) as caught:
        Segmenter(tmp_path).select(plain(30, 20), "a", foreground=[(5, 5)])
    assert "not a Segment Anything model" in caught.value.facts["reason"]


def test_points_are_checked(tmp_path: Path) -> None:
    segmenter = Segmenter(tmp_path)
    for given in ({}, {"foreground": [(30, 5)]}, {"foreground": [(1, 1)], "background": [(-1, 0)]}):
        with pytest.raises(InputError) as caught:
            segmenter.select(plain(30, 20), "a", **given)
        assert caught.value.code == "select.point"
