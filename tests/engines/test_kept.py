"""Loaded models: kept in order of use, evicted for room, one at a time on a device."""

import threading
import time

import pytest
from tests.patience import PATIENCE_S

from reknit.core.errors import Cancelled, Unavailable
from reknit.core.progress import Reporter
from reknit.engines.kept import Kept, free_of


class Device:
    """A device of ten units whose use is what was loaded and not evicted."""

    def __init__(self, size: float = 10.0) -> None:
        self.size = size
        self.log: list[str] = []
        self.kept = Kept(self.free, most_bytes=10)

    def free(self, device: str) -> float:
        return self.size - sum(int(str(key)[-1]) for key in self.kept.order())

    def load(self, name: str, device: str = "cuda:0") -> str:
        def loaded() -> str:
            self.log.append(name)
            if self.free(device) < int(name[-1]):
                raise Unavailable("no room", code="memory.out")
            return name

        return self.kept.get(name, loaded, device=device, size=int(name[-1]))


def test_a_kept_model_is_not_loaded_again() -> None:
    device = Device()
    assert [device.load(name) for name in ("a3", "a3", "b3", "a3")] == ["a3", "a3", "b3", "a3"]
    assert device.log == ["a3", "b3"]


@pytest.mark.parametrize("place", ["cuda:0", "cpu"])
def test_the_longest_unused_goes_when_there_is_no_room(place: str) -> None:
    device = Device()
    for name in ("a3", "b3", "a3", "c4", "b3", "a3"):
        device.load(name, place)
    assert device.log == ["a3", "b3", "c4", "b3", "a3"], "b went for c, a for b, c for a"
    assert device.kept.order() == ["b3", "a3"]


def test_switching_models_never_runs_out_of_memory() -> None:
    device = Device()
    for name in ("a9", "b8", "c7", "a9", "d6", "b8") * 3:
        device.load(name)
        assert device.free("cuda:0") >= 0


def test_other_programs_memory_evicts_too() -> None:
    device = Device()
    device.load("a3")
    device.size = 5.0  # another program took the rest
    device.load("b4")
    assert device.kept.order() == ["b4"]


def test_a_load_that_runs_out_is_tried_once_more_with_nothing_else_kept() -> None:
    device = Device()
    device.load("a3")
    tries: list[int] = []

    def unsized() -> str:
        tries.append(len(device.kept.order()))
        if device.kept.order():
            raise MemoryError
        return "big"

    assert device.kept.get("big", unsized, device="cuda:0", size=0) == "big"
    assert tries == [1, 0]
    with pytest.raises(MemoryError):
        Kept(lambda _: None).get("x", lambda: (_ for _ in ()).throw(MemoryError()), device="cpu", size=1)


def test_devices_have_room_of_their_own() -> None:
    kept = Kept(lambda _: 5.0)
    kept.get("a", lambda: 1, device="cuda:0", size=4)
    kept.get("b", lambda: 2, device="cuda:1", size=4)
    assert kept.order() == ["a", "b"]
    kept.free("cuda:0")
    assert kept.order() == ["b"]
    kept.drop("b")
    assert kept.order() == []


def test_a_device_is_one_requests_at_a_time_and_waiting_can_be_cancelled() -> None:
    kept, order = Kept(lambda _: None), list[str]()
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with kept.turn("cuda:0", Reporter()):
            inside.set()
            assert leave.wait(PATIENCE_S)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(PATIENCE_S)

    def stop(_: object) -> None:
        raise Cancelled

    with pytest.raises(Cancelled), kept.turn("cuda:0", Reporter(stop)):
        order.append("never")
    with kept.turn("cpu", Reporter()):
        order.append("other device")
    leave.set()
    with kept.turn("cuda:0", Reporter()):
        order.append("second")
    thread.join()
    assert order == ["other device", "first", "second"]


def test_main_memory_can_be_asked() -> None:
    assert (free_of("cpu") or 0) > 0
    assert free_of("nonsense") is None


def test_a_device_that_cannot_be_asked_keeps_so_much_and_no_more() -> None:
    kept = Kept(lambda _: None, most_bytes=10)
    for name in ("a", "b", "c"):
        kept.get(name, lambda: 1, device="directml", size=4)
    assert kept.order() == ["b", "c"]


def test_what_is_kept_can_be_had_while_another_model_is_loaded() -> None:
    kept = Kept(lambda _: 100.0)
    kept.get("a", lambda: "a", device="cuda", size=1)
    begun, done = threading.Event(), threading.Event()

    def slowly() -> str:
        begun.set()
        assert done.wait(PATIENCE_S)
        return "b"

    thread = threading.Thread(target=lambda: kept.get("b", slowly, device="cuda", size=1))
    thread.start()
    assert begun.wait(PATIENCE_S)
    assert kept.get("a", pytest.fail, device="cuda", size=1) == "a"
    assert kept.get("c", lambda: "c", device="cpu", size=1) == "c", "another device is not held up"
    done.set()
    thread.join()
    assert kept.order() == ["a", "c", "b"]


def test_a_model_asked_for_twice_at_once_is_loaded_once() -> None:
    kept, loads = Kept(lambda _: 100.0), list[int]()

    def slowly() -> str:
        loads.append(1)
        time.sleep(0.05)
        return "a"

    threads = [
        threading.Thread(target=lambda: kept.get("a", slowly, device="cuda", size=1)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == [1]


def test_one_that_does_not_suit_goes_before_it_is_loaded_anew() -> None:
    kept = Kept(lambda _: 100.0)
    kept.get("a", lambda: 1, device="cpu", size=1)

    def anew() -> int:
        assert kept.order() == []
        return 2

    assert kept.get("a", anew, device="cpu", size=1, suits=lambda value: value == 2) == 2
    assert kept.get("a", pytest.fail, device="cpu", size=1, suits=lambda value: value == 2) == 2
