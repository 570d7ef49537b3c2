// @ts-check
/**
 * Shapes that can be stamped into a mask: brush strokes, polygons and pixel blocks, all anti-aliased.
 *
 * Coordinates are image pixels; the centre of pixel (0, 0) lies at (0.5, 0.5). Knows the `Shape` interface of
 * mask.js and nothing else.
 */

/** @typedef {import("./mask.js").Box} Box */
/** @typedef {import("./mask.js").Shape} Shape */
/** @typedef {{x: number, y: number}} Point */
/** @typedef {{x: number, y: number, r: number}} Dab  a place of the brush with its radius there */

/** A rim wider than this falls by less than half a level where the squared distance grows by one. */
const GENTLE_PX = 128;
let fallFrom = 0;
let fallTo = 0;
let falls = new Uint8Array(0);

/** Values by whole squared distances, for one brush at a time. @param {number} outer @param {number} inner */
function fallOff(outer, inner) {
  if (fallFrom === outer && fallTo === inner) return falls;
  fallFrom = outer;
  fallTo = inner;
  falls = new Uint8Array(Math.ceil(outer * outer) + 2);
  const slope = 255 / (outer - inner);
  for (let i = 0; i < falls.length; i++) falls[i] = Math.max(0, Math.min(255, ((outer - Math.sqrt(i + 0.5)) * slope + 0.5) | 0));
  return falls;
}

/** The half-open interval of whole numbers that the last call of a span function found. */
let spanLeft = 0;
let spanRight = 0;

/**
 * A piece of a brush stroke: everything within the radius of the segment a–b, the radius going from a.r to b.r.
 *
 * Values fall from 255 at `hardness`·radius to 0 at the rim (one pixel of anti-aliasing at hardness 1).
 * @implements {Shape}
 */
export class Segment {
  /**
   * @param {Dab} a @param {Dab} b
   * @param {number} hardness 0…1
   * @param {boolean} first with the round cap at a; later segments of a stroke find it drawn already
   */
  constructor(a, b, hardness, first) {
    this.a = a;
    const length = Math.hypot(b.x - a.x, b.y - a.y);
    this.b = b;
    this.length = length;
    this.ux = length ? (b.x - a.x) / length : 1;
    this.uy = length ? (b.y - a.y) / length : 0;
    this.growth = length ? (b.r - a.r) / length : 0;
    this.hardness = Math.min(1, Math.max(0, hardness));
    this.first = first || length === 0;
    const reach = Math.max(a.r, b.r) + 0.5;
    this.reach = reach;
    const least = Math.min(a.r, b.r);
    /** Within this distance everything is 255 (of the smaller end). */
    this.inner = Math.min(this.hardness * least, least - 0.5);
    this.core = this.inner - 1e-3;
    // A later segment begins with a straight edge through a.
    const across = this.first ? reach : Math.abs(this.uy) * reach + 1;
    const down = this.first ? reach : Math.abs(this.ux) * reach + 1;
    this.bounds = /** @type {Box} */ ([
      Math.min(a.x - across, b.x - reach),
      Math.min(a.y - down, b.y - reach),
      Math.max(a.x + across, b.x + reach),
      Math.max(a.y + down, b.y + reach),
    ]);
  }

  /** @type {Shape["row"]} */
  row(out, at, x0, x1, y, erase) {
    this.#span(y + 0.5, this.reach);
    const left = Math.max(x0, spanLeft);
    const right = Math.min(x1, spanRight);
    if (left >= right) return;
    let coreLeft = right;
    let coreRight = right;
    if (this.core > 0) {
      this.#span(y + 0.5, this.core);
      if (spanLeft < spanRight) {
        coreLeft = Math.min(right, Math.max(left, spanLeft));
        coreRight = Math.max(coreLeft, Math.min(right, spanRight));
      }
    }
    const flip = erase ? 255 : 0;
    this.#soft(out, at - x0, left, coreLeft, y, flip);
    if (coreLeft < coreRight) out.fill(255 ^ flip, at + coreLeft - x0, at + coreRight - x0);
    this.#soft(out, at - x0, coreRight, right, y, flip);
  }

