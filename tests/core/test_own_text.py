"""Recipes in containers without text entries: they are found again, and nothing else in the file changes."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import reknit
from reknit.core import codec, exif, own_text
from reknit.core.image import Metadata
from reknit.core.metadata import jpeg_segments
from reknit.core.recipe import read

CONTAINERS = ("jpeg", "webp", "tiff", "avif")
PARAMETERS = "a wooden bench, 猫\nNegative prompt: blur\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5"


def block(order: str = "<", *, inner: bool = True, comment: bytes | None = None) -> bytes:
    """Return an EXIF block with a maker's note at an odd place, and maybe a comment."""
    entries = [(0x010F, 2, b"Maker\0"), (0x0112, 3, struct.pack(order + "H", 1) + b"\0\0")]
    nested = [(0x829A, 5, struct.pack(order + "II", 1, 250)), (0x927C, 7, b"note \x01\x02 with offsets")]
    nested += [(0x9286, 7, comment)] if comment is not None else []
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)

    def directory(found, at, pointer=None):
        made = [*found, *([(0x8769, 4, None)] if pointer is not None else [])]
        head, tail, tail_at = struct.pack(order + "H", len(made)), b"", at + 2 + 12 * len(made) + 4
        for tag, kind, value in made:
            if value is None:
                head += struct.pack(order + "HHII", tag, 4, 1, pointer)
                continue
            count = len(value) // {2: 1, 3: 2, 5: 8, 7: 1}[kind] if kind != 3 else 1
            head += struct.pack(order + "HHI", tag, kind, count)
            if len(value) <= 4:
                head += value.ljust(4, b"\0")
            else:
                head += struct.pack(order + "I", tail_at + len(tail))
                tail += value + b"\0" * (len(value) & 1)
        return head + bytes(4) + tail

    if not inner:
        return header + directory(entries, 8)
    size = len(directory(entries, 8, 0))
    return header + directory(entries, 8, 8 + size) + directory(sorted(nested), 8 + size)


def nested(data: bytes) -> dict[int, bytes]:
    first = exif.read(data)
    inner = exif.read_at(data, first.number(exif.EXIF_IFD), first.order)
    return {tag: entry.value for tag, entry in inner.entries.items()}


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_comment_is_added_and_every_other_byte_keeps_its_place(order):
    before = block(order)
    after = exif.with_comment(before, PARAMETERS)
    assert exif.user_comment(after) == PARAMETERS
    pointer = exif.read(before).entries[exif.EXIF_IFD].at
    assert after[:pointer] + after[pointer + 4 : len(before)] == before[:pointer] + before[pointer + 4 :]
    found = nested(after)
    assert found.pop(exif.USER_COMMENT)
    assert found == nested(before)
    assert exif.with_comment(after, PARAMETERS) == after  # it does not grow with each edit
    assert len(exif.with_comment(after, "x")) < len(after)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_block_without_that_directory_gets_one(order):
    before = block(order, inner=False)
    after = exif.with_comment(before, PARAMETERS)
    assert exif.user_comment(after) == PARAMETERS
    assert after[8 : len(before)] == before[8:]
    assert exif.read(after).entries[0x010F].value == b"Maker\0"
    assert exif.user_comment(exif.with_comment(after, "Steps: 2")) == "Steps: 2"
    assert exif.user_comment(exif.with_comment(None, PARAMETERS)) == PARAMETERS


def test_blocks_that_are_broken_come_back_as_they_are():
    whole = block()
    for end in range(len(whole)):
        made = exif.with_comment(whole[:end], "Steps: 2")
        assert made == whole[:end] or exif.user_comment(made) == "Steps: 2"


def test_pillow_reads_the_comment_as_a1111_writes_it():
    data = exif.with_comment(block(), PARAMETERS)
    found = Image.Exif()
    found.load(data)
    told = found.get_ifd(0x8769)[0x9286]
    assert told[:8] == b"UNICODE\0"
    assert told[8:].decode("utf-16-be") == PARAMETERS
    assert found.get_ifd(0x8769)[0x927C] == b"note \x01\x02 with offsets"


