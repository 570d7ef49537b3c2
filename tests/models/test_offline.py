"""Offline is absolute: with it, no command opens a socket. Proven in a process whose sockets raise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GUARD = """
import socket, sys
def refuse(*a, **k):
    sys.stderr.write("A SOCKET WAS OPENED\\n")
    raise AssertionError("a socket was opened")
socket.socket.__init__ = refuse
socket.create_connection = refuse
socket.getaddrinfo = refuse
from reknit.cli.main import main
main()
"""
OVERLAY = """
[model.plain]
title = "Plain"
engine = "onnx"
family = "lama"
licence = "MIT"
native_px = 512
files = [{ name = "plain.onnx", url = "http://127.0.0.1:9/plain.onnx" }]
"""


def run(tmp_path: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = tmp_path / "settings" / "reknit"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "models.toml").write_text(OVERLAY)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("REKNIT_", "HF_"))}
    places = {
        "XDG_CONFIG_HOME": str(tmp_path / "settings"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HOME": str(tmp_path),
    }
    return subprocess.run(
        [sys.executable, "-c", GUARD, *args],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=clean | places | environment,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the places above are Linux's")
@pytest.mark.parametrize("model", ["plain", "lama", "flux-fill"])
@pytest.mark.parametrize(
    ("flags", "environment"),
    [
        (["--offline"], {}),
        ([], {"HF_HUB_OFFLINE": "1"}),
        ([], {"REKNIT_OFFLINE": "true"}),
        ([], {"HF_HUB_OFFLINE": "1", "REKNIT_OFFLINE": "false"}),
    ],
)
def test_pull_opens_no_socket(
    tmp_path: Path, model: str, flags: list[str], environment: dict[str, str]
) -> None:
    done = run(tmp_path, "models", "pull", model, "--json", *flags, **environment)
    assert "A SOCKET WAS OPENED" not in done.stderr
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["code"] == "model.offline"


@pytest.mark.skipif(sys.platform != "linux", reason="the places above are Linux's")
def test_the_guard_notices_a_socket(tmp_path: Path) -> None:
    assert "A SOCKET WAS OPENED" in run(tmp_path, "models", "pull", "plain").stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the places above are Linux's")
@pytest.mark.parametrize("command", ["list", "scan", "verify"])
def test_looking_opens_no_socket_even_online(tmp_path: Path, command: str) -> None:
    done = run(tmp_path, "models", command)
    assert done.returncode == 0
    assert done.stderr == ""
