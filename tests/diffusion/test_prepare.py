"""What denoising begins with: noise by seed, what stands in the hole, what inpainting models see."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from reknit.core.errors import InputError  # noqa: E402
from reknit.diffusion.latents import encode_image  # noqa: E402
from reknit.diffusion.prepare import batch_noise, blurred_fill, prepare  # noqa: E402
from reknit.diffusion.stage_cache import StageCache  # noqa: E402
from tests.diffusion.stages import placed, scene  # noqa: E402


def test_a_seed_means_the_same_alone_and_in_a_batch() -> None:
    model, (picture, hole) = placed("sd15", "base"), scene()
    both = prepare(model, picture, hole, seeds=[4, 5])
    alone = prepare(model, picture, hole, seeds=[5])
    assert both.count == 2
    assert torch.equal(both.noise[1:], alone.noise)
    want = torch.randn((1, 4, 8, 8), generator=torch.Generator("cpu").manual_seed(5))
    assert torch.equal(alone.noise, want)
    assert torch.equal(batch_noise(5, 2, (4, 8, 8))[:1], want)


def test_contents() -> None:
    model, (picture, hole) = placed("sd15", "base"), scene()
    original = prepare(model, picture, hole)
    mask = original.mask
    assert mask is not None
    torch.testing.assert_close(original.latents, encode_image(model, picture))
    nothing = prepare(model, picture, hole, content="nothing").latents
    torch.testing.assert_close(nothing, original.latents * (1 - mask))
    noise = prepare(model, picture, hole, content="noise")
    torch.testing.assert_close(noise.latents, nothing + noise.noise * mask)
    filled = prepare(model, picture, hole, content="fill").latents
    torch.testing.assert_close(filled, encode_image(model, blurred_fill(picture, hole)))
    other = np.full_like(picture, 99)
    torch.testing.assert_close(
        prepare(model, picture, hole, prefill=other).latents, encode_image(model, other)
    )


def test_what_a_hole_shows_does_not_matter_to_what_inpainting_models_see() -> None:
    picture, hole = scene()
    changed = picture.copy()
    changed[hole] = 7
    for family, channels in (("sd15", 5), ("sdxl", 5), ("flux", 16 + 64)):
        model = placed(family, "inpaint")
        one = prepare(model, picture, hole, pure_noise=True).condition
        other = prepare(model, changed, hole, pure_noise=True).condition
        assert one is not None
        assert one.shape[1] == channels
        assert torch.equal(one, other)
    assert prepare(placed("sd15", "base"), picture, hole).condition is None


def test_flux_fill_sees_every_pixel_of_the_mask() -> None:
    picture, hole = scene()
    condition = prepare(placed("flux", "inpaint"), picture, hole, pure_noise=True).condition
    assert condition is not None
    cell = condition[0, 16:, 2, 2].reshape(8, 8).bool().numpy()
    np.testing.assert_array_equal(cell, hole[16:24, 16:24])


def test_the_blurred_fill_is_smooth_and_leaves_the_rest() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, :32] = 200
    hole = np.zeros((64, 64), bool)
    hole[20:40, 10:54] = True
    filled = blurred_fill(picture, hole)
    np.testing.assert_allclose(filled[~hole], picture[~hole] / 255, atol=1e-6)
    row = filled[30, 10:54, 0]
    assert row[0] > 0.6
    assert row[-1] < 0.2
    assert np.abs(np.diff(row)).max() < 0.2
    flat = blurred_fill(np.full((32, 32, 3), 80, np.uint8), hole[:32, :32])
    np.testing.assert_allclose(flat, 80 / 255, atol=0.01)


def test_a_whole_hole_can_be_filled() -> None:
    assert np.isfinite(blurred_fill(np.full((16, 16, 3), 9, np.uint8), np.ones((16, 16), bool))).all()


def test_the_second_seed_encodes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (picture, hole), cache = placed("sd15", "inpaint"), scene(), StageCache()
    prepare(model, picture, hole, seeds=[1], cache=cache)

    def fail(*args: Any, **options: Any) -> None:
        raise AssertionError("encoded again")

    monkeypatch.setattr(model.checkpoint.vae, "encode", fail)
    prepare(model, picture, hole, seeds=[2], cache=cache)
    with pytest.raises(AssertionError):
        prepare(model, picture[::-1], hole, seeds=[2], cache=cache)


def test_inputs_stay_as_they_are() -> None:
    picture, hole = scene()
    before = picture.copy(), hole.copy()
    prepare(placed("sd15", "base"), picture, hole, content="fill")
    np.testing.assert_array_equal(picture, before[0])
    np.testing.assert_array_equal(hole, before[1])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"hole": np.zeros((64, 64), bool)}, "mask.empty"),
        ({"hole": np.ones((64, 32), bool)}, "mask.size"),
        ({"strength_map": np.ones((32, 64), np.float32)}, "mask.size"),
        ({"seeds": []}, "diffusion.seeds"),
    ],
)
def test_bad_input(change: dict[str, Any], code: str) -> None:
    picture, hole = scene()
    with pytest.raises(InputError) as caught:
        prepare(placed("sd15", "base"), **({"pixels": picture, "hole": hole} | change))
    assert caught.value.code == code
