"""One description of every knob: the API's fields agree with the options of the command line and the engines."""

import json
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from reknit.core.errors import InputError
from reknit.core.request import FILL_OPTIONS
from reknit.diffusion import control_pictures
from reknit.engines import registry
from reknit.engines.diffusion import DIFFUSION
from reknit.pipeline import canvas, defects
from reknit.server.problem import of_validation
from reknit.server.schemas import ExtendBody, FillBody, RepairBody, engine_out, option_out

ID = "ab" * 32
FILL = {"image": ID, "mask": ID}
KINDS = {"int": "integer", "float": "number", "bool": "boolean", "text": "string", "choice": "string"}
SHARED = [(FillBody, FILL_OPTIONS), (ExtendBody, [o for o in canvas.OPTIONS if o.name not in ("kinds",)])]


@pytest.mark.parametrize(("body", "options"), SHARED, ids=lambda v: getattr(v, "__name__", ""))
def test_fields_agree_with_the_options(body: Any, options: Any) -> None:
    fields = body.model_json_schema()["properties"]
    for option in options:
        field = fields[option.name]
        kinds = {part.get("type") for part in field.get("anyOf", [field])}
        assert KINDS[option.kind] in kinds, option.name
        assert field["default"] == option.default
        assert field["description"] == option.help
        numbers = next(p for p in field.get("anyOf", [field]) if p.get("type") == KINDS[option.kind])
        assert (numbers.get("minimum"), numbers.get("maximum")) == (option.minimum, option.maximum)
        assert field.get("x-unit", "") == option.unit


@pytest.mark.parametrize("option", FILL_OPTIONS, ids=lambda o: o.name)
def test_the_same_values_are_refused_as_on_the_command_line(option: Any) -> None:
    values: list[Any] = [-2, -1, 0, 1, 65, 513, 65536, 2**32, 0.5, 1.5, True, "x", [], {}]
    for value in values:
        if isinstance(value, str) and option.kind == "text":
            continue
        try:
            option.check(value)
            ours = True
        except InputError:
            ours = False
        try:
            FillBody.model_validate({**FILL, option.name: value})
            theirs = True
        except ValidationError:
            theirs = False
        assert ours == theirs, (option.name, value)


def complaint(body: Any, given: Any) -> Any:
    with pytest.raises(ValidationError) as caught:
        body.model_validate(given)
    errors = [{**e, "loc": ("body", *e["loc"])} for e in caught.value.errors()]
    return of_validation(RequestValidationError(errors).errors())


@pytest.mark.parametrize(
    ("body", "given", "hint"),
    [
        (FillBody, {**FILL, "sead": 1}, "did you mean 'seed'?"),
        (FillBody, {"imge": ID}, "did you mean 'image'?"),
        (ExtendBody, {"image": ID, "rihgt": 5}, "did you mean 'right'?"),
        (RepairBody, {"image": ID, "sensitivty": 0.5}, "did you mean 'sensitivity'?"),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest_name(body: Any, given: Any, hint: str) -> None:
    problem = complaint(body, given)
    assert (problem.status, problem.code, problem.hint) == (400, "request.unknown-field", hint)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"image": "AB" * 32}, "request.value"),
        ({"image": "../../etc/passwd"}, "request.value"),
        ({"image": ID + "\n"}, "request.value"),
        ({"image": None}, "request.value"),
        ({"seed": "7"}, "request.value"),
        ({"seed": 7.5}, "request.value"),
        ({"seed": True}, "request.value"),
        ({"grow": float("nan")}, "request.value"),
        ({"grow": float("inf")}, "request.value"),
        ({"invert": 1}, "request.value"),
        ({"mask_from": "red"}, "request.value"),
        ({"params": {"quality": []}}, "request.value"),
        ({"params": {"quality": float("nan")}}, "request.value"),
        ({"params": {f"p{i}": 1 for i in range(101)}}, "request.value"),
        ({"engine": "x" * 201}, "request.value"),
        ({"engine": "\ud800"}, "request.value"),
        ({"params": {"\ud800": 1}}, "request.value"),
        ({"params": {"prompt": "\ud800"}}, "request.value"),
        ({"priority": 101}, "request.value"),
    ],
)
def test_nothing_is_converted(change: dict[str, Any], code: str) -> None:
    problem = complaint(FillBody, {**FILL, **change})
    assert (problem.status, problem.code) == (400, code)
    json.loads(problem.response().body)


def test_a_missing_field_is_named() -> None:
    problem = complaint(FillBody, {"image": ID})
    assert (problem.code, problem.facts) == ("request.missing-field", {"field": "mask", "in": "body"})


def test_a_body_that_is_no_object() -> None:
    for given in ([], 1, "x", None):
        assert complaint(FillBody, given).status == 400


def test_engines_tell_their_options_with_ranges() -> None:
    told = engine_out(registry.get("exemplar").spec)
    quality = next(option for option in told["options"] if option["name"] == "quality")
    assert quality["enum"] == ["draft", "normal", "best"]
    assert quality["default"] == "normal"
    assert quality["important"] is True
    painter = engine_out(DIFFUSION.spec)
    assert (painter["hurries"], told["hurries"]) == (True, False)
    followed = next(option for option in painter["options"] if option["name"] == "control_image")
    assert (followed["x-names"], followed["examples"]) == ("picture", list(control_pictures.MADE))
    grow = option_out(next(o for o in FILL_OPTIONS if o.name == "grow"))
    assert (grow["x-unit"], grow["minimum"], grow["maximum"]) == ("px", 0, 512)


def test_repair_knows_the_kinds_of_damage_there_are() -> None:
    field = RepairBody.model_json_schema()["properties"]["kinds"]
    assert tuple(field["items"]["enum"]) == defects.KINDS
    assert tuple(field["default"]) == defects.KINDS
