"""What cannot work: bad files and bad options.

Each is a typed error with a code and a hint and the documented exit status; no traceback, no new file, and
every input as it was.
"""

import hashlib
import io
import json
import os
import random
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Reknit, picture
from tests.patience import PATIENCE_S, quick

COMMAND = [sys.executable, "-c", "from reknit.cli.main import main; main()"]


def saved(size: tuple[int, int], name: str, mode: str = "RGB", **options: object) -> bytes:
    Image.new(mode, size, "gray" if mode != "1" else 0).save(name, **options)
    data = Path(name).read_bytes()
    Path(name).unlink()
    return data


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, data: bytes = b"") -> bytes:
    """Return a PNG with this header, whatever it holds."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


def noisy(name: str, **options: object) -> bytes:
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(name, **options)
    data = Path(name).read_bytes()
    Path(name).unlink()
    return data


BAD_PHOTOS = {
    "empty.jpg": lambda: b"",
    "one-byte.jpg": lambda: b"\xff",
    "only-magic.jpg": lambda: b"\xff\xd8\xff",
    "only-magic.png": lambda: b"\x89PNG\r\n\x1a\n",
    "only-magic.gif": lambda: b"GIF89a",
    "only-magic.tif": lambda: b"II*\0",
    "only-magic.webp": lambda: b"RIFF\0\0\0\0WEBP",
    "only-magic.avif": lambda: b"\0\0\0\x1cftypavif\0\0\0\0avifmif1",
    "only-magic.heic": lambda: b"\0\0\0\x18ftypheic\0\0\0\0heic",
    "text.png": lambda: b"this is no picture\n" * 20,
    "page.jpg": lambda: b"<!doctype html><title>404</title>",
    "drawing.svg": lambda: b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "paper.pdf": lambda: b"%PDF-1.7\n" + bytes(200),
    "layers.psd": lambda: b"8BPS" + bytes(200),
    "windows.bmp": lambda: saved((8, 8), "x.bmp"),
    "zip.png": lambda: b"PK\x03\x04" + bytes(200),
    "zeros.png": lambda: bytes(5000),
    "random.jpg": lambda: random.Random(1).randbytes(5000),
    "random-tail.jpg": lambda: b"\xff\xd8\xff\xe0" + random.Random(2).randbytes(5000),
    "cut-header.jpg": lambda: cut(noisy("x.jpg"), 0.05),
    "cut.jpg": lambda: cut(noisy("x.jpg"), 0.5),
    "cut.png": lambda: cut(noisy("x.png"), 0.5),
    "cut.webp": lambda: cut(noisy("x.webp"), 0.5),
    "cut.tif": lambda: cut(noisy("x.tif"), 0.5),
    "cut.gif": lambda: cut(noisy("x.gif"), 0.3),
    "cut.avif": lambda: cut(noisy("x.avif"), 0.5),
    "bomb.png": lambda: png(60_000, 60_000, data=zlib.compress(bytes(1000))),
    "wide.png": lambda: png(2_000_000, 1, data=zlib.compress(bytes(1000))),
    "no-width.png": lambda: png(0, 10, data=zlib.compress(bytes(100))),
    "no-data.png": lambda: png(80, 60),
    "bad-depth.png": lambda: png(80, 60, depth=7, data=zlib.compress(bytes(100))),
    "bad-checksum.png": lambda: noisy("x.png").replace(b"IDAT", b"IDAT\x55", 1),
    "float.tif": lambda: float_tiff(),
}


def float_tiff() -> bytes:
    Image.fromarray(np.zeros((60, 80), np.float32)).save("x.tif")
    data = Path("x.tif").read_bytes()
    Path("x.tif").unlink()
    return data


def checked(reknit: Reknit, *args: str, status: int = 2, within_s: float = 5.0) -> str:
    """Run a command that has to fail cleanly, as text and as JSON, and return its error's code."""
    before = {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(Path().rglob("*")) if p.is_file()}
    tries: list[Any] = []
    quick(within_s, lambda: tries.append(reknit(*args)))
    ran = tries[-1]
    assert (ran.status, ran.out) == (status, ""), ran.err
    first, second = ran.err.strip().splitlines()
    assert first.startswith("error: ")
    assert second.startswith("hint: ")
    assert len(second) > len("hint: ")
    told = reknit(*args, "--json")
    assert told.status == status
    assert set(told.data["error"]) == {"code", "message", "hint", "facts"}
    after = {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(Path().rglob("*")) if p.is_file()}
    assert after == before
    return told.data["error"]["code"]


