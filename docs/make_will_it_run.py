"""Write docs/will-it-run.md and its plot from the planner that `reknit check` asks.

Run ``python docs/make_will_it_run.py``; a test fails when the page is not what this makes.
"""

from __future__ import annotations

from math import log2
from pathlib import Path

from reknit.models import catalog
from reknit.planner import facts, fit, hardware, memory, published, tiers, verdict
from reknit.planner.facts import BYTES, GIB, Subject
from reknit.planner.laws import laws
from reknit.planner.memory import Setup
from reknit.planner.verdict import Verdict, seconds

PAGE = Path(__file__).with_name("will-it-run.md")
PLOT = Path(__file__).with_name("images") / "will-it-run.svg"

MODELS = ("sd15-inpainting", "sd2-inpainting", "sdxl-inpainting", "flux-fill-q4", "flux-fill-q6", "flux-fill")
OTHERS = ("sd35-medium", "chroma", "flux-kontext", "z-image", "qwen-image")
CARDS = (
    "GTX 1660 SUPER",
    "RTX 3060 12 GB",
    "RTX 4060",
    "RTX 4070",
    "RTX 4090",
    "RX 7900 XTX",
    "M2 Pro (19-core)",
)
SIDES = (512, 768, 1024, 1536)
RAM_GIB = 32

HEAD = """# Will it run?

`reknit check` answers before anything is downloaded: whether a model fits a card or this machine, with which settings,
how much memory it takes and how long. This page is made from the same code by `docs/make_will_it_run.py`.

```sh
reknit check flux-fill --gpu "RTX 3060 12GB" --size 1024
reknit check --all                 # every model on this machine, as it is now
reknit check sdxl --vram 8         # on every card of 8 GiB
```

In Python: `reknit.check("flux-fill", gpu="RTX 3060 12GB", size=1024)`; over HTTP:
`GET /api/v1/check?model=flux-fill&gpu=RTX+3060+12GB`, and the page shows the answer beside each model. `--count 4` asks
for variations: as many as fit are painted together.

## On this machine

Every fill by a diffusion model says in its notes what was predicted and what it took, and is kept in the models' folder
(`runs.jsonl`: the device, the settings, the peak and the seconds; nothing of the picture). `reknit bench fit` measures
the machine for a few seconds (matrices, dispatch, link, disk), learns from the last five fills of each family how much
of the predicted activations and time there really were, and predictions for this machine go by that from then on.

When memory runs out all the same, a fill lets go of everything, takes the next way that needs clearly less, and goes on
from the last finished stage: a picture that was painted and could not be decoded is decoded, not painted again. It does
so three times at most and says each step in its notes; then the error says what would fit.
"""


def page() -> str:
    """Return the page's text."""
    return "\n".join(
        (HEAD, _by_card(), _by_size(), _by_format(), _rules(), _accuracy(), _constants(), _limits())
    )


def _model(name: str) -> Subject:
    found = facts.subject(catalog.find(name))
    assert found is not None
    return found


def _check(name: str, card: str, **given: int) -> Verdict:
    device = hardware.find(card)
    budget = tiers.of_name(device, laws())
    budget = tiers.Budget(device=budget.device, ram=RAM_GIB * GIB)
    return verdict.check(_model(name), device, budget=budget, **given)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


_SHORT = {"tiled": "tiles", "model": "offload", "group": "streamed", "sequential": "by layer"}


def _by_card() -> str:
    rows: list[tuple[str, ...]] = []
    for name in (*MODELS, *OTHERS):
        cells: list[str] = []
        for card in CARDS:
            found = _check(name, card)
            words = [_SHORT.get(word, word) for word in found.plan.tier.name.split("-")]
            how = "" if found.answer == "yes" else f"<br>{', '.join(words)}"
            cells.append(seconds(found.plan.times.image) + how if found.fits else "no")
        rows.append((f"`{name}`", *cells))
    return f"""## On common cards

Seconds for one picture at the size each model was trained for, and the settings that Reknit would use, with
{RAM_GIB} GiB of main memory. *tiles*: the decoder works in tiles. *offload*: one part at a time on the card.
*streamed*: layers come from main memory as they are needed. *nf4*, *fp8*: weights in fewer bits. *smaller*: worked at a
smaller size.

""" + _table(("model", *CARDS), rows)


def _by_size() -> str:
    rows: list[tuple[str, ...]] = []
    card = hardware.find("RTX 4090")
    for name in MODELS:
        for tier in ("resident", "tiled", "model", "group"):
            peaks: list[str] = []
            for side in SIDES:
                every = tiers.options(_model(name), card, laws(), width=side, height=side)
                found = next((o for o in every if o.tier.name == tier), None)
                peaks.append("" if found is None else f"{found.memory.total / GIB:.1f}")
            says = {"resident": "everything on the card", "tiled": "+ tiles", "model": "+ offload"}
            rows.append((f"`{name}`" if tier == "resident" else "", says.get(tier, "streamed"), *peaks))
    return """## Peak video memory by size

GiB as the driver sees it, on NVIDIA cards with 16-bit arithmetic; empty where tiles change nothing.

![Peak video memory against the picture's side, by model](images/will-it-run.svg)

""" + _table(("model", "", *(f"{side}²" for side in SIDES)), rows)


