"""Learned engines in a whole fill: the scale of crops, few calls, lost detail, and where models come from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reknit.core.errors import InputError, NotFound, Unavailable
from reknit.core.image import Photo
from reknit.core.mask import Mask
from reknit.core.progress import Report
from reknit.core.request import FillRequest
from reknit.core.result import FillResult
from reknit.engines import contracts
from reknit.engines.base import Crop, Samples
from reknit.engines.learned import RUNTIMES, LearnedSession
from reknit.models import catalog
from reknit.models.store import Store
from reknit.pipeline.fill import fill
from reknit.pipeline.plan import plan_fill
from tests.oracles.networks import Net, write

pytest.importorskip("onnxruntime")
CONTRACT = "image=0..1 mask=1=hole output=0..1"


@pytest.fixture
def crops(monkeypatch: pytest.MonkeyPatch) -> list[Crop]:
    """Return what the network is given from now on."""
    seen: list[Crop] = []
    run = LearnedSession.run

    def counted(
        self: LearnedSession, crop: Crop, params: Mapping[str, Any], seed: int, report: Report
    ) -> Samples:
        seen.append(crop)
        return run(self, crop, params, seed, report)

    monkeypatch.setattr(LearnedSession, "run", counted)
    return seen


def noise(height: int, width: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    return np.clip(rng.normal((150, 110, 70), 12, (height, width, 3)), 0, 255).astype(np.uint8)


def filled(pixels: NDArray[Any], hole: NDArray[np.bool_], path: Path, **options: Any) -> FillResult:
    request = FillRequest(
        photo=Photo(pixels=pixels),
        mask=Mask.from_bool(hole),
        engine="network",
        params={"model": str(path), "contract": CONTRACT, **options},
    )
    return fill(request, threads=2)


def kept(result: FillResult, pixels: NDArray[Any], hole: NDArray[np.bool_]) -> bool:
    """Return whether all is as it was farther than grown hole and ring reach."""
    far = ~Mask.from_bool(hole).grown(11).fill
    return np.array_equal(result.photos[0].pixels[far], pixels[far])


def test_300_specks_are_few_calls_at_full_scale(tmp_path: Path, crops: list[Crop]) -> None:
    path = write(tmp_path / "net.onnx", Net(side=512))
    pixels, hole = noise(1100, 1100), np.zeros((1100, 1100), bool)
    for y, x in np.random.default_rng(1).integers(3, 1096, (300, 2)):
        hole[y - 2 : y + 3, x - 2 : x + 3] = True
    result = filled(pixels, hole, path)
    assert 4 <= len(crops) <= 16
    widest = max(max(context.size.shape) for _, context in result.plan.regions)
    assert widest <= 1.25 * 512, "specks are not filled at a coarser scale"
    assert kept(result, pixels, hole)


@pytest.mark.parametrize(
    ("shape", "hole"),
    [
        ((1, 9), np.s_[:, 3:5]),
        ((7, 1000), np.s_[2:5, 400:600]),
        ((33, 61), np.s_[:10, :20]),
        ((300, 401), np.s_[1:, :]),
    ],
)
@pytest.mark.parametrize("side", [None, 512])
def test_odd_sizes_cost_one_call_and_stay_as_they_were_outside(
    shape: tuple[int, int], hole: Any, side: int | None, tmp_path: Path, crops: list[Crop]
) -> None:
    pixels, where = noise(*shape), np.zeros(shape, bool)
    where[hole] = True
    result = filled(pixels, where, write(tmp_path / "net.onnx", Net(side=side)))
    assert len(crops) == 1
    assert max(crops[0].hole.shape) <= 512
    assert kept(result, pixels, where)
    mean = result.photos[0].pixels[where].mean(axis=0)
    assert np.abs(mean - (150, 110, 70)).max() < 16


def test_a_large_photo_costs_one_call_and_no_copy_of_it_goes_to_the_network(
    tmp_path: Path, crops: list[Crop]
) -> None:
    pixels, hole = np.full((2999, 4001, 3), 90, np.uint8), np.zeros((2999, 4001), bool)
    hole[1200:1600, 2000:2400] = True
    result = filled(pixels, hole, write(tmp_path / "net.onnx", Net()))
    assert [crop.hole.shape for crop in crops] == [(512, 512)]
    assert np.array_equal(result.photos[0].pixels, pixels)


def test_a_crop_is_not_enlarged_where_the_photo_has_room(tmp_path: Path, crops: list[Crop]) -> None:
    path = write(tmp_path / "net.onnx", Net(side=128))
    pixels, hole = noise(400, 400), np.zeros((400, 400), bool)
    hole[5:15, 380:390] = True
    result = filled(pixels, hole, path)
    (_, context), *_ = result.plan.regions
    assert context.size.shape == (128, 128)
    assert np.array_equal(crops[0].pixels, pixels[context.slices]), "pixels reach the network as they are"


def test_a_fill_that_was_made_small_has_the_detail_of_its_surroundings(
    tmp_path: Path, crops: list[Crop]
) -> None:
    path = write(tmp_path / "net.onnx", Net(side=128))
    y, x = np.mgrid[:900, :900]
    stripes = (120 + 90 * (x // 3 % 2))[..., None] + np.zeros(3)
    pixels = stripes.astype(np.uint8)
    hole = ((y - 450) ** 2 + (x - 450) ** 2) < 200**2
    made = filled(pixels, hole, path).photos[0].pixels
    assert len(crops) == 1
    contrast = np.abs(np.diff(made[420:480, 380:520, 0].astype(float), axis=1)).mean()
    true = np.abs(np.diff(pixels[420:480, 380:520, 0].astype(float), axis=1)).mean()
    assert contrast > 0.6 * true


def test_sixteen_bits_and_alpha_go_through(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", Net(side=64))
    pixels = noise(90, 100).astype(np.uint16) * np.uint16(257)
    alpha = np.full((90, 100), 65535, np.uint16)
    hole = np.zeros((90, 100), bool)
    hole[30:50, 40:60] = True
    alpha[hole] = 0
    request = FillRequest(
        photo=Photo(pixels=pixels, alpha=alpha),
        mask=Mask.from_bool(hole),
        engine="network",
        params={"model": str(path), "contract": CONTRACT},
    )
    photo = fill(request).photos[0]
    assert photo.pixels.dtype == np.uint16
    assert photo.alpha is not None
    assert (photo.alpha[hole] == 65535).all()
    assert np.abs(photo.pixels[hole].mean(axis=0) / 257 - (150, 110, 70)).max() < 6


def request(engine: str, **params: Any) -> FillRequest:
    hole = np.zeros((400, 400), bool)
    hole[100:250, 100:250] = True
    return FillRequest(
        photo=Photo(pixels=noise(400, 400)), mask=Mask.from_bool(hole), engine=engine, params=params
    )


def test_the_catalogue_and_the_engines_use_the_same_words() -> None:
    assert dict(contracts.WORDS) == dict(catalog.CONTRACT)
    for card in catalog.load().values():
        if card.engine in RUNTIMES:
            assert card.contract is not None, f"{card.id}: a file that needs a trial"
            assert {"image", "mask", "output"} <= set(card.contract)


def store_of(folder: Path, *names: str) -> Store:
    """Return a store in whose folder the files of some models lie, by their names alone."""
    cards = {}
    for card in Store(folder, offline=True).cards.values():
        files = tuple(type(f)(name=f.name, repo=f.repo, url=f.url) for f in card.files)
        cards[card.id] = card_with(card, files)
    for name in names:
        path = folder / name / cards[name].files[0].name
        path.parent.mkdir(parents=True)
        write(path, Net(side=512, output="0..255"))
    return Store(folder, offline=True, cards=cards)


def card_with(card: Any, files: Any) -> Any:
    from dataclasses import replace

    return replace(card, files=files, single_files=())


def test_a_model_that_is_missing_is_named_with_the_command_that_gets_it(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    for models in (None, lambda: store):
        with pytest.raises(Unavailable) as caught:
            plan_fill(request("lama"), threads=1, models=models)
        assert caught.value.code == "model.missing"
        assert caught.value.hint.startswith("reknit models pull lama-onnx")


def test_an_installed_model_is_found_by_its_engine_and_by_its_id(tmp_path: Path) -> None:
    store = store_of(tmp_path, "lama-onnx")
    for params in ({}, {"model": "lama-onnx"}, {"model": "LAMA"}):
        work = plan_fill(request("lama", **params), threads=1, models=lambda: store)
        assert work.engine.spec.good_px == 512
        result = fill(request("lama", **params), models=lambda: store)
        assert result.plan.engine == "lama"
    with pytest.raises(InputError) as caught:
        plan_fill(request("migan", model="lama-onnx"), threads=1, models=lambda: store)
    assert caught.value.code == "model.family"
    with pytest.raises(NotFound) as caught:
        plan_fill(request("lama", model="lamma"), threads=1, models=lambda: store)
    assert caught.value.code == "model.unknown"


def test_auto_takes_an_installed_model_for_large_holes_and_says_why(tmp_path: Path) -> None:
    empty, full = store_of(tmp_path / "a"), store_of(tmp_path / "b", "lama-onnx")
    assert plan_fill(request("auto"), threads=1).plan.engine == "exemplar"
    assert plan_fill(request("auto"), threads=1, models=lambda: empty).plan.engine == "exemplar"
    plan = plan_fill(request("auto"), threads=1, models=lambda: full).plan
    assert plan.engine == "lama"
    assert "lama-onnx is installed" in plan.reasons[0]
    small = np.zeros((400, 400), bool)
    small[100:130, 100:200] = True
    thin = FillRequest(photo=Photo(pixels=noise(400, 400)), mask=Mask.from_bool(small))
    assert plan_fill(thin, threads=1, models=lambda: full).plan.engine == "exemplar"
