"""A batch from one folder of an object store into another, on a store that moto plays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import reknit
from tests.batch.pictures import make, save_alone

QUERY = "?endpoint_override={host}&scheme=http&region=us-east-1"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, str]]:
    """Return a file system whose bucket is called shop, and the query that URIs need to reach it."""
    server_of = pytest.importorskip("moto.server")
    fs = pytest.importorskip("pyarrow.fs")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = server_of.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host = "{}:{}".format(*server.get_host_and_port())
    how = {"endpoint_override": host, "scheme": "http", "region": "us-east-1"}
    store = fs.S3FileSystem(**how, allow_bucket_creation=True)
    store.create_dir("shop")
    yield store, QUERY.format(host=host)
    server.stop()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_from_store_to_store(tmp_path: Path, bucket: tuple[Any, str]) -> None:
    store, query = bucket
    made = make(tmp_path, 12)
    for path in (*made.source.rglob("*"), *made.masks.rglob("*")):
        if path.is_file():
            with store.open_output_stream(f"shop/{path.relative_to(tmp_path).as_posix()}") as file:
                file.write(path.read_bytes())
    places = {
        "source": f"s3://shop/in{query}",
        "out": f"s3://shop/out{query}",
        "mask": f"s3://shop/masks{query}",
    }
    outcomes = list(reknit.batch(**places, report=tmp_path / "record"))
    assert len(outcomes) == 12
    done = [outcome for outcome in outcomes if outcome.done]
    assert len(done) == 12 - len(made.bad)
    assert {outcome.error["code"] for outcome in outcomes if outcome.error} == {
        "image.damaged",
        "file.missing",
    }
    assert any("folder%20" in outcome.image for outcome in done)
    for name in set(made.pictures()) - set(made.bad):
        alone = (tmp_path / "alone").with_suffix(Path(name).suffix.replace(".gif", ".png"))
        save_alone(reknit.fill(made.source / name, made.mask_of(name), threads=1), alone)
        with store.open_input_file(f"shop/out/{Path(name).with_suffix(alone.suffix).as_posix()}") as file:
            assert file.read() == alone.read_bytes(), name
    again = list(reknit.batch(**places, report=tmp_path / "record", resume=True))
    assert again == []
