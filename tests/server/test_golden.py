"""Requests of other programs' clients: the shapes of the replies, and which pixels may change.

Those of webuiapi and OpenAI are what these clients, unmodified, gave their HTTP libraries to send; the others were
written by hand as those programs form them. What is expected is stated from the originals: the models of A1111's
``modules/api/models.py``, what webuiapi reads of the replies, and the types of OpenAI's client.

``golden/traffic.json`` holds them with ``@photo``, ``@mask`` (white is repainted) and ``@cutout`` (transparent is) for
the pictures; the mask is asymmetric, so that one turned round or mirrored would be noticed.
"""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reknit.server.a1111_images import blurred
from tests.server.live import Server, photo, png

TRAFFIC: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("golden").joinpath("traffic.json").read_text(encoding="utf-8")
)
MASK = np.zeros((128, 128), np.uint8)
MASK[20:40, 16:52] = 255
CUTOUT = np.dstack((np.full((128, 128, 3), 255, np.uint8), 255 - MASK))
FILES = {"@photo": png(photo()), "@mask": png(MASK), "@cutout": png(CUTOUT)}
TYPES = {"object": dict, "array": list, "null": type(None)}


def filled(text: str) -> str:
    for name, data in FILES.items():
        text = text.replace(name, base64.b64encode(data).decode())
    return text


def sent(server: Server, case: dict[str, Any]) -> Any:
    if "form" in case:
        body = case["form"].encode()
        for name, data in FILES.items():
            body = body.replace(name.encode(), data)
        return server.client.request(case["method"], case["path"], content=body, headers=case["headers"])
    given = json.loads(filled(json.dumps(case["json"]))) if "json" in case else None
    return server.client.request(case["method"], case["path"], json=given)


def pictures(server: Server, reply: dict[str, Any]) -> list[np.ndarray]:
    files = [
        server.client.get(each["url"]).content if "url" in each else base64.b64decode(each["b64_json"])
        for each in reply.get("data", ())
    ]
    files += [base64.b64decode(text) for text in reply.get("images", ())]
    return [np.asarray(Image.open(io.BytesIO(data))) for data in files]


@pytest.mark.parametrize(
    "case", TRAFFIC, ids=lambda case: f"{case['client']} {case['method']} {case['path']}"
)
def test_requests_get_what_their_client_expects(server: Server, case: dict[str, Any]) -> None:
    answer = sent(server, case)
    assert answer.status_code == 200, answer.text
    reply, expect = answer.json(), case["expect"]
    assert isinstance(reply, TYPES[expect.get("type", "object")])
    if "keys" in expect:
        assert sorted(reply) == expect["keys"]
    if "items" in expect:
        assert {tuple(sorted(item)) for item in reply} == {tuple(expect["items"])}
    if "size" not in expect:
        return
    found = pictures(server, reply)
    assert [picture.shape[1::-1] for picture in found] == [tuple(expect["size"])] * expect["count"]
    if "blur" in expect:
        kept = blurred(MASK, expect["blur"], expect["blur"]) == 0
        for picture in found:
            assert (picture[kept] == photo()[kept]).all()
            assert (picture[MASK == 255] != photo()[MASK == 255]).any()


def test_options_may_be_posted_back_whole(server: Server) -> None:
    options = server.client.get("/sdapi/v1/options").json()
    assert not {"forge_preset", "use_scale_latent_for_hires_fix"} & set(options)
    answer = server.client.post("/sdapi/v1/options", json=options)
    assert (answer.status_code, answer.json()) == (200, None)
    assert server.client.get("/sdapi/v1/options").json() == options


def test_idle_is_exactly_nothing(server: Server) -> None:
    told = server.client.get("/sdapi/v1/progress").json()
    assert (told["progress"], told["eta_relative"], told["state"]["job_count"]) == (0, 0, 0)
    assert told["current_image"] is None
