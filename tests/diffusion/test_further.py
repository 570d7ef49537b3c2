"""What options name beside the model, through the engine: ControlNets, image prompts, VAEs and text encoders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from diffusers import ControlNetModel  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

import reknit  # noqa: E402
from reknit.core.errors import ReknitError  # noqa: E402
from reknit.diffusion import controlnet, ip_adapter  # noqa: E402
from reknit.diffusion.control_pictures import control_picture  # noqa: E402
from reknit.engines.kept import KEPT  # noqa: E402
from reknit.models.identify import identify  # noqa: E402
from tests.diffusion import tiny  # noqa: E402
from tests.diffusion.test_controlnet import original  # noqa: E402
from tests.diffusion.tiny_ip_adapter import tiny_ip_adapter  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers

SMALL = {"steps": 2, "side": 64, "device": "cpu", "dtype": "float32"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory):
    """Return a folder with tiny models, ControlNets of SD 1.5 in both layouts, and IP-Adapters."""
    folder = tmp_path_factory.mktemp("further")
    for family, kind in (("sd15", "inpaint"), ("sd15", "base"), ("sdxl", "base")):
        tiny.tiny_folder(folder, family, kind)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = ControlNetModel.from_unet(tiny.tiny_networks("sd15", "base")["unet"])
        for weight in network.parameters():
            if not weight.any():
                torch.nn.init.normal_(weight, std=0.3)
    weights = network.state_dict()
    save_file(original(weights), folder / "control_v11p_sd15_inpaint.safetensors")
    torch.save(original(weights), folder / "control_v11p_sd15_canny.pth")
    save_file(weights, folder / "control_depth.safetensors")
    for family in ("sd15", "sdxl"):
        tiny_ip_adapter(folder, family)
    yield folder
    KEPT.free()


def picture() -> np.ndarray:
    rng = np.random.default_rng(4)
    return np.kron(rng.integers(0, 255, (10, 14, 3), dtype=np.uint8), np.ones((12, 12, 1), np.uint8))


def fill(root: Path, model: str = "sd15-base", photo: Any = None, **params: Any) -> reknit.FillResult:
    mask = np.zeros(picture().shape[:2], bool)
    mask[40:80, 60:100] = True
    chosen = {**SMALL, "model": str(root / model), **params}
    return reknit.fill(picture() if photo is None else photo, mask, params=chosen, seed=3, prompt="a cat")


def test_a_control_net_is_followed_and_let_go(root):
    plain = fill(root)
    controlled = fill(root, control=str(root / "control_v11p_sd15_inpaint.safetensors"))
    assert controlled.plan.params["control_image"] == "inpaint"
    assert controlled.report.outside_equal
    assert not np.array_equal(plain.to_numpy(), controlled.to_numpy())
    weak = fill(root, control=str(root / "control_v11p_sd15_inpaint.safetensors"), control_strength=0.0)
    assert np.array_equal(weak.to_numpy(), plain.to_numpy())
    assert np.array_equal(fill(root).to_numpy(), plain.to_numpy())


@pytest.mark.parametrize("model", ["sd15-base", "sd15-inpaint"])
def test_edges_and_given_pictures_are_followed(root, tmp_path, model):
    control = str(root / "control_v11p_sd15_canny.pth")
    edges = fill(root, model, control=control)
    assert edges.plan.params["control_image"] == "canny"
    depth = np.zeros((60, 84), np.uint8)
    depth[20:40, 30:50] = 200
    made = []
    for change in (0, 100):
        depth[22:30, 32:40] += change
        Image.fromarray(depth).save(tmp_path / "depth.png")
        given = fill(root, model, control=control, control_image=str(tmp_path / "depth.png"))
        made.append(given.to_numpy())
    assert not np.array_equal(*made)
    assert not np.array_equal(edges.to_numpy(), made[0])


def test_what_lies_far_from_the_hole_in_a_given_picture_is_not_seen(root, tmp_path):
    wide = np.tile(picture(), (1, 6, 1))
    mask = np.zeros(wide.shape[:2], bool)
    mask[40:60, 60:80] = True
    depth = np.zeros(wide.shape[:2], np.uint8)
    made = []
    for value in (0, 255):
        depth[:, 700:] = value
        Image.fromarray(depth).save(tmp_path / "depth.png")
        params = {
            **SMALL,
            "model": str(root / "sd15-base"),
            "control": str(root / "control_depth.safetensors"),
        }
        params["control_image"] = str(tmp_path / "depth.png")
        made.append(reknit.fill(wide, mask, params=params, seed=3).to_numpy())
    assert np.array_equal(*made)


def test_the_pictures_that_are_made():
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, 8:] = 255
    hole = np.zeros((16, 16), bool)
    hole[4:6, 4:6] = True
    inpaint = control_picture("inpaint", pixels, hole)
    assert (inpaint[hole] == -1).all()
    assert np.array_equal(inpaint[~hole], pixels[~hole] / 255)
    edges = control_picture("canny", pixels, hole)
    assert edges[:, 6:10].any()
    assert not edges[:, :5].any()
    assert set(np.unique(edges)) == {0.0, 1.0}
    assert np.array_equal(control_picture("photo", pixels, hole), pixels / 255)
    with pytest.raises(ReknitError) as caught:
        control_picture("depth", pixels, hole)
    assert caught.value.code == "control.picture"


def test_an_image_prompt_is_seen_and_let_go(root, tmp_path):
    Image.fromarray(picture()[::-1].copy()).save(tmp_path / "style.png")
    plain = fill(root)
    adapter = str(root / "models" / "ip-adapter_sd15.safetensors")
    seen = fill(root, image_prompt=str(tmp_path / "style.png"), image_prompt_model=adapter)
    assert not np.array_equal(plain.to_numpy(), seen.to_numpy())
    weak = {"image_prompt_weight": 0.0, "image_prompt_model": adapter}
    assert np.array_equal(
        fill(root, image_prompt=str(tmp_path / "style.png"), **weak).to_numpy(), plain.to_numpy()
    )
    assert np.array_equal(fill(root).to_numpy(), plain.to_numpy())
    both = fill(
        root,
        image_prompt=str(tmp_path / "style.png"),
        image_prompt_model=adapter,
        control=str(root / "control_v11p_sd15_inpaint.safetensors"),
    )
    assert both.report.outside_equal


def test_headers_tell_what_a_file_is_for(root):
    found = {path.name: identify(path) for path in [*root.glob("*.safetensors"), *root.glob("models/*.s*")]}
    assert {name: (each.family, each.kind) for name, each in found.items()} == {
        "control_v11p_sd15_inpaint.safetensors": ("sd15", "control"),
        "control_depth.safetensors": ("sd15", "control"),
        "ip-adapter_sd15.safetensors": ("sd15", "image-prompt"),
        "ip-adapter_sdxl.safetensors": ("sdxl", "image-prompt"),
    }


@pytest.mark.parametrize(
    ("model", "given", "code"),
    [
        ("sdxl-base", {"control": "control_depth.safetensors", "control_image": "canny"}, "control.family"),
        ("sd15-base", {"control": "control_depth.safetensors"}, "control.picture"),
        ("sd15-base", {"control": "control_depth.safetensors", "control_image": "no.png"}, "file.missing"),
        ("sd15-base", {"control": "control_v99"}, "control.unknown"),
        ("sd15-base", {"control": "models/ip-adapter_sd15.safetensors"}, "control.format"),
        ("sd15-base", {"control": "control_v11p_sd15_inpaint.safetensors", "control_end": "0"}, "control.span"),
        ("sd15-base", {"image_prompt": "no.png"}, "image-prompt.unknown"),
        (
            "sdxl-base",
            {"image_prompt": "no.png", "image_prompt_model": "models/ip-adapter_sd15.safetensors"},
            "image-prompt.family",
        ),
        ("sd15-base", {"vae": "no_vae"}, "vae.unknown"),
        ("sd15-base", {"vae": "control_depth.safetensors"}, "model.part"),
        ("sd15-base", {"text_encoders": "clip_x"}, "text-encoder.unknown"),
    ],
    ids=lambda given: str(given)[:40],
)  # fmt: skip
def test_what_does_not_fit_is_a_typed_error_with_a_hint(root, model, given, code):
    there = {
        name: str(root / value) if "." in value and value != "no.png" else value
        for name, value in given.items()
    }
    with pytest.raises(ReknitError) as caught:
        fill(root, model, **there)
    assert caught.value.code == code
    assert caught.value.hint


def flux_parts(folder: Path, *, how: str) -> dict[str, str]:
    """Save a tiny FLUX Fill as users download it: the parts in unrelated folders; return the options that name them."""
    file = tiny.tiny_single_file(folder / "made", "flux", "inpaint")
    root = file.parent.parent
    texts = root / "text_encoders"
    parts = (
        file,
        root / "vae/ae.safetensors",
        texts / "clip_l.safetensors",
        texts / "t5xxl_fp16.safetensors",
    )
    for name, part in zip("abcd", parts, strict=True):
        (folder / name).mkdir()
        weights = load_file(part)
        if how == "fp8" and name in "ad":
            weights = {
                n: t.to(torch.float8_e4m3fn) if t.ndim == 2 and n.endswith(".weight") else t
                for n, t in weights.items()
            }
        save_file(weights, folder / name / part.name)
    for name in ("tokenizer", "tokenizer_2"):
        shutil.copytree(file.parent / name, folder / "a" / name)
    model = folder / "a" / file.name
    if how == "gguf":
        gguf = pytest.importorskip("gguf")
        writer = gguf.GGUFWriter(model.with_suffix(".gguf"), "flux")
        for name, tensor in load_file(model).items():
            wide = tensor.ndim == 2 and tensor.shape[1] % 32 == 0
            kind = gguf.GGMLQuantizationType.Q8_0 if wide else gguf.GGMLQuantizationType.F32
            writer.add_tensor(name, gguf.quants.quantize(tensor.numpy(), kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        model = model.with_suffix(".gguf")
    encoders = (
        folder / "d" / "t5xxl_fp16.safetensors",
        folder / "c" / "clip_l.safetensors",
    )  # in the wrong order
    return {
        "model": str(model),
        "vae": str(folder / "b" / "ae.safetensors"),
        "text_encoders": ", ".join(map(str, encoders)),
    }


@pytest.mark.parametrize("how", ["fp32", "fp8", "gguf"])
def test_a_denoiser_alone_takes_its_vae_and_text_encoders(tmp_path, how):
    given = flux_parts(tmp_path, how=how)
    mask = np.zeros(picture().shape[:2], bool)
    mask[40:80, 60:100] = True
    with pytest.raises(ReknitError) as caught:
        reknit.fill(picture(), mask, params={**SMALL, "model": given["model"]})
    assert caught.value.code == "model.part"
    result = reknit.fill(picture(), mask, params={**SMALL, **given}, seed=3, prompt="a cat")
    assert result.report.outside_equal
    assert (result.to_numpy() != picture()).any(axis=2)[mask].mean() > 0.9
    recipe = json.dumps(result.recipe().to_dict()["params"])
    assert str(tmp_path) not in recipe
    assert "clip_l.safetensors" in recipe
    KEPT.free()


def test_another_vae_changes_the_picture_and_the_models_own_comes_back(root, tmp_path):
    with torch.random.fork_rng(devices=[]):
        vae = tiny.tiny_networks("sd15", "base", seed=9)["vae"]
    vae.save_pretrained(tmp_path / "vae")
    plain, other = fill(root), fill(root, vae=str(tmp_path / "vae"))
    assert not np.array_equal(plain.to_numpy(), other.to_numpy())
    assert np.array_equal(fill(root).to_numpy(), plain.to_numpy())


def test_a_replay_finds_the_picture_to_follow_beside_the_result(root, tmp_path):
    Image.fromarray(picture()).save(tmp_path / "photo.png")
    Image.fromarray(picture()[..., 0]).save(tmp_path / "depth.png")
    control = str(root / "control_depth.safetensors")
    result = fill(root, control=control, control_image=str(tmp_path / "depth.png"))
    result.save(tmp_path / "out.png")
    recipe = json.loads(Image.open(tmp_path / "out.png").text["reknit"])
    assert recipe["params"]["control_image"] == "depth.png"
    assert recipe["params"]["control"] == "control_depth.safetensors"
    params = {"model": str(root / "sd15-base"), "control": control}
    again = reknit.replay(tmp_path / "out.png", tmp_path / "photo.png", params=params)
    assert np.array_equal(again.to_numpy(), result.to_numpy())


def test_they_are_found_by_name_where_other_programs_keep_them(root, tmp_path):
    for name in ("ipadapter", "clip_vision", "ControlNet"):
        (tmp_path / name).mkdir()
    shutil.copy(root / "models" / "ip-adapter_sd15.safetensors", tmp_path / "ipadapter")
    shutil.copy(
        root / "models" / "image_encoder" / "model.safetensors",
        tmp_path / "clip_vision" / "ViT-H.safetensors",
    )
    shutil.copy(
        root / "control_depth.safetensors", tmp_path / "ControlNet" / "control_v11f1p_sd15_depth.safetensors"
    )
    store: Any = SimpleNamespace(folders=lambda: [tmp_path], hub_cache=None)
    path = ip_adapter.locate_adapter(None, "sd15", store)
    assert ip_adapter.open_adapter(path, store).family == "sd15"
    for name in ("control_v11f1p_sd15_depth [cfd03158]", "control_v11f1p_sd15_depth.pth"):
        found = controlnet.locate_controlnet(name, store)
        assert (found.parent.name, controlnet.kind_of(found)) == ("ControlNet", "depth")
    with pytest.raises(ReknitError) as caught:
        controlnet.locate_controlnet("control_v11_dept", store)
    assert "control_v11f1p_sd15_depth" in caught.value.hint
    with pytest.raises(ReknitError) as lacking:
        ip_adapter.locate_adapter(None, "sdxl", store)
    assert lacking.value.code == "image-prompt.unknown"
