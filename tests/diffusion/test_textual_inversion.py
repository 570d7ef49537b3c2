"""Textual inversions: read in every layout, called in prompts as A1111 and ComfyUI do it, and equal to diffusers'."""

import copy
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import save_file  # noqa: E402

from reknit.core.errors import InputError, ReknitError  # noqa: E402
from reknit.diffusion.placed import Placed, place  # noqa: E402
from reknit.diffusion.placement import Placement  # noqa: E402
from reknit.diffusion.prompt import embeddings_in, encode_prompt, encode_text  # noqa: E402
from reknit.diffusion.stage_cache import StageCache  # noqa: E402
from reknit.diffusion.textual_inversion import named, open_embedding  # noqa: E402
from tests.diffusion.stages import pipeline, placed  # noqa: E402

PROMPT = "a photo of ink-style7 cat, (very good:1.0)"


def drawn(count: int, width: int, seed: int = 0) -> Any:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) * 0.3


def a1111(vectors: Any, *, old: bool = False) -> dict[str, Any]:
    """Return what A1111 saves; the first tools kept a module and tensors of numbers."""
    table: Any = {"*": torch.nn.Parameter(vectors)}
    return {
        "string_to_token": {"*": torch.tensor(265) if old else 265},
        "string_to_param": torch.nn.ParameterDict(table) if old else table,
        "name": "else",
        "step": 500,
        "sd_checkpoint": None,
        "sd_checkpoint_name": None,
    }


@pytest.fixture
def style(tmp_path: Path) -> Path:
    path = tmp_path / "Ink-Style7.safetensors"
    save_file({"emb_params": drawn(3, 768)}, path)
    return path


def own(family: str = "sd15") -> Placed:
    """Return a tiny model that may be changed."""
    return placed.__wrapped__(family, "inpaint")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x.pt", a1111(drawn(3, 768))),
        ("x.pt", a1111(drawn(3, 768), old=True)),
        ("x.bin", {"<cat-toy>": drawn(3, 768)}),
        ("x.safetensors", {"emb_params": drawn(3, 768)}),
        ("x.safetensors", {"<cat-toy>": drawn(3, 768)}),
    ],
)
def test_every_layout_gives_its_vectors(tmp_path: Path, name: str, value: Any) -> None:
    path = tmp_path / name
    save_file(value, path) if path.suffix == ".safetensors" else torch.save(value, path)
    made = open_embedding(path)
    assert (made.family, made.name, made.count) == ("sd15", "x", 3)
    assert torch.equal(made.vectors[768], drawn(3, 768))


def test_one_vector_may_be_a_line(tmp_path: Path) -> None:
    torch.save({"<cat-toy>": drawn(1, 1024)[0].half()}, tmp_path / "x.bin")
    made = open_embedding(tmp_path / "x.bin")
    assert (made.family, made.count, made.vectors[1024].dtype) == ("sd2", 1, torch.float32)


@pytest.mark.parametrize("vectors", [1, 3])
@pytest.mark.parametrize("family", ["sd15", "sd2"])
def test_texts_are_diffusers(tmp_path: Path, family: str, vectors: int) -> None:
    model = own(family)
    torch.save(a1111(drawn(vectors, {"sd15": 768, "sd2": 1024}[family])), tmp_path / "ink-style7.pt")
    made = encode_prompt(model, PROMPT, "bad INK-STYLE7", embeddings=named(tmp_path.iterdir()))
    pipe = pipeline(model)
    pipe.load_textual_inversion(str(tmp_path), weight_name="ink-style7.pt", token="ink-style7")
    with torch.inference_mode():
        want, bad = pipe.encode_prompt(
            PROMPT.replace("(very good:1.0)", "very good"), "cpu", 1, True, "bad ink-style7"
        )
    assert made.negative is not None
    assert float((made.positive.embeds - want).abs().max()) <= 1e-5
    assert float((made.negative.embeds - bad).abs().max()) <= 1e-5


