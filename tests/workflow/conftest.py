"""A folder of pictures, a context over it, and the nodes there are."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reknit.core.progress import Reporter
from reknit.workflow.context import Context
from reknit.workflow.graph import Graph, of_api
from reknit.workflow.node import Registry
from reknit.workflow.run import Outcome, Runner
from reknit.workflow.validate import check


@pytest.fixture(scope="session")
def registry() -> Registry:
    return Registry()


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """Have photo.png (96×64, left half red), hole.png (the same, a transparent box) and mask.png (white box)."""
    folder = tmp_path / "input"
    (folder / "sub").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(90, 130, (64, 96, 3), dtype=np.uint8)
    pixels[:, :48, 0] = 220
    Image.fromarray(pixels).save(folder / "photo.png")
    Image.fromarray(pixels).save(folder / "sub" / "photo.jpg")
    hole = np.zeros((64, 96), np.uint8)
    hole[16:40, 20:52] = 255
    Image.fromarray(hole).save(folder / "mask.png")
    Image.fromarray(np.dstack((pixels, 255 - hole))).save(folder / "hole.png")
    return Context(
        input_dir=folder,
        output_dir=tmp_path / "output",
        temp_dir=tmp_path / "temp",
        model_dirs=(tmp_path / "models",),
    )


@dataclass
class Session:
    """Runs graphs and keeps what was told."""

    registry: Registry
    context: Context
    runner: Runner
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def run(self, data: dict[str, Any] | Graph, **changes: Any) -> Outcome:
        """Run what is right of a graph; all of it must be."""
        graph = data if isinstance(data, Graph) else of_api(data)
        context = replace(self.context, prompt=graph.to_dict(), **changes)
        verdict = check(graph, self.registry, context)
        assert verdict.lines() == []
        self.events.clear()
        return self.runner.run(
            verdict.graph, verdict.outputs, context, lambda *event: self.events.append(event)
        )


@pytest.fixture
def session(registry: Registry, context: Context) -> Session:
    return Session(registry=registry, context=context, runner=Runner(registry))


def api(**nodes: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Return API JSON: ``api(n1=("LoadImage", {"image": "photo.png"}))`` has a node ``1``."""
    return {
        name.removeprefix("n"): {"class_type": kind, "inputs": inputs}
        for name, (kind, inputs) in nodes.items()
    }


class Stopping(Reporter):
    """A reporter that calls back at each step."""

    def __init__(self, callback: Callable[[str, float], None]) -> None:
        super().__init__()
        self._callback = callback

    def step(self, stage: str, fraction: float, preview: Any = None) -> None:
        self._callback(stage, fraction)
