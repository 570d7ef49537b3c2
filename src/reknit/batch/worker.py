"""A worker process of a batch: items come in as JSON lines, outcomes go out.

The first line is the `Setup`. An empty line means that no item will follow: what is there is finished. When the lines
end without it, the parent is gone, and the process ends at once, even in the middle of native code: outputs appear
whole or not at all, so nothing is half done.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

from reknit.batch.item import Item, Outcome, Setup
from reknit.jobs.worker import take_pipes


def main() -> None:
    """Do the items that standard input names."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    commands, events = take_pipes()
    hello: dict[str, Any] = json.loads(commands.readline() or b"{}")
    if not hello:
        return
    from reknit.batch.line import work_off
    from reknit.batch.picture import Bench
    from reknit.config import load, model_store

    settings = load()
    bench = Bench(
        Setup.of(hello["setup"]),
        threads=hello["threads"],
        models=lambda: model_store(settings, plugins=False),
    )

    def tell(outcome: Outcome) -> None:
        events.write(json.dumps(outcome.to_dict(), separators=(",", ":"), default=str).encode() + b"\n")
        events.flush()

    try:
        work_off(_items(commands), bench, tell)
    except BrokenPipeError:
        os._exit(1)


def _items(commands: BinaryIO) -> Iterator[Item]:
    from queue import SimpleQueue
    from threading import Thread

    waiting: SimpleQueue[Item | None] = SimpleQueue()

    def listen() -> None:
        for line in commands:
            if line == b"\n":
                waiting.put(None)
            else:
                waiting.put(Item(**json.loads(line)))
        sys.stderr.flush()
        os._exit(1)

    Thread(target=listen, name="reknit-listen", daemon=True).start()
    while (item := waiting.get()) is not None:
        yield item


if __name__ == "__main__":
    main()