def test_sdxls_texts_are_diffusers(tmp_path: Path) -> None:
    model = own("sdxl")
    state = {"clip_l": drawn(2, 768, 1), "clip_g": drawn(2, 1280, 2)}
    save_file(state, tmp_path / "ink-style7.safetensors")
    made = encode_prompt(model, PROMPT, "bad", embeddings=named(tmp_path.iterdir())).positive
    pipe = pipeline(model)
    for key, end in (("clip_l", ""), ("clip_g", "_2")):
        pipe.load_textual_inversion(
            state[key],
            token="ink-style7",
            text_encoder=getattr(pipe, f"text_encoder{end}"),
            tokenizer=getattr(pipe, f"tokenizer{end}"),
        )
    with torch.inference_mode():
        want, _, pooled, _ = pipe.encode_prompt(PROMPT.replace("(very good:1.0)", "very good"))
    assert float((made.embeds - want).abs().max()) <= 1e-5
    assert made.pooled is not None and float((made.pooled - pooled).abs().max()) <= 1e-5


def test_the_encoder_is_as_it_was(style: Path) -> None:
    model = own()
    before = encode_text(model, PROMPT).embeds
    weights = copy.deepcopy(model.checkpoint.text_encoders[0].state_dict())
    with_it = encode_text(model, PROMPT, embeddings=named([style])).embeds
    assert not torch.allclose(before, with_it)
    assert torch.equal(encode_text(model, PROMPT).embeds, before)
    after = model.checkpoint.text_encoders[0].state_dict()
    assert all(torch.equal(after[name], each) for name, each in weights.items())


@pytest.mark.parametrize("offload", ["model", "group", "sequential"])
def test_offloaded_encoders_see_it_too(style: Path, offload: Any) -> None:
    want = encode_text(own(), PROMPT, embeddings=named([style])).embeds
    model = own()
    moved = place(model.checkpoint, Placement(offload=offload))
    torch.testing.assert_close(encode_text(moved, PROMPT, embeddings=named([style])).embeds, want)
    moved.free()


@pytest.mark.parametrize("before", [72, 74])
def test_it_is_not_split_between_chunks(style: Path, before: int) -> None:
    model, names = placed("sd15", "inpaint"), named([style])
    made = encode_text(model, "cat " * before + "ink-style7 dog", embeddings=names)
    want = encode_text(
        model, "cat " * before + ("" if before == 72 else "BREAK ") + "ink-style7 BREAK dog", embeddings=names
    )
    assert made.embeds.shape[1] == 2 * 77
    cut = 77 if before == 72 else 77 + 4
    torch.testing.assert_close(made.embeds[:, :cut], want.embeds[:, :cut])


def test_a_weight_acts_on_all_its_vectors(style: Path) -> None:
    model, names = placed("sd15", "inpaint"), named([style])
    plain, heavy, empty = (
        encode_text(model, text, emphasis="comfyui", embeddings=names).embeds
        for text in ("red embedding:ink-style7 cat", "red (embedding:ink-style7:1.5) cat", "")
    )
    want = plain.clone()
    want[:, 2:5] = empty[:, 2:5] + 1.5 * (plain - empty)[:, 2:5]
    torch.testing.assert_close(heavy, want)


@pytest.mark.parametrize(
    "text",
    [
        "red ink-style7 cat",
        "red INK-STYLE7 cat",
        "red ink - style 7 cat",
        "red embedding:ink-style7 cat",
        "red embedding:Ink-Style7.safetensors cat",
        "red embedding:folder/ink-style7 cat",
    ],
)
def test_a1111s_ways_to_call_one(style: Path, text: str) -> None:
    model, names = placed("sd15", "inpaint"), named([style])
    want = encode_text(model, "red embedding:ink-style7 cat", emphasis="comfyui", embeddings=names).embeds
    torch.testing.assert_close(encode_text(model, text, embeddings=names).embeds, want)


