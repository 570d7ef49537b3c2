"""A LoRA changes the networks as its formula says, and leaves no trace when it is taken out."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("peft")

from safetensors.torch import save_file  # noqa: E402

from reknit.core.errors import InputError, NotFound  # noqa: E402
from reknit.core.progress import Reporter  # noqa: E402
from reknit.diffusion.checkpoint import Checkpoint, open_checkpoint  # noqa: E402
from reknit.diffusion.lora import apply, family_of, load_lora, locate_lora, named, unload_lora, use_loras  # noqa: E402
from reknit.diffusion.placed import place  # noqa: E402
from reknit.diffusion.placement import Placement  # noqa: E402
from tests.diffusion import tiny  # noqa: E402

RANK, ALPHA = 4, 2.0


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {family: tiny.tiny_folder(root, family, "inpaint") for family in ("sd15", "sdxl", "flux")}


def opened(folder: Path) -> Checkpoint:
    return open_checkpoint(folder, report=Reporter())


def pair(rows: int, columns: int, seed: int = 0) -> tuple[Any, Any]:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(RANK, columns, generator=random), torch.randn(rows, RANK, generator=random)


def kohya(path: Path, layers: dict[str, tuple[int, int]], seed: int = 0) -> dict[str, Any]:
    """Write a LoRA as kohya's tools do, and return the change of each layer."""
    tensors: dict[str, Any] = {}
    changes: dict[str, Any] = {}
    for name, (rows, columns) in layers.items():
        down, up = pair(rows, columns, seed)
        tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
        tensors[f"{name}.alpha"] = torch.tensor(ALPHA)
        changes[name] = up @ down * (ALPHA / RANK)
    save_file(tensors, path)
    return changes


SD15 = {
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k": (32, 768),
    "lora_te_text_model_encoder_layers_0_self_attn_q_proj": (768, 768),
    "lora_te_text_model_encoder_layers_0_self_attn_out_proj": (768, 768),
}
SDXL = {
    "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k": (64, 2048),
    "lora_te1_text_model_encoder_layers_0_self_attn_q_proj": (768, 768),
    "lora_te1_text_model_encoder_layers_0_self_attn_out_proj": (768, 768),
    "lora_te2_text_model_encoder_layers_0_self_attn_q_proj": (1280, 1280),
    "lora_te2_text_model_encoder_layers_0_self_attn_out_proj": (1280, 1280),
}


def layers(checkpoint: Checkpoint) -> list[Any]:
    """Return the layers that the LoRAs of these tests change, in their order."""
    if checkpoint.family.name == "flux":
        return [checkpoint.denoiser.transformer_blocks[0].attn.to_q]
    block = checkpoint.denoiser.down_blocks[0 if checkpoint.family.name == "sd15" else 1]
    found = [block.attentions[0].transformer_blocks[0].attn2.to_k]
    for encoder in checkpoint.text_encoders:
        model = getattr(encoder, "text_model", encoder)
        attention = model.encoder.layers[0].self_attn
        found += [attention.q_proj, attention.out_proj]
    return found


@pytest.mark.parametrize(("family", "names"), [("sd15", SD15), ("sdxl", SDXL)])
def test_kohyas_files_change_the_layers_they_name(
    folders: dict[str, Path], tmp_path: Path, family: str, names: dict[str, tuple[int, int]]
) -> None:
    changes = [*kohya(tmp_path / "a style.v1.safetensors", names).values()]
    checkpoint = opened(folders[family])
    inputs = [torch.randn(2, change.shape[1]) for change in changes]
    with torch.no_grad():
        before = [layer(x) for layer, x in zip(layers(checkpoint), inputs, strict=True)]
        for weight in (0.5, -1.0):
            load_lora(checkpoint, tmp_path / "a style.v1.safetensors", weight)
            after = [layer(x) for layer, x in zip(layers(checkpoint), inputs, strict=True)]
            wanted = [y + weight * x @ change.T for y, x, change in zip(before, inputs, changes, strict=True)]
            torch.testing.assert_close(after, wanted, rtol=1e-4, atol=1e-3)
        assert len(checkpoint.loras) == 1
        unload_lora(checkpoint)
        after = [layer(x) for layer, x in zip(layers(checkpoint), inputs, strict=True)]
    assert all(torch.equal(one, other) for one, other in zip(after, before, strict=True))
    assert checkpoint.loras == {}
    assert not any("lora" in name for name, _ in checkpoint.denoiser.named_modules())