def test_a_persons_comment_is_never_replaced():
    own = block(comment=b"ASCII\0\0\0" + b"Grandma's house")
    given = Metadata(exif=own, text=(("parameters", PARAMETERS),))
    carried, notes = own_text.written(given)
    assert carried.exif == own
    assert len(notes) == 1
    earlier = exif.with_comment(block(), "x\nSteps: 1, Sampler: Euler, Seed: 1")
    carried, notes = own_text.written(Metadata(exif=earlier, text=(("parameters", PARAMETERS),)))
    assert exif.user_comment(carried.exif) == PARAMETERS
    assert notes == ()


def source(container: str) -> bytes:
    rng = np.random.default_rng(3)
    small = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(small).resize((160, 120), Image.Resampling.BICUBIC))
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, "JPEG", quality=88, exif=b"Exif\0\0" + block(), comment=b"mine")
        photo = codec.decode(file.getvalue())
    if container == "jpeg":
        return file_of(pixels)
    return codec.encode(photo, container=container).data


def file_of(pixels: np.ndarray) -> bytes:
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, "JPEG", quality=88, exif=b"Exif\0\0" + block(), comment=b"mine")
        return file.getvalue()


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_holds_a_recipe_and_is_replayed_from_it(container, tmp_path: Path):
    data = source(container)
    (tmp_path / f"photo.{container}").write_bytes(data)
    mask = np.zeros((120, 160), bool)
    mask[50:70, 60:90] = True
    result = reknit.fill(tmp_path / f"photo.{container}", mask, engine="telea", seed=3)
    out = tmp_path / f"out.{container}"
    result.save(out)
    result.save(tmp_path / f"bare.{container}", recipe=False)
    found = read(codec.read(out))
    assert found.engine == "telea"
    assert np.array_equal(found.mask.fill, mask)
    bare = codec.read(tmp_path / f"bare.{container}")
    assert read(bare) is None
    assert codec.read(out).metadata.exif == bare.metadata.exif
    assert np.array_equal(codec.read(out).pixels, bare.pixels)
    with Image.open(out) as image:
        image.load()
    again = reknit.replay(out, tmp_path / f"photo.{container}")
    assert "the same pixels as before" in again.notes
    assert found.photo_name == f"photo.{container}"
    again.save(tmp_path / f"again.{container}")
    assert (tmp_path / f"again.{container}").read_bytes() == out.read_bytes()


@pytest.mark.parametrize("container", CONTAINERS)
def test_parameters_and_long_recipes_travel_through_every_container(container):
    photo = codec.decode(source(container))
    recipe = '{"form":1,"x":"' + "é" * 70_000 + '"}'
    texts = (("parameters", PARAMETERS), ("reknit", recipe))
    from dataclasses import replace

    given = replace(photo, metadata=replace(photo.metadata, text=texts))
    once = codec.encode(given, container=container)
    assert not any("text entries" in note for note in once.notes)
    found = codec.decode(once.data)
    assert dict(found.metadata.text) == dict(texts)
    told = nested(found.metadata.exif)
    assert told.pop(exif.USER_COMMENT)
    assert told == nested(photo.metadata.exif)
    # from there into another container, and back
    for other in ("png", "jpeg", "webp"):
        assert dict(codec.decode(codec.encode(found, container=other).data).metadata.text) == dict(texts)


def test_a_jpeg_keeps_its_segments_and_coefficients_beside_the_recipe(tmp_path: Path):
    (tmp_path / "photo.jpg").write_bytes(source("jpeg"))
    mask = np.zeros((120, 160), bool)
    mask[50:70, 60:90] = True
    result = reknit.fill(tmp_path / "photo.jpg", mask, engine="telea")
    with_it = codec.encode(result.with_recipe())
    without = codec.encode(result.photo)
    assert with_it.carried_blocks == without.carried_blocks > 0
    added = own_text.jpeg_bodies(own_text.recipe_of(result.with_recipe().metadata))

    def bodies(data: bytes) -> list[bytes]:
        return [data[start:end] for marker, start, end in jpeg_segments(data)]

    assert [body for body in bodies(with_it.data) if body not in added] == bodies(without.data)
    assert b"mine" in bodies(with_it.data)


def test_parts_of_a_recipe_that_are_missing_are_no_recipe():
    bodies = own_text.jpeg_bodies(b"x" * 200_000)
    assert len(bodies) == 4
    assert own_text.of_jpeg(reversed(bodies)) == b"x" * 200_000
    for n in range(4):
        assert own_text.of_jpeg(bodies[:n] + bodies[n + 1 :]) is None
    assert own_text.of_jpeg([b"Reknit\0"]) is None
