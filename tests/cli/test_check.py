"""`reknit check` and `reknit bench planner`: answers within 80 columns, and the same as JSON and in Python."""

import pytest

import reknit as library
from tests.cli.conftest import Reknit


def test_a_card_by_name_gets_an_answer_a_bar_and_a_plan(reknit: Reknit) -> None:
    ran = reknit("check", "sdxl", "--gpu", "RTX 3070", "--size", "1024")
    assert ran.status == 0
    assert "yes, with the decoder in tiles and one part at a time on the card" in ran.out
    for word in ("sdxl-unet", "peak", "main memory", "download", "an image", "plan", "faster"):
        assert word in ran.out
    assert "█" in ran.out


def test_what_does_not_fit_says_what_would(reknit: Reknit) -> None:
    ran = reknit("check", "flux-fill", "--gpu", "RTX 3060 12GB", "--ram", "8")
    assert ran.status == 1
    assert "would fit" in ran.out
    data = reknit("check", "flux-fill", "--gpu", "RTX 3060 12GB", "--ram", "8", "--json").data
    assert data["answer"] == "no"
    assert data["changes"]


def test_json_and_python_give_the_same_verdict(reknit: Reknit) -> None:
    data = reknit("check", "sd15", "--gpu", "RTX 3060 12GB", "--size", "640x512", "--json").data
    found = library.check("sd15", gpu="RTX 3060 12GB", size=(640, 512)).to_dict()
    assert data.pop("free_disk_gb") == found.pop("free_disk_gb")
    assert data == found
    assert data["size"] == [640, 512]
    low, high = data["peak_vram_interval_gib"]
    assert low < data["peak_vram_gib"] < high
    assert sum(data["peak_vram_parts_gib"].values()) == pytest.approx(data["peak_vram_gib"], abs=0.02)


@pytest.mark.parametrize(
    "args",
    [
        ("check", "--all", "--gpu", "RTX 4070", "--ram", "32"),
        ("check", "--all"),
        ("check", "sdxl", "--vram", "8"),
        ("check", "--vram", "6"),
        ("check", "flux-fill", "--gpu", "RTX 4090"),
        ("check", "sd15"),
        ("bench", "planner"),
    ],
)
def test_tables_are_at_most_80_columns_wide(reknit: Reknit, args: tuple[str, ...]) -> None:
    ran = reknit(*args)
    assert ran.err == ""
    lines = ran.out.splitlines()
    assert len(lines) > 10
    assert max(map(len, lines)) <= 80


def test_a_table_by_card_names_the_cards_of_that_memory(reknit: Reknit) -> None:
    ran = reknit("check", "sdxl", "--vram", "8", "--json")
    devices = [row["device"] for row in ran.data["verdicts"]]
    assert {"RTX 3070", "RTX 4060", "RX 6600"} <= set(devices)
    fits = [row for row in ran.data["verdicts"] if row["answer"] != "no"]
    assert fits == sorted(fits, key=lambda row: row["seconds_image"])


def test_a_table_of_all_has_every_model_whose_family_is_known(reknit: Reknit) -> None:
    models = [row["model"] for row in reknit("check", "--all", "--gpu", "4090", "--json").data["verdicts"]]
    assert {"lama-onnx", "sd15-inpainting", "sdxl-inpainting", "flux-fill-q4", "z-image"} <= set(models)


@pytest.mark.parametrize(
    "args, code",
    [
        (("check",), "argument.missing"),
        (("check", "sdxx"), "model.unknown"),
        (("check", "sdxl", "--gpu", "RTX 9999"), "device.unknown"),
        (("check", "sdxl", "--size", "huge"), "option.value"),
        (("check", "sdxl", "--size", "8"), "option.value"),
    ],
)
def test_mistakes_are_told(reknit: Reknit, args: tuple[str, ...], code: str) -> None:
    ran = reknit(*args, "--json")
    assert ran.status == 2
    assert ran.data["error"]["code"] == code
    assert ran.data["error"]["hint"]


def test_bench_planner_shows_rows_that_were_fitted_and_rows_that_were_held_out(reknit: Reknit) -> None:
    out = reknit("bench", "planner").out
    assert "held out" in out and "fitted" in out
    assert "WRONG" not in out
    data = reknit("bench", "planner", "--json").data
    assert data["summary"]["memory"]["held out"]["median"] <= 0.1
    assert len(data["unused"]) > 15
