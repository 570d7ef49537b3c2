"""What goes wrong around a running server: killed processes, damaged files, a full disk."""

import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.patience import until
from tests.server.live import Server, wait_for

LONG: dict[str, Any] = {"engine": "exemplar", "params": {"quality": "best"}, "count": 3}


def worker_of(server: Server) -> int | None:
    return server.client.get(server.url("health")).json()["workers"][0]["pid"]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_server_that_is_killed_finishes_the_job_when_it_is_back(tmp_path: Path) -> None:
    with Server.started(tmp_path) as server:
        image, mask = server.pictures(3, 256)
        job = server.ask("fill", wait=0, image=image, mask=mask, seed=3, **LONG).json()
        wait_for(server, job["id"], ("running",))
        child = worker_of(server)
        assert child is not None
        server.process.kill()
        server.process.wait()
    until(lambda: not alive(child))
    with Server.started(tmp_path) as server:
        done = wait_for(server, job["id"])
        assert done["state"] == "done"
        again = server.ask("fill", image=image, mask=mask, seed=3, **LONG).json()
        ids = [[picture["id"] for picture in told["result"]["images"]] for told in (done, again)]
        assert ids[0] == ids[1]


def test_a_worker_that_is_killed_costs_one_attempt_then_the_job_fails_with_the_reason(tmp_path: Path) -> None:
    with Server.started(tmp_path) as server:
        image, mask = server.pictures(3, 1024)
        job = server.ask("fill", wait=0, image=image, mask=mask, **{**LONG, "count": 64}).json()
        for attempt in (1, 2):
            told = wait_for(server, job["id"], ("running",), attempts=attempt)
            assert told["attempts"] == attempt
            os.kill(until(lambda: worker_of(server)), signal.SIGKILL)
            wait_for(server, job["id"], ("queued", "failed", "running"), attempts=attempt)
        failed = wait_for(server, job["id"], ("failed",))
        assert failed["error"]["code"] == "jobs.worker-died"
        assert "SIGKILL" in failed["error"]["message"]
        assert "memory" in failed["error"]["hint"]
        assert server.ask("fill", image=image, mask=mask, engine="telea").json()["state"] == "done"


def test_a_damaged_file_is_noticed(tmp_path: Path) -> None:
    with Server.started(tmp_path) as server:
        image, mask = server.pictures()
        [blob] = [path for path in (tmp_path / "data" / "blobs").rglob("*") if path.name.endswith(image[4:])]
        data = bytearray(blob.read_bytes())
        data[-20] ^= 1
        blob.chmod(0o600)
        blob.write_bytes(data)
        file = server.client.get(server.url(f"images/{image}/file"))
        assert (file.status_code, file.json()["code"]) == (500, "blob.corrupt")
        job = server.ask("fill", image=image, mask=mask).json()
        assert (job["state"], job["error"]["code"]) == ("failed", "blob.corrupt")
        assert server.client.get(server.url("health")).json()["status"] == "ok"


@pytest.mark.parametrize(
    ("clients", "jobs", "kills"), [(5, 40, 3), pytest.param(20, 200, 10, marks=pytest.mark.slow)]
)
def test_no_job_is_lost_or_done_twice_when_workers_are_killed(
    tmp_path: Path, clients: int, jobs: int, kills: int
) -> None:
    with Server.started(tmp_path) as server:
        image, mask = server.pictures(2, 256)
        made: list[str] = []

        def submit(number: int) -> None:
            with httpx.Client(base_url=server.client.base_url, timeout=60) as client:
                for seed in range(number, jobs, clients):
                    body = {"image": image, "mask": mask, "engine": "exemplar", "seed": seed}
                    headers = {"Idempotency-Key": f"job-{seed}"}
                    for _ in range(2):  # the answer was lost: sent again
                        answer = client.post(server.url("fill"), json=body, headers=headers)
                    made.append(answer.json()["id"])

        threads = [threading.Thread(target=submit, args=(n,)) for n in range(clients)]
        for thread in threads:
            thread.start()
        dice = random.Random(1)
        for _ in range(kills):
            time.sleep(dice.uniform(0.1, 0.8))
            pid = worker_of(server)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
        told = [wait_for(server, job, seconds=180) for job in made]
    assert len(set(made)) == jobs
    assert {job["payload"]["seed"] for job in told} == set(range(jobs))
    failed = [job for job in told if job["state"] != "done"]
    assert all(job["error"]["code"] == "jobs.worker-died" and job["attempts"] == 2 for job in failed)
    assert len(failed) <= kills // 2
    assert all(len(job["result"]["images"]) == 1 for job in told if job["state"] == "done")
