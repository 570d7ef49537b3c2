"""``python -m reknit.server.worker``: the process that does the work of one device.

It is a composition root: it makes the store, the pictures and the handlers, warms them, and hands over to
`jobs.worker`. Commands come on standard input and events go to standard output, which nothing else may use.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from reknit.config import load as load_settings
from reknit.config import model_store, usable_threads
from reknit.core.codec import Limits
from reknit.engines.base import Models
from reknit.jobs.blobs import Blobs
from reknit.jobs.store import Store
from reknit.jobs.worker import serve, take_pipes
from reknit.models.store import Store as ModelStore
from reknit.server import batch_work
from reknit.server.comfy_work import KIND, Prompts
from reknit.server.pictures import Pictures
from reknit.server.rooms import ServeSettings
from reknit.server.tasks import Perform, handlers, perform_here


def command(settings: ServeSettings) -> list[str]:
    """Return the command that starts a worker, but for its ``--device``."""
    return [
        sys.executable, "-m", "reknit.server.worker",
        "--data-dir", str(settings.data_dir),
        "--models-dir", str(settings.models),
        "--threads", str(settings.threads or usable_threads()),
        "--cache-bytes", str(settings.cache_bytes),
        "--max-pixels", str(settings.limits.max_pixels),
        "--max-bytes", str(settings.limits.max_bytes),
        *(part for root in settings.batch_roots for part in ("--batch-root", str(root))),
        *(() if settings.ray is None else ("--ray", settings.ray)),
    ]  # fmt: skip


def folders(data_dir: Path, models_dir: Path) -> dict[str, str]:
    """Return the settings that say where models lie."""
    return {"data_dir": str(data_dir), "models_dir": str(models_dir)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m reknit.server.worker", description="A worker of reknit serve."
    )
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--models-dir", type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--cache-bytes", type=int, required=True)
    parser.add_argument("--max-pixels", type=int, required=True)
    parser.add_argument("--max-bytes", type=int, required=True)
    parser.add_argument("--ray")
    parser.add_argument("--batch-root", type=Path, action="append", default=[])
    return parser.parse_args()


def warm() -> None:
    """Do a small fill from file to file, so that the first real one finds everything loaded."""
    import numpy as np

    import reknit.api
    from reknit.core import codec
    from reknit.core.image import Photo

    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    hole = np.zeros((64, 64), np.bool_)
    hole[24:40, 24:40] = True
    for container in ("png", "jpeg"):
        codec.decode(codec.encode(Photo.from_array(pixels), container=container).data)
    for engine in ("exemplar", "telea"):
        reknit.api.fill(pixels, hole, engine=engine, threads=1)


def main() -> None:
    """Serve one device until the commands end."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    given = _arguments()
    commands, events = take_pipes()
    settings = ServeSettings(data_dir=given.data_dir)
    if given.device == batch_work.KIND:
        _serve_batches(given, settings, commands, events)
        return
    limits = Limits(max_bytes=given.max_bytes, max_pixels=given.max_pixels)
    pictures = Pictures(
        Blobs(settings.blobs_dir), settings.pictures_dir, limits=limits, cache_bytes=given.cache_bytes
    )
    flags = folders(given.data_dir, given.models_dir)

    def models() -> ModelStore:
        return model_store(load_settings(flags))

    prompts = Prompts(settings.comfy_dir, threads=given.threads, models=models)
    serve(
        Store(settings.database),
        {**handlers(pictures, _perform(given, models)), KIND: prompts.run},
        name=given.device,
        commands=commands,
        events=events,
        but=batch_work.KIND if given.batch_root else None,
        free=prompts.free,
    )


def _perform(given: argparse.Namespace, models: Models) -> Perform:
    """Return what does requests: this process, or a cluster."""
    if given.ray is not None:
        from reknit.server.on_ray import perform_there

        return perform_there(given.ray)
    warm()
    return partial(perform_here, threads=given.threads, models=models)


def _serve_batches(
    given: argparse.Namespace, settings: ServeSettings, commands: BinaryIO, events: BinaryIO
) -> None:
    """Run batches, one at a time and behind what people wait for."""
    with suppress(OSError, AttributeError):
        os.nice(batch_work.NICE)
    os.environ |= {
        f"REKNIT_{name.upper()}": text for name, text in folders(given.data_dir, given.models_dir).items()
    }
    work = batch_work.handlers(given.batch_root, max_pixels=given.max_pixels, max_bytes=given.max_bytes)
    serve(
        Store(settings.database),
        work,
        name=given.device,
        commands=commands,
        events=events,
        kind=batch_work.KIND,
    )


if __name__ == "__main__":
    main()
