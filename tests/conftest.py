"""What every test may rely on, however the tests were started."""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

# The same examples on every run of continuous integration; new ones on a developer's machine.
settings.register_profile("steady", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("steady")


@pytest.fixture(autouse=True, scope="session")
def interrupts_arrive() -> Iterator[None]:
    """Listen to Ctrl-C: a shell that starts the tests in the background makes them, and their children, deaf."""
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
