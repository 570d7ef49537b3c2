"""Diffusion under limits that the kernel really enforces: of the process's address space, and of a control group."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

ROOT = Path(__file__).parents[2]

UNDER_A_LIMIT = """
import json, resource, sys, tempfile
from pathlib import Path
import numpy as np
import torch
import reknit
from diffusers import UNet2DConditionModel
from tests.diffusion import tiny

torch.set_num_threads(1)
model = str(tiny.tiny_folder(Path(tempfile.mkdtemp()), "sd15", "inpaint"))
photo = np.random.default_rng(1).integers(0, 255, (640, 640, 3), dtype=np.uint8)
mask = np.zeros((640, 640), bool)
mask[280:360, 280:360] = True
calls = [0]
forward = UNet2DConditionModel.forward

def counted(self, *args, **options):
    calls[0] += 1
    return forward(self, *args, **options)

UNet2DConditionModel.forward = counted

def fill(side):
    params = {"steps": 1, "device": "cpu", "dtype": "float32", "model": model, "side": side}
    return reknit.fill(photo, mask, context=300, params=params, guidance=1.0, seed=3, threads=1)

fill(64)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (int(sys.argv[1]) << 20), -1))
calls[0] = 0
result = fill(640)
print(json.dumps({
    "calls": calls[0], "notes": list(result.notes), "equal": result.report.outside_equal,
    "size": result.facts["working_size"],
}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS")
@pytest.mark.parametrize("left_mib", [180, 230])
def test_a_real_limit_of_the_process_makes_it_step_down_and_finish(left_mib: int) -> None:
    """With the smaller one encoding the picture fails first, with the larger one decoding it."""
    env = {**os.environ, "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", UNDER_A_LIMIT, str(left_mib)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    said = [note for note in told["notes"] if "went on with" in note]
    assert len(said) == 1
    assert "ran out of memory" in said[0]
    assert said[0].endswith("went on with the decoder in tiles")
    assert told["calls"] == 1, "what was painted before was not painted again"
    assert told["equal"]
