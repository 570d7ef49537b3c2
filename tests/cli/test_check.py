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


def test_a_misspelt_card_is_told_the_one_that_was_meant(reknit: Reknit) -> None:
    for wrong, right in (("RTX4007", "RTX 4070"), ("RTX 309O", "RTX 3090"), ("M2 Porr", "M2 Pro")):
        hint = reknit("check", "sdxl", "--gpu", wrong, "--json").data["error"]["hint"]
        assert right in hint


def test_what_does_not_fit_names_a_smaller_model_that_does(reknit: Reknit) -> None:
    found = library.check("flux-fill", gpu="RTX 3060 12GB", ram=16)
    assert found.answer == "no"
    assert found.changes[0].startswith("flux-fill-q6, FLUX.1 Fill [dev], GGUF Q6_K: yes, with")
    assert not any("of little use" in note for note in found.notes)


def test_variations_are_painted_together_as_far_as_they_fit(reknit: Reknit) -> None:
    one = library.check("sd15", gpu="RTX 3060 12GB")
    four = library.check("sd15", gpu="RTX 3060 12GB", count=4)
    assert (four.count, four.answer) == (4, "yes")
    assert 1 < four.at_once <= 4
    assert one.plan.memory.total < four.plan.memory.total <= four.budget.device
    assert one.plan.times.image < four.seconds < 4.01 * one.plan.times.image
    tight = library.check("sd15", gpu="RTX 3060 12GB", vram=4.6, count=4)
    assert tight.at_once == 1
    assert tight.seconds == pytest.approx(4 * tight.plan.times.image)
    out = reknit("check", "sd15", "--gpu", "RTX 3060 12GB", "--count", "4").out
    assert "variations" in out and "at a time" in out
    assert library.check("sd15", gpu="cpu", count=3).at_once == 1


def test_cards_of_a_memory_are_those_and_no_namesakes(reknit: Reknit) -> None:
    devices = [row["device"] for row in reknit("check", "sdxl", "--vram", "6", "--json").data["verdicts"]]
    assert "RTX 2060" in devices
    assert "RTX 2060 12 GB" not in devices


def test_bench_planner_shows_rows_that_were_fitted_and_rows_that_were_held_out(reknit: Reknit) -> None:
    out = reknit("bench", "planner").out
    assert "held out" in out and "fitted" in out
    assert "WRONG" not in out
    data = reknit("bench", "planner", "--json").data
    assert data["summary"]["memory"]["held out"]["median"] <= 0.1
    assert data["summary"]["memory"]["out of fold"]["rows"] == data["summary"]["memory"]["all"]["rows"]
    assert all(row["predicted_out_of_fold"] for row in data["rows"] if row["metric"] != "oom")
    assert len(data["unused"]) > 15
