"""The ``parameters`` text that AUTOMATIC1111's web UI writes into pictures, and other programs read.

Three parts: the prompt, a line ``Negative prompt: …``, and a last line of ``Key: value`` pairs, whose values are
JSON strings where they hold a comma, a colon or a line break. This module turns a mapping into such a text and
such a text into a mapping; it knows no engine, no file and no option of Reknit's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

KEY = "parameters"
"""The key of a PNG text entry that holds it."""

_NEGATIVE = "Negative prompt:"
_LEAST_PAIRS = 3  # a last line with fewer is part of the prompt
_QUOTED = ',:\n"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What a ``parameters`` text says.

    Attributes
    ----------
    prompt, negative_prompt : str
    values : mapping of str to str
        The pairs of its last line, in order: ``Steps``, ``Sampler``, ``CFG scale``, ``Seed``, ….
    """

    prompt: str = ""
    negative_prompt: str = ""
    values: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def write(parameters: Parameters) -> str:
    """Return the text; pairs with an empty value are left out."""
    lines = [parameters.prompt] if parameters.prompt else []
    if parameters.negative_prompt:
        lines.append(f"{_NEGATIVE} {parameters.negative_prompt}")
    pairs = (f"{key}: {_quoted(value)}" for key, value in parameters.values.items() if value)
    return "\n".join([*lines, ", ".join(pairs)])


def parse(text: str) -> Parameters:
    """Return what a text says; one without pairs is all prompt."""
    *lines, last = text.strip().split("\n")
    values = _pairs(last)
    if len(values) < _LEAST_PAIRS:
        lines, values = [*lines, last], {}
    prompt: list[str] = []
    negative: list[str] = []
    here = prompt
    for line in (line.strip() for line in lines):
        if line.startswith(_NEGATIVE):
            here, line = negative, line.removeprefix(_NEGATIVE).strip()
        here.append(line)
    return Parameters(
        prompt="\n".join(prompt).strip(),
        negative_prompt="\n".join(negative).strip(),
        values=MappingProxyType(values),
    )


def hashes(used: Mapping[str, str]) -> str:
    """Return names with the first twelve digits of their SHA-256, as the value of ``TI hashes``."""
    plain = {name.replace(":", "").replace(",", ""): sha256[:12] for name, sha256 in used.items()}
    return ", ".join(f"{name}: {digits}" for name, digits in plain.items())


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(sign in value for sign in _QUOTED) else value


def _pairs(line: str) -> dict[str, str]:
    """Return the pairs of a line; what is no pair is passed over."""
    pairs: dict[str, str] = {}
    at = 0
    while at < len(line):
        colon = line.find(":", at)
        if colon < 0:
            break
        key = line[at:colon].rpartition(",")[2].strip()
        at = colon + 1
        while at < len(line) and line[at] == " ":
            at += 1
        value, at = _value(line, at)
        if key and all(sign.isalnum() or sign in " -_/." for sign in key):
            pairs[key] = value
    return pairs


def _value(line: str, at: int) -> tuple[str, int]:
    """Return the value that begins at ``at``, and where the next pair begins."""
    if line[at : at + 1] == '"':
        try:
            value, end = json.JSONDecoder().raw_decode(line, at)
        except ValueError:
            pass
        else:
            return str(value), end + 1
    comma = line.find(",", at)
    end = len(line) if comma < 0 else comma
    return line[at:end].strip(), end + 1