  /** The part of a row outside the core: caps and strip apart, where the radius is the same throughout. @param {Uint8Array} out @param {number} base @param {number} from @param {number} to @param {number} y @param {number} flip */
  #soft(out, base, from, to, y, flip) {
    if (from >= to) return;
    if (this.growth !== 0) return this.#tapered(out, base, from, to, y, flip);
    const { a, b, ux, uy, length } = this;
    const dy = y + 0.5 - a.y;
    let start = from;
    let end = to;
    if (length === 0) end = from;
    else if (Math.abs(ux) > 1e-6) {
      const p = a.x - 0.5 - (uy * dy) / ux;
      const q = p + length / ux;
      start = Math.min(to, Math.max(from, Math.ceil(Math.min(p, q))));
      end = Math.min(to, Math.max(start, Math.floor(Math.max(p, q)) + 1));
    } else if (uy * dy < 0 || uy * dy > length) end = from;
    if (end <= start) {
      const far = length > 0 && (dy * uy + (from + 0.5 - a.x) * ux) * 2 > length;
      return this.#cap(out, base, from, to, far ? b : a, y, flip);
    }
    const [before, after] = ux < 0 ? [b, a] : [a, b];
    this.#cap(out, base, from, start, before, y, flip);
    const outer = a.r + 0.5;
    const slope = 255 / (outer - this.inner);
    for (let x = start; x < end; x++) {
      const off = ux * dy - uy * (x + 0.5 - a.x);
      let value = ((outer - (off < 0 ? -off : off)) * slope + 0.5) | 0;
      if (value > 255) value = 255;
      if (value > (out[base + x] ^ flip)) out[base + x] = value ^ flip;
    }
    this.#cap(out, base, end, to, after, y, flip);
  }

  /** @param {Uint8Array} out @param {number} base @param {number} from @param {number} to @param {Dab} centre @param {number} y @param {number} flip */
  #cap(out, base, from, to, centre, y, flip) {
    const outer = centre.r + 0.5;
    const inner = this.inner;
    const slope = 255 / (outer - inner);
    const squared = (y + 0.5 - centre.y) ** 2;
    const table = outer - inner > GENTLE_PX ? fallOff(outer, inner) : null;
    if (table) {
      const dx = from + 0.5 - centre.x;
      let distance = dx * dx + squared;
      let step = 2 * dx + 1;
      for (let x = from; x < to; x++) {
        const value = table[distance | 0];
        if (value > (out[base + x] ^ flip)) out[base + x] = value ^ flip;
        distance += step;
        step += 2;
      }
      return;
    }
    for (let x = from; x < to; x++) {
      const dx = x + 0.5 - centre.x;
      let value = ((outer - Math.sqrt(dx * dx + squared)) * slope + 0.5) | 0;
      if (value > 255) value = 255;
      if (value > (out[base + x] ^ flip)) out[base + x] = value ^ flip;
    }
  }

  /** Evaluate pixel by pixel, the radius changing on the way. @param {Uint8Array} out @param {number} base @param {number} from @param {number} to @param {number} y @param {number} flip */
  #tapered(out, base, from, to, y, flip) {
    const { a, ux, uy, length, growth, hardness } = this;
    const dy = y + 0.5 - a.y;
    for (let x = from; x < to; x++) {
      const dx = x + 0.5 - a.x;
      let t = dx * ux + dy * uy;
      t = t < 0 ? 0 : t > length ? length : t;
      const radius = a.r + growth * t;
      const inner = Math.min(radius * hardness, radius - 0.5);
      const off = Math.hypot(dx - t * ux, dy - t * uy);
      let value = (((radius + 0.5 - off) / (radius + 0.5 - inner)) * 255 + 0.5) | 0;
      if (value > 255) value = 255;
      if (value > (out[base + x] ^ flip)) out[base + x] = value ^ flip;
    }
  }

  /** Pixels whose centres lie within `radius` of the segment on the line at height y. @param {number} y @param {number} radius */
  #span(y, radius) {
    const { a, b, ux, uy, length } = this;
    const dy = y - a.y;
    let low = Infinity;
    let high = -Infinity;
    const squared = radius * radius;
    const restA = squared - dy * dy;
    if (restA >= 0) {
      const half = Math.sqrt(restA);
      low = a.x - half;
      high = a.x + half;
    }
    const restB = squared - (y - b.y) * (y - b.y);
    if (restB >= 0) {
      const half = Math.sqrt(restB);
      low = Math.min(low, b.x - half);
      high = Math.max(high, b.x + half);
    }
    if (length > 0) {
      let from = -Infinity;
      let to = Infinity;
      if (Math.abs(uy) > 1e-9) {
        const middle = (ux * dy) / uy;
        const half = radius / Math.abs(uy);
        from = middle - half;
        to = middle + half;
      } else if (Math.abs(dy) > radius) to = -Infinity;
      if (Math.abs(ux) > 1e-9) {
        const p = (-uy * dy) / ux;
        const q = (length - uy * dy) / ux;
        from = Math.max(from, Math.min(p, q));
        to = Math.min(to, Math.max(p, q));
      } else if (uy * dy < 0 || uy * dy > length) to = -Infinity;
      if (from <= to) {
        low = Math.min(low, a.x + from);
        high = Math.max(high, a.x + to);
      }
      if (!this.first) {
        // The cap behind a is the work of the segment before.
        if (Math.abs(ux) > 1e-9) {
          const edge = a.x - (uy * dy) / ux;
          if (ux > 0) low = Math.max(low, edge - 1);
          else high = Math.min(high, edge + 1);
        } else if (uy * dy < -1) high = -Infinity;
      }
    }
    spanLeft = low === Infinity ? 0 : Math.ceil(low - 0.5);
    spanRight = high === -Infinity || low === Infinity ? spanLeft : Math.floor(high - 0.5) + 1;
  }
}

