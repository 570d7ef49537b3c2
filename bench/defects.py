"""Measure `reknit.pipeline.defects` on real photos with drawn damage, or fit its weights anew.

``python -m bench.defects`` prints the figures of docs/repair.md; with a folder it also writes overlays
there. ``--held-out`` fits the weights anew without the photo at hand, ``--fit`` rewrites
``defect_weights.py`` (damage seeds 5 to 8; the figures use others). Photos come from the wheels of
scikit-image and scikit-learn.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray
from sklearn.datasets import load_sample_image
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from damage import damage, unit_px
from reknit.pipeline import defects

NAMES = ("astronaut", "coffee", "chelsea", "camera", "rocket", "motorcycle_left")
NAMES += ("coins", "brick", "grass", "gravel", "china", "flower")
HARD = ("retina", "moon", "ihc", "hubble_deep_field", "text", "page")
COLOURS = {"dust": (255, 0, 0), "scratch": (0, 255, 0), "fold": (0, 120, 255), "tear": (255, 0, 255)}
FITTED = ("dust", "scratch")
Rows = tuple[NDArray[np.float64], NDArray[np.float64]]
FIT_SEEDS, TEST_SEEDS = (5, 6, 7, 8), (21, 22)


def photo(name: str) -> NDArray[np.uint8]:
    """Return a photo by name, (H, W, 3) uint8 RGB."""
    if name in ("china", "flower"):
        return np.ascontiguousarray(load_sample_image(f"{name}.jpg"))
    folder = Path(skimage.data.__file__).parent
    path = next(folder / f"{name}{end}" for end in (".png", ".jpg") if (folder / f"{name}{end}").exists())
    return np.ascontiguousarray(cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1])


def overlay(pixels: NDArray[np.uint8], found: defects.Defects, truth: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return a picture of what was found by kind, and in yellow what was missed."""
    out = (pixels * 0.5 + 60).astype(np.uint8)
    for kind, mask in found.by_kind.items():
        out[mask] = COLOURS[kind]
    out[truth & ~found.mask] = (255, 255, 0)
    return out


def measure(sensitivity: float, folder: Path | None, rows: dict[str, Rows] | None = None) -> None:
    """Print false marks on clean photos and what share of drawn damage is found.

    With ``rows`` each photo is searched with weights that were fitted without it.
    """
    hits = {kind: np.zeros(4) for kind in defects.KINDS}
    false: list[float] = []
    seconds = pixels = 0.0
    for name in NAMES if rows else (*NAMES, *HARD):
        if rows:
            defects.SPECK_WEIGHTS, defects.STROKE_WEIGHTS = (
                weigh(rows[kind], without=name) for kind in FITTED
            )
        clean = photo(name)
        start = time.perf_counter()
        found = defects.detect(clean, sensitivity=sensitivity)
        seconds += time.perf_counter() - start
        pixels += clean.shape[0] * clean.shape[1]
        shares = ", ".join(f"{kind} {100 * mask.mean():.2f}" for kind, mask in found.by_kind.items())
        print(f"{name:18s} clean: {100 * found.mask.mean():.2f} % marked ({shares})")
        if folder:
            cv2.imwrite(str(folder / f"{name}.png"), overlay(clean, found, found.mask)[..., ::-1])
        if name in HARD:
            continue
        false.append(100 * found.mask.mean())
        for seed in TEST_SEEDS:
            made = damage(clean, seed=seed)
            found = defects.detect(made.pixels, sensitivity=sensitivity)
            for kind, truth in made.truth.items():
                hits[kind] += count(found.mask, truth)
            if folder:
                truth = np.logical_or.reduce([*made.truth.values()])
                both = np.hstack([made.pixels, overlay(made.pixels, found, truth)])
                cv2.imwrite(str(folder / f"{name}-{seed}.png"), both[..., ::-1])
    mean, median = np.mean(false), np.median(false)
    print(f"sensitivity {sensitivity}: marked on clean photos: mean {mean:.2f} %, median {median:.2f} %")
    for kind, (marks, all_marks, area, all_area) in hits.items():
        share, covered = 100 * marks / all_marks, 100 * area / all_area
        print(f"  {kind}: {share:.0f} % of marks and {covered:.0f} % of their pixels found")
    print(f"  {seconds / pixels * 1e6:.2f} s a megapixel")


