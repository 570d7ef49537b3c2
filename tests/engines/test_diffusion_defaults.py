"""What is chosen for whoever chose nothing: pure functions, no framework."""

import pytest

from reknit.core.fit import fit
from reknit.core.geometry import Size
from reknit.core.options import check_all
from reknit.core.parameters import Parameters, parse, write
from reknit.engines.diffusion_defaults import settled, size_rule
from reknit.engines.diffusion_models import Found
from reknit.engines.diffusion_options import OPTIONS, SHORTCUTS, from_parameters, to_parameters
from reknit.engines.diffusion_placement import choose_offload


def found(family: str = "sd15", kind: str = "inpaint", *, native: int = 512, distilled=None) -> Found:
    return Found(
        source="x",
        name="x",
        family=family,
        kind=kind,
        native_px=native,
        multiple_px=16 if family == "flux" else 8,
        distilled=distilled,
    )


def values(model: Found, **given):
    return settled(check_all(OPTIONS, given, owner="test"), model)


def test_nothing_given_is_what_suits_the_family():
    chosen, notes = values(found())
    assert (chosen["steps"], chosen["guidance"], chosen["content"]) == (20, 7.0, "fill")
    assert (chosen["sampler"], chosen["scheduler"]) == ("dpm++ 2m", "karras")
    assert notes == ()


def test_flux_fill_gets_its_guidance():
    assert values(found("flux"))[0]["guidance"] == 30
    assert values(found("flux", "base"))[0]["guidance"] == 3.5


def test_what_was_given_stays():
    chosen, _ = values(found(), steps=7, guidance=3.0, sampler="heun", content="noise", strength=0.3)
    assert (chosen["steps"], chosen["guidance"], chosen["sampler"]) == (7, 3.0, "heun")
    assert (chosen["content"], chosen["strength"]) == ("noise", 0.3)


def test_a_sampler_keeps_its_own_schedule():
    assert values(found(), sampler="euler")[0]["scheduler"] is None


def test_below_full_strength_the_original_is_what_is_painted_over():
    assert values(found(), strength=0.75)[0]["content"] == "original"


def test_sdxl_inpainting_does_not_begin_with_noise_alone():
    chosen, notes = values(found("sdxl", native=1024))
    assert chosen["strength"] == 0.99
    assert any("strength 1" in note for note in notes)
    assert values(found("sdxl", "base", native=1024))[0]["strength"] == 1.0


@pytest.mark.parametrize(
    ("how", "steps", "guidance"),
    [("turbo", 4, 1), ("lightning", 8, 1), ("lcm", 8, 1), ("hyper", 8, 1)],
)
def test_distilled_models_get_few_steps_and_little_guidance(how, steps, guidance):
    chosen, notes = values(found("sdxl", "base", native=1024, distilled=how))
    assert (chosen["steps"], chosen["guidance"]) == (steps, guidance)
    assert any("distilled" in note for note in notes)


def test_a_distilled_model_asked_for_too_much_says_so():
    chosen, notes = values(found(distilled="lcm"), guidance=7.5, steps=50)
    assert (chosen["steps"], chosen["guidance"]) == (50, 7.5)
    assert any("worse" in note for note in notes)


@pytest.mark.parametrize("size", [(512, 512), (1000, 500), (300, 900), (64, 64), (4000, 3000)])
@pytest.mark.parametrize(("family", "native"), [("sd15", 512), ("sdxl", 1024), ("flux", 1024)])
def test_crops_are_worked_at_the_models_own_area_and_their_own_shape(size, family, native):
    model = found(family, native=native)
    given = Size(width=size[0], height=size[1])
    at = fit(given, size_rule(model, None, 0.0))
    if native**2 / given.area <= 64:
        assert abs(at.scaled.area / native**2 - 1) < 0.01
    assert at.working.width % model.multiple_px == at.working.height % model.multiple_px == 0
    assert abs(at.scaled.width / at.scaled.height - size[0] / size[1]) < 0.02 * size[0] / size[1]


def test_the_size_can_be_overridden_and_a_second_pass_may_be_larger():
    large = Size(width=2000, height=2000)
    assert fit(large, size_rule(found(), 768, 0.0)).scaled == Size(width=768, height=768)
    assert fit(large, size_rule(found(), None, 0.4)).scaled == large
    middle = Size(width=700, height=700)
    assert fit(middle, size_rule(found(), None, 0.4)).scaled == middle


def test_offload_is_chosen_by_what_fits():
    gib = 1 << 30
    assert choose_offload(2 * gib, 8 * gib) == "none"
    assert choose_offload(11 * gib // 2, 8 * gib) == "model"
    assert choose_offload(24 * gib, 8 * gib) == "group"
    assert choose_offload(24 * gib, None) == "none"


def test_parameters_of_other_programs_become_options_and_back():
    text = (
        "a bench\nNegative prompt: blur\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, "
        "Seed: 3, Size: 512x512, Model: sd15-inpainting, Denoising strength: 0.75, Clip skip: 2, "
        "Masked content: latent noise"
    )
    params = from_parameters(parse(text))
    checked = check_all(OPTIONS, params, owner="test")
    assert checked["steps"] == 20
    assert checked["guidance"] == 6.5
    assert checked["strength"] == 0.75
    assert checked["clip_skip"] == 1
    assert checked["content"] == "noise"
    told = to_parameters(checked, model="sd15-inpainting", model_hash="", size="512x512")
    again = from_parameters(parse(write(Parameters(**told))))
    assert again == params


def test_a_hostile_parameters_text_only_loses_what_it_does_not_say():
    params = from_parameters(parse("x\nSteps: many, CFG scale: , Clip skip: -3, Sampler: , Seed: x, Size: 3"))
    assert "steps" not in params
    assert check_all(OPTIONS, params, owner="test")["clip_skip"] == 0


def test_the_knobs_with_flags_of_their_own():
    names = "model prompt negative_prompt steps guidance strength sampler scheduler "
    names += "control control_image image_prompt vae text_encoders"
    assert [option.name for option in SHORTCUTS] == names.split()
