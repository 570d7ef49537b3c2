"""What files carry beside pixels: found in a file's bytes, and put into another file's bytes, unchanged.

Image libraries rewrite EXIF when they save. Here blocks are moved as raw bytes, container by container;
only the EXIF orientation is set to 1, because a `Photo` is upright. Reading is bounds-checked and never
raises: a damaged block is absent (the decoder judges whether the picture is). It knows no pixels.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from reknit.core import exif, own_text
from reknit.core.image import Metadata

_JPEG_EXIF = b"Exif\0\0"
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_XMP_MORE = b"http://ns.adobe.com/xmp/extension/\0"
_JPEG_ICC = b"ICC_PROFILE\0"
_JPEG_MPF = b"MPF\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_XMP = b"XML:com.adobe.xmp"
_PNG_CARRIED = (b"cHRM", b"gAMA", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"pHYs", b"tEXt", b"zTXt", b"iTXt")
_PNG_COLOUR = ("cHRM", "gAMA", "sRGB", "cICP", "mDCV", "cLLI")
_MAX_INFLATED = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What `read` found: the blocks (orientation already 1), how the stored picture lies, and notes."""

    metadata: Metadata
    orientation: int = 1
    notes: tuple[str, ...] = ()


def read(container: str, data: bytes) -> Found:
    """Return what a JPEG, PNG, WebP or TIFF file carries; other containers give an empty `Found`."""
    reader = {"jpeg": _read_jpeg, "png": _read_png, "webp": _read_webp, "tiff": _read_tiff}.get(container)
    return reader(data) if reader else Found(metadata=Metadata())


def attach(container: str, data: bytes, metadata: Metadata, *, same: bool, opaque: bool) -> bytes:
    """Return an encoded file with ``metadata`` in it.

    Parameters
    ----------
    container : str
        What ``data`` is. For AVIF only the EXIF block is replaced and a recipe added; the encoder wrote the rest.
    same : bool
        Whether ``metadata.blocks`` came from the same container and shall be carried back.
    opaque : bool
        The picture has no alpha (WebP says so in its header).
    """
    if container == "jpeg":
        return _attach_jpeg(data, metadata, same=same)
    if container == "png":
        return _attach_png(data, metadata, same=same)
    if container == "webp":
        return _attach_webp(data, metadata, opaque=opaque)
    if container == "tiff":
        blobs = {exif.ICC: metadata.icc, exif.XMP: metadata.xmp, exif.IPTC: metadata.iptc}
        blobs[exif.PHOTOSHOP] = dict(metadata.blocks).get("photoshop") if same else None
        blobs[own_text.TIFF_TAG] = own_text.recipe_of(metadata)
        return exif.into_tiff(data, metadata.exif, {tag: blob for tag, blob in blobs.items() if blob})
    if container == "avif":
        from reknit.core import isobmff

        data = isobmff.with_exif(data, metadata.exif) if metadata.exif else data
        recipe = own_text.recipe_of(metadata)
        return isobmff.with_own(data, own_text.AVIF_BOX, recipe) if recipe else data
    return data


def _found(
    *,
    icc: bytes | None,
    block: bytes | None,
    xmp: bytes | None,
    iptc: bytes | None = None,
    text: tuple[tuple[str, str], ...] | None = None,
    recipe: bytes | None = None,
    dpi: tuple[float, float] | None = None,
    blocks: tuple[tuple[str, bytes], ...] = (),
    notes: tuple[str, ...] = (),
) -> Found:
    metadata = Metadata(
        icc=icc or None,
        exif=exif.turned(block, 1) if block else None,
        xmp=xmp or None,
        iptc=iptc or None,
        text=own_text.found(block, recipe) if text is None else text,
        dpi=dpi or _exif_dpi(block),
        blocks=blocks,
    )
    return without_pictures(Found(metadata=metadata, orientation=exif.orientation(block), notes=notes))


def without_pictures(found: Found) -> Found:
    """Return ``found`` without thumbnails and previews, and a note: they would show what the photo no longer does."""
    given = found.metadata
    if not (given.exif or given.xmp or given.blocks):
        return found
    from reknit.core import embedded

    kept = ((name, _cleaned(name, body)) for name, body in given.blocks)
    metadata = replace(
        given,
        exif=embedded.without_pictures(given.exif) if given.exif else None,
        xmp=embedded.xmp_without_pictures(given.xmp) if given.xmp else None,
        blocks=tuple((name, body) for name, body in kept if body is not None),
    )
    if metadata == given:
        return found
    return replace(found, metadata=metadata, notes=(*found.notes, embedded.NOTE))


