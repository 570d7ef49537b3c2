"""Batches over HTTP: only in folders that were allowed, watched and cancelled as any job, gone on with later."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import reknit
from reknit.batch.manifest import entries
from reknit.core.errors import InputError, NotFound
from reknit.server import batch_work
from reknit.server.schemas import BatchBody
from tests.batch.pictures import save_alone
from tests.patience import PATIENCE_S
from tests.server.live import Server, hole, photo, wait_for


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, their masks, and links that lead out of it."""
    root = tmp_path_factory.mktemp("allowed") / "photos"
    outside = root.parent / "outside"
    for folder in (root / "in" / "sub", root / "masks" / "sub", outside):
        folder.mkdir(parents=True)
    for i, name in enumerate(("a.png", "sub/b.png", "c.png")):
        Image.fromarray(photo(i)).save(root / "in" / name)
        Image.fromarray(hole()).save(root / "masks" / name)
    (root / "in" / "c.png").write_bytes(b"no picture")
    Image.fromarray(photo(9)).save(outside / "secret.png")
    (root / "in" / "linked.png").symlink_to(outside / "secret.png")
    Image.fromarray(hole()).save(root / "masks" / "linked.png")
    (root / "out-link").symlink_to(outside)
    return root


@pytest.fixture(scope="module")
def allowing(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server.started(tmp_path_factory.mktemp("data"), "--batch-root", str(photos)) as server:
        yield server


def post(server: Server, **body: Any) -> Any:
    return server.client.post(server.url("batch"), json=body)


def test_a_folder_is_done_as_single_fills_are(allowing: Server, photos: Path) -> None:
    told = allowing.client.get(allowing.url("batch")).json()["folders"]
    assert {"name": "photos/in", "pictures": 3} in told
    assert not [folder for folder in told if "out-link" in folder["name"]]
    body = {"folder": "photos/in", "out": "photos/done", "mask": "photos/masks", "workers": 1}
    answer = post(allowing, **body)
    assert answer.status_code == 202, answer.text
    job = wait_for(allowing, answer.json()["id"])
    assert (job["kind"], job["state"], job["fraction"]) == ("batch", "done", 1)
    assert job["result"]["counts"] == {"waiting": 0, "running": 0, "done": 2, "failed": 2}
    for name in ("a.png", "sub/b.png"):
        alone = photos.parent / "alone.png"
        save_alone(reknit.fill(photos / "in" / name, photos / "masks" / name), alone)
        assert (photos / "done" / name).read_bytes() == alone.read_bytes()
    assert not (photos / "done" / "linked.png").exists()
    listed = allowing.client.get(allowing.url("jobs"), params={"kind": "batch"}).json()["jobs"]
    assert job["id"] in [each["id"] for each in listed]

    page = allowing.client.get(allowing.url(f"batch/{job['id']}/report"), follow_redirects=True)
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "batch.outside" in page.text
    files = allowing.url(f"batch/{job['id']}/files/")
    facts = allowing.client.get(f"{files}reknit-batch/report.json").json()
    assert facts["counts"]["done"] == 2
    assert allowing.client.get(f"{files}a.png").content == (photos / "done" / "a.png").read_bytes()
    for path in ("reknit-batch/ledger.sqlite", "..%2Fin%2Fa.png", "nothing.png", "reknit-batch", "sub"):
        assert allowing.client.get(files + path).status_code == 404, path

    again = wait_for(allowing, post(allowing, **body).json()["id"])  # goes on with it: nothing is left to do
    assert again["result"]["counts"] == job["result"]["counts"]
    other = wait_for(allowing, post(allowing, **body, seed=5).json()["id"])
    assert other["error"]["code"] == "batch.changed"


def test_it_is_watched_and_cancelled_and_gone_on_with(allowing: Server, photos: Path) -> None:
    (photos / "many").mkdir()
    for i in range(60):
        Image.fromarray(photo(i, 512)).save(photos / "many" / f"{i:03}.png")
    for i in range(60, 300):  # more than are done in the time that anything else here takes
        (photos / "many" / f"{i:03}.png").hardlink_to(photos / "many" / f"{i % 60:03}.png")
    body = {"folder": "photos/many", "out": "photos/many-done", "boxes": ["100,100,90,90"], "workers": 1}
    body |= {"engine": "exemplar", "params": {"quality": "best"}}
    job = post(allowing, **body).json()
    with allowing.client.stream("GET", allowing.url(f"jobs/{job['id']}/events")) as events:
        stages: list[str] = []
        for line in events.iter_lines():
            if line.startswith("data:") and "stage" in line:
                stages.append(json.loads(line[5:])["stage"])
            if stages and " of 300" in stages[-1] and not stages[-1].startswith("0 "):
                break
    fill, mask = allowing.pictures()
    assert allowing.ask("fill", image=fill, mask=mask).json()["state"] == "done"  # a batch holds nobody up
    allowing.client.post(allowing.url(f"jobs/{job['id']}/cancel"))
    assert wait_for(allowing, job["id"], seconds=PATIENCE_S)["state"] == "cancelled"
    done = len(list((photos / "many-done").glob("*.png")))
    assert 0 < done < 300
    counts = json.loads((photos / "many-done" / "reknit-batch" / "report.json").read_text())["counts"]
    assert counts["done"] in (done, done - 1, done - 2, done - 3)
    assert counts["done"] + counts["waiting"] + counts["running"] == 300


@pytest.mark.parametrize(
    ("folder", "out", "code"),
    [
        ("photos/../outside", "photos/x", "batch.outside"),
        ("/etc", "photos/x", "batch.outside"),
        ("photos/in", "photos/out-link", "batch.outside"),
        ("photos/in", "photos/out-link/deeper", "batch.outside"),
        ("photos/in", "..", "batch.outside"),
        ("photos/in", "photos\\x", "batch.outside"),
        ("photos/in", "photos/in", "batch.places"),
        ("others/in", "photos/x", "batch.root"),
        ("photos/nothing", "photos/x", "file.missing"),
    ],
)
def test_places_outside_are_refused(allowing: Server, folder: str, out: str, code: str) -> None:
    answer = post(allowing, folder=folder, out=out, boxes=["1,1,5,5"])
    job = wait_for(allowing, answer.json()["id"]) if answer.status_code == 202 else None
    assert (job["error"] if job else answer.json())["code"] == code


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({}, ""),
        ({"image": "../in/a.png"}, ""),
        ({"image": "../../outside/secret.png"}, "batch.outside"),
        ({"image": "/etc/passwd"}, "batch.outside"),
        ({"image": "linked.png"}, "batch.outside"),
        ({"image": "s3://bucket/a.png"}, "batch.outside"),
        ({"image": "file:///etc/passwd"}, "batch.outside"),
        ({"mask": "../../outside/secret.png"}, "batch.outside"),
        ({"source": "/etc/passwd"}, "batch.outside"),
        ({"output": "../x.png"}, "manifest.row"),
        ({"model": "/etc/passwd"}, "manifest.row"),
        ({"params": {"model": "../secret.safetensors"}}, "manifest.row"),
        ({"param.control_image": "/etc/passwd"}, "manifest.row"),
        ({"imagee": "x"}, "manifest.column"),
    ],
)
def test_rows_of_a_manifest_stay_inside(photos: Path, row: dict[str, Any], code: str) -> None:
    rows = ({"image": "a.png", "mask": "../masks/a.png"}, {"image": "a.png", **row})
    (photos / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    body = BatchBody(folder="photos/in", out="photos/rows", manifest="photos/rows.jsonl").model_dump()
    roots = batch_work.named([photos])
    batch_work.check(roots, body)
    work, _ = batch_work._asked(roots, body)
    if not code:
        assert len(list(entries(work))) == 2
        return
    with pytest.raises(InputError) as caught:
        list(entries(work))
    assert (caught.value.code, caught.value.facts["row"]) == (code, 2)


def test_a_manifest_is_done(allowing: Server, photos: Path) -> None:
    (photos / "jobs.csv").write_text("image,mask,output\nsub/b.png,../masks/sub/b.png,one.png\n")
    body = {"folder": "photos/in", "out": "photos/listed", "manifest": "photos/jobs.csv", "workers": 1}
    job = wait_for(allowing, post(allowing, **body).json()["id"])
    assert job["result"]["counts"] == {"waiting": 0, "running": 0, "done": 1, "failed": 0}
    assert (photos / "listed" / "one.png").is_file()
    for manifest, code in (
        ("photos/none.csv", "file.missing"),
        ("photos/../x.csv", "batch.outside"),
        ("/etc/passwd", "batch.outside"),
        ("photos/out-link/x.csv", "batch.outside"),
    ):
        assert post(allowing, **{**body, "manifest": manifest}).json()["code"] == code
    (photos / "jobs.csv").write_text("image\n/etc/passwd\n")
    told = wait_for(allowing, post(allowing, **{**body, "out": "photos/other"}).json()["id"])
    assert told["error"]["code"] == "batch.outside" and not (photos / "other" / "passwd").exists()


def test_mistakes_are_told_at_once(allowing: Server) -> None:
    body = {"folder": "photos/in", "out": "photos/x", "boxes": ["1,1,5,5"]}
    wrong = (
        {"engine": "exemplarr"},
        {"masks": "x"},
        {"params": {"model": "/etc/passwd"}},
        {"boxes": ["1,2"]},
    )
    for each in wrong:
        answer = post(allowing, **{**body, **each})
        assert answer.status_code in (400, 404), answer.text


def test_a_server_without_folders_has_none(server: Server) -> None:
    assert server.client.get(server.url("batch")).json() == {"folders": []}
    answer = post(server, folder="photos/in", out="photos/out")
    assert answer.status_code == 404
    assert "--batch-root" in answer.json()["hint"]


def test_roots_have_names_of_their_own(tmp_path: Path) -> None:
    for name in ("a/photos", "b/photos"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(InputError, match="name of another"):
        batch_work.named([tmp_path / "a/photos", tmp_path / "b/photos"])
    with pytest.raises(InputError, match="no folder"):
        batch_work.named([tmp_path / "c"])
    with pytest.raises(NotFound):
        batch_work.place(batch_work.named([tmp_path / "a/photos"]), "photo/x")
