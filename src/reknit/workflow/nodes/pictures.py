"""Pictures: load, save, scale, composite. With ComfyUI's arithmetic."""

from __future__ import annotations

import hashlib
import random
import re
import string
import uuid
from dataclasses import replace
from datetime import datetime
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.core import codec, files
from reknit.core.errors import InputError
from reknit.core.image import Metadata, Photo
from reknit.workflow.context import Context
from reknit.workflow.node import MAX_SIDE, Sent, Shown, choice, integer, link, node, number, switch, text
from reknit.workflow.resize import METHODS, as_batch, scaled, scaled_mask

Floats = NDArray[np.float32]

NO_MASK_PX = 64
"""The side of the empty mask of a picture without transparency."""


def _read(context: Context, image: str) -> tuple[Floats, Floats | None]:
    """Return a file's colours and its opacity; colours under transparent pixels stay."""
    photo = codec.read(context.file(image))
    top = np.float32(255 if photo.bits == 8 else 65535)
    alpha = None if photo.alpha is None else photo.alpha[None].astype(np.float32) / top
    return photo.pixels[None].astype(np.float32) / top, alpha


def _no_mask() -> Floats:
    return np.zeros((1, NO_MASK_PX, NO_MASK_PX), np.float32)


def _is_file(context: Context, image: Any, **_: Any) -> str | None:
    try:
        context.file(str(image))
    except InputError:
        return f"image - Invalid image file: {image}"
    return None


def _digest(context: Context, image: Any, **_: Any) -> str:
    return hashlib.sha256(context.file(str(image)).read_bytes()).hexdigest()


@node(
    "LoadImage",
    choice("image", Context.pictures, loose=True, upload=True),
    outputs="IMAGE MASK",
    title="Load Image",
    category="image",
    wants_context=True,
    check=_is_file,
    token=_digest,
)
def load_image(context: Context, image: str) -> tuple[Floats, Floats]:
    """Load a picture; its mask is 1 where the file is transparent."""
    colours, alpha = _read(context, image)
    return colours, _no_mask() if alpha is None else 1 - alpha


@node(
    "LoadImageMask",
    choice("image", Context.pictures, loose=True, upload=True),
    choice("channel", ("alpha", "red", "green", "blue"), "alpha"),
    outputs="MASK",
    title="Load Image (as Mask)",
    category="mask",
    wants_context=True,
    check=_is_file,
    token=_digest,
)
def load_image_mask(context: Context, image: str, channel: str) -> Floats:
    """Load one channel of a picture as a mask; transparency counts as 1, colours as they are."""
    colours, alpha = _read(context, image)
    if channel == "alpha":
        return _no_mask() if alpha is None else 1 - alpha
    return np.ascontiguousarray(colours[..., ("red", "green", "blue").index(channel)])


@node(
    "SaveImage",
    link("images", "IMAGE"),
    text("filename_prefix", "ComfyUI"),
    title="Save Image",
    category="image",
    is_output=True,
    wants_context=True,
)
def save_image(context: Context, images: Floats, filename_prefix: str) -> Shown:
    """Save pictures as PNG files that carry the workflow."""
    return _saved(context, images, filename_prefix, "output")


@node(
    "PreviewImage",
    link("images", "IMAGE"),
    title="Preview Image",
    category="image",
    is_output=True,
    wants_context=True,
)
def preview_image(context: Context, images: Floats) -> Shown:
    """Show pictures: saves them where they do not stay."""
    letters = "".join(random.choices(string.ascii_lowercase, k=5))
    return _saved(context, images, f"ComfyUI_temp_{letters}", "temp")


@node(
    "SaveImageWebsocket",
    link("images", "IMAGE"),
    title="SaveImageWebsocket",
    category="api/image",
    is_output=True,
    wants_context=True,
    token=lambda *_, **__: uuid.uuid4().hex,  # what was sent once is not there a second time
)
def send_images(context: Context, images: Floats) -> tuple[()]:
    """Send pictures to the client as PNG files; nothing is saved."""
    for index, image in enumerate(images):
        context.tick(index, len(images), Sent(png=codec.encode(_photo(image), container="png").data))
    return ()


