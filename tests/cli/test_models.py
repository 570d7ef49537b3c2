"""``reknit models`` on an empty machine, with local servers, and across a kill."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from onnx import TensorProto

from tests.cli.conftest import Reknit
from tests.models import conftest as servers
from tests.models import weights
from tests.models.conftest import CONTENT, DIGEST, Web
from tests.patience import until

web = servers.web
FLOAT = TensorProto.FLOAT


@pytest.fixture(autouse=True)
def places(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give this machine nothing of anyone's; return where the store's own folder will be."""
    for name in [name for name in os.environ if name.startswith(("HF_", "TORCH_", "INVOKEAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    return tmp_path / "data" / "reknit" / "models"


@pytest.fixture
def overlay(tmp_path: Path, web: Web) -> Iterator[Web]:
    """Let the user's own catalog know a model that ``web`` serves."""
    path = tmp_path / "settings" / "reknit" / "models.toml"
    path.parent.mkdir(parents=True)
    path.write_text(f"""
[model.mine]
title = "Mine"
engine = "onnx"
family = "lama"
licence = "CC BY-NC 4.0"
commercial = false
native_px = 512
files = [{{ name = "mine.onnx", url = "{web.url}/mine.onnx", bytes = {len(CONTENT)}, sha256 = "{DIGEST}" }}]
""")
    yield web


def lama(path: Path) -> Path:
    shapes = {"generator.model.1.bn_l.running_mean": (4,)}
    inputs = {"image": (FLOAT, [1, 3, 64, 64]), "mask": (FLOAT, [1, 1, 64, 64])}
    return weights.onnx_model(path, inputs, {"output": (FLOAT, [1, 3, 64, 64])}, shapes)


def test_list(reknit: Reknit) -> None:
    out = reknit("models").out
    assert "big-lama" in out
    assert "206 MB" in out
    assert "not for commercial use" in out
    assert "0 of 24" in out
    assert reknit("models", "list", "--installed").out.startswith("no models")
    models = reknit("models", "list", "--json").data["models"]
    assert len(models) == 24
    assert not any(model["installed"] for model in models)


def test_show(reknit: Reknit) -> None:
    ran = reknit("models", "show", "runwayml/stable-diffusion-inpainting")
    assert ran.out.startswith("sd15-inpainting")
    assert "removed" in ran.err
    assert reknit("models", "show", "lama", "--json").data["licence"] == "Apache-2.0"
    ran = reknit("models", "show", "big-lamma", "--json")
    assert (ran.status, ran.data["error"]["code"]) == (2, "model.unknown")


def test_show_a_file(reknit: Reknit, folder: Path) -> None:
    lama(folder / "x.onnx")
    out = reknit("models", "show", "x.onnx").out
    assert "onnx, lama, inpaint" in out
    assert "image float32 1x3x64x64" in out
    assert reknit("models", "show", "x.onnx", "--json").data["inputs"]["mask"]["shape"] == [1, 1, 64, 64]
    assert reknit("models", "show", "gone.onnx", "--json").data["error"]["code"] == "file.missing"
    assert reknit("models", "show", "photo.jpg", "--json").data["error"]["code"] == "model.unrecognised"


def test_pull_list_verify_remove(reknit: Reknit, overlay: Web, places: Path) -> None:
    ran = reknit("models", "pull", "mine")
    path = places / "mine" / "mine.onnx"
    assert (ran.status, ran.out) == (0, f"mine: {path}\n")
    assert "may not be used commercially" in ran.err
    assert path.read_bytes() == CONTENT
    listed = reknit("models", "list", "--installed", "--json").data["models"]
    assert [(each["id"], each["paths"]) for each in listed] == [("mine", {"mine.onnx": str(path)})]
    assert reknit("models", "verify").out.startswith("right")
    path.write_bytes(CONTENT[::-1])
    ran = reknit("models", "verify", "mine", "--json")
    assert (ran.status, ran.data["files"][0]["state"]) == (1, "wrong")
    assert reknit("models", "remove", "mine").out == f"deleted {path}\n"
    assert not path.parent.exists()
    assert reknit("models", "remove", "mine").status == 2


@pytest.mark.parametrize(
    ("status", "code", "exit_status"), [(401, "download.refused", 3), (404, "download.gone", 4)]
)
def test_pull_says_what_is_wrong(
    reknit: Reknit, overlay: Web, status: int, code: str, exit_status: int
) -> None:
    overlay.status = status
    ran = reknit("models", "pull", "mine", "--json")
    assert (ran.status, ran.data["error"]["code"]) == (exit_status, code)
    assert ran.data["error"]["hint"]


@pytest.mark.skipif(sys.platform == "win32", reason="a kill is POSIX's")
def test_a_killed_pull_goes_on_where_it_was(reknit: Reknit, overlay: Web, places: Path) -> None:
    overlay.halts_at = 3 * len(CONTENT) // 4
    command = [sys.executable, "-c", "from reknit.cli.main import main; main()", "models", "pull", "mine"]
    process = subprocess.Popen(command)
    part = places / "mine" / ".mine.onnx.part"
    until(lambda: part.exists() and part.stat().st_size > len(CONTENT) // 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (places / "mine" / "mine.onnx").exists()
    overlay.halts_at = None
    assert reknit("models", "pull", "mine").status == 0
    assert (places / "mine" / "mine.onnx").read_bytes() == CONTENT
    assert overlay.starts[0] == 0
    assert overlay.starts[1] > len(CONTENT) // 2


def test_import(reknit: Reknit, folder: Path, places: Path) -> None:
    lama(folder / "x.onnx")
    ran = reknit(
        "models",
        "import",
        "x.onnx",
        "--name",
        "own",
        "--contract",
        "mask=1=hole output=0..255",
        "--licence",
        "MIT",
    )
    assert ran.out == f"own: {places / 'own' / 'x.onnx'}\n"
    data = reknit("models", "show", "own", "--json").data
    assert data["contract"] == {"mask": "1=hole", "output": "0..255"}
    assert (data["licence"], data["installed"]) == ("MIT", True)
    wrong = reknit("models", "import", "x.onnx", "--contract", "mask=1=hol", "--json").data["error"]
    assert "'1=hole'" in wrong["hint"]
    assert (
        reknit("models", "import", "x.onnx", "--contract", "mask", "--json").data["error"]["code"]
        == "option.value"
    )
    assert reknit("models", "import", "photo.jpg", "--json").data["error"]["code"] == "model.unrecognised"


def test_scan(reknit: Reknit, folder: Path) -> None:
    (folder / "ComfyUI" / "models" / "inpaint").mkdir(parents=True)
    lama(folder / "ComfyUI" / "models" / "inpaint" / "x.onnx")
    (folder / "ComfyUI" / "models" / "broken.safetensors").write_bytes(b"\xff" * 8 + b"{" + bytes(20))
    ran = reknit("models", "scan", "ComfyUI")
    assert "onnx, lama, inpaint" in ran.out
    assert "damaged" in ran.out
    files = reknit("models", "scan", "ComfyUI", "--json").data["files"]
    assert {Path(file["path"]).name for file in files} == {"x.onnx", "broken.safetensors"}
    assert reknit("models", "scan").out == "no weight files found\n"
    assert reknit("models", "scan", "nowhere", "--json").data["error"]["code"] == "file.missing"


def test_other_programs_folders_are_settings(
    reknit: Reknit, overlay: Web, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "theirs").mkdir()
    (folder / "theirs" / "mine.onnx").write_bytes(CONTENT)
    monkeypatch.setenv(
        "REKNIT_MODEL_FOLDERS", os.pathsep.join([str(tmp_path / "none"), str(folder / "theirs")])
    )
    assert reknit("models", "pull", "mine").out == f"mine: {folder / 'theirs' / 'mine.onnx'}\n"
    assert overlay.asked == []
