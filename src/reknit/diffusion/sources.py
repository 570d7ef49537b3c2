"""Where a checkpoint lies on this machine: a path, a model of the catalog, or a hub repository in the local cache.

It also finds the text encoders and the VAE that belong to a FLUX.1 denoiser kept alone, by what is in the files of
the folders other programs keep them in. It opens no network connection and builds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from reknit.core.errors import InputError, NotFound, ReknitError, nearest_name
from reknit.models import layouts
from reknit.models.identify import identify

if TYPE_CHECKING:
    from reknit.models.store import Store

_FOLDERS = {
    "vae": ("vae", "VAE"),
    "text_encoder": ("text_encoders", "clip", "text_encoder"),
    "text_encoder_2": ("text_encoders", "clip", "text_encoder"),
}
FOLDERS = {
    "LoRA": ("Lora", "loras", "LyCORIS"),
    "ControlNet": ("ControlNet", "controlnet", "control_net"),
    "VAE": _FOLDERS["vae"],
    "text encoder": _FOLDERS["text_encoder"],
    "IP-Adapter": ("ipadapter", "ip_adapter", "ip-adapter", "ControlNet", "controlnet"),
    "embedding": ("embeddings",),
    "image encoder": ("clip_vision", "image_encoder", "ClipVision"),
}
"""What A1111 and ComfyUI call the folders in which a kind of weights lies, beside or below those of models."""

_LABEL = re.compile(r"\s*\[[0-9a-f]{8,10}\]$")
"""What A1111 writes after a name in its lists."""

_WANTED = {"vae": ("vae", "flux"), "text_encoder": ("text", "clip"), "text_encoder_2": ("text", "t5")}
_NAMES = {
    "vae": ("ae.", "flux"),
    "text_encoder": ("clip_l", "clip-l"),
    "text_encoder_2": ("t5xxl", "t5-v1_1-xxl"),
}
"""What such files are usually called: those first, and only the contents decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a name means on this machine.

    Attributes
    ----------
    main : Path
        A folder of diffusers, or the file of the whole checkpoint or of its denoiser.
    parts : dict of str to Path
        Files of other components that the catalog names.
    names : tuple of str
        What it is called: as asked for, and by its folder or file.
    """

    main: Path
    parts: dict[str, Path] = field(default_factory=dict[str, Path])
    names: tuple[str, ...] = ()


def locate(source: str | Path, models: Store | None = None, hub_cache: Path | None = None) -> Source:
    """Return where a checkpoint lies.

    Parameters
    ----------
    source
        A folder or file, an id or alias of the catalog, or a hub repository (``owner/name``).
    models
        The models on this machine.
    hub_cache
        The hub's cache.

    Raises
    ------
    NotFound
        ``model.unknown``
    Unavailable
        ``model.missing``: known, and not here; the hint names the command that gets it.
    """
    path = Path(source).expanduser()
    if path.exists():
        return Source(main=path, names=(path.name if path.is_file() else f"{path.parent.name}/{path.name}",))
    name = str(source)
    cached = snapshot(name, hub_cache)
    if cached is not None:
        return Source(main=cached, names=(name,))
    if models is None:
        raise NotFound(
            f"there is no file or folder {name}", code="model.unknown", hint="reknit models list", model=name
        )
    card = models.find(name)
    main = models.locate(name)
    installed = models.look(card)
    assert installed is not None
    loose = {file.role: installed.paths.get(file.name) for file in card.files if "/" not in file.name}
    parts = {role: where for role, where in loose.items() if role in _WANTED and where is not None}
    whole = loose.get("transformer") or loose.get("unet")
    return Source(
        main=whole if parts and whole else main, parts=parts, names=(name, card.id, card.title, main.name)
    )


def kept(what: str, models: Store | None) -> dict[str, Path]:
    """Return the weight files of a kind on this machine by their names in lower case, without endings.

    Parameters
    ----------
    what
        A key of `FOLDERS`.
    models
    """
    found: dict[str, Path] = {}
    for path in files(what, models):
        found.setdefault(path.stem.lower(), path)
    return found


def files(what: str, models: Store | None) -> Iterator[Path]:
    """Yield the weight files of a kind on this machine; ``what`` is a key of `FOLDERS`."""
    names = FOLDERS[what]
    for folder in models.folders() if models is not None else []:
        for inside in (folder, *(folder / each for each in names)):
            if inside.is_dir() and (inside != folder or inside.name.lower() in {n.lower() for n in names}):
                yield from layouts.weight_files(inside)


def named(name: str, what: str, models: Store | None, *, code: str) -> Path:
    """Return where the weights of a kind lie that users call ``name``.

    Parameters
    ----------
    name
        A path; a file's name with or without its ending, as A1111 and ComfyUI list it; or a hub repository that the
        local cache holds.
    what
        A key of `FOLDERS`.
    models
        The models on this machine.
    code
        Of the error.

    Raises
    ------
    NotFound
        With the nearest name as its hint.
    """
    path = Path(name).expanduser()
    if path.is_file() or (path.is_dir() and what not in ("LoRA", "embedding")):
        return path
    bare = _LABEL.sub("", name).strip()
    wanted = (Path(bare).stem if Path(bare).suffix.lower() in layouts.SUFFIXES else bare).lower()
    known = kept(what, models)
    found = known.get(wanted)
    if found is None and models is not None and bare.count("/") == 1:
        found = snapshot(bare, models.hub_cache, "config.json")
    if found is None:
        folder = FOLDERS[what][0]
        raise NotFound(
            f"there is no {what} {name!r}",
            code=code,
            hint=nearest_name(wanted, known) if known else f"give its file, or put it into a folder {folder}",
            name=name,
        )
    return found


def beside(main: Path, part: str, models: Store | None = None) -> Path | None:
    """Return the file of a part that belongs to the FLUX.1 denoiser in the file ``main``; None if none is here.

    It looks where ComfyUI and Forge keep it (``vae``, ``text_encoders``, ``clip`` beside the denoiser's folder), in
    the denoiser's own folder, and in the store's.
    """
    candidates = [path for folder in _near(main, part, models) for path in layouts.weight_files(folder)]
    usual = _NAMES[part]
    ordered = sorted(
        dict.fromkeys(candidates),
        key=lambda path: not any(path.name.lower().startswith(name) for name in usual),
    )
    for path in ordered:
        with suppress(ReknitError, OSError):
            found = identify(path)
            if (found.kind, found.family) == _WANTED[part] and "sd3" not in path.name.lower():
                return path
    return None


def absent(part: str, main: Path) -> InputError:
    """Return the error for a part that is neither in a file nor beside it."""
    folder = _FOLDERS[part][0]
    return InputError(
        f"{main} holds no {part}, and none lies beside it",
        code="model.part",
        hint=f"put it into a folder {folder} beside the model's own, or get the whole: reknit models pull flux-fill",
        part=part,
        path=str(main),
    )


def _near(main: Path, part: str, models: Store | None) -> Iterator[Path]:
    roots = [main.parent, main.parent.parent]
    if models is not None:
        roots += [root for folder in models.folders() for root in (folder, folder / "flux-fill")]
    for root in roots:
        for name in _FOLDERS[part]:
            if (root / name).is_dir():
                yield root / name
    yield main.parent


def snapshot(name: str, hub_cache: Path | None, holding: str = "model_index.json") -> Path | None:
    """Return the newest snapshot of a hub repository in the cache that holds a file; None if there is none."""
    if hub_cache is None or name.count("/") != 1:
        return None
    folder = hub_cache / f"models--{name.replace('/', '--')}"
    revisions: list[Path] = []
    with suppress(OSError):
        revisions.append(
            folder / "snapshots" / (folder / "refs" / "main").read_text(encoding="utf-8").strip()
        )
    with suppress(OSError):
        revisions += sorted((folder / "snapshots").iterdir())
    return next((each for each in revisions if (each / holding).is_file()), None)
