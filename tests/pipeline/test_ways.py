"""Which ways an engine is given: what was asked for first, what fits first, nothing that is hopeless."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from reknit.core.errors import Unavailable
from reknit.core.fit import SizeRule
from reknit.core.options import Option
from reknit.engines import registry
from reknit.engines.base import EngineSpec, Needs, Placeable, Session
from reknit.pipeline import ways
from reknit.planner import hardware

OPEN = {"offload": "auto", "vae_tiling": "auto", "quantise": "auto", "side": None}
GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Painter:
    """An engine that only says what it would run."""

    family: str = "sdxl"
    device: str = "cuda"
    side: int = 1024
    spec: EngineSpec = field(default_factory=lambda: EngineSpec(name="painter", title=""))

    def needs(self) -> Needs:
        return Needs(
            family=self.family, file="m.safetensors", device=self.device, dtype="float16", side=self.side
        )

    def load(self, *, threads: int) -> Session:
        raise NotImplementedError


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch):
    def having(gib: float, ram: float = 64) -> None:
        monkeypatch.setattr(ways, "free_of", lambda _: gib * GIB)
        monkeypatch.setattr(ways, "free_ram", lambda: (ram * GIB, ram * GIB))
        monkeypatch.setattr(ways, "_device", lambda *_: hardware.find("RTX 4090"))

    return having


def of(engine: Any, **params: Any) -> list[dict[str, Any]]:
    return [dict(way.params) for way in ways.ways_of(engine, {**OPEN, **params}, threads=2)]


@pytest.mark.parametrize(
    "gib, offload, tiling",
    [(22, "none", "off"), (11, "none", "on"), (8, "model", "on"), (4, "group", "on")],
)
def test_the_first_way_is_the_best_that_fits(card: Any, gib: float, offload: str, tiling: str) -> None:
    card(gib)
    first = of(Painter())[0]
    assert (first["offload"], first["vae_tiling"]) == (offload, tiling)


def test_streaming_needs_main_memory(card: Any) -> None:
    card(4, ram=8)
    first = of(Painter())[0]
    assert first["offload"] != "group"


def test_what_the_user_asked_for_comes_first_and_stays(card: Any) -> None:
    card(4)
    asked = of(Painter(), quantise="fp8")
    assert asked[0] == {}, "as asked, whatever it needs"
    assert all(way["quantise"] in ("fp8", "nf4") for way in asked[1:])


def test_the_hopeless_is_refused_before_anything_is_loaded(card: Any) -> None:
    card(0.5)
    with pytest.raises(Unavailable) as caught:
        of(Painter())
    assert caught.value.code == "memory.short"
    assert "reknit check" in caught.value.hint


def test_a_family_without_facts_has_ways_in_order(card: Any) -> None:
    card(6)
    found = of(Painter(family="unheard-of"))
    assert found[0] == {}
    assert [way.get("offload") for way in found[1:]] == [None, "model", "group", "sequential", "sequential"]
    assert [way.get("offload") for way in of(Painter(family="unheard-of", device="cpu"))] == [None] * 3


def test_networks_go_to_the_processor_then_to_smaller_crops() -> None:
    options = tuple(Option(name=name, kind="text", default=None, help="x") for name in ("device", "side"))
    spec = EngineSpec(name="net", title="", options=options, size_rule=SizeRule(multiple=8), good_px=512)
    engine = replace(Painter(), spec=spec)
    assert not isinstance(registry.get("exemplar"), Placeable)

    class Plain:
        def __init__(self) -> None:
            self.spec = engine.spec

    found = [dict(way.params) for way in ways.ways_of(Plain(), {"device": "auto"}, threads=1)]  # type: ignore[arg-type]
    assert found == [
        {},
        {"device": "cpu"},
        {"device": "cpu", "side": 256},
        {"device": "cpu", "side": 128},
    ]


def test_other_engines_have_one_way() -> None:
    assert of(registry.get("exemplar")) == [{}]


def test_a_network_far_smaller_than_its_family_is_not_judged_by_the_familys_facts(card: Any) -> None:
    class Tiny(Painter):
        def needs(self) -> Needs:
            return replace(super().needs(), family="flux", bytes=4_000_000)

    card(0.5)
    assert of(Tiny())[0] == {}
