"""Every graph in graphs/ runs, runs nothing the second time, and together they have every node that runs here."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reknit.workflow.graph import of_api
from reknit.workflow.node import Registry
from tests.oracles.networks import Net, write
from tests.workflow.conftest import Session

GRAPHS = sorted(Path(__file__).with_name("graphs").glob("*.json"))
EXAMPLE = Path(__file__).parents[2] / "examples" / "workflows" / "inpaint.json"
NEEDS_PARTS = {"UNETLoader", "CLIPLoader", "DualCLIPLoader", "VAELoader"}
"""Loaders of parts of a model, tested by themselves."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    from tests.diffusion.tiny import tiny_single_file

    return tiny_single_file(tmp_path_factory.mktemp("tiny"), "sd15", "inpaint")


@pytest.fixture
def tiny(session: Session, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Put a tiny checkpoint where ``checkpoints/tiny.safetensors`` is looked for."""
    made: Path = request.getfixturevalue("checkpoint")
    folder = session.context.model_dirs[0] / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.safetensors").symlink_to(made)
    (folder / "tokenizer").symlink_to(made.parent / "tokenizer")
    yield folder
    from reknit.workflow.nodes import models

    models.free()


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_a_graph_runs_once(path: Path, session: Session, request: pytest.FixtureRequest) -> None:
    data = json.loads(path.read_text())
    folder = session.context.model_dirs[0]
    for kind in ("inpaint", "loras"):
        (folder / kind).mkdir(parents=True)
    (folder / "loras" / "none.safetensors").touch()
    if "CheckpointLoaderSimple" in path.read_text():
        request.getfixturevalue("tiny")
    if "INPAINT_LoadInpaintModel" in path.read_text():
        write(folder / "inpaint" / "mean.onnx", Net())
    first = session.run(data)
    assert first.shown
    for ui in first.shown.values():
        for image in ui.get("images", []):
            made = session.context.folder(image["type"]) / image["subfolder"] / image["filename"]
            assert np.asarray(Image.open(made)).std() > 0, "the picture shows something"
    again = session.run(data)
    assert (again.executed, again.shown) == ((), first.shown)


def test_there_are_thirty_and_they_have_every_node(registry: Registry) -> None:
    used = {node.kind for path in GRAPHS for node in of_api(json.loads(path.read_text())).nodes.values()}
    assert len(GRAPHS) >= 30
    assert set(registry.nodes) - used == NEEDS_PARTS


def test_the_example_runs_on_a_tiny_model(session: Session, tiny: Path) -> None:
    graph = of_api(json.loads(EXAMPLE.read_text()))
    given = {("1", "ckpt_name"): "tiny.safetensors", ("2", "image"): "hole.png"}
    words = {("3", "text"): "a red house", ("4", "text"): "bad"}
    outcome = session.run(graph.with_values(given | words))
    [image] = outcome.shown["8"]["images"]
    made = Image.open(session.context.output_dir / image["filename"])
    assert made.size == (96, 64)
    assert json.loads(made.info["prompt"])["6"]["inputs"]["steps"] == 20
    steps = [data["value"] for event, data in session.events if event == "progress" and data["node"] == "6"]
    assert steps == list(range(1, 21))
