"""The parts of a checkpoint, gathered from where they lie: a folder of diffusers, one file, or several files.

Each part is tensors in diffusers' names with the configuration that fits them. Nothing is built here, and nothing
is looked for beyond the places it is told.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from reknit.core.errors import InputError
from reknit.diffusion import original, weights
from reknit.diffusion.families import Family, configs, family
from reknit.diffusion.fitted import fitted
from reknit.diffusion.weights import Tensors
from reknit.models import families as marks
from reknit.models.header import Tensor
from reknit.models.identify import identify

TEXT_PARTS = ("text_encoder", "text_encoder_2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One network's weights and configuration.

    Attributes
    ----------
    tensors : mapping of str to torch.Tensor
        In diffusers' or transformers' names.
    config : dict
        In their words.
    path : Path
        The file it was read from.
    """

    tensors: Tensors
    config: dict[str, Any]
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What was found of a checkpoint.

    Attributes
    ----------
    family : Family
    kind : {'inpaint', 'base'}
    found : dict of str to Part
        By component: ``unet`` or ``transformer``, ``vae``, ``text_encoder``, ``text_encoder_2``; some may be missing.
    scheduler : dict
        The scheduler's configuration.
    """

    family: Family
    kind: str
    found: dict[str, Part]
    scheduler: dict[str, Any]


def of_folder(folder: Path) -> Parts:
    """Return the parts of a folder of diffusers.

    Raises
    ------
    InputError
        ``model.family``: no model that Reknit has stages for; ``model.damaged``
    """
    name = next((each for each in ("unet", "transformer") if (folder / each).is_dir()), None)
    path = weights.weight_file(folder / name) if name else None
    if name is None or path is None:
        raise InputError(
            f"{folder} is no folder of a diffusion model: it has no weights in unet or transformer",
            code="model.family",
            hint="give the folder that holds model_index.json",
            path=str(folder),
        )
    tensors = weights.read(path)
    made, kind = _family(tensors, folder)
    found = {name: Part(tensors=tensors, config=_json(folder / name / "config.json"), path=path)}
    for part in ("vae", *TEXT_PARTS[: len(made.text)]):
        path = weights.weight_file(folder / part)
        if path is not None:
            config = _json(folder / part / "config.json")
            found[part] = Part(tensors=weights.read(path), config=config, path=path)
    scheduler = folder / "scheduler" / "scheduler_config.json"
    said = _json(scheduler) if scheduler.is_file() else configs(made.name, kind)["scheduler"]
    return Parts(family=made, kind=kind, found=found, scheduler=said)


def of_file(path: Path) -> Parts:
    """Return the parts that one file holds: a whole checkpoint, or a denoiser alone.

    Raises
    ------
    InputError
        ``model.family``, ``model.damaged``, ``model.unrecognised``
    """
    identity = identify(path)
    if identity.kind in ("lora", "embedding", "control", "vae", "text"):
        raise InputError(
            f"{path} is no whole model but a part of one: {identity.family} {identity.kind}",
            code="model.family",
            hint="give the checkpoint it belongs to",
            path=str(path),
        )
    tensors = weights.read(path)
    made, kind = _family(tensors, path)
    known = configs(made.name, kind, *variants(made.name, kind, tensors, path))
    found: dict[str, Part] = {}
    for part, wanted in zip(
        (made.denoiser, "vae", *TEXT_PARTS), ("denoiser", "vae", *made.text), strict=False
    ):
        own = original.part(tensors, wanted)
        if own is not None:
            found[part] = _part(part, wanted, known, own, path)
    return Parts(family=made, kind=kind, found=found, scheduler=known["scheduler"])


def of_part(path: Path, part: str, made: Family, kind: str) -> Part:
    """Return one part from a file of its own, or from a folder as transformers and diffusers save it.

    Raises
    ------
    InputError
        ``model.part``: the file holds something else.
    """
    wanted = "vae" if part == "vae" else made.text[TEXT_PARTS.index(part)]
    where = path
    if path.is_dir():
        inside = path / part if (path / part).is_dir() else path
        where = weights.weight_file(inside) or path
    own = original.part(weights.read(where), wanted) if where.is_file() else None
    if own is None:
        raise InputError(
            f"{path} holds no {wanted}", code="model.part", hint="reknit models show FILE", path=str(path)
        )
    stated = where.parent / "config.json"
    if path.is_dir() and stated.is_file():
        return Part(tensors=own, config=_json(stated), path=where)
    return _part(part, wanted, configs(made.name, kind), own, where)


def in_order(paths: Iterable[Path]) -> list[Path]:
    """Return text encoders in the order of `Family.text`, whatever order they came in: smaller CLIPs first, T5 last.

    Raises
    ------
    InputError, NotFound
        As `reknit.models.identify.identify`.
    """

    def rank(path: Path) -> tuple[bool, int]:
        found = identify((weights.weight_file(path) or path) if path.is_dir() else path)
        return found.family == "t5", found.parameters

    return sorted(paths, key=rank)


def variants(name: str, kind: str, tensors: Mapping[str, Any], path: Path) -> list[str]:
    """Return which variants of its family a single file is: names in the family's configurations.

    Stable Diffusion 2's larger base predicts velocity, and no tensor's shape tells: a ``.yaml`` beside the file
    does, as for A1111, or else the spread of one layer's bias, by which ComfyUI tells them. SDXL files say it with
    a tensor called ``v_pred``.
    """
    stated = path.with_suffix(".yaml")
    text = stated.read_text(encoding="utf-8", errors="replace") if stated.is_file() else ""
    found: list[str] = []
    if 'parameterization: "v"' in text or "v_pred" in tensors:
        found.append("v_prediction")
    elif name == "sd2" and kind == "base" and not text:
        bias = tensors.get(
            "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias",
            tensors.get("up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias"),
        )
        if bias is not None and float(bias.float().std(correction=0)) > _SPREAD_OF_VELOCITY:
            found.append("v_prediction")
    return [*found, "zero_terminal_snr"] if "ztsnr" in tensors else found


_SPREAD_OF_VELOCITY = 0.09
"""ComfyUI's threshold, comfy/supported_models.py, class SD20."""


def missing(parts: Parts) -> Iterable[str]:
    """Yield the components that a checkpoint of its family needs and that were not found."""
    for part in ("vae", *TEXT_PARTS[: len(parts.family.text)]):
        if part not in parts.found:
            yield part


def _part(part: str, wanted: str, known: Mapping[str, Any], own: Tensors, path: Path) -> Part:
    text = wanted if part in TEXT_PARTS else ""
    return Part(tensors=own, config=fitted(part, known[part], own, text), path=path)


def _family(tensors: Tensors, path: Path) -> tuple[Family, str]:
    headers = {name: Tensor(dtype="", shape=weights.shape(tensor)) for name, tensor in tensors.items()}
    found = marks.of_tensors(headers)
    if found.kind not in ("inpaint", "base"):
        raise InputError(
            f"{path} is no model that paints: family {found.name}, {found.kind}",
            code="model.family",
            hint="known: checkpoints of Stable Diffusion 1, 2 and XL and of FLUX.1, for inpainting or not",
            path=str(path),
            family=found.name,
        )
    return family(found.name), found.kind


def _json(path: Path) -> dict[str, Any]:
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read: {error}", code="model.damaged", hint="download the model again"
        ) from error
    return cast("dict[str, Any]", data)