def test_comfyuis_words_are_words(style: Path) -> None:
    model = placed("sd15", "inpaint")
    made = encode_text(model, "red ink-style7 cat", emphasis="comfyui", embeddings=named([style]))
    assert torch.equal(made.embeds, encode_text(model, "red ink-style7 cat").embeds)


def test_the_longest_name_counts(tmp_path: Path) -> None:
    for seed, name in enumerate(("red", "red cat", "cat")):
        save_file({"emb_params": drawn(1, 768, seed)}, tmp_path / f"{name}.safetensors")
    used = embeddings_in(placed("sd15", "inpaint"), "a red cat, red dog", named(tmp_path.iterdir()))
    assert [each.name for each in used] == ["red cat", "red"]


def test_what_is_not_there_is_left_out_and_named(style: Path) -> None:
    model = placed("sd15", "inpaint")
    made = encode_text(model, "red embedding:ink-stile7, cat", emphasis="comfyui", embeddings=named([style]))
    assert torch.equal(made.embeds, encode_text(model, "red , cat").embeds)
    assert len(made.notes) == 1 and "did you mean 'ink-style7'?" in made.notes[0]


def test_one_of_another_family(style: Path) -> None:
    for family in ("sdxl", "flux"):
        with pytest.raises(InputError) as caught:
            encode_text(placed(family, "inpaint"), "embedding:ink-style7", embeddings=named([style]))
        assert caught.value.code == "embedding.family" and "sd15" in caught.value.hint
    model = placed("sdxl", "inpaint")
    made = encode_text(model, "red ink-style7 cat", embeddings=named([style]))
    assert torch.equal(made.embeds, encode_text(model, "red ink-style7 cat").embeds)
    assert len(made.notes) == 1 and "sd15" in made.notes[0]


def test_a_texts_key_holds_the_files_content(style: Path) -> None:
    model, cache, names = placed("sd15", "inpaint"), StageCache(1 << 20), named([style])
    first = encode_text(model, PROMPT, embeddings=names, cache=cache)
    assert encode_text(model, PROMPT, embeddings=names, cache=cache) is first
    times = style.stat()
    save_file({"emb_params": drawn(3, 768, 9)}, style)
    os.utime(style, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not torch.equal(encode_text(model, PROMPT, embeddings=names, cache=cache).embeds, first.embeds)


def test_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    save_file({"emb_params": drawn(2, 768) / 0}, tmp_path / "x.safetensors")
    with pytest.raises(InputError) as caught:
        open_embedding(tmp_path / "x.safetensors")
    assert caught.value.code == "model.nan"


def test_a_pickle_runs_nothing(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(tmp_path / "made"),))

    torch.save({"string_to_param": {"*": drawn(1, 768)}, "name": Hostile()}, tmp_path / "new.pt")
    torch.save(
        {"x": drawn(1, 768), "y": Hostile()}, tmp_path / "old.pt", _use_new_zipfile_serialization=False
    )
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Hostile()))
    for name in ("new.pt", "old.pt", "bare.pt"):
        with pytest.raises(ReknitError):
            open_embedding(tmp_path / name)
    assert not (tmp_path / "made").exists()


def test_a_word_whose_file_is_none_stays_a_word(tmp_path: Path) -> None:
    (tmp_path / "red.pt").write_bytes(b"nothing")
    model = placed("sd15", "inpaint")
    made = encode_text(model, "red cat", embeddings=named(tmp_path.iterdir()))
    assert torch.equal(made.embeds, encode_text(model, "red cat").embeds)
    assert made.notes == ("'red' was read as words: its file is no embedding (model.unrecognised)",)


def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    whole, packed = tmp_path / "whole.pt", tmp_path / "packed.pt"
    torch.save({"string_to_param": {"*": torch.ones(1, 768)}, "more": torch.zeros(9 << 20)}, whole)
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as smaller:
        for name in archive.namelist():
            smaller.writestr(name, archive.read(name))
    with pytest.raises(InputError) as caught:
        open_embedding(packed)
    assert caught.value.code == "model.damaged" and "unpacked" in caught.value.message