def _cleaned(name: str, body: bytes) -> bytes | None:
    """Return a block of a JPEG or TIFF file without pictures in it; None if it is nothing but one."""
    if name == "E1" and body.startswith(
        _JPEG_XMP_MORE
    ):  # what is too long for a packet: pictures, depth maps
        return None
    from reknit.core import embedded

    if name == "E1" and body.startswith(_JPEG_EXIF):
        return _JPEG_EXIF + embedded.without_pictures(body[len(_JPEG_EXIF) :])
    if name == "E1" and body.startswith(_JPEG_XMP):
        return _JPEG_XMP + embedded.xmp_without_pictures(body[len(_JPEG_XMP) :])
    return embedded.without_pictures(body) if name in ("E1", "ED", "photoshop") else body


def _exif_dpi(block: bytes | None) -> tuple[float, float] | None:
    directory = exif.read(block) if block else None
    if directory is None:
        return None
    x, y = directory.ratio(0x011A), directory.ratio(0x011B)
    scale = {2: 1.0, 3: 2.54}.get(directory.number(0x0128, 2))
    return (x * scale, y * scale) if x and y and scale else None


# ---- JPEG


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield ``(marker, start of payload, end)`` of each segment before the first scan, its own included."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        length = struct.unpack_from(">H", data, at + 2)[0]
        if length < 2 or at + 2 + length > len(data):
            return
        yield marker, at + 4, at + 2 + length
        if marker == 0xDA:
            return
        at += 2 + length


def _read_jpeg(data: bytes) -> Found:
    block = xmp = iptc = None
    dpi = None
    profile: dict[int, bytes] = {}
    blocks: list[tuple[str, bytes]] = []
    notes: list[str] = []
    own: list[bytes] = []
    for marker, start, end in jpeg_segments(data):
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            continue
        body = data[start:end]
        if marker == 0xE1 and body.startswith(_JPEG_EXIF) and block is None:
            block = body[6:]
        elif marker == 0xE1 and body.startswith(_JPEG_XMP) and xmp is None:
            xmp = body[len(_JPEG_XMP) :]
        elif marker == 0xE2 and body.startswith(_JPEG_ICC) and len(body) > 14:
            profile[body[12]] = body[14:]
        elif marker == 0xEF and own_text.is_jpeg_body(body):
            own.append(body)
        elif marker == 0xE2 and body.startswith(_JPEG_MPF):
            notes.append(
                "further pictures in the file (preview, gain map, depth) show the old content: left out"
            )
        else:
            if marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 12:
                dpi = _jfif_dpi(body)
            elif marker == 0xED and body.startswith(_PHOTOSHOP):
                iptc = iptc or _iptc_of(body[len(_PHOTOSHOP) :])
            blocks.append((f"{marker:02X}", body))
    icc = b"".join(profile[number] for number in sorted(profile))
    return _found(
        icc=icc,
        block=block,
        xmp=xmp,
        iptc=iptc,
        recipe=own_text.of_jpeg(own),
        dpi=dpi,
        blocks=tuple(blocks),
        notes=tuple(notes),
    )


def _jfif_dpi(body: bytes) -> tuple[float, float] | None:
    unit, x, y = struct.unpack_from(">BHH", body, 7)
    scale = {1: 1.0, 2: 2.54}.get(unit)
    return (x * scale, y * scale) if scale and x and y else None


def _iptc_of(resources: bytes) -> bytes | None:
    """Return the IPTC record among Photoshop image resources."""
    at = 0
    while at + 12 <= len(resources) and resources[at : at + 4] == b"8BIM":
        name = (resources[at + 6] + 2) & ~1
        size_at = at + 6 + name
        if size_at + 4 > len(resources):
            return None
        size = struct.unpack_from(">I", resources, size_at)[0]
        if struct.unpack_from(">H", resources, at + 4)[0] == 0x0404:
            return resources[size_at + 4 : size_at + 4 + size]
        at = size_at + 4 + size + (size & 1)
    return None


def jpeg_kept(data: bytes, *, block: bytes | None = None, recipe: bytes | None = None) -> bytes:
    """Return a JPEG file's own APPn and COM segments, in order, without other pictures.

    Parameters
    ----------
    data
    block
        Another EXIF block, to take the place of the file's own, or before everything but JFIF's if it has none.
    recipe
        To be added at the end; one that the file has is left out.
    """
    kept: list[tuple[int, bytes]] = []
    for marker, start, end in jpeg_segments(data):
        body = data[start:end]
        carried = (0xE0 <= marker <= 0xEF or marker == 0xFE) and not body.startswith(_JPEG_MPF)
        if not carried or (marker == 0xEF and own_text.is_jpeg_body(body)):
            continue
        if block is not None and marker == 0xE1 and body.startswith(_JPEG_EXIF):
            kept.append((marker, _JPEG_EXIF + block))
            block = None
        elif (cleaned := _cleaned(f"{marker:02X}", body)) is not None:
            kept.append((marker, cleaned))
    if block is not None:
        place = next((n for n, (marker, _) in enumerate(kept) if marker != 0xE0), len(kept))
        kept.insert(place, (0xE1, _JPEG_EXIF + block))
    kept += [(0xEF, body) for body in own_text.jpeg_bodies(recipe)]
    return b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in kept)


