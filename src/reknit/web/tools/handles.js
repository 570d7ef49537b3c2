// @ts-check
/** What is dragged on the canvas with any tool: the picture's borders, and the before/after slider. */

import { divider, frame, knob, label, outline } from "../marks.js";

/** @typedef {import("../studio.js").Studio} Studio */
/** @typedef {import("../input.js").Spot} Spot */
/** @typedef {{left: number, right: number, top: number, bottom: number}} Margins */

const GRIP_CSS = 14;
const SLIDER_CSS = 16;
const SNAP_CSS = 8;
const MOST = 3;
/** @type {[number, number][]} */
const SHAPES = [[1, 1], [5, 4], [4, 3], [3, 2], [16, 9], [2, 1], [21, 9]];

/**
 * Handles at the picture's borders: dragged outward they say by how many pixels it is to grow.
 *
 * A border snaps to where it was, to the margin opposite, and to common shapes of the whole; Shift lets it go where
 * it likes, Alt moves the opposite border too.
 */
export class Extend {
  /** @param {Studio} studio */
  constructor(studio) {
    this.studio = studio;
    /** @type {Margins | null} */
    this.margins = null;
    /** Which borders are held: −1 left or top, 1 right or bottom. */
    this.held = [0, 0];
    /** @type {Margins | null} */
    this.before = null;
    this.moved = (/** @type {boolean} */ _final) => {};
  }

  /** The picture with its margins. @returns {import("../mask.js").Box} */
  get box() {
    const { width, height } = this.studio.document.picture;
    const { left, right, top, bottom } = this.margins ?? { left: 0, right: 0, top: 0, bottom: 0 };
    return [-left, -top, width + right, height + bottom];
  }

  /** Which borders are under the pointer. @param {Spot} spot */
  hit(spot) {
    if (!this.margins) return null;
    const { view } = this.studio;
    const [x0, y0, x1, y1] = this.box;
    const grip = ((spot.type === "touch" ? 2 : 1) * GRIP_CSS * view.ratio) / view.scale;
    if (spot.x < x0 - grip || spot.x > x1 + grip || spot.y < y0 - grip || spot.y > y1 + grip) return null;
    const near = (/** @type {number} */ at, /** @type {number} */ low, /** @type {number} */ high) =>
      Math.min(Math.abs(at - low), Math.abs(at - high)) > grip ? 0 : Math.abs(at - low) < Math.abs(at - high) ? -1 : 1;
    const held = [near(spot.x, x0, x1), near(spot.y, y0, y1)];
    return held[0] || held[1] ? held : null;
  }

  /** @param {Spot} spot */
  cursor(spot) {
    const held = this.before ? this.held : this.hit(spot);
    if (!held) return null;
    if (held[0] && held[1]) return held[0] === held[1] ? "nwse-resize" : "nesw-resize";
    return held[0] ? "ew-resize" : "ns-resize";
  }

  /** @param {Spot} spot */
  down(spot) {
    this.held = this.hit(spot) ?? [0, 0];
    this.before = this.margins;
  }

  /** @param {Spot[]} spots */
  move(spots) {
    if (!this.before) return;
    const spot = /** @type {Spot} */ (spots.at(-1));
    const { width, height } = this.studio.document.picture;
    const [x, y] = this.held;
    const margins = { ...(this.margins ?? this.before) };
    if (x) {
      const other = x < 0 ? margins.right : margins.left;
      const value = this.#snap(x < 0 ? -spot.x : spot.x - width, width, other, height + margins.top + margins.bottom, spot);
      margins[x < 0 ? "left" : "right"] = value;
      if (spot.alt) margins[x < 0 ? "right" : "left"] = value;
    }
    if (y) {
      const other = y < 0 ? margins.bottom : margins.top;
      const value = this.#snap(y < 0 ? -spot.y : spot.y - height, height, other, width + margins.left + margins.right, spot);
      margins[y < 0 ? "top" : "bottom"] = value;
      if (spot.alt) margins[y < 0 ? "bottom" : "top"] = value;
    }
    this.margins = margins;
    this.moved(false);
  }

