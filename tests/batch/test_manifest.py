"""The work list: what is found, which mask belongs to what, how outputs are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reknit.batch import places
from reknit.batch.manifest import Entry, WorkList, entries, output_name
from reknit.core.errors import InputError, NotFound


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def listed(**fields: object) -> dict[str, Entry]:
    root = str(fields["root"])
    found = entries(WorkList(**fields))  # type: ignore[arg-type]
    return {str(Path(entry.image).relative_to(root)): entry for entry in found}


def test_folders_are_walked_and_only_pictures_listed(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b/c.PNG", "b/d/e.webp", "notes.txt", ".hidden.jpg", ".git/x.png", "skip/f.jpg")
    found = listed(root=str(tmp_path), skip=(str(tmp_path / "skip"),))
    assert sorted(found) == ["a.jpg", "b/c.PNG", "b/d/e.webp"]
    assert found["b/c.PNG"].output == "b/c.PNG"
    assert found["a.jpg"].file_bytes == 1


def test_the_record_of_an_earlier_batch_holds_no_sources(tmp_path: Path) -> None:
    (tmp_path / "clean" / "reknit-batch" / "thumbs").mkdir(parents=True)
    for name in ("a.png", "clean/b.png", "clean/reknit-batch/thumbs/1-after.jpg"):
        (tmp_path / name).write_bytes(b"x")
    found = {entry.output for entry in entries(WorkList(root=str(tmp_path)))}
    assert found == {"a.png", "clean/b.png"}


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.jpg")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    assert sorted(listed(root=str(tmp_path / "in"))) == ["a.jpg"]


@pytest.mark.parametrize(
    ("include", "exclude", "kept"),
    [
        (("*.jpg",), (), ["a.jpg", "b/c.jpg"]),
        (("b/*",), (), ["b/c.jpg", "b/d.png"]),
        ((), ("*.png",), ["a.jpg", "b/c.jpg"]),
        (("*.jpg",), ("b/*",), ["a.jpg"]),
    ],
)
def test_globs(tmp_path: Path, include: tuple[str, ...], exclude: tuple[str, ...], kept: list[str]) -> None:
    touch(tmp_path, "a.jpg", "b/c.jpg", "b/d.png")
    assert sorted(listed(root=str(tmp_path), include=include, exclude=exclude)) == kept


def test_masks_of_a_folder_have_the_same_path_and_any_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.jpg", "in/b/a.jpg", "in/c.jpg", "masks/a.png", "masks/b/a.tif")
    found = listed(root=str(tmp_path / "in"), mask=str(tmp_path / "masks"))
    assert found["a.jpg"].mask == str(tmp_path / "masks/a.png")
    assert found["b/a.jpg"].mask == str(tmp_path / "masks/b/a.tif")
    assert found["c.jpg"].mask == str(tmp_path / "masks/c.png")  # reading it says that it is not there


def test_one_mask_for_all_is_no_picture(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "mask.png")
    found = listed(root=str(tmp_path), mask=str(tmp_path / "mask.png"))
    assert [(name, entry.mask) for name, entry in found.items()] == [("a.jpg", str(tmp_path / "mask.png"))]


def test_masks_beside_the_pictures(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a_mask.png", "b/c.png", "b/c_mask.jpg")
    found = listed(root=str(tmp_path), mask_suffix="_mask")
    assert sorted(found) == ["a.jpg", "b/c.png"]
    assert found["a.jpg"].mask == str(tmp_path / "a_mask.png")
    assert found["b/c.png"].mask == str(tmp_path / "b/c_mask.jpg")


@pytest.mark.parametrize(
    ("path", "template", "output"),
    [
        ("b/c.jpg", "{stem}{suffix}", "b/c.jpg"),
        ("b/c.heic", "{stem}{suffix}", "b/c.png"),
        ("b/c.jpg", "{stem}-clean{suffix}", "b/c-clean.jpg"),
        ("c.d.tif", "{stem}.webp", "c.d.webp"),
    ],
)
def test_names(path: str, template: str, output: str) -> None:
    assert output_name(path, template) == output


@pytest.mark.parametrize(
    "template", ["x{suffix}", "a/{stem}", "{stem}{dir}", "{stem", "../{stem}.png", ".{stem}"]
)
def test_a_bad_template_is_refused(tmp_path: Path, template: str) -> None:
    with pytest.raises(InputError) as caught:
        listed(root=str(tmp_path), name=template)
    assert caught.value.code == "batch.name"


def test_a_template_cannot_ask_for_what_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        listed(root=str(tmp_path), name="{stem}.gif")
    assert caught.value.code == "image.container"


ROWS = [
    {"image": "a.jpg", "mask": "m/a.png", "seed": 7, "engine": "telea", "param.radius": 5},
    {"image": "b/c.png", "box": "1,2,3,4; 5,6,7,8", "output": "out/of/c.png", "prompt": "sky"},
]


def manifest(path: Path) -> None:
    if path.suffix == ".csv":
        names = list(dict.fromkeys(name for row in ROWS for name in row))
        quoted = [",".join(f'"{row.get(name, "")}"' for name in names) for row in ROWS]
        path.write_text("\n".join([",".join(names), *quoted]), encoding="utf-8-sig")
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    else:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        names = dict.fromkeys(name for row in ROWS for name in row)
        parquet.write_table(pyarrow.table({name: [row.get(name) for row in ROWS] for name in names}), path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_manifests(tmp_path: Path, suffix: str) -> None:
    root, file = tmp_path / "in", tmp_path / f"list{suffix}"
    touch(root, "a.jpg", "b/c.png", "never-listed.jpg")
    manifest(file)
    found = listed(root=str(root), manifest=str(file))
    assert sorted(found) == ["a.jpg", "b/c.png"]
    first, second = found["a.jpg"], found["b/c.png"]
    assert (first.mask, first.output) == (str(root / "m/a.png"), "a.jpg")
    assert (first.row["seed"], first.row["engine"]) == (7, "telea")
    assert int(first.row["params"]["radius"]) == 5
    assert first.file_bytes == 1
    assert (second.mask, second.output) == (None, "out/of/c.png")
    assert second.row == {"boxes": ["1,2,3,4", "5,6,7,8"], "params": {"prompt": "sky"}}


@pytest.mark.parametrize(
    ("row", "code", "word"),
    [
        ('{"image": "a.jpg", "sed": 1}', "manifest.column", "seed"),
        (r'{"image": "a\u0000.jpg"}', "manifest.row", "path"),
        ('{"image": "a.jpg", "seed": "x"}', "manifest.row", "whole number"),
        ('{"mask": "a.png"}', "manifest.row", "no image"),
        ('{"image": "a.jpg", "output": "../../a.jpg"}', "manifest.row", "below OUT"),
        ('{"image": "a.jpg", "output": "/etc/a.jpg"}', "manifest.row", "below OUT"),
        ('{"image": "a.jpg", "output": "a.gif"}', "image.container", ".gif"),
        ('{"image": "a.jpg", "params": "radius=5"}', "manifest.row", "JSON"),
        ('{"image": 5}', "manifest.row", "path"),
        ("[1]", "manifest.format", "line 2"),
        ("{", "manifest.format", "line 2"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, code: str, word: str) -> None:
    file = tmp_path / "list.jsonl"
    file.write_text('{"image": "fine.jpg"}\n' + row)
    with pytest.raises(InputError) as caught:
        listed(root=str(tmp_path), manifest=str(file))
    assert caught.value.code == code
    assert word in caught.value.message + caught.value.hint
    assert "2" in caught.value.message


def test_what_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("image,mask\na.jpg,b.png,c.png\n")
    touch(tmp_path, "list.xlsx")
    for name, kind in (("list.csv", InputError), ("list.xlsx", InputError), ("gone.csv", NotFound)):
        with pytest.raises(kind):
            listed(root=str(tmp_path), manifest=str(tmp_path / name))
    with pytest.raises(NotFound):
        listed(root=str(tmp_path / "gone"))
    with pytest.raises(NotFound):
        listed(root=str(tmp_path), mask=str(tmp_path / "gone.png"))


def test_uris_are_reached_through_pyarrow(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    root = f"file://{tmp_path}/in"
    places.write(f"{root}/deep/er/a.png", b"picture")
    touch(tmp_path, "masks/deep/er/a.png", "in/.hidden/b.png")
    found = list(entries(WorkList(root=root, mask=f"file://{tmp_path}/masks")))
    assert [(e.image, e.mask, e.output) for e in found] == [
        (f"{root}/deep/er/a.png", f"file://{tmp_path}/masks/deep/er/a.png", "deep/er/a.png")
    ]
    assert places.read(found[0].image, max_bytes=100) == b"picture"
    with pytest.raises(InputError):
        places.read(found[0].image, max_bytes=3)
    with pytest.raises(NotFound):
        places.read(f"{root}/gone.png", max_bytes=3)
    with pytest.raises(InputError):
        places.exists("nowhere://a/b")


def test_every_flag_of_a_single_fill_is_a_column(tmp_path: Path) -> None:
    row = {"image": "a.jpg", "prompt": "a lawn", "steps": 12, "model": "sd15-inpainting", "strength": 0.7}
    (tmp_path / "list.jsonl").write_text(json.dumps({**row, "params": {"steps": 5, "side": 64}}))
    (entry,) = entries(WorkList(root=str(tmp_path), manifest=str(tmp_path / "list.jsonl")))
    named = {name: value for name, value in row.items() if name != "image"}
    assert entry.row["params"] == {"side": 64, **named}
