from hypothesis import given
from hypothesis import strategies as st

from reknit.core.parameters import Parameters, parse, write

A1111 = """a wooden bench, (autumn:1.2)
second line
Negative prompt: blurry, watermark
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 42, Size: 512x768, Model hash: c6bbc15e32, \
Model: sd-v1-5-inpainting, Denoising strength: 0.75, Lora hashes: "detail: 0f1e, film: 2d3c", Mask blur: 4, \
Version: v1.10.1"""

words = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=30).map(str.strip)
keys = st.from_regex(r"[A-Z][a-z]{1,6}( [a-z]{1,5})?", fullmatch=True)
values = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=20).filter(
    lambda text: text == text.strip() and text and "\r" not in text
)


def test_a_text_of_the_original_is_understood():
    told = parse(A1111)
    assert told.prompt == "a wooden bench, (autumn:1.2)\nsecond line"
    assert told.negative_prompt == "blurry, watermark"
    assert told.values["Sampler"] == "DPM++ 2M"
    assert told.values["Size"] == "512x768"
    assert told.values["Lora hashes"] == "detail: 0f1e, film: 2d3c"
    assert told.values["Version"] == "v1.10.1"
    assert parse(write(told)) == told


def test_a_prompt_that_only_looks_like_pairs_stays_a_prompt():
    text = "a sign that says: no dogs, ratio 3:2"
    assert parse(text).prompt == text
    assert parse(text).values == {}


def test_empty_parts_are_left_out():
    values = {"Steps": "4", "Sampler": "Euler", "Model": "", "Seed": "1"}
    text = write(Parameters(prompt="", negative_prompt="", values=values))
    assert text == "Steps: 4, Sampler: Euler, Seed: 1"
    assert parse(text).prompt == ""


@given(words, words, st.dictionaries(keys, values, min_size=3, max_size=8))
def test_what_is_written_is_read(prompt, negative, pairs):
    told = parse(write(Parameters(prompt=prompt, negative_prompt=negative, values=pairs)))
    if not prompt.startswith("Negative prompt:"):
        assert told.prompt == prompt
        assert told.negative_prompt == negative
    assert dict(told.values) == pairs


@given(st.text(max_size=200))
def test_any_text_is_read(text):
    told = parse(text)
    assert isinstance(told.prompt, str)
