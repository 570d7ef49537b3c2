"""How a filled photo was made, as data that lies in the picture itself and is enough to make it again.

A `Recipe` is everything but the photo: engine, its options with the values used, seed, mask, and what the engine
told of its model. In a file it is the text ``reknit`` (JSON) and, for engines that paint from a prompt, ``parameters``
as AUTOMATIC1111 writes it; `reknit.core.own_text` knows where these lie. Nothing here runs an engine or finds a file.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from reknit.core import own_text, parameters
from reknit.core.errors import InputError
from reknit.core.geometry import Size
from reknit.core.image import Photo
from reknit.core.mask import Mask
from reknit.core.request import FILL_OPTIONS

KEY = own_text.RECIPE
"""The key of the text that holds a recipe."""

FORM = 1
"""The number of the form; a higher one is of a later Reknit."""

_ASKED = ("seed", "grow", "feather", "context")
_TEXT_CHUNKS = ("tEXt", "zTXt", "iTXt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one variation was made.

    Attributes
    ----------
    version : str
        Reknit's.
    engine : str
    params : mapping
        Every option of the engine with the value used.
    seed : int
        This very variation's.
    grow : float
    feather : float or None
    context : int or None
        As in `FillRequest`.
    size : Size
        Of the picture.
    added : (int, int, int, int)
        What of it extending added to the photo, at the left, top, right and bottom.
    photo_sha256 : str
        Of the photo's samples before that, see `digest`.
    photo_name : str
        The photo's file name, without folders; empty if it is not known.
    mask : Mask
    source : Mask or None
    facts : mapping
        What the engine told: its model's hash, the versions of its libraries, ….
    """

    version: str
    engine: str
    params: Mapping[str, Any]
    seed: int
    grow: float
    feather: float | None
    context: int | None
    size: Size
    added: tuple[int, int, int, int] = (0, 0, 0, 0)
    photo_sha256: str
    photo_name: str = ""
    mask: Mask
    source: Mask | None = None
    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-serialisable data; masks are 1-bit rows, packed, deflated and in base64."""
        return {
            "form": FORM,
            "version": self.version,
            "engine": self.engine,
            "params": dict(self.params),
            **{name: getattr(self, name) for name in _ASKED},
            "added": list(self.added),
            "photo": {
                "width": self.size.width,
                "height": self.size.height,
                "sha256": self.photo_sha256,
                "name": self.photo_name,
            },
            "mask": _packed(self.mask),
            "source": None if self.source is None else _packed(self.source),
            "facts": dict(self.facts),
        }

    @staticmethod
    def of(data: Any) -> Recipe:
        """Return the recipe in JSON data.

        Raises
        ------
        InputError
            ``recipe.damaged``, ``recipe.later``, ``option.value``
        """
        try:
            if data["form"] != FORM:
                raise InputError(
                    f"the recipe has the form {data['form']!r}, and this Reknit knows {FORM}",
                    code="recipe.later",
                    hint=f"it was written by Reknit {data.get('version')}",
                )
            photo = data["photo"]
            size = Size(width=int(photo["width"]), height=int(photo["height"]))
            asked = {name: data[name] for name in _ASKED}
            for option in FILL_OPTIONS:
                if option.name in asked:
                    option.check(asked[option.name])
            return Recipe(
                version=str(data["version"]),
                engine=str(data["engine"]),
                params=MappingProxyType(dict(data["params"])),
                **asked,
                size=size,
                added=_added(data["added"], size),
                photo_sha256=str(photo["sha256"]),
                photo_name=str(photo["name"]),
                mask=_unpacked(data["mask"], size),
                source=None if data["source"] is None else _unpacked(data["source"], size),
                facts=MappingProxyType(dict(data["facts"])),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(str(error)) from error

    def text(self) -> tuple[tuple[str, str], ...]:
        """Return the text entries of a PNG file."""
        entries = [(KEY, json.dumps(self.to_dict(), separators=(",", ":")))]
        told = self.facts.get(parameters.KEY)
        if isinstance(told, Mapping):
            given = cast("Mapping[str, Any]", told)
            known = parameters.Parameters(
                prompt=given["prompt"],
                negative_prompt=given["negative_prompt"],
                values={**given["values"], "Seed": str(self.seed), "Version": f"Reknit {self.version}"},
            )
            told_text = parameters.write(known).encode("utf-8", "replace").decode()
            entries.insert(0, (parameters.KEY, told_text))
        return tuple(entries)


def damaged(why: str) -> InputError:
    """Return the error for a recipe that cannot be read."""
    return InputError(
        "the recipe is damaged", code="recipe.damaged", hint="make the picture anew", reason=why[:200]
    )


def digest(photo: Photo, added: tuple[int, int, int, int] = (0, 0, 0, 0)) -> str:
    """Return the SHA-256 of a photo's size, depth and samples, alpha included: the same for the same picture.

    ``added`` is what lies around the photo since it was extended, and does not count.
    """
    left, top, right, bottom = added
    height, width = photo.size.shape
    inner = (slice(top, height - bottom), slice(left, width - right))
    pixels = np.ascontiguousarray(photo.pixels[inner])
    import hashlib

    found = hashlib.sha256(f"{Size.of(pixels.shape)} {pixels.dtype.name} {photo.alpha is not None}".encode())
    found.update(pixels.data)
    if photo.alpha is not None:
        found.update(np.ascontiguousarray(photo.alpha[inner]).data)
    return found.hexdigest()


NAMED = (
    "model",
    "control",
    "image_prompt_model",
    "vae",
    "text_encoders",
    "lora",
    "embeddings",
    "control_image",
    "image_prompt",
)
"""Options of engines that name files of this machine; the last two are pictures."""

PICTURES = NAMED[-2:]
_LISTS = ("text_encoders", "lora", "embeddings")


def portable(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an engine's options without the folders of this machine: files are told by their names."""
    told = {name: value for name in NAMED if isinstance(value := params.get(name), str)}
    for name, value in told.items():
        parts = value.split(",") if name in _LISTS else [value]
        told[name] = ", ".join(_name(part.strip()) for part in parts) if value else value
    return MappingProxyType({**params, **told})


