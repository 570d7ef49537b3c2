"""What models are made of: components, families, and how many bytes each format of weights takes.

Pure data, read from ``components.toml``. A model of the catalog belongs to the family that its entry names, and its
files tell their format, so a new model of a known family needs nothing here. Devices and laws are elsewhere.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from reknit.core.errors import NotFound, nearest_name
from reknit.models.catalog import ModelCard

GIB = float(2**30)
AREA = float(2**20)
"""Pixels that areas are counted in: 1024 × 1024."""

BYTES: Mapping[str, float] = MappingProxyType(
    {
        "fp32": 4.0,
        "half": 2.0,
        "int8": 1.0,
        "fp8": 1.0,
        "nf4": 0.5 + 4 / 64,
        "q8_0": 34 / 32,
        "q6_k": 210 / 256,
        "q5_k": 176 / 256,
        "q5_1": 24 / 32,
        "q5_0": 22 / 32,
        "q4_k": 144 / 256,
        "q4_1": 20 / 32,
        "q4_0": 18 / 32,
        "q3_k": 110 / 256,
        "q2_k": 84 / 256,
    }
)
"""Bytes a parameter of a Linear layer takes by format: block sizes of GGUF, and NF4 with one fp32 scale for 64."""

_LARGEST_TEXT = ("text_encoder_3", "text_encoder_2", "text_encoder")
_GGUF = re.compile(r"[-_.](q\d_[k01])(?:_[a-z]+)?\.gguf$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A network of a model, as counted on torch's meta device.

    Attributes
    ----------
    name : str
    kind : {'unet', 'dit', 'vae', 'vae3d', 'text', 'eraser'}
    params, linear : int
        All parameters, and those of Linear layers.
    kept, wide : int
        Parameters that layerwise fp8 leaves in 16 bits, and that bitsandbytes leaves in fp32.
    gemm, attention, live_mib, encode : tuple of float
        Coefficients of polynomials in the picture's area (see ``components.toml``).
    calls, linears : int
        Operations dispatched in a call, Linear layers among them.
    small_channels : bool
        Whether many layers are too narrow to keep a large GPU busy.
    """

    name: str
    kind: str
    params: int
    linear: int
    kept: int = 0
    wide: int = 0
    gemm: tuple[float, ...] = (0.0, 0.0)
    attention: tuple[float, ...] = (0.0, 0.0, 0.0)
    live_mib: tuple[float, ...] = (0.0, 0.0)
    encode: tuple[float, ...] = (0.0, 0.0)
    calls: int = 0
    linears: int = 0
    small_channels: bool = False

    def bytes(self, weights: str) -> int:
        """Return the bytes its weights take in memory, in a format of `BYTES`."""
        if weights in ("fp32", "half"):
            return self.params * (4 if weights == "fp32" else 2)
        wide = self.wide if weights in ("nf4", "int8") else 0
        small = self.linear - wide - (self.kept if weights == "fp8" else 0)
        return round(small * BYTES[weights] + wide * 4 + (self.params - small - wide) * 2)

    def tflop(self, area: float) -> float:
        """Return the tera-operations of one call with one picture of ``area`` (in `AREA`)."""
        return _at(self.gemm, area) + _at(self.attention, area)

    def encode_tflop(self, area: float) -> float:
        """Return the tera-operations of encoding one picture with this VAE."""
        return self.encode[0] * area + self.encode[1] * area * area

    def live(self, area: float) -> float:
        """Return the bytes of activations alive at once in 16 bits, for one picture."""
        return _at(self.live_mib, area) * 2**20


