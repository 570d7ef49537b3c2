"""`reknit serve` before it serves: its flags, and what they become."""

import webbrowser
from pathlib import Path
from typing import Any

import pytest

from reknit.cli import main as door
from reknit.core.errors import InputError
from reknit.server import app, listen
from reknit.server.rooms import ServeSettings


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[ServeSettings]:
    """Return the settings that the command makes, instead of serving."""
    made: list[ServeSettings] = []
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(app, "create_app", made.append)
    monkeypatch.setattr(listen, "run", lambda app, listening, *, ready: (ready(), listening.close()))
    return made


def test_by_default_it_is_for_this_machine_only(
    served: list[ServeSettings], tmp_path: Path, capfd: Any
) -> None:
    assert door.run(["serve", "--port", "0"]) == 0
    [settings] = served
    assert settings.rules.token == ""
    assert settings.rules.hosts == {"127.0.0.1"}
    assert not settings.rules.any_address
    assert settings.data_dir == tmp_path / "data" / "reknit"
    out = capfd.readouterr().out
    assert out.startswith("Reknit is at http://127.0.0.1:")
    assert out.endswith("/\n")


def test_a_server_for_others_has_a_token_and_names(served: list[ServeSettings], capfd: Any) -> None:
    names = ["--allow-host", "Photos.example", "--cors-origin", "https://friend.example/"]
    assert door.run(["serve", "--port", "0", "--host", "0.0.0.0", *names]) == 0
    [settings] = served
    assert len(settings.rules.token) >= 32
    assert settings.rules.any_address
    assert "photos.example" in settings.rules.hosts
    assert settings.rules.cors_origins == {"https://friend.example"}
    assert capfd.readouterr().out.rstrip().endswith(f"/?token={settings.rules.token}")


def test_each_new_token_is_another(served: list[ServeSettings]) -> None:
    for _ in range(2):
        door.run(["serve", "--port", "0", "--token"])
    assert served[0].rules.token != served[1].rules.token
    door.run(["serve", "--port", "0", "--token", "my-own-token"])
    assert served[2].rules.token == "my-own-token"


def test_limits_and_folders(served: list[ServeSettings], tmp_path: Path) -> None:
    flags = ["--max-upload", "5", "--max-queued", "7", "--data-dir", "here", "--models-dir", "there"]
    flags += ["--keep-days", "0.5", "--keep-gib", "2"]
    assert door.run(["serve", "--port", "0", *flags]) == 0
    [settings] = served
    assert settings.limits.max_bytes == settings.rules.max_upload_bytes == 5 * 2**20
    assert settings.max_queued == 7
    assert (settings.keep_s, settings.keep_bytes) == (43200.0, 2 * 2**30)
    assert settings.data_dir == tmp_path / "here"
    assert settings.models == tmp_path / "there"


def test_settings_files_count(served: list[ServeSettings], tmp_path: Path) -> None:
    (tmp_path / "reknit.toml").write_text('data_dir = "kept"\nthreads = 3\nmax_pixels = 1000\n')
    assert door.run(["serve", "--port", "0"]) == 0
    assert served[0].data_dir == tmp_path / "kept"
    assert (served[0].threads, served[0].limits.max_pixels) == (3, 1000)


def test_the_page_opens_in_the_browser(served: list[ServeSettings], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    door.run(["serve", "--port", "0", "--open"])
    assert len(opened) == 1
    assert opened[0].startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--port", "70000"], "port"),
        (["--port", "x"], "port"),
        (["--token", "short"], "token"),
        (["--token", "with spaces in it"], "token"),
        (["--log-format", "xml"], "--log-format"),
        (["--max-upload", "0"], "max_upload"),
        (["--prot", "1"], "--prot"),
    ],
)
def test_wrong_flags(flags: list[str], word: str, served: list[ServeSettings], capfd: Any) -> None:
    assert door.run(["serve", *flags]) == 2
    assert word in capfd.readouterr().err
    assert served == []


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(Exception, match=r"192\.0\.2\.1") as caught:
        listen.bound("192.0.2.1", 0)
    assert not isinstance(caught.value, InputError)
    assert caught.value.code == "serve.address"  # type: ignore[attr-defined]
