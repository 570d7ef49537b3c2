"""Tokenizers without the network: from beside the model, from ComfyUI's or Forge's folder, from the hub's cache, or
from a package that ships one.

The vocabulary of CLIP is in several small packages; T5's comes from the disk, or from the GGUF file of the text
encoder itself. It knows no weights.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reknit.core.errors import InputError, Unavailable
from reknit.diffusion.weights import extra

PACKAGES = ("open_clip", "clip", "mobileclip")
"""Packages that ship CLIP's vocabulary; they are looked into, never imported."""

VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
_MERGES = 49_152 - 256 - 2
"""The file holds more; CLIP was trained with these: 49 408 tokens with the bytes and the two marks."""

_PROGRAMS = {
    "t5-xxl": (
        "comfy/text_encoders/t5_tokenizer",
        "backend/huggingface/black-forest-labs/FLUX.1-dev/tokenizer_2",
    ),
    "clip-l": ("comfy/sd1_tokenizer", "backend/huggingface/black-forest-labs/FLUX.1-dev/tokenizer"),
}
"""Where ComfyUI and Forge keep tokenizers, below their own folders; weights lie below those too."""

_WORDS = ("tokenizer.json", "spiece.model", "vocab.json")

_HINTS = {
    "clip": "pip install --no-deps open-clip-torch, which ships it; or put the folder tokenizer of the model's "
    "repository beside the file",
    "t5": "put the folder tokenizer_2 of FLUX.1's repository beside the file, or get it into the hub's cache: "
    "hf download google/t5-v1_1-xxl spiece.model tokenizer_config.json special_tokens_map.json",
}


def find(
    texts: Iterable[str],
    sizes: Iterable[int],
    *,
    near: Iterable[Path] = (),
    hub_cache: Path | None = None,
    files: Iterable[Path | None] = (),
) -> tuple[Any, ...]:
    """Return a tokenizer for each text encoder.

    Parameters
    ----------
    texts
        Kinds of text encoders, as `reknit.diffusion.families.Family.text` has them.
    sizes
        How many tokens each of them knows; a tokenizer with more is not its own.
    near
        Folders in which ``tokenizer`` and ``tokenizer_2`` may lie.
    hub_cache
        The hub's cache.
    files
        The files of the text encoders' weights: a GGUF file of T5 holds its vocabulary.

    Raises
    ------
    Unavailable
        ``model.tokenizer``; the hint says what gets it.
    """
    weights = [*files]
    return tuple(
        _one(text, size, number, near, hub_cache, weights[number] if number < len(weights) else None)
        for number, (text, size) in enumerate(zip(texts, sizes, strict=True))
    )


def opened(folder: Path, text: str) -> Any:
    """Return the tokenizer in a folder, as transformers saved it.

    Raises
    ------
    InputError
        ``model.damaged``
    """
    transformers = extra("transformers")
    made = transformers.T5TokenizerFast if text == "t5-xxl" else transformers.CLIPTokenizerFast
    try:
        return made.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # transformers raises what its parsers raise
        raise InputError(
            f"the tokenizer in {folder} cannot be read: {error}",
            code="model.damaged",
            hint="download it again",
        ) from error


def clip_of(vocabulary: Path, text: str) -> Any:
    """Return CLIP's tokenizer from the file of merges its authors published (MIT licence, OpenAI)."""
    with gzip.open(vocabulary, "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")[1 : 1 + _MERGES]
    merges = [(left, right) for left, _, right in (line.partition(" ") for line in lines) if right]
    singles = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256))]
    singles += [chr(256 + n) for n in range(256 - len(singles))]
    pieces = [*singles, *(f"{single}</w>" for single in singles), *("".join(pair) for pair in merges)]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    padding = "<|endoftext|>" if text == "clip-l" else "!"
    return extra("transformers").CLIPTokenizerFast(
        vocab={piece: number for number, piece in enumerate(pieces)},
        merges=merges,
        pad_token=padding,
        model_max_length=77,
    )


def shipped() -> Path | None:
    """Return where an installed package keeps CLIP's vocabulary."""
    for package in PACKAGES:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            path = Path(folder) / VOCABULARY
            if path.is_file():
                return path
    return None


def _one(
    text: str, size: int, number: int, near: Iterable[Path], hub_cache: Path | None, weights: Path | None
) -> Any:
    name = "tokenizer" if number == 0 else f"tokenizer_{number + 1}"
    for folder in near:
        if (folder / name).is_dir():
            return opened(folder / name, text)
    beside = [*near, *([weights.parent] if weights is not None else [])]
    for program in _of_programs(beside, text):
        return opened(program, text)
    kind = "t5" if text == "t5-xxl" else "clip"
    if weights is not None and weights.suffix.lower() == ".gguf" and (made := _of_gguf(weights)) is not None:
        return made
    for folder in _in_cache(hub_cache, kind):
        tokenizer = opened(folder, text)
        if size - 128 <= len(tokenizer) <= size:
            return tokenizer
    if kind == "clip" and (vocabulary := shipped()) is not None:
        return clip_of(vocabulary, text)
    raise Unavailable(
        f"there is no tokenizer for {text} on this machine",
        code="model.tokenizer",
        hint=_HINTS[kind],
        text=text,
    )


def _of_programs(near: Iterable[Path], text: str) -> Iterator[Path]:
    """Yield the tokenizers of the programs in whose folders the weights lie."""
    for folder in dict.fromkeys(above for each in near for above in each.resolve().parents):
        for name in _PROGRAMS.get(text, ()):
            if any((folder / name / words).is_file() for words in _WORDS):
                yield folder / name


def _in_cache(hub_cache: Path | None, kind: str) -> Iterator[Path]:
    """Yield the folders of the hub's cache that hold a tokenizer of a kind."""
    if hub_cache is None:
        return
    for part in ("", "tokenizer", "tokenizer_2"):
        for file in sorted(hub_cache.glob(f"models--*/snapshots/*/{part}/tokenizer_config.json")):
            try:
                said = str(json.loads(file.read_text(encoding="utf-8")).get("tokenizer_class"))
            except (OSError, ValueError):
                continue
            names = {path.name for path in file.parent.iterdir()}
            whole = (
                "tokenizer.json" in names or {"vocab.json", "merges.txt"} <= names or "spiece.model" in names
            )
            if said.lower().startswith(kind) and whole:
                yield file.parent


def _of_gguf(path: Path) -> Any:
    """Return T5's tokenizer out of its GGUF file, or None if that has none."""
    fields = extra("gguf").GGUFReader(path).fields
    pieces, scores = (fields.get(f"tokenizer.ggml.{name}") for name in ("tokens", "scores"))
    if pieces is None or scores is None:
        return None
    vocabulary = list(zip(pieces.contents(), (float(score) for score in scores.contents()), strict=True))
    return extra("transformers").T5TokenizerFast(vocab=vocabulary, extra_ids=0, model_max_length=512)
