"""The application: builds the shared objects, starts and stops the workers, and joins routes and guard.

This is the composition root of the server; nothing else makes a store, a picture cache or a supervisor. It
knows no terminal: `cli.serve` starts it and prints where it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from reknit.config import load as load_settings
from reknit.config import model_store
from reknit.core.errors import ExternalError, InputError, ReknitError, nearest_name
from reknit.jobs import retention
from reknit.jobs.blobs import Blobs
from reknit.jobs.events import Hub
from reknit.jobs.store import Store
from reknit.jobs.supervisor import Supervisor
from reknit.pipeline.segment import Segmenter
from reknit.server import (
    a1111,
    a1111_control,
    a1111_extras,
    a1111_progress,
    batch_routes,
    batch_work,
    catalogue_routes,
    comfy,
    comfy_files,
    comfy_lists,
    comfy_socket,
    job_routes,
    openai,
    openapi,
    picture_routes,
    problem,
    select_routes,
    static,
    worker,
)
from reknit.server.guard import Guard
from reknit.server.head import HeadAsGet
from reknit.server.metrics import Metrics, Observed
from reknit.server.pictures import Pictures
from reknit.server.problem import Json
from reknit.server.rooms import Rooms, ServeSettings
from reknit.server.tiles import Tiles

LOG = logging.getLogger("reknit.server")
PRUNE_EVERY_S = 3600.0
WEB = Path(__file__).parents[1] / "web"
DIALECTS = {
    **{each.START: (each.refused, each.of_problem) for each in (a1111, openai, comfy)},
    **{each.START: (a1111.refused, a1111.of_problem) for each in (a1111_progress, a1111_control)},
}
"""Where other programs' dialects begin, and how they tell errors and problems."""


def create_app(settings: ServeSettings) -> FastAPI:
    """Return the application; its workers start and stop with its lifespan.

    Raises
    ------
    ExternalError, Unavailable
        The data folder cannot be used.
    """
    app = FastAPI(
        title="Reknit",
        lifespan=_living,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        default_response_class=Json,
        redirect_slashes=False,
        exception_handlers={
            ReknitError: problem.answer,
            RequestValidationError: problem.answer,
            HTTPException: problem.answer,
        },
    )
    app.state.rooms = build(settings)
    app.state.metrics = Metrics()
    app.state.failure = None
    app.state.dialects = {start: told for start, (told, _) in DIALECTS.items()}
    shapes = {start: refused for start, (_, refused) in DIALECTS.items()}
    app.add_middleware(HeadAsGet)
    app.add_middleware(Guard, rules=settings.rules, shapes=shapes)
    app.add_middleware(Observed, metrics=app.state.metrics, shapes=shapes)
    for routes in (job_routes, batch_routes, picture_routes, select_routes, catalogue_routes):
        app.include_router(routes.router, dependencies=[Depends(known_query)])
    for dialect in (a1111_progress, a1111_control, a1111_extras, a1111, openai):
        app.include_router(dialect.router)
    for each in (comfy, comfy_files, comfy_lists, comfy_socket):
        app.include_router(each.router)
        app.include_router(each.router, prefix="/api")
    app.state.comfy = comfy.Desk()
    app.state.page = static.Folder(WEB)
    _add_page(app, app.state.page)
    return app


def build(settings: ServeSettings) -> Rooms:
    """Make the shared objects; nothing is started yet."""
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ExternalError(
            f"there can be no data folder {settings.data_dir}: {error.strerror}",
            code="serve.data-dir",
            hint="choose another --data-dir",
        ) from error
    store, blobs, hub = Store(settings.database), Blobs(settings.blobs_dir), Hub()
    pictures = Pictures(
        blobs, settings.pictures_dir, limits=settings.limits, cache_bytes=settings.cache_bytes
    )
    devices = (*settings.devices, *((batch_work.KIND,) if settings.batch_roots else ()))
    supervisor = Supervisor(store, hub, command=worker.command(settings), devices=devices)
    return Rooms(
        settings=settings,
        store=store,
        blobs=blobs,
        pictures=pictures,
        tiles=Tiles(pictures),
        segmenter=Segmenter(settings.models / "sam"),
        hub=hub,
        supervisor=supervisor,
        models=lambda: model_store(load_settings(worker.folders(settings.data_dir, settings.models))),
    )


@asynccontextmanager
async def _living(app: FastAPI) -> AsyncGenerator[None]:
    rooms: Rooms = app.state.rooms
    try:
        await asyncio.to_thread(rooms.supervisor.start)
        await asyncio.to_thread(app.state.page.warm)
    except ReknitError as error:
        app.state.failure = error
        raise
    pruning = asyncio.create_task(_prune_now_and_then(rooms))
    try:
        yield
    finally:
        pruning.cancel()
        await asyncio.to_thread(rooms.supervisor.stop)


async def _prune_now_and_then(rooms: Rooms) -> None:
    while True:
        await asyncio.sleep(PRUNE_EVERY_S)
        try:
            await asyncio.to_thread(_prune, rooms)
        except ReknitError as error:
            LOG.warning("old jobs could not be removed: %s", error.message)


def _prune(rooms: Rooms) -> None:
    keep = rooms.settings
    retention.prune(
        rooms.store,
        rooms.blobs,
        max_age_s=keep.keep_s,
        max_bytes=keep.keep_bytes,
        grace_s=keep.grace_s,
        others=comfy_files.Outputs(rooms),
    )
    rooms.pictures.tidy()
    comfy_files.tidy(rooms, keep.grace_s)


def known_query(request: Request) -> None:
    """Refuse a name in the query that the route does not take."""
    if not request.scope["query_string"]:
        return
    known = _query_names(request)
    for name in request.query_params:
        if name not in known:
            raise InputError(
                f"there is no query parameter {name[:200]!r} here",
                code="request.unknown-field",
                hint=nearest_name(name[:200], known) if known else "this address takes none",
                field=name[:200],
            )


def _query_names(request: Request) -> set[str]:
    """Return the query names of the route that the request came to."""
    names: set[str] = set()
    for field in request.scope["route"].dependant.query_params:
        fields = getattr(field.field_info.annotation, "model_fields", None)
        names |= set(fields) if fields is not None else {field.alias}
    return names


def _add_page(app: FastAPI, folder: static.Folder) -> None:
    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def index(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        return static.response(request, folder.get("index.html"))

    @app.api_route("/favicon.ico", methods=["GET", "HEAD"], include_in_schema=False)
    async def icon(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        return static.response(request, folder.get("logo.svg"))

    @app.api_route("/web/{path:path}", methods=["GET", "HEAD"], include_in_schema=False)
    async def file(path: str, request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        return static.response(request, folder.get(path))

    @app.get(openapi.ADDRESS, include_in_schema=False)
    def description() -> Response:  # pyright: ignore[reportUnusedFunction]
        return Json(openapi.describe(app))
