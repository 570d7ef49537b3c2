// @ts-check
/** Outlines that are filled: the lasso's, drawn freely, and the polygon's, corner by corner. */

import { cross, knob, outline, path } from "../marks.js";
import { Polygon } from "../raster.js";

/** @typedef {import("../studio.js").Studio} Studio */
/** @typedef {import("../input.js").Spot} Spot */

const NEAR_CSS = 9;

/** A free outline: what it encloses is masked. */
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

/**
 * Enter, a double click or a click on the first corner closes it, Backspace takes the last corner back, Escape
 * leaves.
 */
export class PolygonTool {
  /** @param {Studio} studio */
  constructor(studio) {
    this.studio = studio;
    /** @type {Spot[]} */
    this.spots = [];
    /** @type {Spot | null} */
    this.held = null;
  }

  /** @param {Spot} spot */
  down(spot) {
    this.held = spot;
    this.studio.stage.repaintMarks();
  }

  /** @param {Spot[]} spots */
  move(spots) {
    this.held = spots.at(-1) ?? null;
    this.studio.stage.repaintMarks();
  }

  /** @param {Spot} spot */
  up(spot) {
    this.held = null;
    if (this.spots.length >= 3 && this.#near(spot, this.spots[0])) return this.close();
    const last = this.spots.at(-1);
    if (!last || !this.#near(spot, last, 2)) this.spots.push(spot);
    this.studio.stage.repaintMarks();
  }

  /** Only the corner being placed is taken back. */
  cancel() {
    this.held = null;
    this.studio.stage.repaintMarks();
  }

  leave() {
    this.spots = [];
    this.cancel();
  }

  twice() {
    this.close();
  }

  /** @param {string} key */
  key(key) {
    if (!this.spots.length) return false;
    if (key === "Enter") this.close();
    else if (key === "Escape") this.leave();
    else if (key === "Backspace") this.spots.pop();
    else return false;
    this.studio.stage.repaintMarks();
    return true;
  }

  close() {
    const spots = this.spots;
    if (spots.length < 3) return;
    this.leave();
    const erase = spots[0].alt || this.studio.settings.subtract;
    this.studio.document.change("polygon", () => this.studio.document.mask.stamp(new Polygon(spots), erase));
  }

  /** @param {CanvasRenderingContext2D} context @param {Spot | null} spot */
  draw(context, spot) {
    const { view, settings } = this.studio;
    const at = this.held ?? (spot?.type === "touch" ? null : spot);
    if (this.spots.length) {
      const closing = at && this.spots.length >= 3 && this.#near(at, this.spots[0]);
      path(context, view, at && !closing ? [...this.spots, at] : this.spots, !!closing);
      outline(context, view.ratio, { dashed: this.spots[0].alt || settings.subtract });
      this.spots.forEach(({ x, y }, i) => {
        const size = i === 0 ? (closing ? 7 : 5) : 3.5;
        knob(context, x * view.scale + view.x, y * view.scale + view.y, size * view.ratio, i === 0);
      });
    }
    if (at) cross(context, view, at);
  }

  /** @param {Spot} a @param {Spot} b */
  #near(a, b, css = NEAR_CSS) {
    const { view } = this.studio;
    const reach = a.type === "touch" ? css * 2 : css;
    return (Math.hypot(a.x - b.x, a.y - b.y) * view.scale) / view.ratio <= reach;
  }
}
