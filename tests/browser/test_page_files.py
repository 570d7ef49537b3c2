"""The page's files agree with one another: words, icons, modules. No browser is needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser.fake import WEB

if TYPE_CHECKING:
    pass


def test_every_word_is_there_and_used() -> None:
    text = (WEB / "strings.js").read_text(encoding="utf-8")
    known = set(re.findall(r'^  "([\w.-]+)":', text, re.MULTILINE))
    sources = [path.read_text(encoding="utf-8") for path in WEB.glob("*.js") if path.name != "strings.js"]
    sources.append(text[text.index("const rules") :])
    page = (WEB / "index.html").read_text(encoding="utf-8")
    named = set(re.findall(r'data-t(?:-\w+)?="([\w.-]+)"', page))
    patterns: set[str] = set()
    for source in sources:
        named |= set(re.findall(r'(?:say|sayTouch|knows)\("([\w.-]+)"', source))
        patterns |= set(re.findall(r"(?:say|knows)\(`([^`]+)`", source))
        patterns |= {f"{name}.touch" for name in re.findall(r'sayTouch\("([\w.-]+)"', source)}
    assert named - known == set()
    whole = "\n".join(sources)
    shapes = [
        re.compile(re.sub(r"\\\$\\\{.*?\\\}", r"[\\w.-]+", re.escape(pattern)) + r"(\.hint)?$")
        for pattern in patterns
    ]
    unused = {
        name for name in known - named if f'"{name}"' not in whole and not any(s.match(name) for s in shapes)
    }
    assert unused == set()


def test_the_page_holds_no_words_and_no_inline_code() -> None:
    page = (WEB / "index.html").read_text(encoding="utf-8")
    body = page[page.index("<body") : page.index("<noscript>")]
    assert set(re.findall(r">\s*([^<>\s][^<>]*)<", body)) <= {"Reknit"}
    assert not re.search(r"style=|<style|\son\w+=|javascript:|https?://", page)


def test_no_text_in_a_script_spans_lines() -> None:
    """The server leaves out comments and indentation on the way."""
    for path in WEB.rglob("*.js"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            code = re.sub(r"/\*.*?\*/|//.*", "", line)
            if not line.lstrip().startswith("*"):
                assert code.count("`") % 2 == 0, f"{path.name}:{number}"


def test_icons_that_are_named_exist() -> None:
    drawn = set(re.findall(r"^  (\w+): \[", (WEB / "icons.js").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r'data-icon="(\w+)"', (WEB / "index.html").read_text(encoding="utf-8")))
    for path in WEB.glob("*.js"):
        for found in re.findall(r'\bicon\("(\w+)"\)|\bicon: "(\w+)"', path.read_text(encoding="utf-8")):
            named |= set(found) - {""}
    assert named - drawn == set()


def test_the_modules_that_are_fetched_early_are_those_that_the_page_imports() -> None:
    imported: set[Path] = set()
    waiting = [WEB / "page.js"]
    while waiting:
        module = waiting.pop()
        found = re.findall(
            r'^import (?:.*? from )?"(\.[^"]+)";', module.read_text(encoding="utf-8"), re.MULTILINE
        )
        waiting += [path for name in found if (path := (module.parent / name).resolve()) not in imported]
        imported |= {(module.parent / name).resolve() for name in found}
    names = {path.relative_to(WEB.resolve()).as_posix() for path in imported}
    early = set(re.findall(r'"([\w/]+\.js)"', (WEB / "start.js").read_text(encoding="utf-8")))
    assert early == names - {"theme.js"}  # which comes before everything
