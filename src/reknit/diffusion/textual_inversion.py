"""Textual inversions (embeddings): words of a prompt that stand for vectors of a file instead of tokens.

It finds such files, finds them called in a prompt as A1111's and ComfyUI's users call them, and has a text encoder see
their vectors without changing it. What a file is, `reknit.models.identify` says; what weights and chunks are,
`reknit.diffusion.prompt` knows.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reknit.core.errors import InputError, ReknitError, nearest_name
from reknit.diffusion import sources, weights
from reknit.diffusion.emphasis import Dialect, Parsed
from reknit.models.header import damaged
from reknit.models.identify import Identity, identify
from reknit.models.inversion import SUFFIXES, WIDTHS

if TYPE_CHECKING:
    from reknit.models.store import Store

MAX_BYTES = 32 << 20
"""A larger file is none; the largest that can be is 75 vectors of SDXL, 614 400 bytes in 32 bits."""

_CALLED = re.compile(r"(?<!\S)embedding:(\S+)")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embedding:
    """An opened textual inversion.

    Attributes
    ----------
    name : str
        Its file's, without the ending.
    family : str
    sha256 : str
        Of the file.
    vectors : mapping of int to Tensor, (count, width)
        In float32, by the width of the text encoder they are for.
    """

    name: str
    family: str
    sha256: str
    vectors: Mapping[int, Any]

    @property
    def count(self) -> int:
        """How many tokens' places it takes."""
        return len(next(iter(self.vectors.values())))


Token = int | Embedding | None
"""What a text encoder reads: a token's number, an embedding, or None where a new chunk begins."""


def known(models: Store | None) -> dict[str, Path]:
    """Return the embeddings on this machine by the names that prompts call them, in lower case.

    They lie in folders called ``embeddings``: A1111's, ComfyUI's, and that of the store.
    """
    return named(sources.files("embedding", models))


def chosen(text: str, models: Store | None = None) -> dict[str, Path]:
    """Return the embeddings that a text such as ``"ink.safetensors, toy=learned_embeds.bin"`` names.

    The word before an equals sign is what prompts call the file, instead of its name.

    Raises
    ------
    NotFound
        ``embedding.unknown``, with the nearest name as its hint.
    """
    found: dict[str, Path] = {}
    there = known(models) if text.strip() else {}
    for each in filter(None, (part.strip() for part in text.split(","))):
        word, equals, file = each.partition("=")
        if not equals or Path(each).is_file():
            word, file = "", each
        kept = None if Path(file.strip()).is_file() else there.get(_bare(file.strip()))
        path = kept or sources.named(file.strip(), "embedding", models, code="embedding.unknown")
        found[(word.strip() or path.stem).lower()] = path
    return found


def named(paths: Iterable[Path]) -> dict[str, Path]:
    """Return files by their names in lower case, without endings; a .safetensors file goes before a pickle."""
    right = [path for path in paths if path.suffix.lower() in SUFFIXES]
    found: dict[str, Path] = {}
    for path in sorted(right, key=lambda each: SUFFIXES.index(each.suffix.lower())):
        found.setdefault(path.stem.lower(), path)
    return found


def open_embedding(path: Path) -> Embedding:
    """Return the embedding in a file; of a pickle only tensors are read.

    Raises
    ------
    InputError
        ``embedding.format``: it is none; ``model.damaged``, ``model.nan``, ``model.unrecognised``
    NotFound
        ``file.missing``
    """
    what = _identity(path)
    data = path.read_bytes()
    tensors = {name: each for name, each in _tensors(data, what.format, path).items() if name in what.inputs}
    if len(tensors) != len(what.inputs):
        raise damaged(f"{path}: its vectors are not where its header says")
    weights.check_finite(tensors, str(path))
    torch = weights.extra("torch")
    vectors = [
        tensors[name].detach().to(torch.float32).reshape(shape.shape) for name, shape in what.inputs.items()
    ]
    return Embedding(
        name=path.stem,
        family=what.family,
        sha256=hashlib.sha256(data).hexdigest(),
        vectors={each.shape[-1]: each for each in vectors},
    )


