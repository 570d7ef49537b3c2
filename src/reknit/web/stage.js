// @ts-check
/**
 * The canvases: picture, mask and marks, drawn in one animation frame, only where something changed.
 *
 * Draws what the editor gives it: layers of pictures in document coordinates, the mask, and marks through a
 * callback. Keeps what is on screen until what replaces it has come. Knows no tools and no history.
 */

import { Overlay } from "./overlay.js";
import { Tiles, levelFor, tilesIn } from "./tiles.js";

/** @typedef {import("./document.js").Picture} Picture */
/** @typedef {import("./mask.js").Box} Box */
/** @typedef {import("./viewport.js").Viewport} Viewport */
/** @typedef {{picture: Picture, x: number, y: number}} Layer  a picture and where it lies in the document */

const PATIENCE_MS = 2000;
const LINGER_MS = 200;

export class Stage {
  /** @param {HTMLElement} element @param {Viewport} view @param {any} api */
  constructor(element, view, api) {
    this.view = view;
    this.tiles = new Tiles(api);
    this.base = layerCanvas(element, "picture");
    this.cover = layerCanvas(element, "mask");
    this.front = layerCanvas(element, "marks");
    this.context = /** @type {CanvasRenderingContext2D} */ (this.base.getContext("2d"));
    this.marks = /** @type {CanvasRenderingContext2D} */ (this.front.getContext("2d"));
    this.overlay = new Overlay(this.cover);
    /** @type {Layer | null} */
    this.shown = null;
    /** @type {Layer | null} */
    this.pending = null;
    /** What was shown before, for tiles that are not here yet. @type {Layer | null} */
    this.past = null;
    /** The document's start. @type {Layer | null} */
    this.original = null;
    this.comparing = false;
    /** @type {number | null} */
    this.split = null;
    /** @type {{bitmap: ImageBitmap, box: Box} | null} */
    this.preview = null;
    this.previewEnds = false;
    this.previewLeft = 0;
    /** Drawn outside the picture. @type {Box | null} */
    this.extended = null;
    this.maskVisible = true;
    this.maskNext = true;
    /** The mask stays as it is drawn until the picture has changed over. */
    this.holdMask = false;
    /** @type {Animation | null} */
    this.breath = null;
    /** @type {(context: CanvasRenderingContext2D) => void} */
    this.drawMarks = () => {};
    /** Called at the start of every frame. */
    this.prepare = () => {};
    this.request = 0;
    this.patience = 0;
    /** @type {Box | null} */
    this.staleBase = null;
    /** @type {Box[]} */
    this.staleMask = [];
    this.staleMarks = false;
    this.wants = false;
    /** Milliseconds of the last frames. */
    this.times = new Float64Array(256);
    this.frames = 0;
    this.tiles.arrived = (wanted) => this.#arrived(wanted);
    /** @type {CanvasPattern | null} */
    this.checks = null;
    /** @type {CanvasPattern | null} */
    this.hatch = null;
  }

  /** @param {number} width @param {number} height device px */
  resize(width, height) {
    for (const canvas of [this.base, this.cover, this.front]) {
      canvas.width = width;
      canvas.height = height;
    }
    this.checks = null;
    this.hatch = null;
    this.moved();
  }

