"""From words to what a denoiser attends to: text encoders, long prompts, emphasis, and the sizes SDXL is told.

`encode_text` encodes one text, `encode_prompt` a prompt with its negative. Prompts longer than a text encoder's window
are encoded in chunks of 75 tokens, one after the other, as A1111 does. It knows no pictures and no schedule; what the
brackets of a prompt mean is `reknit.diffusion.emphasis`'s.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from reknit.core.errors import InputError
from reknit.diffusion.emphasis import Parsed, parse
from reknit.diffusion.memory import memory_guard
from reknit.diffusion.stage_cache import StageCache, identity, key_of
from reknit.diffusion.textual_inversion import Embedding, Finder, Token, put_in

if TYPE_CHECKING:
    from reknit.diffusion.placed import Placed

Emphasis = Literal["a1111", "comfyui", "none"]
Place = int | tuple[Embedding, int]
"""What stands at one place of a chunk: a token, or one of an embedding's vectors."""

_BACKTRACK = 20
_T5_TOKENS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One encoded text.

    Attributes
    ----------
    embeds : Tensor, (1, tokens, channels)
        Of the text encoder's dtype, on the placement's device.
    pooled : Tensor, (1, channels), or None
        What SDXL and FLUX get beside it.
    tokens : int
        Words the prompt cost, without padding.
    notes : tuple of str
        What was left out of the text.
    embeddings : mapping of str to str
        The SHA-256 of the textual inversions that it calls, by name.
    """

    embeds: torch.Tensor
    pooled: torch.Tensor | None = None
    tokens: int = 0
    notes: tuple[str, ...] = ()
    embeddings: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """What the denoiser is asked for.

    Attributes
    ----------
    positive : Text
    negative : Text or None
        None: no classifier-free guidance, whatever its scale.
    size, original_size : (int, int) or None
        Width and height in px that SDXL is told; None for the size of the latents.
    crop : (int, int)
        Left and top of the crop that SDXL is told.
    guidance : float or None
        The embedded guidance of FLUX; None for the family's own.
    """

    positive: Text
    negative: Text | None = None
    size: tuple[int, int] | None = None
    original_size: tuple[int, int] | None = None
    crop: tuple[int, int] = (0, 0)
    guidance: float | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of both texts."""
        return self.positive.notes + (self.negative.notes if self.negative else ())

    @property
    def embeddings(self) -> Mapping[str, str]:
        """The SHA-256 of the textual inversions that both texts call, by name."""
        return {**self.positive.embeddings, **(self.negative.embeddings if self.negative else {})}


def encode_prompt(
    placed: Placed,
    prompt: str,
    negative: str | None = "",
    *,
    clip_skip: int = 0,
    size: tuple[int, int] | None = None,
    original_size: tuple[int, int] | None = None,
    guidance: float | None = None,
    emphasis: Emphasis = "a1111",
    zero_negative: bool | None = None,
    embeddings: Mapping[str, Path] | None = None,
    cache: StageCache | None = None,
) -> Conditioning:
    """Encode a prompt and its negative.

    Parameters
    ----------
    placed
    prompt, negative
        In A1111's syntax (see `reknit.diffusion.emphasis`). ``negative=None``: classifier-free guidance is not wanted,
        and its text is not encoded.
    clip_skip
        How many of CLIP's last layers are left out; 0 for what the family was trained with. A1111's "Clip skip" is
        one more.
    size, original_size
        Width and height in px that SDXL is told; None for the size of the latents.
    guidance
        FLUX's embedded guidance.
    emphasis : {'a1111', 'comfyui', 'none'}
        How weights act on embeddings: multiplied, and the mean restored; or away from those of an empty text.
    zero_negative
        Whether an empty negative is zeros, not the encoded empty text; None: as the family wants it (SDXL zeros).
    embeddings
        Textual inversions that both texts may call, by name: `reknit.diffusion.textual_inversion.known`.
    cache
        Encoded texts are taken from and kept in it.

    Raises
    ------
    InputError
        ``prompt.clip-skip``: the encoder has fewer layers; ``embedding.family``: ``embedding:name`` calls one of
        another family; ``embedding.format``
    """
    told: dict[str, Any] = {
        "clip_skip": clip_skip,
        "emphasis": emphasis,
        "embeddings": embeddings,
        "cache": cache,
    }
    zeros = placed.checkpoint.family.name == "sdxl" if zero_negative is None else zero_negative
    positive = encode_text(placed, prompt, **told)
    other: Text | None = None
    if negative is not None and not negative.strip() and zeros:
        pooled = None if positive.pooled is None else torch.zeros_like(positive.pooled)
        other = Text(embeds=torch.zeros_like(positive.embeds), pooled=pooled)
    elif negative is not None:
        other = encode_text(placed, negative, **told)
    return Conditioning(
        positive=positive, negative=other, size=size, original_size=original_size, guidance=guidance
    )


