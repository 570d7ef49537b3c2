// @ts-check
/** Selections that the server makes: the wand's by colour, and smart select's by a box, a scribble or a click. */

import { cross, frame, outline, path, spinner } from "../marks.js";
import { Rectangle } from "./drag.js";

/** @typedef {import("../studio.js").Studio} Studio */
/** @typedef {import("../input.js").Spot} Spot */
/** @typedef {import("../studio.js").Mode} Mode */
/** @typedef {[number, number]} Pair */

const MOST_POINTS = 256;
const TURN_MS = 900;

/** A click selects what has the colour found there, within the tolerance. */
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

/**
 * A box around a thing, a scribble over it, or a click on it; the server finds its outline.
 *
 * Dragging draws a box (with Shift, or the setting `smart` at "scribble", it scribbles); a click points. A scribble
 * with Alt right after another says what is *not* meant, and the selection is made anew with both.
 */
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

/** Lets the server select, one request at a time, and takes the outcome into the mask. */
export class Selecting {
  /** @type {AbortController | null} */
  #stop = null;

  /** @param {Studio} studio @param {() => void} changed called when a request begins or ends */
  constructor(studio, changed) {
    this.studio = studio;
    this.changed = changed;
  }

  /** What is being looked for. @type {{box?: import("../mask.js").Box, at: {x: number, y: number}} | null} */
  sought = null;

  get active() {
    return this.#stop !== null;
  }

  cancel() {
    this.#stop?.abort();
    this.#stop = this.sought = null;
    this.changed();
  }

  /**
   * @param {Record<string, any>} body of the request, less the picture
   * @param {{label: string, mode: Mode, again?: boolean}} how  again: instead of the last step
   * @returns {Promise<boolean>} whether the mask changed
   */
  async run(body, { label, mode, again = false }) {
    const { studio } = this;
    const { document } = studio;
    const { picture } = document;
    this.cancel();
    const stop = new AbortController();
    this.#stop = stop;
    const { box, point, foreground } = body;
    const [x, y] = box ? [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2] : (point ?? foreground[foreground.length >> 1]);
    this.sought = { box, at: { x, y } };
    this.changed();
    try {
      const found = await studio.api.select({ image: picture.id, ...body }, { signal: stop.signal });
      const [x0, y0, x1, y1] = found.box;
      if (x0 >= x1 || y0 >= y1) return false;
      const { decodeGrey } = await import("../png.js");
      const { pixels } = await decodeGrey(await this.#file(found.mask, stop.signal), x1 - x0, y1 - y0);
      while (document.mask.step) await new Promise((resolve) => setTimeout(resolve, 16));
      if (stop.signal.aborted || document !== studio.document || document.picture.id !== picture.id) return false;
      if (again) document.undo();
      return studio.merge(found.box, pixels, mode, label);
    } catch (error) {
      if (!stop.signal.aborted) studio.fail(error);
      return false;
    } finally {
      if (this.#stop === stop) this.#stop = this.sought = null;
      this.changed();
    }
  }

  /** Show what is being looked for. @param {CanvasRenderingContext2D} context */
  draw(context) {
    if (!this.sought) return;
    const { view, stage } = this.studio;
    const { box, at } = this.sought;
    if (box) {
      frame(context, view, box);
      outline(context, view.ratio, { dashed: true });
    }
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    spinner(context, view, at, still ? 0 : performance.now() / TURN_MS);
    if (!still) requestAnimationFrame(() => stage.repaintMarks());
  }

  /** @param {string} id @param {AbortSignal} signal @returns {Promise<Blob>} */
  async #file(id, signal) {
    const { api } = this.studio;
    if (api.file) return api.file(id, { signal });
    const answer = await fetch(api.fileUrl(id), { signal });
    if (!answer.ok) throw new Error(`file: ${answer.status}`);
    return answer.blob();
  }
}
