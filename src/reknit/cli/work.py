"""What ``fill``, ``extend`` and ``repair`` share: settings, reading, writing, and saying what was done."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reknit.cli import interrupt
from reknit.cli.destination import Destination, same_file
from reknit.cli.flags import given, parse_params, parse_quality
from reknit.cli.output import ProgressBar, print_json, print_notes
from reknit.config import Setting, model_store, usable_threads
from reknit.config import load as load_settings
from reknit.core import codec, files
from reknit.core.errors import ExternalError, InputError
from reknit.core.image import Photo
from reknit.core.mask import Mask
from reknit.core.result import FillResult, Plan
from reknit.engines.diffusion_options import SHORTCUTS
from reknit.inputs import as_box, as_mask, as_photo, mask_of_photo

if TYPE_CHECKING:
    from reknit.models.store import Store


SEND = "send a file to it: reknit fill - mask.png < photo.jpg > out.jpg"
MASK_LIKE, PHOTO_LIKE = 0.99, 0.5
"""A mask is black and white in at least so much of its samples; a photo is neither in so much, and has colours."""
COLOURS = 8
"""By so much, of 255, a photo's channels differ on average; a soft mask is grey, and one in JPEG nearly so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of a command: its settings, and where its result goes."""

    settings: Mapping[str, Setting]
    params: Mapping[str, Any]
    destination: Destination
    recipe: bool
    quality: int | None
    as_json: bool
    bar: ProgressBar

    @staticmethod
    def of(
        flags: Mapping[str, Any],
        destination: Destination,
        *,
        writes_picture: bool = True,
    ) -> Job:
        """Build a job from a command's flags."""
        if writes_picture and not destination.paths and flags["as_json"]:
            raise InputError(
                "standard output cannot carry both the picture and JSON",
                code="output.stdout",
                hint="write the picture to a file with -o",
            )
        names = ("engine", "grow", "feather", "threads", "max_pixels", "max_bytes")
        return Job(
            settings=load_settings({name: flags.get(name) for name in names}),
            params={**given(flags, SHORTCUTS), **parse_params(flags["params"])},
            destination=destination,
            recipe=not flags.get("no_recipe"),
            quality=parse_quality(flags["quality"]),
            as_json=flags["as_json"],
            bar=ProgressBar(quiet=flags["as_json"]),
        )

    @contextmanager
    def working(self) -> Generator[None]:
        """Show progress, and let Ctrl-C end it at once. No file is written inside."""
        with self.bar, interrupt.prompt():
            yield

    @property
    def threads(self) -> int:
        """CPU threads to use."""
        return self.settings["threads"].value or usable_threads()

    def models(self) -> Store:
        """Return the models on this machine."""
        return model_store(self.settings)

    @property
    def limits(self) -> codec.Limits:
        """What files may be read."""
        return codec.Limits(
            max_pixels=self.settings["max_pixels"].value, max_bytes=self.settings["max_bytes"].value
        )

    def defaults(self, names: Iterable[str]) -> dict[str, Any]:
        """Return request fields that settings may decide."""
        return {name: self.settings[name].value for name in names}

    def show_plan(self, plan: Plan) -> int:
        """Print a plan for people or as JSON."""
        if self.as_json:
            print_json(plan.to_dict())
            return 0
        options = ", ".join(f"{name}={value}" for name, value in plan.params.items()) or "no options"
        pieces = f"{len(plan.regions)} region{'s' * (len(plan.regions) != 1)}"
        click.echo(f"engine   {plan.engine}  ({options})")
        click.echo(f"photo    {plan.size} px")
        click.echo(f"hole     {plan.hole_px:,} px in {pieces}")
        click.echo(f"ring     mask grown by {plan.grow_px:g} px, blended over {plan.feather_px:g} px more")
        click.echo(
            f"expect   {plan.seconds:.2f} s on {plan.threads} threads, {plan.peak_bytes / 2**20:,.0f} MiB"
        )
        for reason in plan.reasons:
            click.echo(f"because  {reason}")
        return 0

    def encode(self, result: FillResult) -> list[codec.Encoded]:
        """Return the file of every variation."""
        self.bar.reporter.step("saving", 1.0)
        target = self.destination
        encoded: list[codec.Encoded] = []
        for i in range(len(result.photos)):
            named = bool(target.paths) and bool(target.paths[i].suffix) and not target.keep_container
            container = codec.container_of(target.paths[i]) if named else None
            photo = result.photos[i]
            if self.recipe:
                photo = result.with_recipe(i)
            encoded.append(codec.encode(photo, container=container, quality=self.quality))
        return encoded

    def finish(self, result: FillResult, encoded: list[codec.Encoded]) -> int:
        """Write every variation and say what was done."""
        paths = [str(path) for path in self.destination.paths]
        for path, file in zip(paths, encoded, strict=False):
            files.write_bytes(path, file.data)
        notes = (*result.notes, *(note for file in encoded for note in file.notes))
        if self.as_json:
            print_json({"outputs": paths, **result.to_dict(), "notes": list(dict.fromkeys(notes))})
            return 0
        if not paths:
            _to_standard_output(encoded[0].data)
        print_notes(notes)
        for path in paths:
            print_path(path)
        click.echo(result.summary(), err=True)
        return 0