def jpeg_blocks(metadata: Metadata, *, same: bool, fresh: bool) -> bytes:
    """Return APPn and COM segments that hold ``metadata``, in the customary order.

    ``same``: carry ``metadata.blocks`` too. ``fresh``: the samples were coded anew as Y, Cb, Cr, so a JFIF
    segment says so and Adobe's, which may say otherwise, is left out.
    """
    own = [pair for pair in metadata.blocks if not (fresh and pair[0] == "EE")] if same else []
    if fresh and not any(name == "E0" and body.startswith(b"JFIF\0") for name, body in own):
        x, y = (max(1, min(65535, round(side))) for side in metadata.dpi) if metadata.dpi else (1, 1)
        own.insert(0, ("E0", struct.pack(">5s2sBHHBB", b"JFIF\0", b"\1\2", bool(metadata.dpi), x, y, 0, 0)))
    if not same and metadata.iptc:
        padded = metadata.iptc + b"\0" * (len(metadata.iptc) & 1)
        resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(metadata.iptc)) + padded
        own.append(("ED", _PHOTOSHOP + resource))
    first = [pair for pair in own if pair[0] == "E0"]
    rest = [pair for pair in own if pair[0] != "E0"]
    fields: list[tuple[str, bytes]] = []
    if metadata.exif:
        fields.append(("E1", _JPEG_EXIF + metadata.exif))
    if metadata.xmp:
        fields.append(("E1", _JPEG_XMP + metadata.xmp))
    icc = metadata.icc or b""
    parts = [icc[i : i + 65519] for i in range(0, len(icc), 65519)]
    fields.extend(
        ("E2", _JPEG_ICC + bytes((number, len(parts))) + part) for number, part in enumerate(parts[:255], 1)
    )
    rest += [("EF", body) for body in own_text.jpeg_bodies(own_text.recipe_of(metadata))]
    return b"".join(
        struct.pack(">BBH", 0xFF, int(name, 16), len(body) + 2) + body
        for name, body in [*first, *fields, *rest]
        if len(body) <= 65533
    )


def _attach_jpeg(data: bytes, metadata: Metadata, *, same: bool) -> bytes:
    end = 2
    for marker, _, after in jpeg_segments(data):
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            break
        end = after
    return data[:2] + jpeg_blocks(metadata, same=same, fresh=True) + data[end:]


# ---- PNG


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 12 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        if at + 12 + size > len(data):
            return
        yield name, data[at + 8 : at + 8 + size]
        at += 12 + size


def _png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), name) + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))


def _inflate(data: bytes) -> bytes | None:
    worker = zlib.decompressobj()
    try:
        out = worker.decompress(data, _MAX_INFLATED)
    except zlib.error:
        return None
    return out if worker.eof else None


def _read_png(data: bytes) -> Found:
    icc = block = xmp = dpi = None
    text: list[tuple[str, str]] = []
    blocks: list[tuple[str, bytes]] = []
    notes: tuple[str, ...] = ()
    for name, body in _png_chunks(data):
        if name == b"acTL":
            notes = ("the first frame of the animation is used",)
        elif name == b"iCCP":
            icc = _inflate(body[body.find(b"\0") + 2 :])
        elif name == b"eXIf":
            block = body
        elif name == b"iTXt" and body.startswith(_PNG_XMP + b"\0"):
            xmp = _png_text(name, body)[1]
        elif name in _PNG_CARRIED:
            blocks.append((name.decode("ascii"), body))
            if name == b"pHYs" and len(body) == 9 and body[8] == 1:
                x, y = struct.unpack_from(">II", body)
                dpi = (x * 0.0254, y * 0.0254) if x and y else None
            elif name.endswith(b"Xt"):
                text.append(_png_entry(name.decode("ascii"), body))
    return _found(icc=icc, block=block, xmp=xmp, text=tuple(text), dpi=dpi, blocks=tuple(blocks), notes=notes)


def _png_text(name: bytes, body: bytes) -> tuple[str, bytes]:
    key, _, rest = body.partition(b"\0")
    if name == b"zTXt":
        rest = _inflate(rest[1:]) or b""
    elif name == b"iTXt":
        packed = rest[:1] == b"\1"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
        rest = (_inflate(rest) or b"") if packed else rest
    return key.decode("latin-1"), rest


def _png_entry(name: str, body: bytes) -> tuple[str, str]:
    key, value = _png_text(name.encode("ascii"), body)
    return key, value.decode("utf-8" if name == "iTXt" else "latin-1", "replace")