def _by_format() -> str:
    names = ("sd15-unet", "sd2-unet", "sdxl-unet", "flux-fill-dit", "t5-xxl")
    formats = ("fp32", "half", "fp8", "q8_0", "q6_k", "q5_k", "q4_k", "nf4")
    parts = facts.components()
    rows = [
        (
            f"`{name}`",
            f"{parts[name].params:,}",
            *(f"{parts[name].bytes(each) / GIB:.2f}" for each in formats),
        )
        for name in names
    ]
    assert set(formats) <= set(BYTES)
    return """## What weights take

GiB by format; *half* is fp16 or bf16. Only layers that multiply matrices shrink, so fewer bits gain little for SD 1.5
and 2. fp8 is diffusers' layerwise casting, which leaves FLUX's modulation in 16 bits.

""" + _table(("part", "parameters", *formats), rows)


def _rules() -> str:
    def peak(name: str, tier: str, side: int) -> str:
        every = tiers.options(_model(name), hardware.find("RTX 4090"), laws(), width=side, height=side)
        return f"{next(o for o in every if o.tier.name == tier).memory.total / GIB:.1f} GiB"

    flux = facts.components()["flux-fill-dit"].bytes("half") / 1e9
    q4, q6 = (_check(name, "RTX 3060 12 GB") for name in ("flux-fill-q4", "flux-fill-q6"))
    sd_3060 = _check("sd15-inpainting", "RTX 3060 12 GB", steps=20).plan.times.image
    sd_m1 = verdict.check(_model("sd15-inpainting"), hardware.find("M1 (8-core)"), steps=20).plan.times.image
    rows = [
        (
            "6 GB runs SD 1.5 inpainting at 512×512",
            "true",
            f"{peak('sd15-inpainting', 'resident', 512)} with everything on the card. GTX 16 "
            "cards are the exception: they need fp32, and offload.",
        ),
        (
            "SDXL inpainting at 1024×1024 needs about 8 GB",
            "only with offload, about 9 with tiles",
            f"{peak('sdxl-inpainting', 'resident', 1024)} plainly (its decoder needs fp32), "
            f"{peak('sdxl-inpainting', 'tiled', 1024)} with tiles, "
            f"{peak('sdxl-inpainting', 'model', 1024)} with offload too.",
        ),
        (
            "FLUX.1 Fill at 1024×1024 needs about 12 GB in fp16",
            "false",
            f"Its transformer alone is {flux:.1f} GB. 12 GB is right for Q4 "
            f"({q4.plan.memory.total / GIB:.1f} GiB) to Q6 ({q6.plan.memory.total / GIB:.1f} GiB) with offload.",
        ),
        (
            "An RTX 3060 takes about 3 s for SD 1.5 at 512×512",
            "true at 20 steps",
            f"{sd_3060:.1f} s predicted.",
        ),
        (
            "An M1 with 8 GB takes about 8 s for that",
            "false",
            f"{sd_m1:.0f} s predicted for 20 steps; published runs say 21 to 40 s for 30.",
        ),
    ]
    return "## What people repeat\n\n" + _table(("they say", "it is", "because"), rows)


def _accuracy() -> str:
    blind = fit.out_of_fold(laws(), published.rows())
    found = fit.summary(laws(), published.rows(), blind)
    unset = sum(bool(each.unset) for each in blind)
    rows = [
        (kind, use, f"{off['rows']:.0f}", *(f"{off[each]:.1%}" for each in ("median", "p90", "max")))
        for kind, uses in found.items()
        for use, off in uses.items()
    ]
    low, high = laws().memory
    quick, slow = laws().time
    failed = sum(row.metric == "oom" for row in published.rows())
    return (
        """## How sure it is

Predictions are held against runs that others published (`reknit bench planner` prints every one, with its source). Rows
that a constant was set on are *fitted*; the others are *held out*. Which rows set a constant was chosen by hand, and
the laws' form was found with all rows in sight, so the errors of rows held out are smaller than those to be expected.
For *out of fold* the rows are taken in """
        + str(fit.FOLDS)
        + """ parts, all of one source in the same part; each part is predicted by constants
that all rows of the other parts set, without choosing. That is the figure to go by. Absolute errors:

"""
        + _table(("of", "rows", "count", "median", "90th percentile", "largest"), rows)
        + f"""
The interval that is printed beside each prediction is where 90 % of the rows lay out of fold: {low:.2f} to {high:.2f}
times the predicted memory, {quick:.2f} to {slow:.2f} times the predicted time. That counts {unset} rows for which no
other source sets a constant that they hinge on, such as the only runs on a group of cards: a neutral value stands for
it there, and most of the largest errors are theirs. *likely* means that the prediction fits and the interval's end does
not. All {failed} published runs that ran out of memory are said not to fit. None of
these runs was made by Reknit: FLUX on NVIDIA cards is well covered, AMD, Intel and Apple thinly, so expect more there.
"""
    )


