"""Parameters and bytes of components are exactly those of the networks, built without memory for their weights."""

import json
import warnings
from importlib import resources
from itertools import pairwise
from typing import Any

import pytest

from reknit.models import catalog
from reknit.planner.facts import components, families, subject

pytest.importorskip("torch")
pytest.importorskip("diffusers")

BUILT = {
    ("sd15", "unet"): "sd15-unet",
    ("sd15", "vae"): "sd-vae",
    ("sd15", "text_encoder"): "clip-l",
    ("sd2", "unet"): "sd2-unet",
    ("sd2", "vae"): "sd-vae",
    ("sd2", "text_encoder"): "openclip-h",
    ("sdxl", "unet"): "sdxl-unet",
    ("sdxl", "vae"): "sd-vae",
    ("sdxl", "text_encoder"): "clip-l",
    ("sdxl", "text_encoder_2"): "openclip-bigg",
    ("flux", "transformer"): "flux-fill-dit",
    ("flux", "vae"): "flux-vae",
    ("flux", "text_encoder"): "clip-l",
    ("flux", "text_encoder_2"): "t5-xxl",
}
TEXT = {"clip-l": "clip-l", "openclip-h": "open-clip-h", "openclip-bigg": "open-clip-g", "t5-xxl": "t5-xxl"}


def network(family: str, part: str) -> Any:
    """Return a family's inpainting network, as Reknit opens it, on the meta device."""
    from reknit.diffusion.components import empty

    table = json.loads(resources.files("reknit.diffusion").joinpath("configs", f"{family}.json").read_text())
    config = {**table["components"][part], **table["inpaint"].get(part, {})}
    built = empty(part, config, TEXT.get(BUILT[family, part], ""))
    if hasattr(built, "tie_weights"):
        built.tie_weights()  # as when its weights are given
    return built


def test_every_family_of_the_catalog_that_has_stages_is_built_here() -> None:
    cards = [card for card in catalog.load().values() if card.pipeline is None]
    used = {found.family for card in cards if (found := subject(card)) and found.family.latent}
    for family in used:
        parts = {family.denoiser, *family.text, family.vae}
        built = {name for (of, _), name in BUILT.items() if of == family.name}
        assert built == {part.name for part in parts if part}


