"""A server with settings of its own: defaults of requests, a short queue, and jobs changed from a terminal."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from tests.patience import PATIENCE_S
from tests.server.live import Server, png, wait_for

LONG = {"engine": "exemplar", "params": {"quality": "best"}, "count": 64}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose queue holds two jobs, and whose user prefers an engine and a growth."""
    settings = {"REKNIT_ENGINE": "telea", "REKNIT_GROW": "5", "REKNIT_FEATHER": "3"}
    with Server.started(tmp_path_factory.mktemp("data"), "--max-queued", "2", **settings) as server:
        yield server


def told_by(server: Server, *arguments: str) -> Any:
    """Run `reknit jobs` on the server's data folder, as another process."""
    command = [sys.executable, "-c", "from reknit.cli.main import main; main()", "jobs", *arguments]
    data = ["--data-dir", str(server.data / "data"), "--json"]
    return json.loads(
        subprocess.run([*command, *data], capture_output=True, check=True, timeout=PATIENCE_S).stdout
    )


def test_settings_are_what_a_request_leaves_out(short: Server) -> None:
    image, mask = short.pictures()
    usual = short.ask("fill", image=image, mask=mask).json()["result"]["plan"]
    assert (usual["engine"], usual["grow_px"], usual["feather_px"]) == ("telea", 5.0, 3.0)
    asked = short.ask("fill", image=image, mask=mask, engine="exemplar", grow=0.0, feather=None).json()
    plan = asked["result"]["plan"]
    assert (plan["engine"], plan["grow_px"], plan["feather_px"]) == ("exemplar", 0.0, 0.0)
    extended = short.ask("extend", image=image, right=8).json()["result"]["plan"]
    assert extended["engine"] == "exemplar"
    request = short.client.get(short.url("engines")).json()["request"]
    assert {"engine": "telea", "grow": 5.0, "feather": 3.0}.items() <= {
        option["name"]: option["default"] for option in request
    }.items()


def test_a_plan_is_told_without_a_job(short: Server) -> None:
    image, mask = short.pictures()
    before = short.client.get(short.url("jobs")).json()["counts"]
    told = short.client.post(short.url("plan"), json={"image": image, "mask": mask, "grow": 1.0})
    assert told.status_code == 200
    plan = told.json()
    assert (plan["engine"], plan["grow_px"], plan["width"]) == ("telea", 1.0, 128)
    assert plan["regions"][0]["hole"] == [41, 41, 65, 65]
    assert plan["seconds"] > 0 and plan["peak_bytes"] > 0
    assert short.client.get(short.url("jobs")).json()["counts"] == before
    empty = short.upload(png(np.zeros((128, 128), np.uint8)))["id"]
    for wrong, code in (
        ({"mask": empty}, "mask.empty"),
        ({"mask": mask, "sead": 1}, "request.unknown-field"),
    ):
        problem = short.client.post(short.url("plan"), json={"image": image, **wrong})
        assert (problem.status_code, problem.json()["code"]) == (400, code)


def test_a_full_queue_refuses_with_the_reason_and_when_to_come_back(short: Server) -> None:
    image, mask = short.pictures(3, 1024)
    running = short.ask("fill", wait=0, image=image, mask=mask, **LONG).json()
    wait_for(short, running["id"], ("running",))
    waiting = [short.ask("fill", wait=0, image=image, mask=mask, seed=seed).json() for seed in (1, 2)]
    refused = short.ask("fill", wait=0, image=image, mask=mask, seed=3)
    assert (refused.status_code, refused.json()["code"]) == (429, "jobs.queue-full")
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["facts"]["max_queued"] == 2 and refused.json()["hint"]
    for job in (*waiting, running):
        short.client.post(short.url(f"jobs/{job['id']}/cancel"))
    wait_for(short, running["id"])
    assert short.ask("fill", image=image, mask=mask, seed=3).json()["state"] == "done"


def test_cancel_and_retry_in_a_terminal_reach_open_pages(short: Server) -> None:
    image, mask = short.pictures(4, 1024)
    job = short.ask("fill", wait=0, image=image, mask=mask, **LONG).json()["id"]
    wait_for(short, job, ("running",))
    seen: list[str] = []
    ready, over = threading.Event(), threading.Event()

    def watch() -> None:
        with httpx.stream("GET", str(short.client.base_url) + "api/v1/events", timeout=PATIENCE_S) as stream:
            for line in stream.iter_lines():
                found = json.loads(line[6:]) if line.startswith("data: ") else {}
                if found.get("id") == job and "state" in found and seen[-1:] != [found["state"]]:
                    seen.append(found["state"])
                    ready.set()
                    if "cancelled" in seen and seen[-1] == "running":
                        over.set()
                        return

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert ready.wait(PATIENCE_S)
    assert told_by(short, "cancel", job)["cancel_requested"] is True
    wait_for(short, job, ("cancelled",))
    assert told_by(short, "retry", job)["state"] == "queued"
    assert over.wait(PATIENCE_S), seen
    watcher.join(PATIENCE_S)
    short.client.post(short.url(f"jobs/{job}/cancel"))
