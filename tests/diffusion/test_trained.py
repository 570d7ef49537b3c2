"""The whole path on a model that was really trained: it restores what holes hid, and changes nothing else.

The model is trained on the first run and kept in ``out/trained`` until `training` changes; a sheet of what it makes
of scenes that it never saw lies beside it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("diffusers")

import reknit
from reknit.core import codec
from reknit.core.match import membrane
from reknit.engines.kept import KEPT
from tests.diffusion import training

pytestmark = pytest.mark.weights

OUT = Path("out/trained")
GIVEN = {"steps": 12, "side": training.SIDE, "guidance": 1.0, "device": "cpu", "dtype": "float32"}
COUNT = 24
NAMES = ("trained", "denoiser_untrained", "untrained")

Picture = training.Pictures
Hole = training.Holes


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A scene that no training saw, and a hole."""

    truth: Picture
    hole: Hole

    def fill(self, folder: Path, **params: Any) -> Picture:
        """Return the scene filled; nothing of what the hole hides is shown to the model."""
        damaged = np.where(self.hole[..., None], np.uint8(255), self.truth)
        result = reknit.fill(
            damaged, self.hole, model=str(folder), params=GIVEN | params, grow=0, feather=0, seed=3, threads=1
        )
        made = result.to_numpy()
        assert result.report.outside_equal
        assert np.array_equal(made[~self.hole], self.truth[~self.hole]), "something outside the hole changed"
        return made

    def error(self, made: Picture) -> float:
        """Return the mean error in the hole, in levels of 255."""
        return float(np.abs(made[self.hole].astype(float) - self.truth[self.hole]).mean())


@pytest.fixture(scope="module")
def folders() -> Iterator[training.Folders]:
    stamp = hashlib.sha256(Path(training.__file__).read_bytes()).hexdigest()
    kept = OUT / "trained-by"
    if not kept.exists() or kept.read_text() != stamp:
        training.train(OUT, training.Effort(), lambda text: print(text, flush=True))
        kept.write_text(stamp)
    yield training.Folders.under(OUT)
    KEPT.free()


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    rng = np.random.default_rng(99)
    drawn = zip(training.pictures(COUNT, rng), training.holes(COUNT, rng), strict=True)
    return [Case(truth=truth, hole=hole) for truth, hole in drawn]


def test_training_brings_the_masked_error_down_and_changes_nothing_else(
    folders: training.Folders, cases: list[Case]
) -> None:
    made = {name: [case.fill(getattr(folders, name)) for case in cases] for name in NAMES}
    made["smooth"] = [smooth(case) for case in cases]
    errors = {
        name: np.array([case.error(picture) for case, picture in zip(cases, pictures, strict=True)])
        for name, pictures in made.items()
    }
    for name, found in errors.items():
        kinds = (
            f"{kind} {found[n :: len(training.KINDS)].mean():.1f}" for n, kind in enumerate(training.KINDS)
        )
        print(f"{name}: mean {found.mean():.1f}, median {np.median(found):.1f} ({', '.join(kinds)})")
    save_sheet(cases, [made[name] for name in ("untrained", "denoiser_untrained", "smooth", "trained")])
    trained = errors["trained"]
    for untrained in (errors["untrained"], errors["denoiser_untrained"]):
        assert untrained.mean() > 5 * trained.mean()
        assert np.median(untrained) > 5 * np.median(trained)
    assert errors["smooth"].mean() > 2 * trained.mean(), "no more than a smooth fill from the rim"


def test_beyond_the_ring_a_large_photo_is_unchanged(folders: training.Folders, cases: list[Case]) -> None:
    truth = np.kron(cases[0].truth, np.ones((3, 3, 1), np.uint8))
    hole = np.zeros(truth.shape[:2], bool)
    hole[70:110, 80:110] = True
    before = truth.copy()
    result = reknit.fill(truth, hole, model=str(folders.trained), params=GIVEN, seed=1)
    reach = int(np.ceil(result.plan.grow_px + result.plan.feather_px)) + 1
    near = np.zeros(hole.shape, bool)
    near[70 - reach : 110 + reach, 80 - reach : 110 + reach] = True
    assert result.report.outside_equal
    assert np.array_equal(result.to_numpy()[~near], before[~near])
    assert np.array_equal(truth, before)
    assert not np.array_equal(result.to_numpy()[hole], before[hole])


def smooth(case: Case) -> Picture:
    """Return the scene with the smooth function in its hole that its rim determines."""
    values = membrane(case.truth.astype(np.float32), ~case.hole, grain_px=1)
    made = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.where(case.hole[..., None], made, case.truth)


def save_sheet(cases: list[Case], columns: list[list[Picture]]) -> None:
    """Save a row for each case: what the model was given, ``columns``, and the truth."""
    given = [np.where(case.hole[..., None], np.uint8(128), case.truth) for case in cases]
    rows = [
        np.concatenate([*row, case.truth], axis=1)
        for case, row in zip(cases, zip(given, *columns, strict=True), strict=True)
    ]
    half = len(rows) // 2
    sheet = np.concatenate([np.concatenate(rows[:half]), np.concatenate(rows[half:])], axis=1)
    large = np.kron(sheet, np.ones((2, 2, 1), np.uint8))
    (OUT / "sheet.png").write_bytes(codec.encode(reknit.Photo(pixels=large), container="png").data)


def test_skipped_steps_cost_some_of_the_picture(
    folders: training.Folders, cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import UNet2DConditionModel

    asked = 0
    forward = UNet2DConditionModel.forward

    def counted(*args: Any, **given: Any) -> Any:
        nonlocal asked
        asked += 1
        return forward(*args, **given)

    monkeypatch.setattr(UNet2DConditionModel, "forward", counted)
    found: dict[float, tuple[int, float]] = {}
    print("cache_skip: evaluations of 20, mean error in the hole")
    for threshold in (0.0, 0.05, 0.1, 0.2, 0.4):
        asked = 0
        made = [case.fill(folders.trained, steps=20, cache_skip=threshold) for case in cases]
        error = float(np.mean([case.error(picture) for case, picture in zip(cases, made, strict=True)]))
        found[threshold] = asked, error
        print(f"{threshold:g}: {asked / len(cases):.1f}, {error:.2f}")
    evaluations, errors = zip(*found.values(), strict=True)
    assert evaluations[0] == 20 * len(cases)
    assert sorted(evaluations, reverse=True) == list(evaluations), "a higher threshold skips more"
    assert evaluations[-1] < 0.8 * evaluations[0]
    assert errors[1] < 1.5 * errors[0]
