// @ts-check
/**
 * Where the picture lies on the screen: scale and offset, and the ways to change them.
 *
 * Three spaces: *client* (CSS px of the window, as in pointer events), *device* (px of the canvas) and *image*.
 * `scale` is device px per image px; the offset is whole device px, so that panning never blurs. Knows no drawing.
 */

/** @typedef {{x: number, y: number}} Point */
/** @typedef {import("./mask.js").Box} Box */

const MOST = 64;
export const MARGIN_CSS = 24;
/** With handles around the picture, that want room to be dragged. */
export const WIDE_MARGIN_CSS = 96;
const KEEP_CSS = 48;

export class Viewport {
  constructor() {
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    /** Device px of the canvas. */
    this.width = 1;
    this.height = 1;
    /** Device px per CSS px. */
    this.ratio = 1;
    /** The element's place in the window. */
    this.left = 0;
    this.top = 0;
    /** What the user may look at, in image px: the picture, or more while it is being extended. @type {Box} */
    this.world = [0, 0, 1, 1];
    /** Room left around it when it fits, CSS px. */
    this.margin = MARGIN_CSS;
    this.fitted = true;
    this.changed = () => {};
  }

  /** @param {{left: number, top: number, width: number, height: number}} rect @param {number} width @param {number} height device px */
  resize(rect, width, height) {
    const fitted = this.fitted;
    const middle = this.toImage(this.width / 2, this.height / 2);
    this.left = rect.left;
    this.top = rect.top;
    const ratio = rect.width > 0 ? width / rect.width : 1;
    this.scale *= ratio / this.ratio;
    this.ratio = ratio;
    if (width === this.width && height === this.height) return;
    this.width = width;
    this.height = height;
    if (fitted) this.fit();
    else this.#place(middle, width / 2, height / 2);
  }

  /** The element may have moved in the window. @param {{left: number, top: number}} rect */
  locate({ left, top }) {
    this.left = left;
    this.top = top;
  }

  /** @param {number} x client @param {number} y client @returns {Point} device */
  toDevice(x, y) {
    return { x: (x - this.left) * this.ratio, y: (y - this.top) * this.ratio };
  }

  /** @param {number} x device @param {number} y device @returns {Point} image */
  toImage(x, y) {
    return { x: (x - this.x) / this.scale, y: (y - this.y) / this.scale };
  }

  /** @param {number} x client @param {number} y client @returns {Point} image */
  fromClient(x, y) {
    return this.toImage((x - this.left) * this.ratio, (y - this.top) * this.ratio);
  }

  /** @param {number} x image @param {number} y image @returns {Point} client */
  toClient(x, y) {
    return {
      x: this.left + (x * this.scale + this.x) / this.ratio,
      y: this.top + (y * this.scale + this.y) / this.ratio,
    };
  }

  /** The part of the image plane in sight. @returns {Box} */
  seen() {
    const a = this.toImage(0, 0);
    const b = this.toImage(this.width, this.height);
    return [a.x, a.y, b.x, b.y];
  }

  get fitScale() {
    const [x0, y0, x1, y1] = this.world;
    const margin = Math.min(this.margin * this.ratio, this.width / 10, this.height / 10);
    return Math.min(MOST, (this.width - 2 * margin) / (x1 - x0), (this.height - 2 * margin) / (y1 - y0));
  }

  /** Show all of it; small pictures grow to twice their size at most. */
  fit() {
    const [x0, y0, x1, y1] = this.world;
    this.scale = Math.max(1e-4, Math.min(this.fitScale, 2 * this.ratio));
    this.#place({ x: (x0 + x1) / 2, y: (y0 + y1) / 2 }, this.width / 2, this.height / 2);
    this.fitted = true;
  }

  /** One image pixel to one device pixel. */
  actualSize() {
    this.zoomTo(1, this.width / 2, this.height / 2);
  }

  /** @param {number} factor @param {number} x device: stays where it is @param {number} y device */
  zoomBy(factor, x = this.width / 2, y = this.height / 2) {
    this.zoomTo(this.scale * factor, x, y);
  }

  /** @param {number} scale @param {number} x device @param {number} y device */
  zoomTo(scale, x, y) {
    const least = Math.min(this.fitScale, 1) / 4;
    const at = this.toImage(x, y);
    this.scale = Math.min(MOST, Math.max(least, scale));
    this.#place(at, x, y);
  }

  /** @param {number} dx device @param {number} dy device */
  panBy(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.#settle();
  }

  /** Move the least that brings an image point into sight. @param {Point} point */
  reveal(point) {
    const margin = Math.min(MARGIN_CSS * this.ratio, this.width / 4, this.height / 4);
    const x = point.x * this.scale + this.x;
    const y = point.y * this.scale + this.y;
    const dx = Math.max(margin - x, 0) + Math.min(this.width - margin - x, 0);
    const dy = Math.max(margin - y, 0) + Math.min(this.height - margin - y, 0);
    if (dx || dy) this.panBy(dx, dy);
  }

  /** The image's coordinates moved by (dx, dy): keep what is seen where it is. @param {number} dx @param {number} dy */
  shift(dx, dy) {
    this.x = Math.round(this.x - dx * this.scale);
    this.y = Math.round(this.y - dy * this.scale);
  }

  serialize() {
    const middle = this.toImage(this.width / 2, this.height / 2);
    return { scale: this.scale / this.ratio, x: middle.x, y: middle.y, fitted: this.fitted };
  }

  /** @param {ReturnType<Viewport["serialize"]>} data */
  restore({ scale, x, y, fitted }) {
    if (fitted) return this.fit();
    this.scale = scale * this.ratio;
    this.#place({ x, y }, this.width / 2, this.height / 2);
  }

  /** @param {Point} image @param {number} x device @param {number} y device */
  #place(image, x, y) {
    this.x = x - image.x * this.scale;
    this.y = y - image.y * this.scale;
    this.#settle();
  }

  /** Keep some of the picture in sight, and the offset whole. */
  #settle() {
    const [x0, y0, x1, y1] = this.world;
    const keep = KEEP_CSS * this.ratio;
    const keepX = Math.min(keep, (x1 - x0) * this.scale);
    const keepY = Math.min(keep, (y1 - y0) * this.scale);
    this.x = Math.round(Math.min(this.width - keepX - x0 * this.scale, Math.max(keepX - x1 * this.scale, this.x)));
    this.y = Math.round(Math.min(this.height - keepY - y0 * this.scale, Math.max(keepY - y1 * this.scale, this.y)));
    this.fitted = false;
    this.changed();
  }
}
