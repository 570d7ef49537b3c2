"""The engine over tiny random models: what it changes, repeats, keeps, tells, and refuses."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("diffusers")

import reknit
from reknit.core.errors import Cancelled, InputError, NotFound, ReknitError, Unavailable
from reknit.core.geometry import Size
from reknit.core.options import check_all
from reknit.core.progress import CancelToken, Preview, Reporter, Step
from reknit.engines.base import Crop
from reknit.engines.diffusion import DIFFUSION
from reknit.engines.diffusion_session import DiffusionSession, ramp, strength_map, tiles
from reknit.engines.kept import KEPT
from tests.diffusion import tiny
from tests.diffusion.test_lora import SDXL, kohya

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers

SMALL = {"steps": 2, "side": 64, "device": "cpu", "dtype": "float32"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory):
    """Return a function from family and kind to the folder of a tiny model."""
    root = tmp_path_factory.mktemp("models")

    def folder(family: str = "sd15", kind: str = "inpaint") -> str:
        path = root / f"{family}-{kind}"
        return str(path if path.exists() else tiny.tiny_folder(root, family, kind))

    yield folder
    KEPT.free()


def picture() -> np.ndarray:
    rng = np.random.default_rng(4)
    return np.kron(rng.integers(0, 255, (10, 14, 3), dtype=np.uint8), np.ones((12, 12, 1), np.uint8))


def hole(*, left: int = 60) -> np.ndarray:
    mask = np.zeros(picture().shape[:2], bool)
    mask[40:80, left : left + 40] = True
    return mask


def fill(model: str, **given: Any) -> reknit.FillResult:
    params = {**SMALL, **given.pop("params", {}), "model": model}
    return reknit.fill(picture(), given.pop("mask", hole()), params=params, **given)


@pytest.mark.parametrize("kind", ["inpaint", "base"])
@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl", "flux"])
def test_it_paints_the_hole_and_nothing_else(models, family, kind):
    result = fill(models(family, kind), prompt="a red (cat:1.2)", seed=3)
    ring = int(np.ceil(result.plan.grow_px + result.plan.feather_px)) + 1
    far = np.ones(hole().shape, bool)
    far[40 - ring : 80 + ring, 60 - ring : 100 + ring] = False
    assert np.array_equal(result.to_numpy()[far], picture()[far])
    assert (result.to_numpy() != picture()).any(axis=2)[hole()].mean() > 0.95
    assert result.report.outside_equal
    assert result.facts["model"]["family"] == family
    assert result.facts["model"]["kind"] == kind


def test_the_same_seed_gives_the_same_bytes_and_a_batch_those_of_its_seeds(models):
    two = fill(models(), seed=5, count=2)
    assert np.array_equal(fill(models(), seed=5).to_numpy(), two.to_numpy(0))
    KEPT.free()  # loaded anew, it is the same model
    assert np.array_equal(fill(models(), seed=6).to_numpy(), two.to_numpy(1))
    assert not np.array_equal(two.to_numpy(0), two.to_numpy(1))


@pytest.mark.parametrize("kind", ["inpaint", "base"])
def test_what_is_in_the_hole_has_no_influence_unless_it_is_asked_for(models, kind):
    session = DIFFUSION.configured(
        check_all(DIFFUSION.spec.options, {**SMALL, "model": models("sd15", kind)}, owner="test"), None
    )
    crop = picture()[:64, :96].copy()
    where = np.zeros(crop.shape[:2], bool)
    where[20:40, 30:60] = True
    other = crop.copy()
    other[where] = 255 - other[where]

    def painted(pixels: np.ndarray, **given: Any) -> np.ndarray:
        params = check_all(session.spec.options, given, owner="test")
        given_crop = Crop(pixels=pixels, hole=where, target=where, source=~where)
        return session.load(threads=1).run(given_crop, params, 1, Reporter())[where]

    for content in ("fill", "noise", "nothing", "exemplar"):
        chosen = {"content": content, "strength": 0.6}
        assert np.array_equal(painted(crop, **chosen), painted(other, **chosen)), content
    assert not np.array_equal(
        painted(crop, strength=0.6, content="original"), painted(other, strength=0.6, content="original")
    )


def test_a_second_variation_encodes_neither_text_nor_picture(models, monkeypatch):
    KEPT.free()
    fill(models("sd15", "base"), seed=1, prompt="a cat", strength=0.7)
    calls = {"text": 0, "vae": 0}
    checkpoint = next(iter(KEPT._entries.values())).value.placed.checkpoint
    for name, network, method in (
        ("text", checkpoint.text_encoders[0], "forward"),
        ("vae", checkpoint.vae, "encode"),
    ):
        original = getattr(network, method)

        def counted(*args, name=name, original=original, **options):
            calls[name] += 1
            return original(*args, **options)

        monkeypatch.setattr(network, method, counted)
    fill(models("sd15", "base"), seed=2, prompt="a cat", strength=0.7)
    assert calls == {"text": 0, "vae": 0}
    fill(models("sd15", "base"), seed=2, prompt="a dog", strength=0.7)
    assert calls == {"text": 1, "vae": 0}


def test_a_cancel_takes_effect_within_one_step(models):
    token, steps = CancelToken(), []

    def tell(step: Step) -> None:
        if step.stage.startswith("step "):
            steps.append(step.stage)
            token.cancel()

    session = DIFFUSION.configured(
        check_all(DIFFUSION.spec.options, {**SMALL, "steps": 30, "model": models()}, owner="test"), None
    )
    pixels = np.ascontiguousarray(picture()[:64, :64])
    where = np.zeros((64, 64), bool)
    where[10:30, 10:30] = True
    crop = Crop(pixels=pixels, hole=where, target=where, source=~where)
    params = check_all(session.spec.options, {}, owner="test")
    loaded = session.load(threads=1)
    with pytest.raises(Cancelled):
        loaded.run(crop, params, 1, Reporter(tell, token))
    assert len(steps) == 1
    assert (
        loaded.run(crop, {**params, "steps": 1}, 1, Reporter()).shape == pixels.shape
    )  # and it is free again


@pytest.mark.parametrize(("rule", "walked"), [("diffusers", 3), ("a1111", 4), ("comfyui", 6)])
def test_strength_and_steps_count_as_users_know_them(models, rule, walked):
    seen: list[str] = []
    given = {"steps": 6, "strength": 0.5, "strength_rule": rule}
    fill(models(), params=given, progress=lambda step: seen.append(step.stage))
    assert f"step 1 of {walked}" in seen


def test_progress_rises_and_each_step_is_shown(models):
    seen: list[Step] = []
    session = threading.Event()

    def tell(step: Step) -> None:
        seen.append(step)
        session.set()

    fill(models(), params={"steps": 6}, progress=tell)
    fractions = [step.fraction for step in seen]
    assert fractions == sorted(fractions)
    shown = [step.preview for step in seen if step.preview is not None]
    assert shown
    assert all(isinstance(each, Preview) and each.pixels.dtype == np.uint8 for each in shown)
    assert all(each.pixels.ndim == 3 and each.pixels.shape[2] == 3 for each in shown)
    from reknit.server.tasks import preview_data

    told = preview_data(shown[-1])
    assert told["image"].startswith("data:image/jpeg;base64,")
    assert len(told["box"]) == 4


def test_defaults_and_choices_are_told(models):
    result = fill(models("sdxl"))
    assert result.plan.params["steps"] == 2
    assert result.plan.params["guidance"] == 7.0
    assert any("0.99" in note for note in result.notes)


def test_two_holes_are_painted_one_after_the_other(models):
    wide = np.tile(picture(), (1, 4, 1))
    mask = np.zeros(wide.shape[:2], bool)
    mask[40:60, 20:40] = mask[40:60, 600:620] = True
    result = reknit.fill(wide, mask, params={**SMALL, "model": models()}, threads=2)
    assert len(result.plan.regions) == 2
    assert (result.to_numpy() != wide).any(axis=2)[mask].mean() > 0.9


def test_softness_paints_ever_less_around_the_hole():
    where = np.zeros((40, 40), bool)
    where[15:25, 15:25] = True
    soft = strength_map(where, 8.0, 0.75)
    assert soft[20, 20] == pytest.approx(0.75)
    across = soft[20, 24:36]
    assert (np.diff(across) <= 0).all()
    assert soft[20, 36] == 0
    assert strength_map(where, None, 0.75) is None


def test_soft_inpainting_and_a_second_pass_change_the_result_and_keep_the_rest(models):
    plain = fill(models("sd15", "base"), strength=0.8)
    soft = fill(models("sd15", "base"), strength=0.8, params={"softness": 16.0})
    refined = fill(models("sd15", "base"), strength=0.8, params={"refine": 0.5})
    assert soft.plan.feather_px == 16
    for other in (soft, refined):
        assert not np.array_equal(plain.to_numpy(), other.to_numpy())
        assert other.report.outside_equal


@pytest.mark.parametrize("size", [(64, 64), (120, 168), (400, 96), (1000, 704), (128, 256)])
def test_tiles_cover_and_overlap(size):
    seen = np.zeros(size, int)
    for box in tiles(Size.of(size), 96, 8):
        assert box.size.width % 8 == box.size.height % 8 == 0
        assert max(box.size.width, box.size.height) <= 120
        weight = ramp(box, 16)
        assert weight.shape == box.size.shape
        assert (weight[seen[box.slices] == 0] == 1).all()  # what no tile has painted before counts whole
        seen[box.slices] += 1
    assert seen.min() >= 1


def test_a_second_pass_in_tiles_refines_the_whole_hole(models, monkeypatch):
    wide = np.tile(picture(), (2, 2, 1))
    mask = np.zeros(wide.shape[:2], bool)
    mask[20:220, 20:316] = True
    given = {**SMALL, "model": models("sd15", "base"), "steps": 3}
    plain = reknit.fill(wide, mask, params=given, strength=0.8, seed=2)
    orders, paint = [], DiffusionSession._paint
    monkeypatch.setattr(
        DiffusionSession, "_paint", lambda *args: orders.append(args[2].hole.shape) or paint(*args)
    )
    refined = reknit.fill(wide, mask, params={**given, "refine": 0.4}, strength=0.8, seed=2)
    assert len(orders) > 4
    assert max(max(shape) for shape in orders) <= 160
    assert refined.report.outside_equal
    changed = (plain.to_numpy() != refined.to_numpy()).any(axis=2)
    assert changed[mask].mean() > 0.9


def test_a_pre_fill_by_the_exemplar_engine_is_what_it_begins_with(models):
    faint = {"strength": 0.05, "steps": 20, "params": {"content": "exemplar", "steps": 20}}
    result = fill(models("sd15", "base"), **faint)
    assert result.plan.params["content"] == "exemplar"
    assert result.report.outside_equal


def test_strength_zero_changes_nothing(models):
    result = fill(models(), strength=0.0)
    assert np.array_equal(result.to_numpy()[hole()], picture()[hole()]) or result.report.outside_equal
    assert any("strength 0" in note for note in result.notes)


def test_a_replay_gives_the_same_bytes(models, tmp_path):
    Image.fromarray(picture()).save(tmp_path / "photo.png")
    params = {**SMALL, "model": models()}
    result = reknit.fill(tmp_path / "photo.png", hole(), prompt="a red cat", seed=9, count=2, params=params)
    result.save(tmp_path / "out.png", index=1)
    text = Image.open(tmp_path / "out.png").text
    assert text["parameters"].startswith("a red cat\nSteps: 2, Sampler: DPM++ 2M, Schedule type: Karras")
    assert "Seed: 10" in text["parameters"]
    assert json.loads(text["reknit"])["facts"]["model"]["family"] == "sd15"
    again = reknit.replay(tmp_path / "out.png", tmp_path / "photo.png", params={"model": models()})
    assert np.array_equal(again.to_numpy(), result.to_numpy(1))
    again.save(tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "out.png").read_bytes()


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"mask": np.zeros((7, 9), bool)}, "mask.size"),
        ({"mask": np.zeros(picture().shape[:2], bool)}, "mask.empty"),
        ({"sampler": "dpm++ 9m"}, "sampler.unknown"),
        ({"scheduler": "karas"}, "scheduler.unknown"),
        ({"strength": 1.5}, "option.value"),
        ({"steps": 0}, "option.value"),
        ({"params": {"content": "colour"}}, "option.value"),
        ({"params": {"device": "xpu"}}, "device.missing"),
    ],
    ids=lambda given: str(given)[:30],
)
def test_bad_input_is_a_typed_error_with_a_hint(models, given, code):
    with pytest.raises(ReknitError) as caught:
        fill(models(), **given)
    assert caught.value.code == code
    assert caught.value.hint


def test_a_photo_below_eight_pixels_is_a_typed_error(models):
    where = np.zeros((6, 40), bool)
    where[2:4, 10:14] = True
    with pytest.raises(InputError) as caught:
        reknit.fill(np.zeros((6, 40, 3), np.uint8), where, params={**SMALL, "model": models()})
    assert caught.value.code == "image.size"
    assert "8 px" in caught.value.hint


def test_a_crop_below_eight_pixels_is_a_typed_error(models):
    engine = DIFFUSION.configured(
        check_all(DIFFUSION.spec.options, {**SMALL, "model": models()}, owner="test"), None
    )
    where = np.zeros((4, 40), bool)
    where[1, 3] = True
    crop = Crop(pixels=np.zeros((4, 40, 3), np.uint8), hole=where, target=where, source=~where)
    with pytest.raises(InputError) as caught:
        engine.load(threads=1).run(crop, check_all(engine.spec.options, {}, owner="test"), 1, Reporter())
    assert caught.value.code == "image.size"


def test_a_model_that_is_not_there_or_of_no_known_family_is_a_typed_error(tmp_path):
    with pytest.raises(NotFound) as caught:
        fill("stable-difusion-9")
    assert caught.value.code == "model.unknown"
    with pytest.raises(Unavailable) as missing:
        fill("sd15-inpainting")
    assert missing.value.code == "model.missing"
    assert "reknit models pull" in missing.value.hint
    strange = tmp_path / "strange"
    (strange / "unet").mkdir(parents=True)
    (strange / "unet" / "config.json").write_text('{"cross_attention_dim": 333, "in_channels": 4}')
    with pytest.raises(InputError) as unknown:
        fill(str(strange))
    assert unknown.value.code == "model.family"
    assert unknown.value.hint


def test_weights_that_are_no_numbers_end_the_fill(tmp_path):
    from safetensors.torch import load_file, save_file

    model = tiny.tiny_folder(tmp_path, "sd15", "inpaint")
    file = next((model / "unet").glob("*.safetensors"))
    weights = load_file(file)
    weights["conv_in.weight"][0, 0, 0, 0] = float("nan")
    save_file(weights, file)
    with pytest.raises(InputError) as caught:
        fill(str(model))
    assert (caught.value.code, caught.value.facts["tensor"]) == ("model.nan", "conv_in.weight")
    assert caught.value.hint


def test_a_lora_of_another_family_ends_the_fill_and_leaves_no_trace(models, tmp_path):
    before = fill(models(), seed=1).to_numpy()
    kohya(tmp_path / "xl.safetensors", SDXL)
    with pytest.raises(InputError) as caught:
        fill(models(), seed=1, params={"lora": f"{tmp_path / 'xl.safetensors'}:0.8"})
    assert caught.value.code == "lora.family"
    assert caught.value.hint
    assert np.array_equal(fill(models(), seed=1).to_numpy(), before)


def test_without_the_extra_the_hint_is_the_pip_line(monkeypatch):
    from reknit.engines import registry

    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    with pytest.raises(Unavailable) as caught:
        reknit.fill(picture(), hole(), prompt="a cat")
    assert caught.value.code == "engine.missing"
    assert "reknit[diffusion]" in caught.value.hint


def test_a_prompt_or_a_model_chooses_the_engine(models, tmp_path: Path):
    from reknit.engines.choice import engine_of

    assert engine_of(models(), None) == "diffusion"
    assert engine_of("lama-onnx", None) == "lama"
    assert engine_of("sdxl-inpainting", None) == "diffusion"
    assert engine_of("someone/some-model", None) == "diffusion"
    with pytest.raises(NotFound):
        engine_of("no-such-model", None)
    result = fill(models())
    assert result.plan.engine == "diffusion"
    assert str(tmp_path) not in " ".join(result.notes)
