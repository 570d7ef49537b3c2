"""The documentation keeps its word: options and errors are complete, the tutorial and the example engine run."""

import ast
import importlib.metadata
import re
import shlex
import subprocess
import sys
import types
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import reknit
from reknit.cli import main as door

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


def maker(name: str) -> types.ModuleType:
    spec = spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_options_page_is_current() -> None:
    now = (DOCS / "options.md").read_text(encoding="utf-8")
    assert maker("make_options").page() == now, "run: python docs/make_options.py"


def test_the_page_of_what_runs_is_current() -> None:
    made = maker("make_will_it_run")
    assert made.page() == made.PAGE.read_text(encoding="utf-8"), "run: python docs/make_will_it_run.py"
    assert made.plot() == made.PLOT.read_text(encoding="utf-8"), "run: python docs/make_will_it_run.py"


def strings(node: ast.expr) -> set[str]:
    if isinstance(node, ast.IfExp):
        return strings(node.body) | strings(node.orelse)
    assert not isinstance(node, ast.JoinedStr), "codes are literals, so that they can be found"
    return {node.value} if isinstance(node, ast.Constant) else set()


def codes_in_source() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                found |= {s for k in node.keywords if k.arg == "code" for s in strings(k.value)}
    return found


def test_every_error_code_is_documented() -> None:
    listed = set(
        re.findall(r"^\| `([a-z._-]+)` \| \d", (DOCS / "errors.md").read_text("utf-8"), re.MULTILINE)
    )
    assert codes_in_source() - listed == set()


@pytest.fixture
def tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rng = np.random.default_rng(5)
    photo = np.kron(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8), np.ones((10, 10, 1), np.uint8))
    mask = np.zeros((60, 80), np.uint8)
    mask[20:40, 30:50] = 255
    Image.fromarray(photo).save(tmp_path / "photo.jpg")
    Image.fromarray(np.dstack((photo, 255 - mask))).save(tmp_path / "photo.png")
    Image.fromarray(photo).save(tmp_path / "scan.tif")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(mask[::-1, ::-1] // 2 + 128 - mask // 2).save(tmp_path / "source.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


LINES = [
    line.split("  #")[0].strip()
    for block in blocks("tutorial.md", "console") + blocks("engines.md", "console")
    for line in block.splitlines()
    if line.startswith("reknit ")
]


@pytest.mark.usefixtures("tutorial")
def test_the_tutorials_commands_run(capfd: pytest.CaptureFixture[str]) -> None:
    assert len(LINES) > 12
    Image.fromarray(np.asarray(Image.open("mask.png"))).save("found.png")
    for line in LINES:
        status = door.run(shlex.split(line)[1:])
        assert status == 0 or "found.png" in line, (line, capfd.readouterr().err)


@pytest.mark.parametrize("code", blocks("tutorial.md", "python"))
def test_the_tutorials_python_runs(code: str, tutorial: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=tutorial, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def mean_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the example of docs/add-an-engine.md as a plug-in package would be."""
    module = types.ModuleType("my_package_mean")
    exec(blocks("add-an-engine.md", "python")[0], module.__dict__)
    monkeypatch.setitem(sys.modules, "my_package_mean", module)
    point = importlib.metadata.EntryPoint(name="mean", value="my_package_mean:MEAN", group="reknit.engines")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: (point,))


@pytest.mark.usefixtures("mean_engine")
@pytest.mark.parametrize("shape", [(60, 80), (60, 80, 3), (60, 80, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_example_engine_works(shape: tuple[int, ...], dtype: type[np.uint8] | type[np.uint16]) -> None:
    photo = np.full(shape, 100, dtype)
    mask = np.zeros((60, 80), bool)
    mask[20:40, 30:50] = True
    photo[mask] = 7
    assert "mean" in reknit.engines.every()
    result = reknit.fill(photo, mask, engine="mean", params={"gain": 1.0})
    assert (result.to_numpy()[mask] == 100).all()
    with pytest.raises(reknit.ReknitError, match="no option 'gian'"):
        reknit.fill(photo, mask, engine="mean", params={"gian": 1.0})


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*DOCS.glob("*.md"), ROOT / "README.md"]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            made_by_make_bench = link.endswith("benchmarks.md")
            assert made_by_make_bench or (page.parent / link).exists(), f"{page.name}: {link}"
