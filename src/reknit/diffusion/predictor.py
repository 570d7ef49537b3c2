"""One question to a denoiser: what noise is in this sample, given the prompt?

A `Predictor` knows how UNets and FLUX transformers want to be asked: channels beside the sample, sizes, packed
patches, embedded guidance, control networks; and it applies classifier-free guidance to the answers. It knows no
scheduler and keeps no sample.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch

from reknit.core.errors import InputError

if TYPE_CHECKING:
    from reknit.diffusion.placed import Placed
    from reknit.diffusion.prompt import Conditioning, Text


_LAST_STEP = 999
"""The training step with the most noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlInput:
    """A control network with its picture.

    Attributes
    ----------
    network : ControlNetModel
        Of diffusers, on the denoiser's device.
    picture : Tensor, (1, channels, H, W)
        As the network wants it: usually from 0 to 1; for inpainting networks -1 in the hole.
    weight : float
    start, end : float
        The part of the walk it takes part in, 0 to 1: steps that lie wholly within.
    by_level : bool
        Whether ``start`` and ``end`` are parts of all the model's noise levels, as ComfyUI counts, whatever of them
        is walked.
    texts : {'both', 'positive', 'negative'}
        Which prompt it is asked with.
    """

    network: Any
    picture: torch.Tensor
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0
    by_level: bool = False
    texts: Literal["both", "positive", "negative"] = "both"

    def takes_part(self, done: float, share: float, step: float) -> bool:
        """Return whether it is asked at training step ``step``, which is ``share`` of the walk after ``done`` of it."""
        if self.by_level:
            level = 1 - step / _LAST_STEP
            return (self.start <= 0 or self.start <= level) and (self.end >= 1 or level <= self.end)
        return self.start <= done + 1e-6 and done + share <= self.end + 1e-6


class Predictor(Protocol):
    """Answers what a denoiser predicts."""

    def __call__(
        self, sample: torch.Tensor, scaled: torch.Tensor, step: torch.Tensor, done: float
    ) -> torch.Tensor:
        """Return the guided prediction for ``scaled`` at training step ``step``; ``done`` is 0 to 1."""
        ...


