"""One description of every knob.

An `Option` names a value, its type, range, unit and help. Command-line flags, JSON schemas, the web form
and workflow widgets are derived from it, and every value that enters Reknit is checked by it. Nothing here
knows where a value comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from reknit.core.errors import InputError, nearest_name

Kind = Literal["int", "float", "bool", "choice", "text"]
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A named value with its type, range and help.

    Attributes
    ----------
    name : str
        Snake-case; the command line shows it with dashes.
    kind : {'int', 'float', 'bool', 'choice', 'text'}
    default : Any
        Must itself be valid, or None for "decided at run time".
    minimum, maximum : float or None
        Inclusive, for numbers.
    choices : tuple of str
        For ``kind='choice'``.
    unit : str
        Shown after the value, e.g. ``"px"``.
    names : {'', 'model', 'picture'}
        What of this machine the value may name by a path. Strangers, who ask over HTTP, may name models by their ids
        and pictures by those of their uploads, and no files.
    examples : tuple of str
        For text: values to offer; others are taken, too.
    help : str
        One sentence.
    """

    name: str
    kind: Kind
    default: Any
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    names: Literal["", "model", "picture"] = ""
    examples: tuple[str, ...] = ()

    def check(self, value: Any) -> Any:
        """Return ``value`` as this option's type, or raise `InputError`.

        Text is parsed (``"5"`` → 5), numbers are never rounded, bools are never numbers.
        """
        if value is None:
            return self._none()
        parsed = self._parse(value)
        if self.kind in ("int", "float"):
            low, high = self.minimum, self.maximum
            if parsed != parsed or (low is not None and parsed < low) or (high is not None and parsed > high):
                raise self._wrong(value, f"between {self._show(low)} and {self._show(high)}")
        if self.kind == "choice" and parsed not in self.choices:
            raise InputError(
                f"{self.name}: {value!r} is not a choice",
                code="option.value",
                hint=nearest_name(str(value), self.choices),
                option=self.name,
            )
        return parsed

    def _none(self) -> None:
        if self.default is not None:
            raise self._wrong(None, f"a value of type {self.kind}")

    def _parse(self, value: Any) -> Any:
        if self.kind in ("choice", "text"):
            if not isinstance(value, str):
                raise self._wrong(value, "text")
            return value
        if self.kind == "bool":
            word = str(value).lower() if isinstance(value, (str, bool)) else ""
            if word in _TRUE | _FALSE:
                return word in _TRUE
            raise self._wrong(value, "true or false")
        kind = int if self.kind == "int" else float
        try:
            if isinstance(value, bool):
                raise ValueError
            number = kind(value)
            if isinstance(value, float) and number != value:
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            raise self._wrong(value, "a whole number" if self.kind == "int" else "a number") from None
        return number

    def _wrong(self, value: Any, expected: str) -> InputError:
        of = " of" if expected.endswith("number") else ""
        unit = f"{of} {self.unit}" if self.unit else ""
        return InputError(
            f"{self.name} must be {expected}{unit}, not {value!r}",
            code="option.value",
            hint=self.help,
            option=self.name,
        )

    @staticmethod
    def _show(limit: float | None) -> str:
        return "any number" if limit is None else f"{limit:g}"

    def schema(self) -> dict[str, Any]:
        """Return this option as a JSON-schema property."""
        types = {"int": "integer", "float": "number", "bool": "boolean", "choice": "string", "text": "string"}
        out: dict[str, Any] = {"type": types[self.kind], "description": self.help, "default": self.default}
        if self.choices:
            out["enum"] = list(self.choices)
        if self.minimum is not None:
            out["minimum"] = self.minimum
        if self.maximum is not None:
            out["maximum"] = self.maximum
        if self.unit:
            out["x-unit"] = self.unit
        if self.names:
            out["x-names"] = self.names
        if self.examples:
            out["examples"] = list(self.examples)
        return out


def check_all(options: Iterable[Option], given: Mapping[str, Any], *, owner: str) -> dict[str, Any]:
    """Return every option's value: the given one, checked, or the default.

    Raises `InputError` (``option.unknown``) for a name that no option has, naming the nearest one.
    """
    known = {option.name: option for option in options}
    for name in given:
        if name not in known:
            raise InputError(
                f"{owner} has no option {name!r}",
                code="option.unknown",
                hint=nearest_name(name, known) if known else f"{owner} takes no options",
                option=name,
            )
    return {name: o.check(given[name]) if name in given else o.default for name, o in known.items()}
