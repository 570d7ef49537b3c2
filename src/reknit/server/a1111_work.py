"""What a request of A1111's dialect means here: its fields, the job it becomes, and the words that go back.

The numbers that clients count on are `server.a1111_images`'s; routes and what is remembered between requests are
`server.a1111`'s.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, cast

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.requests import Request

from reknit import __version__
from reknit.core import parameters
from reknit.core.errors import Cancelled, InputError, ReknitError, Unavailable
from reknit.core.image import Photo
from reknit.server import a1111_images as images
from reknit.server import a1111_lists as lists
from reknit.server import errands
from reknit.server.errands import Errand, Pixels
from reknit.server.offers import Offer
from reknit.server.rooms import Rooms

CONTENT = ("fill", "original", "noise", "nothing")
CONTENT_WORDS = ("fill", "", "latent noise", "latent nothing")
MAX_IMAGES = 64
MAX_SIDE = 8192
DRAWN_SEEDS = 4294967294
SOFT = "soft inpainting"


Made = list[tuple[int, Pixels]]
"""Pictures with their numbers in the request."""


def _none_is_default(value: Any) -> Any:
    return -1 if value is None or value == "" else value


Seed = Annotated[int, BeforeValidator(_none_is_default)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]


class Asked(BaseModel):
    """What ``txt2img`` and ``img2img`` take; unknown names are ignored, as the original does."""

    model_config = ConfigDict(extra="ignore")

    prompt: str = ""
    negative_prompt: str = ""
    styles: list[str] | None = None
    seed: Seed = -1
    subseed: Seed = -1
    subseed_strength: float = 0
    seed_resize_from_h: int = -1
    seed_resize_from_w: int = -1
    sampler_name: str | None = None
    sampler_index: str | None = "Euler"
    scheduler: str | None = None
    batch_size: Annotated[int, Field(ge=1, le=MAX_IMAGES)] = 1
    n_iter: Annotated[int, Field(ge=1, le=MAX_IMAGES)] = 1
    steps: Annotated[int, Field(ge=1, le=1000)] = 50
    cfg_scale: float = 7.0
    width: Side = 512
    height: Side = 512
    restore_faces: bool | None = None
    tiling: bool | None = None
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    eta: float | None = None
    denoising_strength: float | None = 0.75
    s_min_uncond: float | None = None
    s_churn: float | None = None
    s_tmax: float | None = None
    s_tmin: float | None = None
    s_noise: float | None = None
    override_settings: dict[str, Any] | None = None
    override_settings_restore_afterwards: bool = True
    refiner_checkpoint: str | None = None
    refiner_switch_at: float | None = None
    disable_extra_networks: bool = False
    comments: dict[str, Any] | None = None
    script_name: str | None = None
    script_args: list[Any] = []
    send_images: bool = True
    save_images: bool = False
    alwayson_scripts: dict[str, Any] = {}
    infotext: str | None = None
    force_task_id: str | None = None


class Img2Img(Asked):
    """``img2img``, with the API's defaults, which are not the page's."""

    init_images: list[str] | None = None
    resize_mode: int = 0
    image_cfg_scale: float | None = None
    mask: str | None = None
    mask_blur: int | None = None
    mask_blur_x: int = 4
    mask_blur_y: int = 4
    mask_round: bool = True
    inpainting_fill: int = 0
    inpaint_full_res: bool = True
    inpaint_full_res_padding: int = 0
    inpainting_mask_invert: int = 0
    initial_noise_multiplier: float | None = None
    latent_mask: str | None = None
    include_init_images: bool = False

    @property
    def blur(self) -> tuple[int, int]:
        """Standard deviations of the mask's blur, across and down."""
        if self.mask_blur is not None:
            return self.mask_blur, self.mask_blur
        return self.mask_blur_x, self.mask_blur_y


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A request made ready: with what, from which seed, in which of the original's words."""

    asked: Asked
    offer: Offer
    seed: int
    subseed: int
    sampler: str
    schedule: str | None
    clip_skip: int

    @property
    def count(self) -> int:
        """How many pictures."""
        return self.asked.batch_size * self.asked.n_iter

    @property
    def varied(self) -> bool:
        """Whether all pictures are variations of one seed's."""
        return self.asked.subseed_strength > 0 and "vary_seed" in self.offer.options

    def own_seed(self, index: int) -> int:
        """Return the seed of a picture of its own: the variation's, where there is one."""
        return ((self.subseed if self.varied else self.seed) + index) % 2**32

    def seed_of(self, index: int) -> int:
        """Return the seed that clients are told."""
        return self.seed if self.varied else self.own_seed(index)

    def params(self, **more: Any) -> dict[str, Any]:
        """Return the engine's options; what it has no option for is left out."""
        asked = self.asked
        wanted = {
            "prompt": _joined(asked.prompt, asked.styles),
            "negative_prompt": asked.negative_prompt,
            "steps": asked.steps,
            "guidance": asked.cfg_scale,
            "strength_rule": "a1111",
            "sampler": self.sampler,
            "scheduler": self.schedule or lists.automatic(self.sampler),
            "clip_skip": self.clip_skip - 1,
            "eta": None if asked.eta is None else min(1.0, max(0.0, asked.eta)),
        }
        if self.varied:
            wanted |= {"vary_seed": self.seed, "variation": min(1.0, asked.subseed_strength)}
        if min(asked.seed_resize_from_w, asked.seed_resize_from_h) >= 8:
            wanted["noise_size"] = f"{asked.seed_resize_from_w}x{asked.seed_resize_from_h}"
        return self.offer.params(wanted | more)


