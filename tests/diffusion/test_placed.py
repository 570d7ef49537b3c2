"""A placement changes where and how a checkpoint computes, not what; what it put on is taken off again."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from reknit.core.errors import InputError, Unavailable  # noqa: E402
from reknit.core.progress import Reporter  # noqa: E402
from reknit.diffusion.checkpoint import Checkpoint, open_checkpoint  # noqa: E402
from reknit.diffusion.placed import PARTS, OutOfMemory, Placed, memory_guard, place  # noqa: E402
from reknit.diffusion.placement import Placement  # noqa: E402
from reknit.diffusion.quantise import quantised  # noqa: E402
from tests.diffusion import tiny  # noqa: E402


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {family: tiny.tiny_folder(root, family, "inpaint") for family in ("sd15", "flux")}


def opened(folder: Path) -> Checkpoint:
    return open_checkpoint(folder, report=Reporter())


def computed(placed: Placed) -> list[Any]:
    """Return what each network makes of the same inputs."""
    random = torch.Generator().manual_seed(1)
    checkpoint = placed.checkpoint
    made: list[Any] = []
    with torch.inference_mode():
        with placed.using("text"):
            tokens = torch.arange(8)[None]
            made += [encoder(tokens).last_hidden_state for encoder in checkpoint.text_encoders]
        with placed.using("vae"):
            latents = checkpoint.vae.encode(
                torch.randn(2, 3, 32, 32, generator=random).to(placed.vae_dtype)
            ).latent_dist.mean
            made += [latents, checkpoint.vae.decode(latents).sample]
        with placed.using("denoiser"), placed.using("denoiser"):
            made.append(denoised(placed, made[0], random))
    return [tensor.float() for tensor in made]


def denoised(placed: Placed, text: Any, random: Any) -> Any:
    config = placed.checkpoint.denoiser.config
    if placed.checkpoint.family.name != "flux":
        latents = torch.randn(2, config["in_channels"], 8, 8, generator=random).to(placed.dtype)
        return placed.checkpoint.denoiser(latents, 500, text.expand(2, -1, -1)).sample
    return placed.checkpoint.denoiser(
        torch.randn(1, 4, config["in_channels"], generator=random).to(placed.dtype),
        text.to(placed.dtype),
        torch.randn(1, config["pooled_projection_dim"], generator=random).to(placed.dtype),
        torch.tensor([0.5]).to(placed.dtype),
        torch.tensor([[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1]]),
        torch.zeros(8, 3),
        torch.tensor([30.0]).to(placed.dtype),
    ).sample


def hooks(checkpoint: Checkpoint) -> int:
    networks = (checkpoint.denoiser, checkpoint.vae, *checkpoint.text_encoders)
    modules = [module for network in networks for module in network.modules()]
    theirs = sum(
        len(module._diffusers_hook.hooks) for module in modules if hasattr(module, "_diffusers_hook")
    )
    return theirs + sum(hasattr(module, "_hf_hook") for module in modules)


def test_weights_lie_as_a_processor_computes_fastest(folders: dict[str, Path]) -> None:
    checkpoint = opened(folders["sd15"])
    for dtype, last in (("float32", False), ("bfloat16", True), ("float32", False)):
        placed = place(checkpoint, Placement(dtype=dtype)).checkpoint
        assert placed.vae.encoder.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
        weight = placed.denoiser.conv_in.weight
        assert weight.is_contiguous(memory_format=torch.channels_last) == last
        assert weight.is_contiguous() != last


@pytest.mark.parametrize("offload", ["model", "group", "sequential"])
@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_offloading_changes_no_number_and_leaves_nothing(
    folders: dict[str, Path], family: str, offload: str
) -> None:
    wanted = computed(place(opened(folders[family]), Placement()))
    checkpoint = opened(folders[family])
    before = {name: tensor.clone() for name, tensor in checkpoint.denoiser.state_dict().items()}
    placed = place(checkpoint, Placement(offload=offload))
    assert (hooks(checkpoint) > 0) == (offload != "model")
    for found, expected in zip(computed(placed), wanted, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    placed.free()
    assert hooks(checkpoint) == 0
    for name, tensor in checkpoint.denoiser.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    again = computed(place(checkpoint, Placement()))
    torch.testing.assert_close(again, wanted, rtol=0, atol=1e-4)


def test_tiles_and_slices_are_switched_on_and_off(folders: dict[str, Path]) -> None:
    checkpoint = opened(folders["sd15"])
    whole = computed(place(checkpoint, Placement()))
    placed = place(checkpoint, Placement(vae_tiling=True, vae_slicing=True, attention_slicing=True))
    assert checkpoint.vae.use_tiling
    assert checkpoint.vae.use_slicing
    torch.testing.assert_close(computed(placed), whole, rtol=0, atol=1e-4)
    place(checkpoint, Placement())
    assert not checkpoint.vae.use_tiling
    assert not checkpoint.vae.use_slicing
    kinds = {type(each).__name__ for each in checkpoint.denoiser.attn_processors.values()}
    assert kinds == {"AttnProcessor2_0"}


def test_half_precision_keeps_in_single_what_would_overflow(folders: dict[str, Path]) -> None:
    checkpoint = opened(folders["flux"])
    placed = place(checkpoint, Placement(dtype="float16"))
    assert placed.vae_dtype == torch.float32
    assert checkpoint.vae.dtype == torch.float32
    kept = {
        module.weight.dtype
        for name, module in checkpoint.text_encoders[1].named_modules()
        if name.endswith(".wo")
    }
    assert kept == {torch.float32}
    assert checkpoint.denoiser.dtype == torch.float16


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_eight_bit_weights_compute_nearly_the_same(folders: dict[str, Path], family: str) -> None:
    wanted = computed(place(opened(folders[family]), Placement(dtype="bfloat16")))[-1]
    checkpoint = opened(folders[family])
    size = sum(weight.nbytes for weight in checkpoint.denoiser.parameters())
    placed = place(checkpoint, Placement(dtype="bfloat16", quantise="fp8"))
    assert quantised(checkpoint.denoiser) == "fp8"
    assert sum(weight.nbytes for weight in checkpoint.denoiser.parameters()) < 0.35 * size
    found = computed(placed)[-1]
    assert float((found - wanted).abs().mean()) < 0.2 * float(wanted.abs().mean())
    with pytest.raises(InputError) as caught:
        place(checkpoint, Placement(quantise="nf4"))
    assert caught.value.code == "placement.quantise"


@pytest.mark.parametrize("how", ["nf4", "int8"])
def test_bitsandbytes_is_asked_for_by_name_where_it_is_missing(
    folders: dict[str, Path], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(Unavailable) as caught:
        place(opened(folders["flux"]), Placement(quantise=how))
    assert caught.value.code == "engine.missing"
    assert "bitsandbytes" in caught.value.hint


def test_a_checkpoint_that_is_no_gguf_cannot_be_kept_as_one(folders: dict[str, Path]) -> None:
    with pytest.raises(InputError) as caught:
        place(opened(folders["flux"]), Placement(quantise="gguf"))
    assert caught.value.code == "placement.quantise"


def test_a_placement_knows_its_words() -> None:
    with pytest.raises(InputError) as caught:
        Placement(offload="modle")
    assert "model" in caught.value.hint


def test_parts_are_all_networks(folders: dict[str, Path]) -> None:
    placed = place(opened(folders["flux"]), Placement())
    assert sum(len(placed.networks(part)) for part in PARTS) == 4


def test_out_of_memory_says_what_was_asked() -> None:
    with pytest.raises(OutOfMemory) as caught, memory_guard("decoding"):
        torch.empty(2**60, dtype=torch.uint8)
    error = caught.value
    assert (error.code, error.facts["stage"]) == ("memory.out", "decoding")
    assert error.facts["asked_bytes"] == 2**60
    assert error.facts["free_bytes"] > 0
    with pytest.raises(OutOfMemory) as caught, memory_guard("denoising", "cpu"):
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total of 8 GiB"
        )
    assert caught.value.facts["asked_bytes"] == int(2.5 * 2**30)


def test_other_errors_pass_through() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_guard("denoising"):
        raise RuntimeError("shapes do not match")


def test_what_fails_while_placing_leaves_the_networks_usable(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import accelerate

    checkpoint = opened(folders["sd15"])
    true = accelerate.cpu_offload
    calls: list[Any] = []

    def second_fails(network: Any, **options: Any) -> None:
        calls.append(network)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
        true(network, **options)

    monkeypatch.setattr(accelerate, "cpu_offload", second_fails)
    with pytest.raises(OutOfMemory):
        place(checkpoint, Placement(offload="sequential"))
    assert hooks(checkpoint) == 0
    computed(place(checkpoint, Placement()))
