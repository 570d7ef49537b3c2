"""The digest of a checkpoint's weights: SHA-256 of its file, remembered as long as the file stays as it is.

Of one file it is the file's own, the number whose beginning other programs show as the model's hash. It knows no
format.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from reknit.core.progress import Part, Report
from reknit.models.download import checksum

MEMORY = "digests.json"
"""In the store's own folder: what was computed, by path, size and time of change."""

_known: dict[str, str] = {}
_turn = threading.Lock()


def digest(files: Sequence[Path], report: Report, *, folder: Path | None = None) -> str:
    """Return the SHA-256, in hex, of one file; of several, that of their digests one a line.

    Parameters
    ----------
    files
        In the checkpoint's order: denoiser first.
    folder
        Reknit's own folder of models, where digests are remembered; None to remember them in this process only.
    """
    whole = sum(path.stat().st_size for path in files) or 1
    found: list[str] = []
    done = 0
    for path in files:
        size = path.stat().st_size
        found.append(_one(path, Part(report, done / whole, (done + size) / whole), folder))
        done += size
    return found[0] if len(found) == 1 else hashlib.sha256("\n".join(found).encode()).hexdigest()


def _one(path: Path, report: Report, folder: Path | None) -> str:
    stat = path.stat()
    key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    with _turn:
        known = _known.get(key) or _remembered(folder).get(key)
    if known is None:
        known = checksum(path, report)
        _remember(key, known, folder)
    _known[key] = known
    return known


def _remembered(folder: Path | None) -> dict[str, str]:
    if folder is None:
        return {}
    try:
        return dict(json.loads((folder / MEMORY).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _remember(key: str, known: str, folder: Path | None) -> None:
    """Write it down; a folder that cannot be written to costs only the time to compute it again."""
    if folder is None or not folder.is_dir():
        return
    with _turn, suppress(OSError):
        start = key.partition("|")[0] + "|"
        table = {each: value for each, value in _remembered(folder).items() if not each.startswith(start)}
        new = folder / f".{MEMORY}.{os.getpid()}"
        new.write_text(json.dumps(table | {key: known}, indent=1), encoding="utf-8")
        new.replace(folder / MEMORY)