def test_two_are_added_and_one_taken_out(folders: dict[str, Path], tmp_path: Path) -> None:
    name = next(iter(SD15))
    first = kohya(tmp_path / "one.safetensors", {name: SD15[name]}, seed=1)[name]
    second = kohya(tmp_path / "two.safetensors", {name: SD15[name]}, seed=2)[name]
    checkpoint = opened(folders["sd15"])
    x = torch.randn(2, 768)
    with torch.no_grad():
        before = layers(checkpoint)[0](x)
        use_loras(checkpoint, {tmp_path / "one.safetensors": 1.0, tmp_path / "two.safetensors": 0.5})
        both = layers(checkpoint)[0](x)
        torch.testing.assert_close(both, before + x @ first.T + 0.5 * x @ second.T, rtol=1e-4, atol=1e-3)
        use_loras(checkpoint, {tmp_path / "two.safetensors": 1.0})
        torch.testing.assert_close(layers(checkpoint)[0](x), before + x @ second.T, rtol=1e-4, atol=1e-3)


def test_a_lora_of_flux(folders: dict[str, Path], tmp_path: Path) -> None:
    down, up = pair(64, 64)
    names = "transformer.transformer_blocks.0.attn.to_q.lora_"
    tensors = {f"{names}A.weight": down, f"{names}B.weight": up}
    # made for the base, whose first layer takes 64 channels: that part is left out
    tensors |= {"transformer.x_embedder.lora_A.weight": torch.ones(4, 64)}
    tensors |= {"transformer.x_embedder.lora_B.weight": torch.ones(64, 4)}
    save_file(tensors, tmp_path / "flux.safetensors")
    checkpoint = opened(folders["flux"])
    x = torch.randn(2, 64)
    with torch.no_grad():
        before = layers(checkpoint)[0](x)
        load_lora(checkpoint, tmp_path / "flux.safetensors")
        torch.testing.assert_close(layers(checkpoint)[0](x), before + x @ (up @ down).T, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("offload", ["none", "group", "sequential"])
def test_a_placed_checkpoint_takes_a_lora(folders: dict[str, Path], tmp_path: Path, offload: str) -> None:
    name = next(iter(SD15))
    change = kohya(tmp_path / "one.safetensors", {name: SD15[name]})[name]
    placed = place(opened(folders["sd15"]), Placement(offload=offload))
    x = torch.randn(2, 768)
    with torch.no_grad():
        before = layers(placed.checkpoint)[0](x)
        for weight in (1.0, 0.25):
            apply(placed, {tmp_path / "one.safetensors": weight})
            after = layers(placed.checkpoint)[0](x)
            torch.testing.assert_close(after, before + weight * x @ change.T, rtol=1e-4, atol=1e-3)
        apply(placed, {})
        assert torch.equal(layers(placed.checkpoint)[0](x), before)
    placed.free()


def test_a_text_names_several(tmp_path: Path) -> None:
    one, two = tmp_path / "one.safetensors", tmp_path / "t:wo.safetensors"
    one.write_bytes(b"")
    two.write_bytes(b"")
    assert named(f"{one}:0.8, {two}") == {one: 0.8, two: 1.0}
    assert named(" ") == {}
    with pytest.raises(InputError) as caught:
        named(f"{one}:much")
    assert caught.value.code == "lora.weight"


def test_another_familys_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    kohya(tmp_path / "xl.safetensors", SDXL)
    checkpoint = opened(folders["sd15"])
    with pytest.raises(InputError) as caught:
        load_lora(checkpoint, tmp_path / "xl.safetensors")
    assert caught.value.code == "lora.family"
    assert "sdxl" in caught.value.hint
    assert checkpoint.loras == {}


def test_what_is_no_lora_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    checkpoint = opened(folders["sd15"])
    save_file({"weight": torch.ones(2, 2)}, tmp_path / "no.safetensors")
    with pytest.raises(InputError) as caught:
        load_lora(checkpoint, tmp_path / "no.safetensors")
    assert caught.value.code == "lora.format"
    with pytest.raises(NotFound):
        load_lora(checkpoint, tmp_path / "nowhere.safetensors")


def test_families_are_told_by_widths() -> None:
    name = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight"
    for width, family in ((768, "sd15"), (1024, "sd2"), (2048, "sdxl")):
        assert family_of({name: torch.zeros(4, width)}) == family
    assert family_of({"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": torch.zeros(4, 9)}) == "flux"
    assert family_of({"something": torch.zeros(4, 9)}) is None


def test_a_name_is_looked_for_where_other_programs_keep_loras(tmp_path: Path) -> None:
    class Models:
        def folders(self) -> list[Path]:
            return [tmp_path]

    (tmp_path / "Lora" / "styles").mkdir(parents=True)
    (tmp_path / "Lora" / "styles" / "Ink.safetensors").write_bytes(b"")
    models: Any = Models()
    assert locate_lora("ink", models).name == "Ink.safetensors"
    with pytest.raises(NotFound) as caught:
        locate_lora("inc", models)
    assert (caught.value.code, "ink" in caught.value.hint) == ("lora.unknown", True)
