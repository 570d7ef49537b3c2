"""The catalog says only what its form allows, finds models by every name, and takes overlays."""

from pathlib import Path

import pytest

from reknit.core.errors import InputError, NotFound
from reknit.models import catalog

ENTRY = """
[model.mine]
title = "Mine"
engine = "onnx"
family = "lama"
licence = "MIT"
native_px = 256
files = [{ name = "mine.onnx", url = "https://example.org/mine.onnx" }]
"""


def test_what_ships_is_whole() -> None:
    cards = catalog.load()
    names = [name.lower() for card in cards.values() for name in (card.id, *card.aliases, *card.moved)]
    assert len(names) == len(set(names))
    for card in cards.values():
        assert all(file.url is None or file.url.startswith("https://") for file in card.files)
        assert all((file.url is None) != (file.repo is None) for file in card.files)
        assert card.contract is not None or card.engine in ("diffusion", "none")
        assert not card.fixed_size or card.multiple_of == card.native_px
        assert card.source
    families = {card.family for card in cards.values()}
    assert {"lama", "migan", "mat", "sd15", "sd2", "sdxl", "flux"} <= families


@pytest.mark.parametrize("name", ["big-lama", "BIG-LAMA", " big-lama "])
def test_find_by_id(name: str) -> None:
    assert catalog.find(name).id == "big-lama"


def test_find_by_repository() -> None:
    assert catalog.find("carve/lama-onnx").id == "lama-onnx"


def test_a_name_that_is_gone_leads_to_its_mirror_and_says_so() -> None:
    name = "runwayml/stable-diffusion-inpainting"
    card = catalog.find(name)
    assert card.id == "sd15-inpainting"
    assert {file.repo for file in card.files} == {"stable-diffusion-v1-5/stable-diffusion-inpainting"}
    note = card.moved_note(name)
    assert note is not None
    assert "removed" in note
    assert "stable-diffusion-v1-5/stable-diffusion-inpainting" in note
    assert card.moved_note("sd15-inpainting") is None


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(NotFound) as caught:
        catalog.find("big-lamma")
    assert caught.value.code == "model.unknown"
    assert "'big-lama'" in caught.value.hint


def test_overlays_add_and_replace(tmp_path: Path) -> None:
    overlay = tmp_path / "models.toml"
    overlay.write_text(ENTRY + ENTRY.replace("[model.mine]", "[model.big-lama]"))
    cards = catalog.load([overlay, tmp_path / "missing.toml"])
    assert catalog.find("mine", cards).native_px == 256
    assert cards["big-lama"].title == "Mine"
    assert catalog.load()["big-lama"].title != "Mine"


def test_installed_packages_add_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point's function says where a package's catalog is."""
    path = tmp_path / "theirs.toml"
    path.write_text(ENTRY)

    class Point:
        def load(self) -> object:
            return lambda: str(path)

    def entry_points(*, group: str) -> list[Point]:
        return [Point()] if group == "reknit.models" else []

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    assert "mine" in catalog.load(plugins=True)
    assert "mine" not in catalog.load()


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (("native_px = 256", "native_pxs = 256"), "'native_px'"),
        (("licence", "license"), "'licence'"),
        (("[model.mine]", "[modell.mine]"), "'model'"),
        (('name = "mine.onnx"', 'nam = "mine.onnx"'), "'name'"),
        (('engine = "onnx"', 'engine = "onx"'), "'onnx'"),
        (("native_px = 256", "native_px = 256\ncontract = { mask = '1=hol' }"), "'1=hole'"),
        (("native_px = 256", "native_px = 256\ncontract = { msk = '1=hole' }"), "'mask'"),
    ],
)
def test_what_is_unknown_is_refused_with_the_nearest(change: tuple[str, str], hint: str) -> None:
    with pytest.raises(InputError) as caught:
        catalog.parse(ENTRY.replace(*change), origin="here")
    assert caught.value.code == "models.catalog"
    assert hint in caught.value.hint
    assert "here" in caught.value.message


@pytest.mark.parametrize(
    "change",
    [
        ('title = "Mine"', "title = 3"),
        ('title = "Mine"', ""),
        ("native_px = 256", "native_px = true"),
        ("native_px = 256", "native_px = 0"),
        ("[model.mine]", '[model."Mine / yours"]'),
        ("[model.mine]", "[model"),
        ("mine.onnx", "../mine.onnx"),
        ("mine.onnx", "/etc/mine.onnx"),
        ("mine.onnx", "C:mine.onnx"),
        ('name = "mine.onnx"', 'name = "mine.onnx", sha256 = "12"'),
        ('name = "mine.onnx"', 'name = "mine.onnx", bytes = -4'),
        ('files = [{ name = "mine.onnx", url = "https://example.org/mine.onnx" }]', "files = []"),
    ],
)
def test_what_is_wrong_is_refused(change: tuple[str, str]) -> None:
    with pytest.raises(InputError) as caught:
        catalog.parse(ENTRY.replace(*change), origin="here")
    assert caught.value.code == "models.catalog"


def test_a_card_becomes_plain_data() -> None:
    import json

    data = json.loads(json.dumps(catalog.find("migan-onnx").to_dict()))
    assert data["files"][0]["repo"] == "andraniksargsyan/migan"
    assert data["contract"]["mask"] == "0=hole"
    assert data["bytes"] == 28079181
