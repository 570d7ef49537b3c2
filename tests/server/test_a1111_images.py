"""A1111's arithmetic, number by number."""

import numpy as np
import pytest

from reknit.core.geometry import Box, Size
from reknit.core.image import Photo
from reknit.server import a1111_images as images
from reknit.server import a1111_lists as lists


def box(x0: int, y0: int, x1: int, y1: int) -> Box:
    return Box(x0=x0, y0=y0, x1=x1, y1=y1)


def square() -> np.ndarray:
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 255
    return mask


def test_the_blur_has_21_taps_at_4() -> None:
    soft = images.blurred(square(), 4, 4)
    assert list(soft[30, 18:24]) == [90, 115, 139, 164, 187, 206]
    assert images.bounds(soft) == box(10, 10, 50, 50)
    assert (images.blurred(square(), 0, 0) == square()).all()
    across = images.blurred(square(), 4, 0)
    assert images.bounds(across) == box(10, 20, 50, 40)
    assert images.bounds(images.blurred(square(), 0, 4)) == box(20, 10, 40, 50)


@pytest.mark.parametrize(
    ("crop", "shape", "size", "expected"),
    [
        ((100, 100, 228, 132), (512, 512), (640, 480), (100, 52, 228, 180)),
        ((600, 200, 640, 400), (512, 512), (640, 480), (440, 200, 640, 400)),
        ((10, 10, 74, 42), (768, 512), (640, 480), (10, 5, 74, 47)),
        ((0, 0, 640, 10), (512, 512), (640, 480), (0, 0, 640, 480)),
    ],
)
def test_a_crop_grows_to_the_shape_of_the_work(
    crop: tuple[int, ...], shape: tuple[int, int], size: tuple[int, int], expected: tuple[int, ...]
) -> None:
    grown = images.expanded(box(*crop), *shape, Size(width=size[0], height=size[1]))
    assert grown == box(*expected)


def test_resize_modes_keep_what_they_say() -> None:
    wide = np.zeros((480, 640, 3), np.uint8)
    wide[:, :64], wide[:, -64:] = 200, 100
    assert images.resized(images.STRETCH, wide, 512, 512).shape == (512, 512, 3)
    cropped = images.resized(images.CROP, wide, 512, 512)  # 682x512 at -85, 0
    assert cropped.shape == (512, 512, 3)
    assert cropped[:, 10:-10].max() == 0
    padded = images.resized(images.FILL_EDGES, wide, 512, 512)  # 512x384 at 0, 64
    assert padded.shape == (512, 512, 3)
    assert (padded[0] == padded[64]).all() and (padded[-1] == padded[447]).all()
    tall = images.resized(images.FILL_EDGES, wide[:, :100], 512, 512)
    assert (tall[:, 0] == tall[:, 200]).all() and tall.shape == (512, 512, 3)
    assert images.resized(images.CROP, wide[:100, :100], 37, 91).shape == (91, 37, 3)


@pytest.mark.parametrize("mode", [images.STRETCH, images.CROP, images.FILL_EDGES, images.LATENT])
@pytest.mark.parametrize("shape", [(7, 300), (300, 7), (33, 32), (1, 1)])
@pytest.mark.parametrize("to", [(64, 64), (8, 120), (120, 8)])
def test_any_size_becomes_the_one_asked_for(mode: int, shape: tuple[int, int], to: tuple[int, int]) -> None:
    assert images.resized(mode, np.zeros(shape, np.uint8), *to).shape == (to[1], to[0])


def test_masks_are_read_as_the_original_reads_them() -> None:
    colour = np.zeros((2, 3, 3), np.uint8)
    colour[0] = (255, 0, 0)
    colour[1] = (255, 255, 255)
    assert list(images.mask_of(Photo(pixels=colour), rounded=True)[:, 0]) == [76, 255]
    opaque = Photo(pixels=colour, alpha=np.full((2, 3), 255, np.uint8))
    assert list(images.mask_of(opaque, rounded=True)[:, 0]) == [76, 255]
    alpha = np.array([[0, 128, 129], [200, 255, 10]], np.uint8)
    seen = Photo(pixels=colour, alpha=alpha)
    assert images.mask_of(seen, rounded=True).tolist() == [[0, 0, 255], [255, 255, 0]]
    assert (images.mask_of(seen, rounded=False) == alpha).all()
    assert not images.mask_of(Photo(pixels=colour, alpha=np.zeros((2, 3), np.uint8)), rounded=True).any()


def test_only_masked_gives_the_source_back_beyond_the_overlay() -> None:
    rng = np.random.default_rng(5)
    image = rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)
    mask = np.zeros((90, 120), np.uint8)
    mask[30:50, 40:70] = 255
    soft = images.blurred(mask, 4, 4)
    work = images.only_masked(image, soft, padding=8, width=64, height=64)
    assert work is not None
    assert work.tile.shape == (64, 64, 3) and work.mask.shape == (64, 64)
    assert work.place == images.expanded(box(22, 12, 88, 68), 64, 64, Size(width=120, height=90))
    out = work.composed(np.full((64, 64, 3), 200, np.uint8))
    assert out.shape == image.shape
    assert (out[soft == 0] == image[soft == 0]).all() and (out[soft == 255] == 200).all()
    mixed = image + (200.0 - image) * (soft[..., None] / 255)
    assert np.abs(out - mixed).max() <= 1
    assert images.only_masked(image, np.zeros_like(mask), padding=8, width=64, height=64) is None


def test_the_whole_picture_is_made_anew_where_it_is_half_masked() -> None:
    image = np.full((40, 80, 3), 50, np.uint8)
    mask = np.full((40, 80), 127, np.uint8)
    mask[:, 40:] = 128
    mask[:20] = 0
    work = images.whole_picture(image, mask, mode=images.STRETCH, width=160, height=80)
    assert work is not None and work.base.shape == (80, 160, 3)
    out = work.composed(np.full((80, 160, 3), 250, np.uint8))
    assert (out[:36] == 50).all() and (out[44:, 90:] == 250).all()
    assert set(np.unique(out[44:, :70])) == {249}


def test_every_name_means_a_sampler_of_the_engine() -> None:
    from reknit.diffusion.sampler import sampler

    for name, aliases, _ in lists.SAMPLERS:
        for schedule in lists.SCHEDULERS:
            for word in (name, *aliases, f"{name} {schedule['label']}", name.upper()):
                found, label = lists.sampler_of(word, None)
                assert found == name
                assert sampler(found, label).solver.a1111 == name  # pyright: ignore[reportOptionalMemberAccess]
    assert lists.sampler_of("DPM++ 2M Karras", "simple") == ("DPM++ 2M", "Karras")
    assert lists.sampler_of("Euler a", "automatic") == ("Euler a", None)
    assert lists.sampler_of("unheard of", "sgm_uniform") == ("DPM++ 2M", "SGM Uniform")
    assert lists.automatic("DPM++ 2M SDE") == "Exponential" and lists.automatic("Euler") is None


def test_a_strip_is_never_larger_than_what_is_asked_for() -> None:
    strip = np.zeros((4, 60_000, 3), np.uint8)
    strip[:, 30_000:] = 200
    out = images.resized(images.CROP, strip, 512, 512)  # 7.7 million columns, if it were scaled first
    assert out.shape == (512, 512, 3)
    assert (out[:, :100] < 10).all() and (out[:, -100:] > 190).all()