@pytest.mark.parametrize("family, part", BUILT)
def test_bytes_are_exactly_the_networks(family: str, part: str) -> None:
    import torch

    built, stated = network(family, part), components()[BUILT[family, part]]
    sizes = {name: weight.numel() for name, weight in built.named_parameters()}
    linear = {
        f"{name}.weight": module.weight.numel()
        for name, module in built.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    assert sum(sizes.values()) == stated.params
    assert sum(linear.values()) == stated.linear
    for dtype, word in ((torch.float32, "fp32"), (torch.float16, "half")):
        itemsize = torch.empty((), dtype=dtype).itemsize
        assert sum(sizes.values()) * itemsize == stated.bytes(word)
    wide = {name for name in linear if name.endswith(".wo.weight")} if part == "text_encoder_2" else set()
    rest = sum(sizes.values()) - sum(linear.values())
    narrow = sum(size for name, size in linear.items() if name not in wide)
    scales = sum(-(-size // 64) * 4 for name, size in linear.items() if name not in wide)
    fp32 = sum(linear[name] for name in wide)
    assert stated.bytes("nf4") == pytest.approx(narrow / 2 + scales + fp32 * 4 + rest * 2, rel=1e-6)
    assert stated.bytes("q8_0") == pytest.approx(sum(linear.values()) * 34 / 32 + rest * 2, rel=1e-9)


QWEN3_4B = {
    "vocab_size": 151936,
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
QWEN25_VL_7B = {
    "text_config": {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
    },
    "vision_config": {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 3584,
    },
    "tie_word_embeddings": False,
}
SD35_MEDIUM = {
    "num_layers": 24,
    "num_attention_heads": 24,
    "caption_projection_dim": 1536,
    "pos_embed_max_size": 384,
    "dual_attention_layers": tuple(range(13)),
    "qk_norm": "rms_norm",
}
KLEIN_4B = {
    "num_layers": 5,
    "num_single_layers": 20,
    "num_attention_heads": 24,
    "joint_attention_dim": 7680,
    "guidance_embeds": False,
}
CLIP_L = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
}
PUBLISHED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "flux-kontext-dit": ("diffusers", "FluxTransformer2DModel", {"guidance_embeds": True}),
    "klein-4b-dit": ("diffusers", "Flux2Transformer2DModel", KLEIN_4B),
    "flux2-vae": ("diffusers", "AutoencoderKLFlux2", {}),
    "qwen-image-dit": ("diffusers", "QwenImageTransformer2DModel", {}),
    "qwen-vae": ("diffusers", "AutoencoderKLQwenImage", {}),
    "z-image-dit": ("diffusers", "ZImageTransformer2DModel", {}),
    "sd35-medium-dit": ("diffusers", "SD3Transformer2DModel", SD35_MEDIUM),
    "chroma-dit": ("diffusers", "ChromaTransformer2DModel", {}),
    "clip-l-projected": ("transformers", "CLIPTextModelWithProjection", CLIP_L),
    "qwen3-4b": ("transformers", "Qwen3Model", QWEN3_4B),
    "qwen2.5-vl-7b": ("transformers", "Qwen2_5_VLForConditionalGeneration", QWEN25_VL_7B),
}
"""What diffusers' own pipelines run: the class, and where its defaults are not the published model, what is."""


def published(name: str) -> Any:
    """Return a network of one of diffusers' own pipelines on the meta device."""
    import torch

    library, made, options = PUBLISHED[name]
    kind = getattr(pytest.importorskip(library), made)
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # diffusers' of its own Chroma
        return kind(kind.config_class(**options)) if library == "transformers" else kind(**options)


@pytest.mark.parametrize("name", PUBLISHED)
def test_bytes_of_what_runs_in_diffusers_own_pipelines(name: str) -> None:
    import torch

    built, stated = published(name), components()[name]
    kept = built.state_dict()
    tables = sum(table.numel() for of, table in built.named_buffers() if of in kept)
    linear = [
        module
        for of, module in built.named_modules()
        if isinstance(module, torch.nn.Linear) and of != "lm_head"  # which quantisers leave as it is
    ]
    assert sum(weight.numel() for weight in built.parameters()) + tables == stated.params
    assert sum(module.weight.numel() for module in linear) == stated.linear


UNBUILT = {"mat-512": "its authors' code may be used for research only, so Reknit has none to build it with"}


def test_every_family_that_the_catalog_names_has_facts_and_is_built_here() -> None:
    built = {*BUILT.values(), *PUBLISHED, *ERASERS}
    for card in catalog.load().values():
        found = subject(card)
        assert found is not None, f"nothing is known of {card.id}'s family {card.family}"
        parts = {found.family.denoiser, found.family.vae, *found.family.text} - {None}
        assert {part.name for part in parts if part} <= built | UNBUILT.keys()


def lama() -> Any:
    """Return big-LaMa's layers that have weights: 18 blocks of two Fourier convolutions over 128 + 384 channels."""
    from torch import nn

    def fourier() -> list[Any]:
        spectral = [
            nn.Conv2d(384, 192, 1, bias=False),
            nn.BatchNorm2d(192),
            nn.Conv2d(384, 384, 1, bias=False),
        ]
        spectral += [nn.BatchNorm2d(384), nn.Conv2d(192, 384, 1, bias=False)]
        across = [nn.Conv2d(i, o, 3, bias=False) for i, o in ((128, 128), (128, 384), (384, 128))]
        return [*across, *spectral, nn.BatchNorm2d(128), nn.BatchNorm2d(384)]

    layers: list[Any] = [nn.Conv2d(4, 64, 7, bias=False), nn.BatchNorm2d(64)]
    for i, o in ((64, 128), (128, 256)):
        layers += [nn.Conv2d(i, o, 3, bias=False), nn.BatchNorm2d(o)]
    for o in (128, 384):
        layers += [nn.Conv2d(256, o, 3, bias=False), nn.BatchNorm2d(o)]
    for _ in range(2 * 18):
        layers += fourier()
    for i, o in ((512, 256), (256, 128), (128, 64)):
        layers += [nn.ConvTranspose2d(i, o, 3), nn.BatchNorm2d(o)]
    return nn.ModuleList([*layers, nn.Conv2d(64, 3, 7)])


def migan() -> Any:
    """Return MI-GAN's layers that have weights, for 512 px: separable convolutions down to 4 × 4 and up again."""
    import torch
    from torch import nn

    def separable(i: int, o: int, *, down: bool = False, up: bool = False, noise: bool = False) -> list[Any]:
        layers: list[Any] = [nn.Conv2d(i, i, 3, groups=i), nn.Conv2d(i, o, 1, bias=False)]
        if down:
            layers.append(nn.Conv2d(i, i, 4, groups=i, bias=False))
        if up:
            layers += enlarged(o)
        if noise:
            layers.append(nn.ParameterList([torch.zeros(())]))
        return layers

    def enlarged(channels: int) -> list[Any]:
        return [nn.Conv2d(channels, channels, side, groups=channels, bias=False) for side in (2, 4)]

    channels = [min(32768 // (512 >> level), 512) for level in range(8)]
    layers: list[Any] = [nn.Conv2d(4, channels[0], 1)]
    for i, o in pairwise(channels):
        layers += separable(i, i) + separable(i, o, down=True)
    layers += separable(512, 512) + separable(512, 512)
    layers += separable(512, 512) + separable(512, 512) + [nn.Conv2d(512, 3, 1)]
    for i, o in pairwise(channels[::-1]):
        layers += separable(i, o, up=True, noise=True) + separable(o, o, noise=True)
        layers += [nn.Conv2d(o, 3, 1), *enlarged(3)]
    return nn.ModuleList(layers)


ERASERS = {"big-lama": lama, "migan-512": migan}


@pytest.mark.parametrize("name, build", ERASERS.items())
def test_bytes_of_erasers_are_exactly_the_networks(name: str, build: Any) -> None:
    import torch

    with torch.device("meta"):
        built = build()
    assert sum(weight.numel() for weight in built.parameters()) == components()[name].params
    assert components()[name].bytes("fp32") == 4 * components()[name].params
    erasers = {family.denoiser.name for family in families().values() if not family.latent}
    assert erasers == ERASERS.keys() | UNBUILT.keys()


@pytest.mark.parametrize("family, part", [("sd15", "unet"), ("sdxl", "unet")])
def test_operations_are_those_that_torch_counts(family: str, part: str) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    built, stated = network(family, part).to("meta"), components()[BUILT[family, part]]
    latent = torch.empty(1, 9, 64, 96, device="meta")
    states = torch.empty(1, 77, built.config.cross_attention_dim, device="meta")
    added = {
        "text_embeds": torch.empty(1, 1280, device="meta"),
        "time_ids": torch.empty(1, 6, device="meta"),
    }
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        built(latent, torch.empty(1, device="meta"), states, added_cond_kwargs=added)
    assert counter.get_total_flops() / 1e12 == pytest.approx(stated.tflop(512 * 768 / 2**20), rel=2e-3)


@pytest.mark.parametrize("name", ["sd35-medium-dit", "chroma-dit"])
def test_operations_of_transformers_are_those_that_torch_counts(name: str) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def empty(*shape: int) -> Any:
        return torch.empty(*shape, device="meta")

    tokens = 32 * 48
    given = {
        "sd35-medium-dit": {
            "hidden_states": empty(1, 16, 64, 96),
            "encoder_hidden_states": empty(1, 77 + 256, 4096),
            "pooled_projections": empty(1, 2048),
        },
        "chroma-dit": {
            "hidden_states": empty(1, tokens, 64),
            "encoder_hidden_states": empty(1, 256, 4096),
            "img_ids": empty(tokens, 3),
            "txt_ids": empty(256, 3),
            "attention_mask": empty(1, 256 + tokens),
        },
    }[name]
    built = published(name)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        built(**given, timestep=empty(1))
    assert counter.get_total_flops() / 1e12 == pytest.approx(
        components()[name].tflop(512 * 768 / 2**20), rel=2e-3
    )


def test_families_take_as_many_steps_as_the_engine() -> None:
    import tomllib

    text = resources.files("reknit.diffusion").joinpath("families.toml").read_text(encoding="utf-8")
    for name, given in tomllib.loads(text).items():
        assert families()[name].steps == given["steps"]
        assert families()[name].native_px == given["native_px"]


def test_families_take_as_many_steps_as_diffusers_own_pipelines() -> None:
    import tomllib

    text = resources.files("reknit.diffusion").joinpath("pipelines.toml").read_text(encoding="utf-8")
    for given in tomllib.loads(text).values():
        if (known := families().get(given["family"])) is not None:
            assert (known.steps, known.native_px) == (given["steps"], given["native_px"])
            assert known.guided == "no" or given["guidance"] > 1
