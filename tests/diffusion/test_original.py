"""The original layout is read as diffusers itself reads it, by tables of our own."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from diffusers.loaders import single_file_utils as theirs  # noqa: E402

from reknit.diffusion import components, original  # noqa: E402
from reknit.diffusion.families import configs  # noqa: E402
from tests.diffusion import original_layout, tiny  # noqa: E402


def assert_equal(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert set(found) == set(wanted)
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl"])
def test_networks_of_stable_diffusion(family: str) -> None:
    made = original_layout.whole(family, tiny.tiny_networks(family, "inpaint"))
    config = tiny.tiny_configs(family, "inpaint")
    unet = original.part(made, "denoiser")
    assert unet is not None
    assert_equal(unet, theirs.convert_ldm_unet_checkpoint(dict(made), config["unet"]))
    vae = original.part(made, "vae")
    assert vae is not None
    assert_equal(vae, theirs.convert_ldm_vae_checkpoint(dict(made), config["vae"]))


def test_the_open_clip_of_sdxl() -> None:
    networks = tiny.tiny_networks("sdxl", "base")
    made = original_layout.whole("sdxl", networks)
    found = original.part(made, "open-clip-g")
    assert found is not None
    wanted = theirs.convert_open_clip_checkpoint(
        networks["text_encoder_2"], dict(made), prefix="conditioner.embedders.1.model."
    )
    ours = {name.removeprefix("text_model."): tensor for name, tensor in found.items()}
    for name, tensor in wanted.items():
        if not name.endswith("position_ids"):
            assert torch.equal(ours[name.removeprefix("text_model.")], tensor), name


def test_the_transformer_of_flux() -> None:
    # theirs takes the true height of every weight for granted, so these are as high, and two columns wide
    config = configs("flux", "inpaint")["transformer"] | {"num_layers": 2, "num_single_layers": 2}
    random = torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn([tensor.shape[0], *[2] * (tensor.ndim - 1)], generator=random)
        for name, tensor in components.empty("transformer", config).state_dict().items()
    }
    made = original_layout.flux(weights)
    found = original.part(made, "denoiser")
    assert found is not None
    assert_equal(found, theirs.convert_flux_transformer_checkpoint_to_diffusers(dict(made)))
    assert_equal(found, weights)


def test_a_network_in_diffusers_names_stays_as_it_is() -> None:
    weights = tiny.tiny_networks("sd15", "inpaint")["unet"].state_dict()
    found = original.part(weights, "denoiser")
    assert found is not None
    assert_equal(found, weights)
    assert original.part(weights, "vae") is None
