"""``reknit doctor``: what is installed, what works, and what is missing."""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import click

from reknit.cli.output import print_json
from reknit.engines.learned import RUNTIMES

PACKAGES = {"onnxruntime": "onnxruntime", "torch": "reknit[torch]"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    says: str


@click.command(name="doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> int:
    """Check this installation; exits with 3 if something needed does not work."""
    checks = [_try(name, probe) for name, probe in PROBES.items()]
    if as_json:
        print_json([{"name": c.name, "ok": c.ok, "says": c.says} for c in checks])
    else:
        for check in checks:
            mark = click.style("ok  ", fg="green") if check.ok else click.style("FAIL", fg="red")
            click.echo(f"{mark} {check.name:<10} {check.says}")
    return 0 if all(check.ok for check in checks) else 3


def _try(name: str, probe: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, says=probe())
    except Exception as error:  # a doctor reports every illness
        return Check(name=name, ok=False, says=f"{type(error).__name__}: {error}")


def _reknit() -> str:
    import reknit

    return f"{reknit.__version__} in {Path(reknit.__file__).parent}"


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()} ({sys.executable})"


def _native() -> str:
    from reknit import _native

    return f"vector instructions: {_native.instruction_set()}"


def _threads() -> str:
    from reknit.config import load, usable_threads

    setting = load()["threads"]
    return f"{setting.value or usable_threads()} ({setting.origin})"


def _codec() -> str:
    from reknit.core import codec

    works = codec.supported()
    written = [name for name in codec.WRITABLE if works[name]]
    read = [name for name in works if works[name] and name not in written]
    missing = [name for name in works if not works[name]]
    text = f"libvips {codec.library_version()} reads and writes {', '.join(written)}; reads {', '.join(read)}"
    return text + (f"; MISSING: {', '.join(missing)}" if missing else "")


def _opencv() -> str:
    import cv2

    return f"{cv2.__version__} (engines telea and navier-stokes)"


def _engines() -> str:
    from reknit.engines import registry

    return ", ".join(registry.every())


def _models() -> str:
    from reknit import config

    store = config.model_store(config.load(), plugins=True)
    every = dict.fromkeys([store.models_dir, *store.folders(), *filter(None, [store.hub_cache])])
    folders = [f"{folder}{'' if folder.is_dir() else ' (not there)'}" for folder in every]
    found = [f"{one.card.id} ({one.main})" for one in store.installed()]
    return f"{', '.join(found) or 'none, see `reknit models`'}; looked in {', '.join(folders)}"


def _runtimes() -> str:
    said: list[str] = []
    for name, module in RUNTIMES.items():
        if find_spec(module) is None:
            said.append(f"{module} is missing, so no {name} models (pip install '{PACKAGES[module]}')")
        else:
            said.append(f"{module} {_version(module)}")
    if find_spec("onnxruntime") is not None:
        from reknit.engines import onnx

        said[0] += f" on {', '.join(onnx.devices())}"
    return "; ".join(said)


def _version(module: str) -> str:
    try:
        return version(module)
    except PackageNotFoundError:  # it came under another name, such as onnxruntime-gpu
        return "of another package"


def _fill() -> str:
    import numpy as np

    import reknit

    rng = np.random.default_rng(0)
    photo = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[24:40, 24:40] = True
    result = reknit.fill(photo, mask, engine="exemplar")
    return f"64×64 px in {result.timings['total'] * 1000:.0f} ms, outside unchanged: {result.report.outside_equal}"


def _scratch() -> str:
    with tempfile.NamedTemporaryFile() as file:
        return f"temporary files go to {Path(file.name).parent}"


PROBES: dict[str, Callable[[], str]] = {
    "reknit": _reknit,
    "python": _python,
    "native": _native,
    "threads": _threads,
    "codec": _codec,
    "opencv": _opencv,
    "engines": _engines,
    "runtimes": _runtimes,
    "models": _models,
    "fill": _fill,
    "temporary": _scratch,
}
