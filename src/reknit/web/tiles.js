// @ts-check
/**
 * Tiles of pictures: fetched from the server, decoded off the main thread, kept within a budget of bytes.
 *
 * A picture made from another by changing a box shares the tiles that the box does not touch. Knows the tile
 * pyramid (level 0 = full size, each next halves), not where anything is drawn.
 */

/** @typedef {import("./document.js").Picture} Picture */
/** @typedef {import("./mask.js").Box} Box */
/**
 * @typedef {object} Entry
 * @property {ImageBitmap | null} bitmap
 * @property {number} used
 * @property {number} failures
 * @property {AbortController | null} loading
 */
/** @typedef {{picture: Picture, level: number, column: number, row: number}} Wanted */

const BUDGET_BYTES = 160 * 2 ** 20;
const AT_ONCE = 6;
/** So many failures in a row are told; it goes on trying, as long as the tile is wanted. */
const TELL = 4;
const PAUSE_MS = 250;
const LONGEST_MS = 8000;

export class Tiles {
  /** @param {{tileUrl: (id: string, level: number, column: number, row: number) => string}} api */
  constructor(api) {
    this.api = api;
    /** @type {Map<string, Entry>} */
    this.entries = new Map();
    /** Pictures by id, to find what a picture was made from. @type {Map<string, Picture>} */
    this.known = new Map();
    this.clock = 0;
    this.bytes = 0;
    this.active = 0;
    /** @type {Wanted[]} */
    this.queue = [];
    /** Keys of the tiles in sight. */
    this.wanted = new Set();
    this.alive = true;
    /** A tile has come. @type {(wanted: Wanted) => void} */
    this.arrived = () => {};
    /** @type {(error: Error) => void} */
    this.failed = () => {};
  }

  /** @param {Picture} picture */
  know(picture) {
    this.known.set(picture.id, picture);
  }

  /**
   * The bitmap of a tile, if it is here.
   * @param {Picture} picture @param {number} level @param {number} column @param {number} row
   */
  get(picture, level, column, row) {
    const entry = this.entries.get(this.#key(picture, level, column, row));
    if (!entry?.bitmap) return null;
    entry.used = ++this.clock;
    return entry.bitmap;
  }

  /** Say what is in sight, most wanted first; requests for anything else are given up. @param {Wanted[]} wanted */
  want(wanted) {
    const keys = new Set(wanted.map((w) => this.#key(w.picture, w.level, w.column, w.row)));
    this.wanted = keys;
    for (const [key, entry] of this.entries) {
      if (entry.loading && !keys.has(key)) {
        entry.loading.abort();
        this.entries.delete(key);
      }
    }
    this.queue = wanted.filter((w) => {
      const entry = this.entries.get(this.#key(w.picture, w.level, w.column, w.row));
      return !entry;
    });
    this.#pump();
  }

  /** Try again at once what had failed (the server is back). */
  retry() {
    for (const [key, entry] of this.entries) if (entry.failures && !entry.loading && !entry.bitmap) this.entries.delete(key);
  }

  destroy() {
    this.alive = false;
    this.queue = [];
    for (const entry of this.entries.values()) {
      entry.loading?.abort();
      entry.bitmap?.close();
    }
    this.entries.clear();
  }

  #pump() {
    while (this.alive && this.active < AT_ONCE && this.queue.length) {
      const wanted = /** @type {Wanted} */ (this.queue.shift());
      const key = this.#key(wanted.picture, wanted.level, wanted.column, wanted.row);
      const known = this.entries.get(key);
      if (known?.bitmap || known?.loading) continue;
      this.#load(key, wanted, known?.failures ?? 0);
    }
  }

  /** @param {string} key @param {Wanted} wanted @param {number} failures */
  async #load(key, wanted, failures) {
    const stop = new AbortController();
    /** @type {Entry} */
    const entry = { bitmap: null, used: ++this.clock, failures, loading: stop };
    this.entries.set(key, entry);
    this.active++;
    try {
      const owner = this.#owner(wanted.picture, wanted.level, wanted.column, wanted.row);
      const url = this.api.tileUrl(owner.id, wanted.level, wanted.column, wanted.row);
      const response = await fetch(url, { signal: stop.signal });
      if (!response.ok) throw new Error(`tile: ${response.status}`);
      const bitmap = await createImageBitmap(await response.blob());
      entry.loading = null;
      if (!this.alive || this.entries.get(key) !== entry) return bitmap.close();
      entry.bitmap = bitmap;
      entry.failures = 0;
      this.bytes += bitmap.width * bitmap.height * 4;
      this.#forget();
      this.arrived(wanted);
    } catch (error) {
      entry.loading = null;
      if (stop.signal.aborted || !this.alive) return;
      entry.failures++;
      setTimeout(() => this.#again(key, entry, wanted), Math.min(LONGEST_MS, PAUSE_MS * 2 ** entry.failures));
      if (entry.failures === TELL) this.failed(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.active--;
      this.#pump();
    }
  }

  /** @param {string} key @param {Entry} entry @param {Wanted} wanted */
  #again(key, entry, wanted) {
    if (this.entries.get(key) !== entry) return;
    if (!this.wanted.has(key)) return void this.entries.delete(key);
    this.queue.push(wanted);
    this.#pump();
  }

  /** Let the bitmaps go that were not used for longest; those in sight stay, whatever they take. */
  #forget() {
    if (this.bytes <= BUDGET_BYTES) return;
    const held = [...this.entries].filter(([key, entry]) => entry.bitmap && !this.wanted.has(key)).sort((a, b) => a[1].used - b[1].used);
    for (const [key, entry] of held) {
      if (this.bytes <= BUDGET_BYTES * 0.75) break;
      const bitmap = /** @type {ImageBitmap} */ (entry.bitmap);
      this.bytes -= bitmap.width * bitmap.height * 4;
      bitmap.close();
      this.entries.delete(key);
    }
  }

  /** @param {Picture} picture @param {number} level @param {number} column @param {number} row */
  #key(picture, level, column, row) {
    return `${this.#owner(picture, level, column, row).id}/${level}/${column}/${row}`;
  }

  /** The oldest picture that has this very tile. @param {Picture} picture @param {number} level @param {number} column @param {number} row */
  #owner(picture, level, column, row) {
    let owner = picture;
    for (let i = 0; i < 1000; i++) {
      const parent = owner.parent ? this.known.get(owner.parent) : undefined;
      if (!parent || !owner.box || parent.width !== owner.width || parent.height !== owner.height) break;
      if (touches(owner, owner.box, level, column, row)) break;
      owner = parent;
    }
    return owner;
  }
}

