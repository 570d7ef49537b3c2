"""Constants fitted on this machine: measured, kept, used for this device only, and ignored when spoilt."""

from pathlib import Path

import pytest

from reknit.core.system import free_ram
from reknit.planner import hardware, local, machine
from reknit.planner.laws import laws
from reknit.planner.local import Fitted
from tests.cli.conftest import Reknit, folder, reknit

__all__ = ["folder", "reknit"]


def test_what_was_fitted_counts_for_its_device_only(tmp_path: Path) -> None:
    path, card = tmp_path / "deep" / "planner.toml", hardware.find("RTX 4090")
    local.write(path, Fitted(device=card.name, constants={"efficiency.ada": 0.5, "unheard-of": 3.0}))
    here = local.applied(laws(), card, path)
    assert here["efficiency.ada"] == 0.5
    assert here.constants["efficiency.ada"].basis == "measured here"
    assert "unheard-of" not in here
    assert local.applied(laws(), hardware.find("RTX 4080"), path) is laws()


@pytest.mark.parametrize(
    "text", ["", "device =", "device = 'x'\n[constants]\na = 'b'", "\x00", "constants = 3"]
)
def test_a_spoilt_file_is_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "planner.toml"
    path.write_text(text)
    assert local.read(path) is None
    assert local.applied(laws(), hardware.find("RTX 4090"), path) is laws()
    assert local.applied(laws(), hardware.find("RTX 4090"), None) is laws()


def test_this_processor_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_FOR_S", 0.02)
    (tmp_path / "weights").write_bytes(bytes(1 << 20))
    device = machine.processor(2, free_ram()[1])
    fitted = local.measure(device, threads=2, weights=tmp_path / "weights")
    assert 0.005 < fitted.constants["efficiency.cpu"] < 3
    assert fitted.constants["disk"] > 0.001


def test_the_command_measures_and_checks_go_by_it(reknit: Reknit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_FOR_S", 0.02)
    monkeypatch.setattr(machine, "say", lambda *_: "")
    told = reknit("bench", "fit", "--json").data
    assert Path(told["file"]).is_file()
    before = reknit("check", "sd15", "--json").data["seconds_step"]
    text = Path(told["file"]).read_text()
    half = told["constants"]["efficiency.cpu"] / 2
    Path(told["file"]).write_text(
        text[: text.index("[constants]")] + f'[constants]\n"efficiency.cpu" = {half}\n'
    )
    assert reknit("check", "sd15", "--json").data["seconds_step"] == pytest.approx(2 * before, rel=0.01)
    assert "efficiency.cpu" in reknit("bench", "fit").out