def encode_text(
    placed: Placed,
    text: str,
    *,
    clip_skip: int = 0,
    emphasis: Emphasis = "a1111",
    embeddings: Mapping[str, Path] | None = None,
    cache: StageCache | None = None,
) -> Text:
    """Encode one text; see `encode_prompt`.

    FLUX's T5 sees the words and their weights, its CLIP the words of the first 75 tokens only.
    """
    parsed, finder, tokens = _read(placed, text, emphasis, embeddings)
    used = {each.name: each.sha256 for each in finder.used.values()}
    about = (str(placed.dtype), text, clip_skip, emphasis, sorted(used.items()), [*finder.notes])
    key = key_of("text", identity(placed.checkpoint), *about)
    if cache is not None and (found := cache.get(key)) is not None:
        return found
    with placed.using("text"), torch.inference_mode(), memory_guard("reading the prompt", placed.device):
        done = _Encoders(placed, clip_skip, emphasis).encode(parsed, tokens, (*finder.notes,))
    done = replace(done, embeddings=used)
    if cache is not None:
        cache.put(key, done)
    return done


def embeddings_in(
    placed: Placed, text: str, embeddings: Mapping[str, Path], *, emphasis: Emphasis = "a1111"
) -> tuple[Embedding, ...]:
    """Return the textual inversions that a text calls, without encoding it; raises as `encode_prompt`."""
    return tuple(_read(placed, text, emphasis, embeddings)[1].used.values())


def _read(
    placed: Placed, text: str, emphasis: Emphasis, embeddings: Mapping[str, Path] | None
) -> tuple[Parsed, Finder, list[_Tokens]]:
    """Return a text taken apart, what was found in it, and its tokens for each text encoder."""
    checkpoint = placed.checkpoint
    finder = Finder(embeddings or {}, checkpoint.family.name, "comfyui" if emphasis == "comfyui" else "a1111")
    parsed = parse(text, finder.dialect)
    return parsed, finder, [finder.tokens(tokenizer, parsed) for tokenizer in checkpoint.tokenizers]


_Tokens = list[tuple[Token, float]]


@dataclass(frozen=True, slots=True)
class _Encoders:
    placed: Placed
    clip_skip: int
    emphasis: Emphasis

    def encode(self, parsed: Parsed, read: Sequence[_Tokens], notes: tuple[str, ...]) -> Text:
        checkpoint = self.placed.checkpoint
        names = checkpoint.family.text
        notes += tuple(
            f"{tag} is not a tag of a LoRA and was left out of the prompt" for tag in parsed.ignored
        )
        embeds: list[torch.Tensor] = []
        pooled: torch.Tensor | None = None
        count = 0
        for name, encoder, tokenizer, tokens in zip(
            names, checkpoint.text_encoders, checkpoint.tokenizers, read, strict=False
        ):
            if name == "t5-xxl":
                each, cost, left = self._t5(encoder, tokenizer, tokens)
                notes += (f"the prompt is too long: {left} tokens at its end were left out",) if left else ()
                embeds = [each]
            else:
                each, pooled, cost = self._clip(encoder, tokenizer, tokens, hidden=len(names) > 1)
                embeds.append(each)
            count = max(count, cost)
        if checkpoint.family.text == ("clip-l",) or checkpoint.family.text == ("open-clip-h",):
            pooled = None
        length = min(each.shape[1] for each in embeds)
        joined = torch.cat([each[:, :length] for each in embeds], dim=-1)
        return Text(embeds=joined, pooled=pooled, tokens=count, notes=notes)

    def _clip(
        self, encoder: Any, tokenizer: Any, tokens: _Tokens, *, hidden: bool
    ) -> tuple[torch.Tensor, torch.Tensor, int]:
        window = min(int(tokenizer.model_max_length), int(encoder.config.max_position_embeddings)) - 2
        parts = chunks(tokens, window, _comma(tokenizer))
        ids, weights = _padded(parts, window, tokenizer)
        with put_in(encoder, _rows(parts, int(encoder.config.hidden_size))):
            states, pooled = self._layers(encoder, ids, hidden=hidden)
        empty = None
        if self.emphasis == "comfyui" and bool((weights != 1.0).any()):
            blank, _ = _padded([[]], window, tokenizer)
            empty, _ = self._layers(encoder, blank, hidden=hidden)
        states = emphasise(states, weights, self.emphasis, empty)
        count = sum(len(part) for part in parts)
        return states.reshape(1, -1, states.shape[-1]), pooled[:1], count

    def _layers(self, encoder: Any, ids: torch.Tensor, *, hidden: bool) -> tuple[torch.Tensor, torch.Tensor]:
        core = getattr(encoder, "text_model", encoder)
        layers = int(encoder.config.num_hidden_layers)
        if not 0 <= self.clip_skip < layers - int(hidden):
            raise InputError(
                f"clip_skip {self.clip_skip} leaves no layer of a text encoder of {layers}",
                code="prompt.clip-skip",
                hint="0 is what the model was trained with; 1 is A1111's clip skip 2",
            )
        mask = None
        if getattr(encoder.config, "use_attention_mask", False):
            mask = torch.ones_like(ids)
        out = encoder(ids.to(self.placed.device), attention_mask=mask, output_hidden_states=True)
        pooled = out.text_embeds if hasattr(out, "text_embeds") else out.pooler_output
        if hidden:
            return out.hidden_states[-(self.clip_skip + 2)], pooled
        if self.clip_skip == 0:
            return out.last_hidden_state, pooled
        return core.final_layer_norm(out.hidden_states[-(self.clip_skip + 1)]), pooled

    def _t5(self, encoder: Any, tokenizer: Any, tokens: _Tokens) -> tuple[torch.Tensor, int, int]:
        limit = min(int(tokenizer.model_max_length), _T5_TOKENS) - 1
        pairs = [(token, weight) for token, weight in tokens if isinstance(token, int)]
        kept = pairs[:limit]
        pad = int(tokenizer.pad_token_id)
        ids = [token for token, _ in kept] + [int(tokenizer.eos_token_id)]
        weights = [weight for _, weight in kept] + [1.0]
        ids += [pad] * (limit + 1 - len(ids))
        weights += [1.0] * (limit + 1 - len(weights))
        states = encoder(torch.tensor([ids], device=self.placed.device))[0]
        rule: Emphasis = "a1111" if self.emphasis == "comfyui" else self.emphasis
        states = emphasise(states, torch.tensor([weights]), rule, None)
        return states, len(pairs), len(pairs) - len(kept)