@pytest.mark.parametrize("name", BAD_PHOTOS)
def test_a_bad_photo(reknit: Reknit, name: str) -> None:
    Path(name).write_bytes(BAD_PHOTOS[name]())
    assert checked(reknit, "fill", name, "mask.png", "-o", "out.png").startswith("image.")


@pytest.mark.parametrize("name", ["empty.jpg", "text.png", "cut.png", "bomb.png", "float.tif"])
def test_a_bad_mask(reknit: Reknit, name: str) -> None:
    Path(name).write_bytes(BAD_PHOTOS[name]())
    assert checked(reknit, "fill", "photo.png", name, "-o", "out.png").startswith("image.")


FILL = ["fill", "photo.png", "mask.png"]
BAD_OPTIONS = [
    (["fil", "photo.png"], "command.unknown"),
    (["config", "sow"], "command.unknown"),
    (["fill"], "argument.missing"),
    (["fill", "photo.png"], "mask.missing"),
    ([*FILL, "more.png"], "argument.extra"),
    ([*FILL, "--sed", "3"], "option.unknown"),
    ([*FILL, "--seed"], "option.value"),
    ([*FILL, "--seed", "x"], "option.value"),
    ([*FILL, "--seed", "-2"], "option.value"),
    ([*FILL, "--seed", "4294967296"], "option.value"),
    ([*FILL, "--count", "0"], "option.value"),
    ([*FILL, "--count", "1.5"], "option.value"),
    ([*FILL, "--grow", "-1"], "option.value"),
    ([*FILL, "--grow", "nan"], "option.value"),
    ([*FILL, "--feather", "inf"], "option.value"),
    ([*FILL, "--context", "0"], "option.value"),
    ([*FILL, "--threads", "0"], "option.value"),
    ([*FILL, "--quality", "101"], "option.value"),
    ([*FILL, "--quality", "high"], "option.value"),
    ([*FILL, "--max-pixels", "100"], "image.too-large"),
    ([*FILL, "--max-bytes", "100"], "image.too-large"),
    ([*FILL, "--mask-from", "red"], "option.value"),
    ([*FILL, "--mask-from", "alpha"], "mask.no-alpha"),
    ([*FILL, "--engine", "exemplr"], "engine.unknown"),
    ([*FILL, "-p", "quality"], "option.syntax"),
    ([*FILL, "-p", "=best"], "option.syntax"),
    ([*FILL, "-p", "quality=bset"], "option.value"),
    ([*FILL, "-p", "qualty=best"], "option.unknown"),
    ([*FILL, "--engine", "telea", "-p", "radius=0"], "option.value"),
    ([*FILL, "--box", "1,2,3"], "option.value"),
    ([*FILL, "--box", "1,2,0,5"], "option.value"),
    ([*FILL, "--box", "a,b,c,d"], "option.value"),
    ([*FILL, "--box", "500,2,5,5"], "option.value"),
    ([*FILL, "-o", "photo.png"], "output.input"),
    ([*FILL, "-o", "./home/../mask.png"], "output.input"),
    ([*FILL, "-o", "link.png"], "output.input"),
    ([*FILL, "-o", "out.bmp"], "image.container"),
    ([*FILL, "-o", "out.heic"], "image.container"),
    ([*FILL, "-o", "out.jpgg"], "image.container"),
    ([*FILL, "-o", "missing/out.png"], "file.missing"),
    ([*FILL, "-o", "sub"], "file.directory"),
    ([*FILL, "-o", "new/"], "file.directory"),
    ([*FILL, "-o", "photo.png/out.png"], "file.missing"),
    ([*FILL, "-o", "out.png", "--in-place"], "output.in-place"),
    ([*FILL, "--count", "2", "--in-place"], "output.in-place"),
    ([*FILL, "--count", "2", "-o", "-"], "output.count"),
    (["fill", "v-1.png", "mask.png", "--count", "2", "-o", "v.png"], "output.input"),
    (["fill", "-", "-"], "input.stdin"),
    (["fill", "photo.png", "photo.png"], "mask.photo"),
    (["fill", "nothing.png", "mask.png"], "file.missing"),
    (["fill", "photo.png", "nothing.png"], "file.missing"),
    (["fill", "sub", "mask.png"], "file.directory"),
    (["fill", "photo.png", "sub"], "file.directory"),
    (["fill", "photo.png", "black.png"], "mask.empty"),
    (["fill", "photo.png", "white.png"], "mask.full"),
    (["fill", "photo.png", "small.png"], "mask.size"),
    (["fill", "photo.png", "small.png", "--box", "1,1,5,5"], "mask.size"),
    ([*FILL, "--source", "small.png"], "source.size"),
    ([*FILL, "--source", "black.png"], "source.empty"),
    ([*FILL, "--source", "nothing.png"], "file.missing"),
    (["fill", "dot.png", "dot-mask.png"], "mask.full"),
    (["extend", "photo.png"], "extend.nothing"),
    (["extend", "photo.png", "--left", "-5"], "extend.amount"),
    (["extend", "photo.png", "--left", "wide"], "extend.amount"),
    (["extend", "photo.png", "--aspect", "16x9"], "extend.aspect"),
    (["extend", "photo.png", "--anchor", "middle", "--aspect", "2:1"], "option.value"),
    (["extend", "photo.png", "--right", "900000000"], "extend.too-large"),
    (["extend", "photo.png", "--left", "5", "--engine", "magic"], "engine.unknown"),
    (["repair", "photo.png", "--sensitivity", "2"], "option.value"),
    (["repair", "photo.png", "--kinds", "dusk"], "repair.kind"),
    (["repair", "photo.png", "--detect-only"], "option.missing"),
    (["repair", "photo.png", "--mask-out", "photo.png"], "output.input"),
    (["repair", "photo.png", "--mask-out", "found.txt"], "image.container"),
    (["engines", "magic"], "engine.unknown"),
]