def _at(coefficients: tuple[float, ...], area: float) -> float:
    return sum(c * area**i for i, c in enumerate(coefficients))


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Components that paint together, and how they are used.

    Attributes
    ----------
    name, title : str
    denoiser : Component
        What paints; the only one of an eraser.
    vae : Component or None
    text : tuple of Component
    native_px : int
    steps : int
        Steps people use.
    guided : {'batch', 'twice', 'no'}
        Guidance doubles the pictures of a call, or the calls.
    vae_fp32 : bool
        Whether its decoder must run in fp32.
    formats : tuple of str
        Smaller weights that Reknit makes when it loads the model, the better first.
    listed : bool
        Known for planning only; the catalog has no entry of it.
    """

    name: str
    title: str
    denoiser: Component
    vae: Component | None = None
    text: tuple[Component, ...] = ()
    native_px: int
    steps: int
    guided: str
    vae_fp32: bool = False
    formats: tuple[str, ...] = ()
    listed: bool = False

    @property
    def latent(self) -> bool:
        """Whether it paints in a VAE's latents, in steps."""
        return self.vae is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model to be judged.

    Attributes
    ----------
    id, title : str
    family : Family
    weights, text : str
        The formats its files hold the denoiser and the largest text encoder in.
    stored : mapping of str to int
        Bytes in memory of components whose files say it better than the format's rule (``_M`` mixtures of GGUF).
    download : int
        Bytes to fetch: the files', or where they are not stated what the components take.
    estimated : bool
        Whether ``download`` is such an estimate.
    runs : bool
        Whether Reknit has an engine for it.
    """

    id: str
    title: str
    family: Family
    weights: str = "half"
    text: str = "half"
    stored: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    download: int = 0
    estimated: bool = True
    runs: bool = True


@cache
def components() -> Mapping[str, Component]:
    """Return every component by name."""
    return MappingProxyType({name: _component(name, given) for name, given in _table()["component"].items()})


@cache
def families() -> Mapping[str, Family]:
    """Return every family by name."""
    parts = components()
    return MappingProxyType({name: _family(name, given, parts) for name, given in _table()["family"].items()})


def subject(card: ModelCard) -> Subject | None:
    """Return what is to be judged of a catalog's model; None for a family without facts."""
    family = families().get(card.family)
    if family is None:
        return None
    by_role = {file.role: file for file in card.files}
    painter = by_role.get("transformer") or by_role.get("unet")
    encoder = next((by_role[role] for role in _LARGEST_TEXT if role in by_role), None)
    weights = format_of(painter.name) if painter else "half" if family.latent else "fp32"
    text = format_of(encoder.name) if encoder else "half"
    stored: dict[str, int] = {}
    if painter and painter.bytes and weights in BYTES and weights.startswith("q"):
        stored[family.denoiser.name] = painter.bytes
    guess = sum(weight_bytes(family, weights, text).values())
    return Subject(
        id=card.id,
        title=card.title,
        family=family,
        weights=weights,
        text=text,
        stored=MappingProxyType(stored),
        download=card.bytes if card.bytes is not None else guess,
        estimated=card.bytes is None,
        runs=card.engine != "none",
    )


def planned(name: str) -> Subject:
    """Return a family that is known for planning only, as a model.

    Raises
    ------
    NotFound
        ``model.unknown``.
    """
    known = {each.name: each for each in families().values() if each.listed}
    if name not in known:
        raise NotFound(
            f"there is no model {name!r}", code="model.unknown", hint=nearest_name(name, known), model=name
        )
    family = known[name]
    guess = sum(weight_bytes(family, "half", "half").values())
    return Subject(id=name, title=family.title, family=family, download=guess, runs=False)


def weight_bytes(
    family: Family, weights: str, text: str, *, vae: str = "half", stored: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Return the bytes of each component's weights.

    Parameters
    ----------
    family
    weights, text, vae
        Formats of the denoiser, of the largest text encoder and of the VAE; the other text encoders stay in 16
        bits (in fp32 where ``weights`` is).
    stored
        Bytes that are known better.
    """
    largest = max(family.text, key=lambda part: part.params, default=None)
    small = "fp32" if weights == "fp32" else "half"
    found = {part.name: part.bytes(text if part is largest else small) for part in family.text}
    found[family.denoiser.name] = family.denoiser.bytes(weights)
    if family.vae is not None:
        found[family.vae.name] = family.vae.bytes(vae)
    return found | {name: size for name, size in (stored or {}).items() if name in found}


def format_of(name: str) -> str:
    """Return the format of a file's weights by its name: GGUF says it there; ``half`` for all others."""
    found = _GGUF.search(name)
    return found[1].lower() if found else "half"


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(resources.files("reknit.planner").joinpath("components.toml").read_text("utf-8"))


def _component(name: str, given: Mapping[str, Any]) -> Component:
    plain = dict(given)
    for key in ("gemm", "attention", "live_mib", "encode"):
        if key in plain:
            plain[key] = tuple(plain[key])
    return Component(name=name, **plain)


def _family(name: str, given: Mapping[str, Any], parts: Mapping[str, Component]) -> Family:
    plain = dict(given)
    plain["denoiser"] = parts[plain["denoiser"]]
    plain["vae"] = parts[plain["vae"]] if "vae" in plain else None
    plain["text"] = tuple(parts[each] for each in plain.get("text", ()))
    plain["formats"] = tuple(plain.get("formats", ()))
    return Family(name=name, **plain)