def _photo(image: Floats, metadata: Metadata | None = None) -> Photo:
    """Return a picture at 8 bits, rounded down as ComfyUI does."""
    eight = np.clip(image * np.float32(255), 0, 255).astype(np.uint8)
    photo = Photo.from_array(np.ascontiguousarray(eight))
    return photo if metadata is None else replace(photo, metadata=metadata)


def _saved(context: Context, images: Floats, prefix: str, place: str) -> Shown:
    root = context.folder(place)
    prefix = _expanded(prefix, images.shape[2], images.shape[1])
    folder = (root / Path(prefix).parent).resolve()
    if not folder.is_relative_to(root.resolve()):
        raise InputError(
            f"{prefix!r} leads out of the {place} folder", code="file.outside", hint="name a folder inside it"
        )
    subfolder, name = Path(prefix).parent.as_posix().removeprefix("."), Path(prefix).name
    counter = _last(folder, name) + 1
    import json

    entries = [
        ("prompt", json.dumps(context.prompt)),
        *((k, json.dumps(v)) for k, v in context.extra.items()),
    ]
    saved: list[dict[str, str]] = []
    for index, image in enumerate(images):
        photo = _photo(image, Metadata(text=tuple(entries)))
        file = f"{name.replace('%batch_num%', str(index))}_{counter:05}_.png"
        folder.mkdir(parents=True, exist_ok=True)
        files.write_bytes(folder / file, codec.encode(photo, container="png").data)
        saved.append({"filename": file, "subfolder": subfolder, "type": place})
        counter += 1
    return Shown(ui={"images": saved})


def _last(folder: Path, name: str) -> int:
    """Return the highest number of the files saved with this prefix."""
    numbered = re.compile(rf"{re.escape(name)}_(\d+)_?\.png", re.IGNORECASE)
    found = (numbered.fullmatch(path.name) for path in folder.glob("*.png")) if folder.is_dir() else ()
    return max((int(match[1]) for match in found if match), default=0)


def _expanded(prefix: str, width: int, height: int) -> str:
    now = datetime.now()
    words = {
        "width": width,
        "height": height,
        "year": now.year,
        "month": f"{now.month:02}",
        "day": f"{now.day:02}",
        "hour": f"{now.hour:02}",
        "minute": f"{now.minute:02}",
        "second": f"{now.second:02}",
    }
    return re.sub(r"%(\w+)%", lambda m: str(words.get(m[1], m[0])), prefix)


def cropped_to(values: Floats, width: int, height: int) -> Floats:
    """Return the middle of (B, H, W, C) in the shape of ``width`` × ``height``, as ``crop: center`` does."""
    old_height, old_width = values.shape[1:3]
    is_shape, to_be = old_width / old_height, width / height
    x = round((old_width - old_width * (to_be / is_shape)) / 2) if is_shape > to_be else 0
    y = round((old_height - old_height * (is_shape / to_be)) / 2) if is_shape < to_be else 0
    return values[:, y : old_height - y, x : old_width - x]


@node(
    "ImageScale",
    link("image", "IMAGE"),
    choice("upscale_method", ("nearest-exact", "bilinear", "area", "bicubic", "lanczos")),
    integer("width", 512, 0),
    integer("height", 512, 0),
    choice("crop", ("disabled", "center")),
    outputs="IMAGE",
    title="Upscale Image",
    category="image/upscaling",
)
def image_scale(image: Floats, upscale_method: str, width: int, height: int, crop: str) -> Floats:
    """Scale to a size; a side of 0 follows the other."""
    if width == 0 and height == 0:
        return image
    width = width or max(1, round(image.shape[2] * height / image.shape[1]))
    height = height or max(1, round(image.shape[1] * width / image.shape[2]))
    return scaled(
        cropped_to(image, width, height) if crop == "center" else image, width, height, upscale_method
    )