  /** Everything has to be drawn again. */
  moved() {
    this.holdMask = false;
    this.staleBase = this.#all();
    this.staleMask = [this.#all()];
    this.staleMarks = true;
    this.wants = true;
    this.schedule();
  }

  /** The pictures have to be drawn again. */
  repaint() {
    this.staleBase = this.#all();
    this.staleMarks = true;
    this.wants = true;
    this.schedule();
  }

  /** The mask changed. @param {Box} box image px */
  maskChanged(box) {
    this.overlay.mask?.changed(box);
    this.staleMask.push(this.#toDevice(box, 3 * Overlay.rim(this.view) + 1));
    this.schedule();
  }

  repaintMask() {
    this.staleMask = [this.#all()];
    this.schedule();
  }

  repaintMarks() {
    this.staleMarks = true;
    this.schedule();
  }

  schedule() {
    if (!this.request) this.request = requestAnimationFrame(() => this.#frame());
  }

  /**
   * Show a layer; gently: what is shown, mask and all, stays until the new one's tiles in sight have come.
   * @param {Layer} layer @param {{gently: boolean, mask: boolean}} how  mask: whether the mask belongs to it
   */
  show(layer, { gently, mask }) {
    this.tiles.know(layer.picture);
    clearTimeout(this.patience);
    this.maskNext = mask;
    this.holdMask = gently;
    if (gently && this.shown) {
      this.pending = layer;
      this.patience = window.setTimeout(() => this.#turn(), PATIENCE_MS);
    } else {
      this.pending = null;
      this.past = null;
      this.shown = layer;
      this.showMask(mask);
    }
    this.wants = true;
    this.repaint();
    this.#settle();
  }

  /** Show or hide the mask, from now on. */
  showMask(visible = true) {
    this.holdMask = false;
    this.maskNext = visible;
    this.maskVisible = visible;
    this.repaintMask();
  }

  /** Let the mask breathe while a job is at work. @param {boolean} on */
  pulse(on) {
    this.breath?.cancel();
    this.breath = null;
    if (!on || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    this.breath = this.cover.animate([{ opacity: 1 }, { opacity: 0.4 }], {
      duration: 900, iterations: Infinity, direction: "alternate", easing: "ease-in-out",
    });
  }

  /** Draw at once what is stale. */
  drawNow() {
    cancelAnimationFrame(this.request);
    this.#frame();
  }

  /** The coordinates of the document moved. @param {number} dx @param {number} dy */
  shift(dx, dy) {
    for (const layer of [this.shown, this.past]) {
      if (!layer) continue;
      layer.x += dx;
      layer.y += dy;
    }
  }

  /** @param {ImageBitmap | null} bitmap @param {Box} box */
  setPreview(bitmap, box) {
    clearTimeout(this.previewLeft);
    this.previewEnds = bitmap === null;
    if (bitmap) {
      this.preview = { bitmap, box };
      this.cover.style.visibility = "hidden"; // the mask lies where there is now something to see
      this.repaint();
    } else if (this.preview && !this.pending) {
      // What it previews is about to be shown: let it stay that long.
      this.previewLeft = window.setTimeout(() => !this.pending && this.dropPreview(), LINGER_MS);
    }
  }

  dropPreview() {
    this.previewEnds = false;
    this.preview = null;
    this.cover.style.visibility = "";
    this.repaint();
  }

  /** Whether all tiles in sight are here. */
  get complete() {
    return this.pending === null && this.shown !== null && this.#ready(this.shown);
  }

  destroy() {
    cancelAnimationFrame(this.request);
    clearTimeout(this.patience);
    clearTimeout(this.previewLeft);
    this.pulse(false);
    this.tiles.destroy();
    for (const canvas of [this.base, this.cover, this.front]) canvas.remove();
  }

  #frame() {
    const start = performance.now();
    this.prepare();
    this.request = 0;
    if (this.wants) this.#want();
    if (this.staleBase) this.#drawBase(this.staleBase);
    this.staleBase = null;
    if (this.staleMask.length && !this.holdMask) {
      this.#drawMask(this.staleMask);
      this.staleMask = [];
    }
    if (this.staleMarks) {
      this.staleMarks = false;
      this.marks.clearRect(0, 0, this.front.width, this.front.height);
      this.drawMarks(this.marks);
    }
    this.times[this.frames++ % this.times.length] = performance.now() - start;
  }

  /** @returns {Box} */
  #all() {
    return [0, 0, this.base.width, this.base.height];
  }

  /** @param {Box} box image px @param {number} margin @returns {Box} whole device px within the canvas */
  #toDevice([x0, y0, x1, y1], margin) {
    const { scale, x, y, width, height } = this.view;
    return [
      Math.max(0, Math.floor(x0 * scale + x) - margin),
      Math.max(0, Math.floor(y0 * scale + y) - margin),
      Math.min(width, Math.ceil(x1 * scale + x) + margin),
      Math.min(height, Math.ceil(y1 * scale + y) + margin),
    ];
  }

  /** @param {Layer} layer @returns {Box} what of it is in sight, in its own px */
  #seen(layer) {
    const [x0, y0, x1, y1] = this.view.seen();
    return [x0 - layer.x, y0 - layer.y, x1 - layer.x, y1 - layer.y];
  }

  /** @param {Layer} layer */
  #visible(layer) {
    return tilesIn(layer.picture, levelFor(layer.picture, this.view.scale), this.#seen(layer));
  }

  /** @param {Layer} layer */
  #ready(layer) {
    return this.#visible(layer).every((w) => this.tiles.get(w.picture, w.level, w.column, w.row));
  }

  #want() {
    this.wants = false;
    // The original too, so that comparing finds it here; mostly they are the very same tiles.
    const layers = [this.comparing || this.split !== null ? this.original : null, this.pending, this.shown, this.original];
    const wanted = layers.flatMap((layer) => {
      if (!layer) return [];
      const { picture } = layer;
      return [...tilesIn(picture, picture.levels - 1, [0, 0, picture.width, picture.height]), ...this.#visible(layer)];
    });
    this.tiles.want(wanted);
  }

  /** @param {import("./tiles.js").Wanted} wanted */
  #arrived(wanted) {
    const side = wanted.picture.tile_px * 2 ** wanted.level;
    for (const layer of [this.shown, this.original]) {
      if (!layer) continue;
      const x = layer.x + wanted.column * side;
      const y = layer.y + wanted.row * side;
      const rect = this.#toDevice([x, y, x + side, y + side], 2);
      if (rect[0] < rect[2] && rect[1] < rect[3]) this.staleBase = union(this.staleBase, rect);
    }
    this.schedule();
    this.#settle();
  }

