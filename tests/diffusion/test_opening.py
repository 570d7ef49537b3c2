"""Every form a checkpoint has on a disk opens; what cannot be used is refused with an error that helps."""

import gzip
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import load_file, save_file  # noqa: E402

from reknit.core.errors import NotFound, ReknitError, Unavailable  # noqa: E402
from reknit.core.progress import Reporter  # noqa: E402
from reknit.diffusion import distilled, tokenizers  # noqa: E402
from reknit.diffusion.checkpoint import Checkpoint, open_checkpoint  # noqa: E402
from reknit.diffusion.digest import MEMORY, digest  # noqa: E402
from reknit.diffusion.placed import place  # noqa: E402
from reknit.diffusion.placement import Placement  # noqa: E402
from reknit.diffusion.quantise import quantised  # noqa: E402
from tests.diffusion import original_layout, tiny  # noqa: E402
from tests.diffusion.test_checkpoint import assert_same  # noqa: E402
from tests.diffusion.test_placed import computed  # noqa: E402


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FLUX.1 denoiser in its own file, its other parts in folders beside; not to be changed."""
    return tiny.tiny_single_file(tmp_path_factory.mktemp("flux"), "flux", "inpaint")


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion checkpoint in one file; not to be changed."""
    return tiny.tiny_single_file(tmp_path_factory.mktemp("sd15"), "sd15", "base")


def opened(path: Path | str, **options: Any) -> Checkpoint:
    return open_checkpoint(path, report=Reporter(), **options)


def moved(file: Path, target: Path) -> Path:
    """Copy a file's whole folder of models, so that it may be changed, and return the file there."""
    shutil.copytree(file.parent.parent, target)
    return target / file.parent.name / file.name


def changed(file: Path, target: Path, change: Any) -> Path:
    """Return a copy of a checkpoint with other weights."""
    there = moved(file, target)
    weights = {name: tensor.clone() for name, tensor in load_file(there).items()}
    change(weights)
    there.unlink()
    save_file(weights, there)
    return there


def code_of(path: Path | str, **options: Any) -> ReknitError:
    with pytest.raises(ReknitError) as caught:
        opened(path, **options)
    assert caught.value.hint
    return caught.value


def test_a_weight_that_is_no_number_is_found(sd15: Path, tmp_path: Path) -> None:
    def spoil(weights: dict[str, Any]) -> None:
        weights["model.diffusion_model.out.2.weight"][0, 0, 0, 0] = float("nan")

    error = code_of(changed(sd15, tmp_path / "m", spoil))
    assert (error.code, error.facts["tensor"]) == ("model.nan", "conv_out.weight")


def test_a_missing_layer_is_found(sd15: Path, tmp_path: Path) -> None:
    def cut(weights: dict[str, Any]) -> None:
        del weights["first_stage_model.decoder.mid.block_1.conv1.bias"]

    error = code_of(changed(sd15, tmp_path / "m", cut))
    assert error.code == "model.damaged"
    assert "decoder.mid_block.resnets.0.conv1.bias" in error.message


def test_a_checkpoint_without_its_vae_says_so(sd15: Path, tmp_path: Path) -> None:
    def cut(weights: dict[str, Any]) -> None:
        for name in [each for each in weights if each.startswith("first_stage_model.")]:
            del weights[name]

    file = changed(sd15, tmp_path / "m", cut)
    assert code_of(file).code == "model.part"
    vae = tiny.tiny_networks("sd15", "base")["vae"]
    save_file(original_layout.part("sd15", "vae", vae), tmp_path / "my.vae.safetensors")
    assert_same(opened(file, vae=tmp_path / "my.vae.safetensors"), tiny.tiny_networks("sd15", "base"))
    vae.save_pretrained(tmp_path / "vae")
    assert_same(opened(file, vae=tmp_path / "vae"), tiny.tiny_networks("sd15", "base"))


