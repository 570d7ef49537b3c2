"""Fills teach the planner: what they took is kept, `reknit bench fit` learns from it, and the next check goes by it."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import reknit as library
from reknit import config
from reknit.engines.kept import KEPT
from reknit.pipeline import ways
from reknit.planner import local, machine, runs
from tests.cli.conftest import Reknit, folder, reknit
from tests.diffusion import tiny

__all__ = ["folder", "reknit"]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_what_fills_took_changes_the_next_check(
    reknit: Reknit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "_ANOTHER", 0.0)  # let the tiny network pass for one of the family's size
    monkeypatch.setattr(ways, "_room", lambda _: None)
    monkeypatch.setattr(machine, "say", lambda *_: "")
    monkeypatch.setattr(local, "_FOR_S", 0.02)
    model = str(tiny.tiny_folder(tmp_path, "sd15", "inpaint"))
    photo = np.random.default_rng(1).integers(0, 255, (120, 168, 3), dtype=np.uint8)
    mask = np.zeros((120, 168), bool)
    mask[40:80, 60:100] = True
    params: dict[str, Any] = {"model": model, "steps": 3, "side": 64, "device": "cpu", "dtype": "float32"}

    def fill(**given: Any) -> library.FillResult:
        return library.fill(photo, mask, params=params, seed=3, guidance=1.0, **given)

    before = reknit("check", "sd15", "--gpu", "cpu", "--json").data
    KEPT.free()
    results = [fill(strength=strength) for strength in (1.0, 0.7)]
    fill(count=2)
    KEPT.free()
    told = [note for note in results[0].notes if note.startswith("memory: ")]
    assert len(told) == 1 and "were predicted" in told[0]
    memory = results[0].to_dict()["memory"]
    assert memory["predicted_bytes"] > memory["measured_bytes"] > 0
    kept = runs.read(config.model_store(config.load()).models_dir / runs.NAME)
    assert [run.steps for run in kept] == [3, 2], "variations are not compared with one picture"
    assert [run.peak_bytes is None for run in kept] == [True, False], "the first loaded the model meanwhile"
    assert kept[1].family == "sd15"
    assert (kept[1].setup.width, kept[1].setup.height) == tuple(results[1].facts["working_size"])
    fitted = reknit("bench", "fit", "--json").data
    assert fitted["families"]["sd15"]["runs"] == 2
    after = reknit("check", "sd15", "--gpu", "cpu", "--json").data
    assert after["peak_vram_gib"] != before["peak_vram_gib"]
    assert any("corrected by 2 fills on this machine" in note for note in after["notes"])
    other = reknit("check", "sdxl", "--gpu", "cpu", "--json").data
    assert not any("corrected" in note for note in other["notes"])
