"""Diffusion that runs out of memory: which tiers are tried, where it goes on, what is freed, who is not harmed.

Failures are injected where PyTorch itself would raise: while a model is brought to its device, in a text encoder, in
the VAE's encoder and decoder, in the denoiser. Networks are tiny; nothing else is changed.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from diffusers import AutoencoderKL, FluxTransformer2DModel, UNet2DConditionModel  # noqa: E402
from transformers import CLIPTextModel  # noqa: E402

import reknit  # noqa: E402
from reknit.core.errors import Unavailable  # noqa: E402
from reknit.diffusion import placed as placing  # noqa: E402
from reknit.engines import diffusion_painters, diffusion_placement  # noqa: E402
from reknit.engines.kept import KEPT  # noqa: E402
from reknit.pipeline import ways  # noqa: E402
from tests.diffusion import tiny  # noqa: E402

STAGES = ("load", "encode", "picture", "denoise", "decode")
TIERS = ("resident", "tiled", "model", "group", "sequential")
SAID = {
    "load": "placing the model on cpu",
    "encode": "reading the prompt",
    "picture": "encoding the picture",
    "denoise": "denoising",
    "decode": "decoding",
}
STEPS = 2
FEW = (
    pytest.mark.slow
)  # these load and hook networks many times over, and show what those always run show too
SMALL = {"steps": STEPS, "side": 64, "dtype": "float32"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory):
    """Return a function from family and kind to the folder of a tiny model."""
    root = tmp_path_factory.mktemp("models")

    def folder(family: str = "sd15", kind: str = "inpaint") -> str:
        path = root / f"{family}-{kind}"
        return str(path if path.exists() else tiny.tiny_folder(root, family, kind))

    yield folder
    KEPT.free()


@pytest.fixture(scope="module", autouse=True)
def few_objects():
    """Keep the collector from going through all of torch each time it is called."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


_plain: list[Any] = []


@pytest.fixture
def undisturbed(machine: Machine, models: Callable[..., str]) -> Any:
    """Return the picture of a fill with tiles that meets no failure, and how often each stage was called."""
    if not _plain:
        made = fill(models(), params={"vae_tiling": "on"})
        _plain.extend((made.to_numpy(), dict(machine.calls)))
    machine.log, machine.calls, machine.loaded, machine.alive_at_load = [], {}, [], []
    forget()
    return tuple(_plain)


def forget() -> None:
    """Have nothing loaded and no stage finished."""
    KEPT.free()
    diffusion_painters._stages.clear()
    diffusion_painters._undecoded.clear()


@dataclass
class Machine:
    """Where computing fails, and what was computed."""

    failing: set[tuple[str, str]] = field(default_factory=set)
    tier: str = ""
    log: list[str] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    loaded: list[weakref.ref[Any]] = field(default_factory=list)
    alive_at_load: list[int] = field(default_factory=list)

    def at(self, stage: str) -> None:
        """Take note of a stage, and fail if this is where."""
        self.calls[stage] = self.calls.get(stage, 0) + 1
        line = f"{stage}@{self.tier}"
        if not self.log or self.log[-1] != line:
            self.log.append(line)
        if (stage, self.tier) in self.failing:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has …")


