// @ts-check
/** The eraser is the brush the other way round. */

import { Brush } from "./brush.js";

export class Eraser extends Brush {
  /** @param {import("../studio.js").Studio} studio */
  constructor(studio) {
    super(studio, { erases: true });
  }
}
