"""Segment Anything models in miniature, as ONNX files: the same inputs and outputs, next to no weights.

The encoder's "embedding" is the picture itself, averaged; the decoder's masks are discs around the first
point, of different sizes, so that a test can see where a point arrived and which mask was taken.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

GRID = 256  # of the low-resolution masks, over 1024 px
RADII = (10.0, 20.0, 40.0, 30.0)  # of the discs, in cells of the grid


def write(
    folder: Path, name: str = "tiny", *, kind: str = "sam", scores: tuple[float, ...] = (0.9, 0.2, 0.8, 0.3)
) -> None:
    """Write a pair of files: ``sam``, ``mobile`` (raw HWC input, other names) or ``sam2``."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(_encoder(kind), folder / f"{name}.encoder.onnx")
    onnx.save(_decoder(kind, scores), folder / f"{name}.decoder.onnx")


def _tensor(name: str, shape: list, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(nodes: list, inputs: list, outputs: list, constants: dict[str, np.ndarray]) -> onnx.ModelProto:
    fixed = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, fixed)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def _encoder(kind: str) -> onnx.ModelProto:
    if kind == "mobile":  # raw samples, any size, channels last
        nodes = [
            helper.make_node("ReduceMean", ["input_image"], ["mean"], axes=[0, 1], keepdims=0),
            helper.make_node("Shape", ["input_image"], ["size"]),
            helper.make_node("Cast", ["size"], ["size_f"], to=TensorProto.FLOAT),
            helper.make_node("Concat", ["mean", "size_f"], ["image_embeddings"], axis=0),
        ]
        return _model(nodes, [_tensor("input_image", ["h", "w", 3])], [_tensor("image_embeddings", [6])], {})
    pool = helper.make_node("AveragePool", ["image"], ["pooled"], kernel_shape=[16, 16], strides=[16, 16])
    image = [_tensor("image", [1, 3, 1024, 1024])]
    if kind == "sam2":
        nodes = [
            pool,
            helper.make_node("Identity", ["pooled"], ["high_res_feats_0"]),
            helper.make_node("Neg", ["pooled"], ["high_res_feats_1"]),
            helper.make_node("Abs", ["pooled"], ["image_embed"]),
        ]
        names = ("high_res_feats_0", "high_res_feats_1", "image_embed")
        return _model(nodes, image, [_tensor(name, [1, 3, 64, 64]) for name in names], {})
    nodes = [pool, helper.make_node("Identity", ["pooled"], ["embeddings"])]
    return _model(nodes, image, [_tensor("embeddings", [1, 3, 64, 64])], {})


def _decoder(kind: str, scores: tuple[float, ...]) -> onnx.ModelProto:
    features = {
        "sam": {"image_embeddings": [1, 3, 64, 64]},
        "mobile": {"image_embeddings": [6]},
        "sam2": {name: [1, 3, 64, 64] for name in ("image_embed", "high_res_feats_0", "high_res_feats_1")},
    }[kind]
    axis = (np.arange(GRID, dtype=np.float32) + 0.5) * 4
    constants = {
        "xs": np.tile(axis, (GRID, 1))[None, None],
        "ys": np.tile(axis[:, None], (1, GRID))[None, None],
        "radii": (np.float32(RADII[: len(scores)]) * 4).reshape(1, -1, 1, 1),
        "scores": np.float32([scores]),
        "first": np.array(0, np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["point_coords", "first"], ["point"], axis=1),  # (1, 2)
        helper.make_node("Split", ["point"], ["px", "py"], axis=1),
        helper.make_node("Sub", ["xs", "px"], ["dx"]),
        helper.make_node("Sub", ["ys", "py"], ["dy"]),
        helper.make_node("Mul", ["dx", "dx"], ["dx2"]),
        helper.make_node("Mul", ["dy", "dy"], ["dy2"]),
        helper.make_node("Add", ["dx2", "dy2"], ["d2"]),
        helper.make_node("Sqrt", ["d2"], ["d"]),
        helper.make_node("Sub", ["radii", "d"], ["discs"]),
        helper.make_node("Identity", ["scores"], ["iou_predictions"]),
    ]
    masks = "masks" if kind == "sam2" else "low_res_masks"
    nodes.append(helper.make_node("Identity", ["discs"], [masks]))
    outputs = [
        _tensor(masks, [1, len(scores), GRID, GRID]),
        _tensor("iou_predictions", [1, len(scores)]),
    ]
    inputs = [_tensor(name, shape) for name, shape in features.items()] + [
        _tensor("point_coords", [1, "n", 2]),
        _tensor("point_labels", [1, "n"]),
        _tensor("mask_input", [1, 1, 256, 256]),
        _tensor("has_mask_input", [1]),
    ]
    if kind != "sam2":
        inputs.append(_tensor("orig_im_size", [2]))
    return _model(nodes, inputs, outputs, constants)
