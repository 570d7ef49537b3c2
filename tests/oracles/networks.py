"""Inpainting networks whose right answer is known: they paint the hole with a mean of what is known.

Each is a file as people have them, with a contract of its own: ranges, polarity, layout, size. Inputs are clipped to
the range they stand for, so that a network given another one answers wrongly, as a trained one would.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RANGES = {"0..1": (0.0, 1.0), "0..255": (0.0, 255.0), "-1..1": (-1.0, 1.0), "uint8": (0.0, 255.0)}
MARKS = {"1=hole": (1.0, 0.0), "0=hole": (0.0, 1.0), "255=hole": (255.0, 0.0), "0.5-hole": (-0.5, 0.5)}
KINDS = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "uint8": TensorProto.UINT8}


@dataclass(frozen=True, kw_only=True)
class Net:
    """What a network takes and gives; the words are those of `reknit.engines.contracts`.

    ``ring_px``: only known pixels this near to the hole count for the mean; 0 for all. ``tint``: what the three
    channels of the fill are multiplied by. ``heavy``: how many useless convolutions it does on the way.
    """

    layout: str = "image,mask"
    image: str = "0..1"
    mask: str = "1=hole"
    output: str = "0..1"
    side: int | None = None
    dtype: str = "float32"
    channels_last: bool = False
    symbolic: bool = False
    ring_px: int = 0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    heavy: int = 0
    noise: bool = False

    @property
    def stated(self) -> Mapping[str, str]:
        """Return the contract in words."""
        return {"layout": self.layout, "image": self.image, "mask": self.mask, "output": self.output}


class _Graph:
    """Nodes and constants, named as they come."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def do(self, kind: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        name = out or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Any, kind: type = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name


def write(path: Path, net: Net) -> Path:
    """Write a network to ``path`` and return it."""
    onnx.save(build(net), path)
    return path


def build(net: Net) -> onnx.ModelProto:
    """Return a network."""
    g = _Graph()
    image_kind = "uint8" if net.image == "uint8" else net.dtype
    out_kind = "uint8" if net.output == "uint8" else net.dtype
    inputs: list[Any] = []

    def declared(name: str, channels: int, kind: str) -> Any:
        side: Any = net.side
        sides = [side or f"{name}_h", side or f"{name}_w"]
        if net.symbolic:
            return helper.make_tensor_value_info(name, KINDS[kind], [f"{name}_n", f"{name}_c", *sides])
        shape = [1, *sides, channels] if net.channels_last else [1, channels, *sides]
        return helper.make_tensor_value_info(name, KINDS[kind], shape)

    def taken(name: str, channels: int, kind: str) -> str:
        inputs.append(declared(name, channels, kind))
        value = g.do("Cast", name, to=TensorProto.FLOAT)
        return g.do("Transpose", value, perm=[0, 3, 1, 2]) if net.channels_last else value

    if net.layout == "image,mask":
        image, marks = taken("image", 3, image_kind), taken("mask", 1, image_kind)
    else:
        both = taken("input", 4, net.dtype)
        axis, first = g.constant([1], np.int64), net.layout == "mask+image"
        at, to, end = (g.constant([n], np.int64) for n in ((0, 1, 4) if first else (0, 3, 4)))
        one, other = g.do("Slice", both, at, to, axis), g.do("Slice", both, to, end, axis)
        image, marks = (other, one) if first else (one, other)
    if net.noise:
        inputs.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 8]))
    low, high = RANGES[net.image]
    image = g.do("Clip", image, g.constant(low), g.constant(high))
    unit = g.do("Div", g.do("Sub", image, g.constant(low)), g.constant(high - low))
    in_hole, elsewhere = MARKS[net.mask]
    if image_kind == "uint8" and net.mask == "0=hole":
        elsewhere = 255.0
    middle = g.constant((in_hole + elsewhere) / 2)
    is_hole = g.do("Greater" if in_hole > elsewhere else "Less", marks, middle)
    hole = g.do("Cast", is_hole, to=TensorProto.FLOAT)
    known = g.do("Sub", g.constant(1.0), hole)
    counted = known
    if net.ring_px:
        n = 2 * net.ring_px + 1
        near = g.do("MaxPool", hole, kernel_shape=[n, n], pads=[net.ring_px] * 4)
        counted = g.do("Mul", near, known)
    total = g.do("ReduceSum", g.do("Mul", unit, counted), g.constant([2, 3], np.int64))
    count = g.do("ReduceSum", counted, g.constant([2, 3], np.int64))
    mean = g.do("Div", total, g.do("Max", count, g.constant(1.0)))
    mean = g.do("Mul", mean, g.constant(np.reshape(net.tint, (1, 3, 1, 1))))
    if net.noise:
        shift = g.do("ReduceMean", "z", axes=[1], keepdims=1)
        shift = g.do("Reshape", shift, g.constant([1, 1, 1, 1], np.int64))
        mean = g.do("Add", mean, g.do("Mul", shift, g.constant(0.01)))
    drawn = g.do("Add", g.do("Mul", unit, known), g.do("Mul", mean, hole))
    drawn = g.do("Add", drawn, _useless(g, unit, net.heavy)) if net.heavy else drawn
    low, high = RANGES[net.output]
    drawn = g.do("Add", g.do("Mul", drawn, g.constant(high - low)), g.constant(low))
    if out_kind == "uint8":
        drawn = g.do("Round", drawn)
    if net.channels_last:
        drawn = g.do("Transpose", drawn, perm=[0, 2, 3, 1])
    g.do("Cast", drawn, out="output", to=KINDS[out_kind])
    graph = helper.make_graph(g.nodes, "net", inputs, [declared("output", 3, out_kind)], g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def _useless(g: _Graph, value: str, count: int) -> str:
    """Return zeros that took ``count`` convolutions of 16 channels."""
    rng = np.random.default_rng(0)
    for i in range(count):
        weight = rng.normal(0, 0.05, (16, 3 if i == 0 else 16, 3, 3))
        value = g.do("Conv", value, g.constant(weight), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    value = g.do("Conv", value, g.constant(np.zeros((3, 16, 1, 1))), kernel_shape=[1, 1])
    return g.do("Mul", value, g.constant(0.0))


def torchscript(path: Path, net: Net) -> Path:
    """Write the network that `Net` is by default as a TorchScript archive; of ``net`` only ``heavy`` is heeded."""
    import torch

    class Mean(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            rng = np.random.default_rng(0)
            weights = rng.normal(0, 0.05, (net.heavy, 16, 16, 3, 3)).astype(np.float32)
            self.weights = torch.nn.Parameter(torch.from_numpy(weights), requires_grad=False)

        def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            known = (mask < 0.5).float()
            mean = (image * known).sum([2, 3], keepdim=True) / known.sum([2, 3], keepdim=True)
            useless = image[:, :1].repeat(1, 16, 1, 1)
            for i in range(len(self.weights)):
                useless = torch.conv2d(useless, self.weights[i], padding=1)
            return image * known + mean * (1 - known) + 0.0 * useless[:, :3]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch would rather have another format
        torch.jit.script(Mean().eval()).save(str(path))
    return path