def _name(path: str) -> str:
    """Return a path without its folders, if it is one; ``word=PATH`` keeps its word."""
    word, equals, file = ("", "", path) if Path(path).is_absolute() else path.partition("=")
    return f"{word}{equals}{Path(file).name}" if Path(file).is_absolute() else path


def embedded(photo: Photo, recipe: Recipe) -> Photo:
    """Return ``photo`` with ``recipe`` in its text, in place of any that an earlier picture left there."""
    entries = recipe.text()
    keys = (KEY, parameters.KEY)
    kept = tuple(entry for entry in photo.metadata.text if entry[0] not in keys)
    blocks = tuple(
        (name, body)
        for name, body in photo.metadata.blocks
        if not (name in _TEXT_CHUNKS and body.partition(b"\0")[0].decode("latin-1") in keys)
    )
    return replace(photo, metadata=replace(photo.metadata, text=(*kept, *entries), blocks=blocks))


def read(photo: Photo) -> Recipe | None:
    """Return the recipe that lies in a picture, None if there is none; raises `InputError` (``recipe.…``)."""
    for key, text in photo.metadata.text:
        if key == KEY:
            try:
                return Recipe.of(json.loads(text))
            except ValueError as error:
                raise damaged(str(error)) from error
    return None


def read_parameters(photo: Photo) -> parameters.Parameters | None:
    """Return the ``parameters`` text that any program left in a picture, None if there is none."""
    found = next((text for key, text in photo.metadata.text if key == parameters.KEY), None)
    return None if found is None else parameters.parse(found)


def _added(given: Any, size: Size) -> tuple[int, int, int, int]:
    left, top, right, bottom = (int(amount) for amount in given)
    if min(left, top, right, bottom) < 0 or left + right >= size.width or top + bottom >= size.height:
        raise damaged("nothing is left of the photo")
    return left, top, right, bottom


def _packed(mask: Mask) -> str:
    import zlib

    return base64.b64encode(zlib.compress(np.packbits(mask.fill).tobytes(), 9)).decode("ascii")


def _unpacked(text: Any, size: Size) -> Mask:
    import zlib

    if not isinstance(text, str):
        raise damaged("no mask")
    expected = -(-size.area // 8)
    worker = zlib.decompressobj()
    try:
        data = worker.decompress(base64.b64decode(text, validate=True), expected + 1)
    except zlib.error as error:
        raise damaged(str(error)) from error
    if len(data) != expected:
        raise damaged("a mask of another size")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=size.area)
    return Mask.from_bool(bits.reshape(size.shape).astype(bool))
