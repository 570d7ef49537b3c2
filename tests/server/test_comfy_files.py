"""The pictures that prompts saved, as retention sees them."""

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reknit.jobs.blobs import Blobs
from reknit.jobs.retention import prune
from reknit.jobs.store import Store
from reknit.server.comfy_files import Outputs
from reknit.server.comfy_work import KIND

DAY_S = 86400.0


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "comfy" / "output"
    (folder / "sub").mkdir(parents=True)
    for name in ("ComfyUI_00001_.png", "sub/a_00001_.png", "stray.png"):
        (folder / name).write_bytes(bytes(1000))
        then = time.time() - 10 * DAY_S
        os.utime(folder / name, (then, then))
    return folder


def outputs(output: Path) -> Any:
    return Outputs(SimpleNamespace(settings=SimpleNamespace(comfy_dir=output.parent)))  # pyright: ignore


def left(output: Path) -> set[str]:
    return {path.relative_to(output).as_posix() for path in output.rglob("*.png")}


def test_saved_pictures_count_and_go_with_their_prompt(tmp_path: Path, output: Path) -> None:
    store, blobs = Store(tmp_path / "jobs.sqlite3"), Blobs(tmp_path / "blobs")
    saved = [
        ("", "ComfyUI_00001_.png", "output"),
        ("sub", "a_00001_.png", "output"),
        ("", "gone.png", "temp"),
    ]
    for subfolder, name, place in saved:
        asked = {"number": 1, "prompt_id": name, "prompt": {}, "extra_data": {}, "outputs": ["9"]}
        store.submit(KIND, asked)
        claimed = store.claim("cpu", 60)
        assert claimed is not None
        image = {"filename": name, "subfolder": subfolder, "type": place}
        store.finish(
            claimed,
            {"outputs": {"9": {"images": [image]}}, "messages": [["execution_start", {}]], "meta": {}},
        )
    store.submit(KIND, asked)
    limits = {"max_age_s": 30 * DAY_S, "grace_s": DAY_S, "others": outputs(output)}
    assert prune(store, blobs, **limits, max_bytes=2000).jobs == 0
    assert left(output) == {"ComfyUI_00001_.png", "sub/a_00001_.png", "stray.png"}
    assert prune(store, blobs, **limits, max_bytes=1500).jobs == 1
    assert left(output) == {"sub/a_00001_.png", "stray.png"}
    limits["max_age_s"] = 5 * DAY_S
    assert prune(store, blobs, **limits, max_bytes=2000).bytes == 1000
    assert left(output) == {"sub/a_00001_.png"}, "what no prompt names goes when it is old"
    store.close()


def test_a_folder_elsewhere_is_left_alone(tmp_path: Path, output: Path) -> None:
    there = output.rename(tmp_path / "theirs")
    output.symlink_to(there)
    assert outputs(output).sizes() == {}
