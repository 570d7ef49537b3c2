"""Select the thing at a point with a Segment Anything model, if the user has put one into a folder.

Models are pairs of ONNX files, ``NAME.encoder.onnx`` and ``NAME.decoder.onnx``: Meta's own export, MobileSAM,
and SAM 2 with its feature maps. What a model wants is read from its inputs. A picture is encoded once; each
click then runs the small decoder only. onnxruntime is imported here alone, when the first click comes. It
knows no HTTP, and downloads nothing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import ExternalError, InputError, Unavailable
from reknit.core.geometry import Box, Size
from reknit.core.image import Photo
from reknit.pipeline.selection import Point, Selection, fitted, scaled

_PROMPT = ("point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size")
_MEAN = np.array([123.675, 116.28, 103.53], np.float32)  # of ImageNet, as SAM was trained
_STD = np.array([58.395, 57.12, 57.375], np.float32)
_SIDE_PX = 1024
_PICTURES = 8  # how many pictures' embeddings are kept
_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
_BOX_CORNERS = (2, 3)  # labels of a box's first and second corner; 1 = on the thing, 0 = not, -1 = no point

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Embedding:
    """What the encoder said about a picture.

    Attributes
    ----------
    tensors : mapping of str to ndarray
        By the decoder's names.
    guide : ndarray of uint8, (h, w, 3)
        The picture as the encoder saw it, without padding.
    """

    tensors: Tensors
    guide: NDArray[np.uint8]


class Segmenter:
    """Selects with the models in a folder. Safe to use from several threads; one picture is encoded at a time.

    Parameters
    ----------
    folder
        Where pairs of ONNX files lie. It need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._model: _Model | None = None
        self._embeddings: OrderedDict[tuple[str, str], _Embedding] = OrderedDict()

    def installed(self) -> tuple[str, ...]:
        """Return the names of the models that are there, sorted."""
        decoders = {path.name for path in self.folder.glob("*decoder.onnx")}
        return tuple(
            sorted(
                name.removesuffix("decoder.onnx").rstrip("._-")
                for name in decoders
                if (self.folder / name.replace("decoder.onnx", "encoder.onnx")).is_file()
            )
        )

    def select(
        self,
        photo: Photo,
        picture: str,
        *,
        foreground: Sequence[Point] = (),
        background: Sequence[Point] = (),
        box: Box | None = None,
    ) -> Selection:
        """Select the thing at some points, or in a box.

        Parameters
        ----------
        photo : Photo
        picture : str
            Names the photo, so that it is encoded once.
        foreground, background : sequences of (x, y)
            Points on the thing, and not on it, in the photo's pixels.
        box : Box, optional
            Around the thing.

        Raises
        ------
        InputError
            ``select.point``, ``select.nothing``
        Unavailable
            ``segment.no-model``, ``segment.onnxruntime``
        ExternalError
            ``segment.failed``: the model cannot be loaded or run, or is of another kind.
        """
        for x, y in (*foreground, *background):
            if not (0 <= x < photo.size.width and 0 <= y < photo.size.height):
                raise InputError(
                    f"the point {x:g}, {y:g} lies outside the picture ({photo.size})",
                    code="select.point",
                    hint="points are x, y in the picture's pixels",
                )
        if not foreground and box is None:
            raise InputError(
                "there is no point on what is to be selected", code="select.point", hint="click on the thing"
            )
        with self._lock:
            model = self._loaded()
            embedding = self._embedding(model, photo, picture)
            logits = model.decode(embedding, photo.size, _prompt(foreground, background, box))
        return Selection.of(_at_full_size(photo, embedding.guide, logits), Box.whole(photo.size))

    def _loaded(self) -> _Model:
        names = self.installed()
        if not names:
            raise Unavailable(
                "no model that selects by a click is installed",
                code="segment.no-model",
                hint=f"put NAME.encoder.onnx and NAME.decoder.onnx of a Segment Anything model into {self.folder}; "
                "a box or a scribble needs none",
                folder=str(self.folder),
            )
        if self._model is None or self._model.name != names[0]:
            self._model = _Model(self.folder, names[0])
        return self._model

    def _embedding(self, model: _Model, photo: Photo, picture: str) -> _Embedding:
        key = (model.name, picture)
        if key not in self._embeddings:
            self._embeddings[key] = model.encode(photo)
            while len(self._embeddings) > _PICTURES:
                self._embeddings.popitem(last=False)
        self._embeddings.move_to_end(key)
        return self._embeddings[key]


