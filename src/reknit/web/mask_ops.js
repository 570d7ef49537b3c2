// @ts-check
/**
 * Whole-mask operations: grow, shrink and feather.
 *
 * They read the mask in bands of one row of tiles with what surrounds it, so that memory stays small at any size,
 * and let the page breathe between bands. Each returns new tiles; the mask is not written.
 */

import { FULL, TILE, keyOf } from "./mask.js";

/** @typedef {import("./mask.js").Mask} Mask */
/** @typedef {Map<number, Uint8Array | undefined>} NewTiles */

/**
 * Grow (or, with less than 0, shrink) by a distance.
 *
 * Exact Euclidean distances (Meijster, Roerdink and Hesselink 2000, band by band): a pixel is filled afterwards iff
 * its centre is within `px` of a filled one's; shrinking, iff no unfilled one of the picture is within −px.
 *
 * @param {Mask} mask @param {number} px
 * @returns {Promise<NewTiles>}
 */
export async function grown(mask, px) {
  const inside = px < 0;
  const distance = Math.abs(px);
  const reach = Math.ceil(distance) + 1;
  return byBand(mask, inside ? 1 : reach, reach, (values, width, height, top, bottom) => {
    const near = distancesSquared(values, width, height, top, bottom, inside);
    const out = new Uint8Array(width * (bottom - top));
    for (let i = 0; i < out.length; i++) {
      const d = Math.sqrt(near[i]);
      if (inside) out[i] = d > distance ? 128 + 127 * Math.min(1, d - distance) : 127 * Math.max(0, 1 - (distance - d));
      else out[i] = d <= distance ? 128 + 127 * Math.min(1, distance - d) : 127 * Math.max(0, 1 - (d - distance));
    }
    return out;
  });
}

/**
 * Soften the edge: three box blurs, near to a Gaussian; the transition is about 2·px wide.
 * @param {Mask} mask @param {number} px
 * @returns {Promise<NewTiles>}
 */
export async function feathered(mask, px) {
  const radius = Math.max(1, Math.round(px / 2));
  const reach = 3 * radius;
  return byBand(mask, reach, reach, (values, width, height, top, bottom) => {
    let data = values;
    for (let i = 0; i < 3; i++) data = blurred(blurred(data, width, height, 1, width, radius), height, width, width, 1, radius);
    return data.slice(top * width, bottom * width);
  });
}

/**
 * Compute new tiles, one row of tiles at a time.
 *
 * @param {Mask} mask
 * @param {number} spread how far the result may reach beyond the filled tiles
 * @param {number} reach how far around a pixel its result looks
 * @param {(values: Uint8Array, width: number, height: number, top: number, bottom: number) => Uint8Array} compute
 *   gets a box's values and returns those of its rows top…bottom
 * @returns {Promise<NewTiles>}
 */
async function byBand(mask, spread, reach, compute) {
  /** @type {NewTiles} */
  const out = new Map();
  for (const key of mask.tiles.keys()) out.set(key, undefined);
  const used = usedTiles(mask);
  if (!used) return out;
  const more = Math.ceil(spread / TILE);
  const left = Math.max(0, used[0] - more);
  const right = Math.min(mask.columns, used[2] + more);
  const x0 = Math.max(0, left * TILE - reach);
  const x1 = Math.min(mask.width, right * TILE + reach);
  for (let row = Math.max(0, used[1] - more); row < Math.min(mask.rows, used[3] + more); row++) {
    const y0 = Math.max(0, row * TILE - reach);
    const y1 = Math.min(mask.height, (row + 1) * TILE + reach);
    const top = row * TILE - y0;
    const bottom = Math.min(mask.height, (row + 1) * TILE) - y0;
    const width = x1 - x0;
    const values = mask.read([x0, y0, x1, y1]);
    const band = compute(values, width, y1 - y0, top, bottom);
    for (let column = left; column < right; column++) {
      const tile = cut(band, width, bottom - top, column * TILE - x0, Math.min(TILE, mask.width - column * TILE));
      if (tile) out.set(keyOf(column, row), tile);
      else if (mask.tiles.has(keyOf(column, row))) out.set(keyOf(column, row), undefined);
    }
    await new Promise((resolve) => setTimeout(resolve));
  }
  return out;
}

