"""Two ways to paint a crop of a model's size: Reknit's own stages, and diffusers' own pipelines.

`load` opens a model once and keeps it for the next session. A painter gets pixels of the right size, a hole and
values for every knob; how crops come to that size, and what a hole holds before, is not its matter.
"""

# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reknit.core.progress import Part, Report
from reknit.diffusion.placement import Placement
from reknit.diffusion.stage_cache import StageCache, identity, key_of
from reknit.engines.base import Models
from reknit.engines.diffusion_further import paths
from reknit.engines.diffusion_models import Found
from reknit.engines.diffusion_options import size_of
from reknit.engines.kept import KEPT

if TYPE_CHECKING:
    import torch

    from reknit.diffusion.controlnet import Control
    from reknit.diffusion.denoise import StepInfo
    from reknit.diffusion.ip_adapter import Adapter
    from reknit.diffusion.pipelines import Adapter as Pipeline
    from reknit.diffusion.placed import Placed
    from reknit.diffusion.predictor import ControlInput
    from reknit.diffusion.variation import Variation

Note = Callable[[str], None]
Picture = NDArray[np.uint8]

CACHE_BYTES = 256 << 20
"""Of embeddings and latents that are kept, so that a second variation, or a model laid out anew, encodes nothing."""

_stages = StageCache(CACHE_BYTES)
_undecoded = StageCache(64 << 20)  # what was painted, until it is decoded: decoding may run out of memory

