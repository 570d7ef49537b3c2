"""A disk that is really full: a tiny file system in memory, mounted by the test where it may do so."""

import subprocess
import sys
from pathlib import Path

import pytest

IN_A_TINY_DISK = """
import os, sys
from pathlib import Path
from reknit.core.errors import ExternalError
from reknit.jobs.blobs import Blobs
from reknit.jobs.store import Store

root = Path(sys.argv[1])
store, blobs = Store(root / "data" / "jobs.sqlite3"), Blobs(root / "data" / "blobs")
kept = blobs.put(b"kept")
job, _ = store.submit("fill", {"image": kept})
running = store.claim("cpu", 60)

def fails(call):
    try:
        call()
    except ExternalError as error:
        assert error.code == "disk.full", error.code
        return True
    return False

assert fails(lambda: blobs.put(os.urandom(10_000_000)))
assert list(blobs.digests()) == [kept] and not list((blobs.root / "incoming").iterdir())

filler = root / "filler"
with filler.open("wb", buffering=0) as file:
    for size in (65536, 4096, 1):
        try:
            while True:
                file.write(b"x" * size)
        except OSError:
            pass
assert fails(lambda: blobs.put(os.urandom(10_000)))
count = 0
while not fails(lambda: store.submit("fill", {"text": "x" * 5000})):
    count += 1
    assert count < 100_000
assert fails(lambda: store.finish(running, {"text": "y" * 100_000}))
assert store.get(job.id).state == "running"
store.check()
filler.unlink()
assert store.finish(running, {"blobs": [kept]}).state == "done"
assert blobs.put(os.urandom(10_000)) and blobs.read(kept) == b"kept"
store.close()
again = Store(root / "data" / "jobs.sqlite3")
again.check()
assert again.get(job.id).state == "done" and again.counts()["queued"] == count
again.close()
print("survived")
"""


def test_a_full_disk_loses_nothing_and_is_told(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    script = 'mount -t tmpfs -o size=2m tmpfs "$0" && exec "$@"'
    try:
        possible = subprocess.run([*mount, script, str(disk), "true"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare")
    if possible.returncode:
        pytest.skip("may not mount")
    done = subprocess.run(
        [*mount, script, str(disk), sys.executable, "-c", IN_A_TINY_DISK, str(disk)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("survived\n", "")