def _constants() -> str:
    rows: list[tuple[str, ...]] = []
    every = published.rows()
    for name, constant in laws().constants.items():
        ids = ", ".join(str(row.id) for row in every if row.fit == name)
        basis = (
            f"rows {ids}"
            if ids
            else f"{constant.basis}: {constant.note}"
            if constant.note
            else constant.basis
        )
        rows.append((f"`{name}`", f"{constant.value:g}", constant.unit, basis))
    return """## Constants

Peak memory = weights that are on the device together + activations beside them, as counted on torch's meta device, ×
what convolutions' workspaces add + what the allocator holds. Time of a call = the longest of dispatching its
operations, computing them at the device's dense rate × the efficiency of its group, and streaming its weights. Where
each constant was set:

""" + _table(("constant", "value", "of", "set on"), rows)


def _limits() -> str:
    return """## What is not in it

- Other programs' use of the card is measured where it is this machine, and guessed where a card is named.
- LoRA, ControlNet and other additions take memory of their own.
- Times are for current PyTorch with fused attention; compiling the denoiser is not counted.
- AMD and Intel figures rest on software of 2023 to 2025, which has since become faster.
"""


COLOURS = ("#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#cc79a7")
_W, _H, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 460, 56, 150, 34, 44
_LOW, _HIGH = 1.5, 64.0
_SIDES = range(384, 2049, 64)


def plot() -> str:
    """Return the plot as SVG: peak video memory against the side, everything on the card and least."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_W} {_H}" font-family="sans-serif" font-size="12">',
        "<title>Peak video memory against the picture's side, by model</title>",
        f'<rect width="{_W}" height="{_H}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="18" fill="#333333">Peak video memory, GiB — solid: everything on the card; '
        "dashed: tiles and offload</text>",
    ]
    for gib in (2, 4, 6, 8, 12, 16, 24, 32, 48):
        y = _y(gib)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_W - _RIGHT}" stroke="#dddddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#555555">{gib}</text>')
    for side in (512, 768, 1024, 1280, 1536, 1792, 2048):
        x = _x(side)
        parts.append(f'<path d="M{x:.1f} {_TOP}V{_H - _BOTTOM}" stroke="#eeeeee"/>')
        text = f'<text x="{x:.1f}" y="{_H - _BOTTOM + 18}" text-anchor="middle" fill="#555555">{side}</text>'
        parts.append(text)
    middle = (_LEFT + _W - _RIGHT) / 2
    label = f'<text x="{middle:.0f}" y="{_H - 8}" text-anchor="middle" fill="#333333">side of the square, pixels</text>'
    parts.append(label)
    ends: list[tuple[float, str, str]] = []
    for name, colour in zip(MODELS, COLOURS, strict=True):
        if name == "sd2-inpainting":
            continue  # it lies on SD 1.5
        solid, dashed = (_line(name, thrifty=thrifty) for thrifty in (False, True))
        parts.append(
            f'<path d="{dashed[0]}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="5 4"/>'
        )
        parts.append(f'<path d="{solid[0]}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        ends.append((solid[1], name, colour))
    last = -1e9
    for y, name, colour in sorted(ends):
        last = max(y, last + 15)
        parts.append(f'<text x="{_W - _RIGHT + 8}" y="{last + 4:.1f}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(name: str, *, thrifty: bool) -> tuple[str, float]:
    subject = _model(name)
    points: list[str] = []
    y = 0.0
    for side in _SIDES:
        quantised = subject.weights if subject.weights != "half" else None
        setup = Setup(
            family=subject.family,
            width=side,
            height=side,
            weights=quantised,
            text=subject.text if quantised else None,
            stored=subject.stored,
            tiled=thrifty,
            offload="model" if thrifty else "none",
        )
        y = _y(memory.predict(setup, laws()).total / GIB)
        points.append(f"{_x(side):.1f} {y:.1f}")
    return "M" + "L".join(points), y


def _x(side: float) -> float:
    share = (side - _SIDES[0]) / (_SIDES[-1] - _SIDES[0])
    return _LEFT + share * (_W - _LEFT - _RIGHT)


def _y(gib: float) -> float:
    share = log2(gib / _LOW) / log2(_HIGH / _LOW)
    return _H - _BOTTOM - share * (_H - _TOP - _BOTTOM)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    PLOT.write_text(plot(), encoding="utf-8")
    print(f"wrote {PAGE} and {PLOT}")  # noqa: T201
