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
  return byBand(mask, reach, (values, width, height, top, bottom) => {
    const near = distancesSquared(values, width, height, top, bottom, inside);
    const out = new Uint8Array(width * (bottom - top));
    for (let i = 0; i < out.length; i++) {
      const d = Math.sqrt(near[i]);
      if (inside) out[i] = d > distance ? 128 + 127 * Math.min(1, d - distance) : 127 * Math.max(0, 1 - (distance - d));
      else if (d === 0) out[i] = 255;
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
  return byBand(mask, reach, (values, width, height, top, bottom) => {
    let data = values;
    for (let i = 0; i < 3; i++) data = blurred(blurred(data, width, height, 1, width, radius), height, width, width, 1, radius);
    return data.slice(top * width, bottom * width);
  });
}

/**
 * Compute new tiles, one row of tiles at a time, and only those near an edge of the mask.
 *
 * @param {Mask} mask
 * @param {number} reach how far around a pixel its result looks
 * @param {(values: Uint8Array, width: number, height: number, top: number, bottom: number) => Uint8Array} compute
 *   gets a box's values and returns those of its rows top…bottom; what is uniform has to stay so
 * @returns {Promise<NewTiles>}
 */
async function byBand(mask, reach, compute) {
  /** @type {NewTiles} */
  const out = new Map();
  const more = Math.ceil(reach / TILE);
  for (let row = 0; row < mask.rows; row++) {
    const y0 = Math.max(0, row * TILE - reach);
    const y1 = Math.min(mask.height, (row + 1) * TILE + reach);
    const top = row * TILE - y0;
    const bottom = Math.min(mask.height, (row + 1) * TILE) - y0;
    let worked = false;
    for (let column = 0; column < mask.columns; column++) {
      const first = column;
      while (column < mask.columns && !uniform(mask, column, row, more)) column++;
      if (column === first) continue;
      const x0 = Math.max(0, first * TILE - reach);
      const x1 = Math.min(mask.width, column * TILE + reach);
      const values = mask.read([x0, y0, x1, y1]);
      const band = compute(values, x1 - x0, y1 - y0, top, bottom);
      for (let c = first; c < column; c++) {
        const key = keyOf(c, row);
        const tile = cut(band, x1 - x0, bottom - top, c * TILE - x0, Math.min(TILE, mask.width - c * TILE));
        if (tile || mask.tiles.has(key)) out.set(key, tile);
      }
      worked = true;
    }
    if (worked) await new Promise((resolve) => setTimeout(resolve));
  }
  return out;
}

/** Whether all tiles within `more` of one are empty, or all are full. @param {Mask} mask @param {number} column @param {number} row @param {number} more */
function uniform(mask, column, row, more) {
  const tile = mask.tiles.get(keyOf(column, row));
  if (tile && tile !== FULL) return false;
  for (let r = Math.max(0, row - more); r <= Math.min(mask.rows - 1, row + more); r++) {
    for (let c = Math.max(0, column - more); c <= Math.min(mask.columns - 1, column + more); c++) {
      if (mask.tiles.get(keyOf(c, r)) !== tile) return false;
    }
  }
  return true;
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

/**
 * Squared distances, of rows top…bottom, to the nearest filled pixel (or, `inside`, to the nearest unfilled one).
 * @param {Uint8Array} values @param {number} width @param {number} height @param {number} top @param {number} bottom @param {boolean} inside
 */
function distancesSquared(values, width, height, top, bottom, inside) {
  // Farther than anything that is asked for, and its square still a 32-bit number.
  const far = Math.min(width + height, 30000);
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
  const out = new Int32Array(down.length);
  const places = new Int32Array(width);
  const starts = new Int32Array(width);
  const squares = new Int32Array(width);
  for (let base = 0; base < down.length; base += width) {
    // The lower envelope of one parabola a column.
    for (let x = 0; x < width; x++) squares[x] = down[base + x] * down[base + x];
    let q = 0;
    places[0] = 0;
    starts[0] = 0;
    for (let u = 1; u < width; u++) {
      const height = squares[u];
      while (q >= 0) {
        const s = starts[q];
        const i = places[q];
        if ((s - i) * (s - i) + squares[i] <= (s - u) * (s - u) + height) break;
        q--;
      }
      if (q < 0) {
        q = 0;
        places[0] = u;
      } else {
        const i = places[q];
        const from = 1 + Math.floor((u * u - i * i + height - squares[i]) / (2 * (u - i)));
        if (from < width) {
          q++;
          places[q] = u;
          starts[q] = from;
        }
      }
    }
    for (let x = width - 1; x >= 0; x--) {
      const i = places[q];
      out[base + x] = (x - i) * (x - i) + squares[i];
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