def tier_of(placement: Any) -> str:
    if placement.offload != "none":
        return placement.offload
    return "tiled" if placement.vae_tiling else "resident"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A processor that is taken for a card: offloading is really done, and each stage can fail."""
    made = Machine()
    forget()
    monkeypatch.setattr(diffusion_placement, "chosen", lambda params: ("cuda", "float32"))
    monkeypatch.setattr(diffusion_placement, "free_of", lambda _: None)
    monkeypatch.setattr(ways, "free_of", lambda _: None)
    real_placement = diffusion_placement.placement_for

    def placement_for(params: Any, *, weight_bytes: int, area: int) -> Any:
        return replace(real_placement(params, weight_bytes=weight_bytes, area=area), device="cpu")

    monkeypatch.setattr(diffusion_placement, "placement_for", placement_for)
    real_arrange = placing._prepare

    def prepare(placed: Any) -> None:
        gc.collect()
        made.tier = tier_of(placed.placement)
        made.alive_at_load.append(sum(each() is not None for each in made.loaded))
        made.loaded.append(weakref.ref(placed.checkpoint.denoiser))
        made.at("load")
        real_arrange(placed)

    monkeypatch.setattr(placing, "_prepare", prepare)

    def wrap(cls: Any, name: str, stage: str) -> None:
        original = getattr(cls, name)

        def wrapped(self: Any, *args: Any, **options: Any) -> Any:
            made.at(stage)
            return original(self, *args, **options)

        monkeypatch.setattr(cls, name, wrapped)

    wrap(CLIPTextModel, "forward", "encode")
    wrap(AutoencoderKL, "encode", "picture")
    wrap(AutoencoderKL, "decode", "decode")
    wrap(UNet2DConditionModel, "forward", "denoise")
    wrap(FluxTransformer2DModel, "forward", "denoise")
    return made


def picture() -> np.ndarray:
    rng = np.random.default_rng(4)
    return np.kron(rng.integers(0, 255, (10, 14, 3), dtype=np.uint8), np.ones((12, 12, 1), np.uint8))


def fill(model: str, **given: Any) -> reknit.FillResult:
    mask = np.zeros(picture().shape[:2], bool)
    mask[40:80, 60:100] = True
    params = {**SMALL, **given.pop("params", {}), "model": model}
    return reknit.fill(picture(), mask, params=params, prompt="a cat", guidance=1.0, seed=3, **given)


def expected(stage: str, failing: tuple[str, ...], last: str) -> list[str]:
    """Return the stages in order when ``stage`` fails in each of some tiers and then goes through in ``last``."""
    at = STAGES.index(stage)
    log: list[str] = []
    done = 1
    for tier in failing:
        log += [f"load@{tier}"] + [f"{each}@{tier}" for each in STAGES[done : at + 1] if at]
        done = max(done, at)
    return [*log, f"load@{last}", *(f"{each}@{last}" for each in STAGES[done:])]


@pytest.mark.parametrize(
    "stage, failures",
    [("load", 1), ("denoise", 1), ("decode", 1)]
    + [pytest.param(stage, 1, marks=FEW) for stage in ("encode", "picture")]
    + [pytest.param(stage, failures, marks=FEW) for stage in STAGES for failures in (2, 3)],
)
def test_each_stage_may_fail_in_each_tier_and_nothing_finished_is_done_again(
    machine: Machine, models: Callable[..., str], undisturbed: Any, stage: str, failures: int
) -> None:
    whole, plain = undisturbed
    machine.failing = {(stage, tier) for tier in TIERS[:failures]}
    result = fill(models())
    assert machine.log == expected(stage, TIERS[:failures], TIERS[failures])
    said = [note for note in result.notes if "went on with" in note]
    assert len(said) == failures
    assert all(note.startswith(f"{SAID[stage]} ran out of memory, 2048 MiB more") for note in said)
    for other in STAGES[1:]:
        failed = failures if other == stage else 0
        assert machine.calls[other] == plain[other] + failed, f"{other} was done again"
    assert machine.alive_at_load == [0] * len(machine.alive_at_load), "let go of before the next is loaded"
    if stage in ("load", "encode"):  # all else of the picture was made in the same way
        assert np.abs(result.to_numpy().astype(int) - whole).max() <= 2
    assert result.report.outside_equal


def test_a_decode_that_fails_causes_no_second_denoising_for_any_variation(
    machine: Machine, models: Callable[..., str]
) -> None:
    machine.failing = {("decode", "resident")}
    result = fill(models(), count=2)
    assert len(result.photos) == 2
    assert machine.calls["denoise"] == 2 * STEPS
    assert machine.log.count("load@resident") == machine.log.count("load@tiled") == 1
    assert "resident" not in "".join(machine.log[machine.log.index("load@tiled") :])


@pytest.mark.parametrize(
    "stage", [stage if stage == "denoise" else pytest.param(stage, marks=FEW) for stage in STAGES]
)
def test_after_three_steps_down_it_is_an_error_that_says_what_would_fit(
    machine: Machine, models: Callable[..., str], stage: str
) -> None:
    machine.failing = {(stage, tier) for tier in TIERS}
    with pytest.raises(Unavailable) as caught:
        fill(models())
    error = caught.value
    assert error.code == "memory.out"
    assert error.message.startswith(SAID[stage])
    assert "4 times" in error.message
    assert error.hint.startswith("ask for layers fetched one by one from main memory")
    assert [line for line in machine.log if line.startswith("load")] == [f"load@{t}" for t in TIERS[:4]]
    assert error.facts["tried"][-1] == ["layers streamed from main memory"]
    assert KEPT.order() == []
    del error, caught
    gc.collect()
    assert [each() for each in machine.loaded] == [None] * 4, "nothing holds the networks any more"


@FEW
def test_the_next_request_begins_anew_as_if_nothing_had_happened(
    machine: Machine, models: Callable[..., str]
) -> None:
    machine.failing = {("denoise", tier) for tier in TIERS}
    with pytest.raises(Unavailable):
        fill(models())
    machine.failing, machine.log = set(), []
    assert fill(models()).report.outside_equal
    assert machine.log[0] == "load@resident"


def test_another_request_at_the_same_time_is_not_harmed(machine: Machine, models: Callable[..., str]) -> None:
    alone = fill(models(), params={"steps": 6}).to_numpy()
    other = models("sd15", "base")  # made here: two threads that build networks would disturb each other
    forget()
    failed: list[BaseException] = []

    def unlucky() -> None:
        try:
            fill(other)
        except BaseException as error:
            failed.append(error)

    # The other model's denoiser is a base model's: it takes 4 channels, and only its calls fail.
    forward = UNet2DConditionModel.forward

    def broken(self: Any, sample: Any, *args: Any, **options: Any) -> Any:
        if sample.shape[1] == 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(self, sample, *args, **options)

    UNet2DConditionModel.forward = broken
    try:
        thread = threading.Thread(target=unlucky)
        thread.start()
        made = [fill(models(), params={"steps": 6}) for _ in range(3)]
        thread.join()
    finally:
        UNet2DConditionModel.forward = forward
    assert isinstance(failed[0], Unavailable)
    assert failed[0].code == "memory.out"
    for result in made:
        assert np.array_equal(result.to_numpy(), alone)
        assert not any("went on with" in note for note in result.notes)


def test_painting_from_words_steps_down_too(machine: Machine, models: Callable[..., str]) -> None:
    from reknit.core.geometry import Size
    from reknit.pipeline.paint import PaintRequest, paint

    machine.failing = {("denoise", "resident"), ("decode", "tiled")}
    request = PaintRequest(
        size=Size(width=64, height=64),
        engine="diffusion",
        params={
            **SMALL,
            "model": models("sd15", "base"),
            "prompt": "a cat",
            "guidance": 1.0,
            "content": "noise",
        },
        count=2,
    )
    made = paint(request)
    assert len(made.photos) == 2
    assert [line for line in machine.log if line.startswith("load")] == [f"load@{t}" for t in TIERS[:3]]
    assert len([note for note in made.notes if "went on with" in note]) == 2


@FEW
def test_every_family_steps_down(machine: Machine, models: Callable[..., str]) -> None:
    for family in ("sdxl", "flux"):
        machine.log, machine.failing = [], {("decode", "resident"), ("denoise", "resident")}
        result = fill(models(family))
        loads = [line for line in machine.log if line.startswith("load")]
        assert loads == ["load@resident", "load@tiled"]
        assert result.report.outside_equal


def test_two_models_opened_at_once_do_not_leave_pytorch_changed(models: Callable[..., str]) -> None:
    """What builds networks without memory changes PyTorch's modules of the whole process."""
    from reknit.core.progress import Reporter
    from reknit.diffusion.checkpoint import open_checkpoint

    folders = [models("sd15", kind) for kind in ("inpaint", "base")]
    opened: list[Any] = []
    threads = [
        threading.Thread(target=lambda f=folder: opened.append(open_checkpoint(f, report=Reporter())))
        for folder in folders * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4
    assert all(not weight.is_meta for each in opened for weight in each.denoiser.parameters())
    assert torch.nn.Linear(2, 2).weight.device.type == "cpu"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1024 bytes"
        ),
    ],
    ids=lambda error: type(error).__name__,
)
def test_weights_that_cannot_be_held_are_not_said_to_be_damaged(
    models: Callable[..., str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    import safetensors.torch

    from reknit.core.progress import Reporter
    from reknit.diffusion.checkpoint import open_checkpoint

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(safetensors.torch, "load_file", fail)
    with pytest.raises(Unavailable) as caught:
        open_checkpoint(models(), report=Reporter())
    assert caught.value.code == "memory.out"
    assert caught.value.message.startswith("reading the weights ran out of memory")
