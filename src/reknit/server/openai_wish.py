"""What a request in OpenAI's dialect asks for: its fields read and checked, before anything is decoded or queued.

What is out of range is told as their service tells it: the field, and a code of theirs. It knows no job and no pixels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reknit.core.codec import Limits
from reknit.core.errors import ReknitError
from reknit.engines.diffusion_defaults import LEAST_PX
from reknit.server.offers import Offer

FORMATS = ("png", "jpeg", "webp")
MAX_N = 10
MAX_PARTIAL = 3
MIN_SIDE, MAX_SIDE = LEAST_PX, 8192
MAX_PROMPT = 32_000
CHOICES: Mapping[str, tuple[str, ...]] = {
    "background": ("auto", "opaque", "transparent"),
    "input_fidelity": ("high", "low"),
    "moderation": ("auto", "low"),
    "quality": ("auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"),
    "style": ("natural", "vivid"),
}
"""Fields that have no effect here; a value that is none of theirs is refused all the same."""


class Complaint(ReknitError):
    """A wrong request, in OpenAI's words: which field is wrong, and why."""

    def __init__(self, message: str, *, param: str | None, why: str, status: int = 400) -> None:
        super().__init__(message, code="request.value")
        self.param = param
        self.why = why
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a request asks for, whatever form it came in."""

    prompt: str
    model: str | None = None
    n: int = 1
    size: tuple[int, int] | None = None
    as_url: bool = False
    output_format: str = "png"
    quality: int | None = None
    stream: bool = False
    partial_images: int = 0
    seed: int = -1
    engine: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def params(self, offer: Offer) -> dict[str, Any]:
        """Return the engine's options; what it has no option for is left out."""
        return offer.params({"prompt": self.prompt, **self.engine})


def wish_of(given: Mapping[str, Any], limits: Limits) -> Wish:
    """Return what the fields of a request ask for; text and numbers are the same, as forms know text only.

    Raises
    ------
    Complaint
        A field is missing, of a wrong kind, or out of its range; a size is beyond ``limits``.
    """
    prompt = given.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise Complaint("the field 'prompt' is missing", param="prompt", why="missing_required_parameter")
    if len(prompt) > MAX_PROMPT:
        raise Complaint("the prompt is too long", param="prompt", why="string_above_max_length")
    for name, known in CHOICES.items():
        _choice(given, name, known)
    output = _choice(given, "output_format", FORMATS)
    compression = _number(given, "output_compression", 100, 0, 100)
    engine: dict[str, Any] = {
        name: _number(given, name, None, low, high, kind)
        for name, low, high, kind in (
            ("steps", 1, 1000, int),
            ("strength", 0, 1, float),
            ("guidance", 0, 100, float),
        )
        if given.get(name) is not None
    }
    if given.get("negative_prompt"):
        engine["negative_prompt"] = str(given["negative_prompt"])
    return Wish(
        prompt=prompt,
        model=None if given.get("model") is None else str(given["model"]),
        n=_number(given, "n", 1, 1, MAX_N),
        size=_size(given.get("size"), limits),
        as_url=_choice(given, "response_format", ("b64_json", "url")) == "url",
        output_format=output,
        quality=None if output == "png" else max(1, compression),
        stream=_flag(given, "stream"),
        partial_images=_number(given, "partial_images", 0, 0, MAX_PARTIAL),
        seed=_number(given, "seed", -1, -1, 2**32 - 1),
        engine=engine,
    )


def _choice(given: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
    """Return which of ``known`` a field is, the first where it is not given."""
    value = given.get(name)
    if value in (None, ""):
        return known[0]
    if not isinstance(value, str) or value.lower() not in known:
        raise Complaint(f"{name} is one of {', '.join(known)}", param=name, why="invalid_value")
    return value.lower()


def _number(
    given: Mapping[str, Any],
    name: str,
    usual: Any,
    low: float,
    high: float,
    kind: type[int] | type[float] = int,
) -> Any:
    value = given.get(name)
    if value is None or value == "":
        return usual
    try:
        number = kind(value)
        if isinstance(value, float) and number != value:
            raise ValueError("no whole number")
    except (TypeError, ValueError, OverflowError):
        raise Complaint(
            f"{name} must be a {'whole number' if kind is int else 'number'}, not {str(value)[:100]!r}",
            param=name,
            why="invalid_type",
        ) from None
    if isinstance(value, bool) or not low <= number <= high:
        raise Complaint(f"{name} must be {low} to {high}", param=name, why="invalid_value")
    return number


def _flag(given: Mapping[str, Any], name: str) -> bool:
    value = given.get(name)
    if value in (None, "", False, "false", "0"):
        return False
    if value in (True, "true", "1"):
        return True
    raise Complaint(f"{name} must be true or false", param=name, why="invalid_type")


def _size(text: Any, limits: Limits) -> tuple[int, int] | None:
    """Return width and height; None for the picture's own."""
    if text in (None, "", "auto"):
        return None
    found = re.fullmatch(r"([0-9]{1,9})x([0-9]{1,9})", str(text))
    if not found:
        said = f"size is WIDTHxHEIGHT, such as 1024x1024, or auto; not {str(text)[:100]!r}"
        raise Complaint(said, param="size", why="invalid_value")
    width, height = int(found[1]), int(found[2])
    most = min(MAX_SIDE, limits.max_side)
    if not (min(width, height) >= MIN_SIDE and max(width, height) <= most):
        said = f"the sides of size must be {MIN_SIDE} to {most} px, not {width}x{height}"
        raise Complaint(said, param="size", why="invalid_value")
    if width * height > limits.max_pixels:
        said = f"size must be at most {limits.max_pixels:,} pixels, not {width}x{height}"
        raise Complaint(said, param="size", why="invalid_value")
    return width, height
