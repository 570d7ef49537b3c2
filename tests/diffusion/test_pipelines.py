"""Models that diffusers' own pipelines paint with, tiny and random."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers")

from reknit.core.errors import Cancelled, ExternalError, InputError, Unavailable
from reknit.core.options import check_all
from reknit.core.progress import CancelToken, Reporter, Step
from reknit.diffusion import pipelines
from reknit.diffusion.placement import Placement
from reknit.engines.base import Crop
from reknit.engines.diffusion import DIFFUSION
from reknit.engines.diffusion_models import find
from tests.diffusion import tiny, tiny_pipelines

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

FAMILIES = [*tiny_pipelines.BUILDERS, "kandinsky22"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("pipelines")

    def folder(family: str) -> Path:
        path = root / family
        return path if path.exists() else tiny_pipelines.folder(root, family)

    return folder


def given(side: int = 64) -> Crop:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (side, side, 3), dtype=np.uint8)
    hole = np.zeros((side, side), bool)
    hole[16:48, 16:40] = True
    return Crop(pixels=pixels, hole=hole, target=hole, source=~hole)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_paints_through_the_engine(folders, family):
    if family == "qwen-image-edit":
        pytest.importorskip("torchvision")
    side = max(64, tiny_pipelines.LEAST_SIDES.get(family, 0))
    wanted = {"model": str(folders(family)), "steps": 2, "side": side, "device": "cpu", "dtype": "float32"}
    engine = DIFFUSION.configured(check_all(DIFFUSION.spec.options, wanted, owner="test"), None)
    assert engine.found.pipeline.family == family
    params = check_all(engine.spec.options, {"prompt": "a red cat"}, owner="test")
    seen: list[float] = []
    session = engine.load(threads=1)
    crop = given(side)
    made = session.run(crop, params, 1, Reporter(lambda step: seen.append(step.fraction)))
    assert made.shape == crop.pixels.shape
    assert made.dtype == np.uint8
    assert (made != crop.pixels).any(axis=2)[crop.hole].mean() > 0.9
    assert seen == sorted(seen)
    assert session.told().facts["model"]["pipeline"] == engine.found.pipeline.name
    if family == "sd3":
        assert np.array_equal(session.run(crop, params, 1, Reporter()), made)
        assert not np.array_equal(session.run(crop, params, 2, Reporter()), made)


@pytest.mark.parametrize("family", tiny_pipelines.CONTROLS)
def test_a_controlnet_leads_to_the_class_that_paints_with_it(folders, family, tmp_path):
    model = folders(family) if family != "flux" else tiny.tiny_folder(tmp_path, "flux", "base")
    control = tiny_pipelines.control_folder(tmp_path, family)
    wanted = {"model": str(model), "control": str(control), "steps": 2, "side": 64, "device": "cpu"}
    crop, made = given(), []
    for strength in (0.0, 1.0):
        wanted |= {"control_strength": strength, "dtype": "float32"}
        engine = DIFFUSION.configured(check_all(DIFFUSION.spec.options, wanted, owner="test"), None)
        assert engine.found.pipeline.control == type(tiny_pipelines.CONTROLS[family]()).__name__
        params = check_all(engine.spec.options, {"prompt": "a red cat"}, owner="test")
        made.append(engine.load(threads=1).run(crop, params, 1, Reporter()))
    assert not np.array_equal(*made)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_the_class_that_a_folder_names_paints_with_perturbed_attention(family, tmp_path):
    model = tiny.tiny_folder(tmp_path, family, "base")
    index = json.loads((model / "model_index.json").read_text())
    index["_class_name"] = index["_class_name"].removesuffix("Pipeline") + "PAGPipeline"
    (model / "model_index.json").write_text(json.dumps(index))
    wanted = {"model": str(model), "steps": 2, "side": 64, "device": "cpu", "dtype": "float32"}
    engine = DIFFUSION.configured(check_all(DIFFUSION.spec.options, wanted, owner="test"), None)
    assert "PAG" in engine.found.pipeline.name
    crop = given()
    params = check_all(engine.spec.options, {"prompt": "a red cat"}, owner="test")
    made = engine.load(threads=1).run(crop, params, 1, Reporter())
    assert (made != crop.pixels).any(axis=2)[crop.hole].mean() > 0.9


def test_a_controlnet_for_another_family_is_a_typed_error(folders, tmp_path):
    control = tiny_pipelines.control_folder(tmp_path, "qwen-image")
    wanted = {"model": str(folders("sd3")), "control": str(control)}
    with pytest.raises(InputError) as caught:
        DIFFUSION.configured(check_all(DIFFUSION.spec.options, wanted, owner="test"), None)
    assert caught.value.code == "control.family"
    assert "qwen-image" in caught.value.hint


def test_a_package_that_a_class_needs_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(pipelines, "find_spec", lambda name: None)
    with pytest.raises(Unavailable) as caught:
        pipelines.open_pipeline(tmp_path, pipelines.known()["QwenImageEditInpaintPipeline"], Placement())
    assert (caught.value.code, caught.value.hint) == ("engine.missing", "pip install torchvision")


def test_a_cancel_ends_the_pipeline_within_a_step(folders):
    facts = pipelines.facts_of(folders("sd3"))
    adapter = pipelines.open_pipeline(folders("sd3"), facts, Placement())
    token, steps = CancelToken(), []
    report = Reporter(lambda step: steps.append(step), token)

    def on_step(done: float) -> None:
        token.cancel()
        report.step("painting", done)

    painting = pipelines.Painting(
        prompt="a cat", negative_prompt="", steps=9, guidance=5.0, strength=1.0, seed=1
    )
    crop = given()
    with pytest.raises(Cancelled):
        adapter.paint(crop.pixels, crop.hole, painting, on_step)
    assert isinstance(Step, type)
    assert steps == []


def test_a_pipeline_that_is_ended_early_leaves_out_its_further_steps(folders):
    facts = pipelines.facts_of(folders("sd3"))
    adapter = pipelines.open_pipeline(folders("sd3"), facts, Placement())
    painting = pipelines.Painting(
        prompt="a cat", negative_prompt="", steps=9, guidance=5.0, strength=1.0, seed=1
    )
    crop, seen = given(), []

    def enough(done: float) -> bool:
        seen.append(done)
        return len(seen) == 2

    early = adapter.paint(crop.pixels, crop.hole, painting, enough)
    assert early.shape == crop.pixels.shape and len(seen) == 2
    whole = adapter.paint(crop.pixels, crop.hole, painting, lambda done: None)
    assert not np.array_equal(early, whole)


def test_the_facts_name_classes_that_diffusers_has():
    import diffusers

    for facts in pipelines.known().values():
        assert hasattr(diffusers, facts.name), facts.name
        assert facts.native_px % facts.multiple_px == 0


def test_a_folder_tells_its_class_and_the_catalog_may_tell_another(tmp_path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusion3Pipeline"}')
    assert pipelines.facts_of(tmp_path).name == "StableDiffusion3InpaintPipeline"
    assert pipelines.facts_of(tmp_path, wanted="ChromaInpaintPipeline").name == "ChromaInpaintPipeline"
    with pytest.raises(InputError) as caught:
        pipelines.facts_of(tmp_path, wanted="NoPipeline")
    assert caught.value.code == "model.family"
    (tmp_path / "model_index.json").write_text("[]")
    assert pipelines.facts_of(tmp_path) is None


def test_a_broken_folder_and_a_missing_prior_are_typed_errors(folders, tmp_path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusion3Pipeline"}')
    with pytest.raises(ExternalError) as caught:
        pipelines.open_pipeline(tmp_path, pipelines.facts_of(tmp_path), Placement())
    assert caught.value.code == "model.unreadable"
    alone = tmp_path / "alone" / "kandinsky"
    alone.parent.mkdir()
    alone.symlink_to(folders("kandinsky22"))
    with pytest.raises(Unavailable) as lacking:
        pipelines.open_pipeline(alone, pipelines.facts_of(alone), Placement())
    assert lacking.value.code == "model.part"


def test_a_folder_of_no_known_family_is_a_typed_error(tmp_path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "AudioLDMPipeline"}')
    with pytest.raises(InputError) as caught:
        find(str(tmp_path), None)
    assert caught.value.code == "model.family"
    assert "AudioLDM" in caught.value.message
