"""The same list on a Ray cluster: what an actor does, and a whole batch while a node is killed."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import reknit
from reknit.batch.item import Item, Outcome, Setup
from reknit.batch.on_ray import Actor
from reknit.core.errors import Unavailable
from tests.batch.pictures import digests, make, save_alone


def test_an_actor_does_calls_side_by_side_and_answers_in_json(tmp_path: Path) -> None:
    made = make(tmp_path, 12)
    actor = Actor(Setup(out=str(tmp_path / "out")).to_dict(), 1)
    items = [
        Item(id=i, image=str(made.source / name), mask=str(made.mask_of(name)), output=f"{i}.png")
        for i, name in enumerate(made.pictures())
    ]
    with ThreadPoolExecutor(3) as calls:
        answers = calls.map(actor.do, [json.dumps(item.to_dict()) for item in items])
        outcomes = [Outcome.of(json.loads(text)) for text in answers]
    assert [o.id for o in outcomes] == list(range(12))
    failed = {Path(o.image).relative_to(made.source).as_posix() for o in outcomes if not o.done}
    assert failed == set(made.bad)
    assert len(list((tmp_path / "out").iterdir())) == 12 - len(made.bad)


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Start two raylets of one CPU each; the head is the first."""
    pytest.importorskip("ray.cluster_utils")
    import ray
    from ray.cluster_utils import Cluster

    few = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    made = Cluster(initialize_head=True, head_node_args={**few, "include_dashboard": False})
    made.second = made.add_node(**few)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_node_is_killed_in_the_middle(tmp_path: Path, cluster: Any) -> None:
    made = make(tmp_path, 120)
    before = digests(made.source)
    out = tmp_path / "out"
    outcomes: dict[str, Outcome] = {}
    for outcome in reknit.batch(made.source, out, mask=made.masks, ray=cluster.address):
        outcomes[Path(outcome.image).relative_to(made.source).as_posix()] = outcome
        if len(outcomes) == 20:
            cluster.remove_node(cluster.second, allow_graceful=False)
    assert sorted(outcomes) == made.pictures()
    assert {name for name, outcome in outcomes.items() if not outcome.done} == set(made.bad)
    assert digests(made.source) == before
    with sqlite3.connect(out / "reknit-batch" / "ledger.sqlite") as sql:
        assert Counter(sql.execute("SELECT state FROM item")) == {
            ("done",): 120 - len(made.bad),
            ("failed",): len(made.bad),
        }
        told = "SELECT COUNT(DISTINCT item), COUNT(*) FROM result WHERE state != 'retried'"
        assert sql.execute(told).fetchone() == (120, 120)
        (lost,) = sql.execute("SELECT COUNT(*) FROM result WHERE code = 'batch.node-lost'").fetchone()
        assert 1 <= lost <= 3  # what one actor held
    sql.close()
    there = {p for p in out.rglob("*") if p.is_file() and "reknit-batch" not in p.parts}
    assert there == {Path(o.outputs[0]) for o in outcomes.values() if o.done}, "parts of files were left"
    for name, outcome in outcomes.items():
        if outcome.done:
            written = Path(outcome.outputs[0])
            alone = tmp_path / f"alone{written.suffix}"
            save_alone(reknit.fill(made.source / name, made.mask_of(name), threads=1), alone)
            assert alone.read_bytes() == written.read_bytes(), name


def test_no_cluster_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray.cluster_utils")
    import ray

    def refuse(**options: Any) -> None:
        raise ConnectionError("nothing listens")

    monkeypatch.setattr(ray, "init", refuse)
    made = make(tmp_path, 1)
    with pytest.raises(Unavailable) as caught:
        list(reknit.batch(made.source, tmp_path / "out", mask=made.masks, ray="127.0.0.1:1"))
    assert caught.value.code == "batch.no-cluster"
