"""``reknit workflow`` as a user meets it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Reknit
from tests.workflow.conftest import api

GRAPH = api(
    n1=("LoadImage", {"image": "elsewhere.png"}),
    n2=("LoadImageMask", {"image": "mask.png", "channel": "red"}),
    n3=("ReknitFill", {"image": ["1", 0], "mask": ["2", 0], "engine": "auto", "seed": 0, "grow": 2.0}),
    n4=("SaveImage", {"images": ["3", 0], "filename_prefix": "done"}),
)


@pytest.fixture
def graph(folder: Path) -> str:
    (folder / "graph.json").write_text(json.dumps(GRAPH))
    return "graph.json"


def test_run_with_another_picture_and_values(reknit: Reknit, graph: str) -> None:
    ran = reknit("workflow", "run", graph, "--input", "photo.png", "--set", "3.engine=exemplar", "-o", "out")
    assert (ran.status, ran.out) == (0, "out/done_00001_.png\n")
    with Image.open("out/done_00001_.png") as made:
        carried = json.loads(made.info["prompt"])
    assert carried["3"]["inputs"]["engine"] == "exemplar"
    again = reknit("workflow", "run", "out/done_00001_.png", "--input-dir", ".", "--json")
    assert again.data["files"] == ["done_00001_.png"]
    assert again.data["executed"] == ["1", "2", "3", "4"]


def test_a_picture_from_elsewhere_leaves_the_others_where_they_are(
    reknit: Reknit, graph: str, tmp_path: Path
) -> None:
    (tmp_path / "far").mkdir()
    Path("photo.png").rename(tmp_path / "far" / "photo.png")
    ran = reknit("workflow", "run", graph, "--input", str(tmp_path / "far" / "photo.png"), "-o", "out")
    assert (ran.status, ran.out) == (0, "out/done_00001_.png\n"), ran.err


def test_check_lists_every_fault(reknit: Reknit, graph: str) -> None:
    ran = reknit("workflow", "check", graph)
    assert ran.status == 2
    assert (
        "node 1 (LoadImage): Custom validation failed for node: image - Invalid image file: elsewhere.png"
        in ran.out
    )
    data = reknit("workflow", "check", graph, "--json").data
    assert data["error"]["type"] == "prompt_outputs_failed_validation"
    assert reknit("workflow", "run", graph).status == 2
    Path("graph.json").write_text(json.dumps(GRAPH).replace("elsewhere", "photo"))
    assert reknit("workflow", "check", graph).out == "4 nodes, 1 outputs: right\n"


def test_a_model_that_is_not_there_is_told_where_it_belongs(reknit: Reknit) -> None:
    example = str(Path(__file__).parents[2] / "examples" / "workflows" / "inpaint.json")
    ran = reknit("workflow", "check", example, "--models-dir", "weights")
    assert "'512-inpainting-ema.safetensors' not in []" in ran.out
    assert "such as checkpoints, below weights" in ran.err
    ran = reknit("workflow", "run", example, "--models-dir", "weights")
    assert (ran.status, "below weights" in ran.err) == (2, True)


@pytest.mark.parametrize("change", ["3", "3.seed", "9.seed=1"])
def test_a_change_that_is_none_is_refused(reknit: Reknit, graph: str, change: str) -> None:
    assert reknit("workflow", "run", graph, "--set", change).status == 2


def test_draw(reknit: Reknit, graph: str) -> None:
    assert reknit("workflow", "draw", graph).out == "graph.svg\n"
    picture = Path("graph.svg").read_text()
    assert picture.startswith("<svg")
    assert picture.count("<path") == 3
    assert "Reknit Fill" in picture
    assert reknit("workflow", "draw", graph, "-o", "-").out == picture
