"""Nothing outside hole ⊕ ring changes: in any format and depth, with any engine, any mask, any option."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import distance_transform_edt

import reknit
from reknit.core import codec
from reknit.core.image import Photo
from reknit.core.result import FillResult

from .odd_engines import fixed, learned, offered, wild

ENGINES = ("exemplar", "telea", "navier-stokes", "auto", "wild", "fixed", "learned")
MASKS = ("box", "specks", "strokes", "border", "checkerboard", "all-but-one", "one", "noise")


@dataclass(frozen=True)
class Run:
    """One random fill."""

    width: int
    height: int
    deep: bool
    channels: int
    mask: str
    engine: str
    grow: float
    feather: float | None
    count: int
    threads: int
    with_source: bool
    seed: int

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng((self.seed, self.width, self.height))

    def photo(self) -> np.ndarray:
        dtype = np.uint16 if self.deep else np.uint8
        shape = (self.height, self.width, self.channels)
        pixels = self.rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
        return pixels[..., 0] if self.channels == 1 else pixels

    def hole(self) -> np.ndarray:
        height, width, rng = self.height, self.width, self.rng
        hole = np.zeros((height, width), bool)
        y, x = int(rng.integers(height)), int(rng.integers(width))
        match self.mask:
            case "box":
                hole[y : y + 1 + height // 3, x : x + 1 + width // 3] = True
            case "specks":
                hole[rng.integers(height, size=6), rng.integers(width, size=6)] = True
            case "strokes":
                hole[y] = hole[:, x] = True
            case "border":
                hole[: 1 + height // 4] = hole[:, -1 - width // 4 :] = True
            case "checkerboard":
                hole[::2, ::2] = hole[1::2, 1::2] = True
            case "all-but-one":
                hole[:] = True
                hole[y, x] = False
            case "one":
                hole[y, x] = True
            case "noise":
                hole[:] = rng.random((height, width)) < rng.random()
        if hole.all():
            hole[y, x] = False
        if not hole.any():
            hole[y, x] = True
        return hole

    def options(self) -> dict:
        source = self.rng.random((self.height, self.width)) < 0.5
        source[0, 0] = True
        return {
            "engine": self.engine,
            "grow": self.grow,
            "feather": self.feather,
            "count": self.count,
            "threads": self.threads,
            "seed": self.seed,
            "source": source if self.with_source else None,
        }


def runs(*, deep: bool | None = None, channels: tuple[int, ...] = (1, 3, 4)) -> st.SearchStrategy[Run]:
    sides = st.one_of(st.integers(2, 24), st.integers(2, 90))
    return st.builds(
        Run,
        width=st.one_of(sides, st.just(1)),
        height=sides,
        deep=st.booleans() if deep is None else st.just(deep),
        channels=st.sampled_from(channels),
        mask=st.sampled_from(MASKS),
        engine=st.sampled_from(ENGINES),
        grow=st.sampled_from((0.0, 1.0, 1.5, 2.0, 5.0)),
        feather=st.sampled_from((None, None, 0.0, 0.5, 1.0, 3.0, 40.0)),
        count=st.sampled_from((1, 1, 1, 2)),
        threads=st.sampled_from((1, 2, 4)),
        with_source=st.booleans(),
        seed=st.integers(0, 2**32 - 1),
    )


@pytest.fixture(scope="module", autouse=True)
def odd_engines() -> Iterator[None]:
    with offered(wild(), fixed(), learned()):
        yield


def check(result: FillResult, before: np.ndarray, hole: np.ndarray, after: list[np.ndarray]) -> None:
    """Assert that the pictures ``after`` equal ``before`` outside the ring, and that the proof is right."""
    plan, proof = result.plan, result.report
    ring_px = plan.grow_px + plan.feather_px
    outside = distance_transform_edt(~hole) > ring_px
    for picture in after:
        assert picture.dtype == before.dtype
        assert picture.shape == before.shape
        changed = (picture != before).reshape(*hole.shape, -1).any(axis=-1)
        assert not (changed & outside).any()
    assert proof.outside_equal
    assert proof.differing_px == 0
    assert proof.max_residue == 0
    assert proof.ring_px <= ring_px
    assert hole.sum() <= proof.touched_px <= (~outside).sum()


def fill_arrays(run: Run) -> None:
    photo, hole, options = run.photo(), run.hole(), run.options()
    copies = photo.copy(), hole.copy(), None if options["source"] is None else options["source"].copy()
    result = reknit.fill(photo, hole, **options)
    for given_array, copy in zip((photo, hole, options["source"]), copies, strict=True):
        assert (given_array is None) == (copy is None)
        assert copy is None or np.array_equal(given_array, copy)
    after = [result.to_numpy(i) for i in range(run.count)]
    if run.channels == 1:
        for picture in after:
            assert (picture == picture[..., :1]).all(), "grey did not stay grey"
        after = [picture[..., 0] for picture in after]
    check(result, photo, hole, after)


def fill_files(run: Run, container: str) -> None:
    data = encoded(run.photo(), container)
    photo, hole = codec.decode(data), run.hole()
    before = photo.to_numpy()
    result = reknit.fill(data, hole, **run.options())
    after = []
    for i in range(run.count):
        file = codec.encode(result.photos[i])
        assert file.container == container
        after.append(with_opaque_alpha(codec.decode(file.data).to_numpy(), before))
    check(result, before, hole, after)


def with_opaque_alpha(picture: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return ``picture`` with the alpha that WebP leaves out of a file when every pixel is opaque."""
    if picture.shape[2] == 3 and like.shape[2] == 4:
        return np.dstack((picture, np.full(picture.shape[:2], 255, picture.dtype)))
    return picture


