"""A folder of models as ComfyUI has it, with tiny ones in it: whole checkpoints, and models in parts."""

from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from safetensors.torch import save_file

from tests.diffusion import original_layout, tiny


def folder_of_models(root: Path) -> Path:
    """Make ``root`` such a folder, and return it."""
    for name, kind in (("tiny", "inpaint"), ("base", "base")):
        made = tiny.tiny_single_file(root / "made", "sd15", kind)
        made.rename(_there(root / "checkpoints" / f"{name}.safetensors"))
    _tokenizers("sd15", root / "checkpoints")
    _stable_diffusion(root, "sd15", {"text_encoder": "clip_l"})
    _stable_diffusion(root, "sdxl", {"text_encoder": "sdxl_l", "text_encoder_2": "sdxl_g"})
    flux = tiny.tiny_single_file(root / "made", "flux", "inpaint")
    flux.rename(_there(root / "diffusion_models" / "flux" / "fill.safetensors"))
    _tokenizers("flux", root / "diffusion_models" / "flux")
    for part in ("vae/ae", "text_encoders/clip_l", "text_encoders/t5xxl_fp16"):
        made = flux.parents[1] / f"{part}.safetensors"
        made.rename(_there(root / f"{part.replace('clip_l', 'flux_l')}.safetensors"))
    save_file(control_network().state_dict(), _there(root / "controlnet" / "canny.safetensors"))
    return root


def control_network() -> Any:
    """Return a control network for the tiny UNet of SD 1.5 that changes what it says."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        unet = UNet2DConditionModel(**tiny.tiny_configs("sd15", "base")["unet"])
        network = ControlNetModel.from_unet(unet).eval()
        for layer in (*network.controlnet_down_blocks, network.controlnet_mid_block):
            torch.nn.init.normal_(layer.weight, std=0.1)
        torch.nn.init.normal_(network.controlnet_cond_embedding.conv_out.weight, std=0.1)
    return network


def _stable_diffusion(root: Path, family: str, texts: dict[str, str]) -> None:
    networks = tiny.tiny_networks(family, "base", seed=1)
    weights = original_layout.unet(networks["unet"].state_dict())
    save_file(
        {name: tensor.contiguous() for name, tensor in weights.items()},
        _there(root / "diffusion_models" / family / "unet.safetensors"),
    )
    _tokenizers(family, root / "diffusion_models" / family)
    save_file(
        original_layout.part(family, "vae", networks["vae"]), _there(root / "vae" / f"{family}.safetensors")
    )
    for part, name in texts.items():
        made = original_layout.part(family, part, networks[part])
        save_file(made, _there(root / "text_encoders" / f"{name}.safetensors"))


def _tokenizers(family: str, folder: Path) -> None:
    for name, tokenizer in tiny.tiny_tokenizers(family).items():
        tokenizer.save_pretrained(folder / name)


def _there(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