@pytest.fixture
def odd_files(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "link.png").symlink_to("photo.png")
    Image.fromarray(picture()).save("v-1.png")
    for name, value in (("black.png", 0), ("white.png", 255)):
        Image.new("L", (80, 60), value).save(name)
    Image.new("L", (8, 6), 255).save("small.png")
    Image.new("RGB", (1, 1), "red").save("dot.png")
    Image.new("L", (1, 1), 255).save("dot-mask.png")


@pytest.mark.usefixtures("odd_files")
@pytest.mark.parametrize(("args", "code"), BAD_OPTIONS, ids=lambda v: " ".join(v) if type(v) is list else "")
def test_bad_options(reknit: Reknit, args: list[str], code: str) -> None:
    assert checked(reknit, *args) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("thread = 2", "config.unknown"),
        ("threads = ", "config.syntax"),
        ("threads = 'many'", "option.value"),
        ("grow = -1", "option.value"),
        ("\x00", "config.syntax"),
    ],
)
def test_a_bad_settings_file(reknit: Reknit, text: str, code: str) -> None:
    Path("reknit.toml").write_text(text)
    assert checked(reknit, *FILL) == code
    assert checked(reknit, "config", "show") == code


def test_a_bad_environment_variable(reknit: Reknit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REKNIT_THREADS", "-3")
    assert checked(reknit, *FILL) == "option.value"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(reknit: Reknit) -> None:
    assert checked(reknit, *FILL, "-o", "/dev/full", status=4) == "file.unwritable"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*COMMAND, *FILL, "-o", "-"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 4
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_no_permission(reknit: Reknit) -> None:
    Path("sub").mkdir(mode=0o555)
    assert checked(reknit, *FILL, "-o", "sub/out.png", status=4) == "file.unwritable"
    Path("photo.jpg").chmod(0)
    assert reknit("fill", "photo.jpg", "mask.png", "--json").data["error"]["code"] == "file.unreadable"


def test_permission_is_asked_for_before_the_work(reknit: Reknit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.R_OK)
    assert checked(reknit, *FILL, status=4) == "file.unwritable"


def test_a_plain_file_where_the_demo_wants_a_folder(reknit: Reknit) -> None:
    assert checked(reknit, "demo", "-o", "photo.png", status=4) == "file.unwritable"


def test_json_and_a_picture_do_not_share_standard_output(reknit: Reknit) -> None:
    ran = reknit(*FILL, "-o", "-", "--json")
    assert (ran.status, ran.data["error"]["code"]) == (2, "output.stdout")


def test_an_unexpected_error_asks_for_a_report(reknit: Reknit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reknit.pipeline.fill.plan_fill", lambda *a, **k: 1 / 0)
    ran = reknit(*FILL)
    assert ran.status == 1
    assert "unexpected ZeroDivisionError" in ran.err
    assert "bug" in ran.err
    assert "Traceback" not in ran.err


def test_out_of_memory_is_said(reknit: Reknit, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise MemoryError

    monkeypatch.setattr("reknit.pipeline.fill.plan_fill", fail)
    assert checked(reknit, *FILL, status=3) == "memory"


@pytest.mark.parametrize("command", ["engines", "fill nothing.png mask.png --json"])
def test_a_reader_that_goes_away_is_no_crash(command: str) -> None:
    code = "from reknit.cli.main import main; main()"
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-c", code, *command.split()], stdout=gone, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (1, "")


def big_photo(side: int) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (side, side, 3), dtype=np.uint8)).save("big.png", compress_level=0)
    mask = np.zeros((side, side), np.uint8)
    mask[50:-50, 50:-50] = 255
    Image.fromarray(mask).save("big-mask.png")


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("after_s", [0.35, 0.8, 1.3])
def test_an_interrupt_ends_a_fill_at_once_and_writes_nothing(after_s: float) -> None:
    big_photo(1500)
    before = sorted(Path().iterdir())
    command = [*COMMAND, "fill", "big.png", "big-mask.png", "-o", "out.png", "-p", "quality=best"]

    def interrupt() -> float:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        time.sleep(after_s)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        try:
            error = process.communicate(timeout=PATIENCE_S)[1]
        finally:
            process.kill()
        spent = time.monotonic() - start
        # Before Reknit's first line runs, Python itself answers; and before Python's, the system.
        if "Traceback" not in error and (error or process.returncode != -signal.SIGINT):
            assert process.returncode == 130
            assert "cancelled; nothing was written" in error
        assert sorted(Path().iterdir()) == before
        return spent

    quick(1.0, interrupt)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_kill_while_saving_leaves_the_old_file_or_the_new_one() -> None:
    big_photo(500)
    Path("out.png").write_bytes(b"old")
    script = (
        "import os, sys\n"
        "from reknit.core import files\n"
        "real = os.fsync\n"
        "def killed(handle):\n    real(handle); os.kill(os.getpid(), 9)\n"
        "os.fsync = killed\n"
        "from reknit.cli.main import main; main()"
    )
    args = ["fill", "big.png", "--box", "50,50,60,60", "-o", "out.png"]
    done = subprocess.run([sys.executable, "-c", script, *args], capture_output=True)
    assert done.returncode == -9, done.stderr
    assert Path("out.png").read_bytes() == b"old"


def test_the_corpus_is_large_enough() -> None:
    assert len(BAD_PHOTOS) + len(BAD_OPTIONS) >= 60
    assert json.dumps([code for _, code in BAD_OPTIONS])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("fill", "mask.png", "photo.png"), "reknit fill photo.png mask.png"),
        (("fill", "photo", "mask.png"), "did you mean 'photo.jpg'?"),
        (("fill", "photo.png", "msk.png"), "did you mean 'mask.png'?"),
        (("fill", "nowhere/photo.png", "mask.png"), "check the path"),
        (("fill", "photo.png", "mask.png", "out.png"), "-o names the output"),
        (("fill", "*.png", "mask.png"), "`reknit batch` does many"),
        (("fill", "photo.png", "https://example.org/mask.png"), "download it first"),
        (("fill", "photo.png", "mask.png", "--grow", "x"), "Grow the hole"),
        (("photo.png", "mask.png"), "reknit fill photo.png MASK"),
        (("x" * 300, "mask.png"), "known: batch"),
        (("batch", "photo.png", "out", "--mask", "mask.png"), "`reknit fill` does one picture"),
        (("batch", ".", "photo.png", "--mask", "mask.png"), "name another OUT"),
    ],
)
def test_hints_name_what_helps(reknit: Reknit, args: tuple[str, ...], said: str) -> None:
    ran = reknit(*args)
    assert ran.status == 2
    assert said in ran.err.splitlines()[-1]


def test_a_black_and_white_photo_is_filled(reknit: Reknit) -> None:
    drawing = np.zeros((60, 80), np.uint8)
    drawing[::2] = 255
    Image.fromarray(drawing).save("drawing.png")
    assert reknit("fill", "drawing.png", "mask.png", "-o", "out.png").status == 0


def test_a_black_and_white_page_takes_a_soft_mask(reknit: Reknit) -> None:
    with Image.open("mask.png") as mask:
        size = mask.size
    Image.new("L", size, 255).save("page.png")
    Image.radial_gradient("L").resize(size).save("soft.png")
    assert reknit("fill", "page.png", "soft.png", "--invert", "-o", "out.png").status == 0


def test_standard_input_without_data_is_told(reknit: Reknit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    ran = reknit("fill", "-", "mask.png", "-o", "out.png")
    assert ran.status == 2 and "standard input is empty" in ran.err
