"""Textual inversions are known by their headers, found by name in people's folders, and hostile ones refused."""

from pathlib import Path
from typing import Any

import pytest

from reknit.core.errors import InputError, NotFound
from reknit.diffusion.emphasis import parse
from reknit.diffusion.textual_inversion import Finder, chosen, known, named, open_embedding
from reknit.models import layouts
from reknit.models.identify import identify
from reknit.models.store import Store
from tests.models import weights

BOTH = {"clip_g": (4, 1280), "clip_l": (4, 768)}


def embedding(path: Path, shapes: weights.Shapes | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return weights.safetensors(path, shapes or {"emb_params": (2, 768)}, "F32")


@pytest.mark.parametrize(
    ("shapes", "family", "inputs"),
    [
        ({"emb_params": (8, 768)}, "sd15", {"emb_params": (8, 768)}),
        ({"<cat-toy>": (768,)}, "sd15", {"<cat-toy>": (1, 768)}),
        ({"<cat-toy>": (2, 1024)}, "sd2", {"<cat-toy>": (2, 1024)}),
        (BOTH, "sdxl", {"clip_l": (4, 768), "clip_g": (4, 1280)}),
        ({"string_to_param.*": (3, 768), "string_to_token.*": (1,)}, "sd15", {"string_to_param.*": (3, 768)}),
    ],
)
@pytest.mark.parametrize("form", ["safetensors", "pickle"])
def test_what_it_is_for(
    tmp_path: Path, shapes: weights.Shapes, family: str, inputs: dict[str, tuple[int, int]], form: str
) -> None:
    path = tmp_path / "lora.bin"
    if form == "safetensors":
        weights.safetensors(path, shapes, "F32")
    else:
        weights.torch_zip(path, weights.state(shapes))
    found = identify(path)
    assert (found.kind, found.family, found.format) == ("embedding", family, form)
    assert {name: tensor.shape for name, tensor in found.inputs.items()} == inputs
    assert bool(found.notes) == (form == "pickle")


@pytest.mark.parametrize(
    "shapes",
    [
        {"x": (76, 768)},
        {"x": (0, 768)},
        {"x": (2, 769)},
        {"x": (2, 2, 768)},
        {"x": ()},
        {"x": (2, 768), "y": (2, 768)},
        {"clip_l": (4, 768), "clip_g": (5, 1280)},
        {"clip_l": (4, 1280), "clip_g": (4, 768)},
    ],
)
def test_what_is_none(tmp_path: Path, shapes: weights.Shapes) -> None:
    path = embedding(tmp_path / "x.safetensors", shapes)
    assert identify(path).kind != "embedding"
    with pytest.raises(InputError) as caught:
        open_embedding(path)
    assert caught.value.code == "embedding.format"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"\xff\xff\xff\xff\xff\xff\xff\x7f{}",
        b"\x40\x00\x00\x00\x00\x00\x00\x00"
        + b'{"emb_params":{"dtype":"F32","shape":[2,768],"data_offsets":[0,9]}}',
        b"PK\x03\x04" + bytes(60),
        b"\x80\x02cos\nsystem\nU\x02idR.",
    ],
)
def test_what_is_broken_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(data)
    with pytest.raises(InputError):
        open_embedding(tmp_path / "x.pt")


def store(tmp_path: Path) -> Store:
    others = [tmp_path / "webui", tmp_path / "ComfyUI", tmp_path / "forge" / "models"]
    return Store(tmp_path / "models", offline=True, others=others, cards={})


@pytest.mark.parametrize(
    "where",
    [
        "models/embeddings/Ink.safetensors",  # the store's own
        "webui/embeddings/sub/Ink.pt",  # AUTOMATIC1111, given its folder
        "forge/embeddings/Ink.bin",  # the same, given its models
        "ComfyUI/models/embeddings/Ink.safetensors",
        "elsewhere/embeddings/Ink.safetensors",  # through extra_model_paths.yaml
    ],
)
def test_it_is_found_by_name(tmp_path: Path, where: str) -> None:
    path = embedding(tmp_path / where)
    for folder in ("webui/models/Lora", "ComfyUI/models/loras", "forge/models"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / "ComfyUI" / "extra_model_paths.yaml").write_text(
        "a1111:\n    base_path: ../elsewhere\n    embeddings: embeddings\n"
    )
    embedding(tmp_path / "webui/models/Lora/other.safetensors")
    before = {each: each.stat().st_mtime_ns for each in tmp_path.rglob("*")}
    assert known(store(tmp_path)) == {"ink": path}
    assert chosen("INK", store(tmp_path)) == {"ink": path}
    assert {each: each.stat().st_mtime_ns for each in tmp_path.rglob("*")} == before
    with pytest.raises(NotFound) as caught:
        chosen("inc", store(tmp_path))
    assert caught.value.code == "embedding.unknown" and "'ink'" in caught.value.hint


def test_a_folder_is_listed_once(tmp_path: Path) -> None:
    (tmp_path / "embeddings").mkdir()
    assert layouts.folders([tmp_path]) == [tmp_path]
    (tmp_path / "models").mkdir()
    both = [tmp_path / "models", tmp_path / "embeddings"]
    assert layouts.folders([tmp_path]) == layouts.folders([tmp_path / "models"]) == both


def test_of_two_with_one_name_no_pickle_is_taken() -> None:
    files = [Path(f"ink{ending}") for ending in (".pt", ".png", ".bin", ".safetensors")]
    assert named(files) == {"ink": Path("ink.safetensors")}


def test_names_lead_to_no_other_files(tmp_path: Path) -> None:
    embedding(tmp_path / "secret.safetensors")

    def tokenizer(text: str, **_: Any) -> Any:
        return type("Ids", (), {"input_ids": [*text.encode()]})

    for text in ("embedding:../secret", f"embedding:{tmp_path}/secret.safetensors"):
        finder = Finder({}, "sd15", "comfyui")
        assert finder.tokens(tokenizer, parse(text, "comfyui")) == []
        assert len(finder.notes) == 1
