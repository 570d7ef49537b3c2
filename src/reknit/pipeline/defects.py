"""Find dust, scratches, folds and tears of a scanned photo with classical filters.

What stands out is what is lighter (or darker) than its surroundings in every channel, thinner than a
morphological opening, stronger than the texture around it and not the rim of something larger; its shape
then decides which kind of damage it is, or that it is part of the picture. Sizes follow the picture's.
The measures are classical; the weights that judge them were fitted once (`defect_weights`). Nothing here
knows how holes are filled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import InputError, nearest_name
from reknit.core.image import Samples
from reknit.core.options import Option
from reknit.core.progress import Report, Reporter
from reknit.pipeline.defect_weights import SPECK_WEIGHTS, STROKE_WEIGHTS
from reknit.pipeline.parts import Bits, Bytes, Parts, Plane, disk, grown, local_mean, morphed

KINDS = ("dust", "scratch", "fold", "tear")
WORK_PIXELS = 1_300_000
_ANGLES = 16
_MOST_CHORDS = 5

OPTIONS: tuple[Option, ...] = (
    Option(
        name="sensitivity",
        kind="float",
        default=0.5,
        minimum=0.0,
        maximum=1.0,
        help="0 marks only what is surely damage, 1 whatever might be",
    ),
    Option(
        name="kinds",
        kind="text",
        default=",".join(KINDS),
        help=f"what to look for, separated by commas: {', '.join(KINDS)}",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Defects:
    """Where a photo is damaged, and how.

    Attributes
    ----------
    mask : ndarray of bool, (H, W)
        All damage with its soft edges, True = damaged.
    by_kind : Mapping of str to ndarray of bool, (H, W)
        The same for each kind that was looked for; kinds may overlap.
    """

    mask: Bits
    by_kind: Mapping[str, Bits]


def parse_kinds(text: str) -> tuple[str, ...]:
    """Return the kinds named in ``text`` (``"dust,fold"``), or raise `InputError` (``repair.kind``)."""
    return _checked_kinds(word.strip() for word in text.split(","))


def detect(
    pixels: Samples,
    *,
    kinds: Iterable[str] = KINDS,
    sensitivity: float = 0.5,
    report: Report | None = None,
) -> Defects:
    """Return where a scanned photo is damaged.

    Parameters
    ----------
    pixels
        (H, W, 3) uint8 or uint16, RGB.
    kinds
        Which of `KINDS` to look for.
    sensitivity
        0 (only what is sure) to 1 (whatever might be).

    Raises
    ------
    InputError
        ``repair.kind`` for an unknown kind, ``option.value`` for a sensitivity outside 0…1.

    Notes
    -----
    Larger pictures are searched at `WORK_PIXELS`, so time and memory stay bounded. The smallest mark that
    is looked for is a thousandth of the picture's side, or one pixel.
    """
    wanted = _checked_kinds(kinds)
    bar = 8 * (0.5 - float(OPTIONS[0].check(sensitivity)))
    progress = Reporter() if report is None else report
    progress.step("search", 0.0)
    work = _work_copy(pixels)
    unit = max(1.0, (work.shape[0] * work.shape[1]) ** 0.5 / 1000)
    found = {kind: np.zeros(work.shape[:2], np.bool_) for kind in KINDS}
    contrasts: dict[bool, _Contrast] = {}
    for share, light in ((0.05, True), (0.4, False)):
        contrasts[light], ground = _contrast(work, light, mark_px=9 * unit, around_px=51 * unit)
        progress.step("search", share + 0.1)
        if "dust" in wanted:
            found["dust"] |= grown(_dust(contrasts[light], ground, unit, light, bar), 1.5 * unit)
        progress.step("search", share + 0.15)
        if "scratch" in wanted:
            found["scratch"] |= grown(_scratches(contrasts[light], ground, unit, light, bar), unit)
    progress.step("search", 0.75)
    if {"scratch", "fold"} & set(wanted):
        thin, thick = _crossing_lines(contrasts, unit, bar)
        found["scratch"] |= grown(thin, unit)
        found["fold" if "fold" in wanted else "scratch"] |= grown(thick, 2 * unit)
    progress.step("search", 0.9)
    if "tear" in wanted:
        found["tear"] |= grown(_tears(work, unit, bar), 1.5 * unit)
    by_kind = {kind: _full_size(found[kind], pixels.shape) for kind in wanted}
    progress.step("search", 1.0)
    mask = np.logical_or.reduce(list(by_kind.values()))
    return Defects(mask=mask, by_kind=by_kind)


# --- what stands out -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contrast:
    """How much each pixel stands out as a thin mark: ``level`` in 0…255, ``score`` relative to around it."""

    level: Plane
    score: Plane


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What lies around and under thin marks, in levels 0…255 of the least channel (of the negative for dark).

    ``smooth``: the picture, ``low``: it without thin marks, ``step``: the range of that nearby, ``texture``:
    how much else stands out around, ``spread``: the deviation nearby, ``against``: how much marks of the
    other polarity stand out right beside.
    """

    smooth: Plane
    low: Plane
    step: Plane
    texture: Plane
    spread: Plane
    against: Plane


