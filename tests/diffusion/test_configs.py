"""The packaged configurations are those of the true models, and a family's facts agree with them."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from reknit.core.errors import InputError
from reknit.diffusion import components
from reknit.diffusion.families import configs, families, family
from reknit.diffusion.fitted import fitted
from reknit.diffusion.weights import shape

WEIGHTS = {
    ("sd15", "inpaint", "unet"): 859_535_364,
    ("sd15", "base", "unet"): 859_520_964,
    ("sd15", "base", "vae"): 83_653_863,
    ("sd15", "base", "text_encoder"): 123_060_480,
    ("sd2", "inpaint", "unet"): 865_925_124,
    ("sd2", "inpaint", "text_encoder"): 340_387_840,
    ("sdxl", "inpaint", "unet"): 2_567_478_084,
    ("sdxl", "base", "unet"): 2_567_463_684,
    ("sdxl", "base", "text_encoder_2"): 694_659_840,
    ("flux", "inpaint", "transformer"): 11_902_391_360,
    ("flux", "base", "transformer"): 11_901_408_320,
    ("flux", "base", "vae"): 83_819_683,
    ("flux", "base", "text_encoder_2"): 4_762_310_656,
}
"""Numbers of weights of the published models."""


def text_of(name: str, component: str) -> str:
    order = ("text_encoder", "text_encoder_2")
    return family(name).text[order.index(component)] if component in order else ""


@pytest.mark.parametrize(("name", "kind", "component"), WEIGHTS)
def test_true_networks_have_their_published_number_of_weights(name: str, kind: str, component: str) -> None:
    config = configs(name, kind)[component]
    network = components.empty(component, config, text_of(name, component))
    assert sum(weight.numel() for weight in network.parameters()) == WEIGHTS[name, kind, component]

    # a file of the true size gives the true configuration, though only shapes are asked
    said = fitted(component, config, network.state_dict(), text_of(name, component))
    again = components.empty(component, said, text_of(name, component))
    assert {n: shape(t) for n, t in again.state_dict().items()} == {
        n: shape(t) for n, t in network.state_dict().items()
    }
    for key, value in config.items():
        assert said[key] == value, key


def test_facts_of_a_family_agree_with_its_configurations() -> None:
    for name, facts in families().items():
        known = configs(name, "base")
        assert len(facts.latent_rgb) == facts.latent_channels == known["vae"]["latent_channels"]
        assert all(len(row) == 3 for row in facts.latent_rgb)
        assert (len(facts.text) == 2) == ("text_encoder_2" in known)
        assert facts.denoiser in known
        assert set(facts.guidance) == {"inpaint", "base"}


def test_callers_may_change_what_they_get() -> None:
    configs("sd15", "base")["unet"]["in_channels"] = 7
    assert configs("sd15", "base")["unet"]["in_channels"] == 4
    assert configs("sd15", "inpaint")["unet"]["in_channels"] == 9


def test_an_unknown_family_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        family("sd25")
    assert caught.value.code == "model.family"
    assert "sd2" in caught.value.hint