def _joined(prompt: str, styles: list[str] | None) -> str:
    return ", ".join([prompt, *(styles or [])]) if styles else prompt


class Complaint(ReknitError):
    """A refusal with the status and the words that the original would use."""

    def __init__(self, status: int, detail: str, kind: str = "HTTPException") -> None:
        super().__init__(detail, code="request.value")
        self.status = status
        self.kind = kind


class Control(Protocol):
    """What a ControlNet's unit adds to the engine's options: `server.a1111_control.Unit`."""

    def params(
        self, rooms: Rooms, work: images.Work | None, tile: Pixels | None, size: tuple[int, int]
    ) -> dict[str, Any]:
        """Return it for a tile."""
        ...


class Inpaint:
    """One source picture with its mask, from the request to the pictures that go back."""

    def __init__(
        self,
        rooms: Rooms,
        order: Order,
        asked: Img2Img,
        photo: Photo,
        data: bytes,
        mask: Pixels | None,
        *,
        softness: float | None,
        control: Control | None = None,
    ) -> None:
        self._rooms = rooms
        self._order = order
        self._asked = asked
        self._data = data if photo.bits == 8 and photo.alpha is None else None
        self._image = errands.rgb(photo)
        self._mask = mask
        self._softness = softness
        self._control = control

    async def run(self, request: Request, errand: Errand, first: int, count: int) -> list[Pixels]:
        """Return the pictures; the picture as it was where they were not begun before an interrupt."""
        work = await asyncio.to_thread(self._work)
        kind, payload = await asyncio.to_thread(self._payload, work, first, count)
        try:
            result = await errands.run(self._rooms, kind, payload, request=request, errand=errand)
        except Cancelled:
            return [self._image if work is None else work.base] * payload["count"]
        return await asyncio.to_thread(self._back, work, result)

    def _work(self) -> images.Work | None:
        """Return what is worked on; None if there is no mask, or an all black one."""
        asked = self._asked
        if self._mask is None:
            return None
        if not asked.inpaint_full_res:
            size = {"width": asked.width, "height": asked.height}
            return images.whole_picture(self._image, self._mask, mode=asked.resize_mode, **size)
        if not self._order.offer.paints:  # engines that copy from the photo see all of it, as it is
            return images.where_it_lies(self._image, self._mask)
        padding = max(0, asked.inpaint_full_res_padding)
        return images.only_masked(
            self._image, self._mask, padding=padding, width=asked.width, height=asked.height
        )

    def _payload(self, work: images.Work | None, first: int, count: int) -> tuple[str, dict[str, Any]]:
        asked, order = self._asked, self._order
        strength = 0.75 if asked.denoising_strength is None else min(1.0, max(0.0, asked.denoising_strength))
        shared = {
            "engine": order.offer.engine,
            "seed": order.own_seed(first),
            "count": count,
        }
        side = errands.side_of(asked.width, asked.height)
        hole = None if work is None else self._hole(work)
        if work is None or hole is None or (order.offer.paints and bool(hole.all())):
            must_paint(order.offer)
            tile = (
                work.tile
                if work
                else images.resized(asked.resize_mode, self._image, asked.width, asked.height)
            )
            content = "original" if work is None else CONTENT[asked.inpainting_fill % 4]
            content = "original" if content == "fill" else content  # nothing to take colours from
            params = order.params(
                content=content, strength=strength, side=side, **self._controlled(work, tile)
            )
            image = errands.uploaded(self._rooms, tile, "img2img.png")
            return "paint", {**shared, "image": image, "params": params}
        params = order.params(
            content=CONTENT[asked.inpainting_fill % 4], strength=strength, side=side, softness=self._softness,
            **self._controlled(work, work.tile),
        )  # fmt: skip
        if work.tile is self._image and self._data is not None:
            image = self._rooms.pictures.add(self._data, "img2img").id
        else:
            image = errands.uploaded(self._rooms, work.tile, "img2img.png")
        mask = self._rooms.pictures.add_mask(hole).id
        context = 65535 if order.offer.paints else None
        return "fill", {
            **errands.FILL,
            **shared,
            "image": image,
            "mask": mask,
            "params": params,
            "context": context,
        }

    def _controlled(self, work: images.Work | None, tile: Pixels) -> dict[str, Any]:
        if self._control is None:
            return {}
        return self._control.params(self._rooms, work, tile, (self._asked.width, self._asked.height))

    def _hole(self, work: images.Work) -> Any:
        """Return what the engine makes anew: (H, W) bool. Only models that paint may see what is half masked."""
        soft = work.mask > 0
        firm = work.mask >= images.HALF
        wanted = firm if self._order.offer.paints and self._softness is None and firm.any() else soft
        return wanted if wanted.any() else None

    def _back(self, work: images.Work | None, result: Mapping[str, Any]) -> list[Pixels]:
        made = errands.made(self._rooms, result)
        return made if work is None else [work.composed(each) for each in made]