def test_files_that_are_no_checkpoint_are_refused(flux: Path, tmp_path: Path) -> None:
    assert code_of(flux.parent.parent / "vae" / "ae.safetensors").code == "model.family"
    (tmp_path / "note.safetensors").write_text("no weights")
    assert code_of(tmp_path / "note.safetensors").code in ("model.damaged", "model.unrecognised")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(flux.read_bytes()[:-100])
    assert code_of(cut).code == "model.damaged"
    save_file({"joint_blocks.0.x_block.attn.qkv.weight": torch.ones(8, 8)}, tmp_path / "sd3.safetensors")
    error = code_of(tmp_path / "sd3.safetensors")
    assert error.code == "model.family"
    assert code_of(tmp_path).code == "model.family"
    assert code_of("no-such-model").code == "model.unknown"


def test_a_vae_is_not_taken_for_a_text_encoder(flux: Path) -> None:
    error = code_of(flux, text_encoders=[flux.parent.parent / "vae" / "ae.safetensors"])
    assert error.code == "model.part"


def test_tokenizers_come_from_the_program_whose_folder_the_weights_lie_in(flux: Path, tmp_path: Path) -> None:
    there = moved(flux, tmp_path / "ComfyUI" / "models")
    for name in ("tokenizer", "tokenizer_2"):
        where = {"tokenizer": "sd1_tokenizer", "tokenizer_2": "text_encoders/t5_tokenizer"}[name]
        shutil.move(there.parent / name, tmp_path / "ComfyUI" / "comfy" / where)
    found = opened(there)
    assert [type(each).__name__[:2] for each in found.tokenizers] == ["CL", "T5"]
    assert found.tokenizers[1]("the cat").input_ids == opened(flux).tokenizers[1]("the cat").input_ids


def test_without_a_text_encoder_beside_it_the_error_names_it(flux: Path, tmp_path: Path) -> None:
    there = moved(flux, tmp_path / "m")
    (tmp_path / "m" / "text_encoders" / "t5xxl_fp16.safetensors").unlink()
    error = code_of(there)
    assert (error.code, error.facts["part"]) == ("model.part", "text_encoder_2")
    assert "text_encoders" in error.hint