/** A tile out of a band; undefined if empty. @param {Uint8Array} band @param {number} stride @param {number} rows @param {number} left @param {number} columns */
function cut(band, stride, rows, left, columns) {
  const tile = new Uint8Array(TILE * TILE);
  let some = false;
  let full = rows === TILE && columns === TILE;
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const value = band[y * stride + left + x];
      tile[y * TILE + x] = value;
      if (value) some = true;
      if (value !== 255) full = false;
    }
  }
  return full ? FULL : some ? tile : undefined;
}

/** The tiles in use: first column, first row, last column + 1, last row + 1. @param {Mask} mask */
function usedTiles(mask) {
  if (mask.tiles.size === 0) return null;
  let [x0, y0, x1, y1] = [Infinity, Infinity, 0, 0];
  for (const key of mask.tiles.keys()) {
    const [left, top] = mask.boxOf(key);
    x0 = Math.min(x0, left / TILE);
    y0 = Math.min(y0, top / TILE);
    x1 = Math.max(x1, left / TILE + 1);
    y1 = Math.max(y1, top / TILE + 1);
  }
  return [x0, y0, x1, y1];
}

/**
 * Squared distances, of rows top…bottom, to the nearest filled pixel (or, `inside`, to the nearest unfilled one).
 * @param {Uint8Array} values @param {number} width @param {number} height @param {number} top @param {number} bottom @param {boolean} inside
 */
function distancesSquared(values, width, height, top, bottom, inside) {
  const far = width + height;
  const down = new Int32Array(width * (bottom - top));
  const gap = new Int32Array(width).fill(far);
  const meets = (/** @type {number} */ i) => values[i] >= 128 !== inside;
  for (let y = 0; y < bottom; y++) {
    for (let x = 0, i = y * width; x < width; x++, i++) {
      gap[x] = meets(i) ? 0 : gap[x] + 1;
      if (y >= top) down[(y - top) * width + x] = gap[x];
    }
  }
  gap.fill(far);
  for (let y = height - 1; y >= top; y--) {
    for (let x = 0, i = y * width; x < width; x++, i++) {
      gap[x] = meets(i) ? 0 : gap[x] + 1;
      const to = (y - top) * width + x;
      if (y < bottom && gap[x] < down[to]) down[to] = gap[x];
    }
  }
  const out = new Float64Array(down.length);
  const places = new Int32Array(width);
  const starts = new Int32Array(width);
  for (let base = 0; base < down.length; base += width) {
    // The lower envelope of one parabola a column.
    let q = 0;
    places[0] = 0;
    starts[0] = 0;
    const f = (/** @type {number} */ x, /** @type {number} */ i) => (x - i) * (x - i) + down[base + i] * down[base + i];
    for (let u = 1; u < width; u++) {
      while (q >= 0 && f(starts[q], places[q]) > f(starts[q], u)) q--;
      if (q < 0) {
        q = 0;
        places[0] = u;
      } else {
        const i = places[q];
        const g = down[base + u] * down[base + u] - down[base + i] * down[base + i];
        const w = 1 + Math.floor((u * u - i * i + g) / (2 * (u - i)));
        if (w < width) {
          q++;
          places[q] = u;
          starts[q] = w;
        }
      }
    }
    for (let x = width - 1; x >= 0; x--) {
      out[base + x] = f(x, places[q]);
      if (x === starts[q]) q--;
    }
  }
  return out;
}

/**
 * A box blur along lines; beyond the ends the last value goes on.
 * @param {Uint8Array} from @param {number} length of a line @param {number} lines
 * @param {number} step between pixels of a line @param {number} next between lines @param {number} radius
 */
function blurred(from, length, lines, step, next, radius) {
  const out = new Uint8Array(from.length);
  const size = 2 * radius + 1;
  for (let line = 0; line < lines; line++) {
    const start = line * next;
    const at = (/** @type {number} */ i) => from[start + Math.min(length - 1, Math.max(0, i)) * step];
    let sum = 0;
    for (let i = -radius; i <= radius; i++) sum += at(i);
    for (let i = 0; i < length; i++) {
      out[start + i * step] = Math.round(sum / size);
      sum += at(i + radius + 1) - at(i - radius);
    }
  }
  return out;
}