/**
 * Whether a changed box shows in a tile; halving spreads a change by a pixel or two a level.
 * @param {Picture} picture @param {Box} box @param {number} level @param {number} column @param {number} row
 */
export function touches(picture, box, level, column, row) {
  const side = picture.tile_px * 2 ** level;
  const spread = level === 0 ? 0 : 2 ** (level + 1);
  return (
    box[0] - spread < (column + 1) * side &&
    box[2] + spread > column * side &&
    box[1] - spread < (row + 1) * side &&
    box[3] + spread > row * side
  );
}

/**
 * The level whose tiles are at least as fine as the screen.
 * @param {Picture} picture @param {number} scale device px per image px
 */
export function levelFor(picture, scale) {
  return Math.max(0, Math.min(picture.levels - 1, Math.floor(Math.log2(1 / scale) + 0.05)));
}

/**
 * The tiles of a level that a box of the picture touches, those nearest to its middle first.
 * @param {Picture} picture @param {number} level @param {Box} box @returns {Wanted[]}
 */
export function tilesIn(picture, level, [x0, y0, x1, y1]) {
  const side = picture.tile_px * 2 ** level;
  const left = Math.max(0, Math.floor(x0 / side));
  const top = Math.max(0, Math.floor(y0 / side));
  const right = Math.min(Math.ceil(picture.width / side), Math.ceil(x1 / side));
  const bottom = Math.min(Math.ceil(picture.height / side), Math.ceil(y1 / side));
  /** @type {Wanted[]} */
  const out = [];
  for (let row = top; row < bottom; row++) {
    for (let column = left; column < right; column++) out.push({ picture, level, column, row });
  }
  const middleX = (x0 + x1) / 2 / side - 0.5;
  const middleY = (y0 + y1) / 2 / side - 0.5;
  const distance = (/** @type {Wanted} */ w) => Math.hypot(w.column - middleX, w.row - middleY);
  return out.sort((a, b) => distance(a) - distance(b));
}
