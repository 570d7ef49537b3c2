"""A checkpoint, opened: the networks of one latent diffusion model, and what is known of it.

It takes a folder of diffusers, a hub repository in the local cache, a model of the catalog, or one file as other
programs keep it; the file's contents decide which family it is. It never reaches for the network, and does not
know where its parts will compute: that is `reknit.diffusion.placed`'s.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reknit.core.errors import InputError, NotFound
from reknit.diffusion import components, weights
from reknit.diffusion.families import Family, family
from reknit.models.identify import identify

if TYPE_CHECKING:
    from reknit.core.progress import Report
    from reknit.models.store import Store


@dataclass(slots=True, kw_only=True)
class Checkpoint:
    """The networks of a latent diffusion model.

    Attributes
    ----------
    family : Family
    kind : {'inpaint', 'base'}
        Whether the denoiser takes the mask and the masked picture.
    denoiser : UNet2DConditionModel or FluxTransformer2DModel
    vae : AutoencoderKL
    text_encoders : tuple
        In the order of ``family.text``.
    tokenizers : tuple
        One for each text encoder.
    scheduler_config : dict
        In diffusers' words, with ``_class_name``.
    dtype : torch.dtype
        What most of the denoiser's weights are kept in.
    files : tuple of Path
        What it was read from.
    source : str
        What was asked for.
    distilled : str or None
        ``turbo``, ``lightning``, ``lcm``, ``hyper``, ``schnell``: needs few steps and little guidance.
    notes : tuple of str
        What a user should know.
    """

    family: Family
    kind: str
    denoiser: Any
    vae: Any
    text_encoders: tuple[Any, ...]
    tokenizers: tuple[Any, ...]
    scheduler_config: dict[str, Any]
    dtype: Any
    files: tuple[Path, ...]
    source: str
    distilled: str | None = None
    notes: tuple[str, ...] = ()
    loras: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def prediction(self) -> str:
        """What the denoiser predicts: ``epsilon``, ``v_prediction`` or ``flow``."""
        if self.family.prediction == "flow":
            return "flow"
        return str(self.scheduler_config.get("prediction_type", self.family.prediction))


def open_checkpoint(
    source: str | Path,
    *,
    dtype: Any = None,
    models: Store | None = None,
    report: Report,
) -> Checkpoint:
    """Open a checkpoint. Weights are mapped from the disk where the format allows it.

    Parameters
    ----------
    source
        A folder of diffusers.
    dtype
        A torch dtype to bring all weights to; by default they stay as they are kept.
    """
    path = Path(source)
    if path.is_dir():
        opened = _folder(path, report)
    else:
        raise NotFound(f"{source} is no model", code="model.unknown", hint="reknit models")
    if dtype is not None:
        for network in (opened.denoiser, opened.vae, *opened.text_encoders):
            components.cast(network, dtype)
        opened.dtype = dtype
    return opened


def _folder(folder: Path, report: Report) -> Checkpoint:
    denoiser = next((name for name in ("unet", "transformer") if (folder / name).is_dir()), None)
    if denoiser is None:
        raise InputError(
            f"{folder} holds no model of diffusers",
            code="model.family",
            hint="it lacks unet/ and transformer/",
        )
    networks: dict[str, Any] = {}
    files: list[Path] = []
    file = weights.weight_file(folder / denoiser)
    assert file is not None
    known = identify(file)
    found = family(known.family)
    parts = [denoiser, "vae", *("text_encoder", "text_encoder_2")[: len(found.text)]]
    for number, part in enumerate(parts):
        report.step(f"opening {part}", number / len(parts))
        file = weights.weight_file(folder / part)
        assert file is not None
        config = json.loads((folder / part / "config.json").read_text(encoding="utf-8"))
        text = found.text[number - 2] if number >= 2 else ""
        network = components.empty(part, config, text)
        networks[part] = components.filled(network, weights.read(file), str(file))
        files.append(file)
    transformers = weights.extra("transformers")
    tokenizers = []
    for number, text in enumerate(found.text):
        made = transformers.T5Tokenizer if text == "t5-xxl" else transformers.CLIPTokenizer
        name = "tokenizer" if number == 0 else "tokenizer_2"
        tokenizers.append(made.from_pretrained(str(folder / name), local_files_only=True))
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    return Checkpoint(
        family=found,
        kind=known.kind,
        denoiser=networks[denoiser],
        vae=networks["vae"],
        text_encoders=tuple(networks[part] for part in parts[2:]),
        tokenizers=tuple(tokenizers),
        scheduler_config=scheduler,
        dtype=networks[denoiser].dtype,
        files=tuple(files),
        source=str(folder),
    )