_ENCODED, _STEPPED = 0.05, 0.95  # shares of a pass: text and picture before, decoding after


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to paint into one crop.

    Attributes
    ----------
    pixels : ndarray of uint8, (H, W, 3)
        Of a size that the model takes; with ``prefilled``, the hole holds what to begin with.
    hole : ndarray of bool, (H, W)
    prefilled : bool
        Whether ``pixels`` is already what masked content asks for.
    strength_map : ndarray of float32, (H, W), or None
        How much each pixel may change, 0 to 1.
    values : mapping
        Of every option, none left open that the model has a usual value for.
    seeds : tuple of int
        One for each picture.
    control : ndarray of float32, (H, W, 3), or None
        What the ControlNet follows.
    image_prompt : ndarray of uint8, (h, w, 3), or None
        A picture to take after, of any size.
    """

    pixels: Picture
    hole: NDArray[np.bool_]
    prefilled: bool
    strength_map: NDArray[np.float32] | None
    values: Mapping[str, Any]
    seeds: tuple[int, ...]
    control: NDArray[np.float32] | None = None
    image_prompt: Picture | None = None


class Painter(Protocol):
    """A loaded model."""

    @property
    def placement(self) -> Placement:
        """Where it runs."""
        ...

    def paint(self, order: Order, report: Report, note: Note) -> list[Picture]:
        """Return a picture for each seed, (H, W, 3); what they show outside the hole is of no matter."""
        ...

    def facts(self, values: Mapping[str, Any], report: Report) -> dict[str, Any]:
        """Return what a record needs.

        The weights' ``sha256``, sampler and scheduler by A1111's names; the SHA-256 of ``embeddings`` by name, if
        prompts may call any.
        """
        ...


def _begun(order: Order) -> Picture:
    """Return the pixels to begin with: nothing of what was in the hole, unless it is asked for."""
    if order.prefilled or order.values["content"] == "original":
        return order.pixels
    from reknit.diffusion.prepare import blurred_fill

    return np.rint(blurred_fill(order.pixels, order.hole) * 255).astype(np.uint8)


@dataclass(slots=True, kw_only=True)
class NativePainter:
    """Reknit's own stages over a placed checkpoint."""

    placed: Placed
    cache: StageCache
    models: Models | None = None
    _control: Control | None = field(default=None, init=False)
    _adapter: Adapter | None = field(default=None, init=False)

    @property
    def placement(self) -> Placement:
        """Where it runs."""
        return self.placed.placement

    def paint(self, order: Order, report: Report, note: Note) -> list[Picture]:
        """Return a picture for each seed."""
        from reknit.diffusion.denoise import denoise
        from reknit.diffusion.latents import decode
        from reknit.diffusion.prepare import prepare
        from reknit.diffusion.prompt import encode_prompt
        from reknit.diffusion.sampler import sampler

        placed, values = self.placed, order.values
        flow = placed.checkpoint.family.prediction == "flow"
        guided = self._guided(values)
        chosen = sampler(values["sampler"], values["scheduler"])
        report.step("reading the prompt", 0.0)
        self._take_loras(values)
        seen = self._image_prompt(order)
        conditioning = encode_prompt(
            placed,
            values["prompt"],
            values["negative_prompt"] if guided else None,
            clip_skip=values["clip_skip"],
            guidance=values["guidance"] if flow else None,
            embeddings=self._known(values),
            cache=self.cache,
        )
        for text in (*placed.checkpoint.notes, *chosen.notes, *conditioning.notes):
            note(text)
        if values["negative_prompt"] and not guided:
            note(
                "the negative prompt has no effect: "
                + ("FLUX takes none" if flow else "guidance is 1 or less")
            )
        report.step("encoding", 0.5 * _ENCODED)
        latent = values["content"] in ("noise", "nothing") and not order.prefilled
        prepared = prepare(
            placed,
            _begun(order),
            order.hole,
            seeds=order.seeds,
            content=values["content"] if latent else "original",
            strength_map=order.strength_map,
            variation=_variation(values),
            pure_noise=values["strength"] == 1.0 and values["strength_rule"] == "diffusers",
            cache=self.cache,
            note=note,
        )
        part = Part(report, _ENCODED, _STEPPED)

        def on_step(info: StepInfo) -> bool:
            hurried = part.step(f"step {info.index} of {info.total}", info.index / info.total, info.preview())
            if hurried and info.index < info.total:
                note(f"stopped after step {info.index} of {info.total}, because it was asked to end early")
            return bool(hurried) and info.index < info.total

        part.step("painting", 0.0)
        key = self._key(order, conditioning.embeddings)
        latents = _undecoded.get(key)
        if latents is None:
            with self._controls(order) as controls:
                latents = denoise(
                    placed,
                    conditioning,
                    prepared,
                    chosen,
                    steps=values["steps"],
                    strength=values["strength"],
                    rule=values["strength_rule"],
                    guidance=values["guidance"] if guided else 1.0,
                    guidance_rescale=values["guidance_rescale"],
                    eta=values["eta"],
                    controls=controls,
                    image_prompt=seen,
                    cache_skip=values["cache_skip"],
                    on_step=on_step,
                ).cpu()  # off the device, which has to be free if decoding runs out of memory
        _undecoded.put(key, latents)
        report.step("decoding", _STEPPED)
        made = decode(placed, latents, note=note)
        _undecoded.drop(key)
        return [np.rint(picture * 255).astype(np.uint8) for picture in made]

    @contextmanager
    def _controls(self, order: Order) -> Generator[Sequence[ControlInput]]:
        """Have the ControlNet on the device, with what it follows, if there is one; the last used one stays open."""
        import torch

        from reknit.diffusion import controlnet
        from reknit.diffusion.predictor import ControlInput

        values, picture = order.values, order.control
        if picture is None:
            self._control = None
            yield ()
            return
        path = Path(values["control"])
        if self._control is None or self._control.path != path:
            self._control = None
            self._control = controlnet.open_controlnet(path, checkpoint=self.placed.checkpoint)
        with controlnet.at_work(self._control, self.placed) as network:
            planes = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]
            yield (
                ControlInput(
                    network=network,
                    picture=planes.to(self.placed.device),
                    weight=values["control_strength"],
                    start=values["control_start"],
                    end=values["control_end"],
                ),
            )

    def _image_prompt(self, order: Order) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Have the IP-Adapter in the model, or none, and return what it attends to."""
        from reknit.diffusion import ip_adapter

        values, picture = order.values, order.image_prompt
        if picture is None:
            self._adapter = None
            ip_adapter.put_in(None, self.placed)
            return None
        path = Path(values["image_prompt_model"])
        if self._adapter is None or self._adapter.path != path:
            self._adapter = None
            self._adapter = ip_adapter.open_adapter(path, self.models() if self.models else None)
        ip_adapter.put_in(self._adapter, self.placed, values["image_prompt_weight"])
        return ip_adapter.embeddings(self._adapter, picture, self.placed, cache=self.cache)

    def _take_loras(self, values: Mapping[str, Any]) -> None:
        """Have the LoRAs in the model that the option and the prompt's tags name, and no others."""
        from reknit.diffusion import emphasis, lora

        store = self.models() if self.models else None
        wanted = lora.named(values["lora"] or "", store)
        tags = emphasis.parse(values["prompt"]).loras
        lora.apply(self.placed, wanted | {lora.locate_lora(name, store): weight for name, weight in tags})

    def _guided(self, values: Mapping[str, Any]) -> bool:
        return self.placed.checkpoint.family.prediction != "flow" and values["guidance"] > 1

    def _known(self, values: Mapping[str, Any]) -> dict[str, Path]:
        """Return the textual inversions that prompts may call: those of the option, and those found by name."""
        from reknit.diffusion import textual_inversion

        store = self.models() if self.models else None
        return textual_inversion.known(store) | textual_inversion.chosen(values["embeddings"] or "", store)

    def _embeddings(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return the SHA-256 of each textual inversion that is used, by name."""
        from reknit.diffusion.prompt import embeddings_in

        there = self._known(values)
        texts = (values["prompt"], *([values["negative_prompt"]] if self._guided(values) else ()))
        used = (each for text in texts for each in embeddings_in(self.placed, text, there))
        return {each.name: each.sha256 for each in used}

    def _key(self, order: Order, embeddings: Mapping[str, str]) -> str:
        """Return what tells one painting from another, however the model is laid out."""
        checkpoint = self.placed.checkpoint
        wanted = sorted((name, repr(value)) for name, value in order.values.items())
        arrays = (order.pixels, order.hole, order.strength_map, order.control, order.image_prompt)
        about = (*arrays, order.prefilled, order.seeds, repr(wanted), repr(embeddings))
        return key_of("painted", identity(checkpoint), *about)

    def facts(self, values: Mapping[str, Any], report: Report) -> dict[str, Any]:
        """Return what a record needs."""
        from reknit.diffusion.sampler import SCHEDULES, sampler

        chosen = sampler(values["sampler"], values["scheduler"])
        solver = chosen.solver
        label = next((each.a1111 for each in SCHEDULES if each.name == chosen.schedule), "")
        return {
            "sha256": self.placed.checkpoint.hashed(report),
            "sampler": "" if solver is None else solver.a1111 or solver.name,
            "scheduler": label or chosen.schedule or "",
            "embeddings": self._embeddings(values),
        }


@dataclass(slots=True, kw_only=True)
class PipelinePainter:
    """One of diffusers' pipelines."""

    adapter: Pipeline

    @property
    def placement(self) -> Placement:
        """Where it runs."""
        return self.adapter.placement

    def paint(self, order: Order, report: Report, note: Note) -> list[Picture]:
        """Return a picture for each seed, painted one after the other."""
        from reknit.diffusion.memory import memory_guard
        from reknit.diffusion.pipelines import Painting

        values, facts = order.values, self.adapter.facts
        for name, what in (
            *(("sampler", "samplers"), ("scheduler", "schedulers"), ("lora", "LoRAs")),
            *(("variation", "variations"), ("noise_size", "noise sizes"), ("embeddings", "embeddings")),
        ):
            if values[name]:
                note(f"{facts.title} runs in diffusers' own pipeline, which takes no {what} of Reknit's")
        if order.strength_map is not None:
            note(f"{facts.title} paints with one strength everywhere: softness only blends")
        if values["strength"] < 1 and not self.adapter.takes_strength:
            note(f"{facts.title} always paints anew: strength has no effect")
        begun = _begun(order)
        made: list[Picture] = []
        for i, seed in enumerate(order.seeds):
            part = Part(report, i / len(order.seeds), (i + 1) / len(order.seeds))
            part.step("painting", 0.0)
            painting = Painting(
                prompt=values["prompt"],
                negative_prompt=values["negative_prompt"],
                steps=values["steps"],
                guidance=values["guidance"],
                strength=values["strength"],
                seed=seed,
                control=order.control,
                control_strength=values["control_strength"],
                control_start=values["control_start"],
                control_end=values["control_end"],
            )
            with memory_guard("painting", self.placement.device):
                picture = self.adapter.paint(
                    begun, order.hole, painting, lambda done, part=part: part.step("painting", done)
                )
            made.append(picture)
        return made

    def facts(self, values: Mapping[str, Any], report: Report) -> dict[str, Any]:
        """Return what a record needs."""
        return {"sha256": "", "sampler": "", "scheduler": "", "pipeline": self.adapter.facts.name}


def _variation(values: Mapping[str, Any]) -> Variation:
    from reknit.diffusion.variation import Variation

    size = size_of(values["noise_size"])
    return Variation(
        seed=values["vary_seed"],
        strength=values["variation"],
        size=None if size is None else (size[0] // 8, size[1] // 8),
    )


def load(
    found: Found, values: Mapping[str, Any], placement: Placement, models: Models | None, report: Report
) -> Painter:
    """Return a painter; the same one for the same model and parts, unchanged on the disk, and placement.

    Raises
    ------
    ReknitError
        As `reknit.diffusion.checkpoint.open_checkpoint` and `reknit.diffusion.pipelines.open_pipeline`.
    """
    names = ("vae", "text_encoders", *(("control",) if found.pipeline is not None else ()))
    parts = {name: paths(values, name) for name in names}
    files = [found.source, *(path for each in parts.values() for path in each)]
    key = ("diffusion", tuple(parts.items()), *((file, _stamp(Path(file))) for file in files), placement)
    return KEPT.get(
        key,
        lambda: _opened(found, parts, placement, models, report),
        device=placement.device,
        size=_held(found, placement),
    )


def _held(found: Found, placement: Placement) -> int:
    """Return the bytes that a model's weights take once they are loaded; files mostly hold them in 16 bits."""
    wide = placement.dtype == "float32" and placement.quantise == "none" and "gguf" not in found.source
    return found.bytes * (2 if wide else 1)


def _opened(
    found: Found,
    given: Mapping[str, tuple[str, ...]],
    placement: Placement,
    models: Models | None,
    report: Report,
) -> Painter:
    from reknit.diffusion.memory import memory_guard

    with memory_guard("opening the model", placement.device):
        if found.pipeline is not None:
            from reknit.diffusion.pipelines import open_pipeline

            control = next((Path(path) for path in given["control"]), None)
            opened = open_pipeline(Path(found.source), found.pipeline, placement, control)
            return PipelinePainter(adapter=opened)
        from reknit.diffusion.checkpoint import open_checkpoint
        from reknit.diffusion.placed import place

        opened = open_checkpoint(
            found.source,
            vae=next(iter(given["vae"]), None),
            text_encoders=given["text_encoders"],
            models=models() if models else None,
            report=report,
        )
        return NativePainter(placed=place(opened, placement), cache=_stages, models=models)


def _stamp(path: Path) -> Sequence[Any]:
    """Return what changes when a model's files do."""
    files = [path] if path.is_file() else sorted(path.glob("*/*")) if path.is_dir() else []
    return tuple((str(each), each.stat().st_mtime_ns, each.stat().st_size) for each in files)