  /** @param {Spot} spot */
  up(spot) {
    this.move([spot]);
    this.before = null;
    this.moved(true);
  }

  cancel() {
    if (!this.before) return;
    this.margins = this.before;
    this.before = null;
    this.moved(true);
  }

  /** @param {CanvasRenderingContext2D} context */
  draw(context) {
    if (!this.margins) return;
    const { view } = this.studio;
    const box = this.box;
    const { ratio, scale } = view;
    frame(context, view, box);
    outline(context, ratio, { dashed: true });
    const xs = [box[0], (box[0] + box[2]) / 2, box[2]].map((x) => x * scale + view.x);
    const ys = [box[1], (box[1] + box[3]) / 2, box[3]].map((y) => y * scale + view.y);
    for (const i of [0, 1, 2]) {
      for (const j of [0, 1, 2]) {
        if (i === 1 && j === 1) continue;
        const held = this.before !== null && this.held[0] === i - 1 && this.held[1] === j - 1;
        knob(context, xs[i], ys[j], (i === 1 || j === 1 ? 7 : 6) * ratio, held);
      }
    }
    const { left, right, top, bottom } = this.margins;
    if (left || right || top || bottom) {
      const [across, down] = [box[2] - box[0], box[3] - box[1]];
      const shape = SHAPES.flatMap(([a, b]) => [[a, b], [b, a]]).find(([a, b]) => Math.abs(across * b - down * a) < Math.max(a, b));
      const text = `${across} × ${down}${shape ? `  ·  ${shape[0]}:${shape[1]}` : ""}`;
      const below = ys[2] + 26 * ratio;
      label(context, view, text, xs[1], below < view.height - 14 * ratio ? below : ys[2] - 26 * ratio);
    }
  }

  /**
   * A margin, at a place worth stopping at if one is near.
   * @param {number} value @param {number} size of the picture that way @param {number} other margin @param {number} across size of the whole the other way @param {Spot} spot
   */
  #snap(value, size, other, across, spot) {
    const { view } = this.studio;
    const { width, height } = this.studio.document.picture;
    const free = Math.round(Math.min(MOST * Math.max(width, height), Math.max(0, value)));
    if (spot.shift) return free;
    const reach = (SNAP_CSS * view.ratio) / view.scale;
    const places = [0, other, ...SHAPES.flatMap(([a, b]) => [a / b, b / a]).map((shape) => Math.round(across * shape) - size - (spot.alt ? 0 : other))];
    let best = free;
    let least = reach;
    for (const place of places) {
      const off = Math.abs(place - free);
      if (place >= 0 && off <= least) {
        best = place;
        least = off;
      }
    }
    return best;
  }
}

/** The before/after slider on the picture. */
export class Splitter {
  /** @param {Studio} studio */
  constructor(studio) {
    this.studio = studio;
    this.off = 0;
  }

  /** @param {Spot} spot */
  hit(spot) {
    const { stage, view } = this.studio;
    if (stage.split === null) return false;
    return Math.abs(spot.x * view.scale + view.x - stage.splitX()) <= SLIDER_CSS * view.ratio;
  }

  /** @param {Spot} spot */
  down(spot) {
    const { stage, view } = this.studio;
    this.off = stage.splitX() - (spot.x * view.scale + view.x);
  }

  /** @param {Spot[]} spots */
  move(spots) {
    const { stage, view } = this.studio;
    const spot = /** @type {Spot} */ (spots.at(-1));
    const layer = stage.shown;
    if (!layer) return;
    const x = (spot.x * view.scale + this.off) / view.scale;
    this.studio.setSplit((x - layer.x) / layer.picture.width);
    this.studio.emit("split", { fraction: stage.split });
  }

  up() {}
  cancel() {}

  /** @param {CanvasRenderingContext2D} context */
  draw(context) {
    const { stage, view } = this.studio;
    if (stage.split === null || !stage.shown) return;
    const { picture, y } = stage.shown;
    divider(context, view, stage.splitX(), y * view.scale + view.y, (y + picture.height) * view.scale + view.y);
  }
}
