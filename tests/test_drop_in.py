"""Scripts written for diffusers run with the import changed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("diffusers")

import torch

import reknit
from reknit.core.errors import InputError, NotFound
from reknit.drop_in import InpaintPipeline
from tests.diffusion import tiny

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.tiny_folder(tmp_path_factory.mktemp("drop-in"), "sd15", "inpaint")


def given() -> tuple[Image.Image, Image.Image]:
    rng = np.random.default_rng(2)
    photo = np.kron(rng.integers(0, 255, (8, 9, 3), dtype=np.uint8), np.ones((10, 10, 1), np.uint8))
    mask = np.zeros(photo.shape[:2], np.uint8)
    mask[30:50, 40:60] = 255
    return Image.fromarray(photo), Image.fromarray(mask)


def small(pipe: InpaintPipeline) -> InpaintPipeline:
    """Work at the size of the model's own weights, not at its family's: 64 times the pixels show nothing more."""
    pipe._params["side"] = 64
    return pipe


def test_a_script_of_diffusers_runs(folder):
    photo, mask = given()
    pipe = reknit.StableDiffusionInpaintPipeline.from_pretrained(
        str(folder), torch_dtype=torch.float32, variant="fp16", safety_checker=None
    )
    pipe = small(pipe.to("cpu"))
    pipe.enable_attention_slicing()
    pipe.enable_vae_tiling()
    pipe.set_progress_bar_config(disable=True)
    steps = []

    def paint(seed: int, **further):
        return pipe(
            prompt="a red cat",
            negative_prompt="bad",
            image=photo,
            mask_image=mask,
            strength=1.0,
            num_inference_steps=2,
            guidance_scale=5.0,
            generator=torch.Generator("cpu").manual_seed(seed),
            padding_mask_crop=8,
            **further,
        )

    done = paint(3, num_images_per_prompt=2, callback_on_step_end=lambda *args: steps.append(args))
    assert [image.size for image in done.images] == [photo.size] * 2
    before, after = np.asarray(photo), np.asarray(done.images[0])
    assert np.array_equal(before[:15], after[:15])
    assert (before != after).any(axis=2)[30:50, 40:60].mean() > 0.9
    assert done.result.seed == 3
    assert done.result.plan.params["steps"] == 2
    assert done[0] is done.images
    assert steps
    second = paint(4, output_type="np").images
    assert second.shape == (1, 80, 90, 3)
    assert np.array_equal(np.rint(second[0] * 255).astype(np.uint8), np.asarray(done.images[1]))
    assert paint(3, return_dict=False)[1] is None


def test_defaults_are_those_of_the_class_replaced():
    assert reknit.StableDiffusionInpaintPipeline.STEPS == 50
    assert reknit.StableDiffusionInpaintPipeline.GUIDANCE == 7.5
    assert reknit.FluxFillPipeline.GUIDANCE == 30
    assert reknit.AutoPipelineForInpainting.STEPS is None


def test_what_has_no_meaning_here_is_refused(folder):
    photo, mask = given()
    pipe = reknit.AutoPipelineForInpainting.from_pretrained(folder)
    with pytest.raises(InputError) as caught:
        pipe(prompt="x", image=photo, mask_image=mask, prompt_embeds=torch.zeros(1))
    assert caught.value.code == "argument.unknown"
    with pytest.raises(InputError):
        reknit.AutoPipelineForInpainting.from_pretrained(folder, custom_pipeline="x")
    with pytest.raises(InputError) as two:
        pipe(prompt="x", image=photo, mask_image=mask, generator=[torch.Generator()], num_images_per_prompt=2)
    assert two.value.code == "argument.value"
    with pytest.raises(NotFound):
        reknit.AutoPipelineForInpainting.from_pretrained("no-such-model")
    with pytest.raises(AttributeError):
        pipe.enable_teleport()


def test_sizes_are_diffusers_arguments_too(folder):
    photo, mask = given()
    pipe = small(reknit.AutoPipelineForInpainting.from_pretrained(folder).to("cpu", torch.float32))
    done = pipe(prompt="", image=photo, mask_image=mask, width=64, height=48, num_inference_steps=1)
    assert done.images[0].size == (64, 48)


def test_a_word_within_another_is_not_called_twice(tmp_path):
    pipe = reknit.StableDiffusionInpaintPipeline(model="any", params={})
    for token in ("cat", "cat2", "bed"):
        (tmp_path / f"{token}.bin").touch()
        pipe.load_textual_inversion(tmp_path / f"{token}.bin", token=token)
    assert pipe._with_words("a cat2 in bed, cat").split() == (
        ["a", "embedding:cat2", "in", "embedding:bed", ",", "embedding:cat"]
    )


def test_words_stand_for_textual_inversions(folder, tmp_path):
    photo, mask = given()
    drawn = torch.randn(768, generator=torch.Generator().manual_seed(1))
    for token in ("<cat-toy>", "<ink>"):
        (tmp_path / token[1:-1]).mkdir()
        torch.save({token: drawn * len(token)}, tmp_path / token[1:-1] / "learned_embeds.bin")
    pipe = small(reknit.StableDiffusionInpaintPipeline.from_pretrained(folder).to("cpu", torch.float32))

    def paint(prompt: str):
        generator = torch.Generator().manual_seed(3)
        done = pipe(prompt, photo, mask, num_inference_steps=1, generator=generator)
        return np.asarray(done.images[0]), done.result.facts.get("embeddings")

    plain, none = paint("a <cat-toy>, (<cat-toy>:1.2)")
    assert not none
    pipe.load_textual_inversion(tmp_path / "cat-toy")
    first, used = paint("a <cat-toy>, (<cat-toy>:1.2)")
    assert [*used] == ["cat-toy"] and not np.array_equal(first, plain)
    pipe.load_textual_inversion(str(tmp_path / "ink"), token="$ink", weight_name="learned_embeds.bin")
    second, used = paint("a <cat-toy>, ($ink:1.2)")
    assert [*used] == ["cat-toy", "ink"] and not np.array_equal(second, first)
    pipe.unload_textual_inversion("$ink")
    pipe.unload_textual_inversion()
    assert np.array_equal(paint("a <cat-toy>, (<cat-toy>:1.2)")[0], plain)
    with pytest.raises(NotFound):
        pipe.load_textual_inversion("sd-concepts-library/none")
    with pytest.raises(InputError) as caught:
        pipe.load_textual_inversion(tmp_path, subfolder="x")
    assert caught.value.code == "argument.unknown"
