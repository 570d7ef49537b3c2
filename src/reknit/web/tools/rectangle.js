// @ts-check
/** A rectangle of whole pixels; Shift makes it a square. */

import { cross, frame, outline } from "../marks.js";
import { Polygon, corners } from "../raster.js";

/** @typedef {import("../studio.js").Studio} Studio */
/** @typedef {import("../input.js").Spot} Spot */

export class Rectangle {
  /** @param {Studio} studio */
  constructor(studio) {
    this.studio = studio;
    /** @type {Spot | null} */
    this.from = null;
    /** @type {Spot | null} */
    this.to = null;
  }

  /** @param {Spot} spot */
  down(spot) {
    this.from = this.to = spot;
  }

  /** @param {Spot[]} spots */
  move(spots) {
    const spot = /** @type {Spot} */ (spots.at(-1));
    this.to = this.from && spot.shift ? squared(this.from, spot) : spot;
    this.studio.stage.repaintMarks();
  }

  /** @param {Spot} spot */
  up(spot) {
    this.move([spot]);
    const box = this.box();
    const erase = !!this.from?.alt || this.studio.settings.subtract;
    this.cancel();
    if (box) this.finish(box, erase);
  }

  cancel() {
    this.from = this.to = null;
    this.studio.stage.repaintMarks();
  }

  /** @param {import("../mask.js").Box} box @param {boolean} erase */
  finish([x0, y0, x1, y1], erase) {
    const shape = new Polygon(corners({ x: x0, y: y0 }, { x: x1, y: y1 }));
    this.studio.document.change("rectangle", () => this.studio.document.mask.stamp(shape, erase));
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
    const { view, settings } = this.studio;
    const box = this.box();
    if (box) {
      frame(context, view, box);
      outline(context, view.ratio, { dashed: !!this.from?.alt || settings.subtract });
    }
    const at = this.to ?? spot;
    if (at && (at.type !== "touch" || this.from)) cross(context, view, at);
  }
}

/** @param {Spot} from @param {Spot} spot @returns {Spot} */
function squared(from, spot) {
  const side = Math.max(Math.abs(spot.x - from.x), Math.abs(spot.y - from.y));
  return { ...spot, x: from.x + side * Math.sign(spot.x - from.x || 1), y: from.y + side * Math.sign(spot.y - from.y || 1) };
}
