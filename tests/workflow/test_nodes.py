"""What the nodes compute, by numbers from ComfyUI's own definitions."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from reknit.workflow.context import Context
from reknit.workflow.node import Registry
from tests.workflow.conftest import Session, api

F = np.float32


@pytest.fixture
def call(registry: Registry, context: Context) -> Any:
    """Run one node on values; what is not given has its default."""

    def run(name: str, **given: Any) -> Any:
        node = registry.nodes[name]
        values = {one.name: given.get(one.name, one.default) for one in node.inputs}
        for one in node.inputs:
            if values[one.name] is None and one.kind == "COMBO":
                values[one.name] = one.options(context)[0]
        return node.run(context, **values) if node.wants_context else node.run(**values)

    return run


def dot(size: int = 9) -> np.ndarray:
    mask = np.zeros((1, size, size), F)
    mask[0, size // 2, size // 2] = 1
    return mask


def test_load_image_keeps_colours_under_transparency_and_inverts_alpha(call: Any) -> None:
    image, mask = call("LoadImage", image="hole.png")
    plain, none = call("LoadImage", image="photo.png")
    assert np.array_equal(image, plain)
    assert mask[0, 20, 30] == 1
    assert mask[0, 0, 0] == 0
    assert (none.shape, none.any()) == ((1, 64, 64), False)
    assert np.array_equal(call("LoadImageMask", image="hole.png [input]", channel="alpha"), mask)
    assert call("LoadImageMask", image="mask.png", channel="green")[0, 20, 30] == 1
    assert call("LoadImage", image="sub/photo.jpg")[0].shape == (1, 64, 96, 3)


@pytest.mark.parametrize(
    ("expand", "tapered", "area"), [(2, True, 13), (2, False, 25), (0, True, 1), (-1, True, 0), (3, True, 25)]
)
def test_grow_mask(call: Any, expand: int, tapered: bool, area: int) -> None:
    assert call("GrowMask", mask=dot(), expand=expand, tapered_corners=tapered).sum() == area


def test_grow_mask_as_scipy(call: Any) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    mask = np.random.default_rng(0).random((1, 20, 30), F) ** 4
    plus = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    wanted = mask[0]
    for _ in range(3):
        wanted = ndimage.grey_erosion(wanted, footprint=plus)
    assert np.array_equal(call("GrowMask", mask=mask, expand=-3, tapered_corners=True)[0], wanted)


def test_feather_mask_ramps_at_each_side(call: Any) -> None:
    made = call("FeatherMask", mask=np.ones((1, 8, 10), F), left=4, right=2, top=0, bottom=2)[0]
    assert np.allclose(made[0], [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 0.5])
    assert np.allclose(made[:, 5], [1, 1, 1, 1, 1, 1, 1, 0.5])


def test_threshold_is_strict_and_invert_inverts(call: Any) -> None:
    mask = np.array([[[0.4, 0.5, 0.6]]], F)
    assert call("ThresholdMask", mask=mask, value=0.5).tolist() == [[[0, 0, 1]]]
    assert np.allclose(call("InvertMask", mask=mask), [[[0.6, 0.5, 0.4]]])
    assert call("SolidMask", value=0.25, width=3, height=2).tolist() == [[[0.25] * 3] * 2]
    assert call("CropMask", mask=dot(9), x=4, y=4, width=2, height=3).shape == (1, 3, 2)


@pytest.mark.parametrize(
    ("operation", "wanted"),
    [
        ("multiply", [0.0, 0.3, 0.36]),
        ("add", [0.6, 1.0, 1.0]),
        ("subtract", [0.0, 0.0, 0.0]),
        ("and", [0, 0, 1]),
        ("or", [1, 1, 1]),
        ("xor", [1, 1, 0]),
    ],
)
def test_mask_composite(call: Any, operation: str, wanted: list[float]) -> None:
    one, other = np.array([[[0.0, 0.5, 0.6]]], F), np.array([[[0.6, 0.6, 0.6]]], F)
    made = call("MaskComposite", destination=one, source=other, x=0, y=0, operation=operation)
    assert np.allclose(made, [[wanted]])
    assert np.array_equal(
        call("MaskComposite", destination=one, source=other, x=9, y=0, operation="add"), one
    )


def test_outpaint_padding_fades_only_towards_padded_sides(call: Any) -> None:
    image, mask = call("ImagePadForOutpaint", image=np.ones((1, 40, 50, 3), F), right=8, feathering=10)
    assert image.shape == (1, 40, 58, 3)
    assert (image[0, 0, 50:] == 0.5).all()
    assert (mask[0, :, 50:] == 1).all()
    assert np.allclose(mask[0, 0, 39:50], [((10 - d) / 10) ** 2 if d < 10 else 0 for d in range(11, 0, -1)])
    assert (mask[0, :, :39] == 0).all()
    assert (
        call("ImagePadForOutpaint", image=np.ones((1, 40, 50, 3), F), right=8, feathering=20)[1][
            0, :, :50
        ].max()
        == 0
    )


def test_composite_blends_only_where_the_source_lies(call: Any) -> None:
    low, high = np.zeros((1, 4, 6, 3), F), np.ones((1, 2, 2, 4), F)
    half = np.full((1, 2, 2), 0.5, F)
    made = call(
        "ImageCompositeMasked", destination=low, source=high, x=5, y=1, resize_source=False, mask=half
    )
    assert made[0, :, :, 0].tolist() == [[0] * 6, [0] * 5 + [0.5], [0] * 5 + [0.5], [0] * 6]
    whole = call("ImageCompositeMasked", destination=low, source=high, x=0, y=0, resize_source=True)
    assert (whole == 1).all()


@pytest.mark.parametrize(
    ("width", "height", "crop", "size"),
    [
        (48, 0, "disabled", (48, 32)),
        (0, 32, "center", (48, 32)),
        (0, 0, "disabled", (96, 64)),
        (32, 32, "center", (32, 32)),
    ],
)
def test_image_scale(call: Any, width: int, height: int, crop: str, size: tuple[int, int]) -> None:
    image, _ = call("LoadImage", image="photo.png")
    made = call("ImageScale", image=image, upscale_method="area", width=width, height=height, crop=crop)
    assert made.shape[2:0:-1] == size
    if (width, height) == (32, 32):
        middle = call(
            "ImageScale",
            image=image[:, :, 16:80],
            upscale_method="area",
            width=32,
            height=32,
            crop="disabled",
        )
        assert np.array_equal(made, middle)


def test_other_scales(call: Any) -> None:
    image = np.zeros((1, 64, 96, 3), F)
    assert call("ImageScaleBy", image=image, upscale_method="bilinear", scale_by=1.5).shape == (1, 96, 144, 3)
    assert call("ImageScaleToTotalPixels", image=image, upscale_method="area", megapixels=0.01).shape == (
        1,
        84,
        125,
        3,
    )
    made = call(
        "ImageScaleToTotalPixels", image=image, upscale_method="area", megapixels=0.01, resolution_steps=16
    )
    assert made.shape == (1, 80, 128, 3)


def test_latents(call: Any) -> None:
    empty = call("EmptyLatentImage", width=72, height=48, batch_size=2)
    assert empty["samples"].shape == (2, 4, 6, 9)
    mask = np.stack([np.full((48, 72), 0.3, F), np.ones((48, 72), F)])
    masked = call("SetLatentNoiseMask", samples=empty, mask=mask)
    assert masked["noise_mask"].shape == (2, 1, 48, 72)
    assert masked["noise_mask"][0, 0, 0, 0] == F(0.3)
    more = call("RepeatLatentBatch", samples=masked | {"batch_index": [3, 5]}, amount=2)
    assert (len(more["samples"]), len(more["noise_mask"]), more["batch_index"]) == (4, 4, [3, 5, 6, 8])
    large = call(
        "LatentUpscale", samples=empty, upscale_method="nearest-exact", width=144, height=0, crop="disabled"
    )
    assert large["samples"].shape == (2, 4, 12, 18)
    assert call("LatentUpscale", samples=empty, width=0, height=0) is empty


@pytest.mark.parametrize("target", [(64, 64), (128, 64)])
def test_a_crop_goes_back_where_it_was(call: Any, target: tuple[int, int]) -> None:
    image, _ = call("LoadImage", image="photo.png")
    mask = call("LoadImageMask", image="mask.png", channel="red")
    stitcher, crop, hole = call(
        "InpaintCropImproved",
        image=image,
        mask=mask,
        mask_blend_pixels=8,
        output_target_width=target[0],
        output_target_height=target[1],
    )
    assert crop.shape[1:3] == (target[1], target[0])
    assert hole.shape == crop.shape[:3]
    assert hole.max() > 0.99
    same = call("InpaintStitchImproved", stitcher=stitcher, inpainted_image=crop)
    assert same.shape == image.shape
    assert np.abs(same[0, :, :8] - image[0, :, :8]).max() == 0, "far from the mask nothing changes"
    white = call("InpaintStitchImproved", stitcher=stitcher, inpainted_image=np.ones_like(crop))
    assert white[0, 28, 36].min() > 0.99
    assert np.array_equal(white[0, :, 90:], image[0, :, 90:])


def test_a_crop_beyond_the_picture_repeats_its_border(call: Any) -> None:
    image = np.linspace(0, 1, 20 * 100, dtype=F).reshape(1, 20, 100, 1).repeat(3, axis=3)
    mask = np.zeros((1, 20, 100), F)
    mask[0, 5:15, 10:90] = 1
    stitcher, crop, hole = call(
        "InpaintCropImproved", image=image, mask=mask, mask_blend_pixels=0, output_padding="0"
    )
    seam = stitcher.seams[0]
    assert (seam.crop.size.width, seam.crop.size.height) == (96, 96)
    assert seam.canvas.shape == (96, 100, 3)
    assert np.array_equal(seam.canvas[0], seam.canvas[38])
    assert hole[0, 0].min() == 1
    assert call("InpaintStitchImproved", stitcher=stitcher, inpainted_image=crop).shape == image.shape


def test_crop_masks_as_scipy() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    from reknit.workflow.nodes import crop_and_stitch as pack

    mask = np.random.default_rng(3).random((40, 50), F) ** 3
    for pixels in (4, 8, 32):
        side = int(np.ceil(pixels / 4 * 1.5 + 1))
        wanted = ndimage.grey_dilation(mask, footprint=np.ones((side, side)))
        assert np.array_equal(pack._grown(mask, pixels), wanted.astype(F))
        assert np.abs(pack._blurred(mask, pixels) - ndimage.gaussian_filter(mask, pixels / 4)).max() < 1e-5
    wanted = mask
    for level in pack._LEVELS:
        closed = ndimage.binary_closing(wanted >= level, structure=np.ones((3, 3)), border_value=1)
        wanted = np.maximum(wanted, np.where(ndimage.binary_fill_holes(closed), level, 0))
    assert np.allclose(pack._without_holes(mask), wanted)


def test_the_inpaint_pack(call: Any) -> None:
    image, _ = call("LoadImage", image="photo.png")
    mask = call("LoadImageMask", image="mask.png", channel="red")
    hole = mask[0] > 0
    for fill in ("neutral", "telea", "navier-stokes"):
        made = call("INPAINT_MaskedFill", image=image, mask=mask, fill=fill)
        assert np.array_equal(made[0][~hole], image[0][~hole])
        assert not np.allclose(made[0][hole], image[0][hole])
    assert np.allclose(call("INPAINT_MaskedFill", image=image, mask=mask, fill="neutral")[0][hole], 0.5)
    soft = call("INPAINT_MaskedFill", image=image, mask=mask, fill="neutral", falloff=5)
    assert np.array_equal(soft[0, 16, 36], image[0, 16, 36]), "the falloff lies inside the hole"
    blurred = call("INPAINT_MaskedBlur", image=image, mask=mask, blur=17)
    assert np.array_equal(blurred[0][~hole], image[0][~hole])
    assert blurred[0][hole].std() < image[0][hole].std()
    assert call("INPAINT_ExpandMask", mask=dot(21), grow=3, blur=0).sum() == 49
    for kind in ("box", "linear", "gaussian"):
        made = call("INPAINT_ExpandMask", mask=dot(41), grow=3, blur=7, blur_type=kind)
        assert made.sum() == pytest.approx(49, rel=1e-4)
        assert 0 < made[0, 20, 15] < 1


def test_ours_fill_the_hole_and_nothing_else(session: Session) -> None:
    outcome = session.run(
        api(
            n1=("LoadImage", {"image": "hole.png"}),
            n2=(
                "ReknitFill",
                {"image": ["1", 0], "mask": ["1", 1], "engine": "exemplar", "seed": 3, "grow": 1.0},
            ),
            n3=("SaveImage", {"images": ["2", 0], "filename_prefix": "filled"}),
            n4=("ReknitPlan", {"image": ["1", 0], "mask": ["1", 1], "engine": "auto", "grow": 2.0}),
        )
    )
    made = np.asarray(Image.open(session.context.output_dir / outcome.shown["3"]["images"][0]["filename"]))
    before = np.asarray(Image.open(session.context.input_dir / "photo.png"))
    changed = (made != before).any(axis=2)
    assert changed[16:40, 20:52].mean() > 0.9
    changed[12:44, 16:56] = False
    assert not changed.any()
    assert '"engine"' in outcome.shown["4"]["text"][0]


def test_object_info_has_comfyuis_form(registry: Registry, context: Context) -> None:
    info = registry.info(context)
    assert info["GrowMask"]["input"]["required"]["expand"] == [
        "INT",
        {"default": 0, "min": -16384, "max": 16384, "step": 1},
    ]
    assert info["LoadImage"]["input"]["required"]["image"][0] == [
        "hole.png",
        "mask.png",
        "photo.png",
        "sub/photo.jpg",
    ]
    assert info["LoadImage"]["output"] == ["IMAGE", "MASK"]
    assert info["ImageCompositeMasked"]["input"]["optional"] == {"mask": ["MASK"]}
    assert info["SaveImage"]["output_node"] is True
