"""A control group's limit, where this machine lets one be made: it is seen, and what is kept stays below it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT = 640 << 20
BOX = f"reknit-test-{os.getpid()}"

INSIDE = """
import json, sys
open(sys.argv[1], "w").write("0")
import numpy as np
from reknit.core.system import free_ram
from reknit.engines.kept import KEPT
from reknit.planner import ask, facts
from reknit.models import catalog

before = free_ram()
sizes = [120 << 20] * 8
most = 0
for i, size in enumerate(sizes):
    KEPT.get(i, lambda: np.ones(size, np.uint8), device="cpu", size=size)
    most = max(most, len(KEPT.order()))
wanted = facts.subject(catalog.find("sd15"))
print(json.dumps({
    "free": before[0], "total": before[1], "most": most, "kept": KEPT.order(),
    "answer": ask.ask(wanted, ask.place("cpu")).answer,
}))
"""


@pytest.fixture
def box() -> Iterator[Path]:
    """Make a control group with a limit of memory; skip where that is not allowed."""
    old, new = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    one = old if old.is_dir() else new
    folder, limit = one / BOX, "memory.limit_in_bytes" if one is old else "memory.max"
    try:
        folder.mkdir()
        (folder / limit).write_text(str(LIMIT))
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    yield folder
    folder.rmdir()


@pytest.mark.skipif(sys.platform != "linux", reason="control groups")
def test_a_real_limit_is_seen_and_what_is_kept_stays_below_it(box: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INSIDE, str(box / "cgroup.procs")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:] or "killed: it took more than the group may"
    told = json.loads(done.stdout)
    assert told["total"] == pytest.approx(LIMIT, rel=0.01)
    assert told["free"] < LIMIT
    assert 2 <= told["most"] <= 5, "as many of 120 MiB as fit into 640 MiB beside the rest, of eight"
    assert told["kept"][-1] == 7, "the last used one is there"
    assert told["answer"] == "no", "Stable Diffusion 1.5 needs 6 GiB on a processor"
