"""Stepping down when memory runs out: the exact sequence of attempts for failures at every stage and tier."""

from itertools import product

import pytest

from reknit.core.errors import EngineFailed, Unavailable
from reknit.pipeline.recover import MOST, Finished, Way, carry_out

STAGES = ("load", "encode", "denoise", "decode")
TIERS = ("resident", "tiled", "model", "group", "sequential")
GIB = float(2**30)
WAYS = [
    Way(params={"tier": name}, says=() if i == 0 else (name,), need=(16 >> i) * GIB)
    for i, name in enumerate(TIERS)
]


class Work:
    """Work of four stages that fails where it is told to, and goes on from the last finished one."""

    def __init__(self, failing: set[tuple[str, str]], error: Exception | None = None) -> None:
        self.failing = failing
        self.error = error or Unavailable("decoding ran out of memory", code="memory.out")
        self.finished = Finished()
        self.log: list[str] = []
        self.notes: list[str] = []

    def __call__(self, way: Way) -> str:
        tier = way.params["tier"]
        self._stage("load", tier)
        for stage in STAGES[1:]:
            self.finished.once(stage, lambda stage=stage: self._stage(stage, tier))
        return tier

    def _stage(self, stage: str, tier: str) -> str:
        self.log.append(f"{stage}@{tier}")
        if (stage, tier) in self.failing:
            raise self.error
        return stage

    def free(self) -> None:
        self.log.append("free")

    def run(self, ways: list[Way] = WAYS) -> str:
        return carry_out(self, ways, free=self.free, say=self.notes.append)


def test_nothing_fails_nothing_is_said() -> None:
    work = Work(set())
    assert work.run() == "resident"
    assert work.log == [f"{stage}@resident" for stage in STAGES]
    assert work.notes == []


@pytest.mark.parametrize("stage", STAGES)
def test_after_a_failure_it_goes_on_from_the_last_finished_stage(stage: str) -> None:
    work = Work({(stage, "resident")})
    assert work.run() == "tiled"
    at = STAGES.index(stage)
    rest = STAGES[max(at, 1) :]
    assert work.log == [
        *(f"{each}@resident" for each in STAGES[: at + 1]),
        "free",
        "load@tiled",
        *(f"{each}@tiled" for each in rest),
    ]
    assert work.notes == ["decoding ran out of memory; went on with tiled"]


@pytest.mark.parametrize("stages", list(product(STAGES, repeat=3)), ids="-".join)
def test_three_failures_are_survived_wherever_they_happen(stages: tuple[str, ...]) -> None:
    work = Work(set(zip(stages, TIERS[:3], strict=True)))
    reached, expected, tier = 1, [], 0
    for tier, name in enumerate(TIERS):
        wanted = stages[tier] if tier < 3 else None
        expected.append(f"load@{name}")
        if wanted == "load":
            expected.append("free")
            continue
        failed = False
        for at in range(reached, 4):
            expected.append(f"{STAGES[at]}@{name}")
            if STAGES[at] == wanted:
                failed = True
                break
            reached = at + 1
        if not failed:
            break
        expected.append("free")
    assert work.run() == TIERS[tier]
    assert work.log == expected
    assert len(work.notes) == tier


def test_a_fourth_failure_is_an_error_that_says_what_needs_less() -> None:
    work = Work({("denoise", tier) for tier in TIERS})
    with pytest.raises(Unavailable, match="4 times") as caught:
        work.run()
    assert caught.value.code == "memory.out"
    assert caught.value.hint.startswith("ask for sequential (1.0 GiB)")
    assert caught.value.facts["tried"] == [[], ["tiled"], ["model"], ["group"]]
    assert len(work.notes) == MOST
    assert [line for line in work.log if line.startswith("load")] == [f"load@{tier}" for tier in TIERS[:4]]
    assert work.log[-1] == "free", "nothing stays loaded after giving up"


def test_a_way_that_needs_about_as_much_is_left_out() -> None:
    close = Way(params={"tier": "tiled"}, says=("tiled",), need=15.5 * GIB)
    work = Work({("decode", "resident")})
    assert work.run([WAYS[0], close, *WAYS[2:]]) == "model"


def test_the_last_way_fails_early() -> None:
    work = Work({("load", "resident"), ("load", "tiled")})
    with pytest.raises(Unavailable, match="2 times"):
        work.run(WAYS[:2])


def test_pythons_own_memory_error_counts_and_other_errors_do_not() -> None:
    assert Work({("encode", "resident")}, MemoryError()).run() == "tiled"
    work = Work({("encode", "resident")}, EngineFailed("broken", code="engine.torch"))
    with pytest.raises(EngineFailed):
        work.run()
    assert "free" not in work.log
