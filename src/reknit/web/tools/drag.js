// @ts-check
/** What is drawn from where one presses to where one lets go: rectangles of whole pixels, and straight lines. */

import { cross, frame, outline, path, ring } from "../marks.js";
import { Polygon, Segment, corners } from "../raster.js";

/** @typedef {import("../studio.js").Studio} Studio */
/** @typedef {import("../input.js").Spot} Spot */

/** A drag from one place to another; Shift bends where it ends. */
class Drag {
  /** @param {Studio} studio */
  constructor(studio) {
    this.studio = studio;
    /** @type {Spot | null} */
    this.from = null;
    /** @type {Spot | null} */
    this.to = null;
  }

  /** Whether the drag takes away. @param {Spot | null} [spot] where the pointer is, if nothing is being drawn */
  erases(spot = null) {
    return this.studio.settings.subtract || !!(this.from ?? spot)?.alt;
  }

  /** @param {Spot} spot */
  down(spot) {
    this.from = this.to = spot;
  }

  /** @param {Spot[]} spots */
  move(spots) {
    const spot = /** @type {Spot} */ (spots.at(-1));
    this.to = this.from && spot.shift ? this.bent(this.from, spot) : spot;
    this.studio.stage.repaintMarks();
  }

  /** @param {Spot} spot */
  up(spot) {
    this.move([spot]);
    const shape = this.shape();
    const erase = this.erases();
    this.cancel();
    const { document } = this.studio;
    if (shape) document.change(this.label, () => document.mask.stamp(shape, erase));
  }

  cancel() {
    this.from = this.to = null;
    this.studio.stage.repaintMarks();
  }

  label = "";

  /** Where the drag ends with Shift. @param {Spot} _from @param {Spot} spot @returns {Spot} */
  bent(_from, spot) {
    return spot;
  }

  /** What is stamped in the end. @returns {import("../mask.js").Shape | null} */
  shape() {
    return null;
  }
}

/** Shift makes it a square. */
export class Rectangle extends Drag {
  label = "rectangle";

  /** @param {Spot} from @param {Spot} spot @returns {Spot} */
  bent(from, spot) {
    const side = Math.max(Math.abs(spot.x - from.x), Math.abs(spot.y - from.y));
    return { ...spot, x: from.x + side * Math.sign(spot.x - from.x || 1), y: from.y + side * Math.sign(spot.y - from.y || 1) };
  }

  shape() {
    const box = this.box();
    return box && new Polygon(corners({ x: box[0], y: box[1] }, { x: box[2], y: box[3] }));
  }

  /** The box drawn, cut to the picture; null while it is hardly more than a click. @returns {import("../mask.js").Box | null} */
  box() {
    const { from, to } = this;
    const { view, document } = this.studio;
    const least = (3 * view.ratio) / view.scale;
    if (!from || !to || (Math.abs(to.x - from.x) < least && Math.abs(to.y - from.y) < least)) return null;
    const { width, height } = document.picture;
    const clip = (/** @type {number} */ value, /** @type {number} */ most) => Math.max(0, Math.min(most, Math.round(value)));
    const x0 = clip(Math.min(from.x, to.x), width);
    const y0 = clip(Math.min(from.y, to.y), height);
    const x1 = clip(Math.max(from.x, to.x), width);
    const y1 = clip(Math.max(from.y, to.y), height);
    return x0 < x1 && y0 < y1 ? [x0, y0, x1, y1] : null;
  }

  /** @param {CanvasRenderingContext2D} context @param {Spot | null} spot */
  draw(context, spot) {
    const { view } = this.studio;
    const box = this.box();
    if (box) {
      frame(context, view, box);
      outline(context, view.ratio, { dashed: this.erases() });
    }
    const at = this.to ?? spot;
    if (at && (at.type !== "touch" || this.from)) cross(context, view, at);
  }
}

/** As wide as the brush; Shift keeps it level, upright or diagonal. */
export class Line extends Drag {
  label = "line";

  /** The place on one of eight rays that is nearest. @param {Spot} from @param {Spot} spot @returns {Spot} */
  bent(from, spot) {
    const dx = spot.x - from.x;
    const dy = spot.y - from.y;
    const angle = Math.round(Math.atan2(dy, dx) / (Math.PI / 4)) * (Math.PI / 4);
    const length = dx * Math.cos(angle) + dy * Math.sin(angle);
    return { ...spot, x: from.x + length * Math.cos(angle), y: from.y + length * Math.sin(angle) };
  }

  get radius() {
    return Math.max(0.5, this.studio.settings.size / 2);
  }

  shape() {
    const { from, to, radius: r } = this;
    return from && to && new Segment({ x: from.x, y: from.y, r }, { x: to.x, y: to.y, r }, this.studio.settings.hardness, true);
  }

  /** @param {CanvasRenderingContext2D} context @param {Spot | null} spot */
  draw(context, spot) {
    const { view, settings } = this.studio;
    const { from, to, radius: r } = this;
    const erase = this.erases(spot);
    if (from && to) {
      const length = Math.hypot(to.x - from.x, to.y - from.y) || 1;
      const dx = (-(to.y - from.y) / length) * r;
      const dy = ((to.x - from.x) / length) * r;
      for (const side of [-1, 1]) {
        path(context, view, [{ x: from.x + side * dx, y: from.y + side * dy }, { x: to.x + side * dx, y: to.y + side * dy }], false);
        outline(context, view.ratio, { dashed: erase });
      }
      ring(context, view, from, r, { hardness: 1, erase });
    }
    const at = to ?? spot;
    if (at && (at.type !== "touch" || from)) ring(context, view, at, r, { hardness: settings.hardness, erase });
  }
}
