"""What a prompt says besides its words: weights, breaks and networks to load.

The syntax is A1111's: ``(word)`` is worth 1.1, ``[word]`` 1/1.1, ``(word:1.3)`` 1.3; they nest and multiply; a
backslash takes a bracket literally; ``BREAK`` begins a new chunk of 75 tokens; ``<lora:name:0.8>`` asks for a LoRA and
is no text. ComfyUI's form of it knows round brackets only. Nothing here knows a tokenizer or a tensor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Dialect = Literal["a1111", "comfyui"]

_ROUND, _SQUARE = 1.1, 1 / 1.1
_TAG = re.compile(r"<(\w+):([^<>]+)>")
_BREAK = re.compile(r"\s*\bBREAK\b\s*")
_A1111 = re.compile(r"\\[\\()\[\]]|\\|\(|\[|:\s*([+-]?[.\d]+)\s*\)|\)|\]|[^\\()\[\]:]+|:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """Text of one weight; ``text`` is None where a new chunk begins."""

    text: str | None
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A prompt taken apart.

    Attributes
    ----------
    fragments : tuple of Fragment
        In the order of the text; neighbours of equal weight are joined.
    loras : tuple of (str, float)
        Names and weights of ``<lora:name:weight>`` tags; a weight that is missing is 1.
    ignored : tuple of str
        Other tags, which were taken out of the text and mean nothing here.
    """

    fragments: tuple[Fragment, ...]
    loras: tuple[tuple[str, float], ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The words alone, without weights and breaks."""
        return "".join(" " if part.text is None else part.text for part in self.fragments)

    @property
    def weighted(self) -> bool:
        """Whether any word has a weight other than 1."""
        return any(part.weight != 1.0 for part in self.fragments)


def parse(prompt: str, dialect: Dialect = "a1111") -> Parsed:
    """Take a prompt apart.

    Brackets that are never closed count as if they were closed at the end; closing ones that were never opened are
    text. No prompt is an error.

    Parameters
    ----------
    prompt
    dialect : {'a1111', 'comfyui'}
        ComfyUI's has no square brackets, no ``BREAK`` and no tags, and a weight that is written out replaces those
        of the brackets around it instead of multiplying them.
    """
    if dialect == "comfyui":
        return Parsed(fragments=_join(_comfyui(prompt, 1.0)))
    text, loras, ignored = _tags(prompt)
    return Parsed(fragments=_join(_a1111(text)), loras=loras, ignored=ignored)


def _tags(prompt: str) -> tuple[str, tuple[tuple[str, float], ...], tuple[str, ...]]:
    loras: list[tuple[str, float]] = []
    ignored: list[str] = []

    def take(match: re.Match[str]) -> str:
        name, _, weight = match[2].partition(":")
        try:
            number = float(weight.split(":")[0]) if weight else 1.0
        except ValueError:
            number = None
        if match[1] in ("lora", "lyco") and number is not None:
            loras.append((name, number))
        else:
            ignored.append(match[0])
        return ""

    return _TAG.sub(take, prompt), tuple(loras), tuple(ignored)


def _a1111(text: str) -> list[Fragment]:
    parts: list[tuple[str | None, float]] = []
    open_round: list[int] = []
    open_square: list[int] = []

    def weigh(start: int, factor: float) -> None:
        parts[start:] = [(word, weight * factor) for word, weight in parts[start:]]

    for match in _A1111.finditer(text):
        token, weight = match[0], match[1]
        if len(token) == 2 and token[0] == "\\":
            parts.append((token[1], 1.0))
        elif token == "(":
            open_round.append(len(parts))
        elif token == "[":
            open_square.append(len(parts))
        elif weight is not None and open_round and _is_number(weight):
            weigh(open_round.pop(), float(weight))
        elif token == ")" and open_round:
            weigh(open_round.pop(), _ROUND)
        elif token == "]" and open_square:
            weigh(open_square.pop(), _SQUARE)
        else:
            for index, piece in enumerate(_BREAK.split(token)):
                if index:
                    parts.append((None, 1.0))
                parts.append((piece, 1.0))
    for start in open_round:
        weigh(start, _ROUND)
    for start in open_square:
        weigh(start, _SQUARE)
    return [Fragment(text=word, weight=weight) for word, weight in parts]


def _comfyui(text: str, weight: float) -> list[Fragment]:
    fragments: list[Fragment] = []
    for piece in _top_level(text):
        if not (piece.startswith("(") and piece.endswith(")") and len(piece) > 1):
            fragments.append(Fragment(text=re.sub(r"\\([()])", r"\1", piece), weight=weight))
            continue
        inner, colon, number = piece[1:-1].rpartition(":")
        explicit = bool(colon) and bool(inner) and _is_number(number)
        fragments += _comfyui(
            inner if explicit else piece[1:-1], float(number) if explicit else weight * _ROUND
        )
    return fragments


def _top_level(text: str) -> list[str]:
    pieces: list[str] = []
    depth = begin = 0
    for at, sign in enumerate(text):
        if sign not in "()" or (at and text[at - 1] == "\\"):
            continue
        if sign == "(":
            if depth == 0:
                pieces.append(text[begin:at])
                begin = at
            depth += 1
        elif depth:
            depth -= 1
            if depth == 0:
                pieces.append(text[begin : at + 1])
                begin = at + 1
    return [piece for piece in (*pieces, text[begin:]) if piece]


def _join(fragments: list[Fragment]) -> tuple[Fragment, ...]:
    joined: list[Fragment] = []
    for part in fragments:
        last = joined[-1] if joined else None
        if part.text is None or last is None or last.text is None or last.weight != part.weight:
            if part.text != "":
                joined.append(part)
        else:
            joined[-1] = Fragment(text=last.text + part.text, weight=part.weight)
    return tuple(joined) or (Fragment(text=""),)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
