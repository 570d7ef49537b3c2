"""Generated scenes: same seed same bytes, any size, exact truth, and the command line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from examples import scenes, silhouettes


@pytest.mark.parametrize("name", scenes.names())
@pytest.mark.parametrize("size", [(97, 131), (131, 97)])
def test_a_scene_is_a_picture_of_that_size(name, size):
    photo = scenes.render(name, *size, seed=3)
    assert photo.shape == (size[1], size[0], 3)
    assert photo.dtype == np.uint8
    assert photo.std() > 8
    assert np.array_equal(photo, scenes.render(name, *size, seed=3))
    assert not np.array_equal(photo, scenes.render(name, *size, seed=4))


@pytest.mark.parametrize("size", [(1, 1), (1, 65), (300, 1), (2, 129)])
@pytest.mark.parametrize("name", scenes.names())
def test_tiny_and_thin_pictures(name, size):
    assert scenes.render(name, *size).shape == (size[1], size[0], 3)


def test_an_unknown_scene_names_those_there_are():
    with pytest.raises(ValueError, match="beach"):
        scenes.render("moonbase", 8, 8)


@pytest.mark.parametrize("kind", list(silhouettes.KINDS))
def test_the_truth_is_exact_outside_the_object(kind):
    photo, mask, truth = scenes.with_object("meadow", 211, 157, 5, kind=kind, area=0.08)
    assert np.array_equal(photo[~mask], truth[~mask])
    assert np.array_equal(truth, scenes.render("meadow", 211, 157, 5))
    assert (photo[mask] != truth[mask]).any(axis=-1).mean() > 0.7
    assert 0.07 < mask.mean() < 0.14


def test_objects_stay_in_the_frame():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        placed = silhouettes.place("bird", 300, 200, rng, area=0.5, centre=(1.0, 0.0))
        mask = silhouettes.outline(placed, 300, 200)
        assert mask.any()
        assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def test_large_scenes_look_like_small_ones():
    small, large = scenes.render("beach", 90, 60, 1, grain=0), scenes.render("beach", 900, 600, 1, grain=0)
    shrunk = large.reshape(60, 10, 90, 10, 3).mean(axis=(1, 3))
    assert np.abs(shrunk.mean(axis=1) - small.mean(axis=1)).mean() < 20


def test_command_line_writes_photo_mask_and_truth(tmp_path):
    import pyvips

    files = [str(tmp_path / f) for f in ("truth.png", "photo.png", "mask.png")]
    subprocess.run(
        [sys.executable, "-m", "examples.scenes", "--scene", "wood", "--size", "120x80", "--truth", *files], check=True,
        capture_output=True, cwd=Path(scenes.__file__).parents[1],
    )  # fmt: skip
    truth, photo, mask = (pyvips.Image.new_from_file(f).numpy() for f in files)
    assert photo.shape == truth.shape == (80, 120, 3)
    assert set(np.unique(mask)) == {0, 255}
    assert np.array_equal(photo[mask == 0], truth[mask == 0])