/**
 * Segments through a run of brush places, fewer where the run is straight.
 *
 * @param {Dab} from where the stroke ended so far
 * @param {Dab[]} dabs
 * @param {number} hardness
 * @returns {{segments: Segment[], last: Dab}} last: where it ends now
 */
export function segments(from, dabs, hardness) {
  /** @type {Segment[]} */
  const out = [];
  let start = from;
  let pending = 0;
  for (let i = 0; i < dabs.length; i++) {
    const next = dabs[i + 1];
    if (next && straight(start, dabs, pending, i + 1)) continue;
    out.push(new Segment(start, dabs[i], hardness, false));
    start = dabs[i];
    pending = i + 1;
  }
  return { segments: out, last: start };
}

/** Whether dabs[first…last−1] lie on the way from start to dabs[last]. @param {Dab} start @param {Dab[]} dabs @param {number} first @param {number} last */
function straight(start, dabs, first, last) {
  const end = dabs[last];
  const dx = end.x - start.x;
  const dy = end.y - start.y;
  const length = Math.hypot(dx, dy);
  if (length === 0) return false;
  const slack = Math.max(0.25, 0.01 * end.r);
  for (let i = first; i < last; i++) {
    const px = dabs[i].x - start.x;
    const py = dabs[i].y - start.y;
    const t = (px * dx + py * dy) / length;
    if (t < 0 || t > length) return false;
    if (Math.abs(px * dy - py * dx) / length > slack) return false;
    if (Math.abs(dabs[i].r - (start.r + ((end.r - start.r) * t) / length)) > slack) return false;
  }
  return true;
}

const SUBROWS = 4;

/**
 * The inside of a closed path (non-zero winding: a lasso that crosses itself has no holes).
 * @implements {Shape}
 */