def _contrast(work: Bytes, light: bool, mark_px: float, around_px: float) -> tuple[_Contrast, _Ground]:
    """Return how much thin marks up to ``mark_px`` wide stand out, judged against ``around_px`` around them.

    A white mark lifts every channel, the darkest most; a highlight lifts the brightest most. So the top-hat
    of the darkest channel is the level, and it counts less where the brightest channel's is larger. (For
    dark marks the same on the negative.)
    """
    import cv2

    least, most = (
        (work.min(axis=2), work.max(axis=2)) if light else (255 - work.max(axis=2), 255 - work.min(axis=2))
    )
    element = disk(mark_px)
    low = morphed(cv2.MORPH_OPEN, least, element)
    level = (least - low).astype(np.float32)
    other = (most - morphed(cv2.MORPH_OPEN, most, element)).astype(np.float32)
    body = local_mean(morphed(cv2.MORPH_CLOSE, low, element).astype(np.float32), 3)
    step = morphed(cv2.MORPH_GRADIENT, body, element)
    texture = local_mean(np.minimum(level, 60), around_px)
    score = level / (6 + texture + 0.25 * step) * np.minimum(1, level / np.maximum(other, 1))
    low = low.astype(np.float32)
    mean = local_mean(low, 2 * mark_px)
    spread = np.sqrt(np.maximum(0, local_mean(low * low, 2 * mark_px) - mean * mean))
    smooth = local_mean(least.astype(np.float32), 3)
    against = local_mean((morphed(cv2.MORPH_CLOSE, least, element) - least).astype(np.float32), 1.3 * mark_px)
    ground = _Ground(smooth=smooth, low=low, step=step, texture=texture, spread=spread, against=against)
    return _Contrast(level=level, score=cast(Plane, score)), ground


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidates:
    """Parts that might be damage and their measures, one row a part, in the order of the weights."""

    parts: Parts
    measures: NDArray[np.float64]


def _specks(contrast: _Contrast, ground: _Ground, unit: float, light: bool) -> _Candidates:
    """Return compact parts and their measures."""
    parts = Parts.of(contrast.score > 1.6)
    level = parts.mean(contrast.level)
    peak = parts.largest(contrast.score)
    long_side, short_side = np.maximum(parts.width, parts.height), np.minimum(parts.width, parts.height)
    compact = (long_side <= 14 * unit) & (long_side <= 3.5 * short_side + 1) & (parts.area >= 2)
    crowd = parts.crowd(compact & (peak > 2.5), 60 * unit)
    spread = parts.mean(ground.spread)
    measures = (
        np.log(peak),
        np.log(parts.largest(contrast.level)),
        parts.largest(contrast.level) / np.maximum(20, 245 - parts.mean(ground.low)),
        np.log(parts.area / unit**2),
        parts.area / (parts.width * parts.height),
        long_side / short_side,
        np.log1p(crowd),
        np.minimum(3, spread / level),
        np.minimum(3, parts.mean(ground.step) / level),
        np.log(6 + parts.mean(ground.texture)),
        np.minimum(2, parts.mean(ground.against) / level),
        np.full(parts.area.size, float(light)),
    )
    return _Candidates(parts=parts.only(compact), measures=np.stack(measures, axis=1)[compact])


