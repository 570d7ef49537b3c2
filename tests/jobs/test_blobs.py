"""Blobs: whole or not at all, verified, and never outside their folder."""

import hashlib
import os
import threading
from pathlib import Path

import pytest

from reknit.core.errors import ExternalError, NotFound
from reknit.jobs.blobs import Blobs


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def files(blobs: Blobs) -> list[Path]:
    return [path for path in blobs.root.rglob("*") if path.is_file()]


def test_bytes_come_back_under_their_digest(blobs: Blobs) -> None:
    data = os.urandom(100_000)
    digest = blobs.put(data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert blobs.read(digest) == data
    assert digest in blobs
    assert (blobs.size(digest), list(blobs.digests())) == (100_000, [digest])
    assert blobs.put(data) == digest
    assert files(blobs) == [blobs.path(digest)]


def test_an_upload_in_pieces(blobs: Blobs) -> None:
    with blobs.receiving() as incoming:
        for piece in (b"ab", memoryview(b"cd"), b""):
            incoming.write(piece)
    assert (incoming.digest, incoming.size) == (hashlib.sha256(b"abcd").hexdigest(), 4)
    assert blobs.read(incoming.digest) == b"abcd"


def test_an_upload_that_is_cut_off_leaves_nothing(blobs: Blobs) -> None:
    with pytest.raises(KeyError), blobs.receiving() as incoming:
        incoming.write(b"half")
        raise KeyError
    assert files(blobs) == []
    assert list(blobs.digests()) == []


def test_a_damaged_blob_is_detected_and_mended_by_the_next_upload(blobs: Blobs) -> None:
    digest = blobs.put(b"picture")
    blobs.path(digest).write_bytes(b"pictuRe")
    with pytest.raises(ExternalError) as caught:
        blobs.read(digest)
    assert caught.value.code == "blob.corrupt"
    blobs.put(b"picture")
    assert blobs.read(digest) == b"picture"


@pytest.mark.parametrize("name", ["", "..", "../" * 21 + "x", "A" * 64, "a" * 63, "a" * 64 + "\n", "/" * 64])
def test_other_names_are_never_paths(blobs: Blobs, name: str) -> None:
    for call in (blobs.path, blobs.read, blobs.size, blobs.touch, blobs.delete, blobs.modified):
        with pytest.raises(NotFound) as caught:
            call(name)
        assert caught.value.code == "blob.missing"
    assert name not in blobs


def test_a_missing_blob(blobs: Blobs) -> None:
    for call in (blobs.read, blobs.size, blobs.touch, blobs.modified):
        with pytest.raises(NotFound):
            call("a" * 64)
    blobs.delete("a" * 64)
    assert "a" * 64 not in blobs
    assert list(blobs.digests()) == []


def test_a_full_disk_is_a_clear_error(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ExternalError) as caught:
        blobs.put(b"data")
    assert caught.value.code == "disk.full"
    assert files(blobs) == []


def test_touch_makes_a_blob_new(blobs: Blobs) -> None:
    digest = blobs.put(b"x")
    os.utime(blobs.path(digest), (1, 1))
    assert blobs.modified(digest) == 1
    blobs.touch(digest)
    assert blobs.modified(digest) > 1


def test_only_old_leftovers_are_swept(blobs: Blobs) -> None:
    with blobs.receiving() as incoming:
        incoming.write(b"still coming")
        blobs.sweep(60)
        assert len(files(blobs)) == 1
    left = blobs.root / "incoming" / "left"
    left.write_bytes(b"")
    os.utime(left, (1, 1))
    blobs.sweep(60)
    assert not left.exists()
    assert blobs.read(incoming.digest) == b"still coming"


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_only_the_owner_may_read(blobs: Blobs) -> None:
    assert blobs.path(blobs.put(b"x")).stat().st_mode & 0o077 == 0


def test_threads_may_store_the_same_blob(blobs: Blobs) -> None:
    data = os.urandom(300_000)
    threads = [threading.Thread(target=blobs.put, args=(data,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert blobs.read(hashlib.sha256(data).hexdigest()) == data
    assert len(files(blobs)) == 1
