"""What an inpainting network wants and gives: tensors, ranges, polarity, layout.

A file's tensors say which input is the picture and which the mask, their types, layout and size (`read_graph`).
What they cannot say (0..1 or 0..255, whether 1 is the hole) is stated by whoever knows the model, or found out by
a trial on a flat picture, whose hole every inpainting network fills alike (`settle`). `pack` and `unpack` bring
pixels there and back. Nothing here knows which runtime runs the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import InputError, nearest_name
from reknit.core.image import Samples

Tensors = Mapping[str, NDArray[Any]]
Infer = Callable[[Tensors], NDArray[Any]]

RANGES: Mapping[str, tuple[float, float]] = {
    "0..1": (0, 1),
    "0..255": (0, 255),
    "-1..1": (-1, 1),
    "uint8": (0, 255),
}
WORDS: Mapping[str, tuple[str, ...]] = {
    "layout": ("image,mask", "image+mask", "mask+image"),
    "channels": ("rgb", "bgr"),
    "image": tuple(RANGES),
    "under_hole": ("kept", "zero"),
    "mask": ("1=hole", "0=hole", "255=hole", "0.5-hole"),
    "output": tuple(RANGES),
}
"""What each field of a `Contract` may say; model catalogues use the same words."""
HOW_TO_STATE = "state what it wants, for example: -p contract='image=0..1 mask=1=hole output=0..255'"
MULTIPLE = 8
"""Sides of networks without a fixed size are multiples of this, where nothing else is known."""
_TRIAL_PX = 128
_FLAT = np.array([0.15, 0.45, 0.05])  # below the middle: what takes 0..1 cannot draw it where -1..1 is meant
_SURE, _ENOUGH = 0.04, 0.1  # mean errors of a trial, of the range


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An input or output as a file describes it; None is a side of any length.

    Attributes
    ----------
    name : str
    shape : tuple of int or None
    dtype : str
        NumPy's name for it.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}[{', '.join('?' if n is None else str(n) for n in self.shape)}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Which of a network's tensors is what.

    Attributes
    ----------
    image : Tensor
        The picture; with 4 channels, the mask too.
    mask : Tensor or None
    noise : tuple of Tensor
        Inputs of a fixed shape that want random numbers.
    scalars : tuple of Tensor
        Inputs that want the number 1 (a truncation).
    output : Tensor
    channels_last : bool
        (N, H, W, C) instead of (N, C, H, W).
    height, width : int or None
        None if any multiple of `MULTIPLE` will do.
    """

    image: Tensor
    mask: Tensor | None
    noise: tuple[Tensor, ...] = ()
    scalars: tuple[Tensor, ...] = ()
    output: Tensor
    channels_last: bool
    height: int | None
    width: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What the numbers mean; each field is one of its `WORDS`.

    Attributes
    ----------
    layout : str
        Two inputs, or one of 4 channels with the mask last or first.
    channels : str
    image, output : str
        Their ranges.
    under_hole : str
        What the picture holds in the hole: ``zero`` on its own scale, or something (``kept``), which is the mean
        of what is known.
    mask : str
        Its value in the hole; elsewhere it has the other end of its range. ``0.5-hole``: −0.5 in the hole, 0.5
        elsewhere.
    """

    layout: str
    channels: str
    image: str
    under_hole: str
    mask: str
    output: str

    def marks(self, dtype: str) -> tuple[float, float]:
        """Return the mask's values in the hole and elsewhere, for a mask of this type."""
        top = 255.0 if dtype == "uint8" else 1.0
        return {
            "1=hole": (1.0, 0.0),
            "0=hole": (0.0, top),
            "255=hole": (255.0, 0.0),
            "0.5-hole": (-0.5, 0.5),
        }[self.mask]


