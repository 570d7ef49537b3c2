"""Folders that vanish and disks that fill up while a batch runs; no picture is opened."""

import errno
import json
import shutil
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import pytest

from reknit.batch import folder
from reknit.batch.anchor import Anchor
from reknit.batch.folder import Batch
from reknit.batch.item import Outcome, Setup
from reknit.batch.manifest import WorkList
from reknit.batch.pool import Take
from reknit.core.errors import ExternalError, ReknitError, Unavailable

COUNT = 12


class Quick:
    """Writes outputs at once, in this process; ``meanwhile`` happens in the middle."""

    def __init__(self, out: Path, meanwhile: Callable[[], object]) -> None:
        self._out, self._meanwhile = out, meanwhile

    def run(self, take: Take, stopping: threading.Event) -> Generator[Outcome | None]:
        for number in range(COUNT):
            for item in take(1):
                if number == COUNT // 2:
                    self._meanwhile()
                self._out.mkdir(exist_ok=True)
                Path(self._out, item.output).write_bytes(b"done")
                yield Outcome(id=item.id, image=item.image, state="done", outputs=(item.output,))

    def close(self) -> None:
        pass


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Batch]:
    monkeypatch.setattr(folder, "COMMIT_S", 0.0)
    pictures = tmp_path / "in"
    pictures.mkdir()
    for number in range(COUNT):
        (pictures / f"{number}.png").write_bytes(b"never opened")

    def made(meanwhile: Callable[[], object], *, resume: bool = False) -> Batch:
        out = tmp_path / "out"
        batch = Batch(WorkList(root=str(pictures)), Setup(out=str(out), boxes=("1,1,9,9",)), resume=resume)
        monkeypatch.setattr(batch, "_runner", lambda: Quick(out, meanwhile))
        return batch

    return made


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux lists open files")
def test_a_batch_that_cannot_begin_leaves_no_file_open(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{")
    work = WorkList(root=str(tmp_path), manifest=str(tmp_path / "rows.jsonl"))
    with pytest.raises(ReknitError):
        Batch(work, Setup(out=str(tmp_path / "out"), boxes=("1,1,9,9",)))
    opened = [each.readlink() for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    assert not [path for path in opened if path.is_relative_to(tmp_path)]


def test_a_record_that_is_removed_is_put_back(begin: Callable[..., Batch], tmp_path: Path) -> None:
    record = tmp_path / "out" / "reknit-batch"
    with closing(begin(lambda: shutil.rmtree(record))) as batch:
        assert len(list(filter(None, batch.run()))) == COUNT
        data = json.loads(batch.report().with_name("report.json").read_text())
        with pytest.raises(Unavailable) as caught:
            begin(print, resume=True)
        assert caught.value.code == "batch.running"
    assert data["counts"]["done"] == COUNT
    with closing(begin(print, resume=True)) as again:
        assert list(again.run()) == [] and again.ledger.counts()["done"] == COUNT


def test_a_record_that_another_took_over_is_left_to_it(begin: Callable[..., Batch], tmp_path: Path) -> None:
    record, others = tmp_path / "out" / "reknit-batch", []

    def taken_over() -> None:
        shutil.rmtree(record)
        others.append(begin(print))

    with closing(begin(taken_over)) as batch, pytest.raises(Unavailable) as caught:
        list(batch.run())
    assert caught.value.code == "batch.running"
    with closing(others[0]):
        assert others[0].ledger.counts() == {
            "waiting": COUNT // 2,
            "running": 0,
            "done": 0,
            "failed": COUNT // 2,
        }


@pytest.mark.parametrize("again", [False, True])
def test_an_out_that_is_removed_ends_the_batch(
    begin: Callable[..., Batch], tmp_path: Path, again: bool
) -> None:
    out = tmp_path / "out"

    def removed() -> None:
        shutil.rmtree(out)
        if again:
            out.mkdir()

    with closing(begin(removed)) as batch, pytest.raises(ExternalError) as caught:
        list(batch.run())
    assert caught.value.code == "batch.out-gone" and "--overwrite" in caught.value.hint


def test_a_share_that_does_not_answer_is_not_a_folder_that_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*args: object, **more: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    with closing(Anchor(tmp_path)) as anchor:
        monkeypatch.setattr(Path, "stat", silent)
        assert anchor.stays


def test_a_full_disk_ends_the_batch_and_loses_nothing(begin: Callable[..., Batch]) -> None:
    def full() -> None:
        pages = batch.ledger._sql.execute("PRAGMA page_count").fetchone()[0]
        batch.ledger._sql.execute(f"PRAGMA max_page_count = {pages}")
        batch.ledger._sql.execute("PRAGMA cache_spill = 1")

    with closing(begin(full)) as batch, pytest.raises(ReknitError) as caught:
        batch.ledger._sql.execute("INSERT INTO fact VALUES ('filler', ?)", ("x" * 3000,))
        list(batch.run())
        batch.ledger.note("more", "x" * 100_000)
    assert caught.value.code == "batch.ledger" and "--resume" in caught.value.hint
    with closing(begin(print, resume=True)) as again:
        known = len(list(filter(None, again.run())))
        assert again.ledger.counts()["done"] == COUNT and known <= COUNT
