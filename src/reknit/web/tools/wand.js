// @ts-check
/** The wand: a click selects what has the colour found there, within the tolerance; the server looks. */

import { cross } from "../marks.js";

/** @typedef {import("../studio.js").Studio} Studio */
/** @typedef {import("../input.js").Spot} Spot */

export class Wand {
  /** @param {Studio} studio */
  constructor(studio) {
    this.studio = studio;
  }

  down() {}
  move() {}
  cancel() {}

  /** @param {Spot} spot */
  up(spot) {
    const { settings, document } = this.studio;
    const { width, height } = document.picture;
    const x = Math.floor(spot.x);
    const y = Math.floor(spot.y);
    if (x < 0 || y < 0 || x >= width || y >= height) return;
    this.studio.select(
      { method: "wand", point: [x, y], tolerance: settings.tolerance, contiguous: settings.contiguous },
      { label: "wand", mode: spot.alt || settings.subtract ? "subtract" : "add" },
    );
  }

  /** @param {CanvasRenderingContext2D} context @param {Spot | null} spot */
  draw(context, spot) {
    if (spot && spot.type !== "touch") cross(context, this.studio.view, spot);
  }
}
