"""A folder with a photo and a mask, and the command line run in this process."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reknit.cli import main as door


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What one command did."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


Reknit = Callable[..., Ran]


def picture(seed: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8), np.ones((10, 10, 1), np.uint8))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make photo.jpg, photo.png and mask.png (80×60) in an empty folder, and go there."""
    for name in [name for name in os.environ if name.startswith("REKNIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    mask = np.zeros((60, 80), np.uint8)
    mask[20:40, 30:50] = 255
    home = tmp_path / "home"
    home.mkdir()
    Image.fromarray(picture()).save(home / "photo.jpg", quality=90)
    Image.fromarray(picture()).save(home / "photo.png")
    Image.fromarray(mask).save(home / "mask.png")
    monkeypatch.chdir(home)
    return home


@pytest.fixture
def reknit(capfd: pytest.CaptureFixture[str]) -> Reknit:
    """Return a function that runs the command line in this process."""

    def run(*args: str) -> Ran:
        capfd.readouterr()
        status = door.run(list(args))
        out, err = capfd.readouterr()
        return Ran(status=status, out=out, err=err)

    return run
