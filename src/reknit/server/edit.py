"""`Edit`: how an edited picture is made from the one before it, as a small JSON document.

The document names the picture before, a lossless patch and its place, and the facts that a listing needs, so
that nothing has to be decoded to show a history. Its own SHA-256 is the edited picture's identifier. Reading
checks every field; it knows no pixels and no files.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from reknit.core.errors import ExternalError
from reknit.core.geometry import Box, Size

MAGIC = b'{"reknit":"picture",'
"""How every document begins. No picture file does."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is told about a picture without looking at its pixels.

    Attributes
    ----------
    width, height, bits : int
    alpha, grey : bool
    container : str
        Of the file that was uploaded.
    bytes : int
        Of what is stored for this picture: the file, or the patch.
    name : str
        The file's name, as its owner called it; only ever shown.
    notes : tuple of str
        What decoding had to change.
    """

    width: int
    height: int
    bits: int
    alpha: bool
    grey: bool
    container: str
    bytes: int
    name: str
    notes: tuple[str, ...]

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        return Size(width=self.width, height=self.height)

    @staticmethod
    def of(values: Any) -> Facts:
        """Return the facts in a JSON object; raises ValueError, TypeError or KeyError."""
        numbers = [values[key] for key in ("width", "height", "bits", "bytes")]
        flags = [values[key] for key in ("alpha", "grey")]
        words: list[Any] = [values["container"], values["name"], *values["notes"]]
        if not (_are(numbers, int) and _are(flags, bool) and _are(words, str)):
            raise ValueError("not facts")
        width, height, bits, size = numbers
        Size(width=width, height=height)
        return Facts(
            width=width,
            height=height,
            bits=bits,
            alpha=flags[0],
            grey=flags[1],
            container=words[0],
            bytes=size,
            name=words[1],
            notes=tuple(words[2:]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """An edit.

    Attributes
    ----------
    parent, original, patch : str
        The picture before this one, the uploaded file it all began with, and the patch: SHA-256 in hex.
    box : Box
        Where the patch lies in this picture.
    at : tuple of (int, int)
        Where the parent lies in this picture.
    parent_on_top : bool
        The canvas has grown: the patch holds nothing where the parent lies, and the parent is laid over it.
    facts : Facts
    """

    parent: str
    original: str
    patch: str
    box: Box
    at: tuple[int, int]
    parent_on_top: bool
    facts: Facts

    @property
    def size(self) -> Size:
        """Width and height of this picture."""
        return self.facts.size

    def to_bytes(self) -> bytes:
        """Return the document: the same edit gives the same bytes."""
        values = {
            "reknit": "picture",
            "version": 1,
            "parent": self.parent,
            "original": self.original,
            "patch": self.patch,
            "box": corners(self.box),
            "at": list(self.at),
            "parent_on_top": self.parent_on_top,
            "facts": asdict(self.facts),
        }
        return json.dumps(values, ensure_ascii=True, separators=(",", ":")).encode("ascii")

    @staticmethod
    def from_bytes(data: bytes, name: str) -> Edit:
        """Return the edit in a document.

        Raises
        ------
        ExternalError
            ``picture.broken``: the document is not one that this version wrote.
        """
        try:
            values = json.loads(data)
            digests = [values[key] for key in ("parent", "original", "patch")]
            if values["reknit"] != "picture" or values["version"] != 1:
                raise ValueError("another version")
            if not _are(digests, str) or not all(_DIGEST.fullmatch(d) for d in digests):
                raise ValueError("a name is not a SHA-256")
            (x0, y0, x1, y1), (left, top) = values["box"], values["at"]
            if not _are([x0, y0, x1, y1, left, top], int):
                raise ValueError("not a whole number")
            edit = Edit(
                parent=digests[0],
                original=digests[1],
                patch=digests[2],
                box=Box(x0=x0, y0=y0, x1=x1, y1=y1),
                at=(left, top),
                parent_on_top=values["parent_on_top"] is True,
                facts=Facts.of(values["facts"]),
            )
            if not Box.whole(edit.size).contains(edit.box) or min(edit.at) < 0:
                raise ValueError("a place outside the picture")
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise broken(name, f"its document cannot be read ({error})") from error
        return edit


def _are(values: list[Any], kind: type) -> bool:
    return all(type(value) is kind for value in values)


def broken(name: str, why: str) -> ExternalError:
    """Return the error for a stored picture that cannot be put together."""
    return ExternalError(
        f"picture {name[:12]} is damaged: {why}",
        code="picture.broken",
        hint="upload the original again and repeat the edit",
        picture=name,
    )


def corners(box: Box) -> list[int]:
    """Return ``[x0, y0, x1, y1]``."""
    return [box.x0, box.y0, box.x1, box.y1]
