"""The Python door: what goes in, what comes out, and that nothing given is changed."""

import io
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import reknit

HOLE = np.zeros((48, 64), bool)
HOLE[16:32, 20:40] = True


def photo(channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    rng = np.random.default_rng(2)
    small = rng.integers(0, np.iinfo(dtype).max, (6, 8, channels), dtype=dtype)
    array = np.kron(small, np.ones((8, 8, 1), dtype))
    return array[..., 0] if channels == 1 else array


def encoded(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_arrays_come_back_filled_and_are_not_changed(channels: int, dtype: type) -> None:
    given = photo(channels, dtype)
    array, hole = given.copy(), HOLE.copy()
    result = reknit.fill(array, hole)
    assert (array == given).all()
    assert (hole == HOLE).all()
    filled = result.to_numpy()
    assert filled.dtype == dtype
    assert filled.shape == (48, 64, max(3, channels))
    outside = ~np.pad(HOLE, 0)
    outside[13:35, 17:43] = False
    assert (filled[outside] == (given[..., None] if channels == 1 else given)[outside]).all()
    assert result.report.outside_equal


def test_every_way_to_give_a_photo_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(photo()))
    expected = reknit.fill(photo(), HOLE).to_numpy()
    for given in (
        path,
        str(path),
        path.read_bytes(),
        Image.fromarray(photo()),
        reknit.fill(path, HOLE).before,
    ):
        assert (reknit.fill(given, HOLE).to_numpy() == expected).all()


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16"]
)
def test_pil_images_of_every_mode(mode: str) -> None:
    image = Image.fromarray(photo())
    image = image.convert("L").convert(mode) if mode.startswith(("I", "PA", "LA")) else image.convert(mode)
    result = reknit.fill(image, HOLE)
    assert result.to_pil().size == (64, 48)
    assert result.photo.bits == (16 if mode.startswith("I") else 8)
    assert (result.photo.alpha is not None) == (mode in ("LA", "PA", "RGBA"))


def test_a_cmyk_profile_does_not_stay_on_rgb() -> None:
    image = Image.fromarray(photo()).convert("CMYK")
    image.info["icc_profile"] = bytes(16) + b"CMYK" + bytes(200)
    assert reknit.fill(image, HOLE).photo.metadata.icc is None


