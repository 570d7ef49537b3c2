// @ts-check
/**
 * Asks the server how a fill would be carried out, while the canvas shows what the engine sees or the ring, and
 * gives the editor the answer. Knows when to ask; knows neither how a plan is drawn nor what it means.
 */

import { ApiError } from "./api.js";

const REST_MS = 300;

export class Planning {
  /** @type {AbortController | null} */
  #asking = null;
  /** The last answer. @type {object | null} */
  #plan = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {import("./api.js").Api} api @param {import("./editor.js").Editor} editor @param {import("./actions.js").Actions} actions */
  constructor(api, editor, actions) {
    this.api = api;
    this.editor = editor;
    this.actions = actions;
    const later = () => this.#later();
    editor.addEventListener("mask", later);
    actions.addEventListener("change", later);
    editor.addEventListener("setting", (event) => /^show/.test(/** @type {CustomEvent} */ (event).detail.name) && later());
    later();
  }

  #later() {
    this.#asking?.abort();
    clearTimeout(this.#timer);
    const { settings } = this.editor;
    if (this.#plan && settings.plan === this.#plan && this.editor.mask.empty) this.editor.set("plan", (this.#plan = null));
    if (settings.showCrop || settings.showRing) this.#timer = setTimeout(() => this.#ask(), REST_MS);
  }

  async #ask() {
    const { picture } = this.editor;
    const fields = this.actions.planned;
    if (!picture || !fields) return;
    const { signal } = (this.#asking = new AbortController());
    try {
      const mask = await this.api.upload(await this.editor.exportMask(), "mask.png", { signal });
      const plan = await this.api.plan({ image: picture.id, mask: mask.id, ...fields }, { signal });
      if (!signal.aborted) this.editor.set("plan", (this.#plan = plan));
    } catch (error) {
      // Whoever fills is told what is wrong; here nothing is drawn.
      if (!signal.aborted && error instanceof ApiError) this.editor.set("plan", (this.#plan = null));
    }
  }
}
