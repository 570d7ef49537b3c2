// @ts-check
/** Lets the server select, one request at a time, and takes the outcome into the mask. */

import { frame, outline, spinner } from "./marks.js";

/** @typedef {import("./studio.js").Studio} Studio */
/** @typedef {import("./studio.js").Mode} Mode */

const TURN_MS = 900;

export class Selecting {
  /** @type {AbortController | null} */
  #stop = null;

  /** @param {Studio} studio @param {() => void} changed called when a request begins or ends */
  constructor(studio, changed) {
    this.studio = studio;
    this.changed = changed;
  }

  /** What is being looked for. @type {{box?: import("./mask.js").Box, at: {x: number, y: number}} | null} */
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
      const { decodeGrey } = await import("./png.js");
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
