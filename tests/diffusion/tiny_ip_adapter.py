"""Tiny IP-Adapters with random weights in the layout of h94/IP-Adapter, with their vision network beside them."""

from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from tests.diffusion.tiny import tiny_networks

WIDTH, EMBEDDED = 64, 48


def tiny_ip_adapter(folder: Path, family: str, *, plus: bool = False) -> Path:
    """Save ``folder/models/ip-adapter_FAMILY.safetensors`` and ``image_encoder`` beside it, and return the file."""
    root = folder / "models"
    unet = tiny_networks(family, "base")["unet"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        vision = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=WIDTH,
                intermediate_size=WIDTH,
                num_hidden_layers=3,
                num_attention_heads=1,
                projection_dim=EMBEDDED,
                image_size=32,
                patch_size=8,
                hidden_act="gelu",
            )
        ).eval()
        width = int(unet.config["cross_attention_dim"])
        weights: dict[str, Any] = {f"image_proj.{n}": t for n, t in _projection(width, plus=plus).items()}
        number = -1
        for name in unet.attn_processors:
            number += 1
            if name.endswith("attn1.processor"):
                continue
            layer = unet.get_submodule(name.removesuffix(".processor"))
            for which in ("k", "v"):
                shape = (layer.to_k.weight.shape[0], width)
                weights[f"ip_adapter.{number}.to_{which}_ip.weight"] = torch.randn(shape) * 0.05
    transformers.utils.logging.disable_progress_bar()
    vision.save_pretrained(root / "image_encoder")
    file = root / f"ip-adapter_{family}.safetensors"
    save_file(weights, file)
    return file


def _projection(width: int, *, plus: bool) -> dict[str, Any]:
    if not plus:
        return {
            "proj.weight": torch.randn(4 * width, EMBEDDED) * 0.1,
            "proj.bias": torch.randn(4 * width) * 0.1,
            "norm.weight": torch.randn(width),
            "norm.bias": torch.randn(width) * 0.1,
        }
    inner = 64
    made = {
        "latents": torch.randn(1, 4, inner),
        "proj_in.weight": torch.randn(inner, WIDTH) * 0.1,
        "proj_in.bias": torch.zeros(inner),
        "proj_out.weight": torch.randn(width, inner) * 0.1,
        "proj_out.bias": torch.zeros(width),
        "norm_out.weight": torch.ones(width),
        "norm_out.bias": torch.zeros(width),
    }
    for layer in range(4):
        start = f"layers.{layer}"
        made |= {
            f"{start}.0.norm{n}.{part}": torch.ones(inner) for n in (1, 2) for part in ("weight", "bias")
        }
        made |= {f"{start}.0.to_q.weight": torch.randn(inner, inner) * 0.1}
        made |= {f"{start}.0.to_kv.weight": torch.randn(2 * inner, inner) * 0.1}
        made |= {f"{start}.0.to_out.weight": torch.randn(inner, inner) * 0.1}
        made |= {f"{start}.1.0.{part}": torch.ones(inner) for part in ("weight", "bias")}
        made |= {f"{start}.1.1.weight": torch.randn(4 * inner, inner) * 0.1}
        made |= {f"{start}.1.3.weight": torch.randn(inner, 4 * inner) * 0.1}
    return made
