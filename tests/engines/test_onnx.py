"""ONNX networks: every contract gives the right pixels, and runs stop, share and refuse as they should."""

import gc
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tests.oracles.networks import Net, build, write
from tests.patience import quick, until

from reknit.core.errors import Cancelled, EngineFailed, ExternalError, InputError, Unavailable
from reknit.core.image import Photo
from reknit.core.mask import Mask
from reknit.core.options import check_all
from reknit.core.progress import CancelToken, Reporter
from reknit.core.request import FillRequest
from reknit.engines import onnx as runtime
from reknit.engines.base import Crop
from reknit.engines.kept import KEPT
from reknit.engines.learned import NETWORK, LearnedEngine
from reknit.pipeline.fill import fill

pytest.importorskip("onnxruntime")

SEPARATE = [
    Net(),
    Net(output="0..255"),
    Net(image="0..255", output="0..255"),
    Net(image="0..255", output="0..1"),
    Net(image="-1..1", output="-1..1"),
    Net(image="-1..1", mask="0=hole", output="-1..1"),
    Net(mask="0=hole"),
    Net(image="0..255", mask="255=hole", output="0..255"),
    Net(image="uint8", mask="0=hole", output="uint8"),
    Net(image="uint8", mask="255=hole", output="uint8"),
    Net(image="uint8", mask="1=hole", output="uint8"),
    Net(image="uint8", mask="0=hole", output="0..1"),
    Net(dtype="float16"),
    Net(dtype="float16", output="0..255"),
    Net(channels_last=True),
    Net(channels_last=True, image="uint8", mask="255=hole", output="uint8"),
    Net(symbolic=True),
    Net(side=64),
    Net(side=64, output="0..255"),
    Net(side=64, channels_last=True),
    Net(side=64, image="uint8", mask="0=hole", output="uint8"),
    Net(noise=True, image="-1..1", mask="0=hole", output="-1..1", side=64),
]
JOINED = [
    Net(layout="image+mask"),
    Net(layout="image+mask", output="0..255"),
    Net(layout="image+mask", mask="0=hole"),
    Net(layout="image+mask", image="-1..1", output="-1..1"),
    Net(layout="mask+image"),
    Net(layout="mask+image", image="-1..1", mask="0.5-hole", output="-1..1"),
    Net(layout="mask+image", image="-1..1", mask="0.5-hole", output="-1..1", side=64),
    Net(layout="image+mask", channels_last=True),
]


def name_of(net: Net) -> str:
    size = "any" if net.side is None else str(net.side)
    place = "nhwc" if net.channels_last else "symbolic" if net.symbolic else "nchw"
    return f"{net.layout} {net.image} {net.mask} {net.output} {net.dtype} {place} {size}"


def engine_of(path: Path, **params: object) -> LearnedEngine:
    return NETWORK.configured(
        check_all(NETWORK.spec.options, {"model": str(path), **params}, owner="test"), None
    )


