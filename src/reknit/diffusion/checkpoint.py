"""A checkpoint, opened: the networks of one latent diffusion model, and what is known of it.

It takes a folder of diffusers, a hub repository in the local cache, a model of the catalog, or one file as other
programs keep it; the contents decide which family it is. It never reaches for the network, and does not know where
its parts will compute: that is `reknit.diffusion.placed`'s.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reknit.core.progress import Reporter
from reknit.diffusion import components, distilled, parts, sources, tokenizers, weights
from reknit.diffusion.digest import digest
from reknit.diffusion.families import Family, families, family
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
        None where the VAE was opened alone.
    vae : AutoencoderKL
        None where it was left out.
    text_encoders : tuple
        In the order of ``family.text``.
    tokenizers : tuple
        One for each text encoder.
    scheduler_config : dict
        In diffusers' words, with ``_class_name``.
    dtype : torch.dtype
        What most of the denoiser's weights are kept in.
    files : tuple of Path
        What it was read from, the denoiser's first.
    source : str
        What was asked for.
    distilled : str or None
        ``turbo``, ``lightning``, ``lcm``, ``hyper``, ``schnell``: needs few steps and little guidance; a key of
        `reknit.diffusion.distilled.DISTILLED`.
    notes : tuple of str
        What a user should know.
    memory : Path or None
        The folder in which digests are remembered.
    loras : dict of Path to float or (float, float)
        Those that are loaded, with their weights; `reknit.diffusion.lora` keeps it.
    adapter : reknit.diffusion.ip_adapter.Adapter or None
        The IP-Adapter in its denoiser; that module keeps it.
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
    memory: Path | None = None
    loras: dict[Path, float | tuple[float, float]] = field(
        default_factory=dict[Path, "float | tuple[float, float]"]
    )
    adapter: Any = None
    _digest: str = field(default="", init=False, repr=False)

    @property
    def prediction(self) -> str:
        """What the denoiser predicts: ``epsilon``, ``v_prediction`` or ``flow``."""
        if self.family.prediction == "flow":
            return "flow"
        return str(self.scheduler_config.get("prediction_type", self.family.prediction))

    @property
    def native_px(self) -> int:
        """The side of the square pictures the checkpoint was made for."""
        side = self.denoiser.config.get("sample_size")
        return side * self.vae_scale if isinstance(side, int) else self.family.native_px

    @property
    def vae_scale(self) -> int:
        """How many pixels wide one latent is."""
        return 2 ** (len(self.vae.config["block_out_channels"]) - 1)

    @property
    def digest(self) -> str:
        """The SHA-256 of the weights, in hex: see `hashed`."""
        return self.hashed(Reporter())

    def hashed(self, report: Report) -> str:
        """Return the SHA-256 of the weights, in hex: of one file its own, of several that of theirs.

        Its first ten digits are what A1111 calls the hash of a model in one file. The first time costs reading all
        of it, some seconds for each GB.
        """
        if not self._digest:
            self._digest = digest(self.files, report, folder=self.memory)
        return self._digest


def open_checkpoint(
    source: str | Path,
    *,
    dtype: Any = None,
    vae: str | Path | None = None,
    text_encoders: Sequence[str | Path] = (),
    tokenizers: Sequence[Any] | None = None,
    models: Store | None = None,
    hub_cache: Path | None = None,
    with_vae: bool = True,
    report: Report,
) -> Checkpoint:
    """Open a checkpoint. Weights are mapped from the disk where the format allows it.

    Parameters
    ----------
    source
        A folder of diffusers; a ``.safetensors``, ``.ckpt`` or ``.gguf`` file of a whole checkpoint or of a denoiser;
        an id of the catalog; a hub repository that the local cache holds.
    dtype
        A torch dtype to bring all weights to; by default they stay as they are kept.
    vae
        A file or folder with the VAE to use instead of the checkpoint's own.
    text_encoders
        The same for the text encoders, in any order: what each is, its file tells.
    tokenizers
        One for each text encoder, instead of those that would be found.
    models
        The models on this machine.
    hub_cache
        The hub's cache; by default that of ``models``.
    with_vae
        False leaves the VAE out, which then need not be there.
    report
        Told about each part.

    Raises
    ------
    NotFound
        ``model.unknown``
    InputError
        ``model.family``: none that Reknit has stages for; ``model.damaged``; ``model.nan``: a weight is no number;
        ``model.part``: a part is missing.
    Unavailable
        ``engine.missing``: the extra is not installed; ``model.missing``; ``model.tokenizer``
    """
    weights.extra("torch")
    cache = hub_cache if hub_cache is not None or models is None else models.hub_cache
    where = sources.locate(source, models, cache)
    report.step("opening the model", 0.0)
    found = parts.of_folder(where.main) if where.main.is_dir() else parts.of_file(where.main)
    given = dict(where.parts)
    given |= {"vae": Path(vae)} if vae is not None else {}
    texts = parts.in_order(Path(path) for path in text_encoders)
    given |= dict(zip(parts.TEXT_PARTS[: len(found.family.text)], texts, strict=False))
    for part, path in given.items():
        found.found[part] = parts.of_part(path, part, found.family, found.kind)
    if not with_vae:
        found.found.pop("vae", None)
    for part in [part for part in parts.missing(found) if with_vae or part != "vae"]:
        path = sources.beside(where.main, part, models) if found.family.name == "flux" else None
        if path is None:
            raise sources.absent(part, where.main)
        found.found[part] = parts.of_part(path, part, found.family, found.kind)
    networks = _built(found, dtype, report)
    return _checkpoint(found, networks, where, tokenizers, models, cache)


def open_vae(path: str | Path, *, dtype: Any = None, report: Report) -> Checkpoint:
    """Open a VAE alone: a file of its own, or that of a whole checkpoint, whose other parts are not built.

    A VAE of Stable Diffusion does not tell which of the families it was made for; it is taken for one of SDXL's,
    whose VAE is the most careful of its range.

    Raises
    ------
    InputError
        ``model.part``: there is none in the file; ``model.damaged``, ``model.nan``
    """
    weights.extra("torch")
    report.step("opening the vae", 0.0)
    where = Path(path)
    name = parts.of_folder(where).family.name if where.is_dir() else identify(where).family
    made = family(name if name in families() else "sdxl")
    part = parts.of_part(where, "vae", made, "base")
    network = components.filled(components.empty("vae", part.config), part.tensors, str(part.path))
    report.step("opening the vae", 1.0)
    return Checkpoint(
        family=made,
        kind="base",
        denoiser=None,
        vae=network if dtype is None else components.cast(network, dtype),
        text_encoders=(),
        tokenizers=(),
        scheduler_config={},
        dtype=components.dtype_of(network),
        files=(part.path,),
        source=str(path),
    )


def _built(found: parts.Parts, dtype: Any, report: Report) -> dict[str, Any]:
    networks: dict[str, Any] = {}
    for number, (name, part) in enumerate(found.found.items()):
        report.step(f"opening the {name.replace('_', ' ')}", number / len(found.found))
        text = found.family.text[parts.TEXT_PARTS.index(name)] if name in parts.TEXT_PARTS else ""
        network = components.empty(name, part.config, text)
        components.filled(network, part.tensors, str(part.path))
        networks[name] = network if dtype is None else components.cast(network, dtype)
        part.tensors.clear()
    report.step("opening the model", 1.0)
    return networks


def _checkpoint(
    found: parts.Parts,
    networks: dict[str, Any],
    where: sources.Source,
    given: Sequence[Any] | None,
    models: Store | None,
    hub_cache: Path | None,
) -> Checkpoint:
    made = found.family
    texts = tuple(networks[name] for name in parts.TEXT_PARTS if name in networks)
    if given is None:
        near = [where.main] if where.main.is_dir() else [where.main.parent, where.main.with_suffix("")]
        given = tokenizers.find(
            made.text,
            [network.config.vocab_size for network in texts],
            near=near,
            hub_cache=hub_cache,
            files=[found.found[name].path for name in parts.TEXT_PARTS if name in networks],
        )
    denoiser = networks[made.denoiser]
    kind = distilled.recognise(found.found[made.denoiser].config, found.scheduler, where.names)
    return Checkpoint(
        family=made,
        kind=found.kind,
        denoiser=denoiser,
        vae=networks.get("vae"),
        text_encoders=texts,
        tokenizers=tuple(given),
        scheduler_config=found.scheduler,
        dtype=components.dtype_of(denoiser),
        files=tuple(dict.fromkeys(part.path for part in found.found.values())),
        source=os.fspath(where.names[0]) if where.names else str(where.main),
        distilled=kind,
        notes=_notes(kind, where),
        memory=models.models_dir if models is not None else None,
    )


def _notes(kind: str | None, where: sources.Source) -> tuple[str, ...]:
    if kind is None:
        return ()
    facts = distilled.DISTILLED[kind]
    steps = distilled.stated_steps(where.names) or facts.steps
    return (f"a {kind} model: {steps} steps and guidance {facts.guidance:g} are what it was trained for",)