  /** Change over to what is pending once it is all here. */
  #settle() {
    if (this.pending && this.#ready(this.pending)) this.#turn();
  }

  #turn() {
    if (!this.pending) return;
    clearTimeout(this.patience);
    this.past = this.shown;
    this.shown = this.pending;
    this.pending = null;
    const previewed = this.preview !== null;
    if (this.previewEnds) this.dropPreview();
    this.showMask(this.maskNext);
    const { picture, x, y } = this.shown;
    const box = picture.box;
    const near = this.past && picture.parent === this.past.picture.id && box && sameSize(picture, this.past.picture);
    if (near && !previewed) {
      const spread = 2 ** (levelFor(picture, this.view.scale) + 2);
      const changed = /** @type {Box} */ ([box[0] + x - spread, box[1] + y - spread, box[2] + x + spread, box[3] + y + spread]);
      this.staleBase = union(this.staleBase, this.#toDevice(changed, 2));
      this.schedule();
    } else this.repaint();
  }

  /** @param {Box} rect */
  #drawBase([x0, y0, x1, y1]) {
    if (x0 >= x1 || y0 >= y1) return;
    const { context, view } = this;
    context.save();
    context.beginPath();
    context.rect(x0, y0, x1 - x0, y1 - y0);
    context.clip();
    context.clearRect(x0, y0, x1 - x0, y1 - y0);
    context.imageSmoothingEnabled = view.scale <= 2;
    // Tiles are drawn at half their size at least: bilinear is enough.
    context.imageSmoothingQuality = "low";
    if (this.extended) this.#drawExtended(this.extended);
    const comparing = this.comparing && this.original;
    if (comparing) {
      if (this.original && !this.#ready(this.original)) this.#drawLayer(this.shown);
      this.#drawLayer(this.original);
    } else {
      this.#drawLayer(this.shown);
      if (this.preview) this.#drawPreview(this.preview);
    }
    if (this.split !== null && !comparing && this.original) {
      context.beginPath();
      context.rect(0, 0, this.splitX(), view.height);
      context.clip();
      this.#drawLayer(this.original);
    }
    context.restore();
  }

  /** Where the before/after slider is. @returns {number} device px */
  splitX() {
    if (!this.shown || this.split === null) return 0;
    return Math.round((this.shown.x + this.shown.picture.width * this.split) * this.view.scale + this.view.x);
  }

