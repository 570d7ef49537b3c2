"""Damage photos on purpose: dust, hairs, scratches, folds and tears, with the exact truth of where.

Everything is drawn with soft edges at sizes that follow the picture's, from a seed. ``python
examples/damage.py photo.jpg out.png`` writes a damaged copy; tests and docs/repair.md measure with it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

VISIBLE = 8
"""A pixel counts as damaged when one of its channels differs by more than this, of 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """A damaged picture and where each kind of damage is visible.

    Attributes
    ----------
    pixels : ndarray, (H, W, 3) uint8
    truth : dict of str to ndarray, (H, W) bool
        One mask for each of ``dust``, ``scratch`` (with hairs), ``fold`` and ``tear`` that was asked for.
    """

    pixels: NDArray[np.uint8]
    truth: dict[str, NDArray[np.bool_]]


def damage(
    pixels: NDArray[np.uint8],
    *,
    seed: int,
    kinds: tuple[str, ...] = ("dust", "scratch", "fold", "tear"),
    amount: float = 1.0,
) -> Damaged:
    """Return a damaged copy of ``pixels`` (H, W, 3) uint8; ``amount`` scales how many marks there are."""
    rng = np.random.default_rng(seed)
    picture = pixels.astype(np.float32)
    truth: dict[str, NDArray[np.bool_]] = {}
    draw: dict[str, Callable[..., None]] = {
        "dust": _dust,
        "scratch": _scratches,
        "fold": _folds,
        "tear": _tears,
    }
    for kind in sorted(kinds, key=list(draw).index, reverse=True):
        before = picture.copy()
        draw[kind](picture, rng, amount)
        truth[kind] = np.abs(picture - before).max(axis=2) > VISIBLE
    return Damaged(pixels=np.clip(np.rint(picture), 0, 255).astype(np.uint8), truth=truth)


def unit_px(shape: tuple[int, ...]) -> float:
    """Return the size of the smallest visible mark in a picture of ``shape``, at least one pixel."""
    return max(1.0, (shape[0] * shape[1]) ** 0.5 / 1000)


def _blend(picture: NDArray[np.float32], cover: NDArray[np.float32], level: float, soft_px: float) -> None:
    """Paint ``level`` where ``cover`` (0…1) is, after softening its edge."""
    soft = cv2.GaussianBlur(cover, (0, 0), soft_px)[..., None]
    picture += soft * (level - picture)


def _stroke(
    shape: tuple[int, ...], points: NDArray[np.float64], width_px: float, opacity: float
) -> NDArray[np.float32]:
    """Return a polyline's cover, anti-aliased; thinner than a pixel is drawn fainter."""
    canvas = np.zeros(shape[:2], np.uint8)
    fixed = np.rint(points * 16).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(canvas, [fixed], False, 255, max(1, round(width_px)), cv2.LINE_AA, 4)
    return canvas.astype(np.float32) * np.float32(opacity * min(1.0, width_px) / 255)


def _level(rng: np.random.Generator, white: float) -> float:
    return float(rng.uniform(225, 255) if rng.random() < white else rng.uniform(0, 35))


def _dust(picture: NDArray[np.float32], rng: np.random.Generator, amount: float) -> None:
    unit = unit_px(picture.shape)
    height, width = picture.shape[:2]
    for _ in range(max(1, round(40 * amount))):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        long, turn = unit * rng.uniform(0.9, 3.6), rng.uniform(0, 2 * np.pi)
        t = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        reach = long * rng.uniform(0.6, 1.1, t.size)
        oval = np.stack([reach * np.cos(t), reach * np.sin(t) * rng.uniform(0.5, 1)], axis=1)
        spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        outline = np.rint((oval @ spin + (x, y)) * 16).astype(np.int32)
        cover = np.zeros((height, width), np.uint8)
        cv2.fillPoly(cover, [outline.reshape(-1, 1, 2)], 255, cv2.LINE_AA, 4)
        share = np.float32(rng.uniform(0.65, 1.0) / 255)
        _blend(picture, cover.astype(np.float32) * share, _level(rng, 0.7), 0.5 * unit)


