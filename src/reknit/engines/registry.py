"""Finds engines by name: the built-in ones, and any that an installed package offers.

A package offers an engine by the entry-point group ``reknit.engines``; its value is an object with ``spec``
and ``load`` (see `engines.base.Engine`). Entry points are read only for a name that is not built in, or for
a listing, because reading them costs more than a small fill.
"""

from __future__ import annotations

import logging
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from reknit.core.errors import EngineFailed, NotFound, Unavailable, nearest_name
from reknit.engines.base import Engine

GROUP = "reknit.engines"
_LOG = logging.getLogger(__name__)
BUILT_IN = {
    "exemplar": "reknit.engines.exemplar:EXEMPLAR",
    "telea": "reknit.engines.pde:TELEA",
    "navier-stokes": "reknit.engines.pde:NAVIER_STOKES",
    "lama": "reknit.engines.learned:LAMA",
    "migan": "reknit.engines.learned:MIGAN",
    "mat": "reknit.engines.learned:MAT",
    "network": "reknit.engines.learned:NETWORK",
    "diffusion": "reknit.engines.diffusion:DIFFUSION",
}


def get(name: str) -> Engine:
    """Return the engine called ``name``.

    Raises
    ------
    NotFound
        ``engine.unknown``: no engine has this name; the hint names the nearest.
    Unavailable
        ``engine.missing``: it exists, but a module it needs is not installed; the hint has the pip line.
    """
    engine = _load(BUILT_IN[name]) if name in BUILT_IN else _plugin(name)
    for module in engine.spec.requires:
        if find_spec(module) is None:
            extra = engine.spec.extra
            package = f"reknit[{extra}]" if extra else module
            raise Unavailable(
                f"engine {name} needs the module {module!r}, which is not installed",
                code="engine.missing",
                hint=f"pip install '{package}'",
                engine=name,
            )
    return engine


def every() -> dict[str, Engine]:
    """Return all engines by name, built-in ones first.

    A plug-in that cannot be loaded is left out, and the log says why.
    """
    engines = {name: _load(target) for name, target in BUILT_IN.items()}
    for name, point in _plugins().items():
        if name not in engines:
            try:
                engines[name] = point.load()
            except Exception as error:
                _LOG.warning("the engine %s of %s cannot be loaded: %s", name, point.value, error)
    return engines


def _load(target: str) -> Engine:
    module, attribute = target.split(":")
    return getattr(import_module(module), attribute)


def _plugins() -> dict[str, Any]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP)}


def _plugin(name: str) -> Engine:
    plugins = _plugins()
    if name not in plugins:
        raise NotFound(
            f"there is no engine {name!r}",
            code="engine.unknown",
            hint=nearest_name(name, [*BUILT_IN, *plugins, "auto"]) + " (`reknit engines` lists them)",
            engine=name,
        )
    try:
        engine: Engine = plugins[name].load()
    except Exception as error:
        raise EngineFailed(
            f"the plug-in for engine {name!r} cannot be imported: {error}",
            code="engine.plugin",
            hint=f"it comes from {plugins[name].value}; ask its maker, or uninstall it",
            engine=name,
        ) from error
    return engine
