// @ts-check
/**
 * The mask: 8 bits a pixel (255 = fill, 128 and more count as fill), in sparse tiles of 256 px.
 *
 * A tile that is absent is empty; tiles wholly 255 share one array. Tiles are written only inside a step
 * (`begin` … `commit` or `abort`), which copies a tile before its first change, so that a step knows what was
 * there before. Knows no screen, no tools and no history.
 */

export const TILE = 256;
const BITS = 8;
const AREA = TILE * TILE;
const COLUMNS = 4096;

/** The one array of all tiles that are wholly filled. Never written. */
export const FULL = new Uint8Array(AREA).fill(255);

/** @typedef {[number, number, number, number]} Box  half-open: x0, y0, x1, y1 */
/**
 * @typedef {object} Shape  something that can be stamped
 * @property {Box} bounds
 * @property {(out: Uint8Array, at: number, x0: number, x1: number, y: number, erase: boolean) => void} row
 *   merges the pixels x0..x1 of row y into out[at…]: the greater value wins, or, erasing, the least of it and 255 − value
 */
/** @typedef {Map<number, Uint8Array | undefined>} Swap  tiles by key as they were; undefined: absent */

/** @param {number} column @param {number} row */
export const keyOf = (column, row) => row * COLUMNS + column;
/** @param {number} key */
export const columnOf = (key) => key % COLUMNS;
/** @param {number} key */
export const rowOf = (key) => Math.floor(key / COLUMNS);

export class Mask {
  /** @param {number} width @param {number} height */
  constructor(width, height) {
    this.width = width;
    this.height = height;
    /** @type {Map<number, Uint8Array>} */
    this.tiles = new Map();
    /** Called with every rectangle that changed. @type {(box: Box) => void} */
    this.changed = () => {};
    /** @type {Swap | null} */
    this.step = null;
    /** @type {Map<number, {tile: Uint8Array, area: number, box: Box}>} */
    this.facts = new Map();
  }

  get columns() {
    return Math.ceil(this.width / TILE);
  }

  get rows() {
    return Math.ceil(this.height / TILE);
  }

  /** Open a step: from here on the mask may be written. */
  begin() {
    if (this.step) throw new Error("a step is already open");
    this.step = new Map();
  }

  /** Close the step. @returns {Swap} the tiles that changed, as they were before */
  commit() {
    const before = this.#take();
    for (const [key, old] of before) {
      const tile = this.tiles.get(key);
      if (tile) this.#settle(key, tile);
      if (same(old, this.tiles.get(key))) before.delete(key);
    }
    return before;
  }