def count(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return how many marks are found (more than half covered), of how many; how many pixels, of how many."""
    n, labels = cv2.connectedComponents(truth.astype(np.uint8))
    whole = np.bincount(labels[truth], minlength=n)[1:]
    share = np.bincount(labels[truth], found[truth], n)[1:] / np.maximum(whole, 1)
    return int((share > 0.5).sum()), n - 1, np.count_nonzero(found & truth), np.count_nonzero(truth)


def gather(kind: str) -> Rows:
    """Return the measures of what might be ``kind`` of damage on every photo, clean and damaged."""
    measures: list[NDArray[np.float64]] = []
    facts: list[NDArray[np.float64]] = []
    for number, name in enumerate(NAMES):
        clean = photo(name)
        unit = unit_px(clean.shape)
        drawn = (damage(clean, seed=seed, kinds=(kind,)) for seed in FIT_SEEDS)
        for pixels, truth in [(clean, None), *((made.pixels, made.truth[kind]) for made in drawn)]:
            for light in (True, False):
                contrast, ground = defects._contrast(pixels, light, 9 * unit, 51 * unit)
                search = defects._strokes if kind == "scratch" else lambda *a: [defects._specks(*a)]
                for found in search(contrast, ground, unit, light):
                    keep = np.ones(found.parts.area.size, bool)
                    if truth is not None:
                        keep = found.parts.mean(truth.astype(np.float32)) > 0.6
                    measures.append(found.measures[keep])
                    known = np.full((keep.sum(), 2), (number, truth is not None))
                    weight = np.sqrt(found.parts.area[keep]) if kind == "scratch" else np.ones(keep.sum())
                    facts.append(np.column_stack([known, weight]))
    return np.concatenate(measures), np.concatenate(facts)


def weigh(rows: Rows, without: str = "") -> NDArray[np.float64]:
    """Return the weights that a logistic regression gives, on all photos or all but one."""
    measures, facts = rows
    kept = facts[:, 0] != (NAMES.index(without) if without else -1)
    x, (_, y, weight) = measures[kept], facts[kept].T
    mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-9
    z = (x - mean) / scale
    bent = np.hstack([z, np.maximum(0, z - 0.7), np.maximum(0, -z - 0.7)])
    model = LogisticRegression(max_iter=3000, C=0.1).fit(bent, y, sample_weight=weight)
    slopes = model.coef_[0].reshape(3, -1)
    return np.vstack([np.stack([mean, scale, *slopes], axis=1), [model.intercept_[0], 0, 0, 0, 0]])


def write_weights() -> None:
    """Fit both kinds and rewrite ``defect_weights.py``, keeping its docstring."""
    path = Path(defects.__file__).with_name("defect_weights.py")
    text = path.read_text().split("SPECK_WEIGHTS")[0]
    for title, kind in zip(("SPECK_WEIGHTS", "STROKE_WEIGHTS"), FITTED, strict=True):
        weights = weigh(gather(kind))
        lines = "".join(f"        ({', '.join(f'{value:.3g}' for value in row)}),\n" for row in weights)
        text += f"{title} = np.array(\n    [\n{lines}    ]\n)\n\n"
    path.write_text(text.rstrip() + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where overlays go")
    parser.add_argument("--sensitivity", type=float, default=0.5)
    parser.add_argument("--fit", action="store_true", help="rewrite the weights")
    parser.add_argument(
        "--held-out", action="store_true", help="search each photo with weights fitted without it"
    )
    asked = parser.parse_args()
    if asked.fit:
        write_weights()
    else:
        if asked.folder:
            asked.folder.mkdir(parents=True, exist_ok=True)
        rows = {kind: gather(kind) for kind in FITTED} if asked.held_out else None
        measure(asked.sensitivity, asked.folder, rows)