def picture(height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return a photo in two halves, red and green, and a hole in the red one."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:, : width // 2] = (200, 60, 20)
    pixels[:, width // 2 :] = (30, 180, 90)
    hole = np.zeros((height, width), bool)
    hole[height // 4 : height // 2, width // 8 : width // 4] = True
    return pixels, hole


def crop_of(pixels: NDArray[np.uint8], hole: NDArray[np.bool_]) -> Crop:
    return Crop(pixels=pixels, hole=hole, target=hole, source=~hole)


def run(engine: LearnedEngine, pixels: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return engine.load(threads=1).run(crop_of(pixels, hole), {}, 1, Reporter())


@pytest.mark.parametrize("told", [True, False], ids=["stated", "found out"])
@pytest.mark.parametrize("net", SEPARATE + JOINED, ids=name_of)
def test_each_contract_paints_the_mean_of_what_is_known(net: Net, told: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", net)
    contract = " ".join(f"{key}={word}" for key, word in net.stated.items()) if told else None
    pixels, hole = picture(64, 64)
    made = run(engine_of(path, contract=contract), pixels, hole)
    known = np.where(hole[..., None], 0, pixels).sum(axis=(0, 1)) / np.count_nonzero(~hole)
    assert np.abs(made[hole] - known).max() <= (3 if net.noise else 1.01), "the hole"
    assert np.abs(made[~hole].astype(int) - pixels[~hole]).max() <= (1 if net.dtype == "float16" else 0), (
        "the rest"
    )


def test_a_picture_goes_in_as_rgb_unless_the_contract_says_bgr(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", Net(tint=(0.5, 1.0, 1.0)))
    pixels, hole = picture(64, 64)
    mean = pixels[~hole].mean(axis=0)
    given = {"contract": "image=0..1 mask=1=hole output=0..1"}
    assert np.abs(run(engine_of(path, **given), pixels, hole)[hole] - mean * (0.5, 1, 1)).max() <= 1
    given = {"contract": "image=0..1 mask=1=hole output=0..1 channels=bgr"}
    assert np.abs(run(engine_of(path, **given), pixels, hole)[hole] - mean * (1, 1, 0.5)).max() <= 1


@pytest.mark.parametrize("size", [(40, 60), (61, 33), (90, 120), (200, 70), (7, 300)])
@pytest.mark.parametrize("side", [None, 64])
def test_scaling_and_padding_add_no_colour_and_move_nothing(
    size: tuple[int, int], side: int | None, tmp_path: Path
) -> None:
    path = write(tmp_path / "net.onnx", Net(side=side, ring_px=2, output="0..255"))
    pixels, hole = picture(*size)
    request = FillRequest(
        photo=Photo(pixels=pixels),
        mask=Mask.from_bool(hole),
        engine="network",
        params={"model": str(path), "side": 64},
        grow=0,
    )
    made = fill(request).photos[0].pixels
    assert np.abs(made[hole].astype(int) - (200, 60, 20)).max() <= 2
    far = np.s_[:, size[1] // 2 + 12 :]
    assert np.array_equal(made[far], pixels[far])


def test_a_network_of_another_kind_is_refused_by_name_of_its_inputs(tmp_path: Path) -> None:
    wrong = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, [1, 3, 224, 224])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3, 224, 224])
    graph = helper.make_graph(
        [helper.make_node("Relu", ["pixel_values"], ["logits"])], "other", [wrong], [logits]
    )
    path = tmp_path / "other.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    with pytest.raises(
        InputError, match="not an inpainting model Reknit knows: inputs pixel_values"
    ) as caught:
        engine_of(path)
    assert caught.value.code == "model.kind"
    assert "contract" in caught.value.hint


def test_a_network_that_fills_no_flat_picture_flat_has_to_be_stated(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", Net(tint=(0.0, 0.0, 9.0)))
    with pytest.raises(InputError) as caught:
        engine_of(path).load(threads=1)
    assert caught.value.code == "model.contract"
    assert "-p contract=" in caught.value.hint
    engine_of(path, contract="image=0..1 mask=1=hole output=0..1").load(threads=1)


@pytest.mark.parametrize(
    "contract", ["image", "image=0..2", "pixels=0..1", "layout=image+mask", "image=uint8", "output=uint8"]
)
def test_a_contract_that_does_not_suit_is_refused(contract: str, tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", Net())
    with pytest.raises(InputError) as caught:
        engine_of(path, contract=contract).load(threads=1)
    assert caught.value.code == "model.contract"


def test_a_damaged_file_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(write(tmp_path / "whole.onnx", Net()).read_bytes()[:-200])
    with pytest.raises(InputError) as caught:
        engine_of(path)
    assert caught.value.code == "model.damaged"


def test_what_onnxruntime_cannot_load_is_said_so(tmp_path: Path) -> None:
    model = build(Net())
    model.graph.node[0].op_type = "NoSuchOperator"
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ExternalError) as caught:
        engine_of(path).load(threads=1)
    assert caught.value.code == "model.unreadable"


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", Net())
    with pytest.raises(Unavailable) as caught:
        engine_of(path, device="coreml").load(threads=1)
    assert caught.value.code == "device.missing"
    assert "cpu" in caught.value.hint


def test_a_run_ends_soon_after_a_cancel_and_the_session_stays_usable(tmp_path: Path) -> None:
    session = engine_of(write(tmp_path / "net.onnx", Net(heavy=40))).load(threads=1)
    pixels, hole = picture(1024, 1024)

    def cancelled() -> float:
        token, at = CancelToken(), []

        def cancel() -> None:
            at.append(time.perf_counter())
            token.cancel()

        threading.Timer(0.3, cancel).start()
        with pytest.raises(Cancelled):
            session.run(crop_of(pixels, hole), {}, 1, Reporter(None, token))
        return time.perf_counter() - at[0]

    quick(0.5, cancelled)

    def running() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "reknit-network"]

    quick(2, lambda: until(lambda: not running()) and None)  # the run does not go on
    pixels, hole = picture(64, 64)
    assert session.run(crop_of(pixels, hole), {}, 1, Reporter()).shape == pixels.shape


def test_a_cancelled_run_leaves_others_alone(tmp_path: Path) -> None:
    engine = engine_of(write(tmp_path / "net.onnx", Net(heavy=30)))
    pixels, hole = picture(512, 512)
    one, other = engine.load(threads=1), engine.load(threads=1)
    token, results = CancelToken(), []
    thread = threading.Thread(
        target=lambda: results.append(other.run(crop_of(pixels, hole), {}, 1, Reporter()))
    )
    thread.start()
    threading.Timer(0.1, token.cancel).start()
    large, its_hole = picture(1536, 1536)
    with pytest.raises(Cancelled):
        one.run(crop_of(large, its_hole), {}, 1, Reporter(None, token))
    thread.join()
    assert len(results) == 1


def test_a_file_is_loaded_once_for_all_sessions_and_let_go(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", Net())
    KEPT.free()
    first, again, two = (runtime.load(path, threads=n) for n in (1, 1, 2))
    assert first is again
    assert first is not two
    assert (first.threads, two.threads) == (1, 2)
    watch, first, again = weakref.ref(first.session), two, two
    gc.collect()
    assert watch() is None, "the copy for another number of threads is gone"
    write(path, Net(output="0..255"))
    assert runtime.load(path, threads=1) is not first, "the file changed"
    KEPT.free()
    assert runtime.load(path, threads=2) is not two


def test_loaded_files_stay_under_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [write(tmp_path / f"{i}.onnx", Net()) for i in range(3)]
    KEPT.free()
    monkeypatch.setattr(KEPT, "_most", 2 * paths[0].stat().st_size)
    first, *_ = [runtime.load(path, threads=1) for path in paths]
    assert runtime.load(paths[2], threads=1) is runtime.load(paths[2], threads=1)
    assert runtime.load(paths[0], threads=1) is not first


def test_a_network_that_cannot_run_is_an_error_of_the_engine(tmp_path: Path) -> None:
    session = engine_of(write(tmp_path / "net.onnx", Net(side=64))).load(threads=1)
    pixels, hole = picture(64, 96)
    with pytest.raises(EngineFailed) as caught:
        session.run(crop_of(pixels, hole), {}, 1, Reporter())
    assert caught.value.code == "engine.onnx"


@pytest.mark.parametrize(
    "net", [Net(), Net(dtype="float16"), Net(image="uint8", mask="0=hole", output="uint8")], ids=name_of
)
def test_pictures_bound_to_a_devices_memory_come_back_the_same(
    net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, hole = picture(96, 64)
    path = write(tmp_path / "net.onnx", net)
    stated = " ".join(f"{key}={value}" for key, value in net.stated.items())
    plain = run(engine_of(path, contract=stated), pixels, hole)
    monkeypatch.setattr(runtime, "BOUND", {"cpu": "cpu"})
    calls: list[str] = []
    bound = runtime.OnnxRun._bound
    monkeypatch.setattr(runtime.OnnxRun, "_bound", lambda self: calls.append(self.memory) or bound(self))
    assert np.array_equal(run(engine_of(path, contract=stated), pixels, hole), plain)
    assert calls == ["cpu"]


class Module:
    """onnxruntime on a machine that says it has all devices, where CUDA's libraries may be missing."""

    def __init__(self, *there: str) -> None:
        import onnxruntime

        self._real, self._there = onnxruntime, there
        self.asked: list[list[str]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def get_available_providers(self) -> list[str]:
        return list(runtime.PROVIDERS.values())

    def InferenceSession(self, path: str, options: object, providers: list[str]) -> object:  # noqa: N802
        self.asked.append(providers)
        session = self._real.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        first = providers[0] if providers[0] in self._there else "CPUExecutionProvider"
        return Shown(session, [first])


class Shown:
    """A session that says where it runs."""

    def __init__(self, session: object, providers: list[str]) -> None:
        self._session, self._providers = session, providers

    def __getattr__(self, name: str) -> object:
        return getattr(self._session, name)

    def get_providers(self) -> list[str]:
        return self._providers


def test_the_quickest_device_is_taken_and_the_processor_where_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "net.onnx", Net())
    whole, broken = Module(*runtime.PROVIDERS.values()), Module()
    for module, device in ((whole, "cuda"), (broken, "cpu")):
        KEPT.free()
        monkeypatch.setattr(runtime, "_module", lambda module=module: module)
        assert runtime.load(path, threads=1).device == device
        assert module.asked == [["CUDAExecutionProvider", "CPUExecutionProvider"]]
    for device in ("directml", "coreml"):
        monkeypatch.setattr(runtime, "_module", lambda: whole)
        assert runtime.load(path, threads=1, device=device).device == device
    KEPT.free()
    monkeypatch.setattr(runtime, "_module", lambda: broken)
    with pytest.raises(Unavailable, match="cannot use cuda") as caught:
        runtime.load(path, threads=1, device="cuda")
    assert "libraries" in str(caught.value.hint)
    KEPT.free()


def test_noise_comes_from_the_seed(tmp_path: Path) -> None:
    session = engine_of(write(tmp_path / "net.onnx", Net(noise=True))).load(threads=1)
    pixels, hole = picture(64, 64)
    one, again, other = (session.run(crop_of(pixels, hole), {}, seed, Reporter()) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
