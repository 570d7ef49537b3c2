"""The nodes of latent diffusion on tiny models, and their arithmetic."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reknit.core.errors import Cancelled
from reknit.engines.kept import KEPT, MOST_BYTES
from reknit.workflow.context import Context
from reknit.workflow.node import Registry
from reknit.workflow.nodes import diffusion
from tests.workflow.conftest import Session, Stopping, api

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from reknit.workflow.nodes import models  # noqa: E402
from tests.diffusion.stages import placed  # noqa: E402
from tests.diffusion.tiny import tiny_folder, tiny_single_file  # noqa: E402

F = np.float32


@pytest.fixture
def checkpoints(context: Context) -> Iterator[Path]:
    folder = context.model_dirs[0] / "checkpoints"
    folder.mkdir(parents=True)
    yield folder
    KEPT.free()


def classic(**changes: Any) -> dict[str, Any]:
    """Return the workflow that every ComfyUI user knows: mask, encode for inpainting, sample, decode."""
    sampling = {
        "seed": 42,
        "steps": 20,
        "cfg": 7.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 1.0,
    }
    links = {"model": ["1", 0], "positive": ["3", 0], "negative": ["4", 0], "latent_image": ["5", 0]}
    return api(
        n1=("CheckpointLoaderSimple", {"ckpt_name": "tiny.safetensors"}),
        n2=("LoadImage", {"image": "hole.png"}),
        n3=("CLIPTextEncode", {"text": "a red house", "clip": ["1", 1]}),
        n4=("CLIPTextEncode", {"text": "bad", "clip": ["1", 1]}),
        n5=(
            "VAEEncodeForInpaint",
            {"pixels": ["2", 0], "vae": ["1", 2], "mask": ["2", 1], "grow_mask_by": 6},
        ),
        n6=("KSampler", links | sampling | changes),
        n7=("VAEDecode", {"samples": ["6", 0], "vae": ["1", 2]}),
        n8=("SaveImage", {"images": ["7", 0], "filename_prefix": "ComfyUI"}),
    )


@pytest.mark.parametrize(
    ("by", "before", "after"),
    [(0, 0, 0), (1, 0, 0), (2, 0, 1), (3, 1, 1), (6, 2, 3), (8, 3, 4), (16, 7, 8), (64, 31, 32)],
)
def test_grow_mask_by_grows_as_the_convolution_does(by: int, before: int, after: int) -> None:
    mask = np.zeros((1, 129, 129), F)
    mask[0, 64, 64] = 1
    rows, columns = np.nonzero(diffusion.grown(mask, by)[0])
    for found in (rows, columns):
        assert (found.min(), found.max()) == (64 - before, 64 + after)


def test_holes_are_grey_where_the_mask_rounds_to_one() -> None:
    pixels = np.ones((1, 1, 3, 3), F)
    made = diffusion.grey_where(pixels, np.array([[[0.4, 0.5, 0.6]]], F))
    assert made[0, 0, :, 0].tolist() == [1, 1, 0.5]


def test_sides_are_cut_to_multiples_of_eight_at_both_ends() -> None:
    values = np.arange(21)[None, :, None] * np.ones((1, 1, 16), int)
    assert diffusion.grid_cut(values)[0, :, 0].tolist() == list(range(2, 18))


@pytest.mark.parametrize("kind", ["inpaint", "base"])
def test_the_classic_workflow_runs_and_again_runs_nothing(
    session: Session, checkpoints: Path, kind: str
) -> None:
    made = tiny_single_file(checkpoints, "sd15", kind)
    for path in [made, *made.parent.iterdir()]:
        target = checkpoints / ("tiny.safetensors" if path == made else path.name)
        if path.exists() and path != target:
            path.rename(target)
    outcome = session.run(classic(steps=4))
    assert outcome.executed[-1] == "8"
    steps = [data for event, data in session.events if event == "progress" and data["node"] == "6"]
    assert [(step["value"], step["max"]) for step in steps] == [(n, 4) for n in range(1, 5)]
    assert steps[0]["preview"].shape == (8, 12, 3)
    assert session.run(classic(steps=4)).executed == ()
    assert session.run(classic(steps=4, seed=43)).executed == ("6", "7", "8")


def test_tiles_are_as_large_as_asked_for(
    context: Context, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sizes = placed("sd15", "base"), list[tuple[int, int]]()
    monkeypatch.setattr(diffusion, "coder", lambda *_: model)
    watch = model.checkpoint.vae.decoder.register_forward_pre_hook(
        lambda _, given: sizes.append(tuple(given[0].shape[2:]))
    )
    before = vars(model.checkpoint.vae).copy()
    samples = np.random.default_rng(0).normal(0, 4, (1, 4, 12, 12)).astype(F)
    given = {"samples": {"samples": samples}, "vae": models.Vae(path=Path("tiny.safetensors"))}
    try:
        made = registry.nodes["VAEDecodeTiled"].run(context, **given, tile_size=64, overlap=64)
        assert sizes == [(8, 8), (8, 6), (6, 8), (6, 6)], "an overlap of a quarter at most"
        assert made.shape == (1, 96, 96, 3)
        sizes.clear()
        registry.nodes["VAEDecode"].run(context, **given)
        assert sizes == [(12, 12)]
    finally:
        watch.remove()
    assert vars(model.checkpoint.vae) == before


def test_what_graphs_open_is_kept_with_the_models_of_engines(session: Session, checkpoints: Path) -> None:
    made = tiny_single_file(checkpoints, "sd15", "inpaint")
    (checkpoints / "tiny.safetensors").symlink_to(made)
    (checkpoints / "tokenizer").symlink_to(made.parent / "tokenizer")

    def kept() -> list[str]:
        return [str(key[0]) for key in KEPT.order() if str(key[0]).startswith("workflow ")]

    session.run(classic(steps=1))
    painter, size = KEPT.order()[-2], KEPT.held("cpu")
    assert sorted(kept()) == ["workflow painter", "workflow vae"]
    assert size >= (checkpoints / "tiny.safetensors").stat().st_size
    session.run(classic(steps=2))
    assert painter in KEPT.order() and len(kept()) == 2, "opened once"
    KEPT.get("another runtime's", object, device="cpu", size=2 * MOST_BYTES)
    assert kept() == [], "they make room"
    KEPT.drop("another runtime's")


def test_an_installed_model_goes_by_its_id(session: Session, tmp_path: Path) -> None:
    card = SimpleNamespace(id="tiny-inpaint", engine="diffusion")
    there = SimpleNamespace(card=card, main=tiny_folder(tmp_path, "sd15", "inpaint"))
    store = SimpleNamespace(installed=lambda: [there], hub_cache=None, models_dir=None)
    session.context = replace(session.context, models=lambda: store)
    graph = classic(steps=1)
    graph["1"]["inputs"]["ckpt_name"] = "tiny-inpaint"
    try:
        assert session.run(graph).executed[-1] == "8"
    finally:
        KEPT.free()


def test_the_registry_lists_samplers_and_schedules_as_comfyui_does(
    registry: Registry, context: Context
) -> None:
    required = registry.nodes["KSampler"].info(context)["input"]["required"]
    assert required["sampler_name"][0][0] == "euler"
    assert {"euler_ancestral", "dpmpp_2m", "ddim", "uni_pc", "lcm"} < set(required["sampler_name"][0])
    assert {"normal", "karras", "simple", "beta"} < set(required["scheduler"][0])
    assert required["cfg"][1]["default"] == 8.0
    assert required["seed"][1]["max"] == 2**64 - 1


def test_a_lora_changes_the_picture_and_is_gone_without_it(session: Session, checkpoints: Path) -> None:
    from safetensors.torch import save_file

    made = tiny_single_file(checkpoints, "sd15", "inpaint")
    (checkpoints / "tiny.safetensors").symlink_to(made)
    (checkpoints / "tokenizer").symlink_to(made.parent / "tokenizer")
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    torch.manual_seed(0)
    tensors = {
        f"{name}.lora_down.weight": torch.randn(4, 768),
        f"{name}.lora_up.weight": torch.randn(32, 4),
        f"{name}.alpha": torch.tensor(4.0),
    }
    (checkpoints.parent / "loras").mkdir()
    save_file(tensors, checkpoints.parent / "loras" / "ink.safetensors")

    def picture(strength: float) -> np.ndarray:
        graph = classic(steps=2, model=["9", 0])
        given = {"model": ["1", 0], "lora_name": "ink.safetensors", "strength_model": strength}
        graph |= api(n9=("LoraLoaderModelOnly", given))
        [image] = session.run(graph).shown["8"]["images"]
        return np.asarray(Image.open(session.context.output_dir / image["filename"]))

    plain, inked = picture(0.0), picture(8.0)
    assert (plain != inked).any()
    assert np.array_equal(picture(0.0), plain)


def test_a_lora_has_a_strength_for_texts_of_its_own(session: Session, checkpoints: Path) -> None:
    from safetensors.torch import save_file

    made = tiny_single_file(checkpoints, "sd15", "inpaint")
    (checkpoints / "tiny.safetensors").symlink_to(made)
    (checkpoints / "tokenizer").symlink_to(made.parent / "tokenizer")
    name = "lora_te_text_model_encoder_layers_0_self_attn_out_proj"
    torch.manual_seed(0)
    tensors = {
        f"{name}.lora_down.weight": torch.randn(4, 768),
        f"{name}.lora_up.weight": torch.randn(768, 4),
        f"{name}.alpha": torch.tensor(4.0),
    }
    (checkpoints.parent / "loras").mkdir()
    save_file(tensors, checkpoints.parent / "loras" / "words.safetensors")

    def picture(of_model: float, of_clip: float) -> np.ndarray:
        graph = classic(steps=2, model=["9", 0])
        given = {"model": ["1", 0], "clip": ["1", 1], "lora_name": "words.safetensors"}
        graph |= api(n9=("LoraLoader", given | {"strength_model": of_model, "strength_clip": of_clip}))
        graph["3"]["inputs"]["clip"] = ["9", 1]
        [image] = session.run(graph).shown["8"]["images"]
        with Image.open(session.context.output_dir / image["filename"]) as made:
            return np.asarray(made)

    plain = picture(0.0, 0.0)
    assert np.array_equal(picture(1.0, 0.0), plain)
    assert (picture(0.0, 1.0) != plain).any()


def test_a_cancel_stops_within_a_step(session: Session, checkpoints: Path) -> None:
    made = tiny_single_file(checkpoints, "sd15", "inpaint")
    (checkpoints / "tiny.safetensors").symlink_to(made)
    (checkpoints / "tokenizer").symlink_to(made.parent / "tokenizer")

    def steps() -> list[int]:
        return [
            data["value"] for event, data in session.events if event == "progress" and data["node"] == "6"
        ]

    def stop(stage: str, fraction: float) -> None:
        if len(steps()) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        session.run(classic(steps=6), report=Stopping(stop))
    assert steps() == [1, 2]
    assert session.run(classic(steps=6)).executed == ("6", "7", "8")