class _Model:
    """A pair of sessions, and what their inputs say about the model."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        decoder = next(path for path in folder.glob("*decoder.onnx") if path.name[:-12].rstrip("._-") == name)
        self._encoder = _session(decoder.with_name(decoder.name.replace("decoder.onnx", "encoder.onnx")))
        self._decoder = _session(decoder)
        self._image = self._encoder.get_inputs()[0]
        self._wants = {item.name: item for item in self._decoder.get_inputs()}
        self._features = [wanted for wanted in self._wants if wanted not in _PROMPT]
        shape = self._image.shape
        if (
            len(shape) not in (3, 4)
            or not {"point_coords", "point_labels"} <= set(self._wants)
            or not 1 <= len(self._features) <= len(self._encoder.get_outputs())
        ):
            raise _failed(
                name, f"inputs {shape} and {', '.join(self._wants)} are not a Segment Anything model's"
            )
        side = shape[2] if len(shape) == 4 else None
        self._side = side if isinstance(side, int) else _SIDE_PX
        self._stretched = len(self._features) > 1  # SAM 2 sees the picture squeezed into a square

    def _seen(self, size: Size) -> Size:
        """Return the size at which the encoder sees a picture."""
        if self._stretched:
            return Size(width=self._side, height=self._side)
        scale = self._side / max(size.shape)
        return Size(
            width=max(1, int(size.width * scale + 0.5)), height=max(1, int(size.height * scale + 0.5))
        )

    def encode(self, photo: Photo) -> _Embedding:
        guide = scaled(photo, Box.whole(photo.size), self._seen(photo.size))
        tensor: Any = guide
        if len(self._image.shape) == 4:  # normalised, channels first, padded at the right and bottom
            tensor = np.zeros((1, 3, self._side, self._side), np.float32)
            normal = (guide.astype(np.float32) - _MEAN) / _STD
            tensor[0, :, : guide.shape[0], : guide.shape[1]] = normal.transpose(2, 0, 1)
        found = self._run(self._encoder, {self._image.name: tensor})
        named = {name: found.pop(name) for name in self._features if name in found}
        rest = iter(found.values())  # one file calls "embeddings" what the other calls "image_embeddings"
        tensors = {name: named[name] if name in named else next(rest) for name in self._features}
        return _Embedding(tensors=tensors, guide=guide)

    def decode(
        self, embedding: _Embedding, size: Size, prompt: tuple[NDArray[Any], NDArray[Any]]
    ) -> NDArray[np.float32]:
        """Return the logits of the best mask at the guide's size, (h, w); above 0 is the thing."""
        import cv2

        points, labels = prompt
        seen = Size.of(embedding.guide.shape)
        points = points * (seen.width / size.width, seen.height / size.height)
        if not self._stretched and _BOX_CORNERS[0] not in labels:
            points, labels = np.append(points, [[0.0, 0.0]], axis=0), np.append(labels, -1)
        mask: list[Any] = list(self._wants["mask_input"].shape) if "mask_input" in self._wants else []
        mask = [n if isinstance(n, int) else d for n, d in zip(mask, (1, 1, 256, 256), strict=False)]
        given: dict[str, Any] = {
            "point_coords": points[None],
            "point_labels": labels[None],
            "mask_input": np.zeros(mask),
            "has_mask_input": np.zeros(1),
            "orig_im_size": np.array(seen.shape),
        }
        inputs = {name: value for name, value in given.items() if name in self._wants} | dict(
            embedding.tensors
        )
        found = self._run(self._decoder, inputs)
        masks = found.get("low_res_masks", found.get("masks", next(iter(found.values()))))
        masks = masks.reshape(-1, *masks.shape[-2:]).astype(np.float32)
        scores = found.get("iou_predictions", np.zeros(1)).reshape(-1)
        best: Any = masks[_best(scores[: len(masks)], len(points))]
        if best.shape != seen.shape:  # a coarse grid over the padded square
            cv: Any = cv2
            best = cv.resize(best, (self._side, self._side), interpolation=cv.INTER_LINEAR)
        return np.ascontiguousarray(best[: seen.height, : seen.width])

    def _run(self, session: Any, inputs: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        types = {item.name: _TYPES.get(item.type, "float32") for item in session.get_inputs()}
        try:
            values = session.run(None, {name: np.asarray(v, types[name]) for name, v in inputs.items()})
        except Exception as error:  # onnxruntime's errors have no common base
            raise _failed(self.name, str(error)) from error
        return dict(zip((item.name for item in session.get_outputs()), values, strict=True))


def _session(path: Path) -> Any:
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise Unavailable(
            "selecting by a click needs onnxruntime, which is not installed",
            code="segment.onnxruntime",
            hint="pip install onnxruntime",
        ) from None
    module: Any = onnxruntime
    options = module.SessionOptions()
    options.log_severity_level = 4
    try:
        return module.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base
        raise _failed(path.name, str(error)) from error


def _failed(name: str, why: str) -> ExternalError:
    return ExternalError(
        f"the model {name} cannot be used",
        code="segment.failed",
        hint="get its files again, or take them out of the folder",
        reason=why[:500],
    )


def _prompt(
    foreground: Sequence[Point], background: Sequence[Point], box: Box | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points (N, 2) and their labels (N,)."""
    corners = () if box is None else ((box.x0, box.y0), (box.x1, box.y1))
    labels = (1,) * len(foreground) + (0,) * len(background) + _BOX_CORNERS[: len(corners)]
    points = np.asarray([*foreground, *background, *corners], np.float64)
    return points, np.asarray(labels, np.float64)


def _best(scores: NDArray[Any], points: int) -> int:
    """Return which mask to take: of four, the first is for several points and the rest are for a single one.

    ``points`` counts the one that says "no further point".
    """
    if len(scores) == 4:
        return 0 if points > 2 else 1 + int(np.argmax(scores[1:]))
    return int(np.argmax(scores))


def _at_full_size(photo: Photo, guide: NDArray[np.uint8], logits: NDArray[np.float32]) -> NDArray[np.bool_]:
    import cv2

    size = photo.size
    if size.width <= guide.shape[1] or size.height <= guide.shape[0]:
        plane: Any = cv2.resize(logits, (size.width, size.height), interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(plane > 0)
    return fitted(photo, Box.whole(size), guide, (logits > 0).astype(np.uint8))
