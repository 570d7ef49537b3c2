import json

import numpy as np
import pytest

from reknit.core import codec, parameters
from reknit.core.errors import InputError
from reknit.core.geometry import Size
from reknit.core.image import Photo
from reknit.core.mask import Mask
from reknit.core.recipe import KEY, Recipe, digest, embedded, read, read_parameters

TOLD = {"prompt": "a bench", "negative_prompt": "", "values": {"Steps": "20", "Seed": "", "Sampler": "Euler"}}


def photo(seed: int = 0) -> Photo:
    return Photo.from_array(np.random.default_rng(seed).integers(0, 256, (23, 31, 3), dtype=np.uint8))


def mask() -> Mask:
    fill = np.zeros((23, 31), bool)
    fill[5:9, 20:] = True
    fill[0, 0] = True
    return Mask.from_bool(fill)


def recipe(**changes) -> Recipe:
    given = {
        "version": "9.9",
        "engine": "diffusion",
        "params": {"prompt": "a bench", "steps": 20, "eta": None},
        "seed": 7,
        "grow": 2.0,
        "feather": None,
        "context": 40,
        "size": Size(width=31, height=23),
        "photo_sha256": digest(photo()),
        "photo_name": "photo.jpg",
        "mask": mask(),
        "facts": {parameters.KEY: TOLD, "model": {"sha256": "00"}},
    }
    return Recipe(**{**given, **changes})


def test_it_survives_a_png_file():
    data = codec.encode(embedded(photo(), recipe()), container="png").data
    found = codec.decode(data)
    assert read(found).to_dict() == recipe().to_dict()
    assert np.array_equal(read(found).mask.fill, mask().fill)
    told = read_parameters(found)
    assert told.prompt == "a bench"
    assert told.values["Seed"] == "7"
    assert told.values["Version"] == "Reknit 9.9"


def test_it_replaces_what_an_earlier_picture_left():
    first = codec.decode(codec.encode(embedded(photo(), recipe()), container="png").data)
    data = codec.encode(embedded(first, recipe(seed=8, facts={})), container="png").data
    found = codec.decode(data)
    assert [key for key, _ in found.metadata.text] == [KEY]
    assert read(found).seed == 8
    assert data.count(b"reknit\0") == 1


def test_other_text_is_kept():
    given = codec.decode(codec.encode(photo(), container="png").data)
    titled = Photo(
        pixels=given.pixels, metadata=type(given.metadata)(text=(("Title", "a park"),)), origin=given.origin
    )
    found = codec.decode(codec.encode(embedded(titled, recipe()), container="png").data)
    assert dict(found.metadata.text)["Title"] == "a park"


@pytest.mark.parametrize(
    "change",
    [
        {"mask": "!!!"},
        {"mask": "eJwDAAAAAAE="},
        {"mask": None},
        {"photo": {"width": 0, "height": 5, "sha256": "", "name": ""}},
        {"photo": None},
        {"seed": "many"},
        {"added": [40, 0, 0, 0]},
        {"added": [1, 2]},
        {"params": 3},
    ],
    ids=str,
)
def test_a_damaged_one_is_a_typed_error(change):
    with pytest.raises(InputError) as caught:
        Recipe.of({**recipe().to_dict(), **change})
    assert caught.value.code in ("recipe.damaged", "option.value")


def test_a_later_form_says_so():
    with pytest.raises(InputError) as caught:
        Recipe.of({**recipe().to_dict(), "form": 99})
    assert caught.value.code == "recipe.later"


def test_text_that_is_no_json_is_a_typed_error():
    given = embedded(photo(), recipe())
    broken = tuple((key, "{" if key == KEY else text) for key, text in given.metadata.text)
    metadata = type(given.metadata)(text=broken)
    with pytest.raises(InputError) as caught:
        read(Photo(pixels=given.pixels, metadata=metadata))
    assert caught.value.code == "recipe.damaged"


def test_a_huge_mask_is_not_inflated():
    import base64
    import zlib

    bomb = base64.b64encode(zlib.compress(bytes(50 << 20))).decode()
    with pytest.raises(InputError):
        Recipe.of({**recipe().to_dict(), "mask": bomb})


def test_folders_of_this_machine_are_not_told():
    from reknit.core.recipe import portable

    assert portable({"model": "/home/ann/models/x.safetensors"})["model"] == "x.safetensors"
    assert portable({"model": "sd15-inpainting"})["model"] == "sd15-inpainting"
    assert portable({"prompt": "/imagine"})["prompt"] == "/imagine"


def test_the_digest_is_of_the_picture_alone():
    assert digest(photo(0)) != digest(photo(1))
    wide = Photo.from_array(np.pad(photo().pixels, ((1, 2), (3, 4), (0, 0))))
    assert digest(wide, (3, 1, 4, 2)) == digest(photo())
    assert json.dumps(recipe().to_dict())