def read_graph(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Graph:
    """Return which tensor is what.

    Raises
    ------
    InputError
        ``model.kind``: these are not an inpainting network's.
    """
    pictures = [t for t in inputs if len(t.shape) in (3, 4) and _could_be_picture(t)]
    masks = [t for t in pictures if _channels(t) == 1]
    masks = masks or [t for t in pictures if "mask" in t.name.lower() and "masked" not in t.name.lower()]
    images = [t for t in pictures if t not in masks]
    if len(images) == 2 and not masks:  # nothing tells them apart but their order, and it is always this one
        images, masks = images[:1], images[1:]
    drawn = [t for t in outputs if len(t.shape) in (3, 4) and _channels(t) in (3, None)]
    drawn = drawn or [t for t in outputs if not t.shape]  # of a shape that only a run shows
    rest = [t for t in inputs if t not in images and t not in masks]
    noise = tuple(t for t in rest if t.dtype.startswith("float") and _is_fixed(t) and len(t.shape) > 1)
    scalars = tuple(t for t in rest if t not in noise and t.dtype.startswith("float") and len(t.shape) <= 1)
    joined = len(images) == 1 and _channels(images[0]) == 4
    right = len(images) == 1 and len(masks) == (0 if joined else 1) and _channels(images[0]) in (3, 4, None)
    if not right or not drawn or len(rest) != len(noise) + len(scalars):
        raise unknown(inputs, outputs)
    image = images[0]
    last = _channel_axis(image) == len(image.shape) - 1
    sides = image.shape[-3:-1] if last else image.shape[-2:]
    return Graph(
        image=image,
        mask=masks[0] if masks else None,
        noise=noise,
        scalars=scalars,
        output=drawn[0],
        channels_last=last,
        height=sides[0],
        width=sides[1],
    )


def unknown(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> InputError:
    """Return the error for a network of another kind."""
    return InputError(
        f"not an inpainting model Reknit knows: inputs {_listed(inputs)}; outputs {_listed(outputs)}",
        code="model.kind",
        hint="it knows networks with a picture of 3 channels and a mask of 1, or one input of 4 channels, that give "
        f"3 channels; where those are right but the numbers are not, {HOW_TO_STATE}",
        inputs=[str(t) for t in inputs],
        outputs=[str(t) for t in outputs],
    )


def parse(text: str) -> dict[str, str]:
    """Return a contract that was stated as text, such as ``"image=-1..1 mask=0=hole"``, as a mapping.

    Raises
    ------
    InputError
        ``model.contract``: not of this form.
    """
    stated: dict[str, str] = {}
    for part in text.split():
        key, equals, value = part.partition("=")
        if not equals or not value:
            raise _wrong(f"{part!r} is not KEY=VALUE")
        stated[key] = value
    return stated


def settle(graph: Graph, stated: Mapping[str, Any], infer: Infer) -> Contract:
    """Return the contract of a network.

    Parameters
    ----------
    graph : Graph
    stated : mapping
        What is known of it: any of the fields of `Contract`.
    infer : callable
        Runs the network. It is called only where something is left open, once if the first guess is right.

    Raises
    ------
    InputError
        ``model.contract``: what was stated does not suit, or a trial did not tell.
    """
    found = _candidates(graph, _checked(stated, graph))
    if len(found) == 1:
        return found[0]
    height, width = graph.height or _TRIAL_PX, graph.width or _TRIAL_PX
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = np.rint(_FLAT * 255)
    hole = np.zeros((height, width), np.bool_)
    middle = np.s_[height * 3 // 8 : height * 5 // 8, width * 3 // 8 : width * 5 // 8]
    hole[middle] = True
    pixels[middle] = 255 - pixels[middle]
    best, least = found[0], np.inf
    tried: dict[Contract, NDArray[Any]] = {}
    for one in found:
        key = replace(one, output="")
        if key not in tried:
            if least <= _SURE:
                break
            erase = one.under_hole == "zero"  # else the hole would have the right colour before
            tried[key] = infer(pack(graph, one, pixels, hole, seed=0, erase=erase))
        made = _drawn(graph, tried[key], one)[middle]
        error = float(np.abs(np.nan_to_num(made, nan=9e9) - _FLAT).mean())
        if error < least - 1e-4:
            best, least = one, error
    if least > _ENOUGH:
        raise InputError(
            "a trial did not tell what this model wants: it fills no flat picture flat",
            code="model.contract",
            hint=HOW_TO_STATE,
            error=round(float(least), 3),
        )
    return best


def pack(
    graph: Graph,
    contract: Contract,
    pixels: Samples,
    hole: NDArray[np.bool_],
    *,
    seed: int,
    erase: bool = True,
) -> Tensors:
    """Return a network's inputs.

    Parameters
    ----------
    graph : Graph
    contract : Contract
    pixels : ndarray of uint8, (H, W, 3)
        RGB, of a size the network takes.
    hole : ndarray of bool, (H, W)
    seed : int
        For networks that want noise.
    erase : bool
        Whether the network gets in the hole what its contract says, instead of what is there.
    """
    ordered: Any = pixels[..., ::-1] if contract.channels == "bgr" else pixels
    low, high = RANGES[contract.image]
    values = ordered * np.float32((high - low) / 255) + np.float32(low)
    if erase and contract.under_hole == "zero":
        values[hole] = 0
    elif erase and hole.any():
        values[hole] = values[~hole].mean(axis=0)
    in_hole, elsewhere = contract.marks((graph.mask or graph.image).dtype)
    marks = np.where(hole, np.float32(in_hole), np.float32(elsewhere))[..., None]
    if graph.mask is None:
        order = (marks, values) if contract.layout == "mask+image" else (values, marks)
        return {graph.image.name: _shaped(np.concatenate(order, axis=2), graph.image)} | _others(graph, seed)
    marks = np.broadcast_to(marks, (*hole.shape, _channels(graph.mask) or 1))
    given = {graph.image.name: _shaped(values, graph.image), graph.mask.name: _shaped(marks, graph.mask)}
    return given | _others(graph, seed)


def unpack(graph: Graph, contract: Contract, output: NDArray[Any]) -> NDArray[np.uint8]:
    """Return what a network drew as RGB (H, W, 3); what is beyond its range is clipped, NaN is black."""
    drawn = _drawn(graph, output, contract)
    drawn *= 255
    np.nan_to_num(drawn, copy=False, nan=0.0)
    return np.ascontiguousarray(np.clip(np.rint(drawn), 0, 255).astype(np.uint8))


def _drawn(graph: Graph, output: NDArray[Any], contract: Contract) -> NDArray[np.float32]:
    """Return an output as RGB (H, W, 3) from 0 to 1."""
    picture: Any = output.reshape(output.shape[-3:])
    if picture.shape[-1] != 3 or (picture.shape[0] == 3 and not graph.channels_last):
        picture = np.moveaxis(picture, 0, -1)
    if picture.shape[-1] != 3:
        raise InputError(
            f"the model draws {picture.shape[-1]} channels, not 3",
            code="model.kind",
            hint="it is of another kind",
        )
    if contract.channels == "bgr":
        picture = picture[..., ::-1]
    low, high = RANGES[contract.output]
    return (picture.astype(np.float32) - np.float32(low)) / np.float32(high - low)


def _shaped(values: Any, tensor: Tensor) -> NDArray[Any]:
    """Return (H, W, C) as ``tensor`` wants it."""
    axis = _channel_axis(tensor)
    if axis is None:  # a mask without an axis for its one channel
        values = values[..., 0]
    elif axis != len(tensor.shape) - 1:
        values = np.moveaxis(values, -1, 0)
    if len(tensor.shape) > values.ndim:
        values = values[None]
    return np.ascontiguousarray(values, tensor.dtype)


def _others(graph: Graph, seed: int) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    given = {
        t.name: rng.standard_normal([n or 1 for n in t.shape]).astype(t.dtype, copy=False)
        for t in graph.noise
    }
    return given | {t.name: np.ones([n or 1 for n in t.shape], t.dtype) for t in graph.scalars}


def _checked(stated: Mapping[str, Any], graph: Graph) -> dict[str, str]:
    checked: dict[str, str] = {}
    for key, value in stated.items():
        if key not in WORDS:
            raise _wrong(f"{key!r} is unknown; {nearest_name(key, WORDS)}")
        if value not in WORDS[key]:
            raise _wrong(f"{key}={value}: {nearest_name(str(value), WORDS[key])}")
        checked[key] = str(value)
    if (checked.get("layout", "image,mask") == "image,mask") is not (
        graph.mask is not None
    ) and "layout" in checked:
        raise _wrong(
            f"layout={checked['layout']}, but its file has {'no' if graph.mask is None else 'a'} mask input"
        )
    for key, tensor in (("image", graph.image), ("output", graph.output)):
        if key in checked and (checked[key] == "uint8") is not (tensor.dtype == "uint8"):
            raise _wrong(f"{key}={checked[key]}, but in its file that is {tensor}")
    return checked


def _wrong(why: str) -> InputError:
    return InputError(f"the model's contract cannot be used: {why}", code="model.contract", hint=HOW_TO_STATE)


def _candidates(graph: Graph, stated: Mapping[str, Any]) -> list[Contract]:
    """Return all contracts that a graph and what was stated leave open, the likeliest first."""
    pictures = ("uint8",) if graph.image.dtype == "uint8" else ("-1..1", "0..1", "0..255")
    draws = ("uint8",) if graph.output.dtype == "uint8" else ("-1..1", "0..1", "0..255")
    ways: list[tuple[str, str, str]]
    if graph.mask is None:
        ways = [
            ("image+mask", "0..1", "1=hole"),
            ("mask+image", "-1..1", "0.5-hole"),
        ]  # LaMa's and MI-GAN's own
        ways += product(WORDS["layout"][1:], pictures, ("1=hole", "0=hole", "0.5-hole"))
    else:
        masks = {"uint8": ("0=hole", "255=hole", "1=hole"), "bool": ("1=hole", "0=hole")}
        polarities = masks.get(graph.mask.dtype, ("1=hole", "0=hole", "255=hole"))
        ways = [("image,mask", picture, mask) for mask, picture in product(polarities, pictures)]
    under_hole = "kept" if graph.image.dtype == "uint8" else "zero"
    open_ways = dict.fromkeys(
        (stated.get("layout", layout), stated.get("image", picture), stated.get("mask", mask))
        for layout, picture, mask in ways
    )
    return [
        Contract(
            layout=layout,
            channels=stated.get("channels", "rgb"),
            image=picture,
            under_hole=stated.get("under_hole", under_hole),
            mask=mask,
            output=output,
        )
        for layout, picture, mask in open_ways
        for output in dict.fromkeys(stated.get("output", drawn) for drawn in draws)
    ]


def _could_be_picture(tensor: Tensor) -> bool:
    known = [n for n in tensor.shape if n is not None]
    return tensor.dtype in ("float32", "float16", "uint8", "bool") and (
        _channels(tensor) in (1, 3, 4) or len(known) < len(tensor.shape)
    )


def _channel_axis(tensor: Tensor) -> int | None:
    """Return which axis holds the channels, None for (N, H, W) or (H, W) masks."""
    rank = len(tensor.shape)
    first = rank - 3
    for axis in (first, rank - 1):
        if tensor.shape[axis] in (1, 3, 4) and not (axis == 0 and rank == 3 and tensor.shape[0] == 1):
            return axis
    if rank == 3:
        return None
    return first


def _channels(tensor: Tensor) -> int | None:
    axis = _channel_axis(tensor)
    return 1 if axis is None else tensor.shape[axis]


def _is_fixed(tensor: Tensor) -> bool:
    return all(n is not None for n in tensor.shape[1:])


def _listed(tensors: Sequence[Tensor]) -> str:
    return ", ".join(map(str, tensors)) or "none"
