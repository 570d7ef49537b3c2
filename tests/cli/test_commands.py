"""The good paths of every command, as a user meets them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Reknit, picture
from tests.oracles.networks import Net, write

COMMAND = [sys.executable, "-c", "from reknit.cli.main import main; main()"]


def pixels(path: str) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_fill_writes_beside_the_photo_and_prints_where(reknit: Reknit) -> None:
    ran = reknit("fill", "photo.png", "mask.png")
    assert (ran.status, ran.out) == (0, "photo-filled.png\n")
    assert "every other pixel unchanged" in ran.err
    changed = (pixels("photo-filled.png") != picture()).any(axis=2)
    assert changed.any()
    assert not changed[:17].any()


@pytest.mark.parametrize(
    "flags",
    [
        ["--engine", "telea", "-p", "radius=5"],
        ["-p", "quality=draft", "--seed", "7"],
        ["-p", "color-adaptation=none", "--context", "40"],
        ["--grow", "0", "--feather", "3"],
        ["--threads", "1", "--max-pixels", "5000"],
        ["--source", "source.png"],
        ["--quality", "70"],
        ["--resize-mask"],
        ["--box", "1,1,5,5", "--box", "60,40,300,300"],
    ],
)
def test_fill_takes_every_flag(reknit: Reknit, flags: list[str]) -> None:
    source = np.zeros((60, 80), np.uint8)
    source[:, 55:] = 255
    Image.fromarray(source).save("source.png")
    ran = reknit("fill", "photo.jpg", "mask.png", "-o", "out.jpg", *flags)
    assert (ran.status, ran.out) == (0, "out.jpg\n"), ran.err
    assert pixels("out.jpg").shape == (60, 80, 3)


def test_inverted_and_transparent_masks_fill_the_same(reknit: Reknit) -> None:
    mask = pixels("mask.png")
    Image.fromarray(255 - mask).save("black.png")
    Image.fromarray(np.dstack((picture(), 255 - mask))).save("holed.png")
    Image.fromarray(np.dstack((picture(), 255 - mask))).save("alpha-mask.png")
    calls = (["mask.png"], ["black.png", "--invert"], ["alpha-mask.png", "--mask-from", "alpha"])
    for i, call in enumerate(calls):
        assert reknit("fill", "photo.png", *call, "-o", f"{i}.png").status == 0
    assert all((pixels("0.png") == pixels(f"{i}.png")).all() for i in (1, 2))
    assert reknit("fill", "holed.png", "--mask-from", "alpha", "-o", "whole.png").status == 0
    assert (pixels("whole.png")[..., 3][mask > 0] == 255).all()


def test_variations_are_numbered_and_differ(reknit: Reknit) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save("noise.png")
    ran = reknit("fill", "noise.png", "mask.png", "--count", "2", "-o", "v.png")
    assert ran.out.split() == ["v-1.png", "v-2.png"]
    assert (pixels("v-1.png") != pixels("v-2.png")).any()


def test_in_place_replaces_the_photo_in_its_own_format(reknit: Reknit) -> None:
    Path("photo.png").rename("wrong.jpg")
    ran = reknit("fill", "wrong.jpg", "mask.png", "--in-place")
    assert (ran.status, ran.out) == (0, "wrong.jpg\n")
    assert Path("wrong.jpg").read_bytes().startswith(b"\x89PNG")
    assert (pixels("wrong.jpg") != picture()).any()


def test_a_photo_that_can_only_be_read_becomes_png(reknit: Reknit) -> None:
    Image.fromarray(picture()[..., 0]).save("photo.gif")
    assert reknit("fill", "photo.gif", "mask.png").out == "photo-filled.png\n"


def test_plan_writes_nothing(reknit: Reknit) -> None:
    before = sorted(Path().iterdir())
    assert reknit("fill", "photo.jpg", "mask.png", "--plan").out.startswith("engine   exemplar")
    assert reknit("fill", "photo.jpg", "mask.png", "--plan", "--json").data["engine"] == "exemplar"
    assert reknit("extend", "photo.jpg", "--left", "9", "--plan", "--json").data["hole_px"] == 9 * 60
    assert sorted(Path().iterdir()) == before


def test_json_carries_plan_proof_and_files(reknit: Reknit) -> None:
    ran = reknit("fill", "photo.jpg", "mask.png", "--json", "--seed", "3")
    assert (ran.status, ran.err) == (0, "")
    assert ran.data["outputs"] == ["photo-filled.jpg"]
    assert ran.data["seed"] == 3
    assert ran.data["report"]["outside_equal"] is True
    assert ran.data["timings"]["total"] > 0


def test_extend_keeps_the_original(reknit: Reknit) -> None:
    ran = reknit("extend", "photo.png", "--right", "25%", "--top", "7")
    assert (ran.status, ran.out) == (0, "photo-extended.png\n")
    assert (pixels("photo-extended.png")[7:, :80] == picture()).all()
    assert pixels("photo-extended.png").shape == (67, 100, 3)
    ran = reknit("extend", "photo.png", "--aspect", "2:1", "--anchor", "left", "-o", "wide.png")
    assert (pixels("wide.png")[:, :80] == picture()).all()


def scratched() -> np.ndarray:
    y, x = np.mgrid[:200, :300]
    ground = (120 + 40 * np.sin(x / 40) + 30 * np.cos(y / 30)).astype(np.uint8)
    photo = np.dstack((ground, ground, ground))
    photo[20:180, 150:152] = 255
    return photo


def test_repair_finds_fills_and_gives_its_mask(reknit: Reknit) -> None:
    Image.fromarray(scratched()).save("scan.png")
    ran = reknit("repair", "scan.png", "--mask-out", "found.png", "--kinds", "scratch")
    assert (ran.status, ran.out) == (0, "scan-repaired.png\n"), ran.err
    assert pixels("found.png")[100, 150] == 255
    assert pixels("scan-repaired.png")[100, 150].max() < 200
    ran = reknit("repair", "scan.png", "--detect-only", "--mask-out", "again.png", "--json")
    assert ran.data["found_px"]["scratch"] > 100
    assert not Path("again-repaired.png").exists()


def test_nothing_to_repair_is_said(reknit: Reknit) -> None:
    Image.new("RGB", (200, 200), "gray").save("clean.png")
    ran = reknit("repair", "clean.png")
    assert ran.status == 0
    assert "no damage was found" in ran.err
    assert (pixels("clean-repaired.png") == pixels("clean.png")).all()


def test_engines_and_their_options_are_listed(reknit: Reknit) -> None:
    assert "navier-stokes" in reknit("engines").out
    assert "-p quality=draft|normal|best" in reknit("engines", "exemplar").out
    [entry] = reknit("engines", "telea", "--json").data
    assert entry["options"]["radius"]["maximum"] == 30


def test_doctor_finds_everything_in_order(reknit: Reknit) -> None:
    ran = reknit("doctor", "--json")
    assert ran.status == 0
    assert {"native", "codec", "fill"} <= {check["name"] for check in ran.data}
    assert reknit("doctor").out.startswith("ok ")


def test_doctor_lists_where_models_are_looked_for_and_which_are_there(
    reknit: Reknit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REKNIT_MODELS_DIR", str(tmp_path / "weights"))

    def said(name: str) -> str:
        return next(check["says"] for check in reknit("doctor", "--json").data if check["name"] == name)

    assert str(tmp_path / "weights") in said("models")
    assert "cpu" in said("runtimes")
    net = write(tmp_path / "net.onnx", Net())
    assert reknit("models", "import", str(net), "--name", "mine").status == 0
    assert f"mine ({tmp_path / 'weights' / 'mine' / 'net.onnx'})" in said("models")


def test_config_shows_values_with_their_origin(reknit: Reknit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REKNIT_GROW", "4")
    Path("reknit.toml").write_text("threads = 1\n")
    ran = reknit("config", "show", "--json")
    assert ran.data["grow"] == {"value": 4.0, "origin": "REKNIT_GROW"}
    assert ran.data["threads"] == {"value": 1, "origin": "reknit.toml"}
    assert "reknit.toml" in reknit("config").out


def test_settings_reach_a_fill_and_flags_win(reknit: Reknit) -> None:
    Path("reknit.toml").write_text('grow = 5\nengine = "telea"\n')
    plan = reknit("fill", "photo.jpg", "mask.png", "--plan", "--json").data
    assert (plan["engine"], plan["grow_px"]) == ("telea", 5)
    plan = reknit("fill", "photo.jpg", "mask.png", "--plan", "--json", "--grow", "1").data
    assert plan["grow_px"] == 1


def test_demo_fills_a_real_and_a_generated_photo(reknit: Reknit) -> None:
    ran = reknit("demo", "-o", "pictures", "--megapixels", "0.1", "--json")
    assert [row["name"] for row in ran.data] == ["real", "generated"]
    assert all(row["outside_equal"] and Path(row["after"]).exists() for row in ran.data)


def test_standard_input_and_output() -> None:
    photo = Path("photo.jpg").read_bytes()
    done = subprocess.run([*COMMAND, "fill", "-", "mask.png"], input=photo, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"\xff\xd8")
    mask = Path("mask.png").read_bytes()
    done = subprocess.run(
        [*COMMAND, "fill", "photo.jpg", "-", "-o", "-"], input=mask, capture_output=True, check=True
    )
    assert done.stdout.startswith(b"\xff\xd8")


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX")
@pytest.mark.parametrize("name", ["with space.png", "ü ñ 图.png", os.fsdecode(b"caf\xe9.png")])
def test_any_file_name_works(reknit: Reknit, name: str) -> None:
    try:
        Path("photo.png").rename(name)
    except OSError:
        pytest.skip("the file system refuses this name")
    assert reknit("fill", name, "mask.png", "--json").data["outputs"] == [f"{name[:-4]}-filled.png"]
    assert Path(f"{name[:-4]}-filled.png").exists()
    assert reknit("fill", name, "mask.png").status == 0


def complete(line: str) -> list[str]:
    words = line.split(" ")
    env = {**os.environ, "_REKNIT_COMPLETE": "bash_complete"}
    env |= {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(COMMAND, env=env, capture_output=True, text=True, check=True)
    return [entry.partition(",")[2] for entry in done.stdout.split()]


def test_shells_complete_commands_options_and_values(reknit: Reknit) -> None:
    assert complete("reknit ex") == ["extend"]
    assert "--seed" in complete("reknit fill --")
    assert complete("reknit fill --engine na") == ["navier-stokes"]
    assert complete("reknit fill -p quality=d") == ["quality=draft"]
    assert complete("reknit extend --anchor bottom-l") == ["bottom-left"]
    for shell in ("bash", "zsh", "fish"):
        assert "_REKNIT_COMPLETE" in reknit("completion", shell).out


def test_version_and_bare_call(reknit: Reknit) -> None:
    assert reknit("--version").out.startswith("reknit ")
    assert "Commands:" in reknit().out


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_the_command_and_python_write_the_same_bytes_with_recipe_and_all(reknit: Reknit, suffix: str) -> None:
    import reknit as package

    assert (
        reknit("fill", f"photo.{suffix}", "mask.png", "--engine", "telea", "-o", f"out.{suffix}").status == 0
    )
    package.fill(f"photo.{suffix}", "mask.png", engine="telea").save(f"python.{suffix}")
    assert Path(f"out.{suffix}").read_bytes() == Path(f"python.{suffix}").read_bytes()
    again = reknit("replay", f"out.{suffix}", "-o", f"again.{suffix}")
    assert again.status == 0
    assert Path(f"again.{suffix}").read_bytes() == Path(f"out.{suffix}").read_bytes()