def _attach_png(data: bytes, metadata: Metadata, *, same: bool) -> bytes:
    own = list(metadata.blocks) if same else []
    told_dpi = same and (metadata.dpi == _exif_dpi(metadata.exif) or any(name == "pHYs" for name, _ in own))
    if metadata.dpi and not told_dpi:
        x, y = (max(1, round(side / 0.0254)) for side in metadata.dpi)
        own.append(("pHYs", struct.pack(">IIB", x, y, 1)))
    told = {_png_entry(name, body) for name, body in own if name.endswith("Xt")}
    for key, value in metadata.text:
        if (key, value) not in told:
            own.append(("iTXt", key[:79].encode("latin-1", "replace") + b"\0\0\0\0\0" + value.encode()))
    added = [_png_chunk(name.encode("ascii"), body) for name, body in own if name in _PNG_COLOUR]
    if metadata.icc:
        added.append(_png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    added += [_png_chunk(name.encode("ascii"), body) for name, body in own if name not in _PNG_COLOUR]
    if metadata.exif:
        added.append(_png_chunk(b"eXIf", metadata.exif))
    if metadata.xmp:
        added.append(_png_chunk(b"iTXt", _PNG_XMP + b"\0\0\0\0\0" + metadata.xmp))
    body_at = next(at for name, at in _png_places(data) if name in (b"PLTE", b"tRNS", b"IDAT"))
    return b"".join([data[:33], *added, data[body_at:]])


def _png_places(data: bytes) -> Iterator[tuple[bytes, int]]:
    at = 8
    while at + 12 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        yield name, at
        at += 12 + size


# ---- WebP


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        if at + 8 + size > len(data):
            return
        yield name, data[at + 8 : at + 8 + size]
        at += 8 + size + (size & 1)


def _webp_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack("<4sI", name, len(body)) + body + b"\0" * (len(body) & 1)


def _read_webp(data: bytes) -> Found:
    icc = block = xmp = recipe = None
    for name, body in _webp_chunks(data):
        if name == b"ICCP":
            icc = body
        elif name == b"EXIF":
            block = body.removeprefix(_JPEG_EXIF)
        elif name == b"XMP ":
            xmp = body
        elif name == own_text.WEBP_CHUNK:
            recipe = body
    return _found(icc=icc, block=block, xmp=xmp, recipe=recipe)


def webp_lossless(data: bytes) -> bool:
    """Return whether the (first) picture of a WebP file is stored without loss."""
    for name, body in _webp_chunks(data):
        if name in (b"VP8 ", b"VP8L", b"ANMF"):
            return name == b"VP8L" or body[16:20] == b"VP8L"
    return False


def _attach_webp(data: bytes, metadata: Metadata, *, opaque: bool) -> bytes:
    pictures = [(name, body) for name, body in _webp_chunks(data) if name in (b"VP8 ", b"VP8L", b"ALPH")]
    recipe = own_text.recipe_of(metadata)
    if not (metadata.icc or metadata.exif or metadata.xmp or recipe) or not pictures:
        return data
    name, body = pictures[-1]
    if name == b"VP8L":
        bits = struct.unpack_from("<I", body, 1)[0]
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", body, 6))
    flags = (0x20 if metadata.icc else 0) | (0 if opaque else 0x10)
    flags |= (0x08 if metadata.exif else 0) | (0x04 if metadata.xmp else 0)
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    chunks = [(b"VP8X", bytes((flags, 0, 0, 0)) + canvas)]
    chunks += [(b"ICCP", metadata.icc)] if metadata.icc else []
    chunks += pictures
    chunks += [(b"EXIF", metadata.exif)] if metadata.exif else []
    chunks += [(b"XMP ", metadata.xmp)] if metadata.xmp else []
    chunks += [(own_text.WEBP_CHUNK, recipe)] if recipe else []
    whole = b"WEBP" + b"".join(_webp_chunk(*chunk) for chunk in chunks)
    return struct.pack("<4sI", b"RIFF", len(whole)) + whole


# ---- TIFF


def _read_tiff(data: bytes) -> Found:
    first = exif.read(data)
    if first is None:
        return Found(metadata=Metadata())
    found = _found(
        icc=first.raw(exif.ICC),
        block=exif.from_tiff(data),
        xmp=first.raw(exif.XMP),
        iptc=first.raw(exif.IPTC),
        recipe=first.raw(own_text.TIFF_TAG),
        dpi=_exif_dpi(data),
        blocks=(("photoshop", first.entries[exif.PHOTOSHOP].value),)
        if exif.PHOTOSHOP in first.entries
        else (),
    )
    return Found(metadata=found.metadata, orientation=exif.orientation(data))
