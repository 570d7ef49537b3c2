"""Contact sheets: truth, hole and fills side by side with labels, ten cases a page, as PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.cases import Case
from bench.peers import PATCHMATCH

Picture = NDArray[np.uint8]
WIDTH, LABEL, PAGE = 400, 18, 10


def _tile(picture: Picture, label: str) -> Picture:
    """Scale to the sheet's width and write the label above."""
    import cv2

    height = round(picture.shape[0] * WIDTH / picture.shape[1])
    scaled = cv2.resize(picture, (WIDTH, height), interpolation=cv2.INTER_AREA)
    strip = np.full((LABEL, WIDTH, 3), 255, np.uint8)
    cv2.putText(strip, label, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([strip, scaled])


class Sheet:
    """Collects rows and writes ``contact-1.png``, ``contact-2.png``, … into a folder."""

    def __init__(self, folder: Path, methods: list[str]) -> None:
        self._folder = folder
        self._shown = [m for m in methods if m not in PATCHMATCH and m != "navier-stokes"]
        self._patchmatch = [m for m in methods if m in PATCHMATCH]
        self._rows: list[Picture] = []
        self._written: list[str] = []

    def add(self, case: Case, filled: dict[str, Picture], scores: dict[str, dict[str, Any]]) -> None:
        """Add a case; of pypatchmatch's sizes the one with the least texture distance is shown."""
        tiles = [_tile(case.truth, case.name), _tile(case.holed, f"hole {case.hole.mean():.0%}")]
        shown = [*self._shown]
        if self._patchmatch:
            shown.insert(1, min(self._patchmatch, key=lambda m: scores[m]["fd"]))
        for method in shown:
            score = scores[method]
            label = f"{method}  ssim {score['ssim']:.2f}  fd {score['fd']:.3f}  seam {score['seam']:.2f}"
            tiles.append(_tile(filled[method], label))
        self._rows.append(np.hstack(tiles))
        if len(self._rows) == PAGE:
            self._write()

    def _write(self) -> None:
        import cv2

        name = f"contact-{len(self._written) + 1}.png"
        self._folder.mkdir(parents=True, exist_ok=True)
        page = np.vstack(self._rows)
        if not cv2.imwrite(str(self._folder / name), np.ascontiguousarray(page[..., ::-1])):
            raise OSError(f"cannot write {self._folder / name}")
        self._written.append(name)
        self._rows = []

    def close(self) -> list[str]:
        """Write what is left and return the names of all pages."""
        if self._rows:
            self._write()
        return self._written