def must_paint(offer: Offer) -> None:
    """Refuse what only a model that is told in words what to draw can do."""
    if not offer.paints:
        raise Unavailable(
            f"{offer.name} fills masks; painting without a mask needs a diffusion model",
            code="paint.engine",
            hint="`reknit models list` shows them, `reknit models pull NAME` gets one",
        )


def scripts_of(asked: Asked) -> dict[str, list[Any]]:
    """Return the always-on scripts that do something here, by lower-case title; refuse what nobody knows."""
    found: dict[str, list[Any]] = {}
    for title, given in asked.alwayson_scripts.items():
        name = title.lower()
        if name not in lists.IGNORED_SCRIPTS and name not in lists.SCRIPTS:
            raise Complaint(422, f"Script '{title[:200]}' not found")
        args: Any = cast("dict[str, Any]", given).get("args", []) if isinstance(given, dict) else given
        found[name] = cast("list[Any]", args) if isinstance(args, list) else []
    if asked.script_name and asked.script_name.lower() not in ("none", ""):
        raise Complaint(422, f"Script '{asked.script_name[:200]}' not found")
    return found


def softness_of(asked: Img2Img, arguments: list[Any]) -> float | None:
    """Return the width of soft inpainting's transition; None without it."""
    return float(max(1, *asked.blur)) if arguments and arguments[0] is True else None


def bytes_of(text: str) -> bytes:
    """Return a picture in base64, with or without ``data:…,`` before it. Addresses are never fetched."""
    if text.startswith(("http://", "https://")):
        raise Complaint(500, "Requests not allowed")
    try:
        return base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text, validate=False)
    except (binascii.Error, ValueError):
        raise Complaint(500, "Invalid encoded image") from None


def photo_of(rooms: Rooms, data: bytes) -> Photo:
    """Return a picture from a client."""
    try:
        return errands.decoded(rooms, data)
    except InputError as error:
        if error.code == "image.too-large":
            raise
        raise Complaint(500, "Invalid encoded image") from error


def mask_of(rooms: Rooms, asked: Img2Img, photo: Photo) -> Pixels:
    """Return the mask at the picture's size, turned round and blurred as asked."""
    mask = images.mask_of(photo_of(rooms, bytes_of(asked.mask or "")), rounded=asked.mask_round)
    if mask.shape != photo.size.shape:
        mask = images.resized(images.STRETCH, mask, photo.size.width, photo.size.height)
    if asked.inpainting_mask_invert:
        mask = (255 - mask).astype(np.uint8)
    across, down = asked.blur
    return images.blurred(mask, min(across, 512), min(down, 512))


# ---- what goes back


