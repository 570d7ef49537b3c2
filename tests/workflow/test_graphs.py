"""Every graph in graphs/ runs, runs nothing the second time, and together they have every node that runs here."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reknit.engines.kept import KEPT
from reknit.workflow.graph import ancestors, of_api
from reknit.workflow.node import Registry
from tests.oracles.networks import Net, write
from tests.workflow.conftest import Session

GRAPHS = sorted(Path(__file__).with_name("graphs").glob("*.json"))
LOADERS = ("CheckpointLoaderSimple", "UNETLoader")
EXAMPLE = Path(__file__).parents[2] / "examples" / "workflows" / "inpaint.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    from tests.workflow.tiny_models import folder_of_models

    return folder_of_models(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny(session: Session, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Have tiny models in a folder of ComfyUI's form."""
    made: Path = request.getfixturevalue("folder")
    session.context = replace(session.context, model_dirs=(*session.context.model_dirs, made))
    yield made
    KEPT.free()


def reached(path: Path, registry: Registry) -> list[str]:
    """Return the ids of the nodes that an output of a graph needs."""
    graph = of_api(json.loads(path.read_text()))
    outputs = [name for name, node in graph.nodes.items() if registry.nodes[node.kind or ""].is_output]
    return list(ancestors(graph, outputs))


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_a_graph_runs_once(path: Path, session: Session, request: pytest.FixtureRequest) -> None:
    data = json.loads(path.read_text())
    folder = session.context.model_dirs[0]
    for kind in ("inpaint", "loras"):
        (folder / kind).mkdir(parents=True)
    (folder / "loras" / "none.safetensors").touch()
    if set(LOADERS) & {node["class_type"] for node in data.values()}:
        request.getfixturevalue("tiny")
    if "INPAINT_LoadInpaintModel" in path.read_text():
        write(folder / "inpaint" / "mean.onnx", Net())
    first = session.run(data)
    assert set(first.executed) == set(reached(path, session.registry))
    assert first.shown
    for ui in first.shown.values():
        for image in ui.get("images", []):
            made = session.context.folder(image["type"]) / image["subfolder"] / image["filename"]
            assert np.asarray(Image.open(made)).std() > 0, "the picture shows something"
    again = session.run(data)
    sent = tuple(name for name, node in data.items() if node["class_type"] == "SaveImageWebsocket")
    assert (again.executed, again.shown) == (sent, first.shown), "what is sent is sent again"


def test_there_are_thirty_and_they_have_every_node(registry: Registry) -> None:
    used = {
        of_api(json.loads(path.read_text())).nodes[name].kind
        for path in GRAPHS
        for name in reached(path, registry)
    }
    assert len(GRAPHS) >= 30
    assert used == set(registry.nodes), "the test above sees each of these run"


def test_the_example_runs_on_a_tiny_model(session: Session, tiny: Path) -> None:
    graph = of_api(json.loads(EXAMPLE.read_text()))
    given = {("1", "ckpt_name"): "tiny.safetensors", ("2", "image"): "hole.png"}
    words = {("3", "text"): "a red house", ("4", "text"): "bad"}
    outcome = session.run(graph.with_values(given | words))
    [image] = outcome.shown["8"]["images"]
    with Image.open(session.context.output_dir / image["filename"]) as made:
        assert made.size == (96, 64)
        assert json.loads(made.info["prompt"])["6"]["inputs"]["steps"] == 20
    steps = [data["value"] for event, data in session.events if event == "progress" and data["node"] == "6"]
    assert steps == list(range(1, 21))
