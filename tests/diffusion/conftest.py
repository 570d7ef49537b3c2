"""Nothing in these tests may reach for the network; networks this small compute fastest on one thread."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse every connection."""

    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError(f"a test of diffusion reaches for the network: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Compute on one thread: several wait for each other longer than they work, the more on a busy machine."""
    with suppress(ImportError):
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(before)
        return
    yield
