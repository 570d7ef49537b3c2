"""The store finds models wherever they lie, fetches the missing, and touches only its own folder."""

import hashlib
from pathlib import Path

import pytest
from onnx import TensorProto

from reknit.core.errors import InputError, NotFound, ReknitError, Unavailable
from reknit.core.progress import Reporter
from reknit.models import catalog, layouts
from reknit.models.catalog import ModelCard, ModelFile
from reknit.models.store import Store
from tests.models import weights
from tests.models.conftest import CONTENT, DIGEST, Web

QUIET = Reporter()
FLOAT = TensorProto.FLOAT


def card(name: str = "mine", **changes: object) -> ModelCard:
    options: dict[str, object] = {
        "id": name,
        "title": "Mine",
        "engine": "onnx",
        "family": "lama",
        "licence": "MIT",
        "native_px": 512,
        "files": (
            ModelFile(
                name="mine.onnx", url="https://example.org/mine.onnx", bytes=len(CONTENT), sha256=DIGEST
            ),
        ),
    }
    return ModelCard(**(options | changes))  # type: ignore[arg-type]


def store(tmp_path: Path, *cards: ModelCard, others: tuple[Path, ...] = (), offline: bool = False) -> Store:
    return Store(
        tmp_path / "models",
        offline=offline,
        hub_cache=tmp_path / "hub",
        others=others,
        cards={each.id: each for each in cards},
    )


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def in_hub(cache: Path, repo: str, name: str, commit: str = "aaaa", content: bytes = CONTENT) -> Path:
    """Lay a file as huggingface_hub does."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    put(folder / "refs" / "main", commit.encode())
    return put(folder / "snapshots" / commit / name, content)


def test_what_is_missing_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        store(tmp_path, card()).locate("mine")
    assert caught.value.code == "model.missing"
    assert "reknit models pull mine" in caught.value.hint
    with pytest.raises(NotFound):
        store(tmp_path, card()).locate("yours")


@pytest.mark.parametrize(
    "where",
    [
        "models/mine/mine.onnx",
        "models/mine.onnx",
        "other/models/inpaint/mine.onnx",  # ComfyUI
        "other/models/Stable-diffusion/sub/MINE.onnx",  # AUTOMATIC1111
        "other/hub/checkpoints/mine.onnx",  # IOPaint, under TORCH_HOME
        "other/models/0a1b2c3d-uuid/mine.onnx",  # InvokeAI
        "other/mine.onnx",
        "elsewhere/weights/mine.onnx",  # through extra_model_paths.yaml
        "a1111/models/Lora/mine.onnx",
    ],
)
def test_what_people_have_is_found(tmp_path: Path, where: str) -> None:
    path = put(tmp_path / where)
    (tmp_path / "other").mkdir(exist_ok=True)
    (tmp_path / "other" / "extra_model_paths.yaml").write_text(
        "# a comment\n"
        f"a1111:\n    base_path: {tmp_path / 'a1111'}\n    checkpoints: models/Stable-diffusion\n"
        "    loras: |\n        models/Lora\n        models/LyCORIS\n"
        "comfyui:\n    base_path: ../elsewhere/\n    is_default: true\n    inpaint: [weights, more]\n"
    )
    before = {each: each.stat().st_mtime_ns for each in tmp_path.rglob("*")}
    found = store(tmp_path, card(), others=(tmp_path / "other",))
    assert found.locate("mine") == path
    assert [each.card.id for each in found.installed()] == ["mine"]
    assert {each: each.stat().st_mtime_ns for each in tmp_path.rglob("*")} == before


def test_a_file_of_the_same_name_and_another_size_is_not_it(tmp_path: Path) -> None:
    put(tmp_path / "other" / "mine.onnx", CONTENT[:-1])
    with pytest.raises(Unavailable):
        store(tmp_path, card(), others=(tmp_path / "other",)).locate("mine")


def test_without_a_known_size_the_contents_decide(tmp_path: Path) -> None:
    concat = card(files=(ModelFile(name="lama.onnx"),), contract={"layout": "image+mask"})
    shapes = {"generator.model.1.bn_l.running_mean": (4,)}
    picture, out = (FLOAT, [1, 3, "h", "w"]), {"output": (FLOAT, [1, 3, "h", "w"])}
    put(tmp_path / "models" / "x", b"")
    path = tmp_path / "models" / "lama.onnx"
    weights.onnx_model(path, {"image": picture, "mask": (FLOAT, [1, 1, "h", "w"])}, out, shapes)
    assert store(tmp_path, concat).look(concat) is None
    weights.onnx_model(path, {"input": (FLOAT, [1, 4, "h", "w"])}, out, shapes)
    assert store(tmp_path, concat).locate("mine") == path


def test_the_hub_cache(tmp_path: Path) -> None:
    hubbed = card(files=(ModelFile(name="a.onnx", repo="x/y"), ModelFile(name="sub/b.json", repo="x/y")))
    old = in_hub(tmp_path / "hub", "x/y", "a.onnx", "aaaa")
    assert store(tmp_path, hubbed).look(hubbed) is None
    in_hub(tmp_path / "hub", "x/y", "sub/b.json", "aaaa")
    assert store(tmp_path, hubbed).locate("mine") == old.parent
    new = in_hub(tmp_path / "hub", "x/y", "a.onnx", "bbbb")
    installed = store(tmp_path, hubbed).look(hubbed)
    assert installed is not None
    assert installed.paths["a.onnx"] == new
    assert installed.paths["sub/b.json"].read_bytes() == CONTENT


def test_a_single_file_stands_for_the_whole(tmp_path: Path) -> None:
    several = card(
        files=(ModelFile(name="unet/a", repo="x/y"),),
        single_files=(ModelFile(name="whole.safetensors", bytes=len(CONTENT)),),
    )
    path = put(tmp_path / "other" / "models" / "checkpoints" / "whole.safetensors")
    assert store(tmp_path, several, others=(tmp_path / "other",)).locate("mine") == path


def test_pull_fetches_once_and_never_what_is_here(tmp_path: Path, web: Web) -> None:
    mine = card(files=(ModelFile(name="mine.onnx", url=f"{web.url}/m", bytes=len(CONTENT), sha256=DIGEST),))
    found = store(tmp_path, mine)
    assert found.pull("mine", QUIET).main.read_bytes() == CONTENT
    assert found.pull("mine", QUIET).main == tmp_path / "models" / "mine" / "mine.onnx"
    assert len(web.asked) == 1
    put(tmp_path / "other" / "two.onnx")
    two = card("two", files=(ModelFile(name="two.onnx", url=f"{web.url}/m", bytes=len(CONTENT)),))
    assert (
        store(tmp_path, two, others=(tmp_path / "other",)).pull("two", QUIET).main
        == tmp_path / "other" / "two.onnx"
    )
    assert len(web.asked) == 1


def test_pull_offline(tmp_path: Path, web: Web) -> None:
    mine = card(files=(ModelFile(name="mine.onnx", url=f"{web.url}/m"),))
    with pytest.raises(Unavailable) as caught:
        store(tmp_path, mine, offline=True).pull("mine", QUIET)
    assert caught.value.code == "model.offline"
    assert web.asked == []


def lama(path: Path) -> Path:
    shapes = {"generator.model.1.bn_l.running_mean": (4,)}
    inputs = {"image": (FLOAT, [1, 3, 64, 64]), "mask": (FLOAT, [1, 1, 64, 64])}
    return weights.onnx_model(path, inputs, {"output": (FLOAT, [1, 3, 64, 64])}, shapes)


def test_bring_knows_a_catalogued_file_by_its_checksum(tmp_path: Path) -> None:
    path = lama(tmp_path / "whatever.bin")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    mine = card(files=(ModelFile(name="mine.onnx", sha256=digest),))
    found = store(tmp_path, mine).bring(path, QUIET)
    assert (found.card.id, found.main) == ("mine", tmp_path / "models" / "mine" / "mine.onnx")
    assert found.main.read_bytes() == path.read_bytes()
    assert path.exists()


def test_bring_makes_a_card_of_any_other_inpainting_model(tmp_path: Path) -> None:
    path = lama(tmp_path / "My Léma 2.onnx")
    found = store(tmp_path).bring(
        path, QUIET, licence='"mine"', contract={"mask": "1=hole", "output": "0..255"}
    )
    assert found.card.id == "my-l-ma-2"
    again = store(tmp_path).find("my-l-ma-2")  # another store, later
    assert (again.family, again.engine, again.native_px, again.fixed_size) == ("lama", "onnx", 64, True)
    assert again.contract == {"mask": "1=hole", "output": "0..255"}
    assert again.licence == '"mine"'
    assert store(tmp_path).locate("my-l-ma-2").name == "My Léma 2.onnx"
    assert [check.state for check in store(tmp_path).verify("my-l-ma-2", QUIET)] == ["right"]


def test_bring_refuses_what_does_not_inpaint(tmp_path: Path) -> None:
    path = weights.onnx_model(
        tmp_path / "classifier.onnx", {"pixel_values": (FLOAT, [1, 3, 8, 8])}, {"logits": (FLOAT, [1, 9])}
    )
    with pytest.raises(InputError) as caught:
        store(tmp_path).bring(path, QUIET)
    assert caught.value.code == "model.import"
    assert "pixel_values float32 1x3x8x8" in caught.value.message
    assert "--contract" in caught.value.hint
    stated = {"layout": "image,mask", "output": "0..1"}
    assert store(tmp_path).bring(path, QUIET, name="odd", contract=stated).card.contract == stated


def test_bring_does_not_replace_a_catalogued_model(tmp_path: Path) -> None:
    path = lama(tmp_path / "mine.onnx")
    with pytest.raises(InputError, match="is not it"):
        store(tmp_path, card()).bring(path, QUIET)


def test_verify(tmp_path: Path) -> None:
    put(tmp_path / "models" / "mine" / "mine.onnx")
    assert [each.state for each in store(tmp_path, card()).verify("mine", QUIET)] == ["right"]
    put(tmp_path / "models" / "mine" / "mine.onnx", CONTENT[::-1])
    assert [each.state for each in store(tmp_path, card()).verify("mine", QUIET)] == ["wrong"]
    put(tmp_path / "models" / "mine" / "mine.onnx", CONTENT[:9])
    assert "9 bytes" in store(tmp_path, card()).verify("mine", QUIET)[0].why
    unknown = card(files=(ModelFile(name="mine.onnx"),))
    assert [each.state for each in store(tmp_path, unknown).verify("mine", QUIET)] == ["unknown"]


def test_remove_deletes_only_what_is_ours(tmp_path: Path) -> None:
    theirs = put(tmp_path / "other" / "mine.onnx")
    ours = put(tmp_path / "models" / "mine" / "mine.onnx")
    found = store(tmp_path, card(), others=(tmp_path / "other",))
    assert found.remove("mine") == [ours]
    with pytest.raises(NotFound) as caught:
        found.remove("mine")
    assert caught.value.code == "model.not-ours"
    assert str(theirs) in caught.value.message
    assert theirs.exists()


def test_a_tree_that_leads_into_itself_ends(tmp_path: Path) -> None:
    path = put(tmp_path / "a" / "b" / "m.onnx")
    (tmp_path / "a" / "b" / "again").symlink_to(tmp_path / "a", target_is_directory=True)
    assert list(layouts.weight_files(tmp_path)) == [path]


@pytest.mark.parametrize(
    "text", ["", "- a\n- b", "a: {b: [", "x: 3", "&a [*a]", "a1111:\n  base_path: [1]\n  vae: {x: 1}\n"]
)
def test_a_broken_extra_paths_file_is_left_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "extra_model_paths.yaml").write_text(text)
    assert layouts.folders([tmp_path]) == [tmp_path]


def test_a_broken_statement_is_named(tmp_path: Path) -> None:
    put(tmp_path / "models" / "x" / "model.toml", b"[model")
    with pytest.raises(ReknitError) as caught:
        store(tmp_path).installed()
    assert "model.toml" in caught.value.message


def test_the_real_catalog_is_looked_up_quickly(tmp_path: Path) -> None:
    assert Store(tmp_path, offline=True, hub_cache=tmp_path, cards=catalog.load()).installed() == []


@pytest.mark.parametrize("name", ["../x", 'a"]\n[model.b', "", "A B", "con/x"])
def test_a_name_that_is_no_id_is_refused(tmp_path: Path, name: str) -> None:
    path = lama(tmp_path / "x.onnx")
    if name:
        with pytest.raises(InputError) as caught:
            store(tmp_path).bring(path, QUIET, name=name)
        assert caught.value.code == "models.catalog"
        assert not (tmp_path / "models").exists()
    else:
        assert store(tmp_path).bring(path, QUIET, name=name).card.id == "x"
