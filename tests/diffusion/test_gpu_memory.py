"""On a real card whose memory another process has taken: a fill steps down or says so, and is whole again later."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

import reknit  # noqa: E402
from reknit.core.errors import Unavailable  # noqa: E402
from reknit.engines.kept import KEPT  # noqa: E402
from tests.diffusion import tiny  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card"),
]

TAKER = """
import sys, torch
free, _ = torch.cuda.mem_get_info()
held = torch.empty(max(0, free - (int(sys.argv[1]) << 20)), dtype=torch.uint8, device="cuda")
print("taken", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("left_mib", [1024, 256, 64])
def test_memory_that_another_process_took_is_survived_or_told(tmp_path: Path, left_mib: int) -> None:
    model = str(tiny.tiny_folder(tmp_path, "sd15", "inpaint"))
    photo = np.random.default_rng(1).integers(0, 255, (1280, 1280, 3), dtype=np.uint8)
    mask = np.zeros((1280, 1280), bool)
    mask[500:800, 500:800] = True

    def fill() -> reknit.FillResult:
        params = {"steps": 1, "device": "cuda", "model": model, "side": 1024}
        return reknit.fill(photo, mask, context=600, params=params, guidance=1.0, seed=3)

    assert not any("went on with" in note for note in fill().notes)
    KEPT.free()
    with subprocess.Popen(
        [sys.executable, "-c", TAKER, str(left_mib)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as taker:
        assert taker.stdout is not None and taker.stdin is not None
        assert taker.stdout.readline().strip() == "taken"
        try:
            result = fill()
            assert result.report.outside_equal
        except Unavailable as error:
            assert error.code in ("memory.out", "memory.short")
            assert error.hint
        taker.stdin.close()
    KEPT.free()
    assert not any("went on with" in note for note in fill().notes)
