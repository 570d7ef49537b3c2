// @ts-check
/** A free outline: what it encloses is masked. */

import { cross, outline, path } from "../marks.js";
import { Polygon } from "../raster.js";

/** @typedef {import("../studio.js").Studio} Studio */
/** @typedef {import("../input.js").Spot} Spot */

export class Lasso {
  /** @param {Studio} studio */
  constructor(studio) {
    this.studio = studio;
    /** @type {Spot[]} */
    this.spots = [];
  }

  /** @param {Spot} spot */
  down(spot) {
    this.spots = [spot];
  }

  /** @param {Spot[]} spots */
  move(spots) {
    const least = 0.5 / this.studio.view.scale;
    for (const spot of spots) {
      const last = /** @type {Spot} */ (this.spots.at(-1));
      if (Math.hypot(spot.x - last.x, spot.y - last.y) >= least) this.spots.push(spot);
    }
    this.studio.stage.repaintMarks();
  }

  /** @param {Spot} spot */
  up(spot) {
    this.move([spot]);
    const spots = this.spots;
    const erase = spots[0].alt || this.studio.settings.subtract;
    this.cancel();
    if (spots.length >= 3) {
      this.studio.document.change("lasso", () => this.studio.document.mask.stamp(new Polygon(spots), erase));
    }
  }

  cancel() {
    this.spots = [];
    this.studio.stage.repaintMarks();
  }

  /** @param {CanvasRenderingContext2D} context @param {Spot | null} spot */
  draw(context, spot) {
    const { view, settings } = this.studio;
    if (this.spots.length) {
      path(context, view, this.spots, true);
      context.fillStyle = "rgba(255, 255, 255, 0.12)";
      context.fill();
      path(context, view, this.spots, false);
      outline(context, view.ratio, { dashed: this.spots[0].alt || settings.subtract });
    }
    const at = this.spots.at(-1) ?? spot;
    if (at && (at.type !== "touch" || this.spots.length)) cross(context, view, at);
  }
}