export class Polygon {
  /** @param {Point[]} points at least three */
  constructor(points) {
    let x0 = Infinity;
    let y0 = Infinity;
    let x1 = -Infinity;
    let y1 = -Infinity;
    for (const { x, y } of points) {
      x0 = Math.min(x0, x);
      y0 = Math.min(y0, y);
      x1 = Math.max(x1, x);
      y1 = Math.max(y1, y);
    }
    this.bounds = /** @type {Box} */ ([Math.floor(x0), Math.floor(y0), Math.ceil(x1), Math.ceil(y1)]);
    /** @type {{top: number, bottom: number, x: number, slope: number, winding: number}[]} */
    this.edges = [];
    points.forEach((p, i) => {
      const q = points[(i + 1) % points.length];
      if (p.y === q.y) return;
      const [upper, lower, winding] = p.y < q.y ? [p, q, 1] : [q, p, -1];
      const slope = (lower.x - upper.x) / (lower.y - upper.y);
      this.edges.push({ top: upper.y, bottom: lower.y, x: upper.x, slope, winding });
    });
    this.edges.sort((a, b) => a.top - b.top);
    this.line = new Float32Array(Math.max(0, this.bounds[2] - this.bounds[0]) + 2);
    this.cover = new Uint8Array(this.line.length);
    this.y = NaN;
    this.next = 0;
    /** @type {typeof this.edges} */
    this.active = [];
  }

  /** @type {Shape["row"]} */
  row(out, at, x0, x1, y, erase) {
    if (y !== this.y) this.#cover(y);
    const shift = -this.bounds[0];
    const flip = erase ? 255 : 0;
    for (let x = x0; x < x1; x++, at++) {
      const value = this.cover[x + shift];
      if (value > (out[at] ^ flip)) out[at] = value ^ flip;
    }
  }

  /** Work out the coverage of row y; rows come in rising order, but for new bands. @param {number} y */
  #cover(y) {
    if (!(y > this.y)) {
      this.next = 0;
      this.active = [];
    }
    this.y = y;
    while (this.next < this.edges.length && this.edges[this.next].top < y + 1) this.active.push(this.edges[this.next++]);
    this.active = this.active.filter((edge) => edge.bottom > y);
    this.line.fill(0);
    for (let i = 0; i < SUBROWS; i++) this.#line(y + (i + 0.5) / SUBROWS);
    let sum = 0;
    for (let i = 0; i < this.cover.length; i++) {
      sum += this.line[i];
      this.cover[i] = Math.min(255, Math.round((sum * 255) / SUBROWS));
    }
  }

  /** Add one line's spans, as differences. @param {number} y */
  #line(y) {
    const cuts = this.active
      .filter((edge) => edge.top <= y && edge.bottom > y)
      .map((edge) => {
        const x = edge.x + (y - edge.top) * edge.slope - this.bounds[0];
        return { x: Math.min(this.line.length - 2, Math.max(0, x)), winding: edge.winding };
      })
      .sort((a, b) => a.x - b.x);
    let winding = 0;
    let start = 0;
    for (const cut of cuts) {
      if (winding === 0) start = cut.x;
      winding += cut.winding;
      if (winding === 0) {
        this.#ramp(start, 1);
        this.#ramp(cut.x, -1);
      }
    }
  }

  /** From x on everything is `amount` more; the pixel that x cuts gets its part. @param {number} x @param {number} amount */
  #ramp(x, amount) {
    const whole = Math.floor(x);
    const part = x - whole;
    this.line[whole] += amount * (1 - part);
    this.line[whole + 1] += amount * part;
  }
}

/** A box of finished pixels. @implements {Shape} */
export class Pixels {
  /** @param {Box} box @param {Uint8Array | Uint8ClampedArray} values of the box, row by row */
  constructor(box, values) {
    this.bounds = box;
    this.values = values;
    this.width = box[2] - box[0];
    if (values.length !== this.width * (box[3] - box[1])) throw new Error("the pixels do not fill the box");
  }

  /** @type {Shape["row"]} */
  row(out, at, x0, x1, y, erase) {
    let i = (y - this.bounds[1]) * this.width + x0 - this.bounds[0];
    const flip = erase ? 255 : 0;
    for (let x = x0; x < x1; x++, at++, i++) {
      const value = this.values[i];
      if (value > (out[at] ^ flip)) out[at] = value ^ flip;
    }
  }
}

/** A rectangle as a path. @param {Point} a @param {Point} b @returns {Point[]} */
export function corners(a, b) {
  return [a, { x: b.x, y: a.y }, b, { x: a.x, y: b.y }];
}
