"""Settings, each with the place it came from.

Order of precedence: command-line flag > environment (``REKNIT_NAME``) > ``./reknit.toml`` > the user's
``reknit.toml`` > default. Every setting is an `Option`, so a bad value in a file gets the same error as a bad
flag. Only this module reads the environment and configuration files.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reknit.core.errors import InputError, nearest_name
from reknit.core.options import Option
from reknit.core.request import FILL_OPTIONS

if TYPE_CHECKING:
    from reknit.models.store import Store

PLANNER_FILE = "planner.toml"
"""In the data folder: what `reknit bench fit` measured."""

THREADS = Option(
    name="threads",
    kind="int",
    default=None,
    minimum=1,
    maximum=1024,
    help="CPU threads to use; by default all that this process may use.",
)

SETTINGS: tuple[Option, ...] = (
    *(o for o in FILL_OPTIONS if o.name in ("engine", "grow", "feather")),
    THREADS,
    Option(
        name="max_pixels",
        kind="int",
        default=1_000_000_000,
        minimum=1,
        maximum=2**40,
        unit="px",
        help="Refuse pictures with more pixels than this.",
    ),
    Option(
        name="max_bytes",
        kind="int",
        default=2 * 2**30,
        minimum=1,
        maximum=2**40,
        unit="bytes",
        help="Refuse files larger than this.",
    ),
    Option(
        name="data_dir",
        kind="text",
        default=None,
        help="Where jobs and their pictures are kept; by default this system's place for data.",
    ),
    Option(
        name="models_dir",
        kind="text",
        default=None,
        help="Where weights are kept; by default the folder models in the data folder.",
    ),
    Option(
        name="model_folders",
        kind="text",
        default=None,
        help="Folders of other programs to look for weights in, separated as in PATH; their usual places are "
        "looked into anyway.",
    ),
    Option(
        name="offline",
        kind="bool",
        default=False,
        help="Never open a connection; HF_HUB_OFFLINE=1 means the same.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A value and where it came from, e.g. ``"default"``, ``"REKNIT_THREADS"`` or a file's path."""

    value: Any
    origin: str


def user_file() -> Path:
    """Return where the user's own ``reknit.toml`` belongs on this system."""
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "reknit" / "reknit.toml"


def data_folder(value: str | None) -> Path:
    """Return the folder that the setting ``data_dir`` means: itself, or this system's place for data."""
    if value:
        return Path(value).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "reknit"


def planner_file(settings: Mapping[str, Setting]) -> Path:
    """Return where what `reknit bench fit` measured is kept."""
    return data_folder(settings["data_dir"].value) / PLANNER_FILE


def load(flags: Mapping[str, Any] | None = None) -> dict[str, Setting]:
    """Return every setting with its origin.

    Parameters
    ----------
    flags
        Values given on the command line; None means "not given".

    Raises
    ------
    InputError
        ``config.unknown``, ``config.syntax`` or ``option.value``, naming the file or variable.
    """
    known = {option.name: option for option in SETTINGS}
    found = {name: Setting(value=option.default, origin="default") for name, option in known.items()}
    for path in (user_file(), Path("reknit.toml")):
        for name, value in _read(path, known).items():
            found[name] = Setting(value=_checked(known[name], value, str(path)), origin=str(path))
    for name, option in known.items():
        variable = f"REKNIT_{name.upper()}"
        if variable in os.environ:
            found[name] = Setting(value=_checked(option, os.environ[variable], variable), origin=variable)
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(variable, "").strip().lower() in ("1", "true", "yes", "on"):
            found["offline"] = Setting(value=True, origin=variable)
    for name, value in (flags or {}).items():
        if value is not None:
            found[name] = Setting(value=known[name].check(value), origin=f"--{name.replace('_', '-')}")
    return found


def model_store(settings: Mapping[str, Setting], *, plugins: bool = False) -> Store:
    """Return the models on this machine, as these settings say where they are.

    Parameters
    ----------
    settings
        As `load` returns them.
    plugins
        Ask installed packages for models too, which costs about 50 ms.
    """
    from reknit.models import catalog
    from reknit.models.store import Store

    given = settings["models_dir"].value
    return Store(
        Path(given).expanduser() if given else data_folder(settings["data_dir"].value) / "models",
        offline=settings["offline"].value,
        hub_cache=_hub_cache(),
        others=_other_programs(settings["model_folders"].value),
        cards=catalog.load([user_file().with_name("models.toml")], plugins=plugins),
        endpoint=os.environ.get("HF_ENDPOINT") or None,
    )


def _hub_cache() -> Path:
    """Return where ``huggingface_hub`` keeps what it fetched; as it decides that itself, without importing it."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if value := os.environ.get(variable):
            return Path(os.path.expandvars(value)).expanduser()
    if value := os.environ.get("HF_HOME"):
        return Path(os.path.expandvars(value)).expanduser() / "hub"
    return _cache() / "huggingface" / "hub"


def _other_programs(given: str | None) -> list[Path]:
    """Return the folders of other programs: those given, those the environment names, and their usual ones."""
    folders = [Path(each).expanduser() for each in (given or "").split(os.pathsep) if each]
    folders += [Path(os.environ[name]) for name in ("INVOKEAI_ROOT",) if os.environ.get(name)]
    folders.append(Path(os.environ.get("TORCH_HOME") or _cache() / "torch"))
    home = Path.home()
    usual = (
        "stable-diffusion-webui",
        "stable-diffusion-webui-forge",
        "ComfyUI",
        "Documents/ComfyUI",
        "invokeai",
    )
    return folders + [home / name for name in usual]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def usable_threads() -> int:
    """Return how many CPU threads this process may use (affinity and, where Python knows it, quota)."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _read(path: Path, known: Mapping[str, Option]) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(
            f"{path} cannot be read as a settings file: {error}",
            code="config.syntax",
            hint="it is a TOML file with lines such as: threads = 2",
            path=str(path),
        ) from None
    for name in table:
        if name not in known:
            raise InputError(
                f"{path} has an unknown setting {name!r}",
                code="config.unknown",
                hint=nearest_name(name, known),
                path=str(path),
            )
    return table


def _checked(option: Option, value: Any, origin: str) -> Any:
    try:
        return option.check(value)
    except InputError as error:
        raise InputError(
            f"{origin}: {error.message}", code=error.code, hint=error.hint, **error.facts
        ) from None
