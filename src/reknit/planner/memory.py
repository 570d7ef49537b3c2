"""The law of memory: what a run takes of the device and of the host, by component and stage.

Peak = weights that are on the device together + the largest activations beside them. Activations grow with the
picture's area as counted on torch's meta device, times what convolution workspaces add; the allocator holds more than
it gave out. A pure function; nothing here decides whether that fits. Constants are in ``laws.toml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from reknit.planner.facts import AREA, GIB, Component, Family, weight_bytes
from reknit.planner.laws import Laws

TILE_PX = 512
"""The side of the tiles that a tiled decoder works in; the default of diffusers, 1024, would tile nothing at 1024²."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is run, and how it is laid out.

    Attributes
    ----------
    family : Family
    width, height : int
        Of the picture the model works on, in pixels.
    images : int
        Pictures made at once.
    calls : int or None
        Pictures in one call of the denoiser; by default ``images``, doubled by guidance.
    dtype : {'half', 'fp32'}
        Of activations, and of weights that are not quantised.
    weights, text, vae : str
        Formats of weights; None for ``dtype``'s (and fp32 for decoders that need it).
    offload : {'none', 'model', 'group', 'sequential', 'denoiser'}
        ``denoiser``: only the denoiser is streamed, by group.
    tiled, sliced : bool
        Whether the VAE works in tiles, and on one picture at a time.
    backend : {'cuda', 'rocm', 'xpu', 'mps', 'cpu'}
        Processors have no allocator's slack and no driver's context; ROCm's convolutions take larger workspaces.
    extra : tuple of Component
        Further components that stay on the device.
    stored : mapping of str to int
        Bytes of weights that are known better than by format.
    """

    family: Family
    width: int
    height: int
    images: int = 1
    calls: int | None = None
    dtype: str = "half"
    weights: str | None = None
    text: str | None = None
    vae: str | None = None
    offload: str = "none"
    tiled: bool = False
    sliced: bool = False
    backend: str = "cuda"
    extra: tuple[Component, ...] = ()
    stored: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def area(self) -> float:
        """The picture's area, in `AREA`."""
        return self.width * self.height / AREA

    @property
    def pictures(self) -> int:
        """Pictures in one call of the denoiser."""
        if self.calls is not None:
            return self.calls
        return self.images * (2 if self.family.guided == "batch" else 1)

    @property
    def vae_dtype(self) -> str:
        """What the VAE works in."""
        return self.vae or ("fp32" if self.family.vae_fp32 else self.dtype)

    def weight_bytes(self) -> dict[str, int]:
        """Return the bytes of each component's weights."""
        plain = self.dtype
        found = weight_bytes(
            self.family,
            self.weights or plain,
            self.text or plain,
            vae="fp32" if self.vae_dtype == "fp32" else "half",
            stored=self.stored,
        )
        return found | {part.name: part.bytes(plain) for part in self.extra}


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a run takes, in bytes.

    Attributes
    ----------
    weights : mapping of str to float
        Weights on the device at the peak, by component.
    activations : float
        The rest of what torch's allocator gives out at the peak.
    held : float
        What it holds beyond that.
    context : float
        What the driver takes for the process (torch and its libraries, on a processor).
    stage : str
        Where the peak is: ``text``, ``denoise`` or ``decode``.
    ram : float
        Of the host.
    """

    weights: Mapping[str, float]
    activations: float
    held: float
    context: float
    stage: str
    ram: float

    @property
    def allocated(self) -> float:
        """What torch's allocator gives out at the peak."""
        return sum(self.weights.values()) + self.activations

    @property
    def reserved(self) -> float:
        """What torch's allocator holds at the peak."""
        return self.allocated + self.held

    @property
    def total(self) -> float:
        """What the driver sees."""
        return self.reserved + self.context

    def parts(self) -> dict[str, float]:
        """Return the peak by component, for people."""
        rest = {"activations": self.activations, "held by the allocator": self.held}
        return {**self.weights, **rest, "driver": self.context}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    name: str
    weights: Mapping[str, float]
    live: float
    held: float

    @property
    def size(self) -> float:
        return sum(self.weights.values()) + self.live + self.held


