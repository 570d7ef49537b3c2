"""Downloads arrive whole and right or not at all, and go on where they stopped."""

import errno
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from reknit.core.errors import Cancelled, ExternalError, InputError, ReknitError, Unavailable
from reknit.core.progress import CancelToken, Reporter, Step
from reknit.models import download
from tests.models.conftest import CONTENT, DIGEST, Web

QUIET = Reporter()


def fetch(web: Web, target: Path, **options: Any) -> Path:
    options = {"sha256": DIGEST, "size": len(CONTENT), "report": QUIET, "offline": False} | options
    return download.fetch(f"{web.url}/file", target, **options)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives(web: Web, tmp_path: Path) -> None:
    steps = list[Step]()
    target = fetch(web, tmp_path / "deep" / "m.bin", report=Reporter(steps.append))
    assert target.read_bytes() == CONTENT
    assert left(target.parent) == ["m.bin"]
    assert [step.fraction for step in steps] == sorted(step.fraction for step in steps)
    assert steps[-1].fraction == 1.0


def test_size_and_checksum_need_not_be_known(web: Web, tmp_path: Path) -> None:
    assert fetch(web, tmp_path / "m", sha256=None, size=None).read_bytes() == CONTENT


def test_a_broken_connection_is_taken_up_again(web: Web, tmp_path: Path) -> None:
    web.cuts = [1_500_000, 700_000]
    assert fetch(web, tmp_path / "m").read_bytes() == CONTENT
    assert web.starts == [0, 1_500_000, 2_200_000]


@pytest.mark.parametrize("known", [True, False])
def test_a_stopped_download_goes_on_where_it_was(web: Web, tmp_path: Path, known: bool) -> None:
    options = {} if known else {"sha256": None, "size": None}
    half = len(CONTENT) // 2
    token = CancelToken()

    def stop(step: Step) -> None:
        if step.fraction > 0.5:
            token.cancel()

    with pytest.raises(Cancelled):
        fetch(web, tmp_path / "m", report=Reporter(stop, token), **options)
    assert not (tmp_path / "m").exists()
    assert fetch(web, tmp_path / "m", **options).read_bytes() == CONTENT
    assert web.starts[1] >= half
    assert left(tmp_path) == ["m"]


def test_another_version_is_not_joined_to_the_first_half(web: Web, tmp_path: Path) -> None:
    token = CancelToken()
    with pytest.raises(Cancelled):
        fetch(web, tmp_path / "m", sha256=None, size=None, report=Reporter(lambda _: token.cancel(), token))
    web.etag, web.content = '"two"', CONTENT[::-1]
    assert fetch(web, tmp_path / "m", sha256=None, size=None).read_bytes() == CONTENT[::-1]


def test_a_server_without_ranges_starts_again(web: Web, tmp_path: Path) -> None:
    web.ranges, web.cuts = False, [1_000_000]
    assert fetch(web, tmp_path / "m").read_bytes() == CONTENT


def test_a_range_that_was_not_asked_for_is_not_joined(web: Web, tmp_path: Path) -> None:
    web.cuts, web.skips = [1_000_000], 7
    assert fetch(web, tmp_path / "m", sha256=None, size=None).read_bytes() == CONTENT
    assert web.starts == [0, 1_000_000, 0]


def test_a_whole_part_is_only_checked(web: Web, tmp_path: Path) -> None:
    (tmp_path / ".m.part").write_bytes(CONTENT)
    assert fetch(web, tmp_path / "m").read_bytes() == CONTENT
    assert web.asked == []


def test_a_part_too_long_without_a_known_size_starts_again(web: Web, tmp_path: Path) -> None:
    (tmp_path / ".m.part").write_bytes(CONTENT + b"more")
    assert fetch(web, tmp_path / "m", size=None).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"content": CONTENT[:-1] + b"x"}, "download.checksum"),
        ({"content": CONTENT[:-5]}, "download.size"),
        ({"content": CONTENT + b"more"}, "download.size"),
        ({"states": len(CONTENT) + 100}, "download.size"),
        ({"cuts": [10] * 9}, "download.cut-off"),
        ({"status": 401}, "download.refused"),
        ({"status": 403}, "download.refused"),
        ({"status": 404}, "download.gone"),
        ({"status": 410}, "download.gone"),
        ({"status": 500}, "download.server"),
        ({"status": 400}, "download.server"),
    ],
)
def test_what_goes_wrong_leaves_the_old_file_and_nothing_half(
    web: Web, tmp_path: Path, bad: dict[str, Any], code: str
) -> None:
    for name, value in bad.items():
        setattr(web, name, value)
    (tmp_path / "m").write_bytes(b"old")
    with pytest.raises(ReknitError) as caught:
        fetch(web, tmp_path / "m")
    assert caught.value.code == code
    assert caught.value.hint
    assert (tmp_path / "m").read_bytes() == b"old"
    if code != "download.cut-off":
        assert left(tmp_path) == ["m"]


def test_a_length_that_is_a_lie_is_found_out_without_a_known_size(web: Web, tmp_path: Path) -> None:
    web.states = len(CONTENT) + 100
    with pytest.raises(ExternalError) as caught:
        fetch(web, tmp_path / "m", sha256=None, size=None)
    assert caught.value.code in ("download.cut-off", "download.server")
    assert not (tmp_path / "m").exists()


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(ExternalError) as caught:
        download.fetch("http://127.0.0.1:9/m", tmp_path / "m", report=QUIET, offline=False)
    assert caught.value.code == "download.network"
    assert "127.0.0.1:9" in caught.value.message


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_the_disk_is_looked_at_first(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 1000))
    with pytest.raises(ExternalError) as caught:
        fetch(web, tmp_path / "m")
    assert caught.value.code == "disk.full"
    assert caught.value.facts["needed_bytes"] == len(CONTENT)
    assert left(tmp_path) == []


def test_a_disk_that_fills_up(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download.os, "fsync", full)
    with pytest.raises(ExternalError) as caught:
        fetch(web, tmp_path / "m")
    assert caught.value.code == "disk.full"
    assert not (tmp_path / "m").exists()


def test_two_do_not_write_one_part(web: Web, tmp_path: Path) -> None:
    second = list[ReknitError]()

    def another(_: Step) -> None:
        if not second:
            with pytest.raises(Unavailable) as caught:
                fetch(web, tmp_path / "m")
            second.append(caught.value)

    assert fetch(web, tmp_path / "m", report=Reporter(another)).read_bytes() == CONTENT
    assert second[0].code == "download.busy"


def test_files_are_copied_offline_too(tmp_path: Path) -> None:
    (tmp_path / "a b%20.bin").write_bytes(CONTENT)
    url = (tmp_path / "a b%20.bin").as_uri()
    done = download.fetch(url, tmp_path / "m", report=QUIET, offline=True, sha256=DIGEST)
    assert done.read_bytes() == CONTENT
    with pytest.raises(ExternalError) as caught:
        download.fetch(url + "x", tmp_path / "n", report=QUIET, offline=True)
    assert caught.value.code == "download.gone"
    with pytest.raises(ExternalError) as caught:
        download.fetch(url, tmp_path / "n", report=QUIET, offline=True, size=3)
    assert caught.value.code == "download.size"


@pytest.mark.parametrize("url", ["ftp://example.org/m", "m.onnx", "data:,x"])
def test_other_urls(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        download.fetch(url, tmp_path / "m", report=QUIET, offline=False)
    assert caught.value.code == "download.url"


def test_a_folder_that_cannot_be_made(web: Web, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ExternalError) as caught:
        fetch(web, tmp_path / "file" / "m")
    assert caught.value.code == "file.unwritable"
