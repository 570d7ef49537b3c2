"""What ``fill``, ``extend`` and ``repair`` share: settings, reading, writing, and saying what was done."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from reknit.cli.flags import parse_params, parse_quality
from reknit.cli.output import ProgressBar, print_json, print_notes
from reknit.config import Setting, usable_threads
from reknit.config import load as load_settings
from reknit.core import codec
from reknit.core.errors import InputError
from reknit.core.geometry import Box
from reknit.core.image import Photo
from reknit.core.mask import Mask
from reknit.core.result import FillResult, Plan
from reknit.inputs import as_mask, as_photo, mask_of_photo


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of a command: settings resolved, output known."""

    settings: Mapping[str, Setting]
    params: Mapping[str, str]
    source_path: str | None
    image: str
    output: str
    quality: int | None
    as_json: bool
    bar: ProgressBar

    @staticmethod
    def of(flags: Mapping[str, Any], *, image: str, output: str) -> Job:
        """Build a job from a command's flags."""
        names = ("engine", "grow", "feather", "threads", "max_pixels")
        if output == "-" and flags["as_json"]:
            raise InputError(
                "standard output cannot carry both the picture and JSON",
                code="output.stdout",
                hint="write the picture to a file with -o",
            )
        return Job(
            settings=load_settings({name: flags.get(name) for name in names}),
            params=parse_params(flags.get("params", ())),
            source_path=flags.get("source"),
            image=image,
            output=output,
            quality=parse_quality(flags["quality"]),
            as_json=flags["as_json"],
            bar=ProgressBar(quiet=flags["as_json"]),
        )

    @property
    def threads(self) -> int:
        """CPU threads to use."""
        return self.settings["threads"].value or usable_threads()

    @property
    def limits(self) -> codec.Limits:
        """What files may be read."""
        return codec.Limits(
            max_pixels=self.settings["max_pixels"].value, max_bytes=self.settings["max_bytes"].value
        )

    def defaults(self, names: Iterable[str]) -> dict[str, Any]:
        """Return request fields that settings may decide."""
        return {name: self.settings[name].value for name in names}

    def source(self, photo: Photo) -> Mask | None:
        """Return the source mask, if one was given."""
        return None if self.source_path is None else as_mask(read_path(self.source_path), photo.size)

    def show_plan(self, plan: Plan) -> int:
        """Print a plan for people or as JSON."""
        if self.as_json:
            print_json(plan.to_dict())
            return 0
        click.echo(
            f"engine   {plan.engine}  ({', '.join(f'{k}={v}' for k, v in plan.params.items()) or 'no options'})"
        )
        click.echo(f"photo    {plan.size} px")
        click.echo(f"hole     {plan.hole_px:,} px in {len(plan.regions)} regions")
        click.echo(f"ring     mask grown by {plan.grow_px:g} px, blended over {plan.feather_px:g} px more")
        click.echo(
            f"expect   {plan.seconds:.2f} s on {plan.threads} threads, {plan.peak_bytes / 2**20:,.0f} MiB"
        )
        for reason in plan.reasons:
            click.echo(f"because  {reason}")
        return 0

    def finish(self, result: FillResult) -> int:
        """Write every variation and say what was done."""
        paths, notes = self._write(result)
        if self.as_json:
            print_json({"outputs": paths, **result.to_dict(), "notes": [*result.notes, *notes]})
            return 0
        print_notes((*result.notes, *notes))
        for path in paths:
            if path != "-":
                click.echo(path, err=self.output == "-")
        click.echo(result.summary(), err=True)
        return 0

    def _write(self, result: FillResult) -> tuple[list[str], list[str]]:
        notes: list[str] = []
        if self.output == "-":
            if len(result.photos) > 1:
                raise InputError(
                    "standard output can carry only one picture",
                    code="output.count",
                    hint="give -o FILE, or --count 1",
                )
            encoded = codec.encode(result.photo, quality=self.quality)
            sys.stdout.buffer.write(encoded.data)
            return ["-"], list(encoded.notes)
        paths = _numbered(Path(self.output), len(result.photos))
        for i, path in enumerate(paths):
            notes += result.save(path, index=i, quality=self.quality)
        return [str(path) for path in paths], notes


def _numbered(path: Path, count: int) -> list[Path]:
    if count == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{i + 1}{path.suffix}") for i in range(count)]


def read_path(path: str) -> bytes | Path:
    """Return standard input's bytes for ``-``, else the path."""
    return sys.stdin.buffer.read() if path == "-" else Path(path)


def read_photo(path: str, limits: codec.Limits) -> Photo:
    """Read the photo a command was given."""
    return as_photo(read_path(path), limits=limits)


def read_mask(photo: Photo, path: str | None, flags: Mapping[str, Any], limits: codec.Limits) -> Mask:
    """Return the mask that a command's arguments describe."""
    boxes = tuple(_box(text) for text in flags["boxes"])
    if path is not None:
        mask = as_mask(
            read_path(path),
            photo.size,
            mask_from=flags["mask_from"],
            invert=flags["invert"],
            resize=flags["resize_mask"],
            limits=limits,
        )
        return mask.united(Mask.from_boxes(photo.size, boxes)) if boxes else mask
    if boxes:
        mask = Mask.from_boxes(photo.size, boxes)
    elif flags["mask_from"] == "alpha":
        mask = mask_of_photo(photo, "alpha")
    else:
        raise InputError(
            "there is no mask", code="mask.missing", hint="give MASK, --box X,Y,W,H, or --mask-from alpha"
        )
    return mask.inverted() if flags["invert"] else mask


def _box(text: str) -> Box:
    try:
        x, y, width, height = (int(part) for part in text.split(","))
        return Box(x0=x, y0=y, x1=x + width, y1=y + height)
    except ValueError:
        raise InputError(
            f"--box takes X,Y,W,H in whole pixels, not {text!r}",
            code="option.value",
            hint="for example --box 120,80,60,200",
        ) from None
