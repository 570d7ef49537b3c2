"""What the server is made of: its settings, and the objects that are built once and shared by all routes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from starlette.requests import Request

from reknit.config import PLANNER_FILE
from reknit.core.codec import Limits
from reknit.engines.base import Models
from reknit.jobs.blobs import Blobs
from reknit.jobs.events import Hub
from reknit.jobs.store import FILE_NAME, Store
from reknit.jobs.supervisor import Supervisor
from reknit.pipeline.segment import Segmenter
from reknit.server.guard import Rules
from reknit.server.pictures import Pictures
from reknit.server.tiles import Tiles

GIB = 2**30
MAX_PIXELS = 300_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """How to serve.

    Attributes
    ----------
    data_dir : Path
        Where jobs and pictures are kept; one server at a time may use it.
    models_dir : Path or None
        Where downloaded models lie; None for a folder in ``data_dir``.
    rules : Rules
        What the guard enforces.
    limits : Limits
        What pictures may ask for, checked before they are decoded.
    devices : tuple of str
        One worker process for each.
    threads : int or None
        CPU threads of a worker; None for all.
    cache_bytes : int
        Memory for decoded pictures, in each process.
    max_queued : int
        More queued jobs than this are refused.
    defaults : mapping
        What ``engine``, ``grow`` and ``feather`` of a request are when it does not say; others as in
        `core.request.FILL_OPTIONS`.
    keep_s, keep_bytes, grace_s
        Finished jobs older than this go, oldest first, and so do they when their pictures need more bytes;
        a picture that no job names goes after ``grace_s``.
    batch_roots : tuple of Path
        Folders in which batches may read and write.
    ray : str or None
        Address of the Ray cluster whose engines do the work; None for the workers here.
    lease_s : float
        How long a worker may be silent before its job is given to another.
    """

    data_dir: Path
    models_dir: Path | None = None
    rules: Rules = field(default_factory=Rules)
    limits: Limits = field(default_factory=lambda: Limits(max_bytes=512 * 2**20, max_pixels=MAX_PIXELS))
    devices: tuple[str, ...] = ("cpu",)
    threads: int | None = None
    cache_bytes: int = GIB // 2
    max_queued: int = 1000
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    keep_s: float = 90 * 86400.0
    keep_bytes: int = 50 * GIB
    grace_s: float = 7 * 86400.0
    batch_roots: tuple[Path, ...] = ()
    ray: str | None = None

    @property
    def database(self) -> Path:
        """Where the jobs are kept."""
        return self.data_dir / FILE_NAME

    @property
    def blobs_dir(self) -> Path:
        """Where the pictures are kept."""
        return self.data_dir / "blobs"

    @property
    def comfy_dir(self) -> Path:
        """Where ComfyUI's clients find their folders ``input``, ``output`` and ``temp``."""
        return self.data_dir / "comfy"

    @property
    def models(self) -> Path:
        """Where downloaded models lie; those that select by a click in its folder ``sam``."""
        return self.models_dir or self.data_dir / "models"

    @property
    def planner(self) -> Path:
        """What `reknit bench fit` measured of this machine."""
        return self.data_dir / PLANNER_FILE

    @property
    def pictures_dir(self) -> Path:
        """Where facts of uploads are remembered."""
        return self.data_dir / "pictures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """The shared objects; ``models`` gives the models of learned engines on this machine."""

    settings: ServeSettings
    store: Store
    blobs: Blobs
    pictures: Pictures
    tiles: Tiles
    segmenter: Segmenter
    hub: Hub
    supervisor: Supervisor
    models: Models | None = None
    started: float = field(default_factory=time.time)


def rooms_of(request: Request) -> Rooms:
    """Return the shared objects of the application that ``request`` came to."""
    return cast(Rooms, request.app.state.rooms)
