"""Where the two texts that Reknit writes into pictures lie in containers without text entries of their own.

``parameters`` goes into EXIF's user comment, as AUTOMATIC1111 writes it and others read it; ``reknit``, which may be
longer than EXIF can be, into a place that each container has for what only one program knows: APP15 segments of
JPEG, a chunk of WebP, a private tag of TIFF, a box of AVIF. PNG has text entries and needs none of this. What the
texts mean is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from reknit.core import exif
from reknit.core.image import Metadata
from reknit.core.parameters import KEY as PARAMETERS
from reknit.core.parameters import parse

RECIPE = "reknit"
"""The key of the text that holds a recipe."""

KEYS = (PARAMETERS, RECIPE)
TIFF_TAG = 65111
"""Of the tags that anyone may use."""

WEBP_CHUNK = b"RKNT"
AVIF_BOX = bytes.fromhex("52454b4e49540001b6a3f1c92d5e4780")
"""The name of a box that holds a recipe: ISO/IEC 14496-12's ``uuid``."""

_JPEG = b"Reknit\0"
_JPEG_ROOM = 65_533 - len(_JPEG) - 4
_EXIF_ROOM = 65_500
"""An EXIF block has to fit into one segment of a JPEG file."""


def written(metadata: Metadata) -> tuple[Metadata, tuple[str, ...]]:
    """Return metadata with ``parameters`` as EXIF's user comment, and notes; its other bytes stay as they are.

    A comment that a person wrote is never replaced.
    """
    text = dict(metadata.text).get(PARAMETERS)
    if text is None:
        return metadata, ()
    there = exif.user_comment(metadata.exif)
    if there == text.strip("\0 "):
        return metadata, ()
    if there and not _is_parameters(there):
        return metadata, ("the EXIF has a comment of its own, so the prompt was not written there",)
    block = exif.with_comment(metadata.exif, text)
    if len(block) > _EXIF_ROOM:
        return metadata, ("the prompt was too long for the EXIF",)
    return replace(metadata, exif=block), ()


def found(block: bytes | None, recipe: bytes | None) -> tuple[tuple[str, str], ...]:
    """Return the texts that lie in an EXIF block and in a container's own place."""
    texts: list[tuple[str, str]] = []
    comment = exif.user_comment(block)
    if comment and _is_parameters(comment):
        texts.append((PARAMETERS, comment))
    if recipe:
        texts.append((RECIPE, recipe.decode("utf-8", "replace")))
    return tuple(texts)


def recipe_of(metadata: Metadata) -> bytes | None:
    """Return the text of a recipe as bytes, None if there is none."""
    text = dict(metadata.text).get(RECIPE)
    return None if text is None else text.encode("utf-8", "replace")


def others(metadata: Metadata) -> bool:
    """Return whether metadata has text entries that only PNG has a place for."""
    return any(key not in KEYS for key, _ in metadata.text)


def jpeg_bodies(recipe: bytes | None) -> list[bytes]:
    """Return the bodies of the APP15 segments that hold a recipe: numbered from 1, of how many."""
    data = recipe or b""
    parts = [data[at : at + _JPEG_ROOM] for at in range(0, len(data), _JPEG_ROOM)]
    count = len(parts).to_bytes(2, "big")
    return [_JPEG + number.to_bytes(2, "big") + count + part for number, part in enumerate(parts, 1)]


def is_jpeg_body(body: bytes) -> bool:
    """Return whether the body of an APP15 segment is part of a recipe."""
    return body.startswith(_JPEG)


def of_jpeg(bodies: Iterable[bytes]) -> bytes | None:
    """Return the recipe in the bodies of APP15 segments; None if there is none, or not all of it."""
    start = len(_JPEG)
    parts = {body[start : start + 4]: body[start + 4 :] for body in bodies if len(body) >= start + 4}
    count = len(parts)
    wanted = [number.to_bytes(2, "big") + count.to_bytes(2, "big") for number in range(1, count + 1)]
    if not parts or any(name not in parts for name in wanted):
        return None
    return b"".join(parts[name] for name in wanted)


def _is_parameters(text: str) -> bool:
    return bool(parse(text).values)
