"""Files of hub repositories arrive in the hub's own cache, checked, from a server that answers as the hub does."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reknit.core.errors import Cancelled, ReknitError
from reknit.core.progress import CancelToken, Reporter, Step
from reknit.models import hub
from reknit.models.catalog import ModelFile
from tests.models.conftest import CONTENT, DIGEST, Web

pytest.importorskip("huggingface_hub")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the library's retries, which take 23 s, not wait."""
    monkeypatch.setattr(time, "sleep", lambda _: None)


FILE = ModelFile(name="deep/m.onnx", repo="owner/name", bytes=len(CONTENT), sha256=DIGEST)


def fetch(web: Web, cache: Path, file: ModelFile = FILE, report: Reporter | None = None) -> Path:
    return hub.fetch(
        file, cache, report=report or Reporter(), offline=False, endpoint=web.url, stage="downloading"
    )


def test_a_file_arrives_where_other_programs_find_it(web: Web, tmp_path: Path) -> None:
    steps = list[Step]()
    path = fetch(web, tmp_path, report=Reporter(steps.append))
    assert path.read_bytes() == CONTENT
    assert path == hub.cached(FILE, tmp_path)
    assert "models--owner--name" in path.parts
    assert steps[-1].fraction == 1.0
    from huggingface_hub import try_to_load_from_cache

    assert try_to_load_from_cache("owner/name", "deep/m.onnx", cache_dir=tmp_path) == str(path)


@pytest.mark.parametrize(
    ("file", "bad", "code"),
    [
        (replace(FILE, sha256="0" * 64), {}, "download.checksum"),
        (replace(FILE, bytes=5), {}, "download.size"),
        (FILE, {"status": 401}, "download.refused"),
        (FILE, {"status": 403}, "download.refused"),
        (FILE, {"status": 404}, "download.gone"),
        (FILE, {"status": 503}, "download.server"),
    ],
)
def test_what_goes_wrong_leaves_nothing(
    web: Web, tmp_path: Path, file: ModelFile, bad: dict[str, Any], code: str
) -> None:
    for name, value in bad.items():
        setattr(web, name, value)
    with pytest.raises(ReknitError) as caught:
        fetch(web, tmp_path, file)
    assert caught.value.code == code
    assert hub.cached(file, tmp_path) is None
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 1000]


def test_cancelling_stops_it(web: Web, tmp_path: Path) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        fetch(web, tmp_path, report=Reporter(None, token))
    assert hub.cached(FILE, tmp_path) is None


def test_no_hub(tmp_path: Path) -> None:
    with pytest.raises(ReknitError) as caught:
        fetch(Web(url="http://127.0.0.1:9"), tmp_path)
    assert caught.value.code == "download.network"


def test_a_cache_that_cannot_be_written(web: Web, tmp_path: Path) -> None:
    (tmp_path / "models--owner--name").write_bytes(b"a file where a folder should be")
    with pytest.raises(ReknitError) as caught:
        fetch(web, tmp_path)
    assert caught.value.code == "file.unwritable"
