// @ts-check
/**
 * Draws the mask over the picture: a tint, and a rim of light and dark that is seen over any colour.
 *
 * Works in device pixels, block by block, only where something changed: it samples the mask (or a halved copy of it
 * that keeps the greatest value, so that specks stay visible from afar), colours it and puts it on a canvas.
 */

import { FULL, TILE, keyOf } from "./mask.js";

/** @typedef {import("./mask.js").Mask} Mask */
/** @typedef {import("./mask.js").Box} Box */
/** @typedef {import("./viewport.js").Viewport} Viewport */
/** @typedef {{levels: Uint8Array[], stale: Box | null}} Halved  a tile's halved copies, and where they are out of date */

const BLOCK = 256;
/** Sampled columns on either side of a block: whole words, at least twice the rim's width. */
const PAD = 8;
const TOP = 8;
/** Of four pixels in a word: the bits that say whether they are filled. */
const SIDES = 0x80808080 | 0;
const LIGHT = 0xf2ffffff;
const DARK = 0xb0000000;
const RING = 0xd0ffd24a;
const FULL_LEVELS = Array.from({ length: TOP }, (_, i) => new Uint8Array((TILE >> (i + 1)) ** 2).fill(255));

/** A mask with its halved copies, brought up to date as they are needed. */
class Pyramid {
  /** @param {Mask} mask */
  constructor(mask) {
    this.mask = mask;
    /** @type {Map<number, Halved>} */
    this.halved = new Map();
  }

  /** Note a change of the mask. @param {Box} box */
  changed([x0, y0, x1, y1]) {
    for (let row = y0 >> 8; row <= (y1 - 1) >> 8; row++) {
      for (let column = x0 >> 8; column <= (x1 - 1) >> 8; column++) {
        const entry = this.halved.get(keyOf(column, row));
        if (!entry) continue;
        const left = column * TILE;
        const top = row * TILE;
        const stale = entry.stale ?? [TILE, TILE, 0, 0];
        entry.stale = [
          Math.min(stale[0], Math.max(0, x0 - left)),
          Math.min(stale[1], Math.max(0, y0 - top)),
          Math.max(stale[2], Math.min(TILE, x1 - left)),
          Math.max(stale[3], Math.min(TILE, y1 - top)),
        ];
      }
    }
  }

  /** A tile at a level; null where it is empty. @param {number} key @param {number} level */
  at(key, level) {
    const tile = this.mask.tiles.get(key);
    if (!tile) {
      this.halved.delete(key);
      return null;
    }
    if (level === 0) return tile;
    if (tile === FULL) return FULL_LEVELS[level - 1];
    let entry = this.halved.get(key);
    if (!entry) {
      const levels = FULL_LEVELS.map((full) => new Uint8Array(full.length));
      entry = { levels, stale: [0, 0, TILE, TILE] };
      this.halved.set(key, entry);
    }
    if (entry.stale) halve(tile, entry.levels, entry.stale);
    entry.stale = null;
    return entry.levels[level - 1];
  }
}

/** Bring the halved copies of a tile up to date in a box. @param {Uint8Array} tile @param {Uint8Array[]} levels @param {Box} box */
function halve(tile, levels, box) {
  let [x0, y0, x1, y1] = box;
  let from = tile;
  for (let level = 1; level <= TOP; level++) {
    const side = TILE >> level;
    const to = levels[level - 1];
    x0 >>= 1;
    y0 >>= 1;
    x1 = (x1 + 1) >> 1;
    y1 = (y1 + 1) >> 1;
    for (let y = y0; y < y1; y++) {
      let a = 2 * y * 2 * side + 2 * x0;
      let b = a + 2 * side;
      for (let i = y * side + x0, end = y * side + x1; i < end; i++, a += 2, b += 2) {
        let most = from[a];
        if (from[a + 1] > most) most = from[a + 1];
        if (from[b] > most) most = from[b];
        if (from[b + 1] > most) most = from[b + 1];
        to[i] = most;
      }
    }
    from = to;
  }
}

