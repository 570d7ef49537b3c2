"""What nodes may know of the world: where files lie, which models there are, how a fill is made, who is told.

A door (command line, server) builds one; nodes that need it get it as their first argument. Names of files come from
graphs, which strangers may have made: `Context.file` lets none lead out of its folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reknit.core.errors import NotFound
from reknit.core.progress import Report, Reporter
from reknit.engines.base import Models

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".avif", ".heic", ".gif")
WEIGHTS = (".safetensors", ".ckpt", ".pt", ".pth", ".gguf", ".onnx", ".bin", ".sft")
MODEL_FOLDERS: Mapping[str, tuple[str, ...]] = {
    "checkpoints": ("checkpoints", "Stable-diffusion"),
    "loras": ("loras", "Lora"),
    "vae": ("vae", "VAE"),
    "text_encoders": ("text_encoders", "clip"),
    "diffusion_models": ("diffusion_models", "unet"),
    "controlnet": ("controlnet", "t2i_adapter", "ControlNet"),
    "inpaint": ("inpaint",),
    "embeddings": ("embeddings",),
}
"""ComfyUI's kinds of models, and the names of their folders: below a folder of models, or one by itself."""

_ENGINES = {"checkpoints": ("diffusion",), "inpaint": ("onnx", "torchscript")}
"""Which engines run the catalogue's models of a kind."""

_PLACE = re.compile(r"^(?P<name>.*?)\s*\[(?P<place>input|output|temp)\]$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What nodes may know.

    Attributes
    ----------
    input_dir, output_dir, temp_dir : Path
    model_dirs : tuple of Path
        Folders with ComfyUI's folders of models in them, and single ones of those.
    given : mapping of str to Path
        Pictures that the user named, by what the graph calls them; they come before those of ``input_dir``.
    models : callable or None
        Where engines find the models they run.
    threads : int
    report : Report
    prompt : mapping
        The graph that runs, in API format; saved pictures carry it.
    extra : mapping
        What else saved pictures carry, such as ``workflow``.
    """

    input_dir: Path
    output_dir: Path
    temp_dir: Path
    model_dirs: tuple[Path, ...] = ()
    given: Mapping[str, Path] = field(default_factory=dict[str, Path])
    models: Models | None = None
    threads: int = 1
    report: Report = field(default_factory=Reporter)
    prompt: Mapping[str, Any] = field(default_factory=dict[str, Any])
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def tick(self, value: int, of: int, preview: Any = None) -> None:
        """Report that ``value`` of ``of`` steps are done; raises `Cancelled` if the caller asked to stop."""
        tick = getattr(self.report, "tick", None)
        if tick is None:
            self.report.step("", value / max(of, 1), preview)
        else:
            tick(value, of, preview)

    def say(self, stage: str) -> None:
        """Report what is being done, without steps; raises `Cancelled` if the caller asked to stop."""
        say = getattr(self.report, "say", None)
        if say is not None:
            say(stage)

    def folder(self, place: str) -> Path:
        """Return the folder called ``input``, ``output`` or ``temp``."""
        return {"input": self.input_dir, "output": self.output_dir, "temp": self.temp_dir}[place]

    def file(self, name: str, place: str = "input") -> Path:
        """Return the file of a name such as ``sub/photo.png`` or ``photo.png [output]``.

        Raises
        ------
        NotFound
            ``file.missing``: there is none inside that folder.
        """
        if place == "input" and name in self.given:
            return self.given[name]
        match = _PLACE.match(name)
        if match:
            name, place = match["name"], match["place"]
        folder = self.folder(place).resolve()
        path = (folder / name).resolve()
        if not path.is_relative_to(folder) or not path.is_file():
            raise NotFound(
                f"there is no file {name!r} in the {place} folder",
                code="file.missing",
                hint=f"put it into {folder}, or name another",
                name=name,
            )
        return path

    def pictures(self) -> tuple[str, ...]:
        """Return the names of pictures in the input folder, those in folders below with their path."""
        return _listed([self.input_dir], PICTURES)

    def weights(self, kind: str) -> dict[str, Path]:
        """Return the models of a kind of `MODEL_FOLDERS` by the name that graphs call them.

        Models that are installed and lie elsewhere go by their ids, beside files in ComfyUI's folders.
        """
        names = MODEL_FOLDERS[kind]
        folders = [folder / name for folder in self.model_dirs for name in names]
        folders += [folder for folder in self.model_dirs if folder.name in names]
        found = {name: path for name in _listed(folders, WEIGHTS) if (path := _first(folders, name))}
        if self.models is not None and kind in _ENGINES:
            files = set(found.values())
            for model in self.models().installed():
                if model.card.engine in _ENGINES[kind] and model.main not in files:
                    found.setdefault(model.card.id, model.main)
        return found


def _listed(folders: list[Path], suffixes: tuple[str, ...]) -> tuple[str, ...]:
    names = {
        path.relative_to(folder).as_posix()
        for folder in folders
        if folder.is_dir()
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes and path.is_file()
    }
    return tuple(sorted(names))


def _first(folders: list[Path], name: str) -> Path | None:
    return next((path for folder in folders if (path := folder / name).is_file()), None)
