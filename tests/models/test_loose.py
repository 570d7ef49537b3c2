"""People's own checkpoints, where A1111 and ComfyUI keep them, are models by their file's name."""

from pathlib import Path

import pytest

from reknit.core.errors import NotFound
from reknit.core.progress import Reporter
from reknit.models.store import Store
from tests.models import weights

UNET = "model.diffusion_model."
ATTENTION = UNET + "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
INPAINT: weights.Shapes = {UNET + "input_blocks.0.0.weight": (320, 9, 3, 3), ATTENTION: (320, 768)}
BASE: weights.Shapes = {UNET + "input_blocks.0.0.weight": (320, 4, 3, 3), ATTENTION: (320, 768)}

FOLDER: weights.Shapes = {
    "conv_in.weight": (320, 9, 3, 3),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": (320, 768),
}


@pytest.fixture
def comfy(tmp_path: Path) -> Path:
    """Make a folder of ComfyUI with two checkpoints, and files that are none."""
    root = tmp_path / "ComfyUI"
    for folder in ("checkpoints/mine", "loras", "vae"):
        (root / "models" / folder).mkdir(parents=True)
    models = root / "models"
    weights.safetensors(models / "checkpoints" / "A base (v2).safetensors", BASE)
    weights.safetensors(models / "checkpoints" / "mine" / "Merged-Inpainting.safetensors", INPAINT)
    weights.safetensors(models / "loras" / "elsewhere.safetensors", INPAINT)
    (models / "checkpoints" / "broken.safetensors").write_bytes(b"nothing")
    return root


def store(tmp_path: Path, *others: Path) -> Store:
    return Store(tmp_path / "models", offline=True, others=others, cards={})


def test_checkpoints_are_models_those_that_inpaint_first(tmp_path: Path, comfy: Path) -> None:
    found = store(tmp_path, comfy).installed()
    assert [model.card.id for model in found] == ["merged-inpainting", "a-base-v2"]
    assert [model.card.family for model in found] == ["sd15", "sd15"]
    assert found[0].main == comfy / "models" / "checkpoints" / "mine" / "Merged-Inpainting.safetensors"


@pytest.mark.parametrize("name", ["a-base-v2", "A base (v2)", "a base (v2).safetensors"])
def test_they_go_by_id_stem_and_file_name(tmp_path: Path, comfy: Path, name: str) -> None:
    here = store(tmp_path, comfy)
    assert here.locate(name).name == "A base (v2).safetensors"
    with pytest.raises(NotFound, match="no model 'elsewhere'"):
        here.find("elsewhere")


def test_a_second_file_of_a_name_goes_by_its_whole_name(tmp_path: Path, comfy: Path) -> None:
    weights.gguf(comfy / "models" / "checkpoints" / "merged-inpainting.gguf", INPAINT)
    ids = {model.card.id for model in store(tmp_path, comfy).installed()}
    assert ids == {"merged-inpainting", "merged-inpainting.safetensors", "a-base-v2"}


def test_what_was_imported_is_no_second_model(tmp_path: Path, comfy: Path) -> None:
    here = store(tmp_path, comfy)
    file = comfy / "models" / "checkpoints" / "mine" / "Merged-Inpainting.safetensors"
    here.bring(file, Reporter(), name="mine")
    assert [model.card.id for model in here.installed()] == ["mine", "a-base-v2"]


@pytest.fixture
def invoke(tmp_path: Path) -> Path:
    """Make InvokeAI's folder of models with two of diffusers' folders, and one that nothing here paints with."""
    models = tmp_path / "invokeai" / "models"
    for name, shapes in (("sd-1/main/My Inpainting 1.5", FOLDER), ("sd-1/main/other", {"x": (1, 1)})):
        folder = models / name
        for part in ("unet", "vae"):
            (folder / part).mkdir(parents=True)
        (folder / "model_index.json").write_text("{}")
        weights.safetensors(folder / "unet" / "diffusion_pytorch_model.safetensors", shapes)
        (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"the same once more")
        weights.safetensors(folder / "vae" / "diffusion_pytorch_model.safetensors", {"x": (1, 1)})
    return models.parent


@pytest.mark.parametrize("name", ["my-inpainting-1.5", "My Inpainting 1.5"])
def test_folders_of_diffusers_are_models_and_their_parts_are_none(
    tmp_path: Path, invoke: Path, name: str
) -> None:
    here = store(tmp_path, invoke)
    (found,) = here.installed()
    assert (found.card.id, found.card.title, found.card.family) == (
        "my-inpainting-1.5", "My Inpainting 1.5", "sd15",
    )  # fmt: skip
    assert here.locate(name) == found.main == invoke / "models" / "sd-1" / "main" / "My Inpainting 1.5"
    assert found.card.bytes == sum(path.stat().st_size for path in found.paths.values())
    assert sorted(found.paths) == [
        "model_index.json", *(f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae")),
    ]  # fmt: skip
