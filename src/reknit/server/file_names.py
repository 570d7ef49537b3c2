"""Names of files as clients give them: data to be shown, never paths.

A name is cleaned once when it comes in, and again has no say when it goes out: only a suffix that Reknit
chose follows it.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

from reknit.core.containers import SUFFIXES

_MAX_CHARS = 120
_SUFFIX = {"jpeg": ".jpg", "tiff": ".tif"}
MEDIA_TYPES = {
    "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "tiff": "image/tiff", "avif": "image/avif",
    "heic": "image/heic", "gif": "image/gif",
}  # fmt: skip


def clean_name(name: str) -> str:
    """Return the last part of a path, without what a name must not hold; maybe empty.

    Control and direction characters are left out, those that some system forbids become ``_``, and a long
    name loses its middle.
    """
    last = re.split(r"[/\\]", name)[-1]
    kept = "".join(
        c for c in last if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    )
    kept = re.sub(r'[<>:"|?*]', "_", unicodedata.normalize("NFC", kept)).strip(" .")
    if len(kept) > _MAX_CHARS:
        kept = kept[: _MAX_CHARS - 20] + "…" + kept[-19:]
    return kept


def name_for(name: str, container: str, *, edited: bool) -> str:
    """Return a file name with the suffix of ``container``; an edit's says that it is one."""
    stem, dot, suffix = name.rpartition(".")
    if not dot or f".{suffix.lower()}" not in SUFFIXES:
        stem, suffix = name, ""
    fits = SUFFIXES.get(f".{suffix.lower()}") == container
    stem = (stem or "picture") + ("-edited" if edited else "")
    return f"{stem}.{suffix}" if fits else stem + _SUFFIX.get(container, f".{container}")


def content_disposition(name: str) -> str:
    """Return the header value that offers a download under ``name`` (RFC 6266, RFC 8187)."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    plain = re.sub(r"[^\w .()+,=@~-]", "_", plain, flags=re.ASCII)
    plain = plain if plain.partition(".")[0].strip(" _") else "picture." + plain.rpartition(".")[2]
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