export class Overlay {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.image = new ImageData(BLOCK, BLOCK);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.tint = new Uint32Array(256);
    this.strong = 0;
    this.cells = new Uint8Array(0);
    this.values = new Uint8Array((BLOCK + 20) ** 2);
    this.words = new Uint32Array(this.values.buffer);
    this.ringValues = new Uint8Array((BLOCK + 20) ** 2);
    this.columns = new Int32Array(2 * (BLOCK + 20));
    /** @type {Pyramid | null} */
    this.mask = null;
    /** The outer edge of the blend ring. @type {Pyramid | null} */
    this.ring = null;
    this.setTint("#ff3d81", 0.5);
  }

  /** @param {string} colour #rrggbb @param {number} opacity 0…1 */
  setTint(colour, opacity) {
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16) || 0);
    for (let i = 0; i < 256; i++) this.tint[i] = ((Math.round(i * opacity) << 24) | (b << 16) | (g << 8) | r) >>> 0;
    this.strong = ((240 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  }

  /** @param {Mask | null} mask */
  setMask(mask) {
    this.mask = mask && new Pyramid(mask);
  }

  /** @param {Mask | null} mask */
  setRing(mask) {
    this.ring = mask && new Pyramid(mask);
  }

  /** Width of the rim in device px. @param {Viewport} view */
  static rim(view) {
    return Math.min(4, Math.max(1, Math.round(view.ratio)));
  }

  /** Redraw a rectangle of device px. @param {Viewport} view @param {Box} rect */
  draw(view, [x0, y0, x1, y1]) {
    for (let y = y0; y < y1; y += BLOCK) {
      for (let x = x0; x < x1; x += BLOCK) {
        this.#block(view, x, y, Math.min(BLOCK, x1 - x), Math.min(BLOCK, y1 - y));
      }
    }
  }

  /** @param {Viewport} view @param {number} x @param {number} y @param {number} width @param {number} height */
  #block(view, x, y, width, height) {
    const rim = Overlay.rim(view);
    // Whole words a row, so that four pixels can be looked at at once.
    const stride = (width + 2 * PAD + 3) & ~3;
    const rows = height + 4 * rim;
    const sample = (/** @type {Pyramid | null} */ of, /** @type {Uint8Array} */ into) =>
      of ? this.#sample(of, view, x - PAD, y - 2 * rim, stride, rows, into) : 0;
    const filled = sample(this.mask, this.values);
    const ringed = sample(this.ring, this.ringValues);
    if (filled !== 1 && ringed !== 1) {
      this.context.clearRect(x, y, width, height);
      if (filled === 2) {
        const colour = this.tint[255];
        const [r, g, b, a] = [colour & 255, (colour >> 8) & 255, (colour >> 16) & 255, (colour >>> 24) / 255];
        this.context.fillStyle = `rgba(${r}, ${g}, ${b}, ${a})`;
        this.context.fillRect(x, y, width, height);
      }
      return;
    }
    if (filled !== 1) this.values.fill(filled ? 255 : 0, 0, stride * rows);
    this.#colour(width, height, rim, stride);
    if (ringed === 1) this.#ringed(width, height, rim, stride, x, y);
    this.context.putImageData(this.image, x, y, 0, 0, width, height);
  }

  /** Colour the sampled values into the image. @param {number} width @param {number} height @param {number} rim @param {number} stride */
  #colour(width, height, rim, stride) {
    const { values, words, pixels, tint } = this;
    const down = rim * stride;
    for (let y = 0; y < height; y++) {
      let i = (y + 2 * rim) * stride + PAD;
      let to = y * BLOCK;
      const end = i + width;
      while (i < end) {
        const w = i >> 2;
        const word = words[w];
        // All of them filled, or none: no rim is near.
        const side = word & SIDES;
        const even = (side === 0 || side === SIDES) && side === (words[w - 1] & SIDES) && side === (words[w + 1] & SIDES);
        if (even && side === (words[w - (down >> 2)] & SIDES) && side === (words[w + (down >> 2)] & SIDES)) {
          pixels[to] = tint[word & 255];
          pixels[to + 1] = tint[(word >> 8) & 255];
          pixels[to + 2] = tint[(word >> 16) & 255];
          pixels[to + 3] = tint[word >>> 24];
          i += 4;
          to += 4;
          continue;
        }
        for (const stop = Math.min(end, i + 4); i < stop; i++, to++) {
          const value = values[i];
          const left = values[i - rim];
          const right = values[i + rim];
          const up = values[i - down];
          const below = values[i + down];
          if (value >= 128) {
            if (left >= 128 && right >= 128 && up >= 128 && below >= 128) pixels[to] = tint[value];
            // Too thin for a rim: a strong colour.
            else if ((left < 128 && right < 128) || (up < 128 && below < 128)) pixels[to] = this.strong;
            else pixels[to] = LIGHT;
          } else if (left < 128 && right < 128 && up < 128 && below < 128) pixels[to] = tint[value];
          else {
            const beside = left >= 128 ? values[i - 2 * rim] : right >= 128 ? values[i + 2 * rim] : 255;
            const along = up >= 128 ? values[i - 2 * down] : below >= 128 ? values[i + 2 * down] : 255;
            pixels[to] = beside < 128 || along < 128 ? this.strong : DARK;
          }
        }
      }
    }
  }

  /** Add the dashed line around the ring. @param {number} width @param {number} height @param {number} rim @param {number} stride @param {number} x @param {number} y */
  #ringed(width, height, rim, stride, x, y) {
    const { ringValues, pixels } = this;
    const down = rim * stride;
    for (let row = 0; row < height; row++) {
      let i = (row + 2 * rim) * stride + PAD;
      let to = row * BLOCK;
      for (const end = i + width; i < end; i++, to++) {
        if (ringValues[i] < 128) continue;
        if (ringValues[i - rim] >= 128 && ringValues[i + rim] >= 128 && ringValues[i - down] >= 128 && ringValues[i + down] >= 128) continue;
        const dash = Math.floor((x + to - row * BLOCK + y + row) / (4 * rim)) & 1;
        pixels[to] = dash ? RING : DARK;
      }
    }
  }

  /**
   * Sample the mask at device pixels.
   * @param {Pyramid} pyramid @param {Viewport} view @param {number} x @param {number} y @param {number} width @param {number} height
   * @param {Uint8Array} into
   * @returns {0 | 1 | 2} 0: nothing there; 2: filled throughout; 1: see `into`
   */
  #sample(pyramid, view, x, y, width, height, into) {
    const inverse = 1 / view.scale;
    const level = Math.max(0, Math.min(TOP, Math.floor(Math.log2(inverse))));
    const step = inverse / 2 ** level;
    // Cell coordinates of the block's edges, at the level.
    const left = (x - view.x) * step;
    const top = (y - view.y) * step;
    const x0 = Math.floor(left);
    const y0 = Math.floor(top);
    const x1 = Math.floor(left + width * step) + 1;
    const y1 = Math.floor(top + height * step) + 1;
    const across = x1 - x0;
    const found = this.#gather(pyramid, level, x0, y0, x1, y1);
    if (found !== 1) return found;
    const cells = this.cells;
    // From afar two samples each way meet every cell; near by, one does.
    const many = step > 1;
    const columns = this.columns;
    for (let i = 0; i < width; i++) {
      columns[2 * i] = Math.floor(left + (i + (many ? 0.25 : 0.5)) * step) - x0;
      columns[2 * i + 1] = Math.floor(left + (i + 0.75) * step) - x0;
    }
    let to = 0;
    let before = -1;
    for (let j = 0; j < height; j++) {
      const upper = (Math.floor(top + (j + (many ? 0.25 : 0.5)) * step) - y0) * across;
      if (many) {
        const lower = (Math.floor(top + (j + 0.75) * step) - y0) * across;
        for (let i = 0; i < width; i++) {
          const a = columns[2 * i];
          const b = columns[2 * i + 1];
          let most = cells[upper + a];
          if (cells[upper + b] > most) most = cells[upper + b];
          if (cells[lower + a] > most) most = cells[lower + a];
          if (cells[lower + b] > most) most = cells[lower + b];
          into[to++] = most;
        }
      } else if (upper === before) {
        into.copyWithin(to, to - width, to);
        to += width;
      } else {
        for (let i = 0; i < width; i++) into[to++] = cells[upper + columns[2 * i]];
        before = upper;
      }
    }
    return 1;
  }

  /** Copy cells of a level together. @param {Pyramid} pyramid @param {number} level @param {number} x0 @param {number} y0 @param {number} x1 @param {number} y1 @returns {0 | 1 | 2} */
  #gather(pyramid, level, x0, y0, x1, y1) {
    const { mask } = pyramid;
    const bits = TOP - level;
    const side = 1 << bits;
    const firstColumn = x0 >> bits;
    const lastColumn = (x1 - 1) >> bits;
    const firstRow = y0 >> bits;
    const lastRow = (y1 - 1) >> bits;
    let some = false;
    let full = true;
    for (let row = firstRow; row <= lastRow; row++) {
      for (let column = firstColumn; column <= lastColumn; column++) {
        const inside = column >= 0 && row >= 0 && column < mask.columns && row < mask.rows;
        const tile = inside ? mask.tiles.get(keyOf(column, row)) : undefined;
        if (tile) some = true;
        if (tile !== FULL) full = false;
      }
    }
    if (!some) return 0;
    if (full) return 2;
    const across = x1 - x0;
    const size = across * (y1 - y0);
    if (this.cells.length < size) this.cells = new Uint8Array(size);
    this.cells.fill(0, 0, size);
    for (let row = Math.max(0, firstRow); row <= Math.min(lastRow, mask.rows - 1); row++) {
      for (let column = Math.max(0, firstColumn); column <= Math.min(lastColumn, mask.columns - 1); column++) {
        const tile = pyramid.at(keyOf(column, row), level);
        if (!tile) continue;
        const from = Math.max(x0, column << bits);
        const to = Math.min(x1, (column + 1) << bits);
        for (let y = Math.max(y0, row << bits); y < Math.min(y1, (row + 1) << bits); y++) {
          const at = ((y & (side - 1)) << bits) + (from & (side - 1));
          this.cells.set(tile.subarray(at, at + to - from), (y - y0) * across + from - x0);
        }
      }
    }
    return 1;
  }
}

