"""Which containers there are: by content, by suffix, which can be written; and the one door to libvips.

It knows magic numbers and names, no pixels. pyvips is imported when `libvips` is first called.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reknit.core.errors import InputError, Unavailable, nearest_name

SUFFIXES = {
    ".jpg": "jpeg", ".jpeg": "jpeg", ".jpe": "jpeg", ".jfif": "jpeg", ".png": "png", ".webp": "webp",
    ".tif": "tiff", ".tiff": "tiff", ".avif": "avif", ".heic": "heic", ".heif": "heic", ".gif": "gif",
}  # fmt: skip
WRITABLE = ("jpeg", "png", "webp", "tiff", "avif")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """An encoded photo.

    Attributes
    ----------
    data : bytes
        The file.
    container : str
    notes : tuple of str
        What encoding had to change or could not carry, in sentences for people.
    carried_blocks, total_blocks : int
        For JPEG: how many of the file's 8×8 blocks are the source's own coefficients, never re-encoded, of
        how many. Both 0 for other containers.
    """

    data: bytes
    container: str
    notes: tuple[str, ...] = ()
    carried_blocks: int = 0
    total_blocks: int = 0


def sniff(data: bytes) -> str | None:
    """Return the container that the bytes are, or None if it is none that Reknit reads."""
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if data[4:8] == b"ftyp":
        end = min(int.from_bytes(data[:4], "big"), 256)
        brands = {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}
        if brands & {b"avif", b"avis"}:
            return "avif"
        if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1"}:
            return "heic"
    return None


def container_of(path: Path | str) -> str:
    """Return the container that a file name's suffix asks for; raises `InputError` ``image.container``."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"{str(path)!r} does not say which format it is",
            code="image.container",
            hint=nearest_name(suffix, SUFFIXES),
            path=str(path),
        )
    return SUFFIXES[suffix]


def libvips() -> Any:
    """Return the pyvips module, its operation cache switched off (each photo is decoded once)."""
    try:
        import pyvips  # pyright: ignore[reportMissingTypeStubs]
    except (ImportError, OSError) as error:
        raise Unavailable(
            f"pyvips cannot be loaded: {error}", code="codec.missing", hint="pip install 'pyvips[binary]'"
        ) from error
    module: Any = pyvips
    module.cache_set_max(0)
    return module


def supported() -> dict[str, bool]:
    """Return, by container, whether this machine's libvips reads it and, where Reknit would, writes it."""
    vips: Any = libvips()

    def has(operation: str) -> bool:
        return bool(vips.type_find("VipsOperation", operation))

    loaders = {name: {"avif": "heif", "heic": "heif"}.get(name, name) for name in SUFFIXES.values()}
    return {
        name: has(f"{loader}load_buffer") and (name not in WRITABLE or has(f"{loader}save_buffer"))
        for name, loader in loaders.items()
    }


def library_version() -> str:
    """Return the version of libvips, e.g. ``"8.18.7"``."""
    vips: Any = libvips()
    return ".".join(str(vips.version(part)) for part in range(3))
