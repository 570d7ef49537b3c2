"""The page's files: compressed, named by content, and never reached by a client's path."""

import gzip
import os
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from reknit.core.errors import NotFound
from reknit.server import static
from tests.server.asgi import Client


@pytest.fixture
def folder(tmp_path: Path) -> static.Folder:
    web = tmp_path / "web"
    (web / "tools").mkdir(parents=True)
    (web / "page.js").write_text("export const a = 1;\n" * 100)
    (web / "tools" / "brush.js").write_text("export {};\n")
    (web / "logo.svg").write_text("<svg/>")
    (web / "dot.png").write_bytes(b"\x89PNG")
    (web / "notes.txt").write_text("not served")
    (tmp_path / "secret.js").write_text("secret")
    return static.Folder(web)


def client(folder: static.Folder) -> Client:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        await static.response(request, folder.get(scope["path"].lstrip("/")))(scope, receive, send)

    return Client(app)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("page.js", "text/javascript; charset=utf-8"),
        ("tools/brush.js", "text/javascript; charset=utf-8"),
        ("logo.svg", "image/svg+xml"),
        ("dot.png", "image/png"),
    ],
)
def test_files_have_their_types(folder: static.Folder, name: str, kind: str) -> None:
    assert client(folder).get(f"/{name}").headers["content-type"] == kind


def test_text_is_compressed_for_those_who_take_it(folder: static.Folder) -> None:
    packed = client(folder).get("/page.js", headers={"Accept-Encoding": "gzip"})
    plain = client(folder).get("/page.js", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 5
    assert packed.content == plain.content
    assert packed.headers["etag"] != plain.headers["etag"]
    assert packed.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(folder.get("page.js").packed or b"") == plain.content


def test_a_known_file_is_not_sent_again(folder: static.Folder) -> None:
    etag = client(folder).get("/page.js").headers["etag"]
    again = client(folder).get("/page.js", headers={"If-None-Match": f'"x", {etag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert client(folder).get("/page.js", headers={"If-None-Match": '"old"'}).status_code == 200


def test_a_changed_file_is_sent_anew(folder: static.Folder, tmp_path: Path) -> None:
    before = folder.get("page.js")
    path = tmp_path / "web" / "page.js"
    path.write_text("export const b = 2;\n")
    os.utime(path, ns=(1, 1))
    assert folder.get("page.js").data != before.data


@pytest.mark.parametrize(
    "name",
    [
        "../secret.js",
        "tools/../../secret.js",
        "/etc/passwd",
        "notes.txt",
        "",
        ".",
        "tools",
        "PAGE.JS",
        "page.js\0",
    ],
)
def test_only_what_was_found_is_served(folder: static.Folder, name: str) -> None:
    with pytest.raises(NotFound):
        folder.get(name)


def test_a_missing_folder_is_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        static.Folder(tmp_path / "nowhere").get("index.html")


def test_a_file_that_goes_away_is_gone(folder: static.Folder, tmp_path: Path) -> None:
    folder.warm()
    (tmp_path / "web" / "page.js").unlink()
    with pytest.raises(NotFound):
        folder.get("page.js")


SCRIPT = """// @ts-check
/** Says
 * what it is. */
const a = "/* no */ // comment"; // stays
  // goes
  /** @type {number} */ (a).b = 1;
/* goes */
const c = 2;
"""
SENT = """


const a = "/* no */ // comment"; // stays

(a).b = 1;

const c = 2;
"""


def test_scripts_and_styles_travel_without_comments_and_indentation(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text(SCRIPT)
    (tmp_path / "a.css").write_text("/* goes */\n@media print {\n  a { color: red; } /* stays */\n}\n")
    folder = static.Folder(tmp_path)
    assert gzip.decompress(folder.get("a.js").packed or b"").decode() == SENT
    assert folder.get("a.js").data.decode() == SCRIPT
    style = gzip.decompress(folder.get("a.css").packed or b"").decode()
    assert style == "\n@media print {\na { color: red; } /* stays */\n}\n"


def test_the_page_holds_no_text_that_spans_lines() -> None:
    web = Path(static.__file__).parents[1] / "web"
    for path in web.rglob("*.js"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert line.count("`") % 2 == 0, f"{path.name}:{number}: what is sent of it would differ"
