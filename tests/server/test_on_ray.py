"""The same routes behind Ray Serve: what a client of the plain server does, it does here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import MappingProxyType

import numpy as np
import pytest

from reknit.core.image import Photo
from reknit.core.mask import Mask
from reknit.core.request import FillRequest
from tests.server.live import Server, hole, photo, png, wait_for


def test_requests_and_results_travel() -> None:
    pytest.importorskip("ray.cloudpickle")
    from ray import cloudpickle

    from reknit.core.progress import Reporter
    from reknit.server.on_ray import carry_mappings
    from reknit.server.tasks import perform_here

    carry_mappings()
    request = FillRequest(
        photo=Photo.from_array(photo()), mask=Mask.from_luma(hole()), params=MappingProxyType({})
    )
    there = cloudpickle.loads(cloudpickle.dumps(request))
    result = perform_here("fill", there, Reporter(), threads=1, models=None)
    back = cloudpickle.loads(cloudpickle.dumps(result))
    here = perform_here("fill", request, Reporter(), threads=1, models=None)
    assert (back.photo.pixels == here.photo.pixels).all()
    assert back.to_dict()["report"] == here.to_dict()["report"]


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("ray.serve")
    with Server.started(tmp_path_factory.mktemp("ray"), "--ray", "local", "--ray-replicas", "1") as server:
        yield server


@pytest.mark.slow
def test_the_same_calls_have_the_same_answers(on_ray: Server, server: Server) -> None:
    for path in ("engines", "models", "batch"):
        there = on_ray.client.get(on_ray.url(path))
        assert there.status_code == 200
        here = server.client.get(server.url(path)).json()
        for engine in here.get("engines", ()):
            engine["hurries"] = False  # a replica is not told to hurry
        assert there.json() == here
    health = on_ray.client.get(on_ray.url("health")).json()
    end = time.monotonic() + 60
    while health["status"] == "starting" and time.monotonic() < end:
        time.sleep(0.2)
        health = on_ray.client.get(on_ray.url("health")).json()
    assert health["status"] == "ok"
    assert [worker["device"] for worker in health["workers"]] == ["ray-0"]
    assert on_ray.client.get("/").text == server.client.get("/").text

    files: list[bytes] = []
    for each in (on_ray, server):
        image, mask = each.pictures()
        job = each.ask("fill", image=image, mask=mask, engine="exemplar", seed=3).json()
        assert job["state"] == "done", job["error"]
        assert job["result"]["report"]["outside_equal"] is True
        files.append(each.client.get(each.url(f"images/{job['result']['images'][0]['id']}/file")).content)
    assert files[0] == files[1]
    extended = on_ray.ask("extend", image=image, right="25%").json()
    assert extended["state"] == "done", extended["error"]


@pytest.mark.slow
def test_errors_and_the_guard_are_the_same(on_ray: Server, server: Server) -> None:
    image, mask = on_ray.pictures()
    bodies = (
        {"image": image, "mask": mask, "engine": "exemplarr"},
        {"image": image, "mask": mask, "sead": 1},
    )
    server.pictures()
    for body in bodies:
        answers = [each.client.post(each.url("fill"), json=body) for each in (on_ray, server)]
        assert answers[0].status_code == answers[1].status_code >= 400
        assert answers[0].json() == answers[1].json()
        assert answers[0].headers["content-type"] == answers[1].headers["content-type"]
    for headers in ({"Host": "elsewhere.example"}, {"Origin": "http://elsewhere.example"}):
        answers = [
            each.client.post(each.url("fill"), json=bodies[1], headers=headers) for each in (on_ray, server)
        ]
        assert answers[0].status_code == answers[1].status_code
        assert answers[0].json()["code"] == answers[1].json()["code"]
    empty = [each.upload(png(np.zeros((128, 128), np.uint8)))["id"] for each in (on_ray, server)]
    jobs = [
        each.ask("fill", image=image, mask=none).json()
        for each, none in zip((on_ray, server), empty, strict=True)
    ]
    assert jobs[0]["error"] is not None
    assert jobs[0]["error"] == jobs[1]["error"]


@pytest.mark.slow
def test_a_job_is_watched_and_cancelled(on_ray: Server) -> None:
    image, mask = on_ray.pictures(3, 1024)
    body = {"image": image, "mask": mask, "engine": "exemplar", "params": {"quality": "best"}, "count": 64}
    job = on_ray.ask("fill", wait=0, **body).json()
    with on_ray.client.stream("GET", on_ray.url(f"jobs/{job['id']}/events")) as events:
        for line in events.iter_lines():
            if line.startswith("event: progress"):
                break
    on_ray.client.post(on_ray.url(f"jobs/{job['id']}/cancel"))
    assert wait_for(on_ray, job["id"], seconds=20)["state"] == "cancelled"
    image, mask = on_ray.pictures(4)
    assert on_ray.ask("fill", image=image, mask=mask).json()["state"] == "done"  # the replica is free again
