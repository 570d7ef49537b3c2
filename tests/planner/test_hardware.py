"""Devices: enough of them, each with a source, found by what people type and what drivers say."""

import pytest

from reknit.core.errors import NotFound
from reknit.planner import hardware
from reknit.planner.laws import laws


def test_there_are_devices_of_every_maker_each_with_its_source() -> None:
    every = hardware.devices().values()
    assert len(every) >= 120
    assert {each.vendor for each in every} == {"NVIDIA", "AMD", "Intel", "Apple"}
    for each in every:
        assert each.source.startswith("http"), each.name
        assert 0 < each.fp32 <= each.half * 1.01, each.name
        assert each.memory_gib >= 4 and each.bandwidth >= 60, each.name
        assert (each.link == 0) == each.shared, each.name
        assert f"efficiency.{each.group}" in laws()


@pytest.mark.parametrize(
    "typed, name",
    [
        ("RTX 3060 12GB", "RTX 3060 12 GB"),
        ("rtx3060", "RTX 3060 12 GB"),
        ("RTX 3060 8 GB", "RTX 3060 8 GB"),
        ("NVIDIA GeForce RTX 3060 Laptop GPU", "RTX 3060 Mobile"),
        ("4090", "RTX 4090"),
        ("rtx 4070ti super", "RTX 4070 Ti SUPER"),
        ("GTX 1660 Super", "GTX 1660 SUPER"),
        ("7900 xtx", "RX 7900 XTX"),
        ("AMD Radeon RX 6700 XT", "RX 6700 XT"),
        ("arc a770", "Arc A770"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM4 80 GB"),
        ("Tesla T4", "Tesla T4"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM5 80 GB"),
        ("Apple M2 Pro", "M2 Pro (19-core)"),
        ("m1", "M1 (8-core)"),
    ],
)
def test_devices_are_found_by_what_people_and_drivers_call_them(typed: str, name: str) -> None:
    assert hardware.find(typed).name == name


def test_a_drivers_memory_decides_between_cards_of_one_name() -> None:
    assert hardware.find("NVIDIA GeForce RTX 4060 Ti", memory_gib=7.6).name == "RTX 4060 Ti 8 GB"
    assert hardware.find("NVIDIA GeForce RTX 4060 Ti", memory_gib=15.6).name == "RTX 4060 Ti 16 GB"
    assert hardware.find("m1 16gb").memory_gib == 16
    assert hardware.find("m1 8gb").memory_gib == 8


def test_an_unknown_device_is_an_error_that_helps() -> None:
    with pytest.raises(NotFound, match="no device") as caught:
        hardware.find("RTX 9999")
    assert caught.value.code == "device.unknown"
    assert "--vram" in caught.value.hint