def test_every_way_to_give_a_mask_is_the_same(tmp_path: Path) -> None:
    white = HOLE.astype(np.uint8) * 255
    (tmp_path / "mask.png").write_bytes(encoded(white))
    transparent = np.dstack((photo(), 255 - white))
    masks: list[tuple[Any, dict[str, Any]]] = [
        (HOLE, {}),
        (white, {}),
        (white.astype(np.uint16) * 257, {}),
        (np.dstack((white, white, white)), {}),
        (HOLE.astype(np.float32), {}),
        (tmp_path / "mask.png", {}),
        (encoded(white), {}),
        (Image.fromarray(white), {}),
        (Image.fromarray(white).convert("1"), {}),
        (Image.fromarray(HOLE.astype(np.float32)), {}),
        (~HOLE, {"invert": True}),
        (transparent, {"mask_from": "alpha"}),
        (encoded(transparent), {"mask_from": "alpha"}),
        (Image.fromarray(transparent), {"mask_from": "alpha"}),
        (HOLE[::2, ::2], {"resize_mask": True}),
        (reknit.Mask.from_bool(HOLE), {}),
    ]
    expected = reknit.fill(photo(), HOLE, engine="telea").to_numpy()
    for given, how in masks:
        assert (reknit.fill(photo(), given, engine="telea", **how).to_numpy() == expected).all(), type(given)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: reknit.fill(photo().astype(np.float32), HOLE), "photo.dtype"),
        (lambda: reknit.fill(photo() > 9, HOLE), "photo.dtype"),
        (lambda: reknit.fill(photo()[:, :, :2], HOLE), "photo.shape"),
        (lambda: reknit.fill(photo()[:0], HOLE), "photo.shape"),
        (lambda: reknit.fill([1, 2], HOLE), "photo.type"),
        (lambda: reknit.fill(Image.fromarray(photo(1).astype(np.float32)), HOLE), "photo.dtype"),
        (lambda: reknit.fill("nothing.png", HOLE), "file.missing"),
        (lambda: reknit.fill(b"nothing", HOLE), "image.unknown"),
        (lambda: reknit.fill(photo(), HOLE.astype(np.float32) * 3), "mask.array"),
        (lambda: reknit.fill(photo(), HOLE.astype(np.int64)), "mask.array"),
        (lambda: reknit.fill(photo(), HOLE[:9]), "mask.size"),
        (lambda: reknit.fill(photo(), ~HOLE & HOLE), "mask.empty"),
        (lambda: reknit.fill(photo(), HOLE | ~HOLE), "mask.full"),
        (lambda: reknit.fill(photo(), photo(), mask_from="alpha"), "mask.no-alpha"),
        (lambda: reknit.fill(photo(), HOLE, mask_from="red"), "option.value"),
        (lambda: reknit.fill(photo(), HOLE, threads=0), "option.value"),
        (lambda: reknit.fill(photo(), HOLE, engine="magic"), "engine.unknown"),
        (lambda: reknit.fill(photo(), HOLE, params={"qualty": "best"}), "option.unknown"),
        (lambda: reknit.fill(photo(), HOLE, seed=1.5), "option.value"),
        (lambda: reknit.extend(photo()), "extend.nothing"),
        (lambda: reknit.repair(photo(), kinds=["dusk"]), "repair.kind"),
    ],
)
def test_what_cannot_be_used_is_a_typed_error(call: Any, code: str) -> None:
    with pytest.raises(reknit.ReknitError) as caught:
        call()
    assert caught.value.code == code
    assert caught.value.hint


def test_results_save_show_and_convert(tmp_path: Path) -> None:
    result = reknit.fill(photo(), HOLE, count=2)
    result.save(tmp_path / "out.png", index=1)
    assert (np.asarray(Image.open(tmp_path / "out.png")) == result.to_numpy(1)).all()
    assert (np.asarray(result.to_pil()) == result.to_numpy()).all()
    result.to_numpy()[:] = 0
    assert result.to_numpy().any()
    page = result._repr_html_()
    assert page.count("data:image/png;base64,") == 2
    assert re.fullmatch(
        r"<FillResult \d+×\d+, .* px filled in .*, every other pixel unchanged>", repr(result)
    )
    assert "array" not in repr(result.request)
    assert result.to_dict()["report"]["outside_equal"] is True


def test_progress_rises_to_one() -> None:
    fractions: list[float] = []
    reknit.fill(photo(), HOLE, engine="exemplar", progress=lambda step: fractions.append(step.fraction))
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_a_cancelled_token_stops_the_work() -> None:
    token = reknit.CancelToken()
    threading.Thread(target=token.cancel).start()
    assert token._event.wait(60)
    with pytest.raises(reknit.ReknitError) as caught:
        reknit.fill(photo(), HOLE, cancel=token)
    assert caught.value.code == "cancelled"


def test_extend_keeps_the_original() -> None:
    result = reknit.extend(photo(), left=8, bottom="50%")
    assert result.to_numpy().shape == (72, 72, 3)
    assert (result.to_numpy()[:48, 8:] == photo()).all()


def test_repair_of_a_clean_photo_changes_nothing() -> None:
    grey = np.full((200, 200, 3), 120, np.uint8)
    result = reknit.repair(grey)
    assert (result.to_numpy() == grey).all()
    assert any("no damage" in note for note in result.notes)


def test_engines_are_listed_with_their_options() -> None:
    engines = reknit.engines.every()
    assert {"exemplar", "telea", "navier-stokes"} <= set(engines)
    assert "quality" in {option.name for option in engines["exemplar"].spec.options}


def test_every_public_name_is_there() -> None:
    assert all(getattr(reknit, name) is not None for name in reknit.__all__)
    with pytest.raises(AttributeError):
        _ = reknit.nothing