def own_word(path: Path) -> str:
    """Return the word that a file of diffusers' says it stands for; of others, the file's name.

    Raises
    ------
    InputError
        As `open_embedding`.
    """
    names = [*_identity(path).inputs]
    own = len(names) == 1 and names[0] != "emb_params" and not names[0].startswith("string_to_param.")
    return names[0] if own else path.stem


@dataclass(slots=True)
class Finder:
    """Finds embeddings in prompts for one family of models, and keeps account of what it found.

    Attributes
    ----------
    names : mapping of str to Path
        As `known` returns them.
    family : str
    dialect : {'a1111', 'comfyui'}
        ``embedding:name`` calls one in both; in A1111's a name alone does, wherever its tokens stand.
    used : dict of str to Embedding
        By name.
    notes : dict of str to None
        What a user should know, in order.
    """

    names: Mapping[str, Path]
    family: str
    dialect: Dialect
    used: dict[str, Embedding] = field(default_factory=dict[str, Embedding], init=False)
    notes: dict[str, None] = field(default_factory=dict[str, None], init=False)
    _opened: dict[str, Embedding | None] = field(default_factory=dict[Any, Any], init=False)

    def tokens(self, tokenizer: Any, parsed: Parsed) -> list[tuple[Token, float]]:
        """Return a prompt's tokens and embeddings with their weights.

        Raises
        ------
        InputError
            ``embedding.family``: ``embedding:name`` calls one of another family; what `open_embedding` says of it.
        """
        found: list[tuple[Token, float]] = []
        words = self._words(tokenizer, parsed)
        for part in parsed.fragments:
            if part.text is None:
                found.append((None, 1.0))
                continue
            for piece in self._pieces(part.text):
                if isinstance(piece, Embedding):
                    found.append((piece, part.weight))
                else:
                    found += [(token, part.weight) for token in self._read(_ids(tokenizer, piece), words)]
        return found

    def _pieces(self, text: str) -> Generator[str | Embedding]:
        """Take ``embedding:name`` out of a text; one that is not here leaves nothing."""
        at = 0
        for match in _CALLED.finditer(text):
            yield text[at : match.start()]
            at = match.end()
            name, comma, rest = match[1], "", ""
            if _bare(name) not in self.names:
                name, comma, rest = match[1].partition(",")
            if _bare(name) in self.names:
                yield self._fitting(_bare(name))
            else:
                self.notes[self._missing(name)] = None
            yield comma + rest
        yield text[at:]

    def _missing(self, name: str) -> str:
        told = f"there is no embedding {name!r}, and it was left out of the prompt: "
        if not self.names:
            return told + "put it into a folder embeddings"
        return told + nearest_name(_bare(name), self.names)[:200]

    def _open(self, name: str) -> Embedding:
        if (made := self._opened.get(name)) is None:
            made = open_embedding(self.names[name])
            made = made if made.name.lower() == name else replace(made, name=name)
            self._opened[name] = made
        return made

    def _fitting(self, name: str) -> Embedding:
        """Return an embedding that was asked for by ``embedding:name``."""
        made = self._open(name)
        if made.family != self.family:
            others = f"an embedding for {self.family}" if self.family in WIDTHS else "no embedding"
            raise InputError(
                f"the embedding {made.name} was made for {made.family}, and the checkpoint is {self.family}",
                code="embedding.family",
                hint=f"take a checkpoint of {made.family}, or {others}",
                embedding=made.family,
                checkpoint=self.family,
            )
        self.used[made.name] = made
        return made

    def _words(self, tokenizer: Any, parsed: Parsed) -> list[tuple[list[int], str]]:
        """Return the tokens of all names that may be words of a prompt, the longest first."""
        if self.dialect != "a1111" or self.family not in WIDTHS:
            return []
        text = _squeezed(parsed.text)
        there = [name for name in self.names if _squeezed(name) in text]
        words = [(ids, name) for name in there if (ids := _ids(tokenizer, name))]
        return sorted(words, key=lambda word: (-len(word[0]), word[1]))

    def _read(self, ids: list[int], words: list[tuple[list[int], str]]) -> Generator[Token]:
        """Put embeddings in the places of the tokens of their names."""
        at = 0
        while at < len(ids):
            called = next((each for each in words if ids[at : at + len(each[0])] == each[0]), None)
            made = None if called is None else self._usable(called[1])
            if called is None or made is None:
                yield ids[at]
                at += 1
            else:
                yield made
                at += len(called[0])

    def _usable(self, name: str) -> Embedding | None:
        """Return the embedding whose name is a word of the prompt; None where it is left a word, as in A1111."""
        if name not in self._opened:
            try:
                self._open(name)
            except ReknitError as error:
                self._opened[name] = None
                self.notes[f"{name!r} was read as words: its file is no embedding ({error.code})"] = None
        made = self._opened[name]
        if made is None:
            return None
        if made.family != self.family:
            self.notes[
                f"{made.name!r} was read as words: the embedding of this name is for {made.family}, "
                f"and the checkpoint is {self.family}"
            ] = None
            return None
        self.used[made.name] = made
        return made


