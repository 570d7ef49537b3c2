"""What options name beside the model: a ControlNet, a VAE, text encoders, an IP-Adapter, and pictures to follow.

`located` finds them and says before any weight is read whether they fit the model; `Pictures` reads pictures once and
cuts out of them what lies over a crop. Nothing here paints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import InputError, NotFound
from reknit.core.fit import resampled
from reknit.core.geometry import Size
from reknit.diffusion import control_pictures
from reknit.engines.base import Crop
from reknit.engines.diffusion_models import Found

if TYPE_CHECKING:
    from reknit.models.store import Store

CONTROLLED = ("sd15", "sd2", "sdxl")
"""Families that ControlNets and IP-Adapters are for here."""

NAMED = ("control", "image_prompt_model")
"""Options that name what is opened beside the model."""

_LISTS = ("text_encoders",)
_PARTS = (("vae", "VAE", "vae.unknown"), ("text_encoders", "text encoder", "text-encoder.unknown"))


def with_control(found: Found, control: str | None, store: Store | None) -> Found:
    """Return the model as the class paints it that takes the ControlNet ``control``, where diffusers has one.

    Raises
    ------
    NotFound
        ``control.unknown``
    """
    if not control or not Path(found.source).is_dir():
        return found
    from reknit.diffusion import controlnet, pipelines

    made = pipelines.control_class(controlnet.locate_controlnet(control, store))
    facts = None if made is None else pipelines.facts_of(Path(found.source), control=made)
    return found if facts is None else replace(found, family=facts.family, pipeline=facts)


def located(values: Mapping[str, Any], found: Found, store: Store | None) -> dict[str, Any]:
    """Return the values with every name of a further model replaced by its path, and pictures to follow chosen.

    Raises
    ------
    NotFound
        ``control.unknown``, ``image-prompt.unknown``, ``vae.unknown``, ``text-encoder.unknown``, ``file.missing``
    InputError
        ``control.family``, ``control.format``, ``control.picture``, ``control.span``; ``image-prompt.family``,
        ``image-prompt.format``; ``model.part``: this model takes no VAE or text encoders of others.
    """
    made = dict(values)
    for name, what, code in _PARTS:
        if values[name]:
            made[name] = _parts(values[name], name, what, code, found, store)
    if values["control"]:
        made |= _control(values, found, store)
    if values["image_prompt"]:
        made |= _image_prompt(values, found, store)
    return made


def paths(values: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return the paths that an option holds once it is `located`."""
    text = values.get(name) or ""
    return tuple(text.split(", ") if name in _LISTS else [text]) if text else ()


def _parts(text: str, name: str, what: str, code: str, found: Found, store: Store | None) -> str:
    from reknit.diffusion import sources

    if found.pipeline is not None:
        raise InputError(
            f"{found.pipeline.title} is opened as a whole: it takes no {what} from elsewhere",
            code="model.part",
            hint="put the part into the model's folder",
            part=name,
        )
    names = [part.strip() for part in text.split(",")] if name in _LISTS else [text.strip()]
    return ", ".join(str(sources.named(each, what, store, code=code)) for each in names if each)


def _control(values: Mapping[str, Any], found: Found, store: Store | None) -> dict[str, Any]:
    from reknit.diffusion import controlnet

    path = controlnet.locate_controlnet(values["control"], store)
    facts = found.pipeline
    if facts is None and found.family in CONTROLLED:
        controlnet.check_family(path, controlnet.family_of(path), found.family)
    elif facts is None or facts.control is None:
        title = facts.title if facts else found.family
        raise InputError(
            f"{title} cannot be painted with the ControlNet {path.name}",
            code="control.family",
            hint=f"ControlNets are for {', '.join(CONTROLLED)}, and as folders of diffusers for {_others()}",
            checkpoint=found.family,
        )
    if values["control_start"] >= values["control_end"]:
        raise InputError(
            "control_start must lie before control_end",
            code="control.span",
            hint="0 and 1 are the whole way",
        )
    picture = values["control_image"] or control_pictures.BY_KIND.get(controlnet.kind_of(path))
    if facts is not None and not facts.follows:
        picture = "photo"
    if picture is None:
        raise InputError(
            f"{path.name} follows a picture, and none was given",
            code="control.picture",
            hint=f"control_image=FILE, or {', '.join(control_pictures.MADE)} to make it from the photo",
        )
    if picture not in control_pictures.MADE:
        _check_file(picture)
    return {"control": str(path), "control_image": picture}


def _others() -> str:
    from reknit.diffusion import pipelines

    families = (facts.family for facts in pipelines.known().values() if facts.control)
    return ", ".join(dict.fromkeys(families))


def _image_prompt(values: Mapping[str, Any], found: Found, store: Store | None) -> dict[str, Any]:
    from reknit.diffusion import ip_adapter

    if found.pipeline is not None or found.family not in CONTROLLED:
        title = found.pipeline.title if found.pipeline else found.family
        raise InputError(
            f"image prompts for {title} are not supported",
            code="image-prompt.family",
            hint=f"they are for {', '.join(CONTROLLED)}",
            checkpoint=found.family,
        )
    path = ip_adapter.locate_adapter(values["image_prompt_model"], found.family, store)
    _check_file(values["image_prompt"])
    return {"image_prompt_model": str(path)}


def _check_file(path: str) -> None:
    if not Path(path).expanduser().is_file():
        raise NotFound(f"there is no picture {path}", code="file.missing", hint="check the path", path=path)


@dataclass(slots=True)
class Pictures:
    """Pictures that options name, read once."""

    _read: dict[str, NDArray[np.uint8]] = field(default_factory=dict[str, NDArray[np.uint8]])

    def of(self, path: str) -> NDArray[np.uint8]:
        """Return a file's pixels, (H, W, 3); transparent ones are laid on black.

        Raises
        ------
        ReknitError
            As `reknit.core.codec.read`.
        """
        if path not in self._read:
            from reknit.core import codec

            photo = codec.read(Path(path).expanduser())
            pixels: Any = photo.pixels
            if photo.alpha is not None:
                opaque = np.iinfo(pixels.dtype).max
                pixels = (pixels.astype(np.uint64) * photo.alpha[..., None] // opaque).astype(pixels.dtype)
            if pixels.dtype == np.uint16:
                pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
            self._read[path] = np.ascontiguousarray(pixels)
        return self._read[path]

    def control(
        self, crop: Crop, hole: NDArray[np.bool_], values: Mapping[str, Any]
    ) -> NDArray[np.float32] | None:
        """Return what the ControlNet follows at the size of ``hole``, (H, W, 3); None if there is no ControlNet.

        The crop's own pixels are those before anything was filled in.
        """
        if not values["control"]:
            return None
        size, what = Size.of(hole.shape), values["control_image"]
        if what in control_pictures.MADE:
            own: Any = crop.pixels
            pixels: Any = resampled(own[..., :3], size)
            return control_pictures.control_picture(what, np.ascontiguousarray(pixels), hole)
        given = self.of(what)
        cut = given if crop.frame is None else crop.frame.cut(given)
        return resampled(cut, size).astype(np.float32) / np.float32(255)
