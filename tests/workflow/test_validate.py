"""What is wrong with a graph, in ComfyUI's error types, all at once."""

from typing import Any

import pytest

from reknit.workflow.context import Context
from reknit.workflow.graph import of_api
from reknit.workflow.node import Registry
from reknit.workflow.validate import Verdict, check
from tests.workflow.conftest import api


@pytest.fixture
def judge(registry: Registry, context: Context) -> Any:
    return lambda data: check(of_api(data), registry, context)


def good(**inputs: Any) -> dict[str, Any]:
    return api(
        n1=("LoadImageMask", {"image": "mask.png", "channel": "red"}),
        n2=("GrowMask", {"mask": ["1", 0], "expand": 1, "tapered_corners": True} | inputs),
        n3=("MaskToImage", {"mask": ["2", 0]}),
        n4=("PreviewImage", {"images": ["3", 0]}),
    )


def faults(verdict: Verdict, node: str = "2") -> list[str]:
    return [fault["type"] for fault in verdict.node_errors[node]["errors"]]


def test_a_graph_that_is_right(judge: Any) -> None:
    verdict = judge(good())
    assert (verdict.error, verdict.node_errors, verdict.outputs) == (None, {}, ("4",))


@pytest.mark.parametrize(
    ("inputs", "fault", "details"),
    [
        ({"expand": "x"}, "invalid_input_type", "expand, x"),
        ({"expand": None}, "invalid_input_type", "expand, None"),
        ({"expand": -16385}, "value_smaller_than_min", "expand"),
        ({"expand": 20000}, "value_bigger_than_max", "expand"),
        ({"mask": ["9", 0]}, "bad_linked_input", "mask"),
        ({"mask": ["1", 5]}, "bad_linked_input", "mask"),
        ({"mask": ["1"]}, "bad_linked_input", "mask"),
        ({"mask": [1, 0]}, "bad_linked_input", "mask"),
        ({"mask": 3}, "bad_linked_input", "mask"),
        ({"mask": ["3", 0]}, "return_type_mismatch", "mask, received_type(IMAGE) mismatch input_type(MASK)"),
    ],
)
def test_each_fault_has_comfyuis_type(judge: Any, inputs: dict[str, Any], fault: str, details: str) -> None:
    verdict = judge(good(**inputs))
    [found] = [one for one in verdict.node_errors["2"]["errors"] if one["type"] != "dependency_cycle"]
    assert found["type"] == fault
    assert details in found["details"]
    assert found["extra_info"]["input_name"] == next(iter(inputs))
    assert verdict.node_errors["2"]["dependent_outputs"] == ["4"]
    assert verdict.node_errors["2"]["class_type"] == "GrowMask"
    assert verdict.error["type"] == "prompt_outputs_failed_validation"


def test_numbers_in_text_are_numbers_and_what_is_unknown_is_left_alone(judge: Any) -> None:
    verdict = judge(good(expand="5", unknown=["not", "a", "link"]))
    assert verdict.error is None
    assert verdict.graph.nodes["2"].inputs["expand"] == 5


def test_a_missing_input_a_wrong_word_and_a_missing_file_come_together(judge: Any) -> None:
    data = good()
    del data["2"]["inputs"]["mask"]
    data["1"]["inputs"]["channel"] = "violet"
    data["3"]["inputs"]["mask"] = ["1", 0]
    data |= api(
        n5=("MaskToImage", {"mask": ["2", 0]}),
        n6=("PreviewImage", {"images": ["5", 0]}),
        n7=("LoadImage", {"image": "../secret.png"}),
        n8=("PreviewImage", {"images": ["7", 0]}),
    )
    verdict = judge(data)
    assert faults(verdict, "1") == ["value_not_in_list"]
    assert "channel: 'violet' not in ['alpha'" in verdict.node_errors["1"]["errors"][0]["details"]
    assert faults(verdict, "2") == ["required_input_missing"]
    assert faults(verdict, "7") == ["custom_validation_failed"]
    assert verdict.node_errors["7"]["errors"][0]["details"] == "image - Invalid image file: ../secret.png"
    assert len(verdict.lines()) == 3


def test_what_is_right_can_run_beside_what_is_wrong(judge: Any) -> None:
    data = good() | api(n8=("PreviewImage", {"images": ["9", 0]}))
    verdict = judge(data)
    assert (verdict.outputs, verdict.error, set(verdict.node_errors)) == (("4",), None, {"8"})


def test_only_what_an_output_needs_is_looked_at(judge: Any) -> None:
    assert judge(good() | api(n8=("GrowMask", {}))).error is None


def test_unknown_classes_are_all_named(judge: Any) -> None:
    data = good() | {
        "5": {"class_type": "Nowhere", "inputs": {}, "_meta": {"title": "My node"}},
        "6": {"inputs": {}},
    }
    verdict = judge(data)
    assert verdict.error["type"] == "missing_node_type"
    assert verdict.error["extra_info"] == {"node_id": "5", "class_type": "Nowhere", "node_title": "My node"}
    assert faults(verdict, "5") == ["missing_node_type"]
    assert faults(verdict, "6") == ["missing_node_type"]


def test_no_outputs(judge: Any) -> None:
    data = good()
    del data["4"]
    assert judge(data).error["type"] == "prompt_no_outputs"


def test_a_ring_is_found(judge: Any) -> None:
    data = good(mask=["5", 0]) | api(n5=("InvertMask", {"mask": ["2", 0]}))
    verdict = judge(data)
    assert set(verdict.node_errors) == {"2", "5"}
    assert faults(verdict) == ["dependency_cycle"]
