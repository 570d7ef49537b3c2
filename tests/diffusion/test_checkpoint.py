"""Checkpoints open from folders and single files, with the weights that are in them."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from reknit.core.progress import Reporter  # noqa: E402
from reknit.diffusion.checkpoint import Checkpoint, open_checkpoint  # noqa: E402
from tests.diffusion import tiny  # noqa: E402


def networks(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return a checkpoint's networks by component."""
    made = {checkpoint.family.denoiser: checkpoint.denoiser, "vae": checkpoint.vae}
    names = ("text_encoder", "text_encoder_2")
    return made | dict(zip(names, checkpoint.text_encoders, strict=False))


def assert_same(checkpoint: Checkpoint, expected: dict[str, Any]) -> None:
    """Compare every weight of every network."""
    found = networks(checkpoint)
    assert set(found) == set(expected)
    for component, network in expected.items():
        weights, wanted = found[component].state_dict(), network.state_dict()
        assert set(weights) == set(wanted)
        for name, weight in wanted.items():
            assert torch.equal(weights[name], weight), (component, name)


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_folder_opens_with_its_weights(tmp_path: Path, family: str, kind: str) -> None:
    folder = tiny.tiny_folder(tmp_path, family, kind)
    checkpoint = open_checkpoint(folder, report=Reporter())
    assert (checkpoint.family.name, checkpoint.kind) == (family, kind)
    assert_same(checkpoint, tiny.tiny_networks(family, kind))


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_single_file_opens_with_the_folders_weights(tmp_path: Path, family: str, kind: str) -> None:
    file = tiny.tiny_single_file(tmp_path, family, kind)
    checkpoint = open_checkpoint(file, report=Reporter())
    assert (checkpoint.family.name, checkpoint.kind) == (family, kind)
    assert_same(checkpoint, tiny.tiny_networks(family, kind))
    text = "a photo of the cat"
    assert all(tokenizer(text).input_ids for tokenizer in checkpoint.tokenizers)
