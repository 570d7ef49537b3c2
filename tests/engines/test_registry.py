"""Engines are found by name, and a broken plug-in breaks nothing else."""

import importlib.metadata
import logging

import pytest

from reknit.core.errors import EngineFailed
from reknit.engines import registry


def test_a_plug_in_that_cannot_be_loaded_is_left_out_of_the_listing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    point = importlib.metadata.EntryPoint(name="broken", value="no_such_module:X", group=registry.GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: (point,))
    with caplog.at_level(logging.WARNING):
        assert set(registry.every()) == set(registry.BUILT_IN)
    assert "no_such_module" in caplog.text
    with pytest.raises(EngineFailed, match="broken"):
        registry.get("broken")
