"""TorchScript networks: the same contracts, the same pixels. Needs PyTorch."""

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reknit.core.errors import ExternalError, InputError
from reknit.core.options import check_all
from reknit.core.progress import Reporter
from reknit.engines import torchscript
from reknit.engines.base import Crop
from reknit.engines.kept import KEPT
from reknit.engines.learned import NETWORK, LearnedEngine
from reknit.engines.torch_ways import BF16, CHANNELS_LAST, PLAIN, Way

torch = pytest.importorskip("torch", reason="TorchScript models need PyTorch")
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


class Separate(torch.nn.Module):
    """big-lama.pt's way: a picture and a mask of 0 to 1."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Paint the hole with the mean of what is known."""
        image = image.clamp(0.0, 1.0)
        known = (mask < 0.5).float()
        mean = (image * known).sum([2, 3], keepdim=True) / known.sum([2, 3], keepdim=True)
        return image * known + mean * (1 - known)


class Convolved(torch.nn.Module):
    """Gives the picture back, through a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.same = torch.nn.Conv2d(3, 3, 1, bias=False)
        self.same.weight.data = torch.eye(3)[:, :, None, None]

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return ``image``."""
        return self.same(image * (1 - mask))


class Joined(torch.nn.Module):
    """MI-GAN's way: 0.5 − mask first, then a picture of −1 to 1 with the hole at 0."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Paint the hole with the mean of what is known."""
        known = (given[:, :1] > 0).float()
        image = given[:, 1:].clamp(-1.0, 1.0)
        mean = (image * known).sum([2, 3], keepdim=True) / known.sum([2, 3], keepdim=True)
        return image * known + mean * (1 - known)


class Three(torch.nn.Module):
    """No inpainting network."""

    def forward(self, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Add three tensors."""
        return a + b + c


def saved(module: torch.nn.Module, path: Path) -> Path:
    torch.jit.script(module.eval()).save(str(path))
    return path


def engine_of(path: Path, **params: object) -> LearnedEngine:
    return NETWORK.configured(
        check_all(NETWORK.spec.options, {"model": str(path), **params}, owner="test"), None
    )


def picture() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    pixels = np.empty((64, 72, 3), np.uint8)
    pixels[:, :30] = (200, 60, 20)
    pixels[:, 30:] = (30, 180, 90)
    hole = np.zeros((64, 72), bool)
    hole[10:30, 20:40] = True
    return pixels, hole


@pytest.mark.parametrize(
    ("module", "stated"),
    [
        (Separate, "image=0..1 mask=1=hole output=0..1"),
        (Separate, None),
        (Joined, "layout=mask+image image=-1..1 mask=0.5-hole output=-1..1"),
        (Joined, None),
    ],
)
def test_a_file_paints_the_mean_of_what_is_known(
    module: type[torch.nn.Module], stated: str | None, tmp_path: Path
) -> None:
    engine = engine_of(saved(module(), tmp_path / "net.pt"), contract=stated)
    pixels, hole = picture()
    crop = Crop(pixels=pixels, hole=hole, target=hole, source=~hole)
    made = engine.load(threads=1).run(crop, {}, 1, Reporter())
    assert np.abs(made[hole] - pixels[~hole].mean(axis=0)).max() <= 1.01
    assert np.array_equal(made[~hole], pixels[~hole])
    assert engine.spec.size_rule.multiple == 8


def test_a_file_is_loaded_once_and_let_go(tmp_path: Path) -> None:
    path = saved(Separate(), tmp_path / "net.pt")
    first = torchscript.load(path, threads=1)
    assert torchscript.load(path, threads=2).module is first.module, "one copy for any number of threads"
    KEPT.free()
    assert torchscript.load(path, threads=1).module is not first.module


def test_networks_of_both_runtimes_make_room_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("reknit.engines.onnx")
    pytest.importorskip("onnxruntime")
    from tests.oracles.networks import Net, write

    one, other = saved(Separate(), tmp_path / "net.pt"), write(tmp_path / "net.onnx", Net())
    room = one.stat().st_size + other.stat().st_size
    KEPT.free()
    monkeypatch.setattr(KEPT, "_most", room)
    first = weakref.ref(torchscript.load(one, threads=1).module)
    onnx.load(other, threads=1, device="cpu")
    assert KEPT.held("cpu") == room
    assert first() is not None
    monkeypatch.setattr(KEPT, "_most", room - 1)
    newer = write(tmp_path / "newer.onnx", Net())
    onnx.load(newer, threads=1, device="cpu")
    gc.collect()
    assert first() is None, "the longest unused one goes, whatever runs it"
    assert KEPT.held("cpu") == 2 * newer.stat().st_size


@pytest.mark.parametrize("best", [PLAIN, CHANNELS_LAST, BF16], ids=lambda way: way.name)
def test_a_first_run_finds_the_best_way_and_later_processes_remember_it(
    best: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, notebook = saved(Convolved(), tmp_path / "net.pt"), tmp_path / "models" / "ways.json"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True, "cpu_name": "fake"})
    real = torchscript.chosen

    def told(run: Any, tried: Any) -> Any:
        """Let ``best`` seem the quickest."""
        now = [0.0]

        def ran(way: Way) -> Any:
            now[0] += 1.0 if way == best else 2.0
            return run(way)

        return real(ran, tried, clock=lambda: now[0])

    monkeypatch.setattr(torchscript, "chosen", told)
    rng = np.random.default_rng(0)
    image = rng.random((1, 3, 512, 512), np.float32)
    inputs = {"image": image, "mask": np.zeros((1, 1, 512, 512), np.float32)}
    KEPT.free()
    network = torchscript.load(path, threads=1, notebook=notebook)
    first = network.begin(inputs).infer()
    assert network.habit.best == {1: best}
    assert np.array_equal(network.begin(inputs).infer(), first), (
        "the first run's picture is the best way's too"
    )
    assert np.abs(first - image).mean() < 0.5 / 255
    assert (first.dtype, network.habit.layout.channels_last) == (np.float32, best.channels_last)
    small = {name: np.ascontiguousarray(value[..., :64, :64]) for name, value in inputs.items()}
    network.begin(small).infer()
    assert network.habit.layout == PLAIN, "small pictures are run the plain way"
    KEPT.free()
    monkeypatch.setattr(torchscript, "chosen", None)  # would fail if it were called
    again = torchscript.load(path, threads=1, notebook=notebook)
    assert np.array_equal(again.begin(inputs).infer(), first)


def test_a_pickle_is_no_model_and_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(ExternalError) as caught:
        engine_of(path).load(threads=1)
    assert caught.value.code == "model.unreadable"


def test_a_network_with_other_arguments_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not an inpainting model Reknit knows: inputs a") as caught:
        engine_of(saved(Three(), tmp_path / "net.pt")).load(threads=1)
    assert caught.value.code == "model.kind"