def print_path(path: str) -> None:
    """Print a file's name as the bytes that it is, whatever the terminal's encoding."""
    click.echo(os.fsencode(path))


def _to_standard_output(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ExternalError(
            f"the picture cannot be written to standard output: {error.strerror}",
            code="output.failed",
            hint="give -o FILE to write a file",
        ) from error


def read_path(path: str, limits: codec.Limits) -> bytes | Path:
    """Return standard input's bytes for ``-``, else the path."""
    if path != "-":
        return Path(path)
    if sys.stdin.isatty():
        raise InputError(
            "standard input is a terminal, not a picture",
            code="input.terminal",
            hint=SEND,
        )
    data = sys.stdin.buffer.read(limits.max_bytes + 1)
    if not data:
        raise InputError("standard input is empty", code="image.empty", hint=SEND)
    return data


def check_standard_input(*paths: str | None) -> None:
    """Raise `InputError` if more than one of ``paths`` is standard input."""
    if paths.count("-") > 1:
        raise InputError(
            "only one picture can come from standard input",
            code="input.stdin",
            hint="give the others as files",
        )


def read_photo(path: str, limits: codec.Limits) -> Photo:
    """Read the photo a command was given."""
    return as_photo(read_path(path, limits), limits=limits)


def read_source(photo: Photo, path: str | None, limits: codec.Limits) -> Mask | None:
    """Read the mask of where the fill may copy from."""
    return None if path is None else as_mask(read_path(path, limits), photo.size, limits=limits)


def read_mask(
    photo: Photo, path: str | None, flags: Mapping[str, Any], limits: codec.Limits, *, image: str
) -> Mask:
    """Return the mask that a command's arguments describe."""
    boxes = tuple(as_box(text, photo.size) for text in flags["boxes"])
    if path is not None:
        if flags["mask_from"] == "luma" and same_file(path, image):
            raise InputError(
                "the mask is the photo itself",
                code="mask.photo",
                hint="give a black-and-white picture, white = fill; --mask-from alpha for a photo with holes",
            )
        if flags["mask_from"] == "luma" and path != "-":
            _check_order(photo, image, path, limits)
        mask = as_mask(
            read_path(path, limits),
            photo.size,
            mask_from=flags["mask_from"],
            invert=flags["invert"],
            resize=flags["resize_mask"],
            limits=limits,
        )
        mask.check_size(photo.size)
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


def _check_order(photo: Photo, image: str, mask: str, limits: codec.Limits) -> None:
    """Raise `InputError` for a mask and a photo that came in each other's place."""
    if _extreme(photo) < MASK_LIKE:
        return
    other = as_photo(Path(mask), limits=limits)
    if _extreme(other) < 1 - PHOTO_LIKE and _colours(other) >= COLOURS:
        raise InputError(
            f"{image} is black and white, and {mask} is a photo: the mask comes second",
            code="mask.swapped",
            hint=f"reknit fill {mask} {image}",
        )


def _extreme(photo: Photo) -> float:
    """Return how much of a photo's samples, of about 65 000 of its pixels, is black or white."""
    tone = _tones(photo)
    return float(((tone <= 16) | (tone >= 239)).mean())


def _colours(photo: Photo) -> float:
    """Return by how much a photo's colour channels differ on average, from 0 to 255."""
    tone = _tones(photo)[:, :3]
    return float((tone.max(axis=1) - tone.min(axis=1)).mean())


def _tones(photo: Photo) -> Any:
    step = max(1, photo.size.width * photo.size.height // 65_536)
    return photo.pixels.reshape(-1, photo.pixels.shape[-1])[::step] >> (photo.bits - 8)
