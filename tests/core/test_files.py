"""A file is the old one or the new one, whatever happens while it is written."""

import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from reknit.core import files
from reknit.core.errors import ExternalError, InputError, NotFound

WRITER = """
import sys
from reknit.core import files
print("ready", flush=True)
turn = 0
while True:
    files.write_bytes(sys.argv[1], bytes([turn % 251]) * 3_000_000)
    turn += 1
"""


def test_killing_the_writer_leaves_a_whole_file(tmp_path):
    path = tmp_path / "out.png"
    path.write_bytes(b"old")
    for delay in (0.0, 0.004, 0.011, 0.023):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
            writer.stdout.readline()
            time.sleep(delay)
            os.kill(writer.pid, signal.SIGKILL)
        data = path.read_bytes()
        assert data == b"old" or (len(data) == 3_000_000 and len(set(data)) == 1)


def test_a_failing_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "out.png"
    path.write_bytes(b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ExternalError) as caught:
        files.write_bytes(path, b"new")
    assert caught.value.code == "file.unwritable" and "No space" in caught.value.message
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.png"]


def test_permissions_are_kept_and_new_files_get_the_usual_ones(tmp_path):
    path = tmp_path / "out.png"
    previous = os.umask(0o027)
    try:
        files.write_bytes(path, b"1")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        files.write_bytes(path, b"2")
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604
    assert path.read_bytes() == b"2"


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "a.png", tmp_path / "link.png"
    target.write_bytes(b"old")
    link.symlink_to(target)
    files.write_bytes(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"
    dangling = tmp_path / "dangling.png"
    dangling.symlink_to(tmp_path / "real" / "b.png")
    files.write_bytes(dangling, b"born")
    assert (tmp_path / "real" / "b.png").read_bytes() == b"born"


def test_a_pipe_is_written_to_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    files.write_bytes(pipe, b"through the pipe")
    assert reader.communicate(timeout=60)[0] == b"through the pipe"
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError) as caught:
        files.write_bytes(tmp_path, b"x")
    assert caught.value.code == "file.directory"
    with pytest.raises(NotFound) as caught:
        files.write_bytes(tmp_path / "none" / "out.png", b"x")
    assert caught.value.code == "file.missing" and "mkdir" in caught.value.hint
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotFound):
        files.write_bytes(tmp_path / "file" / "out.png", b"x")
    with pytest.raises(ExternalError):
        files.write_bytes(tmp_path / ("n" * 300 + ".png"), b"x")