def _strokes(contrast: _Contrast, ground: _Ground, unit: float, light: bool) -> Iterable[_Candidates]:
    """Yield thin parts that run one way within 45°, and their measures; a curved hair comes in pieces."""
    support, direction = _line_support(np.clip(contrast.score / 2.4, 0, 1), round(np.log2(30 * unit)))
    candidate = (contrast.score > 1.4) & (support > 0.55)
    around = round(101 * unit) | 1
    crowd = local_mean(candidate.astype(np.float32), around) * around**2
    for k in range(_ANGLES // 2):
        parts = Parts.of(candidate & ((direction - (2 * k - 1)) % _ANGLES < 4))
        if not parts.area.size:
            continue
        turn = np.pi * (2 * k + 0.5) / _ANGLES
        one, other = _flanks(ground.smooth, -np.sin(turn) * 6 * unit, np.cos(turn) * 6 * unit)
        thick, (long, wide) = parts.thickness(), parts.extent()
        level = parts.mean(contrast.level)
        value = parts.mean(ground.smooth)
        deviation = np.maximum(0, parts.mean(ground.smooth**2) - value**2) ** 0.5
        spread = np.maximum(0, parts.mean(contrast.level**2) - level**2) ** 0.5
        measures = (
            np.log(parts.mean(contrast.score)),
            np.log(level),
            level / np.maximum(20, 245 - parts.mean(ground.low)),
            np.log(long / unit),
            np.log(thick / unit),
            wide / long,
            np.abs(np.log(long * thick / parts.area)),
            np.minimum(3, parts.mean(np.abs(one - other)) / level),
            np.clip(parts.mean(ground.smooth - np.maximum(one, other)) / level, -2, 1),
            np.log1p(parts.at_center(crowd) / parts.area),
            parts.mean(support),
            spread / level,
            value / 255,
            deviation / 64,
            np.minimum(3, parts.mean(ground.spread) / level),
            np.minimum(2, parts.mean(ground.against) / level),
            np.full(parts.area.size, float(light)),
        )
        slender = (long > 20 * unit) & (wide < 0.35 * long) & (thick < 4.5 * unit)
        yield _Candidates(parts=parts.only(slender), measures=np.stack(measures, axis=1)[slender])


def _flanks(plane: Plane, dx: float, dy: float) -> tuple[Plane, Plane]:
    """Return ``plane`` shifted by (dx, dy) and by the opposite, edges repeated."""
    x, y = round(dx), round(dy)
    pad = max(abs(x), abs(y))
    wide = np.pad(plane, pad, "edge")
    height, width = plane.shape
    there = wide[pad + y : pad + y + height, pad + x : pad + x + width]
    back = wide[pad - y : pad - y + height, pad - x : pad - x + width]
    return there, back


def _line_support(strength: Plane, doublings: int) -> tuple[Plane, NDArray[np.int8]]:
    """Return the largest mean of ``strength`` (0…1) along a line, and the number of its direction.

    The line is centred and 2^``doublings`` px long; it is summed by adding the picture to itself, shifted by
    1, 2, 4, ... steps.
    """
    steps = 2**doublings
    height, width = strength.shape
    wide = np.pad(strength / steps, steps, "reflect" if min(height, width) > steps else "edge")
    best, direction = np.zeros_like(strength), np.zeros(strength.shape, np.int8)
    for k in range(_ANGLES):
        turn = np.pi * k / _ANGLES
        total, x, y = wide, 0, 0
        for i in range(doublings):
            dx, dy = round(2**i * np.cos(turn)), round(2**i * np.sin(turn))
            total = total + np.roll(total, (-dy, -dx), axis=(0, 1))
            x, y = x + dx, y + dy
        top, left = steps - round(y / 2), steps - round(x / 2)
        mean = total[top : top + height, left : left + width]
        better = mean > best
        np.copyto(best, mean, where=better)
        direction[better] = k
    return best, direction


# --- what is damage --------------------------------------------------------------------------------------


def _dust(contrast: _Contrast, ground: _Ground, unit: float, light: bool, bar: float) -> Bits:
    found = _specks(contrast, ground, unit, light)
    return found.parts.where(_logit(found.measures, SPECK_WEIGHTS) > 0.7 + bar)


def _scratches(contrast: _Contrast, ground: _Ground, unit: float, light: bool, bar: float) -> Bits:
    """Return sure strokes, and doubtful ones that go on from a sure one."""
    sure = np.zeros(contrast.score.shape, np.bool_)
    doubtful = sure.copy()
    for found in _strokes(contrast, ground, unit, light):
        logit = _logit(found.measures, STROKE_WEIGHTS)
        sure |= found.parts.where(logit > 3.6 + bar)
        doubtful |= found.parts.where(logit > 1.2 + bar)
    chains = Parts.of(grown(doubtful, 4 * unit))
    return doubtful & chains.where(chains.largest(sure.astype(np.float32)) > 0)


def _crossing_lines(contrasts: Mapping[bool, _Contrast], unit: float, bar: float) -> tuple[Bits, Bits]:
    """Return straight marks from one border of the picture to another: thin ones, thick ones.

    Along such a line most pixels stand out, and beside it they don't; what stands out near it belongs to it.
    Pictures have more dark lines of their own than light ones, so dark ones must be surer.
    """
    import cv2

    shape = contrasts[True].score.shape
    shrink = max(1.0, max(shape) / 240)
    strengths = np.stack([_small(contrasts[light].score, shrink) for light in (True, False)], axis=2)
    lines = _chords(strengths, hurdles=(0.4 + 0.03 * bar, 0.72 + 0.03 * bar))
    thin, thick = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    for light, found in zip((True, False), lines, strict=True):
        stands_out = contrasts[light].score > 1.0
        for ends, marked_px in found:
            a, b = ([round(float(v) * shrink) for v in end] for end in ends)
            band = np.zeros(shape, np.uint8)
            cv2.line(band, a, b, 1, round(5 * unit + 2 * shrink))
            marked = band.astype(np.bool_) & stands_out
            if np.count_nonzero(marked) > 5 * unit * marked_px * shrink:  # a fold never stops on the way
                cv2.line(band, a, b, 2, round(4 * unit))
                thick |= marked | (band == 2)
            else:
                thin |= marked
    return thin, thick


def _small(score: Plane, shrink: float) -> Bytes:
    """Return the score, 2.5 and more as 255, in a copy smaller by ``shrink`` that keeps what is thin."""
    import cv2

    strength = (np.clip(score / 2.5, 0, 1) * 255).astype(np.uint8)
    thick = cv2.dilate(strength, disk(shrink))
    return cast(Bytes, cv2.resize(thick, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA))


def _apart(line: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return how far the middle of either line lies from the other line, in pixels."""
    gaps: list[float] = []
    for one, two in ((line, other), (other, line)):
        along = (two[1] - two[0]) / np.hypot(*(two[1] - two[0]))
        middle = one.mean(axis=0) - two[0]
        gaps.append(abs(float(middle[0] * along[1] - middle[1] * along[0])))
    return max(gaps)


_Line = tuple[NDArray[np.float64], float]


def _chords(strengths: Bytes, hurdles: Iterable[float]) -> list[list[_Line]]:
    """Return the lines across each channel of ``strengths`` (H, W, 2) that stand out: ends, marked length.

    A Radon transform in steps of 1.5°: a chord's merit is its mean less that of the chords beside it.
    """
    import cv2

    height, width = strengths.shape[:2]
    side = int(np.hypot(height, width)) + 3
    planes = np.dstack([strengths, np.full((height, width), 255, np.uint8)])
    found: list[list[tuple[float, _Line]]] = [[], []]
    limits = tuple(hurdles)
    for degrees in np.arange(0, 180, 1.5):
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), float(degrees), 1)
        turn[:, 2] += (side - width) / 2, (side - height) / 2
        sums = cast(Bytes, cv2.warpAffine(planes, turn, (side, side))).sum(axis=0, dtype=np.float64) / 255
        back = cv2.invertAffineTransform(turn)
        for k, hurdle in enumerate(limits):
            mean = np.where(sums[:, 2] < 0.5 * min(height, width), 0, sums[:, k] / np.maximum(sums[:, 2], 1))
            beside = np.sort([np.roll(mean, shift) for shift in (-12, -9, -6, 6, 9, 12)], axis=0)[4]
            merit = np.minimum(mean - beside, mean - 0.15)
            top = mean >= np.maximum(np.roll(mean, 1), np.roll(mean, -1))
            for column in np.flatnonzero((merit > hurdle - 0.12) & top):
                ends = np.array([[column, 0], [column, side]]) @ back[:, :2].T + back[:, 2]
                found[k].append((float(merit[column]), (ends.astype(np.float64), float(sums[column, k]))))
    return [_distinct(lines, hurdle) for lines, hurdle in zip(found, limits, strict=True)]


def _distinct(lines: list[tuple[float, _Line]], hurdle: float) -> list[_Line]:
    """Return the best of each bundle of lines above ``hurdle``; none at all if too many come near it.

    Masonry and print have many straight lines, a damaged photo a few.
    """
    chosen: list[tuple[float, _Line]] = []
    for merit, line in sorted(lines, key=lambda line: -line[0]):
        if all(_apart(line[0], other[0]) > 9 for _, other in chosen):
            chosen.append((merit, line))
        if len(chosen) > _MOST_CHORDS:
            return []
    return [line for merit, line in chosen if merit > hurdle]


def _tears(work: Bytes, unit: float, bar: float) -> Bits:
    """Return ragged bands as white as paper that reach the picture's border."""
    import cv2

    least = work.min(axis=2)
    level = (least - morphed(cv2.MORPH_OPEN, least, disk(27 * unit))).astype(np.float32)
    white = (least > 205 + 4 * bar) & (level > 50 + 8 * bar)
    parts = Parts.of(morphed(cv2.MORPH_OPEN, white.astype(np.uint8), disk(3 * unit)).astype(np.bool_))
    rim = np.zeros(white.shape, np.float32)
    near = round(3 * unit)
    rim[:near] = rim[-near:] = rim[:, :near] = rim[:, -near:] = 1
    long, wide = parts.extent()
    thick = parts.thickness()
    ragged = (
        (parts.largest(rim) > 0) & (long > 24 * unit) & (thick < 22 * unit) & (parts.area > 2.2 * thick**2)
    )
    contrast = parts.mean(level)
    return parts.where(ragged & (wide < 0.6 * long) & (contrast > 70 + 8 * bar))


def _logit(measures: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the evidence for damage: a sum of bent lines, one for each measure.

    Each row of ``weights`` holds a measure's mean, its scale, and the slopes: everywhere, added above +0.7
    and added below -0.7 standard deviations. The last row holds the constant.
    """
    mean, scale, slope, above, below = weights[:-1].T
    z = (measures - mean) / scale
    bent = slope * z + above * np.maximum(0, z - 0.7) + below * np.maximum(0, -z - 0.7)
    return bent.sum(axis=1) + weights[-1, 0]


# --- small pictures of arrays ----------------------------------------------------------------------------


def _work_copy(pixels: Samples) -> Bytes:
    """Return the pixels at 8 bits and at most about `WORK_PIXELS`."""
    import cv2

    height, width = pixels.shape[:2]
    scale = (WORK_PIXELS / (height * width)) ** 0.5
    small = (pixels if pixels.dtype == np.uint8 else pixels >> 8).astype(np.uint8)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cast(Bytes, cv2.resize(small, size, interpolation=cv2.INTER_AREA))
    return small


def _full_size(mask: Bits, shape: tuple[int, ...]) -> Bits:
    import cv2

    if mask.shape == shape[:2]:
        return mask
    large = cv2.resize(mask.astype(np.uint8), (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST)
    return cast(Bits, large.astype(np.bool_))


def _checked_kinds(kinds: Iterable[str]) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(kinds))
    for kind in chosen or ("",):
        if kind not in KINDS:
            raise InputError(
                f"no kind of damage is called {kind!r}", code="repair.kind", hint=nearest_name(kind, KINDS)
            )
    return chosen
