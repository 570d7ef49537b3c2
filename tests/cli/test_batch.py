"""``reknit batch``: flags, exit status, what is printed, and Ctrl-C."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reknit.batch.folder import Progress
from reknit.cli.batch import describe, duration
from tests.cli.conftest import Reknit, picture
from tests.patience import PATIENCE_S, until

START = "from reknit.cli.main import main; main()"


@pytest.fixture
def scans(folder: Path) -> Path:
    """Three pictures with a mask each."""
    for i in range(3):
        for name, pixels in (("in", picture(i)), ("masks", np.asarray(Image.open(folder / "mask.png")))):
            (folder / name).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def test_all_done(reknit: Reknit, scans: Path) -> None:
    ran = reknit(
        "batch",
        "in",
        "out",
        "--mask",
        "masks",
        "--workers",
        "1",
        "-p",
        "quality=draft",
        "--engine",
        "exemplar",
    )
    assert ran.status == 0, ran.err
    assert ran.out.strip() == str(scans / "out/reknit-batch/index.html")
    assert "3 done, 0 failed" in ran.err
    alone = reknit(
        "fill", "in/1.png", "masks/1.png", "-o", "alone.png", "-p", "quality=draft", "--engine", "exemplar"
    )
    assert alone.status == 0
    assert (scans / "out/1.png").read_bytes() == (scans / "alone.png").read_bytes()


def test_some_failed(reknit: Reknit, scans: Path) -> None:
    (scans / "in/1.png").write_bytes(b"")
    ran = reknit("batch", "in", "out", "--mask", "masks", "--workers", "1", "--json")
    assert ran.status == 3
    assert ran.data["counts"] == {"waiting": 0, "running": 0, "done": 2, "failed": 1}
    assert ran.err == ""
    again = reknit("batch", "in", "out", "--mask", "masks", "--resume")
    assert again.status == 3
    assert "1 × image.empty" in again.err
    Image.fromarray(picture()).save(scans / "in/1.png")
    assert reknit("batch", "in", "out", "--mask", "masks", "--resume", "--retry-failed").status == 0


def test_settings_and_rows(reknit: Reknit, scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REKNIT_GROW", "0")
    (scans / "list.csv").write_text("image,mask,grow\n0.png,../masks/0.png,\n1.png,../masks/1.png,4\n")
    ran = reknit("batch", "in", "out", "--manifest", "list.csv", "--workers", "1")
    assert ran.status == 0, ran.err
    monkeypatch.delenv("REKNIT_GROW")
    for name, grow in (("0.png", "0"), ("1.png", "4")):
        reknit("fill", f"in/{name}", f"masks/{name}", "--grow", grow, "-o", "alone.png")
        assert (scans / "out" / name).read_bytes() == (scans / "alone.png").read_bytes()


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["in", "out"], "mask.missing"),
        (["in", "in", "--mask", "masks"], "batch.places"),
        (["gone", "out", "--mask", "masks"], "file.missing"),
        (["in", "out", "--mask", "masks", "--workers", "none"], "option.value"),
        (["in", "s3://bucket/out", "--mask", "masks"], "batch.places"),
    ],
)
def test_mistakes(reknit: Reknit, scans: Path, args: list[str], code: str) -> None:
    ran = reknit("batch", *args, "--json")
    assert (ran.status, ran.data["error"]["code"]) == (2, code)


SLOWLY = """
import time
from reknit.batch import picture
fill = picture.Bench.fill
picture.Bench.fill = lambda bench, opened: (time.sleep(0.4), fill(bench, opened))[1]
"""


def test_ctrl_c_finishes_the_running_pictures(scans: Path, tmp_path: Path) -> None:
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "sitecustomize.py").write_text(SLOWLY)
    for i in range(3, 40):
        Image.fromarray(np.kron(picture(i), np.ones((6, 6, 1), np.uint8))).save(scans / "in" / f"{i}.png")
    command = [sys.executable, "-c", START, "batch", "in", "out", "--box", "30,30,120,120", "--workers", "1"]
    parent, child = pty.openpty()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=child, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "slow")},
    )  # fmt: skip
    os.close(child)
    until(lambda: process.poll() is not None or len(list((scans / "out").glob("*.png"))) >= 4)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: everyone gets it
    said = b""
    while process.poll() is None or b"left" not in said:
        try:
            said += os.read(parent, 4096)
        except OSError:  # the other end is closed
            break
    os.close(parent)
    assert process.wait(timeout=PATIENCE_S) == 130
    process.communicate()
    assert b"finishing the pictures" in said
    assert "█".encode() in said or b"of 40" in said
    done = len(list((scans / "out").glob("*.png")))
    assert 4 <= done < 40
    assert not list((scans / "out").glob(".*"))
    resumed = subprocess.run([*command, "--resume", "--json"], capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert len(list((scans / "out").glob("*.png"))) == 40


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (273_600, "3 d 4 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_progress_in_words() -> None:
    far = Progress(done=1200, failed=4, total=20_000, rate=12.34, seconds_left=1500.0)
    assert describe(far) == "1,204 of 20,000, 4 failed, 12.3 a second, 25 min 0 s left"
    slow = Progress(done=1, failed=0, total=2, rate=0.05, seconds_left=None)
    assert describe(slow) == "1 of 2, 3.0 a minute"
