// @ts-check
/** The before/after slider on the picture. */

import { divider } from "../marks.js";

/** @typedef {import("../studio.js").Studio} Studio */
/** @typedef {import("../input.js").Spot} Spot */

const GRIP_CSS = 16;

export class Splitter {
  /** @param {Studio} studio */
  constructor(studio) {
    this.studio = studio;
    this.off = 0;
  }

  /** @param {Spot} spot */
  hit(spot) {
    const { stage, view } = this.studio;
    if (stage.split === null) return false;
    return Math.abs(spot.x * view.scale + view.x - stage.splitX()) <= GRIP_CSS * view.ratio;
  }

  /** @param {Spot} spot */
  down(spot) {
    const { stage, view } = this.studio;
    this.off = stage.splitX() - (spot.x * view.scale + view.x);
  }

  /** @param {Spot[]} spots */
  move(spots) {
    const { stage, view } = this.studio;
    const spot = /** @type {Spot} */ (spots.at(-1));
    const layer = stage.shown;
    if (!layer) return;
    const x = (spot.x * view.scale + this.off) / view.scale;
    this.studio.setSplit((x - layer.x) / layer.picture.width);
    this.studio.emit("split", { fraction: stage.split });
  }

  up() {}
  cancel() {}

  /** @param {CanvasRenderingContext2D} context */
  draw(context) {
    const { stage, view } = this.studio;
    if (stage.split === null || !stage.shown) return;
    const { picture, y } = stage.shown;
    divider(context, view, stage.splitX(), y * view.scale + view.y, (y + picture.height) * view.scale + view.y);
  }
}