  /** Close the step and put everything back. */
  abort() {
    this.swap(this.#take());
  }

  /** Exchange tiles. @param {Swap} tiles @returns {Swap} what was there */
  swap(tiles) {
    /** @type {Swap} */
    const before = new Map();
    for (const [key, tile] of tiles) {
      before.set(key, this.tiles.get(key));
      if (tile) this.tiles.set(key, tile);
      else this.tiles.delete(key);
      this.changed(this.boxOf(key));
    }
    return before;
  }

  /** Merge a shape into the mask. @param {Shape} shape @param {boolean} erase */
  stamp(shape, erase) {
    const x0 = Math.max(0, Math.floor(shape.bounds[0]));
    const y0 = Math.max(0, Math.floor(shape.bounds[1]));
    const x1 = Math.min(this.width, Math.ceil(shape.bounds[2]));
    const y1 = Math.min(this.height, Math.ceil(shape.bounds[3]));
    if (x0 >= x1 || y0 >= y1) return;
    const first = x0 >> BITS;
    const last = (x1 - 1) >> BITS;
    /** @type {(Uint8Array | null)[]} */
    const band = [];
    for (let row = y0 >> BITS; row <= (y1 - 1) >> BITS; row++) {
      band.length = 0;
      for (let column = first; column <= last; column++) {
        band.push(erase && !this.tiles.has(keyOf(column, row)) ? null : this.writable(column, row));
      }
      const end = Math.min(y1, (row + 1) << BITS);
      for (let y = Math.max(y0, row << BITS); y < end; y++) {
        for (let i = 0; i < band.length; i++) {
          const tile = band[i];
          if (!tile) continue;
          const left = (first + i) << BITS;
          const from = Math.max(x0, left);
          const to = Math.min(x1, left + TILE);
          shape.row(tile, ((y & (TILE - 1)) << BITS) + from - left, from, to, y, erase);
        }
      }
    }
    this.changed([x0, y0, x1, y1]);
  }

  /** Empty the mask (within a step). */
  clear() {
    for (const key of [...this.tiles.keys()]) this.put(key, undefined);
  }

  /** Turn filled into unfilled and back (within a step). */
  invert() {
    for (let row = 0; row < this.rows; row++) {
      for (let column = 0; column < this.columns; column++) {
        const key = keyOf(column, row);
        const old = this.tiles.get(key);
        const [x0, y0, x1, y1] = this.boxOf(key);
        if (old === FULL) this.put(key, undefined);
        else if (!old && x1 - x0 === TILE && y1 - y0 === TILE) this.put(key, FULL);
        else {
          const tile = new Uint8Array(AREA);
          for (let y = 0; y < y1 - y0; y++) {
            const at = y << BITS;
            for (let x = 0; x < x1 - x0; x++) tile[at + x] = 255 - (old ? old[at + x] : 0);
          }
          this.put(key, tile);
        }
      }
    }
  }

  /** Replace a tile (within a step). @param {number} key @param {Uint8Array | undefined} tile */
  put(key, tile) {
    if (!this.step) throw new Error("no step is open");
    if (!this.step.has(key)) this.step.set(key, this.tiles.get(key));
    if (tile) this.tiles.set(key, tile);
    else this.tiles.delete(key);
    this.facts.delete(key);
    this.changed(this.boxOf(key));
  }

  /** The tile, ready to be written in this step. @param {number} column @param {number} row */
  writable(column, row) {
    if (!this.step) throw new Error("no step is open");
    const key = keyOf(column, row);
    const old = this.tiles.get(key);
    if (old && this.step.has(key) && old !== FULL) return old;
    if (!this.step.has(key)) this.step.set(key, old);
    const tile = old ? old.slice() : new Uint8Array(AREA);
    this.tiles.set(key, tile);
    this.facts.delete(key);
    return tile;
  }

  /** Copy a box of the mask. @param {Box} box may reach outside; there it is 0 @param {Uint8Array} [into] */
  read([x0, y0, x1, y1], into) {
    const width = x1 - x0;
    const out = into ?? new Uint8Array(width * (y1 - y0));
    if (into) into.fill(0, 0, width * (y1 - y0));
    const left = Math.max(0, x0);
    const right = Math.min(this.width, x1);
    if (left >= right) return out;
    for (let column = left >> BITS; column <= (right - 1) >> BITS; column++) {
      const from = Math.max(left, column << BITS);
      const to = Math.min(right, (column + 1) << BITS);
      for (let row = Math.max(0, y0) >> BITS; row <= (Math.min(this.height, y1) - 1) >> BITS; row++) {
        const tile = this.tiles.get(keyOf(column, row));
        if (!tile) continue;
        const end = Math.min(y1, this.height, (row + 1) << BITS);
        for (let y = Math.max(y0, row << BITS); y < end; y++) {
          const at = ((y & (TILE - 1)) << BITS) + (from & (TILE - 1));
          out.set(tile.subarray(at, at + to - from), (y - y0) * width + from - x0);
        }
      }
    }
    return out;
  }

  /** @param {number} x @param {number} y */
  at(x, y) {
    const tile = this.tiles.get(keyOf(x >> BITS, y >> BITS));
    return tile ? tile[((y & (TILE - 1)) << BITS) + (x & (TILE - 1))] : 0;
  }

  /** Pixels that will be filled. */
  area() {
    let sum = 0;
    for (const key of this.tiles.keys()) sum += this.#fact(key).area;
    return sum;
  }

  get empty() {
    for (const key of this.tiles.keys()) if (this.#fact(key).area > 0) return false;
    return true;
  }

  /** The box around all pixels that will be filled. @returns {Box | null} */
  bounds() {
    let x0 = Infinity;
    let y0 = Infinity;
    let x1 = -1;
    let y1 = -1;
    for (const key of this.tiles.keys()) {
      const { area, box } = this.#fact(key);
      if (!area) continue;
      x0 = Math.min(x0, box[0]);
      y0 = Math.min(y0, box[1]);
      x1 = Math.max(x1, box[2]);
      y1 = Math.max(y1, box[3]);
    }
    return x1 < 0 ? null : [x0, y0, x1, y1];
  }

  /** The tile's place in the picture. @param {number} key @returns {Box} */
  boxOf(key) {
    const x = columnOf(key) << BITS;
    const y = rowOf(key) << BITS;
    return [x, y, Math.min(this.width, x + TILE), Math.min(this.height, y + TILE)];
  }

  #take() {
    if (!this.step) throw new Error("no step is open");
    const before = this.step;
    this.step = null;
    return before;
  }

  /** Drop a tile that became empty, share one that became full. @param {number} key @param {Uint8Array} tile */
  #settle(key, tile) {
    const value = tile[0];
    if ((value !== 0 && value !== 255) || tile === FULL) return;
    for (let i = 1; i < AREA; i++) if (tile[i] !== value) return;
    if (value) this.tiles.set(key, FULL);
    else this.tiles.delete(key);
  }

  /** @param {number} key */
  #fact(key) {
    const tile = /** @type {Uint8Array} */ (this.tiles.get(key));
    const known = this.facts.get(key);
    if (known && known.tile === tile && !this.step) return known;
    const fact = { tile, ...measure(tile, this.boxOf(key)) };
    this.facts.set(key, fact);
    return fact;
  }
}

/** @param {Uint8Array} tile @param {Box} place @returns {{area: number, box: Box}} */
function measure(tile, [left, top, right, bottom]) {
  if (tile === FULL) return { area: AREA, box: [left, top, right, bottom] };
  let area = 0;
  let x0 = TILE;
  let x1 = -1;
  let y0 = TILE;
  let y1 = -1;
  for (let y = 0; y < TILE; y++) {
    for (let x = 0, at = y << BITS; x < TILE; x++, at++) {
      if (tile[at] < 128) continue;
      area++;
      if (x < x0) x0 = x;
      if (x > x1) x1 = x;
      if (y < y0) y0 = y;
      y1 = y;
    }
  }
  return { area, box: [left + x0, top + y0, left + x1 + 1, top + y1 + 1] };
}

/** @param {Uint8Array | undefined} a @param {Uint8Array | undefined} b */
function same(a, b) {
  if (a === b) return true;
  if (!a || !b) return false;
  for (let i = 0; i < AREA; i++) if (a[i] !== b[i]) return false;
  return true;
}