def test_the_missing_extra_is_named(flux: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    error = code_of(flux)
    assert (error.code, error.hint) == ("engine.missing", 'pip install "reknit[diffusion]"')


def test_one_file_holds_all_of_flux(flux: Path, tmp_path: Path) -> None:
    root = flux.parent.parent
    weights = {f"model.diffusion_model.{n}": t for n, t in load_file(flux).items()}
    weights |= {f"vae.{n}": t for n, t in load_file(root / "vae" / "ae.safetensors").items()}
    for name, file in (("clip_l", "clip_l"), ("t5xxl", "t5xxl_fp16")):
        part = load_file(root / "text_encoders" / f"{file}.safetensors")
        weights |= {f"text_encoders.{name}.transformer.{n}": t for n, t in part.items()}
    save_file(weights, tmp_path / "all.safetensors")
    for name in ("tokenizer", "tokenizer_2"):
        shutil.copytree(flux.parent / name, tmp_path / name)
    assert_same(opened(tmp_path / "all.safetensors"), tiny.tiny_networks("flux", "inpaint"))


@pytest.mark.parametrize("scaled", [False, True])
def test_eight_bit_files_open(flux: Path, tmp_path: Path, scaled: bool) -> None:
    def shrink(weights: dict[str, Any]) -> None:
        for name in [n for n, t in weights.items() if n.endswith(".weight") and t.ndim == 2]:
            scale = weights[name].abs().max() / 400.0 if scaled else torch.tensor(1.0)
            weights[name] = (weights[name] / scale).to(torch.float8_e4m3fn)
            if scaled:
                weights[name.replace(".weight", ".scale_weight")] = scale
        if scaled:
            weights["scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)

    true = computed(place(opened(flux), Placement(dtype="bfloat16")))[-1]
    file = changed(flux, tmp_path / "m", shrink)
    for how in ("none", "fp8"):
        checkpoint = opened(file)
        assert checkpoint.dtype == (torch.bfloat16 if scaled else torch.float8_e4m3fn)
        found = computed(place(checkpoint, Placement(dtype="bfloat16", quantise=how)))[-1]
        assert float((found - true).abs().mean()) < 0.2 * float(true.abs().mean())


def test_gguf_files_stay_quantised_and_compute(flux: Path, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    there = moved(flux, tmp_path / "m").with_suffix(".gguf")
    writer = gguf.GGUFWriter(there, "flux")
    kinds = gguf.GGMLQuantizationType
    for name, tensor in load_file(flux).items():
        values = tensor.float().numpy()
        kind = kinds.Q8_0 if values.ndim == 2 and values.shape[1] % 32 == 0 else kinds.F32
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    there.with_suffix(".safetensors").unlink()

    true = computed(place(opened(flux), Placement()))[-1]
    checkpoint = opened(there)
    assert (checkpoint.family.name, checkpoint.kind) == ("flux", "inpaint")
    assert quantised(checkpoint.denoiser) == "gguf"
    for placement in (Placement(quantise="gguf"), Placement(dtype="bfloat16", offload="model")):
        found = computed(place(checkpoint, placement))[-1]
        assert float((found - true).abs().mean()) < 0.15 * float(true.abs().mean())


def test_pickled_checkpoints_open_without_running_anything(sd15: Path, tmp_path: Path) -> None:
    there = moved(sd15, tmp_path / "m")
    torch.save({"state_dict": load_file(there), "global_step": 1}, there.with_suffix(".ckpt"))
    assert_same(opened(there.with_suffix(".ckpt")), tiny.tiny_networks("sd15", "base"))


def test_velocity_is_told_by_the_file_beside_or_by_the_spread_of_a_bias(tmp_path: Path) -> None:
    file = tiny.tiny_single_file(tmp_path, "sd2", "base")
    assert opened(file).prediction == "epsilon"
    file.with_suffix(".yaml").write_text('model:\n  params:\n    parameterization: "v"\n')
    assert opened(file).prediction == "v_prediction"

    def spread(weights: dict[str, Any]) -> None:
        bias = weights["model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"]
        bias.copy_(torch.linspace(-1, 1, bias.numel()))

    file.with_suffix(".yaml").unlink()
    assert opened(changed(file, tmp_path / "m", spread)).prediction == "v_prediction"


def test_the_digest_is_the_files_and_is_remembered(
    sd15: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = hashlib.sha256(sd15.read_bytes()).hexdigest()
    assert opened(sd15).digest == wanted

    from reknit.diffusion import digest as module

    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    both = digest([one, two], Reporter(), folder=tmp_path)
    assert (
        both
        == hashlib.sha256("\n".join(hashlib.sha256(n).hexdigest() for n in (b"1", b"2")).encode()).hexdigest()
    )
    assert len(json.loads((tmp_path / MEMORY).read_text())) == 2
    monkeypatch.setattr(module, "_known", {})
    monkeypatch.setattr(module, "checksum", None)
    assert digest([one, two], Reporter(), folder=tmp_path) == both


def test_distilled_models_are_told_by_their_names_and_layers() -> None:
    def told(*names: str, **config: Any) -> str | None:
        return distilled.recognise(config, {}, names)

    assert told("sd_xl_turbo_1.0_fp16.safetensors") == "turbo"
    assert told("dreamshaperXL_v21TurboDPMSDE.safetensors") == "turbo"
    assert told("sdxl_lightning_4step.safetensors") == "lightning"
    assert told("juggernautXL_v9Rdphoto2Lightning") == "lightning"
    assert told("Hyper-SDXL-8steps") == "hyper"
    assert told("hyperrealism_v3", "lcmv") is None
    assert told("any", time_cond_proj_dim=256) == "lcm"
    assert told("any", guidance_embeds=False) == "schnell"
    assert distilled.stated_steps(["sdxl_lightning_4step.safetensors"]) == 4
    assert distilled.stated_steps(["model_v15"]) is None


def test_a_distilled_checkpoint_notes_it(sd15: Path, tmp_path: Path) -> None:
    there = moved(sd15, tmp_path / "m")
    turbo = there.rename(there.with_name("my-turbo-6steps.safetensors"))
    checkpoint = opened(turbo)
    assert checkpoint.distilled == "turbo"
    assert "6 steps" in checkpoint.notes[0]


def test_the_clip_vocabulary_of_a_package_makes_the_true_tokenizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "open_clip"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('nobody imports this')")
    merges = [" ".join(pair) for pair in tiny.clip_vocabulary()[1]]
    with gzip.open(package / tokenizers.VOCABULARY, "wt", encoding="utf-8") as file:
        file.write("\n".join(["version", *merges]))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "open_clip", raising=False)
    (made,) = tokenizers.find(["clip-l"], [600])
    mine = tiny.tiny_tokenizers("sd15")["tokenizer"]
    for text in ("a photo of the cat", "Grass, sky & (sea)!", "zebra 12"):
        assert made(text).input_ids == mine(text).input_ids
    (padded,) = tokenizers.find(["open-clip-h"], [600])
    assert padded.pad_token == "!"
    assert made.pad_token == "<|endoftext|>"


def test_the_true_vocabulary_gives_the_published_numbers() -> None:
    if tokenizers.shipped() is None:
        pytest.skip("no package here ships CLIP's vocabulary")
    clip, padded = tokenizers.find(["clip-l", "open-clip-g"], [49_408, 49_408])
    assert len(clip) == len(padded) == 49_408
    assert clip("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert padded("a cat", padding="max_length", max_length=6).input_ids == [49406, 320, 2368, 49407, 0, 0]


def test_tokenizers_come_from_the_hubs_cache_if_they_fit(tmp_path: Path) -> None:
    for name, tokenizer in tiny.tiny_tokenizers("flux").items():
        tokenizer.save_pretrained(tmp_path / "models--a--b" / "snapshots" / "1" / name)
    sizes = [len(tiny.clip_vocabulary()[0]), len(tiny.t5_pieces())]
    clip, t5 = tokenizers.find(["clip-l", "t5-xxl"], sizes, hub_cache=tmp_path)
    assert len(clip) == sizes[0]
    assert len(t5) == sizes[1]
    with pytest.raises(Unavailable) as caught:
        tokenizers.find(["t5-xxl"], [32_128], hub_cache=tmp_path)
    assert caught.value.code == "model.tokenizer"
    assert "google/t5-v1_1-xxl" in caught.value.hint


def test_a_repository_in_the_hubs_cache_opens_by_its_name(tmp_path: Path) -> None:
    folder = tiny.tiny_folder(tmp_path, "flux", "base")
    snapshot = tmp_path / "hub" / "models--me--my-flux" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    checkpoint = opened("me/my-flux", hub_cache=tmp_path / "hub")
    assert checkpoint.source == "me/my-flux"
    assert_same(checkpoint, tiny.tiny_networks("flux", "base"))
    with pytest.raises(NotFound):
        opened("me/another", hub_cache=tmp_path / "hub")


def test_a_dtype_is_what_all_weights_become(flux: Path) -> None:
    checkpoint = opened(flux, dtype=torch.bfloat16)
    assert {p.dtype for p in checkpoint.denoiser.parameters()} == {torch.bfloat16}
    assert checkpoint.dtype == torch.bfloat16


def test_what_a_checkpoint_says_of_itself(sd15: Path, flux: Path) -> None:
    one, other = opened(sd15), opened(flux)
    assert (one.prediction, one.native_px, one.vae_scale) == ("epsilon", 512, 8)
    assert (other.prediction, other.native_px, other.distilled) == ("flow", 1024, None)
    assert one.files == (sd15,)
    assert len(other.files) == 4
