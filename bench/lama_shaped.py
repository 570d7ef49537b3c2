"""A network of LaMa's true shape with random weights, as an ONNX file: for time and memory, not for pictures.

After Suvorov et al., WACV 2022 (doi:10.1109/WACV51458.2022.00323), big-lama: 18 residual blocks of fast Fourier
convolutions over 512 channels at an eighth of the size, three quarters of them global; about 51 million weights.
Fourier transforms are products with constant matrices, as exports for onnxruntime have them, so the size is fixed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BLOCKS = 18
LOCAL, GLOBAL = 128, 384


class _Graph:
    """Nodes and weights, named as they come."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.count = 0
        self._rng = np.random.default_rng(seed)

    def do(self, kind: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        name = out or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Any, kind: type = np.float32) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value, kind), name))
        return name

    def drawn(self, *shape: int) -> str:
        """Return random weights that keep the size of what goes through them."""
        self.count += int(np.prod(shape))
        scale = (2 / np.prod(shape[1:])) ** 0.5
        return self.constant(self._rng.standard_normal(shape, np.float32) * np.float32(scale))

    def padded(self, value: str, px: int) -> str:
        return self.do("Pad", value, self.constant([0, 0, px, px, 0, 0, px, px], np.int64), mode="reflect")

    def conv(self, value: str, into: int, out: int, side: int, *, pad: bool = True, stride: int = 1) -> str:
        value = self.padded(value, side // 2) if pad and side > 1 else value
        shape = [side, side]
        return self.do(
            "Conv", value, self.drawn(out, into, side, side), kernel_shape=shape, strides=[stride] * 2
        )

    def relu(self, value: str) -> str:
        return self.do("Relu", value)

    def sum(self, one: str, other: str) -> str:
        return self.do("Add", one, other)


def write(path: Path, *, side: int = 512, blocks: int = BLOCKS, seed: int = 0) -> int:
    """Write the network for ``side`` px to ``path`` and return how many weights it has."""
    g = _Graph(seed)
    known = g.do("Sub", g.constant(1.0), "mask")
    value = g.do("Concat", g.do("Mul", "image", known), "mask", axis=1)
    value = g.relu(g.conv(value, 4, 64, 7))
    for into, out in ((64, 128), (128, 256)):
        value = g.relu(g.conv(value, into, out, 3, stride=2))
    value = g.padded(value, 1)
    near = g.relu(g.conv(value, 256, LOCAL, 3, pad=False, stride=2))
    far = g.relu(g.conv(value, 256, GLOBAL, 3, pad=False, stride=2))
    fourier = _matrices(g, side // 8)
    for _ in range(blocks):
        one, other = _fourier_conv(g, *_fourier_conv(g, near, far, fourier), fourier)
        near, far = g.sum(near, one), g.sum(far, other)
    value = g.do("Concat", near, far, axis=1)
    for into, out in ((512, 256), (256, 128), (128, 64)):
        weight = g.drawn(into, out, 3, 3)
        shape = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}
        value = g.relu(g.do("ConvTranspose", value, weight, **shape))
    made = g.do("Sigmoid", g.conv(value, 64, 3, 7))
    g.do("Add", g.do("Mul", "image", known), g.do("Mul", made, "mask"), out="output")
    tensors = {"image": 3, "mask": 1, "output": 3}
    image, mask, output = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, side, side])
        for name, channels in tensors.items()
    )
    graph = helper.make_graph(g.nodes, "lama", [image, mask], [output], g.weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return g.count


def _matrices(g: _Graph, n: int) -> dict[str, str]:
    """Return the names of the cosines and sines of transforms of ``n``, whole and of the half that is enough."""
    angle = 2 * np.pi / n * np.outer(np.arange(n), np.arange(n))
    half = n // 2 + 1
    twice = np.where((np.arange(half) == 0) | (np.arange(half) == n // 2), 1.0, 2.0)[:, None]
    scale = 1 / np.sqrt(n)
    values = {
        "cos": np.cos(angle) * scale,
        "sin": np.sin(angle) * scale,
        "half_cos": np.cos(angle[:, :half]) * scale,
        "half_sin": -np.sin(angle[:, :half]) * scale,
        "back_cos": np.cos(angle[:half]) * twice * scale,
        "back_sin": -np.sin(angle[:half]) * twice * scale,
    }
    return {name: g.constant(value) for name, value in values.items()}


def _fourier_conv(g: _Graph, near: str, far: str, fourier: dict[str, str]) -> tuple[str, str]:
    near_padded, far_padded = g.padded(near, 1), g.padded(far, 1)
    out_near = g.sum(
        g.conv(near_padded, LOCAL, LOCAL, 3, pad=False), g.conv(far_padded, GLOBAL, LOCAL, 3, pad=False)
    )
    out_far = g.sum(g.conv(near_padded, LOCAL, GLOBAL, 3, pad=False), _spectral(g, far, fourier))
    return g.relu(out_near), g.relu(out_far)


def _spectral(g: _Graph, value: str, fourier: dict[str, str]) -> str:
    half = GLOBAL // 2
    value = g.relu(g.conv(value, GLOBAL, half, 1))
    real, imaginary = (g.do("MatMul", value, fourier[name]) for name in ("half_cos", "half_sin"))
    cos, sin = fourier["cos"], fourier["sin"]
    across = g.sum(g.do("MatMul", cos, real), g.do("MatMul", sin, imaginary))
    along = g.do("Sub", g.do("MatMul", cos, imaginary), g.do("MatMul", sin, real))
    both = g.relu(g.conv(g.do("Concat", across, along, axis=1), 2 * half, 2 * half, 1))
    at = [g.constant([n], np.int64) for n in (0, half, 2 * half)]
    axis = g.constant([1], np.int64)
    real, imaginary = g.do("Slice", both, at[0], at[1], axis), g.do("Slice", both, at[1], at[2], axis)
    across = g.do("Sub", g.do("MatMul", cos, real), g.do("MatMul", sin, imaginary))
    along = g.sum(g.do("MatMul", cos, imaginary), g.do("MatMul", sin, real))
    back = g.sum(g.do("MatMul", across, fourier["back_cos"]), g.do("MatMul", along, fourier["back_sin"]))
    return g.conv(g.sum(value, back), half, GLOBAL, 1)