@node(
    "ImageScaleBy",
    link("image", "IMAGE"),
    choice("upscale_method", METHODS),
    number("scale_by", 1.0, 0.01, 8.0),
    outputs="IMAGE",
    title="Upscale Image By",
    category="image/upscaling",
)
def image_scale_by(image: Floats, upscale_method: str, scale_by: float) -> Floats:
    """Scale by a factor."""
    return scaled(image, round(image.shape[2] * scale_by), round(image.shape[1] * scale_by), upscale_method)


@node(
    "ImageScaleToTotalPixels",
    link("image", "IMAGE"),
    choice("upscale_method", METHODS),
    number("megapixels", 1.0, 0.01, 16.0),
    integer("resolution_steps", 1, 1, 256, required=False),
    outputs="IMAGE",
    title="Scale Image to Total Pixels",
    category="image/upscaling",
)
def image_scale_to_total_pixels(
    image: Floats, upscale_method: str, megapixels: float, resolution_steps: int
) -> Floats:
    """Scale to a number of pixels, of 1024 × 1024 a megapixel."""
    height, width = image.shape[1:3]
    factor = sqrt(megapixels * 1024 * 1024 / (width * height))
    width, height = (round(n * factor / resolution_steps) * resolution_steps for n in (width, height))
    return scaled(image, width, height, upscale_method)


@node(
    "ImageCompositeMasked",
    link("destination", "IMAGE"),
    link("source", "IMAGE"),
    integer("x", 0, 0, MAX_SIDE),
    integer("y", 0, 0, MAX_SIDE),
    switch("resize_source", False),
    link("mask", "MASK", required=False),
    outputs="IMAGE",
    title="ImageCompositeMasked",
    category="image",
)
def image_composite_masked(
    destination: Floats, source: Floats, x: int, y: int, resize_source: bool, mask: Floats | None
) -> Floats:
    """Lay one picture over another, where a mask says."""
    channels = destination.shape[3]
    if source.shape[3] > channels:
        source = source[..., :channels]
    elif source.shape[3] < channels:
        source = np.concatenate((source, np.ones_like(source[..., :1])), axis=3)
    height, width = destination.shape[1:3]
    if resize_source:
        source = scaled(source, width, height, "bilinear")
    source = repeated(source, len(destination))
    over: Floats = np.ones(source.shape[:3], np.float32)
    if mask is not None:
        over = repeated(scaled_mask(mask, source.shape[2], source.shape[1]), len(source))
    seen = np.s_[:, : max(0, height - y), : max(0, width - x)]
    part, share = source[seen], over[seen][..., None]
    made = destination.copy()
    here = made[:, y : y + part.shape[1], x : x + part.shape[2]]
    here[...] = share * part + (1 - share) * here
    return made


def repeated(values: Floats, count: int) -> Floats:
    """Return ``count`` of a batch: cut, or repeated from its start."""
    if len(values) >= count:
        return values[:count]
    return np.concatenate([values] * -(-count // len(values)))[:count]


@node("MaskToImage", link("mask", "MASK"), outputs="IMAGE", title="Convert Mask to Image", category="mask")
def mask_to_image(mask: Floats) -> Floats:
    """Show a mask as a grey picture."""
    return np.repeat(as_batch(mask)[..., None], 3, axis=3)


@node(
    "ImageToMask",
    link("image", "IMAGE"),
    choice("channel", ("red", "green", "blue", "alpha")),
    outputs="MASK",
    title="Convert Image to Mask",
    category="mask",
)
def image_to_mask(image: Floats, channel: str) -> Floats:
    """Take one channel of a picture as a mask."""
    return np.ascontiguousarray(image[..., ("red", "green", "blue", "alpha").index(channel)])