def emphasise(
    states: torch.Tensor, weights: torch.Tensor, rule: Emphasis, empty: torch.Tensor | None
) -> torch.Tensor:
    """Return embeddings with their tokens' weights applied.

    Parameters
    ----------
    states : (chunks, tokens, channels)
    weights : (chunks, tokens)
    rule : {'a1111', 'comfyui', 'none'}
        ``a1111`` multiplies, then scales each chunk so that its mean is what it was. ``comfyui`` goes from ``empty``
        towards the embedding by the weight.
    empty : (1, tokens, channels) or None
        The embeddings of an empty text, for ``comfyui``.
    """
    if rule == "none" or bool((weights == 1.0).all()):
        return states
    factor = weights.to(states)[..., None]
    if rule == "comfyui" and empty is not None:
        return torch.where(factor == 1.0, states, empty + (states - empty) * factor)
    weighted = states * factor
    means = states.mean(dim=(1, 2), keepdim=True) / weighted.mean(dim=(1, 2), keepdim=True)
    return weighted * means


def chunks(
    tokens: Sequence[tuple[Token, float]], window: int, comma: int | None
) -> list[list[tuple[Place, float]]]:
    """Cut tokens into chunks of at most ``window``, as A1111 does.

    A chunk ends where it is full, but when a comma is among its last 20 tokens, what follows the comma moves on to the
    next. An embedding that does not fit moves on as a whole. None begins a new chunk (``BREAK``). There is always at
    least one chunk.
    """
    done: list[list[tuple[Place, float]]] = []
    now: list[tuple[Place, float]] = []
    last_comma = -1
    for token, weight in tokens:
        if token is None:
            done.append(now)
            now, last_comma = [], -1
            continue
        if token == comma:
            last_comma = len(now)
        elif len(now) == window and last_comma != -1 and len(now) - last_comma <= _BACKTRACK:
            done.append(now[: last_comma + 1])
            now, last_comma = now[last_comma + 1 :], -1
        if len(now) + (token.count if isinstance(token, Embedding) else 1) > window:
            done.append(now)
            now, last_comma = [], -1
        if isinstance(token, Embedding):
            now += [((token, row), weight) for row in range(token.count)]
        else:
            now.append((token, weight))
    if now or not done:
        done.append(now)
    return done


def _padded(
    parts: list[list[tuple[Place, float]]], window: int, tokenizer: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens and weights; where an embedding's vectors belong, the token is 0."""
    begin, end = int(tokenizer.bos_token_id), int(tokenizer.eos_token_id)
    pad = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end)
    plain = [[token if isinstance(token, int) else 0 for token, _ in part] for part in parts]
    ids = [[begin, *part, end, *([pad] * (window - len(part)))] for part in plain]
    weights = [[1.0, *(weight for _, weight in part), *([1.0] * (window - len(part) + 1))] for part in parts]
    return torch.tensor(ids), torch.tensor(weights)


def _rows(parts: list[list[tuple[Place, float]]], width: int) -> dict[tuple[int, int], torch.Tensor]:
    """Return the vectors of embeddings by chunk and place, for an encoder of this width."""
    return {
        (chunk, place): token[0].vectors[width][token[1]]
        for chunk, part in enumerate(parts)
        for place, (token, _) in enumerate(part, 1)  # the first is the token that begins a text
        if not isinstance(token, int)
    }


def _comma(tokenizer: Any) -> int | None:
    ids = tokenizer(",", add_special_tokens=False).input_ids
    return int(ids[0]) if len(ids) == 1 else None
