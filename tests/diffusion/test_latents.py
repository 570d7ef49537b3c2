"""Pictures become latents and pictures again; masks come to the latents' size as each program does it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from reknit.core.errors import EngineFailed, InputError  # noqa: E402
from reknit.diffusion.latents import decode, downscale_mask, encode_image  # noqa: E402
from reknit.diffusion.placed import Placed  # noqa: E402
from reknit.diffusion.placement import Placement  # noqa: E402
from reknit.diffusion.stage_cache import StageCache  # noqa: E402
from tests.diffusion.stages import pipeline, placed, scene  # noqa: E402
from tests.diffusion.tiny import tiny_networks  # noqa: E402


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_latents_are_diffusers(family: str) -> None:
    model, (picture, _) = placed(family, "inpaint"), scene()
    pipe = pipeline(model)
    pixels = pipe.image_processor.preprocess(picture[None].astype(np.float32) / 255)
    with torch.inference_mode():
        want = pipe._encode_vae_image(pixels, torch.Generator().manual_seed(5))
    made = encode_image(model, picture, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(made, want)
    with torch.inference_mode():
        config = model.checkpoint.vae.config
        raw = made / config.scaling_factor + (config.shift_factor or 0.0)
        shown = pipe.image_processor.postprocess(model.checkpoint.vae.decode(raw).sample, output_type="np")
    np.testing.assert_allclose(decode(model, made), shown, atol=1e-5)


def test_depths_mean_the_same() -> None:
    model, (picture, _) = placed("sd15", "inpaint"), scene()
    eight = encode_image(model, picture)
    torch.testing.assert_close(encode_image(model, picture.astype(np.uint16) * 257), eight)
    torch.testing.assert_close(encode_image(model, (picture / 255).astype(np.float32)), eight)


def test_a_picture_is_encoded_once() -> None:
    model, (picture, _), cache = placed("sd15", "inpaint"), scene(), StageCache()
    first = encode_image(model, picture, cache=cache)
    assert encode_image(model, picture.copy(), cache=cache) is first
    assert encode_image(model, picture[::-1], cache=cache) is not first
    drawn = encode_image(model, picture, generator=torch.Generator().manual_seed(1), cache=cache)
    assert not torch.equal(drawn, first)


def test_tiles_give_nearly_the_same() -> None:
    model = placed("sd15", "inpaint")
    latents = torch.randn(1, 4, 16, 12, generator=torch.Generator().manual_seed(1))
    whole = decode(model, latents, tiling=False)
    tiled = decode(model, latents, tiling=True)
    assert tiled.shape == whole.shape == (1, 128, 96, 3)
    assert not np.array_equal(tiled, whole)
    assert not model.checkpoint.vae.use_tiling


def _half(weight: float) -> Placed:
    """Return a tiny model in half precision whose decoder's values are ``weight`` times as large on the way."""
    shared = placed("sd15", "inpaint").checkpoint
    vae = tiny_networks("sd15", "inpaint")["vae"]
    with torch.no_grad():
        vae.decoder.conv_in.weight.mul_(weight)
        vae.decoder.conv_in.bias.mul_(weight)
    vae.register_to_config(force_upcast=False)
    checkpoint = type(shared)(
        family=shared.family,
        kind=shared.kind,
        denoiser=shared.denoiser,
        vae=vae.half(),
        text_encoders=(),
        tokenizers=(),
        scheduler_config={},
        dtype=torch.float16,
        files=(),
        source="half",
    )
    return Placed(checkpoint, Placement(dtype="float16"))


def test_a_vae_that_overflows_is_asked_again_in_single() -> None:
    model, notes = _half(3e4), []
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)) * 4
    picture = decode(model, latents, note=notes.append)
    assert np.isfinite(picture).all()
    assert notes == ["decoding overflowed in float16; done in float32"]
    assert model.checkpoint.vae.dtype == torch.float16


def test_latents_that_are_no_numbers_are_an_error() -> None:
    with pytest.raises(EngineFailed) as caught:
        decode(placed("sd15", "inpaint"), torch.full((1, 4, 8, 8), float("nan")))
    assert caught.value.code == "vae.nan"


@pytest.mark.parametrize(
    ("shape", "code"), [((60, 64, 3), "diffusion.size"), ((64, 64, 4), "diffusion.pixels")]
)
def test_bad_pictures(shape: tuple[int, ...], code: str) -> None:
    with pytest.raises(InputError) as caught:
        encode_image(placed("sd15", "inpaint"), np.zeros(shape, np.uint8))
    assert caught.value.code == code


def test_masks_come_to_the_size_of_latents() -> None:
    hole = np.zeros((32, 32), bool)
    hole[0:8, 0:8] = True  # one whole cell
    hole[9, 9] = True  # one pixel, off the corner of its cell
    hole[16:24, 20:32] = True  # a cell and a half
    made = {
        rule: downscale_mask(hole, (4, 4), rule)[0, 0] for rule in ("cover", "diffusers", "comfyui", "a1111")
    }
    assert made["cover"].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]]
    assert made["diffusers"].tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert made["comfyui"][2].tolist() == [0, 0, 0.5, 1]
    assert set(made["a1111"].flatten().tolist()) <= {0.0, 1.0}
    assert made["a1111"][0, 0] == 1


def test_soft_masks_stay_soft_where_the_rule_is() -> None:
    soft = np.full((16, 16), 0.25, np.float32)
    assert downscale_mask(soft, (2, 2), "comfyui").unique().tolist() == [0.25]
    assert downscale_mask(soft, (2, 2), "cover").unique().tolist() == [0.25]
    assert downscale_mask(soft, (2, 2), "diffusers").unique().tolist() == [0]
