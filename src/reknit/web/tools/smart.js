// @ts-check
/**
 * Smart select: a box around a thing, a scribble over it, or a click on it; the server finds its outline.
 *
 * Dragging draws a box (with Shift, or the setting `smart` at "scribble", it scribbles); a click points. A scribble
 * with Alt right after another says what is *not* meant, and the selection is made anew with both.
 */

import { cross, frame, outline, path } from "../marks.js";
import { Rectangle } from "./drag.js";

/** @typedef {import("../studio.js").Studio} Studio */
/** @typedef {import("../input.js").Spot} Spot */
/** @typedef {[number, number]} Pair */

const MOST_POINTS = 256;

export class Smart {
  /** @param {Studio} studio */
  constructor(studio) {
    this.studio = studio;
    this.rubber = new Rectangle(studio);
    /** @type {Spot[]} */
    this.spots = [];
    this.scribbling = false;
    /** What the last scribbles said, as long as nothing else was done. @type {{foreground: Pair[], background: Pair[], position: number} | null} */
    this.talk = null;
  }

  /** @param {Spot} spot */
  down(spot) {
    this.spots = [spot];
    this.scribbling = this.studio.settings.smart === "scribble" || spot.shift;
    // Shift means scribble here, not square.
    this.rubber.down({ ...spot, shift: false });
  }

  /** @param {Spot[]} spots */
  move(spots) {
    this.spots.push(...spots);
    this.rubber.move(spots.map((spot) => ({ ...spot, shift: false })));
  }

  /** @param {Spot} spot */
  up(spot) {
    this.move([spot]);
    const spots = this.spots;
    const box = this.rubber.box();
    const first = spots[0];
    const scribbling = this.scribbling;
    this.cancel();
    const mode = first.alt || this.studio.settings.subtract ? "subtract" : "add";
    if (!box) {
      const [point] = this.#points([first]);
      if (point) this.studio.select({ method: "point", point }, { label: "smart", mode });
    } else if (scribbling) this.#scribble(this.#points(spots), first.alt);
    else this.studio.select({ method: "box", box }, { label: "smart", mode });
  }

  cancel() {
    this.spots = [];
    this.rubber.cancel();
  }

  /** @param {CanvasRenderingContext2D} context @param {Spot | null} spot */
  draw(context, spot) {
    const { view, settings } = this.studio;
    const box = this.rubber.box();
    if (this.scribbling && this.spots.length) {
      path(context, view, this.spots, false);
      outline(context, view.ratio, { width: 4, colour: this.spots[0].alt ? "#ff8a8a" : "#7dffb2" });
    } else if (box) {
      frame(context, view, box);
      outline(context, view.ratio, { dashed: this.spots[0].alt || settings.subtract });
    }
    const at = this.spots.at(-1) ?? spot;
    if (at && (at.type !== "touch" || this.spots.length)) cross(context, view, at);
  }

  /** @param {Pair[]} points @param {boolean} away */
  async #scribble(points, away) {
    if (!points.length) return;
    const { studio } = this;
    const talk = this.talk;
    const more = talk && talk.position === studio.document.log.position && studio.document.log.steps[talk.position - 1]?.label === "smart";
    if (!more && away) return studio.select({ method: "scribble", foreground: points }, { label: "smart", mode: "subtract" });
    const foreground = [...(more ? talk.foreground : []), ...(away ? [] : points)];
    const background = [...(more ? talk.background : []), ...(away ? points : [])];
    const body = { method: "scribble", foreground, ...(background.length ? { background } : {}) };
    const done = await studio.select(body, { label: "smart", mode: studio.settings.subtract ? "subtract" : "add", again: !!more });
    this.talk = done ? { foreground, background, position: studio.document.log.position } : null;
    return done;
  }

  /** Whole pixels within the picture, at most a few hundred. @param {Spot[]} spots @returns {Pair[]} */
  #points(spots) {
    const { width, height } = this.studio.document.picture;
    const inside = spots
      .map((spot) => /** @type {Pair} */ ([Math.floor(spot.x), Math.floor(spot.y)]))
      .filter(([x, y], i, all) => x >= 0 && y >= 0 && x < width && y < height && (i === 0 || x !== all[i - 1][0] || y !== all[i - 1][1]));
    const every = Math.ceil(inside.length / MOST_POINTS);
    return inside.filter((_, i) => i % every === 0);
  }
}
