"""A batch that is killed at random moments and resumed: every picture once, or failed with a reason."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import reknit
from reknit.batch.item import Outcome
from reknit.batch.ledger import FILE_NAME, Ledger
from tests.batch.pictures import Made, digests, make, save_alone

START = "from reknit.cli.main import main; main()"


def start(made: Made, out: Path) -> subprocess.Popen[bytes]:
    command = ["batch", str(made.source), str(out), "--mask", str(made.masks), "--resume", "--workers", "2"]
    return subprocess.Popen(
        [sys.executable, "-c", START, *command],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def settled(record: Path) -> int:
    """Return how many results the ledger holds, as another process sees them."""
    try:
        with sqlite3.connect(f"file:{record / FILE_NAME}?mode=ro", uri=True, timeout=5) as sql:
            count = sql.execute("SELECT COUNT(*) FROM result").fetchone()[0]
        sql.close()
    except sqlite3.Error:  # not made yet
        return 0
    return count


def killed(made: Made, out: Path, record: Path, after: int, rng: random.Random) -> bool:
    """Start the batch, let it settle ``after`` more pictures, and kill it: all of it, or only the parent.

    Returns False if it came to its end before that, on a machine that lets this process wait.
    """
    before = settled(record)
    process = start(made, out)
    while process.poll() is None and settled(record) < before + after:
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.3))
    if process.poll() is not None:
        assert process.returncode == 3, process.communicate()[1].decode()
        process.communicate()
        return False
    if rng.random() < 0.5:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()
    return True


def check(made: Made, out: Path, record: Path) -> None:
    """Check the ledger and every output against a fill of that picture alone."""
    ledger = Ledger(record / FILE_NAME)
    outcomes: dict[str, Outcome] = {
        Path(o.image).relative_to(made.source).as_posix(): o for o in ledger.results()
    }
    ledger.close()
    assert sorted(outcomes) == made.pictures()
    for name, outcome in outcomes.items():
        code = made.bad.get(name)
        assert outcome.done == (code is None), (name, outcome.error)
        if code is not None:
            assert outcome.error is not None
            assert outcome.error["code"].startswith(code)
    outputs = [Path(o.outputs[0]) for o in outcomes.values() if o.done]
    assert len(set(outputs)) == len(outputs)
    there = {p for p in out.rglob("*") if p.is_file() and record not in p.parents}
    assert there == set(outputs), "an output too many or too few, or a part of one"
    single = out.parent / "single"
    single.mkdir()
    for name, outcome in outcomes.items():
        if outcome.done:
            written = Path(outcome.outputs[0])
            alone = single / f"alone{written.suffix}"
            save_alone(reknit.fill(made.source / name, made.mask_of(name), threads=1), alone)
            assert alone.read_bytes() == written.read_bytes(), name


def run(root: Path, count: int, kills: int, sides: tuple[int, int]) -> None:
    rng = random.Random(7)
    made = make(root, count, sides=sides)
    sources = digests(made.source), digests(made.masks)
    out, record = root / "out", root / "out" / "reknit-batch"
    died = [killed(made, out, record, rng.randint(1, count // (kills + 2)), rng) for _ in range(kills)]
    assert died[0]
    last = start(made, out)
    _, said = last.communicate()
    assert last.returncode == 3, said.decode()
    with sqlite3.connect(record / FILE_NAME) as sql:
        times = Counter(item for (item,) in sql.execute("SELECT item FROM result WHERE state = 'done'"))
    sql.close()
    assert set(times.values()) == {1}
    check(made, out, record)
    assert (digests(made.source), digests(made.masks)) == sources


def test_killed_three_times(tmp_path: Path) -> None:
    run(tmp_path, 60, 3, (256, 400))


@pytest.mark.slow
def test_two_thousand_pictures_killed_five_times(tmp_path: Path) -> None:
    run(tmp_path, 2000, 5, (256, 2048))