def encoded(pixels: np.ndarray, container: str) -> bytes:
    """Return a lossless file, made by another library where one can."""
    if pixels.dtype == np.uint16:
        return codec.encode(Photo.from_array(pixels), container=container).data
    out = io.BytesIO()
    more = {"lossless": True, "exact": True} if container == "webp" else {}
    Image.fromarray(pixels).save(out, container, **more)
    return out.getvalue()


ALL_BUT_ONE = Run(
    width=9, height=7, deep=True, channels=4, mask="all-but-one", engine="learned", grow=2.0, feather=3.0, count=2,
    threads=2, with_source=True, seed=7,
)  # fmt: skip
FEW = settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    database=None,
)
MANY = settings(FEW, max_examples=8_000)
SOME = settings(FEW, max_examples=500)


@FEW
@given(runs())
@example(ALL_BUT_ONE)
def test_arrays_are_equal_outside(run: Run) -> None:
    fill_arrays(run)


@pytest.mark.slow
@MANY
@given(runs())
def test_arrays_are_equal_outside_in_8000_runs(run: Run) -> None:
    fill_arrays(run)


FORMATS = pytest.mark.parametrize(
    ("container", "strategy"),
    [
        ("png", runs(deep=False)),
        ("png", runs(deep=True)),
        ("tiff", runs(deep=False)),
        ("tiff", runs(deep=True)),
        ("webp", runs(deep=False, channels=(3, 4))),
    ],
    ids=["png-8", "png-16", "tiff-8", "tiff-16", "webp-lossless"],
)


@FORMATS
@settings(FEW, max_examples=30)
@given(data=st.data())
def test_lossless_files_are_equal_outside(container: str, strategy: st.SearchStrategy[Run], data) -> None:
    fill_files(data.draw(strategy), container)


@pytest.mark.slow
@FORMATS
@SOME
@given(data=st.data())
def test_lossless_files_are_equal_outside_in_2500_runs(
    container: str, strategy: st.SearchStrategy[Run], data
) -> None:
    fill_files(data.draw(strategy), container)
