"""Settings: which place wins, and what a bad value says."""

import sys
from pathlib import Path

import pytest

from reknit import config
from reknit.core.errors import InputError


@pytest.fixture(autouse=True)
def user_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to an empty folder, with an empty place for the user's own settings."""
    file = tmp_path / "user" / "reknit.toml"
    file.parent.mkdir()
    monkeypatch.setattr(config, "user_file", lambda: file)
    for option in config.SETTINGS:
        monkeypatch.delenv(f"REKNIT_{option.name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)
    return file


def test_each_place_wins_over_the_next(user_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def grow() -> tuple[float, str]:
        setting = config.load()["grow"]
        return setting.value, setting.origin

    assert grow() == (2.0, "default")
    user_file.write_text("grow = 3")
    assert grow() == (3.0, str(user_file))
    Path("reknit.toml").write_text("grow = 4")
    assert grow() == (4.0, "reknit.toml")
    monkeypatch.setenv("REKNIT_GROW", "5")
    assert grow() == (5.0, "REKNIT_GROW")
    flag = config.load({"grow": "6", "threads": None})["grow"]
    assert (flag.value, flag.origin) == (6.0, "--grow")


def test_a_bad_value_names_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REKNIT_THREADS", "many")
    with pytest.raises(InputError, match="REKNIT_THREADS: threads must be a whole number"):
        config.load()


def test_an_unknown_name_is_refused_with_the_nearest(user_file: Path) -> None:
    user_file.write_text("max_pixel = 5")
    with pytest.raises(InputError) as caught:
        config.load()
    assert caught.value.hint == "did you mean 'max_pixels'?"


def test_this_process_may_use_a_thread() -> None:
    assert config.usable_threads() >= 1


def test_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for home in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(home, str(tmp_path / "home"))
    if sys.platform == "linux":
        assert config.data_folder(None) == tmp_path / "reknit"
    assert config.data_folder("~/jobs") == tmp_path / "home" / "jobs"
    assert config.data_folder("here") == Path("here")


def test_the_hubs_own_variable_means_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    assert config.load()["offline"].value is False
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("REKNIT_OFFLINE", "no")
    offline = config.load()["offline"]
    assert (offline.value, offline.origin) == (True, "HF_HUB_OFFLINE")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HF_HUB_CACHE": "/a"}, "/a"),
        ({"HF_HOME": "/b"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
    ],
)
def test_the_hubs_cache_is_where_the_hub_keeps_it(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub")
    import subprocess

    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code = (
        "from huggingface_hub.constants import HF_HUB_CACHE; from reknit import config;"
        "print(HF_HUB_CACHE); print(config.model_store(config.load()).hub_cache)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [expected, expected]