@contextmanager
def put_in(encoder: Any, rows: Mapping[tuple[int, int], Any]) -> Generator[None]:
    """Have a text encoder see these vectors inside the ``with``, by chunk and place, instead of the tokens there.

    Its weights and its tokenizer's vocabulary stay as they are, wherever they lie.
    """
    if not rows:
        yield
        return

    def replaced(module: Any, given: Any, out: Any) -> Any:
        seen = out.clone()
        for (chunk, place), row in rows.items():
            seen[chunk, place] = row.to(out)
        return seen

    handle = encoder.get_input_embeddings().register_forward_hook(replaced)
    try:
        yield
    finally:
        handle.remove()


def _identity(path: Path) -> Identity:
    what = identify(path)
    if what.kind != "embedding" or what.bytes > MAX_BYTES:
        raise InputError(
            f"{path} is no textual inversion",
            code="embedding.format",
            hint="A1111's, diffusers' and ComfyUI's .safetensors, .pt and .bin files for SD 1, SD 2 and SDXL are read",
            path=str(path),
        )
    return what


def _tensors(data: bytes, form: str, path: Path) -> dict[str, Any]:
    """Return a file's tensors by the names that `identify` gives them."""
    try:
        if form == "safetensors":
            return weights.extra("safetensors.torch").load(data)
        if data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                if sum(each.file_size for each in archive.infolist()) > MAX_BYTES:
                    raise ValueError(f"unpacked it has more than {MAX_BYTES} bytes")
        torch = weights.extra("torch")
        with torch.serialization.safe_globals([torch.nn.ParameterDict]):  # the first tools' files have one
            return dict(_flat("", torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)))
    except (
        Exception
    ) as error:  # SafetensorError, UnpicklingError, BadZipFile, torch's: all say that it is broken
        raise damaged(f"{path}: {error}") from error


def _flat(name: str, value: Any) -> Generator[tuple[str, Any]]:
    torch = weights.extra("torch")
    if torch.is_tensor(value):
        yield name, value
    elif isinstance(value, torch.nn.ParameterDict):
        yield from ((f"{name}._parameters.{key}", each) for key, each in value.items())
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(f"{name}.{key}".strip("."), each)


def _ids(tokenizer: Any, text: str) -> list[int]:
    if not text:
        return []
    return [int(token) for token in tokenizer(text, add_special_tokens=False, verbose=False).input_ids]


def _bare(name: str) -> str:
    """Return a name as `known` has it: without folders and ending, in lower case."""
    last = name.replace("\\", "/").rpartition("/")[2].lower()
    return next((last.removesuffix(each) for each in SUFFIXES if last.endswith(each)), last)


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text.lower())