def _scratches(picture: NDArray[np.float32], rng: np.random.Generator, amount: float) -> None:
    unit = unit_px(picture.shape)
    height, width = picture.shape[:2]
    for _ in range(max(1, round(5 * amount))):  # hairs: curled, of one thickness
        n, turn = 40, rng.uniform(0, 2 * np.pi)
        step = unit * rng.uniform(60, 180) / n
        turns = turn + np.cumsum(rng.normal(0, 0.06, n) + rng.normal(0, 0.03))
        path = np.cumsum(np.stack([np.cos(turns), np.sin(turns)], axis=1) * step, axis=0)
        path += rng.uniform(0.05, 0.9, 2) * (width, height) - path.mean(axis=0) * 0.5
        cover = _stroke(picture.shape, path, unit * rng.uniform(1, 2), rng.uniform(0.7, 1))
        _blend(picture, cover, _level(rng, 0.6), 0.4 * unit)
    for k in range(
        max(1, round(4 * amount))
    ):  # scratches: straight, uneven; the first one down the whole film
        if k == 0:
            x = rng.uniform(0.1, 0.9) * width
            ends = np.array([[x, -2], [x + rng.normal(0, 0.006) * width, height + 2]])
        else:
            turn, length = rng.uniform(0, np.pi), unit * rng.uniform(80, 400)
            middle = rng.uniform(0.15, 0.85, 2) * (width, height)
            ends = middle + np.array([[-0.5], [0.5]]) * length * np.array([np.cos(turn), np.sin(turn)])
        t = np.linspace(0, 1, 60)[:, None]
        path = ends[0] + t * (ends[1] - ends[0]) + rng.normal(0, 0.25 * unit, (60, 2))
        cover = _stroke(picture.shape, path, unit * rng.uniform(1, 2.4), 1)
        grain = cv2.GaussianBlur(rng.random(cover.shape, np.float32), (0, 0), 12 * unit)
        grain = (grain - grain.min()) / (grain.max() - grain.min() + 1e-6)
        _blend(picture, cover * (0.5 + 0.5 * grain), _level(rng, 0.85), 0.45 * unit)


def _folds(picture: NDArray[np.float32], rng: np.random.Generator, amount: float) -> None:
    unit = unit_px(picture.shape)
    height, width = picture.shape[:2]
    for _ in range(max(1, round(amount))):
        a, b = rng.uniform(0.2, 0.8, 2)
        down = rng.random() < 0.5
        ends = np.array(
            [[a * width, -9], [b * width, height + 9]]
            if down
            else [[-9, a * height], [width + 9, b * height]]
        )
        t = np.linspace(0, 1, 90)[:, None]
        path = ends[0] + t * (ends[1] - ends[0]) + rng.normal(0, 0.5 * unit, (90, 2))
        wide = unit * rng.uniform(3, 6)
        shade = _stroke(picture.shape, path + 0.8 * wide, 1.2 * wide, rng.uniform(0.2, 0.4))
        _blend(picture, shade, 20, 0.8 * unit)
        crack = rng.random(picture.shape[:2], np.float32)
        crack = 0.75 + 0.25 * (cv2.GaussianBlur(crack, (0, 0), 2 * unit) > 0.5)
        _blend(picture, _stroke(picture.shape, path, wide, 0.95) * crack.astype(np.float32), 232, 0.7 * unit)


def _tears(picture: NDArray[np.float32], rng: np.random.Generator, amount: float) -> None:
    unit = unit_px(picture.shape)
    height, width = picture.shape[:2]
    for _ in range(max(1, round(amount))):
        side, along = int(rng.integers(4)), rng.uniform(0.15, 0.85)
        start = np.array([[0, along], [1, along], [along, 0], [along, 1]][side]) * (width, height)
        inward = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]][side], float)
        n = 26
        turns = np.arctan2(inward[1], inward[0]) + np.cumsum(rng.normal(0, 0.25, n)).clip(-0.9, 0.9)
        step = rng.uniform(0.2, 0.45) * min(width, height) / n
        path = start - 3 * inward + np.cumsum(np.stack([np.cos(turns), np.sin(turns)], axis=1) * step, axis=0)
        path = np.vstack([start - 3 * inward, path])
        across = np.stack([-np.sin(turns), np.cos(turns)], axis=1)
        across = np.vstack([across[:1], across])
        half = unit * np.linspace(rng.uniform(5, 9), 0.7, n + 1)[:, None]
        left = path + across * half * rng.uniform(0.5, 1.1, (n + 1, 1))
        right = path - across * half * rng.uniform(0.5, 1.1, (n + 1, 1))
        outline = np.rint(np.vstack([left, right[::-1]]) * 16).astype(np.int32)
        cover = np.zeros((height, width), np.uint8)
        cv2.fillPoly(cover, [outline.reshape(-1, 1, 2)], 255, cv2.LINE_AA, 4)
        _blend(picture, cover.astype(np.float32) / 255, rng.uniform(235, 252), 0.6 * unit)


if __name__ == "__main__":
    source, target = sys.argv[1:3]
    made = damage(
        np.ascontiguousarray(cv2.imread(source, cv2.IMREAD_COLOR)), seed=int((*sys.argv[3:], "0")[0])
    )
    cv2.imwrite(target, made.pixels)
    print({kind: f"{100 * mask.mean():.2f} %" for kind, mask in made.truth.items()})
