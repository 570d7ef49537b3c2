"""Reading graphs: API JSON, the page's JSON, PNG files that carry them, and what is none of these."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from reknit.core.errors import InputError
from reknit.workflow.graph import Graph, Link, ancestors, of_api, read
from reknit.workflow.node import Registry
from tests.workflow.conftest import api

API = api(
    n1=("LoadImageMask", {"image": "mask.png", "channel": "red"}),
    n2=("GrowMask", {"mask": ["1", 0], "expand": 4, "tapered_corners": False}),
    n3=("MaskToImage", {"mask": ["2", 0]}),
    n4=("PreviewImage", {"images": ["3", 0]}),
)


def page(*nodes: dict[str, Any], links: list[Any]) -> dict[str, Any]:
    return {"last_node_id": 9, "nodes": list(nodes), "links": links, "version": 0.4}


def one(
    name: int, kind: str, *links: tuple[str, int | None], values: Any = (), mode: int = 0, **more: Any
) -> Any:
    inputs = [{"name": key, "type": more.get("type", "MASK"), "link": value} for key, value in links]
    return {"id": name, "type": kind, "mode": mode, "inputs": inputs, "outputs": [], "widgets_values": values}


PAGE = page(
    one(1, "LoadImageMask", values=["mask.png", "red", "image"]),
    one(2, "GrowMask", ("mask", 11), values=[4, False]),
    one(3, "MaskToImage", ("mask", 12)),
    one(4, "PreviewImage", ("images", 13)),
    one(5, "Note", values=["hello"]),
    links=[[11, 1, 0, 2, 0, "MASK"], [12, 2, 0, 3, 0, "MASK"], [13, 3, 0, 4, 0, "IMAGE"]],
)


def inputs(graph: Graph) -> dict[str, Any]:
    return {node.id: (node.kind, dict(node.inputs)) for node in graph.nodes.values()}


@pytest.mark.parametrize("wrapped", [False, True])
def test_both_forms_are_the_same_graph(registry: Registry, wrapped: bool) -> None:
    graph = read(json.dumps({"prompt": API} if wrapped else API), registry)
    assert graph.nodes["2"].inputs == {"mask": Link(node="1", slot=0), "expand": 4, "tapered_corners": False}
    assert inputs(read(json.dumps(PAGE).encode(), registry)) == inputs(graph)
    assert inputs(of_api(graph.to_dict())) == inputs(graph)


@pytest.mark.parametrize("key", ["prompt", "workflow"])
def test_a_png_carries_a_graph(registry: Registry, tmp_path: Path, key: str) -> None:
    entries = PngImagePlugin.PngInfo()
    entries.add_text(key, json.dumps(API if key == "prompt" else PAGE))
    Image.new("RGB", (4, 4)).save(tmp_path / "made.png", pnginfo=entries)
    assert inputs(read(tmp_path / "made.png", registry)) == inputs(of_api(API))
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.png")
    with pytest.raises(InputError, match="carries no workflow"):
        read(tmp_path / "plain.png", registry)


def test_muted_bypassed_and_rerouted_nodes(registry: Registry) -> None:
    data = page(
        one(1, "LoadImageMask", values=["mask.png", "red"]),
        one(2, "GrowMask", ("mask", 11), values=[4, False], mode=4),
        one(6, "Reroute", ("", 12), type="*"),
        one(7, "InvertMask", ("mask", 14), mode=2),
        one(3, "MaskToImage", ("mask", 15)),
        one(8, "MaskToImage", ("mask", 16)),
        links=[
            [11, 1, 0, 2, 0, "MASK"],
            [12, 2, 0, 6, 0, "MASK"],
            [15, 6, 0, 3, 0, "MASK"],
            [14, 1, 0, 7, 0, "MASK"],
            [16, 7, 0, 8, 0, "MASK"],
        ],
    )
    found = inputs(read(json.dumps(data), registry))
    assert set(found) == {"1", "3", "8"}
    assert found["3"] == ("MaskToImage", {"mask": Link(node="1", slot=0)})
    assert found["8"] == ("MaskToImage", {})


def test_a_seed_is_followed_by_how_it_changes_and_a_primitive_gives_its_value(registry: Registry) -> None:
    fill = one(1, "ReknitFill", ("grow", 21), values=["exemplar", 7, "randomize", 2.0, -1.0, "quality=draft"])
    fill["inputs"][0]["widget"] = {"name": "grow"}
    data = page(fill, one(2, "PrimitiveNode", values=[5.5, "fixed"]), links=[[21, 2, 0, 1, 2, "FLOAT"]])
    assert inputs(read(json.dumps(data), registry))["1"][1] == {
        "engine": "exemplar",
        "seed": 7,
        "grow": 5.5,
        "feather": -1.0,
        "params": "quality=draft",
    }


def test_newer_files_write_links_as_objects_and_values_by_name(registry: Registry) -> None:
    data = page(
        one(1, "LoadImageMask", values={"image": "mask.png", "channel": "red"}),
        one(2, "InvertMask", ("mask", 11)),
        links=[
            {"id": 11, "origin_id": 1, "origin_slot": 0, "target_id": 2, "target_slot": 0, "type": "MASK"}
        ],
    )
    assert inputs(read(json.dumps(data), registry))["2"][1] == {"mask": Link(node="1", slot=0)}


@pytest.mark.parametrize(
    "data", ["", "{", "[]", "{}", "3", '{"a": 3}', '{"nodes": [], "definitions": null}', "[" * 100_000]
)
def test_what_is_no_graph_is_refused(registry: Registry, data: str) -> None:
    if '"nodes"' in data:
        assert read(data, registry).nodes == {}
        return
    with pytest.raises(InputError) as caught:
        read(data, registry)
    assert caught.value.code == "workflow.form"


def test_subgraphs_are_refused_with_the_way_out(registry: Registry) -> None:
    data = page(one(1, "abc"), links=[]) | {"definitions": {"subgraphs": [{"id": "abc"}]}}
    with pytest.raises(InputError) as caught:
        read(json.dumps(data), registry)
    assert "Export (API)" in caught.value.hint


def test_values_that_are_lists_are_wrapped() -> None:
    graph = of_api(api(n1=("X", {"values": {"__value__": ["1", 0]}})))
    assert graph.nodes["1"].inputs == {"values": ("1", 0)}
    assert graph.to_dict()["1"]["inputs"] == {"values": {"__value__": ["1", 0]}}


def test_changes_name_a_node_that_exists() -> None:
    graph = of_api(API).with_values({("2", "expand"): 9})
    assert graph.nodes["2"].inputs["expand"] == 9
    with pytest.raises(InputError, match="no node 7"):
        graph.with_values({("7", "seed"): 1})


def test_what_a_node_needs_comes_before_it() -> None:
    data = api(
        n1=("A", {}), n2=("B", {"a": ["1", 0]}), n3=("C", {"a": ["1", 0], "b": ["2", 0]}), n4=("D", {})
    )
    assert list(ancestors(of_api(data), ["3"])) == ["1", "2", "3"]
    ring = api(n1=("A", {"x": ["2", 0]}), n2=("B", {"x": ["1", 0]}))
    assert set(ancestors(of_api(ring), ["1"])) == {"1", "2"}
