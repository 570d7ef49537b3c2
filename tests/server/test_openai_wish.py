"""What the fields of a request to OpenAI's dialect may be, without a server."""

from typing import Any

import pytest

from reknit.core.codec import Limits
from reknit.server.openai_wish import Complaint, wish_of

LIMITS = Limits(max_pixels=20_000_000)
NAMED = (
    "256x256", "512x512", "1024x1024", "1536x1024", "1024x1536", "1792x1024", "1024x1792", "2048x2048",
    "3840x2160", "2160x3840",
)  # fmt: skip


@pytest.mark.parametrize("size", [*NAMED, "8x8", "1000x333"])
def test_sizes_that_clients_name_are_taken(size: str) -> None:
    width, height = (wish_of({"prompt": "x", "size": size}, LIMITS)).size or (0, 0)
    assert f"{width}x{height}" == size


@pytest.mark.parametrize("size", [None, "", "auto"])
def test_no_size_is_the_picture_s_own(size: Any) -> None:
    assert wish_of({"prompt": "x", "size": size}, LIMITS).size is None


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        *(
            ("size", size, "invalid_value")
            for size in (
                "7x7", "0x5", "100000x1", "1x1024", "1024x7", "8192x8192", "99999999999x8", "-8x8", "1024", "x",
                "1024 x 1024", "1024X1024", "1e3x1e3", "٨x٨", 1024, ["1024x1024"],
            )
        ),
        *(("n", n, "invalid_value") for n in (0, 11, -1, "0", True)),
        *(("n", n, "invalid_type") for n in (2.5, "2.5", "many", float("inf"), float("nan"), [1], {})),
        ("quality", "best", "invalid_value"),
        ("quality", 5, "invalid_value"),
        ("background", "red", "invalid_value"),
        ("output_compression", 101, "invalid_value"),
        ("output_compression", "-1", "invalid_value"),
        ("output_format", "gif", "invalid_value"),
        ("output_format", ["png"], "invalid_value"),
        ("response_format", "file", "invalid_value"),
        ("strength", float("nan"), "invalid_type"),
        ("seed", 2**32, "invalid_value"),
    ],
)  # fmt: skip
def test_what_is_out_of_range_names_its_field(field: str, value: Any, code: str) -> None:
    with pytest.raises(Complaint) as caught:
        wish_of({"prompt": "x", field: value}, LIMITS)
    assert (caught.value.param, caught.value.why, caught.value.status) == (field, code, 400)


@pytest.mark.parametrize("quality", ["standard", "hd", "low", "medium", "high", "auto", "", None])
def test_what_has_no_effect_is_taken(quality: Any) -> None:
    given = {
        "prompt": "x",
        "quality": quality,
        "background": "transparent",
        "n": "10",
        "output_compression": 0,
    }
    assert wish_of(given, LIMITS).n == 10
