"""Running: order, what is kept between runs, events, cancelling, failing, and what is saved."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reknit.core.errors import Cancelled, EngineFailed
from reknit.workflow.context import Context
from reknit.workflow.graph import of_api
from reknit.workflow.node import Registry, link, node
from reknit.workflow.run import Runner
from tests.workflow.conftest import Session, Stopping, api

GRAPH = api(
    n4=("SaveImage", {"images": ["3", 0], "filename_prefix": "sub/made"}),
    n1=("LoadImage", {"image": "photo.png"}),
    n3=("MaskToImage", {"mask": ["2", 0]}),
    n2=("GrowMask", {"mask": ["5", 0], "expand": 2, "tapered_corners": True}),
    n5=("LoadImageMask", {"image": "mask.png", "channel": "red"}),
)


def test_only_what_an_output_needs_runs_each_after_what_it_needs(session: Session) -> None:
    outcome = session.run(GRAPH)
    assert outcome.executed == ("5", "2", "3", "4")
    [image] = outcome.shown["4"]["images"]
    assert image == {"filename": "made_00001_.png", "subfolder": "sub", "type": "output"}
    made = Image.open(session.context.output_dir / "sub" / "made_00001_.png")
    assert json.loads(made.info["prompt"]) == session.context.prompt | of_api(GRAPH).to_dict()
    assert np.asarray(made)[14, 30].tolist() == [255, 255, 255]
    assert np.asarray(made)[13, 30].tolist() == [0, 0, 0]


def test_a_second_run_runs_nothing_and_names_the_same_files(session: Session) -> None:
    first = session.run(GRAPH)
    again = session.run(GRAPH)
    assert (again.executed, set(again.cached)) == ((), {"5", "2", "3", "4"})
    assert again.shown == first.shown
    assert [kind for kind, _ in session.events] == ["execution_cached", "executed"]
    assert len(list(session.context.output_dir.rglob("*.png"))) == 1


def test_ids_and_titles_do_not_matter_and_values_do(session: Session) -> None:
    session.run(GRAPH)
    renamed = json.loads(json.dumps(GRAPH).replace('"2"', '"22"'))
    assert session.run(renamed).executed == ()
    renamed["22"]["inputs"]["expand"] = 3
    assert session.run(renamed).executed == ("22", "3", "4")
    assert session.run(GRAPH).executed == ("2", "3", "4"), "only the last run's answers are kept"


def test_a_changed_file_is_loaded_again(session: Session) -> None:
    session.run(GRAPH)
    Image.fromarray(np.zeros((64, 96), np.uint8)).save(session.context.input_dir / "mask.png")
    assert session.run(GRAPH).executed == ("5", "2", "3", "4")


def test_events_come_in_comfyuis_order(session: Session) -> None:
    session.run(GRAPH)
    told = [(kind, data.get("node", data.get("nodes"))) for kind, data in session.events]
    assert told == [
        ("execution_cached", []),
        *(("executing", name) for name in ("5", "2", "3", "4")),
        ("executed", "4"),
    ]


@node("Slow", link("image", "IMAGE"), outputs="IMAGE", wants_context=True)
def slow(context: Context, image: np.ndarray) -> np.ndarray:
    """Take ten steps."""
    for step in range(10):
        context.tick(step + 1, 10)
    return image


@node("Broken", link("image", "IMAGE"), outputs="IMAGE")
def broken(image: np.ndarray) -> np.ndarray:
    """Divide by zero."""
    raise ZeroDivisionError("by zero")


def extended(registry: Registry) -> Registry:
    return Registry(nodes={**registry.nodes, "Slow": slow, "Broken": broken})


def through(kind: str) -> dict[str, object]:
    return api(
        n1=("LoadImage", {"image": "photo.png"}),
        n2=(kind, {"image": ["1", 0]}),
        n3=("PreviewImage", {"images": ["2", 0]}),
    )


def test_progress_goes_up_and_is_told_in_steps(session: Session) -> None:
    session.registry = extended(session.registry)
    session.runner = Runner(session.registry)
    seen: list[float] = []
    session.run(through("Slow"), report=Stopping(lambda _, fraction: seen.append(fraction)))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    steps = [data for kind, data in session.events if kind == "progress"]
    assert [(step["node"], step["value"], step["max"]) for step in steps] == [
        ("2", n, 10) for n in range(1, 11)
    ]


def test_a_cancel_stops_within_a_step_and_what_was_done_stays_known(session: Session) -> None:
    session.registry = extended(session.registry)
    session.runner = Runner(session.registry)

    def stop(stage: str, fraction: float) -> None:
        if stage == "Slow" and fraction > 0.5:
            raise Cancelled

    with pytest.raises(Cancelled):
        session.run(through("Slow"), report=Stopping(stop))
    assert [kind for kind, _ in session.events].count("progress") == 6
    assert session.run(through("Slow")).executed == ("2", "3")


def test_a_failing_node_is_named(session: Session) -> None:
    session.registry = extended(session.registry)
    session.runner = Runner(session.registry)
    with pytest.raises(EngineFailed, match=r"node 2 \(Broken\): ZeroDivisionError: by zero") as caught:
        session.run(through("Broken"))
    assert caught.value.facts == {"node_id": "2", "node_type": "Broken", "executed": ["1"]}


def test_no_node_can_change_what_others_get(session: Session) -> None:
    @node("Rude", link("image", "IMAGE"), outputs="IMAGE")
    def rude(image: np.ndarray) -> np.ndarray:
        image[:] = 0
        return image

    session.registry = Registry(nodes={**session.registry.nodes, "Rude": rude})
    session.runner = Runner(session.registry)
    with pytest.raises(EngineFailed, match="read-only"):
        session.run(through("Rude"))


def test_saved_files_are_numbered_on_and_stay_in_their_folder(session: Session) -> None:
    graph = through("ImageScaleBy")
    graph["2"] = {
        "class_type": "ImageScaleBy",
        "inputs": {"image": ["1", 0], "upscale_method": "area", "scale_by": 0.5},
    }
    graph["3"] = {
        "class_type": "SaveImage",
        "inputs": {"images": ["2", 0], "filename_prefix": "%width%x%height%"},
    }
    folder = session.context.output_dir
    folder.mkdir()
    (folder / "48x32_00007_.png").touch()
    assert session.run(graph).shown["3"]["images"][0]["filename"] == "48x32_00008_.png"
    graph["3"]["inputs"]["filename_prefix"] = "../out"  # type: ignore[index]
    with pytest.raises(Exception, match="leads out of the output folder"):
        session.run(graph)
    assert not Path(folder.parent / "out_00001_.png").exists()