@dataclass(slots=True, kw_only=True)
class UNetPredictor:
    """Asks a UNet of Stable Diffusion."""

    placed: Placed
    conditioning: Conditioning
    condition: torch.Tensor | None
    size: tuple[int, int]
    count: int
    guidance: float
    rescale: float = 0.0
    controls: Sequence[ControlInput] = ()
    steps: int = 1
    image_prompt: tuple[torch.Tensor, torch.Tensor] | None = None
    _calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def __post_init__(self) -> None:
        positive, negative = self.conditioning.positive, self.conditioning.negative
        unet = self.placed.checkpoint.denoiser
        distilled = unet.config.get("time_cond_proj_dim")
        guided = self.guidance > 1.0 and negative is not None and distilled is None
        texts = [negative, positive] if guided and negative is not None else [positive]
        same = len({tuple(text.embeds.shape) for text in texts}) == 1
        for group in [texts] if same else [[text] for text in texts]:
            call = self._call(group)
            call["texts"] = ["positive" if text is positive else "negative" for text in group]
            self._calls.append(call)
        if distilled is not None:
            embedding = guidance_embedding(self.guidance - 1.0, int(distilled), self.count)
            for call in self._calls:
                call["timestep_cond"] = embedding.to(self.placed.device, self.placed.dtype)

    @property
    def guided(self) -> bool:
        """Whether it asks twice, with and without the prompt."""
        return sum(int(call["rows"]) for call in self._calls) > self.count

    def _call(self, texts: list[Text]) -> dict[str, Any]:
        device, dtype = self.placed.device, self.placed.dtype
        rows = len(texts) * self.count
        embeds = torch.cat([text.embeds.repeat(self.count, 1, 1) for text in texts]).to(device, dtype)
        call: dict[str, Any] = {"rows": rows, "encoder_hidden_states": embeds}
        if self.placed.checkpoint.family.name == "sdxl":
            pooled = torch.cat(
                [text.pooled.repeat(self.count, 1) for text in texts if text.pooled is not None]
            )
            told = self.conditioning
            width, height = told.size or self.size
            first_width, first_height = told.original_size or (width, height)
            ids = [first_height, first_width, told.crop[1], told.crop[0], height, width]
            call["added_cond_kwargs"] = {
                "text_embeds": pooled.to(device, dtype),
                "time_ids": torch.tensor([ids], dtype=dtype, device=device).repeat(rows, 1),
            }
        if self.image_prompt is not None:
            wanted, without = self.image_prompt
            rows = [without if text is self.conditioning.negative else wanted for text in texts]
            seen = torch.cat([row.repeat_interleave(self.count, dim=0) for row in rows])
            call.setdefault("added_cond_kwargs", {})["image_embeds"] = [seen.to(device, dtype)]
        if self.condition is not None:
            beside = self.condition.to(device, dtype)
            beside = beside.repeat(self.count // beside.shape[0], 1, 1, 1)
            call["beside"] = torch.cat([beside] * len(texts))
        return call

    def __call__(
        self, sample: torch.Tensor, scaled: torch.Tensor, step: torch.Tensor, done: float
    ) -> torch.Tensor:
        """Return the guided prediction for ``scaled`` at training step ``step``."""
        answers: list[torch.Tensor] = []
        for call in self._calls:
            given = (
                torch.cat([scaled] * (call["rows"] // self.count)) if call["rows"] > self.count else scaled
            )
            answers.append(self._ask(given, step, call, done))
        answer = torch.cat(answers) if len(answers) > 1 else answers[0]
        if not self.guided:
            return answer
        without, wanted = answer.chunk(2)
        return guided(without, wanted, self.guidance, self.rescale)

    def _ask(
        self, scaled: torch.Tensor, step: torch.Tensor, call: dict[str, Any], done: float
    ) -> torch.Tensor:
        extra: dict[str, Any] = {}
        for control in self.controls:
            if control.takes_part(done, 1 / self.steps, float(step)):
                self._add(extra, control, scaled, step, call)
        if "beside" in call:
            scaled = torch.cat([scaled, call["beside"]], dim=1)
        return self.placed.checkpoint.denoiser(
            scaled,
            step,
            encoder_hidden_states=call["encoder_hidden_states"],
            timestep_cond=call.get("timestep_cond"),
            added_cond_kwargs=call.get("added_cond_kwargs"),
            return_dict=False,
            **extra,
        )[0]

    def _add(
        self,
        extra: dict[str, Any],
        control: ControlInput,
        scaled: torch.Tensor,
        step: torch.Tensor,
        call: dict[str, Any],
    ) -> None:
        heard = [float(control.texts in ("both", text)) for text in call["texts"]]
        if not any(heard):
            return
        down, middle = control.network(
            scaled,
            step,
            encoder_hidden_states=call["encoder_hidden_states"],
            controlnet_cond=control.picture.to(scaled).repeat(call["rows"], 1, 1, 1),
            conditioning_scale=control.weight,
            added_cond_kwargs=call.get("added_cond_kwargs"),
            return_dict=False,
        )
        if not all(heard):
            rows = torch.tensor(heard).repeat_interleave(self.count).to(scaled)[:, None, None, None]
            down, middle = [each * rows for each in down], middle * rows
        if "mid_block_additional_residual" in extra:
            before = extra["down_block_additional_residuals"]
            down = [one + other for one, other in zip(before, down, strict=True)]
            middle = extra["mid_block_additional_residual"] + middle
        extra["down_block_additional_residuals"] = down
        extra["mid_block_additional_residual"] = middle


@dataclass(slots=True, kw_only=True)
class FluxPredictor:
    """Asks a FLUX transformer: patches of 2x2 latents, guidance as an embedding.

    ``guidance`` is true classifier-free guidance, beside the embedded one; at 1 the negative prompt is not asked.
    """

    placed: Placed
    conditioning: Conditioning
    condition: torch.Tensor | None
    size: tuple[int, int]
    count: int
    guidance: float = 1.0
    rescale: float = 0.0
    controls: Sequence[ControlInput] = ()
    steps: int = 1
    image_prompt: tuple[torch.Tensor, torch.Tensor] | None = None
    _beside: torch.Tensor | None = None
    _places: torch.Tensor | None = None
    _texts: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def __post_init__(self) -> None:
        if self.controls:
            raise InputError(
                "control networks of FLUX are not supported",
                code="control.family",
                hint="use one of SD 1.5 or SDXL",
            )
        device, dtype = self.placed.device, self.placed.dtype
        width, height = self.size
        self._places = patch_places(height // 16, width // 16).to(device, dtype)
        if self.condition is not None:
            beside = self.condition.to(device, dtype)
            self._beside = packed(beside.repeat(self.count // beside.shape[0], 1, 1, 1))
        strength = self.conditioning.guidance
        embedded = None
        if self.placed.checkpoint.denoiser.config["guidance_embeds"]:
            if strength is None:
                strength = self.placed.checkpoint.family.guidance[self.placed.checkpoint.kind]
            embedded = torch.full([self.count], float(strength), device=device, dtype=torch.float32)
        texts = [self.conditioning.positive]
        if self.guidance > 1.0 and self.conditioning.negative is not None:
            texts.append(self.conditioning.negative)
        for text in texts:
            assert text.pooled is not None
            self._texts.append(
                {
                    "encoder_hidden_states": text.embeds.repeat(self.count, 1, 1).to(device, dtype),
                    "pooled_projections": text.pooled.repeat(self.count, 1).to(device, dtype),
                    "txt_ids": torch.zeros(text.embeds.shape[1], 3, device=device, dtype=dtype),
                    "guidance": embedded,
                }
            )

    @property
    def guided(self) -> bool:
        """Whether it asks twice, with and without the prompt."""
        return len(self._texts) > 1

    def __call__(
        self, sample: torch.Tensor, scaled: torch.Tensor, step: torch.Tensor, done: float
    ) -> torch.Tensor:
        """Return the guided prediction for ``scaled`` at training step ``step``."""
        hidden = packed(scaled)
        if self._beside is not None:
            hidden = torch.cat([hidden, self._beside], dim=2)
        time = step.expand(hidden.shape[0]).to(hidden.dtype) / 1000
        rows, columns = int(scaled.shape[2]), int(scaled.shape[3])
        answers = [
            self.placed.checkpoint.denoiser(
                hidden_states=hidden, timestep=time, img_ids=self._places, return_dict=False, **text
            )[0]
            for text in self._texts
        ]
        wanted = unpacked(answers[0], rows, columns)
        if len(answers) == 1:
            return wanted
        return guided(unpacked(answers[1], rows, columns), wanted, self.guidance, self.rescale)


def guided(without: torch.Tensor, wanted: torch.Tensor, scale: float, rescale: float = 0.0) -> torch.Tensor:
    """Return the prediction of classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598).

    ``rescale`` brings its contrast back towards that of ``wanted`` (Lin et al. 2023, arXiv:2305.08891).
    """
    answer = without + scale * (wanted - without)
    if rescale > 0.0:
        axes = list(range(1, wanted.ndim))
        ratio = wanted.std(dim=axes, keepdim=True) / answer.std(dim=axes, keepdim=True)
        answer = answer * (rescale * ratio + (1 - rescale))
    return answer


def guidance_embedding(scale: float, channels: int, count: int) -> torch.Tensor:
    """Return the embedding of a guidance scale that distilled UNets take, (count, channels), float32.

    Source: Song et al., Improved Techniques; as `StableDiffusionInpaintPipeline` computes it.
    """
    half = channels // 2
    rates = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10000.0) / (half - 1)))
    angles = torch.full([count, 1], scale * 1000.0) * rates[None]
    embedding = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.nn.functional.pad(embedding, (0, channels - 2 * half))


def packed(latents: torch.Tensor) -> torch.Tensor:
    """Return (N, C, h, w) as FLUX's patches, (N, h/2 · w/2, 4 C)."""
    count, channels, rows, columns = latents.shape
    grid = latents.view(count, channels, rows // 2, 2, columns // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return grid.reshape(count, (rows // 2) * (columns // 2), channels * 4)


def unpacked(patches: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Return the reverse of `packed`."""
    count, _, depth = patches.shape
    grid = patches.view(count, rows // 2, columns // 2, depth // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return grid.reshape(count, depth // 4, rows, columns)


def patch_places(rows: int, columns: int) -> torch.Tensor:
    """Return where each patch lies, (rows · columns, 3): 0, row, column."""
    places = torch.zeros(rows, columns, 3)
    places[..., 1] = torch.arange(rows)[:, None]
    places[..., 2] = torch.arange(columns)[None]
    return places.reshape(rows * columns, 3)
