"""What ComfyUI's clients ask before they begin: nodes, models, what this machine and this server can do."""

from __future__ import annotations

import asyncio
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from reknit.config import usable_threads
from reknit.server import comfy_work
from reknit.server.problem import Json
from reknit.server.rooms import Rooms, rooms_of

COMFYUI_VERSION = "0.3.64"
"""The version of ComfyUI whose API this is."""
NO_SUCH_MODELS = ("upscale_models", "clip_vision", "style_models")
"""Folders that clients ask for, whose models nothing here uses."""
OTHER_NAMES = {"clip": "text_encoders", "unet": "diffusion_models"}

router = APIRouter(tags=["comfyui"], include_in_schema=False)


@router.get("/object_info")
async def object_info(request: Request) -> Response:
    """Describe all nodes."""
    return Json(await asyncio.to_thread(_nodes, rooms_of(request)))


@router.get("/object_info/{name}")
async def one_object_info(name: str, request: Request) -> Response:
    """Describe one node; nothing if there is none."""
    return Json(await asyncio.to_thread(_nodes, rooms_of(request), name))


def _nodes(rooms: Rooms, only: str | None = None) -> dict[str, Any]:
    there = comfy_work.context(rooms.settings.comfy_dir, models=rooms.models)
    registry = comfy_work.registry()
    if only is None:
        return registry.info(there)
    found = registry.find(only)
    return {} if found is None else {only: found.info(there)}


@router.get("/models")
async def folders() -> Response:
    """List the kinds of models."""
    from reknit.workflow.context import MODEL_FOLDERS

    return Json([*MODEL_FOLDERS, *NO_SUCH_MODELS])


@router.get("/models/{folder}")
async def models(folder: str, request: Request) -> Response:
    """List the models of a kind by the names that graphs call them."""
    from reknit.workflow.context import MODEL_FOLDERS

    kind = OTHER_NAMES.get(folder, folder)
    if kind in NO_SUCH_MODELS:
        return Json([])
    if kind not in MODEL_FOLDERS:
        return Response(status_code=404)
    rooms = rooms_of(request)
    there = comfy_work.context(rooms.settings.comfy_dir, models=rooms.models)
    return Json(list(await asyncio.to_thread(there.weights, kind)))


@router.get("/embeddings")
async def embeddings(request: Request) -> Response:
    """List the textual inversions by the names that prompts call them, those in folders below with their path."""
    rooms = rooms_of(request)
    there = comfy_work.context(rooms.settings.comfy_dir, models=rooms.models)
    found = await asyncio.to_thread(there.weights, "embeddings")
    return Json(sorted({name.rpartition(".")[0] for name in found}))


@router.get("/extensions")
async def nothing() -> Response:
    """List what is not here."""
    return Json([])


@router.get("/features")
async def features(request: Request) -> Response:
    """Say what this server can do beyond the first version of the API."""
    return Json(features_of(rooms_of(request)))


def features_of(rooms: Rooms) -> Mapping[str, Any]:
    """Return what the server can do, as the socket tells it too."""
    return {
        "supports_preview_metadata": True,
        "max_upload_size": rooms.settings.rules.max_upload_bytes,
    }


@router.get("/system_stats")
async def system_stats(request: Request) -> Response:
    """Say what machine this is."""
    return Json(await asyncio.to_thread(_machine, rooms_of(request)))


def _machine(rooms: Rooms) -> dict[str, Any]:
    from reknit.planner.machine import here

    machine = here(threads=rooms.settings.threads or usable_threads())
    device = machine.device
    is_cpu = device.backend == "cpu"
    total = machine.ram_total if is_cpu or device.shared else device.memory_gib * 2**30
    return {
        "system": {
            "os": sys.platform,
            "ram_total": int(machine.ram_total),
            "ram_free": int(machine.ram),
            "comfyui_version": COMFYUI_VERSION,
            "reknit_version": version("reknit"),
            "python_version": platform.python_version(),
            "pytorch_version": _version("torch"),
            "embedded_python": False,
            "argv": [],
        },
        "devices": [
            {
                "name": "cpu" if is_cpu else device.name,
                "type": device.backend,
                "index": None if is_cpu else 0,
                "vram_total": int(total),
                "vram_free": int(machine.free),
                "torch_vram_total": int(total),
                "torch_vram_free": int(machine.free),
            }
        ],
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
