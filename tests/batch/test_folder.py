"""`reknit.batch`: whole batches in Python."""

from __future__ import annotations

import json
import os
import sqlite3
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import reknit
from reknit.batch.folder import Batch
from reknit.batch.item import Item, Outcome, Setup, outputs_of
from reknit.batch.ledger import Ledger
from reknit.batch.manifest import Entry, WorkList
from reknit.batch.processes import workers_for
from reknit.core.errors import InputError, ReknitError, Unavailable
from tests.batch.pictures import make, save_alone


def picture(path: Path, seed: int = 0, side: int = 64) -> Path:
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 255, (side // 8, side // 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.kron(cells, np.ones((8, 8, 1), np.uint8))).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pictures: two that share a stem, one that cannot be read."""
    root = tmp_path / "in"
    for i, name in enumerate(("a.png", "a.jpg", "b/a.png", "b/c.gif")):
        picture(root / name, i)
    (root / "bad.png").write_bytes(b"no picture")
    return root


def run(source: Path, out: Path, **options: Any) -> dict[str, Outcome]:
    options = {"boxes": ("20,20,16,16",), "workers": 1, **options}
    return {Path(o.image).relative_to(source).as_posix(): o for o in reknit.batch(source, out, **options)}


def error_of(outcome: Outcome) -> str:
    assert outcome.error is not None
    return outcome.error["code"]


def test_a_folder(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = run(folder, out)
    assert sorted(found) == ["a.jpg", "a.png", "b/a.png", "b/c.gif", "bad.png"]
    assert [name for name, outcome in found.items() if not outcome.done] == ["bad.png"]
    assert error_of(found["bad.png"]) == "image.unknown"
    assert found["b/c.gif"].outputs == (str(out / "b/c.png"),)
    mask = np.zeros((64, 64), bool)
    mask[20:36, 20:36] = True
    for name, outcome in found.items():
        if outcome.done:
            alone = tmp_path / f"alone{Path(outcome.outputs[0]).suffix}"
            save_alone(reknit.fill(folder / name, mask), alone)
            assert Path(outcome.outputs[0]).read_bytes() == alone.read_bytes()
            assert outcome.size == (64, 64)
            assert set(outcome.seconds) == {"read", "fill", "write"}
    data = json.loads((out / "reknit-batch/report.json").read_text())
    assert (data["counts"]["done"], data["counts"]["failed"]) == (4, 1)
    assert data["reasons"] == {"image.unknown": 1}
    page = (out / "reknit-batch/index.html").read_text()
    assert page.count('alt="after"') == 4
    assert "bad.png" in page
    assert "bad.png" in (out / "reknit-batch/failures.csv").read_text()


def test_a_finished_batch_does_nothing_more(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(folder, out)
    before = {p: p.stat().st_mtime_ns for p in out.glob("**/*.png")}
    with pytest.raises(InputError) as caught:
        run(folder, out)
    assert caught.value.code == "batch.exists"
    assert run(folder, out, resume=True) == {}
    assert {p: p.stat().st_mtime_ns for p in out.glob("**/*.png")} == before


def test_new_pictures_are_found_on_resuming_and_failures_tried_when_asked(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(folder, out)
    picture(folder / "late.png")
    assert list(run(folder, out, resume=True)) == ["late.png"]
    picture(folder / "bad.png")
    assert list(run(folder, out, resume=True)) == []
    assert [o.done for o in run(folder, out, resume=True, retry_failed=True).values()] == [True]


def test_resuming_with_other_options_is_refused(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "out")
    with pytest.raises(InputError) as caught:
        run(folder, tmp_path / "out", resume=True, seed=5, exclude=["*.gif"])
    assert caught.value.code == "batch.changed"
    assert caught.value.facts["changed"] == ["seed", "exclude"]


def test_stopping_early_leaves_the_rest_for_later(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with closing(reknit.batch(folder, out, boxes=("1,1,9,9",), workers=1)) as outcomes:
        first = next(outcomes)
    rest = run(folder, out, boxes=("1,1,9,9",), resume=True)
    ledger = Ledger(out / "reknit-batch" / "ledger.sqlite")
    counts = ledger.counts()
    ledger.close()
    assert counts == {"waiting": 0, "running": 0, "done": 4, "failed": 1}
    assert Path(first.image).relative_to(folder).as_posix() not in rest


def test_a_stopped_batch_finishes_what_runs(folder: Path, tmp_path: Path) -> None:
    for i in range(20):
        picture(folder / f"more/{i}.png", i)
    work = WorkList(root=str(folder))
    made = Batch(work, Setup(out=str(tmp_path / "out"), boxes=("1,1,9,9",)), workers=1)
    count = 0
    for outcome in made.run():
        count += outcome is not None
        made.stop()
    counts = made.ledger.counts()
    made.close()
    assert counts["running"] == 0
    assert 0 < count == counts["done"] + counts["failed"] < 24


def test_two_runs_of_one_batch_do_not_meet(folder: Path, tmp_path: Path) -> None:
    work, setup = WorkList(root=str(folder)), Setup(out=str(tmp_path / "out"), boxes=("1,1,9,9",))
    with closing(Batch(work, setup)), pytest.raises(Unavailable) as caught:
        Batch(work, setup, resume=True)
    assert caught.value.code == "batch.running"


def test_outputs_that_would_meet_get_names_of_their_own(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for i, name in enumerate(("a.gif", "a.png", "b.gif", "b.webp", "c.png", "c.jpg")):
        picture(root / name, i)
    found = run(root, tmp_path / "out", name="{stem}.png")
    outputs = {name: Path(o.outputs[0]).name for name, o in found.items()}
    assert outputs == {
        "a.gif": "a.gif.png",
        "a.png": "a.png",
        "b.gif": "b.png",
        "b.webp": "b.webp.png",
        "c.jpg": "c.jpg.png",
        "c.png": "c.png",
    }


def test_rows_with_one_image_get_outputs_of_their_own(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.png")
    file = tmp_path / "list.csv"
    file.write_text('image,box,seed\na.png,"1,1,9,9",1\na.png,"1,1,9,9",2\na.png,"1,1,9,9",2\n')
    found = list(reknit.batch(tmp_path / "in", tmp_path / "out", manifest=file, workers=1))
    assert sorted(Path(o.outputs[0]).name for o in found) == ["a-2.png", "a.png"]  # equal rows are one


def test_nothing_that_was_there_is_overwritten(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    picture(out / "a.png", 99)
    before = (out / "a.png").read_bytes()
    found = run(folder, out)
    assert error_of(found["a.png"]) == "output.exists"
    assert (out / "a.png").read_bytes() == before
    again = run(folder, out, report=tmp_path / "elsewhere", overwrite=True)
    assert again["a.png"].done
    assert (out / "a.png").read_bytes() != before


def test_a_source_is_never_overwritten(tmp_path: Path) -> None:
    """IN/in/a.png goes to OUT/in/a.png, which is the source a.png of IN."""
    top = tmp_path / "in"
    sources = [picture(top / "a.png", 1), picture(top / "in/a.png", 2)]
    before = [path.read_bytes() for path in sources]
    found = run(top, tmp_path, overwrite=True, report=tmp_path / "record", exclude=["in/in/*"])
    assert error_of(found["in/a.png"]) == "output.input"
    assert found["a.png"].done
    assert [path.read_bytes() for path in sources] == before
    with pytest.raises(InputError) as caught:
        run(top, top)
    assert caught.value.code == "batch.places"


def test_out_may_lie_in_in(folder: Path) -> None:
    out = folder / "clean"
    assert len(run(folder, out)) == 5
    assert run(folder, out, resume=True) == {}


def test_variations(folder: Path, tmp_path: Path) -> None:
    found = run(folder, tmp_path / "out", count=2, include=["a.png"], engine="exemplar")
    names = [Path(p).name for o in found.values() for p in o.outputs]
    assert names == ["a-1.png", "a-2.png"] * (len(names) // 2)
    assert outputs_of("b.c/a", 2) == ("b.c/a-1", "b.c/a-2")


def test_damage_is_found(tmp_path: Path) -> None:
    root = tmp_path / "in"
    pixels = np.full((200, 200, 3), 90, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "clean.png")
    pixels[50:54, 60:64] = 255
    root.mkdir()
    Image.fromarray(pixels).save(root / "dusty.png")
    Image.fromarray(np.full((200, 200, 3), 90, np.uint8)).save(root / "clean.png")
    found = run(root, tmp_path / "out", boxes=(), find="damage")
    assert found["dusty.png"].hole_px > 10
    assert found["clean.png"].hole_px == 0
    assert np.asarray(Image.open(tmp_path / "out/dusty.png")).max() < 120
    save_alone(reknit.repair(root / "dusty.png"), tmp_path / "alone.png")
    assert (tmp_path / "out/dusty.png").read_bytes() == (tmp_path / "alone.png").read_bytes()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"boxes": ()}, "mask.missing"),
        ({"engine": "exemplr"}, "engine.unknown"),
        ({"engine": "lama"}, "model.missing"),
        ({"params": {"radius": 5}, "engine": "exemplar"}, "option.unknown"),
        ({"seed": -5}, "option.value"),
        ({"boxes": ("1,2,3",)}, "option.value"),
        ({"find": "faces", "boxes": ()}, "option.value"),
        ({"find": "damage"}, "batch.mask"),
        ({"include": ["*.tif"]}, "batch.empty"),
        ({"engin": "telea"}, "option.unknown"),
        ({"workers": 0}, "option.value"),
    ],
)
def test_what_no_picture_could_be_done_with_is_said_at_once(
    folder: Path, tmp_path: Path, options: dict[str, Any], code: str
) -> None:
    with pytest.raises(ReknitError) as caught:
        run(folder, tmp_path / "out", **options)
    assert caught.value.code == code
    assert not (tmp_path / "out" / "reknit-batch" / "ledger.sqlite").exists()


def test_a_manifest_that_was_put_right_begins_anew(folder: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "jobs.csv"
    manifest.write_text("image,engin\na.png,telea\n")
    options: dict[str, Any] = {"manifest": manifest, "boxes": ("20,20,9,9",)}
    with pytest.raises(InputError, match="engin"):
        run(folder, tmp_path / "out", **options)
    manifest.write_text("image,engine\na.png,telea\n")
    assert [outcome.state for outcome in run(folder, tmp_path / "out", **options).values()] == ["done"]


PATCH = """
import os, signal, sys
from reknit.batch import picture
fill = picture.Bench.fill
def patched(bench, opened):
    name = opened.item.image
    if name.endswith("poison.png"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.endswith("once.png") and not os.path.exists("fell"):
        open("fell", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    if name.endswith("flaky.png") and not os.path.exists("failed"):
        open("failed", "w").close()
        from reknit.core.errors import ExternalError
        raise ExternalError("the disk hiccuped", code="file.unreadable")
    if name.endswith("slow.png"):
        import time
        time.sleep(3600)
    return fill(bench, opened)
picture.Bench.fill = patched
"""


@pytest.fixture
def trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make workers die of some pictures and fail with others."""
    (tmp_path / "trouble").mkdir()
    (tmp_path / "trouble" / "sitecustomize.py").write_text(textwrap.dedent(PATCH))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "trouble"))


@pytest.mark.usefixtures("trouble")
@pytest.mark.parametrize("retries", [0, 1])
def test_a_picture_that_kills_its_worker_fails_alone(folder: Path, tmp_path: Path, retries: int) -> None:
    for name in ("poison.png", "once.png", "x1.png", "x2.png", "x3.png"):
        picture(folder / name)
    found = run(folder, tmp_path / "out", workers=2, retries=retries)
    assert {name: error_of(o) for name, o in found.items() if not o.done} == {
        "bad.png": "image.unknown",
        "poison.png": "batch.worker-died",
    }
    assert "SIGKILL" in str(found["poison.png"].error)


@pytest.mark.usefixtures("trouble")
def test_what_may_pass_is_tried_again(folder: Path, tmp_path: Path) -> None:
    picture(folder / "flaky.png")
    assert run(folder, tmp_path / "out", include=["flaky.png"])["flaky.png"].done
    with sqlite3.connect(tmp_path / "out/reknit-batch/ledger.sqlite") as sql:
        assert sql.execute("SELECT state, code FROM result").fetchall() == [
            ("retried", "file.unreadable"),
            ("done", None),
        ]
    sql.close()
    (tmp_path / "failed").unlink()
    again = run(folder, tmp_path / "out2", include=["flaky.png"], retries=0)
    assert error_of(again["flaky.png"]) == "file.unreadable"


def test_a_worker_that_takes_its_time_to_end_is_ended(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reknit.batch.processes._END_S", 0.0)
    found = run(folder, tmp_path / "out", include=["a.png"])
    assert found and all(outcome.done for outcome in found.values())


@pytest.mark.usefixtures("trouble")
def test_workers_do_not_outlive_the_iterator(folder: Path, tmp_path: Path) -> None:
    picture(folder / "slow.png", side=512)  # the largest file goes first
    begin = time.monotonic()
    with closing(reknit.batch(folder, tmp_path / "out", boxes=("1,1,9,9",), workers=2)) as outcomes:
        next(outcomes)
    assert time.monotonic() - begin < 600


def test_an_item_that_was_written_before_the_run_died_is_done(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    setup = Setup(out=str(tmp_path / "out"))
    ledger.add([Entry(image=f"/in/{n}.png", mask=None, output=f"{n}.png") for n in "abc"], setup)
    taken = ledger.take(2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / taken[0].output).write_bytes(b"whole")
    part = tmp_path / "out" / f".{taken[1].output}.123-abc.part"
    part.write_bytes(b"ha")
    assert [o.image for o in ledger.recover(setup)] == [taken[0].image]
    assert not part.exists()
    assert ledger.counts() == {"waiting": 2, "running": 0, "done": 1, "failed": 0}
    assert [o.image for o in ledger.results()] == [taken[0].image]
    ledger.close()


def test_one_model_is_done_before_the_next_and_large_files_first(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    rows = [("telea", 10), ("lama", 10), ("telea", 100_000), ("lama", 5_000)]
    listed = [
        Entry(image=f"/{i}", mask=None, output=f"{i}", row={"engine": engine}, file_bytes=size)
        for i, (engine, size) in enumerate(rows)
    ]
    ledger.add(listed, Setup(out=str(tmp_path)))
    assert [item.image for item in ledger.take(10)] == ["/3", "/1", "/2", "/0"]
    ledger.close()


def test_the_list_costs_little_a_picture_and_no_memory(tmp_path: Path) -> None:
    def many() -> Iterator[Entry]:
        for i in range(20_000):
            yield Entry(image=f"/somewhere/far/{i:06}.jpg", mask=None, output=f"{i:06}.jpg")

    ledger = Ledger(tmp_path / "ledger.sqlite")
    begin = time.process_time()
    assert ledger.add(many(), Setup(out=str(tmp_path / "out"))) == 20_000
    assert (time.process_time() - begin) / 20_000 < 0.002
    ledger.close()


def test_workers_fit_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reknit.batch.processes.free_ram", lambda: (4 * 2**30, 8 * 2**30))
    monkeypatch.setattr("reknit.batch.processes.usable_threads", lambda: 16)
    assert workers_for(1_000_000)[0] == 9
    assert workers_for(300_000_000)[0] == 1
    monkeypatch.setattr("reknit.batch.processes.free_ram", lambda: (400 * 2**30, 512 * 2**30))
    assert workers_for(1_000_000) == (16, "16 CPU cores")


def test_values_travel_as_json() -> None:
    setup = Setup(out="/out", params={"a": 1}, boxes=("1,2,3,4",), kinds=("dust",))
    item = Item(id=1, image="/a", mask=None, output="a", row={"params": {"b": 2}})
    outcome = Outcome(id=1, image="/a", outputs=("/out/a",), seconds={"read": 0.5}, error={"code": "x"})
    assert Setup.of(json.loads(json.dumps(setup.to_dict()))) == setup
    assert Item(**json.loads(json.dumps(item.to_dict()))) == item
    assert Outcome.of(json.loads(json.dumps(outcome.to_dict()))) == outcome


def test_names_that_are_no_unicode_fail_alone(tmp_path: Path) -> None:
    picture(tmp_path / "in/fine.png")
    odd = os.fsencode(tmp_path / "in") + b"/\xff.png"
    Path(os.fsdecode(odd)).write_bytes((tmp_path / "in/fine.png").read_bytes())
    found = run(tmp_path / "in", tmp_path / "out")
    assert [o.done for o in found.values()].count(True) == 1
    assert len(found) == 2


def test_options_that_fill_has_by_name_are_those_of_the_engine(tmp_path: Path) -> None:
    made = make(tmp_path, 1)
    with pytest.raises(InputError) as caught:
        reknit.batch(made.source, tmp_path / "out", mask=made.masks, engine="exemplar", steps=5)
    assert caught.value.code == "option.unknown"
    with pytest.raises(InputError, match="promt"):
        reknit.batch(made.source, tmp_path / "out", mask=made.masks, promt="a lawn")
