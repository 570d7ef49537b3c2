"""ControlNets open from folders and from files of both layouts, with the same weights."""

import re
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from diffusers import ControlNetModel, UNet2DConditionModel  # noqa: E402
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from reknit.core.errors import InputError, NotFound  # noqa: E402
from reknit.core.progress import Reporter  # noqa: E402
from reknit.diffusion.checkpoint import open_checkpoint  # noqa: E402
from reknit.diffusion.controlnet import open_controlnet  # noqa: E402
from tests.diffusion import original_layout, tiny  # noqa: E402


def network() -> Any:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**tiny.tiny_configs("sd15", "base")["unet"])
    made = ControlNetModel.from_unet(unet)
    for weight in made.parameters():  # its zero layers would hide what is swapped
        if not weight.any():
            torch.nn.init.normal_(weight)
    return made


def original(weights: dict[str, Any]) -> dict[str, Any]:
    """Return a ControlNet's weights in the original layout."""
    own = {n: t for n, t in weights.items() if not n.startswith("controlnet_")}
    made = {f"control_model.{n}": t for n, t in original_layout.unet(own).items()}
    for name, tensor in weights.items():
        if not name.startswith("controlnet_"):
            continue
        new = re.sub(r"controlnet_down_blocks\.(\d+)\.", r"zero_convs.\1.0.", name)
        new = new.replace("controlnet_mid_block.", "middle_block_out.0.")
        new = new.replace("controlnet_cond_embedding.conv_in.", "input_hint_block.0.")
        new = new.replace("controlnet_cond_embedding.conv_out.", "input_hint_block.14.")
        new = re.sub(
            r"controlnet_cond_embedding\.blocks\.(\d)\.",
            lambda found: f"input_hint_block.{2 + 2 * int(found[1])}.",
            new,
        )
        made[f"control_model.{new}"] = tensor
    return made


def test_every_form_gives_the_same_weights(tmp_path: Path) -> None:
    made = network()
    wanted = made.state_dict()
    made.save_pretrained(tmp_path / "control-canny")
    save_file(wanted, tmp_path / "depth.safetensors")
    save_file(original(wanted), tmp_path / "control_v11p_sd15_inpaint.safetensors")
    for name, kind in (("control-canny", "canny"), ("depth.safetensors", "depth"),
                       ("control_v11p_sd15_inpaint.safetensors", "inpaint")):  # fmt: skip
        control = open_controlnet(tmp_path / name)
        assert (control.family, control.kind) == ("sd15", kind)
        found = control.network.state_dict()
        assert set(found) == set(wanted)
        assert all(torch.equal(found[n], wanted[n]) for n in wanted)
    theirs = convert_controlnet_checkpoint(original(wanted), {**made.config})
    assert all(torch.equal(theirs[n], wanted[n]) for n in wanted)


def test_another_familys_and_what_is_none_are_refused(tmp_path: Path) -> None:
    save_file(network().state_dict(), tmp_path / "depth.safetensors")
    flux = open_checkpoint(tiny.tiny_folder(tmp_path, "flux", "base"), report=Reporter())
    with pytest.raises(InputError) as caught:
        open_controlnet(tmp_path / "depth.safetensors", checkpoint=flux)
    assert caught.value.code == "control.family"
    save_file({"weight": torch.ones(2)}, tmp_path / "none.safetensors")
    with pytest.raises(InputError) as caught:
        open_controlnet(tmp_path / "none.safetensors")
    assert caught.value.code == "control.format"
    with pytest.raises(NotFound):
        open_controlnet(tmp_path / "nowhere")
