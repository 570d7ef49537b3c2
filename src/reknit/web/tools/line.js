// @ts-check
/** A straight line as wide as the brush; Shift keeps it level, upright or diagonal. */

import { outline, path, ring } from "../marks.js";
import { Segment } from "../raster.js";

/** @typedef {import("../studio.js").Studio} Studio */
/** @typedef {import("../input.js").Spot} Spot */

export class Line {
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
    this.to = this.from && spot.shift ? snapped(this.from, spot) : spot;
    this.studio.stage.repaintMarks();
  }

  /** @param {Spot} spot */
  up(spot) {
    this.move([spot]);
    const { from, to, studio } = this;
    if (from && to) {
      const r = Math.max(0.5, studio.settings.size / 2);
      const segment = new Segment({ x: from.x, y: from.y, r }, { x: to.x, y: to.y, r }, studio.settings.hardness, true);
      studio.document.change("line", () => studio.document.mask.stamp(segment, from.alt || studio.settings.subtract));
    }
    this.cancel();
  }

  cancel() {
    this.from = this.to = null;
    this.studio.stage.repaintMarks();
  }

  /** @param {CanvasRenderingContext2D} context @param {Spot | null} spot */
  draw(context, spot) {
    const { view, settings } = this.studio;
    const r = Math.max(0.5, settings.size / 2);
    const erase = settings.subtract || !!(this.from ?? spot)?.alt;
    if (this.from && this.to) {
      const { from, to } = this;
      const length = Math.hypot(to.x - from.x, to.y - from.y) || 1;
      const dx = (-(to.y - from.y) / length) * r;
      const dy = ((to.x - from.x) / length) * r;
      for (const side of [-1, 1]) {
        path(context, view, [{ x: from.x + side * dx, y: from.y + side * dy }, { x: to.x + side * dx, y: to.y + side * dy }], false);
        outline(context, view.ratio, { dashed: erase });
      }
      ring(context, view, from, r, { hardness: 1, erase });
    }
    const at = this.to ?? spot;
    if (at && (at.type !== "touch" || this.from)) ring(context, view, at, r, { hardness: settings.hardness, erase });
  }
}

/** The place on one of eight rays from `from` that is nearest to `spot`. @param {Spot} from @param {Spot} spot @returns {Spot} */
export function snapped(from, spot) {
  const dx = spot.x - from.x;
  const dy = spot.y - from.y;
  const angle = Math.round(Math.atan2(dy, dx) / (Math.PI / 4)) * (Math.PI / 4);
  const length = dx * Math.cos(angle) + dy * Math.sin(angle);
  return { ...spot, x: from.x + length * Math.cos(angle), y: from.y + length * Math.sin(angle) };
}