def answer(
    order: Order, made: Made, embeddings: Mapping[str, str], *, masked: bool, stopped: bool
) -> dict[str, Any]:
    """Return the response to a request whose pictures are made; ``embeddings`` were used, by name their SHA-256."""
    asked = order.asked
    numbers = [number for number, _ in made] or list(range(order.count))
    more = {"TI hashes": parameters.hashes(embeddings)} if embeddings else {}
    texts = [parameters.write(_infotext(order, number, more, masked=masked)) for number in numbers]
    files = [errands.encoded(each, text=text) for (_, each), text in zip(made, texts, strict=False)]
    sent = [base64.b64encode(file).decode("ascii") for file in files] if asked.send_images else []
    echo = asked.model_dump()
    if isinstance(asked, Img2Img) and not asked.include_init_images:
        echo |= {"init_images": None, "mask": None}
    info = _info(order, numbers, texts, masked=masked) | {"extra_generation_params": more}
    if stopped:
        info["comments"] = "interrupted: the last pictures are as far as they came"
    return {"images": sent, "parameters": echo, "info": json.dumps(info)}


def _infotext(order: Order, number: int, more: Mapping[str, str], *, masked: bool) -> parameters.Parameters:
    asked, offer = order.asked, order.offer
    values = {
        "Steps": str(asked.steps),
        "Sampler": order.sampler,
        "Schedule type": order.schedule or lists.automatic(order.sampler) or "Automatic",
        "CFG scale": f"{asked.cfg_scale:g}",
        "Seed": str(order.seed_of(number)),
        "Size": f"{asked.width}x{asked.height}",
        "Model hash": offer.short_hash or "",
        "Model": offer.name,
        "Variation seed": str(order.own_seed(number)) if order.varied else "",
        "Variation seed strength": f"{asked.subseed_strength:g}" if order.varied else "",
        "Seed resize from": str(order.params().get("noise_size", "")),
        "Denoising strength": "",
        "Clip skip": str(order.clip_skip) if order.clip_skip > 1 else "",
    }
    if isinstance(asked, Img2Img):
        values["Denoising strength"] = f"{asked.denoising_strength or 0:g}"
        if masked:
            values |= {
                "Mask mode": "Inpaint not masked" if asked.inpainting_mask_invert else "",
                "Mask blur": str(asked.blur[0]) if any(asked.blur) else "",
                "Inpaint area": "Only masked" if asked.inpaint_full_res else "",
                "Masked area padding": str(asked.inpaint_full_res_padding) if asked.inpaint_full_res else "",
                "Masked content": CONTENT_WORDS[asked.inpainting_fill % 4],
            }
    values |= more
    values["Version"] = f"reknit {__version__}"
    return parameters.Parameters(
        prompt=_joined(asked.prompt, asked.styles), negative_prompt=asked.negative_prompt, values=values
    )


def _info(order: Order, numbers: list[int], texts: list[str], *, masked: bool) -> dict[str, Any]:
    asked, offer, count = order.asked, order.offer, len(numbers)
    seeds = [order.seed_of(number) for number in numbers]
    return {
        "prompt": asked.prompt, "all_prompts": [asked.prompt] * count,
        "negative_prompt": asked.negative_prompt, "all_negative_prompts": [asked.negative_prompt] * count,
        "seed": seeds[0], "all_seeds": seeds,
        "subseed": order.subseed, "all_subseeds": [(order.subseed + number) % 2**32 for number in numbers],
        "subseed_strength": asked.subseed_strength, "width": asked.width, "height": asked.height,
        "sampler_name": order.sampler, "cfg_scale": asked.cfg_scale, "steps": asked.steps,
        "batch_size": asked.batch_size, "restore_faces": bool(asked.restore_faces), "face_restoration_model": None,
        "sd_model_name": offer.name, "sd_model_hash": offer.short_hash, "sd_vae_name": None, "sd_vae_hash": None,
        "seed_resize_from_w": asked.seed_resize_from_w, "seed_resize_from_h": asked.seed_resize_from_h,
        "denoising_strength": asked.denoising_strength if isinstance(asked, Img2Img) else None,
        "index_of_first_image": 0, "infotexts": texts,
        "styles": asked.styles or [], "job_timestamp": time.strftime("%Y%m%d%H%M%S"),
        "clip_skip": order.clip_skip, "is_using_inpainting_conditioning": masked, "version": f"reknit {__version__}",
    }  # fmt: skip
