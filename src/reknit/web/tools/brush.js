// @ts-check
/** The brush, and the eraser, which is the brush the other way round: strokes, and with Shift a straight line from where the last one ended. */

import { Segment, segments } from "../raster.js";
import { ring } from "../marks.js";

/** @typedef {import("../studio.js").Studio} Studio */
/** @typedef {import("../input.js").Spot} Spot */
/** @typedef {import("../raster.js").Dab} Dab */

const LEAST_PRESSURE = 0.15;

export class Brush {
  /** @param {Studio} studio @param {{erases?: boolean}} [how] */
  constructor(studio, { erases = false } = {}) {
    this.studio = studio;
    this.erases = erases;
    this.erasing = false;
    /** @type {Dab[]} */
    this.waiting = [];
    /** Where the stroke, or the last one, ends. @type {Dab | null} */
    this.last = null;
    this.pressed = false;
  }

  /** @param {Spot} spot */
  down(spot) {
    const { settings } = this.studio;
    this.erasing = this.erases || spot.alt || settings.subtract;
    this.studio.document.begin(this.erasing ? "eraser" : "brush");
    this.pressed = true;
    const dab = this.#dab(spot);
    if (spot.shift && this.last) this.#stamp(new Segment(this.last, dab, settings.hardness, true));
    else this.#stamp(new Segment(dab, dab, settings.hardness, true));
    this.last = dab;
  }

  /** @param {Spot[]} spots */
  move(spots) {
    for (const spot of spots) {
      const dab = this.#dab(spot);
      const before = this.waiting.at(-1) ?? this.last;
      if (!before || Math.hypot(dab.x - before.x, dab.y - before.y) >= 0.25) this.waiting.push(dab);
    }
    this.studio.stage.schedule();
  }

  /** Draw what has come since the last frame. */
  flush() {
    if (!this.waiting.length || !this.last) return;
    const run = segments(this.last, this.waiting, this.studio.settings.hardness);
    for (const segment of run.segments) this.#stamp(segment);
    this.last = run.last;
    this.waiting = [];
  }

  /** @param {Spot} spot */
  up(spot) {
    // A pen lifting off reports no pressure: its last place counts, not its width.
    if (spot.type !== "pen") this.move([spot]);
    this.flush();
    this.pressed = false;
    this.studio.document.commit();
  }

  cancel() {
    this.waiting = [];
    if (this.pressed) this.studio.document.abort();
    this.pressed = false;
    this.last = null;
  }

  leave() {
    this.last = null;
  }

  /** @param {CanvasRenderingContext2D} context @param {Spot | null} spot */
  draw(context, spot) {
    if (!spot || (spot.type === "touch" && !this.pressed)) return;
    const { settings, view } = this.studio;
    const erase = this.pressed ? this.erasing : this.erases || settings.subtract || spot.alt;
    ring(context, view, spot, this.#dab(this.pressed ? spot : { ...spot, pressure: 1 }).r, { hardness: settings.hardness, erase });
  }

  /** @param {Spot} spot @returns {Dab} */
  #dab(spot) {
    const { settings } = this.studio;
    const share = settings.pressure && spot.type === "pen" ? LEAST_PRESSURE + (1 - LEAST_PRESSURE) * spot.pressure : 1;
    return { x: spot.x, y: spot.y, r: Math.max(0.5, (settings.size / 2) * share) };
  }

  /** @param {Segment} segment */
  #stamp(segment) {
    this.studio.document.mask.stamp(segment, this.erasing);
  }
}

export class Eraser extends Brush {
  /** @param {Studio} studio */
  constructor(studio) {
    super(studio, { erases: true });
  }
}
