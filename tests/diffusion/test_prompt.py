"""Prompts become embeddings: as diffusers' pipelines encode them, and beyond 77 tokens as A1111 does."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("diffusers")

from reknit.core.errors import InputError  # noqa: E402
from reknit.diffusion.emphasis import parse  # noqa: E402
from reknit.diffusion.prompt import chunks, emphasise, encode_prompt, encode_text  # noqa: E402
from reknit.diffusion.stage_cache import StageCache  # noqa: E402
from tests.diffusion.stages import pipeline, placed  # noqa: E402

PROMPT = "a photo of the red cat, very good"


def plain(count: int, comma_at: int | None = None) -> list[tuple[int | None, float]]:
    return [(7 if index == comma_at else 1, 1.0) for index in range(count)]


@pytest.mark.parametrize(
    ("tokens", "sizes"),
    [
        (plain(0), [0]),
        (plain(75), [75]),
        (plain(76), [75, 1]),
        (plain(80, comma_at=60), [61, 19]),  # what follows a near comma moves on
        (plain(80, comma_at=54), [75, 5]),  # the comma is more than 20 tokens back
        (plain(80, comma_at=55), [56, 24]),
        (plain(80, comma_at=75), [75, 5]),  # a comma that is itself too much
        ([*plain(3), (None, 1.0), *plain(2)], [3, 2]),
        ([(None, 1.0), *plain(2)], [0, 2]),
        ([*plain(2), (None, 1.0)], [2]),
    ],
)
def test_chunks_are_cut_as_a1111_cuts_them(tokens: list[tuple[int | None, float]], sizes: list[int]) -> None:
    assert [len(chunk) for chunk in chunks(tokens, 75, 7)] == sizes


def test_emphasis_keeps_the_mean_of_each_chunk() -> None:
    states = torch.rand(2, 4, 3) + 0.5
    weights = torch.tensor([[1.0, 1.5, 1.0, 1.0], [1.0, 1.0, 0.5, 1.0]])
    done = emphasise(states, weights, "a1111", None)
    torch.testing.assert_close(done.mean(dim=(1, 2)), states.mean(dim=(1, 2)))
    ratio = (done / states)[0, :, 0]
    assert ratio[1] / ratio[0] == pytest.approx(1.5)


def test_comfyuis_emphasis_goes_away_from_the_empty_text() -> None:
    states, empty = torch.rand(1, 3, 2), torch.rand(1, 3, 2)
    done = emphasise(states, torch.tensor([[1.0, 2.0, 1.0]]), "comfyui", empty)
    torch.testing.assert_close(done[0, 1], 2 * states[0, 1] - empty[0, 1])
    torch.testing.assert_close(done[0, 0], states[0, 0])


@pytest.mark.parametrize("skip", [0, 1])
@pytest.mark.parametrize("family", ["sd15", "sd2"])
def test_one_encoder_as_diffusers(family: str, skip: int) -> None:
    model = placed(family, "inpaint")
    pipe = pipeline(model)
    if skip:  # diffusers asks for a layer by a name that newer transformers do not have
        pipe.text_encoder.text_model = pipe.text_encoder
    with torch.inference_mode():
        want, bad = pipe.encode_prompt(PROMPT, "cpu", 1, True, "bad", clip_skip=skip or None)
    if skip:
        del pipe.text_encoder.text_model
    made = encode_prompt(model, PROMPT, "bad", clip_skip=skip)
    torch.testing.assert_close(made.positive.embeds, want)
    if not skip:
        assert made.negative is not None
        torch.testing.assert_close(made.negative.embeds, bad)


@pytest.mark.parametrize("negative", ["bad", None])
def test_two_encoders_as_diffusers(negative: str | None) -> None:
    model = placed("sdxl", "inpaint")
    with torch.inference_mode():
        want, bad, pooled, bad_pooled = pipeline(model).encode_prompt(PROMPT, negative_prompt=negative)
    made = encode_prompt(model, PROMPT, negative or "")
    assert made.negative is not None
    torch.testing.assert_close(made.positive.embeds, want)
    torch.testing.assert_close(made.positive.pooled, pooled)
    torch.testing.assert_close(made.negative.embeds, bad)
    torch.testing.assert_close(made.negative.pooled, bad_pooled)


def test_flux_as_diffusers() -> None:
    model = placed("flux", "inpaint")
    with torch.inference_mode():
        want, pooled, _ = pipeline(model).encode_prompt(PROMPT)
    made = encode_prompt(model, PROMPT, None).positive
    torch.testing.assert_close(made.embeds, want)
    torch.testing.assert_close(made.pooled, pooled)


def test_a_long_prompt_is_encoded_in_chunks() -> None:
    model = placed("sd15", "inpaint")
    long = "cat " * 75 + "dog " * 10
    made = encode_text(model, long)
    assert made.embeds.shape[1] == 2 * 77
    assert made.tokens == 85
    torch.testing.assert_close(made.embeds[:, :77], encode_text(model, "cat " * 75).embeds)
    torch.testing.assert_close(made.embeds[:, 77:], encode_text(model, "dog " * 10).embeds)


def test_break_begins_a_chunk() -> None:
    model = placed("sdxl", "inpaint")
    made = encode_text(model, "red cat BREAK green grass")
    torch.testing.assert_close(made.embeds[:, 77:], encode_text(model, "green grass").embeds)
    torch.testing.assert_close(made.pooled, encode_text(model, "red cat").pooled)


def test_brackets_weigh_and_are_not_read() -> None:
    model = placed("sd15", "inpaint")
    plain_text = encode_text(model, "red cat on grass").embeds
    torch.testing.assert_close(encode_text(model, "red (cat:1.0) on grass").embeds, plain_text)
    heavy = encode_text(model, "red (cat:1.4) on grass").embeds
    ratio = heavy / plain_text
    assert float((ratio[0, 2] / ratio[0, 1]).median()) == pytest.approx(1.4, rel=1e-4)
    torch.testing.assert_close(
        encode_text(model, "red (cat:1.4) on grass", emphasis="none").embeds, plain_text
    )


def test_flux_says_what_it_left_out() -> None:
    model = placed("flux", "inpaint")
    made = encode_text(model, "cat " * 600)
    assert made.embeds.shape[1] == 512
    assert "89 tokens" in made.notes[0]


def test_a_foreign_tag_is_told() -> None:
    made = encode_prompt(placed("sd15", "inpaint"), "cat <hypernet:x>", "<lora:y:1> dog")
    assert made.notes == ("<hypernet:x> is not a tag of a LoRA and was left out of the prompt",)
    assert parse("<lora:y:1> dog").loras == (("y", 1.0),)


def test_too_much_clip_skip() -> None:
    with pytest.raises(InputError) as caught:
        encode_prompt(placed("sd15", "inpaint"), "cat", clip_skip=5)
    assert caught.value.code == "prompt.clip-skip"


def test_a_prompt_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, cache = placed("sd15", "inpaint"), StageCache()
    first = encode_prompt(model, PROMPT, "bad", cache=cache)
    encoder = model.checkpoint.text_encoders[0]

    def fail(*args: Any, **options: Any) -> None:
        raise AssertionError("encoded again")

    monkeypatch.setattr(encoder, "forward", fail)
    again = encode_prompt(model, PROMPT, "bad", cache=cache)
    assert again.positive is first.positive
    with pytest.raises(AssertionError):
        encode_prompt(model, PROMPT + ".", "bad", cache=cache)
