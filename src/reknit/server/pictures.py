"""`Pictures`: uploaded files and what was made of them, without loss.

An upload is kept as the bytes it was, named by their SHA-256. An edit is kept as a document: the picture
before, and a lossless patch of the box that changed; whatever was not edited is never encoded again, and
saving an edited JPEG encodes it once, from the original's own coefficients. Photos are rebuilt on demand and
kept while there is room. It knows no HTTP, no jobs and no engines; bytes lie in `jobs.blobs`.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.core import codec, files
from reknit.core.containers import Encoded
from reknit.core.errors import NotFound, ReknitError
from reknit.core.geometry import Box, Size
from reknit.core.image import Photo
from reknit.core.mask import Mask
from reknit.core.screen import mask_png, patch_png
from reknit.inputs import MaskFrom, as_mask, mask_of_photo
from reknit.jobs.blobs import Blobs
from reknit.server import patches
from reknit.server.edit import MAGIC, Edit, Facts, broken, corners
from reknit.server.file_names import clean_name, name_for
from reknit.server.kept import Kept
from reknit.server.pyramid import TILE_PX, level_sizes

CACHE_BYTES = 512 << 20
_MANY = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What is known of a picture.

    Attributes
    ----------
    id : str
        SHA-256 in hex of the uploaded file, or of the edit's document.
    facts : Facts
    parent, original : str or None
        The picture before this one (None for an upload), and the upload it all began with.
    box : Box or None
        Where this picture differs from its parent.
    at : tuple of (int, int) or None
        Where the parent lies in this picture: (0, 0) unless the canvas has grown. None for an upload.
    """

    id: str
    facts: Facts
    parent: str | None
    original: str
    box: Box | None
    at: tuple[int, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-serialisable data, with the tiles' side and the number of levels."""
        facts = asdict(self.facts)
        return {
            "id": self.id,
            **facts,
            "notes": list(self.facts.notes),
            "parent": self.parent,
            "original": self.original,
            "box": None if self.box is None else corners(self.box),
            "at": None if self.at is None else list(self.at),
            "tile_px": TILE_PX,
            "levels": len(level_sizes(self.facts.size)),
        }


class Pictures:
    """The pictures of one data folder. Safe to use from several threads, and from several processes.

    Parameters
    ----------
    blobs
        Where bytes lie.
    folder
        Where facts of uploads (name, size, …) are remembered, so that they need not be decoded again.
        What is lost here is found anew, except for names.
    limits
        Refuse uploads beyond these, before decoding.
    cache_bytes
        Decoded photos kept in memory.
    """

    def __init__(
        self,
        blobs: Blobs,
        folder: Path,
        *,
        limits: codec.Limits | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.blobs = blobs
        self.limits = limits or codec.Limits()
        self._folder = folder
        self._photos: Kept[Photo] = Kept(cache_bytes)
        self._edits: Kept[Edit] = Kept(_MANY)
        self._facts: Kept[tuple[int, Facts]] = Kept(_MANY)  # with when they were written
        self._encoded: Kept[Encoded] = Kept(cache_bytes // 8)
        self._encoding = threading.Lock()
        self._decoding = threading.RLock()  # one picture at a time: it bounds memory and spares double work

    def add(self, source: bytes | str, name: str = "") -> Picture:
        """Take up a file: bytes, or the digest of a blob that was streamed in.

        Raises
        ------
        ReknitError
            As `core.codec.decode`. The blob of a file that is no picture is removed.
        """
        digest = self.blobs.put(source) if isinstance(source, bytes) else source
        self.blobs.touch(digest)
        facts = self._remembered(digest)
        if facts is None:
            try:
                if self._is_edit(digest):
                    return self.info(digest)
                facts = self._examined(digest, clean_name(name))
            except ReknitError:
                self.blobs.delete(digest)
                raise
        elif name and facts.name != clean_name(name):
            facts = replace(facts, name=clean_name(name))
            self._remember(digest, facts)
        return Picture(id=digest, facts=facts, parent=None, original=digest, box=None)

    def check_beginning(self, head: bytes, name: str = "") -> None:
        """Refuse what its first kilobyte shows to be no picture, before it is stored.

        Raises
        ------
        InputError
            ``image.empty``, ``image.unknown``
        """
        if codec.sniff(head) is None:
            codec.decode(head, name=clean_name(name))

    def add_mask(self, fill: NDArray[np.bool_], name: str = "mask.png") -> Picture:
        """Take up a mask, (H, W) bool, as a grey PNG with white for True."""
        data = mask_png(fill)
        digest = self.blobs.put(data)
        size = Size.of(fill.shape)
        facts = Facts(
            width=size.width,
            height=size.height,
            bits=8,
            alpha=False,
            grey=True,
            container="png",
            bytes=len(data),
            name=name,
            notes=(),
        )
        if self._remembered(digest) is None:
            self._remember(digest, facts)
        return Picture(id=digest, facts=facts, parent=None, original=digest, box=None)

    def known(self, digest: str) -> bool:
        """Return whether this file was taken up before."""
        return digest in self.blobs and self._remembered(digest) is not None

    def info(self, picture: str) -> Picture:
        """Return what is known of a picture; decodes only an upload whose facts were lost.

        Raises
        ------
        NotFound
            ``picture.missing``
        ExternalError
            ``picture.broken``, ``blob.corrupt``
        """
        edit = self._edit(picture)
        if edit is not None:
            return Picture(
                id=picture,
                facts=edit.facts,
                parent=edit.parent,
                original=edit.original,
                box=edit.box,
                at=edit.at,
            )
        facts = self._remembered(picture) or self._examined(picture, "")
        return Picture(id=picture, facts=facts, parent=None, original=picture, box=None)

    def photo(self, picture: str) -> Photo:
        """Return a picture's pixels; rebuilt from the nearest one in memory, exactly as they were.

        Raises
        ------
        ReknitError
            As `info` and `core.codec.decode`.
        """
        kept = self._photos.get(picture)
        if kept is not None:
            return kept
        with self._decoding:
            steps: list[tuple[str, Edit]] = []
            at = picture
            while (photo := self._photos.get(at)) is None:
                edit = self._edit(at)
                if edit is None:
                    photo = self._decoded(at)
                    self._keep(at, photo)
                    break
                steps.append((at, edit))
                at = edit.parent
            if steps:
                photo = self._rebuilt(photo, steps[::-1])
                self._keep(picture, photo)
            return photo

    def derive(self, parent: str, photo: Photo, box: Box, at: tuple[int, int] = (0, 0)) -> Picture:
        """Keep an edit of ``parent``: only the box that changed is stored, losslessly.

        Parameters
        ----------
        parent
            The picture that was edited.
        photo
            What came out, of the parent's depth, with alpha if the parent has it.
        box
            In ``photo``: everything that changed lies inside it.
        at
            Where the parent lies on ``photo``, whose canvas may be larger.

        Raises
        ------
        ValueError
            A pixel outside ``box`` differs from the parent's: the box is wrong.
        """
        before, told = self.photo(parent), self.info(parent)
        crop, on_top = patches.cut(before, photo, box, at)
        patch = patch_png(crop)
        edit = Edit(
            parent=parent,
            original=told.original,
            patch=self.blobs.put(patch),
            box=box,
            at=at,
            parent_on_top=on_top,
            facts=replace(told.facts, width=photo.size.width, height=photo.size.height, bytes=len(patch)),
        )
        digest = self.blobs.put(edit.to_bytes())
        self._edits.put(digest, edit)
        self._keep(digest, patches.moved(before, at).with_pixels(photo.pixels, photo.alpha))
        return self.info(digest)

    def needs(self, picture: str) -> list[str]:
        """Return the digests of all blobs that a picture is made of, its own first."""
        found: list[str] = []
        while (edit := self._edit(picture)) is not None:
            found += [picture, edit.patch]
            picture = edit.parent
        return [*found, picture]

    def patch(self, picture: str) -> tuple[bytes, Box]:
        """Return what an edit changed as a PNG of the photo's own samples, and where it lies.

        Raises
        ------
        NotFound
            ``picture.no-patch``: the picture is an upload.
        """
        box = self.patch_box(picture)
        edit = self._edit(picture)
        if edit is not None and not edit.parent_on_top:
            return self.blobs.read(edit.patch), box
        return patch_png(patches.crop(self.photo(picture), box)), box

    def patch_box(self, picture: str) -> Box:
        """Return where an edit differs from its parent. Errors as `patch`."""
        box = self.info(picture).box
        if box is None:
            raise NotFound(
                "an uploaded picture has no patch",
                code="picture.no-patch",
                hint="fetch its file or its tiles",
            )
        return box

    def encoded(self, picture: str, container: str | None = None, quality: int | None = None) -> Encoded:
        """Return a picture as a file.

        By default in the kind of file that was uploaded, with its metadata: an upload is given back byte for
        byte, an edit is encoded once, from the original. Arguments and errors as `core.codec.encode`.
        """
        told = self.info(picture)
        if quality is None and told.parent is None and container in (None, told.facts.container):
            return Encoded(data=self.blobs.read(picture), container=told.facts.container)
        name = f"{picture} {container} {quality}"
        with self._encoding:  # a download in parts asks again and again
            encoded = self._encoded.get(name)
            if encoded is None:
                encoded = codec.encode(self.photo(picture), container=container, quality=quality)
                self._encoded.put(name, encoded, len(encoded.data))
        return encoded

    def file(self, picture: str) -> Path:
        """Return a file with a picture's pixels: the upload, or an edit encoded without loss, kept as a blob.

        Errors as `info`.
        """
        if self._edit(picture) is None:
            self.info(picture)
            return self.blobs.path(picture)
        return self.blobs.path(self.blobs.put(self.encoded(picture, "png").data))

    def filename(self, picture: str, container: str | None = None, name: str = "") -> str:
        """Return a name for a download: ``name`` or the upload's own, with the suffix of what is in it."""
        told = self.info(picture)
        return name_for(
            clean_name(name) or told.facts.name,
            container or told.facts.container,
            edited=told.parent is not None,
        )

    def mask(
        self,
        picture: str,
        size: Size,
        *,
        mask_from: MaskFrom = "luma",
        invert: bool = False,
    ) -> Mask:
        """Return a picture as the mask of a photo of ``size``; white = fill unless said otherwise.

        Raises
        ------
        InputError
            ``mask.size``, and as `core.codec.decode`.
        """
        if self._edit(picture) is None:
            mask = as_mask(self.blobs.read(picture), size, mask_from=mask_from, limits=self.limits)
        else:
            mask = mask_of_photo(self.photo(picture), mask_from)
        mask = mask.inverted() if invert else mask
        mask.check_size(size)
        return mask

    def tidy(self) -> int:
        """Forget the facts of uploads whose blobs are gone; returns how many."""
        gone = [path for path in self._folder.glob("??/*.json") if path.stem not in self.blobs]
        for path in gone:
            path.unlink(missing_ok=True)
            self._facts.drop(path.stem)
        return len(gone)

    # ---- what lies behind

    def _is_edit(self, picture: str) -> bool:
        if picture not in self.blobs:
            raise NotFound(
                f"there is no picture {picture[:64]!r}",
                code="picture.missing",
                hint="upload it again; pictures that no job needs are removed after a while",
            )
        with self.blobs.path(picture).open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC

    def _edit(self, picture: str) -> Edit | None:
        """Return how a picture was made, None for an upload."""
        kept = self._edits.get(picture)
        if kept is not None and picture in self.blobs:
            return kept
        if not self._is_edit(picture):
            return None
        edit = Edit.from_bytes(self.blobs.read(picture), picture)
        self._edits.put(picture, edit)
        return edit

    def _decoded(self, upload: str) -> Photo:
        facts = self._remembered(upload)
        return codec.decode(self.blobs.read(upload), limits=self.limits, name=facts.name if facts else "")

    def _examined(self, upload: str, name: str) -> Facts:
        """Decode an upload once, and remember what it is."""
        data = self.blobs.read(upload)
        with self._decoding:
            photo = codec.decode(data, limits=self.limits, name=name)
        grey = photo.origin is not None and photo.origin.grey
        facts = Facts(
            width=photo.size.width,
            height=photo.size.height,
            bits=photo.bits,
            alpha=photo.alpha is not None,
            grey=grey,
            container=photo.origin.container if photo.origin else "png",
            bytes=len(data),
            name=name,
            notes=photo.notes,
        )
        if not grey:  # grey ones are mostly masks, which nobody looks at
            self._keep(upload, photo)
        self._remember(upload, facts)
        return facts

    def _rebuilt(self, photo: Photo, steps: list[tuple[str, Edit]]) -> Photo:
        """Return ``photo`` with edits applied, the oldest first."""
        working = patches.Working(photo)
        for name, edit in steps:
            width, height = edit.size.width, edit.size.height
            if width * height > self.limits.max_pixels or max(width, height) > self.limits.max_side:
                raise broken(name, "its canvas is too large")
            patch = codec.decode(self.blobs.read(edit.patch), limits=self.limits)
            try:
                working.apply(patch, edit)
            except ValueError as error:
                raise broken(name, str(error)) from error
        return working.photo()

    def _keep(self, picture: str, photo: Photo) -> None:
        origin = photo.origin
        cost = photo.pixels.nbytes + (0 if photo.alpha is None else photo.alpha.nbytes)
        if origin is not None and origin.pixels is not None:
            cost += len(origin.data or b"")
            cost += 0 if origin.pixels is photo.pixels else origin.pixels.nbytes
        self._photos.put(picture, photo, cost)

    # ---- facts of uploads, remembered beside the blobs

    def _file(self, upload: str) -> Path:
        return self._folder / upload[:2] / f"{upload}.json"

    def _remembered(self, upload: str) -> Facts | None:
        """Return an upload's facts; another process may have written newer ones, with another name."""
        kept, path = self._facts.get(upload), self._file(upload)
        with suppress(OSError, ValueError, TypeError, KeyError):
            written = path.stat().st_mtime_ns
            if kept is None or kept[0] != written:
                if upload not in self.blobs:
                    return None
                kept = (written, Facts.of(json.loads(path.read_bytes())))
                self._facts.put(upload, kept)
        return None if kept is None else kept[1]

    def _remember(self, upload: str, facts: Facts) -> None:
        path, written = self._file(upload), 0
        with suppress(OSError, ReknitError):  # what is not remembered is found anew
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_bytes(path, json.dumps(asdict(facts)).encode("ascii"))
            written = path.stat().st_mtime_ns
        self._facts.put(upload, (written, facts))
