"""``reknit jobs`` on a folder, with and without jobs in it."""

from pathlib import Path

import pytest

from reknit.jobs.job import Job
from reknit.jobs.store import FILE_NAME, Store
from tests.cli.conftest import Reknit

DIED = {"code": "jobs.worker-died", "message": "was killed", "hint": "", "facts": {}}


@pytest.fixture
def jobs(tmp_path: Path) -> dict[str, Job]:
    """Make a job of every state in the default data folder."""
    store = Store(tmp_path / "data" / "reknit" / FILE_NAME)
    for kind in ("done", "failed", "cancelled", "running"):
        store.submit(kind, {"of": kind})
        if job := store.claim("cpu", 60):
            if kind == "done":
                store.finish(job, {"images": []})
            elif kind == "failed":
                store.fail(job, DIED)
            elif kind == "cancelled":
                store.cancelled(job)
            else:
                store.renew(job, 60, "filling", 0.4)
    store.submit("queued", {"of": "queued"})
    found = {job.kind: job for job in store.list()}
    store.close()
    return found


def test_list(reknit: Reknit, jobs: dict[str, Job]) -> None:
    lines = reknit("jobs").out.splitlines()
    assert [line.split()[1] for line in lines[:-1]] == ["queued", "running", "cancelled", "failed", "done"]
    assert lines[-1] == "1 queued, 1 running, 1 done, 1 failed, 1 cancelled"
    assert "40% filling" in lines[1]
    assert "was killed" in lines[3]
    assert "took 0.0 s" in lines[4]
    data = reknit("jobs", "list", "--state", "failed", "--state", "done", "--limit", "1", "--json").data
    assert [job["id"] for job in data["jobs"]] == [jobs["failed"].id]
    assert data["counts"]["queued"] == 1


def test_show(reknit: Reknit, jobs: dict[str, Job]) -> None:
    data = reknit("jobs", "show", jobs["queued"].id, "--json").data
    assert (data["state"], data["position"], data["payload"]) == ("queued", 0, {"of": "queued"})
    out = reknit("jobs", "show", jobs["failed"].id).out
    assert "jobs.worker-died" in out
    assert "finished" in out


def test_cancel_and_retry(reknit: Reknit, jobs: dict[str, Job]) -> None:
    assert reknit("jobs", "cancel", jobs["queued"].id).out == f"{jobs['queued'].id} is cancelled\n"
    assert "asked to stop" in reknit("jobs", "cancel", jobs["running"].id).out
    assert reknit("jobs", "cancel", jobs["running"].id, "--json").data["cancel_requested"]
    assert "is done" in reknit("jobs", "cancel", jobs["done"].id).out
    assert reknit("jobs", "retry", jobs["failed"].id, "--json").data["state"] == "queued"
    refused = reknit("jobs", "retry", jobs["done"].id, "--json")
    assert (refused.status, refused.data["error"]["code"]) == (2, "jobs.state")


def test_a_folder_without_jobs_stays_as_it_is(reknit: Reknit, tmp_path: Path) -> None:
    empty = tmp_path / "nothing here"
    assert reknit("jobs", "list", "--data-dir", str(empty)).out == "no jobs\n"
    assert reknit("jobs", "list", "--data-dir", str(empty), "--json").data["jobs"] == []
    missing = reknit("jobs", "show", "x", "--data-dir", str(empty), "--json")
    assert (missing.status, missing.data["error"]["code"]) == (2, "jobs.missing")
    assert not empty.exists()
    assert list(Path().glob("*memory*")) == []


def test_the_folder_is_a_setting(
    reknit: Reknit, jobs: dict[str, Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REKNIT_DATA_DIR", str(tmp_path / "other"))
    assert reknit("jobs").out == "no jobs\n"
    assert jobs["done"].id in reknit("jobs", "list", "--data-dir", str(tmp_path / "data" / "reknit")).out
    assert reknit("jobs", "list", "--state", "lost").status == 2
