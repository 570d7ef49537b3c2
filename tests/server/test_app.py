"""The whole server by HTTP: fill, extend, repair; jobs and their streams; the catalogue and the page."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from tests.patience import PATIENCE_S, quick, until
from tests.server.live import Server, hole, photo, png, wait_for


def seen(server: Server, picture: str) -> np.ndarray:
    import io

    file = server.client.get(server.url(f"images/{picture}/file"))
    assert file.status_code == 200, file.text
    return np.asarray(Image.open(io.BytesIO(file.content)))


def test_a_fill_changes_the_hole_and_nothing_else(server: Server) -> None:
    image, mask = server.pictures()
    response = server.ask("fill", image=image, mask=mask, engine="exemplar", seed=3, count=2)
    assert response.status_code == 200
    assert response.headers["preference-applied"] == "wait=60"
    job = response.json()
    assert (job["state"], job["kind"], job["error"]) == ("done", "fill", None)
    result = job["result"]
    assert [picture["seed"] for picture in result["images"]] == [3, 4]
    assert result["report"]["outside_equal"] is True
    assert {image, mask, *(picture["id"] for picture in result["images"])} <= set(result["blobs"])
    before, far = photo(), hole() == 0
    grown = np.zeros_like(far)
    grown[39:67, 39:67] = True
    after = seen(server, result["images"][0]["id"])
    assert (after[far & ~grown] == before[far & ~grown]).all()
    assert (after[~far] != before[~far]).any()


def test_without_prefer_the_job_is_accepted_and_found_later(server: Server) -> None:
    image, mask = server.pictures(2)
    response = server.ask("fill", wait=0, image=image, mask=mask)
    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == server.url(f"jobs/{job['id']}")
    assert wait_for(server, job["id"])["state"] == "done"


def test_extend_and_repair(server: Server) -> None:
    image, _ = server.pictures()
    extended = server.ask("extend", image=image, right="25%", top=8).json()
    told = extended["result"]["images"][0]
    assert (told["width"], told["height"], told["parent"]) == (160, 136, image)
    assert (seen(server, told["id"])[8:, :128] == photo()).all()
    found = server.ask("repair", image=image, detect_only=True, kinds=["dust"]).json()["result"]
    assert found["images"] == []
    mask = seen(server, found["mask"])
    assert mask.shape == (128, 128)
    assert set(np.unique(mask)) <= {0, 255}
    repaired = server.ask("repair", image=image, sensitivity=0.9).json()
    assert repaired["state"] == "done"
    assert repaired["result"]["images"][0]["width"] == 128


def test_a_wrong_request_is_told_at_once(server: Server) -> None:
    image, mask = server.pictures()
    small = server.upload(png(hole(64)))["id"]
    wrong: list[tuple[dict[str, Any], int, str]] = [
        ({"mask": mask, "sead": 1}, 400, "request.unknown-field"),
        ({}, 400, "request.missing-field"),
        ({"mask": "0" * 64}, 404, "picture.missing"),
        ({"mask": small}, 400, "mask.size"),
        ({"mask": mask, "source": small}, 400, "source.size"),
        ({"mask": mask, "engine": "exemplaar"}, 404, "engine.unknown"),
        ({"mask": mask, "engine": "exemplar", "params": {"qualty": "best"}}, 400, "option.unknown"),
        ({"mask": mask, "engine": "exemplar", "params": {"quality": "bset"}}, 400, "option.value"),
        ({"mask": mask, "count": 65}, 400, "request.value"),
    ]
    for body, status, code in wrong:
        problem = server.ask("fill", image=image, **body)
        assert (problem.status_code, problem.json()["code"]) == (status, code), body
        assert problem.headers["content-type"] == "application/problem+json"
        assert problem.json()["hint"]
    nothing = server.ask("extend", image=image)
    assert (nothing.status_code, nothing.json()["code"]) == (400, "extend.nothing")


def test_a_job_that_fails_says_why(server: Server) -> None:
    image, _ = server.pictures()
    empty = server.upload(png(np.zeros((128, 128), np.uint8)))["id"]
    job = server.ask("fill", image=image, mask=empty).json()
    assert (job["state"], job["error"]["code"]) == ("failed", "mask.empty")
    again = server.client.post(server.url(f"jobs/{job['id']}/retry"))
    assert again.status_code == 200
    assert wait_for(server, job["id"])["state"] == "failed"
    gone = server.client.delete(server.url(f"jobs/{job['id']}"))
    assert gone.status_code == 204
    assert server.client.get(server.url(f"jobs/{job['id']}")).json()["code"] == "jobs.missing"


def test_a_key_makes_one_job(server: Server) -> None:
    image, mask = server.pictures()
    body, headers = {"image": image, "mask": mask, "seed": 5}, {"Idempotency-Key": "only-once"}
    first = server.client.post(server.url("fill"), json=body, headers=headers).json()
    second = server.client.post(
        server.url("fill"), json=body, headers={**headers, "Prefer": "wait=30"}
    ).json()
    assert second["id"] == first["id"]
    other = server.client.post(server.url("fill"), json={**body, "seed": 6}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "jobs.key-reused")
    bad = server.client.post(server.url("fill"), json=body, headers={"Idempotency-Key": "a b"})
    assert (bad.status_code, bad.json()["code"]) == (400, "request.value")


def test_the_server_answers_while_a_long_job_runs_and_the_job_can_be_cancelled(server: Server) -> None:
    image, mask = server.pictures(3, 1024)
    slow: dict[str, Any] = {"engine": "exemplar", "params": {"quality": "best"}, "count": 64}

    def begun() -> str:
        job = server.ask("fill", wait=0, image=image, mask=mask, **slow).json()["id"]
        return wait_for(server, job, ("running",))["id"]

    def slowest() -> float:
        seconds: list[float] = []
        for _ in range(20):
            start = time.perf_counter()
            assert server.client.get(server.url("health")).json()["queue"]["running"] == 1
            seconds.append(time.perf_counter() - start)
        return max(seconds)

    def cancel(long: str) -> float:
        start = time.perf_counter()
        server.client.post(server.url(f"jobs/{long}/cancel"))
        assert wait_for(server, long)["state"] == "cancelled"
        return time.perf_counter() - start

    long = begun()
    queued = server.ask("fill", wait=0, image=image, mask=mask, seed=1).json()
    assert server.client.get(server.url(f"jobs/{queued['id']}")).json()["position"] == 0
    quick(1.0, slowest)
    assert server.client.post(server.url(f"jobs/{queued['id']}/cancel")).json()["state"] == "cancelled"
    waiting = [long]
    quick(5, lambda: cancel(waiting.pop() if waiting else begun()))


def read_events(server: Server, path: str, **headers: str) -> list[tuple[str, Any]]:
    told: list[tuple[str, Any]] = []
    with server.client.stream("GET", server.url(path), headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in stream.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                told.append((name, json.loads(line.removeprefix("data: "))))
    return told


def test_a_job_is_watched_to_its_end(server: Server) -> None:
    image, mask = server.pictures(4, 512)
    job = server.ask("fill", wait=0, image=image, mask=mask, engine="exemplar", count=3).json()
    told = read_events(server, f"jobs/{job['id']}/events", **{"Last-Event-ID": "17"})
    states = [data["state"] for name, data in told if name == "job"]
    assert states[-1] == "done"
    assert all(data["id"] == job["id"] for _, data in told)
    fractions = [data["fraction"] for name, data in told if name == "progress"]
    assert fractions == sorted(fractions)
    assert read_events(server, f"jobs/{job['id']}/events")[0][1]["state"] == "done"
    assert server.client.get(server.url("jobs/nope/events")).json()["code"] == "jobs.missing"


def test_all_jobs_are_watched(server: Server) -> None:
    image, mask = server.pictures()
    told: list[str] = []

    def watch() -> None:
        address = str(server.client.base_url) + "api/v1/events"
        with httpx.stream("GET", address, timeout=PATIENCE_S) as stream:
            for line in stream.iter_lines():
                told.append(line)
                job = json.loads(line[6:]) if line.startswith("data: ") else {}
                if job.get("payload", {}).get("seed") == 777 and job["state"] == "done":
                    return

    watcher = threading.Thread(target=watch)
    watcher.start()
    until(lambda: told)
    server.ask("fill", image=image, mask=mask, seed=777)
    watcher.join(PATIENCE_S)
    assert not watcher.is_alive()


def test_jobs_are_listed_by_page_and_state(server: Server) -> None:
    image, mask = server.pictures()
    made = [server.ask("fill", image=image, mask=mask, seed=900 + i).json()["id"] for i in range(3)]
    page = server.client.get(server.url("jobs"), params={"limit": 2, "state": "done", "kind": "fill"}).json()
    assert [job["id"] for job in page["jobs"]] == made[:0:-1]
    older = server.client.get(
        server.url("jobs"), params={"limit": 1, "before": page["jobs"][-1]["id"]}
    ).json()
    assert older["jobs"][0]["id"] == made[0]
    assert page["counts"]["done"] >= 3
    for query in ({"limit": "0"}, {"limit": "201"}, {"state": "sleeping"}, {"limits": "5"}):
        assert server.client.get(server.url("jobs"), params=query).status_code == 400


def test_the_catalogue(server: Server) -> None:
    told = server.client.get(server.url("engines")).json()
    assert {"exemplar", "telea", "navier-stokes"} <= {engine["name"] for engine in told["engines"]}
    assert [option["name"] for option in told["request"]][:2] == ["engine", "seed"]
    health = server.client.get(server.url("health")).json()
    assert (health["status"], health["token_required"]) == ("ok", False)
    models = server.client.get(server.url("models")).json()["models"]
    lama = next(model for model in models if model["name"] == "lama-onnx")
    assert lama["engine"] == "lama"
    assert lama["verdict"]["level"] == "fits"
    assert "an image" in lama["verdict"]["reason"]
    assert lama["installed"] or lama["verdict"]["reason"].endswith("reknit models pull lama-onnx")
    metrics = server.client.get("/metrics").text
    assert 'reknit_http_requests_total{method="GET",route="/api/v1/health",status="200"}' in metrics
    assert 'reknit_jobs{state="done"}' in metrics


def test_diffusion_models_are_listed_with_a_verdict(server: Server) -> None:
    pytest.importorskip("diffusers")
    models = server.client.get(server.url("models")).json()["models"]
    told = {model["name"]: model for model in models if model["engine"] == "diffusion"}
    assert {"sd15-inpainting", "sdxl-inpainting", "flux-fill", "flux-fill-q4"} <= set(told)
    for model in told.values():
        level, reason = model["verdict"]["level"], model["verdict"]["reason"]
        assert level in ("fits", "offload", "wont-fit")
        assert ("an image" in reason) == (level != "wont-fit")


def test_a_check_says_what_the_command_says(server: Server) -> None:
    query = {"model": "sdxl", "gpu": "RTX 3070", "size": "1024", "count": "4"}
    [told] = server.client.get(server.url("check"), params=query).json()["verdicts"]
    assert told["answer"] == "yes-with"
    assert told["plan"]["offload"] == "model"
    assert told["count"] == 4
    here = server.client.get(server.url("check")).json()["verdicts"]
    assert {"lama-onnx", "sd15-inpainting", "flux-fill", "z-image"} <= {row["model"] for row in here}
    no = {"model": "flux-fill", "gpu": "GTX 1650", "ram": "8"}
    [told] = server.client.get(server.url("check"), params=no).json()["verdicts"]
    assert told["answer"] == "no"
    assert told["changes"]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"model": "sdxx"}, 404, "model.unknown"),
        ({"gpu": "RTX4007"}, 404, "device.unknown"),
        ({"size": "huge"}, 400, "option.value"),
        ({"count": "0"}, 400, "request.value"),
        ({"modell": "sdxl"}, 400, None),
    ],
)
def test_mistakes_in_a_check_are_told(
    server: Server, query: dict[str, str], status: int, code: str | None
) -> None:
    answer = server.client.get(server.url("check"), params=query)
    assert answer.status_code == status
    assert code is None or answer.json()["code"] == code
    assert answer.json()["hint"]


def test_installed_models_are_listed(server: Server) -> None:
    folder = server.data / "data" / "models" / "sam"
    folder.mkdir(parents=True)
    for part in ("encoder", "decoder"):
        (folder / f"small.{part}.onnx").write_bytes(b"")
    models = server.client.get(server.url("models")).json()["models"]
    [model] = [model for model in models if model["engine"] == "select"]
    shutil.rmtree(folder)
    assert (model["name"], model["installed"]) == ("small", True)
    assert model["verdict"]["level"] == "fits"


def test_the_page_is_served(server: Server) -> None:
    page = server.client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-encoding"] == "gzip"
    assert "unsafe" not in page.headers["content-security-policy"]
    again = server.client.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304


def test_a_second_server_keeps_off_the_same_folder(server: Server) -> None:
    from tests.server.live import COMMAND

    second = subprocess.run(
        [*COMMAND, "--data-dir", str(server.data / "data")],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
    )
    assert second.returncode == 3
    assert str(server.process.pid) in second.stderr
    assert "Traceback" not in second.stderr


def test_a_port_in_use_is_told(server: Server, tmp_path: Path) -> None:
    from tests.server.live import COMMAND

    port = str(server.client.base_url.port)
    second = subprocess.run(
        [*COMMAND, "--port", port, "--data-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
    )
    assert second.returncode == 4
    assert port in second.stderr
    assert "Traceback" not in second.stderr


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_stopping_leaves_nothing_behind_and_loses_nothing(tmp_path: Path, ending: int) -> None:
    with Server.started(tmp_path) as server:
        image, mask = server.pictures(5, 1024)
        job = server.ask(
            "fill", wait=0, image=image, mask=mask, engine="exemplar", params={"quality": "best"}, count=64
        ).json()
        wait_for(server, job["id"], ("running",))
        children = psutil.Process(server.process.pid).children(recursive=True)
        assert children
        with socket.create_connection(
            (server.client.base_url.host, server.client.base_url.port or 0)
        ) as watching:
            watching.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            start = time.monotonic()
            server.process.send_signal(ending)
            assert server.process.wait(PATIENCE_S) in (0, -ending)
            assert time.monotonic() - start < 8
        assert not any(alive(child) for child in children)
        assert "Traceback" not in server.log()
    if ending == signal.SIGINT:
        with Server.started(tmp_path) as server:
            assert wait_for(server, job["id"], ("running",))["attempts"] == 1
            server.client.post(server.url(f"jobs/{job['id']}/cancel"))


def test_the_log_can_be_json(tmp_path: Path) -> None:
    with Server.started(tmp_path, "--log-format", "json") as server:
        server.client.get(server.url("nope%0A"))
        until(lambda: "404" in server.log() and server.log().endswith("\n"))
        lines = [json.loads(line) for line in server.log().splitlines()]
    assert any(line.get("status") == 404 and line["logger"] == "reknit.access" for line in lines)


def test_the_page_about_the_api_tells_the_truth(server: Server, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    Image.fromarray(photo()).save(tmp_path / "photo.jpg", quality=90)
    Image.fromarray(hole()).save(tmp_path / "mask.png")
    address = str(server.client.base_url).rstrip("/")
    subprocess.run([sys.executable, "-c", code, address], cwd=tmp_path, check=True, timeout=2 * PATIENCE_S)
    with Image.open(tmp_path / "out.jpg") as out:
        assert out.size == (128, 128)
    told = server.client.get(server.url("openapi.json")).json()["paths"]
    for name in re.findall(r"`(?:GET|POST|DELETE) ([a-z]+[a-z/{}_]*)", page):
        assert "/api/v1/" + re.sub(r"(jobs|batch)/{id}", r"\1/{job_id}", name) in told, name


def test_only_serve_imports_the_web_framework() -> None:
    heavy = "{'fastapi', 'starlette', 'uvicorn', 'pydantic', 'sqlite3'}"
    for module in ("reknit.cli.main", "reknit.cli.fill", "reknit.api", "reknit.cli.serve"):
        code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]", module


def test_the_icon_is_where_browsers_look_for_one(server: Server) -> None:
    answer = server.client.get("/favicon.ico")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
