// @ts-check
/**
 * One history over mask and picture: a line of steps and a position in it.
 *
 * A step keeps the *other* side of its change (what undoing, or once undone redoing, puts back), with mask tiles
 * packed into strings, which JSON and IndexedDB both take. Knows neither mask nor pictures; the document swaps.
 */

import { FULL, TILE } from "./mask.js";

/** @typedef {import("./mask.js").Swap} Swap */
/** @typedef {[number, string][]} PackedTiles  key and packed tile; "" for an absent one */
/**
 * @typedef {object} Step
 * @property {string} label
 * @property {PackedTiles} tiles
 * @property {any} [picture]   present in steps that change the picture: the document's other state
 * @property {any} [job]
 */

const AREA = TILE * TILE;
const FULL_TILE = "F";
const LIMIT_BYTES = 32 * 2 ** 20;
const LIMIT_STEPS = 500;

export class History {
  constructor() {
    /** @type {Step[]} */
    this.steps = [];
    this.position = 0;
  }

  get canUndo() {
    return this.position > 0;
  }

  get canRedo() {
    return this.position < this.steps.length;
  }

  /** Add a step that has just been done; what was undone is forgotten. @param {Step} step */
  push(step) {
    this.steps.length = this.position;
    this.steps.push(step);
    this.position++;
    let bytes = 0;
    let keep = 0;
    for (let i = this.steps.length - 1; i >= 0 && keep < LIMIT_STEPS; i--, keep++) {
      for (const [, packed] of this.steps[i].tiles) bytes += packed.length;
      if (bytes > LIMIT_BYTES && keep > 0) break;
    }
    this.steps.splice(0, this.steps.length - keep);
    this.position = this.steps.length;
  }
}

const scratch = new Uint8Array(AREA + AREA / 64);

/**
 * Pack a tile: runs (128 + high bits, low bits, value: up to 32 768) and literals (count − 1, values: up to 128),
 * a byte a character.
 *
 * @param {Uint8Array | undefined} tile
 */
export function pack(tile) {
  if (!tile) return "";
  if (tile === FULL) return FULL_TILE;
  let to = 0;
  let literal = -1;
  for (let i = 0; i < AREA; ) {
    const value = tile[i];
    let end = i + 1;
    while (end < AREA && tile[end] === value && end - i < 32768) end++;
    const run = end - i;
    if (run > 3) {
      scratch[to++] = 128 | ((run - 1) >> 8);
      scratch[to++] = (run - 1) & 255;
      scratch[to++] = value;
      literal = -1;
    } else {
      for (let k = 0; k < run; k++) {
        if (literal < 0 || scratch[literal] === 127) {
          literal = to++;
          scratch[literal] = 255;
        }
        scratch[literal] = (scratch[literal] + 1) & 255;
        scratch[to++] = value;
      }
    }
    i = end;
  }
  let text = "";
  for (let i = 0; i < to; i += 8192) text += String.fromCharCode.apply(null, /** @type {any} */ (scratch.subarray(i, Math.min(to, i + 8192))));
  return text;
}

/** @param {string} text @returns {Uint8Array | undefined} */
export function unpack(text) {
  if (text === "") return undefined;
  if (text === FULL_TILE) return FULL;
  const tile = new Uint8Array(AREA);
  let at = 0;
  for (let i = 0; i < text.length; ) {
    const head = text.charCodeAt(i++);
    if (head & 128) {
      const run = (((head & 127) << 8) | text.charCodeAt(i)) + 1;
      tile.fill(text.charCodeAt(i + 1), at, at + run);
      at += run;
      i += 2;
    } else {
      for (let k = 0; k <= head; k++) tile[at++] = text.charCodeAt(i++);
    }
  }
  if (at !== AREA) throw new Error("a packed tile is damaged");
  return tile;
}

/** Tiles are never written after their step, so that each has to be packed only once. @type {WeakMap<Uint8Array, string>} */
const packed = new WeakMap();

/** @param {Swap} swap tiles of closed steps @returns {PackedTiles} */
export function packAll(swap) {
  return [...swap].map(([key, tile]) => {
    const text = (tile && packed.get(tile)) ?? pack(tile);
    if (tile) packed.set(tile, text);
    return [key, text];
  });
}

/** @param {PackedTiles} packed @returns {Swap} */
export function unpackAll(packed) {
  return new Map(packed.map(([key, text]) => [key, unpack(text)]));
}