def predict(setup: Setup, laws: Laws) -> Memory:
    """Return what ``setup`` takes at its peak."""
    weights: dict[str, float] = {name: float(size) for name, size in setup.weight_bytes().items()}
    share = laws.of(setup.family.name).memory
    stages = [
        replace(stage, live=share * stage.live, held=share * stage.held)
        for stage in _stages(setup, laws, weights)
    ]
    top = max(stages, key=lambda stage: stage.size)
    return Memory(
        weights=MappingProxyType(dict(top.weights)),
        activations=top.live,
        held=top.held,
        context=laws["host.cpu" if setup.backend == "cpu" else "context"] * GIB,
        stage=top.name,
        ram=_ram(setup, laws, sum(weights.values()), top.size),
    )


def _stages(setup: Setup, laws: Laws, weights: Mapping[str, float]) -> list[_Stage]:
    """Return what is on the device in each stage, by how things are offloaded."""
    family = setup.family
    denoise = denoising(setup, laws)
    slack = 0.0 if setup.backend == "cpu" or not family.latent else laws["slack"] * denoise
    if family.vae is None:
        return [_Stage(name="denoise", weights=weights, live=denoise, held=0.0)]
    decode, held = decoding(setup, laws)
    text_held = 0.0 if setup.backend == "cpu" else laws["text"] * GIB
    streamed = laws["streamed"] * GIB
    others = {name: size for name, size in weights.items() if name != family.denoiser.name}
    vae = {family.vae.name: weights[family.vae.name]}
    painter = {family.denoiser.name: weights[family.denoiser.name]}
    if setup.offload == "none":
        return [
            _Stage(name="denoise", weights=weights, live=denoise, held=slack),
            _Stage(name="decode", weights=weights, live=decode, held=held + slack),
        ]
    if setup.offload == "denoiser":
        return [
            _Stage(name="denoise", weights=others, live=denoise + streamed, held=slack),
            _Stage(name="decode", weights=others, live=decode, held=held),
        ]
    if setup.offload == "model":
        encoders = {part.name: weights[part.name] for part in family.text}
        return [
            _Stage(name="text", weights=encoders, live=0.0, held=text_held),
            _Stage(name="denoise", weights=painter, live=denoise, held=slack),
            _Stage(name="decode", weights=vae, live=decode, held=held),
        ]
    none: dict[str, float] = {}
    whole = setup.offload == "group"
    return [
        _Stage(name="denoise", weights=none, live=denoise + streamed, held=slack),
        _Stage(name="decode", weights=vae if whole else none, live=decode, held=held),
    ]


def denoising(setup: Setup, laws: Laws) -> float:
    """Return the bytes of activations that one call of the denoiser takes."""
    part = setup.family.denoiser
    wide = 2 if setup.dtype == "fp32" else 1
    factor = {"dit": 1.0, "eraser": laws["conv.lama"]}.get(part.kind) or _convolved(setup, setup.dtype, laws)
    return part.live(setup.area) * setup.pictures * wide * factor


def decoding(setup: Setup, laws: Laws) -> tuple[float, float]:
    """Return the bytes that decoding takes, and what the allocator holds beyond them."""
    part = setup.family.vae
    if part is None:
        return 0.0, 0.0
    wide = 2 if setup.vae_dtype == "fp32" else 1
    factor = laws["conv.3d"] if part.kind == "vae3d" else _convolved(setup, setup.vae_dtype, laws)
    pictures = 1 if setup.sliced else setup.images
    area = setup.area
    canvas = 0.0
    if setup.tiled and area > (tile := TILE_PX**2 / AREA):
        area = tile
        canvas = setup.area * AREA * 3 * 2 * wide * setup.images
    live = part.live(area) * pictures * wide * factor + canvas
    return live, 0.0 if setup.backend == "cpu" else (laws["decode.reserved"] - 1) * live


def encoding_reserved(setup: Setup, laws: Laws) -> float:
    """Return the bytes that the allocator holds while a picture is encoded: five sixths as many are alive."""
    part = setup.family.vae
    if part is None:
        return 0.0
    return part.live(setup.area) * 1280 / 1536 * laws["encode.reserved"]


def _convolved(setup: Setup, dtype: str, laws: Laws) -> float:
    return laws[f"conv.{dtype}"] * (laws["conv.rocm"] if setup.backend == "rocm" else 1.0)


def _ram(setup: Setup, laws: Laws, weights: float, peak: float) -> float:
    if setup.backend == "cpu":
        return peak + laws["host.cpu"] * GIB
    if setup.offload == "none":
        return laws["host.resident"] * GIB
    return weights + laws["host"] * GIB