  /** @param {{bitmap: ImageBitmap, box: Box}} preview */
  #drawPreview({ bitmap, box }) {
    const { scale, x, y } = this.view;
    const left = Math.round(box[0] * scale + x);
    const top = Math.round(box[1] * scale + y);
    this.context.imageSmoothingEnabled = true;
    this.context.drawImage(bitmap, left, top, Math.round(box[2] * scale + x) - left, Math.round(box[3] * scale + y) - top);
  }

  /** @param {Layer | null} layer */
  #drawLayer(layer) {
    if (!layer) return;
    const { picture } = layer;
    if (picture.alpha) {
      const rect = this.#rect(layer, [0, 0, picture.width, picture.height]);
      this.checks ??= pattern(this.context, 8 * this.view.ratio, "#ffffff", "#d4d4d8");
      this.context.fillStyle = this.checks;
      this.context.fillRect(rect[0], rect[1], rect[2], rect[3]);
    }
    for (const { level, column, row } of this.#visible(layer)) {
      const side = picture.tile_px * 2 ** level;
      const right = Math.min((column + 1) * side, picture.width);
      const bottom = Math.min((row + 1) * side, picture.height);
      const [x, y, width, height] = this.#rect(layer, [column * side, row * side, right, bottom]);
      const bitmap = this.tiles.get(picture, level, column, row) ?? this.#old(layer, level, column, row);
      if (bitmap) this.context.drawImage(bitmap, x, y, width, height);
      else this.#drawCoarse(layer, level, column, row, x, y, width, height);
    }
  }

  /** The tile as it was before, where that is better than a coarse one. @param {Layer} layer @param {number} level @param {number} column @param {number} row */
  #old(layer, level, column, row) {
    const past = this.past;
    if (!past || layer === this.original || !sameSize(past.picture, layer.picture)) return null;
    return this.tiles.get(past.picture, level, column, row);
  }

  /** @param {Layer} layer @param {number} level @param {number} column @param {number} row @param {number} x @param {number} y @param {number} width @param {number} height */
  #drawCoarse(layer, level, column, row, x, y, width, height) {
    const { picture } = layer;
    for (let up = 1; level + up < picture.levels; up++) {
      const bitmap = this.tiles.get(picture, level + up, column >> up, row >> up);
      if (!bitmap) continue;
      const part = picture.tile_px / 2 ** up;
      const left = (column % 2 ** up) * part;
      const top = (row % 2 ** up) * part;
      const across = Math.min(part, bitmap.width - left);
      const down = Math.min(part, bitmap.height - top);
      if (across > 0 && down > 0) this.context.drawImage(bitmap, left, top, across, down, x, y, width, height);
      return;
    }
  }

  /** Where a box of a layer is on the canvas: x, y, width, height. @param {Layer} layer @param {Box} box */
  #rect(layer, [x0, y0, x1, y1]) {
    const { scale, x, y } = this.view;
    const left = Math.round((layer.x + x0) * scale + x);
    const top = Math.round((layer.y + y0) * scale + y);
    return [left, top, Math.round((layer.x + x1) * scale + x) - left, Math.round((layer.y + y1) * scale + y) - top];
  }

  /** @param {Box} box */
  #drawExtended([x0, y0, x1, y1]) {
    const { scale, x, y, ratio } = this.view;
    this.hatch ??= pattern(this.context, 8 * ratio, "rgba(128, 140, 155, 0.30)", "rgba(128, 140, 155, 0.16)");
    this.context.fillStyle = this.hatch;
    const left = Math.round(x0 * scale + x);
    const top = Math.round(y0 * scale + y);
    this.context.fillRect(left, top, Math.round(x1 * scale + x) - left, Math.round(y1 * scale + y) - top);
  }

  /** @param {Box[]} rects */
  #drawMask(rects) {
    if (!this.maskVisible || this.comparing) {
      this.overlay.context.clearRect(0, 0, this.cover.width, this.cover.height);
      return;
    }
    for (const rect of merged(rects)) if (rect[0] < rect[2] && rect[1] < rect[3]) this.overlay.draw(this.view, rect);
  }
}

/** @param {HTMLElement} element @param {string} name */
function layerCanvas(element, name) {
  const canvas = document.createElement("canvas");
  canvas.className = `canvas-${name}`;
  canvas.setAttribute("aria-hidden", "true");
  Object.assign(canvas.style, { position: "absolute", inset: "0", width: "100%", height: "100%", pointerEvents: "none" });
  element.append(canvas);
  return canvas;
}

/** @param {Picture} a @param {Picture} b */
function sameSize(a, b) {
  return a.width === b.width && a.height === b.height && a.tile_px === b.tile_px;
}

/** @param {Box | null} a @param {Box} b @returns {Box} */
function union(a, b) {
  return a ? [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])] : b;
}

/** Join rectangles where one around both is hardly larger than both. @param {Box[]} rects */
function merged(rects) {
  /** @type {Box[]} */
  const out = [];
  const area = (/** @type {Box} */ r) => Math.max(0, r[2] - r[0]) * Math.max(0, r[3] - r[1]);
  for (const rect of rects) {
    let box = rect;
    for (let i = 0; i < out.length; ) {
      const both = union(out[i], box);
      if (area(both) <= 1.25 * (area(out[i]) + area(box))) {
        out.splice(i, 1);
        box = both;
        i = 0;
      } else i++;
    }
    out.push(box);
  }
  return out;
}

/** A board of checks. @param {CanvasRenderingContext2D} context @param {number} side @param {string} one @param {string} other */
function pattern(context, side, one, other) {
  const tile = document.createElement("canvas");
  const cell = Math.max(2, Math.round(side));
  tile.width = tile.height = 2 * cell;
  const brush = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
  brush.fillStyle = one;
  brush.fillRect(0, 0, 2 * cell, 2 * cell);
  brush.clearRect(cell, 0, cell, cell);
  brush.clearRect(0, cell, cell, cell);
  brush.fillStyle = other;
  brush.fillRect(cell, 0, cell, cell);
  brush.fillRect(0, cell, cell, cell);
  return /** @type {CanvasPattern} */ (context.createPattern(tile, "repeat"));
}

