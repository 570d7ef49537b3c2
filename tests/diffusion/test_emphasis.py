"""Prompts are taken apart as A1111 and ComfyUI take them apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reknit.diffusion.emphasis import parse


def pairs(prompt: str, dialect: str = "a1111") -> list[tuple[str | None, float]]:
    return [(part.text, part.weight) for part in parse(prompt, dialect).fragments]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("normal text", [("normal text", 1.0)]),
        ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
        ("(unbalanced", [("unbalanced", 1.1)]),
        (r"\(literal\]", [("(literal]", 1.0)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [
                ("a ", 1.0),
                ("house", 1.5730000000000004),
                (" ", 1.1),
                ("on", 1.0),
                (" a ", 1.1),
                ("hill", 0.55),
                (", sun, ", 1.1),
                ("sky", 1.4641000000000006),
                (".", 1.1),
            ],
        ),
        ("", [("", 1.0)]),
        ("[dim]", [("dim", 1 / 1.1)]),
        ("one BREAK two", [("one", 1.0), (None, 1.0), ("two", 1.0)]),
        ("BREAKFAST", [("BREAKFAST", 1.0)]),
        ("time: noon) :]", [("time: noon) :]", 1.0)]),
        ("back\\slash", [("back\\slash", 1.0)]),
    ],
)
def test_weights_of_a1111(prompt: str, expected: list[tuple[str | None, float]]) -> None:
    assert pairs(prompt) == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a (b:1.3) (c) [d]", [("a ", 1.0), ("b", 1.3), (" ", 1.0), ("c", 1.1), (" [d]", 1.0)]),
        ("((a:1.2) b:0.5)", [("a", 1.2), (" b", 0.5)]),
        (r"\(x\)", [("(x)", 1.0)]),
        ("x BREAK <lora:y:1>", [("x BREAK <lora:y:1>", 1.0)]),
    ],
)
def test_weights_of_comfyui(prompt: str, expected: list[tuple[str | None, float]]) -> None:
    assert pairs(prompt, "comfyui") == expected


def test_tags_leave_the_text() -> None:
    parsed = parse("a <lora:ink:0.8>cat<lora:more> <hypernet:x:1> (<lora:te.st:-1:0.5>)")
    assert parsed.loras == (("ink", 0.8), ("more", 1.0), ("te.st", -1.0))
    assert parsed.ignored == ("<hypernet:x:1>",)
    assert parsed.text == "a cat  "
    assert parse("<lora:x:much>").ignored == ("<lora:x:much>",)


@given(st.text(alphabet="ab ()[]:.\\1<>", max_size=40))
def test_every_prompt_can_be_taken_apart(prompt: str) -> None:
    for dialect in ("a1111", "comfyui"):
        parsed = parse(prompt, dialect)  # type: ignore[arg-type]
        assert parsed.fragments
        assert "a" not in prompt.replace("<", "").replace(">", "") or "<" in prompt or "a" in parsed.text
