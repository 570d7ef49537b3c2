"""LoRAs named by the option or in the prompt change the picture, and only the one they are asked for."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("peft")

from tests.diffusion import tiny
from tests.diffusion.test_lora import SD15, kohya

from reknit.core.progress import Reporter
from reknit.diffusion.checkpoint import open_checkpoint
from reknit.diffusion.placed import place
from reknit.diffusion.placement import Placement
from reknit.diffusion.stage_cache import StageCache
from reknit.engines.diffusion_options import OPTIONS
from reknit.engines.diffusion_painters import NativePainter, Order

USUAL = {option.name: option.default for option in OPTIONS} | {
    "steps": 2, "guidance": 1.0, "sampler": "euler", "scheduler": "normal", "content": "original",
}  # fmt: skip


def test_the_option_and_the_prompts_tag_do_the_same(tmp_path: Path) -> None:
    kohya(tmp_path / "ink.safetensors", SD15)
    folder = tiny.tiny_folder(tmp_path, "sd15", "inpaint")
    checkpoint = open_checkpoint(folder, report=Reporter())
    painter = NativePainter(placed=place(checkpoint, Placement()), cache=StageCache(1 << 20))
    hole = np.zeros((64, 64), np.bool_)
    hole[16:48, 16:48] = True

    def painted(prompt: str, lora: str = "") -> np.ndarray:
        order = Order(
            pixels=np.full((64, 64, 3), 128, np.uint8),
            hole=hole,
            prefilled=False,
            strength_map=None,
            values=USUAL | {"prompt": prompt, "lora": lora},
            seeds=(3,),
        )
        return painter.paint(order, Reporter(), lambda text: None)[0]

    plain = painted("a cat")
    inked = painted("a cat", f"{tmp_path / 'ink.safetensors'}:0.7")
    assert not np.array_equal(inked, plain)
    assert np.array_equal(painted(f"a cat <lora:{tmp_path / 'ink.safetensors'}:0.7>"), inked)
    assert np.array_equal(painted("a cat"), plain)
