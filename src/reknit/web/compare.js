// @ts-check
/** Seeing the original: held down, or beside the result behind a slider. Knows the editor and two buttons. */

import { byId } from "./dom.js";

export class Compare {
  #split = false;

  /** @param {import("./editor.js").Editor} editor */
  constructor(editor) {
    this.editor = editor;
    const hold = byId("compare");
    hold.addEventListener("pointerdown", (event) => {
      hold.setPointerCapture(event.pointerId);
      this.hold(true);
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) hold.addEventListener(end, () => this.hold(false));
    hold.addEventListener("keydown", (event) => (event.key === " " || event.key === "Enter") && this.hold(true));
    hold.addEventListener("keyup", () => this.hold(false));
    byId("split").addEventListener("click", () => this.split(!this.#split));
    editor.addEventListener("history", () => this.refresh());
    addEventListener("blur", () => this.hold(false));
  }

  /** Whether there is anything to compare. */
  get possible() {
    const { picture, original } = this.editor;
    return Boolean(picture && original && picture.id !== original.id);
  }

  /** @param {boolean} on */
  hold(on) {
    if (!this.possible) return;
    this.editor.compare(on);
    byId("compare").setAttribute("aria-pressed", String(on));
  }

  /** @param {boolean} on */
  split(on) {
    this.#split = on && this.possible;
    this.editor.setSplit(this.#split ? 0.5 : null);
    byId("sides").hidden = !this.#split;
    byId("split").setAttribute("aria-pressed", String(this.#split));
  }

  toggleSplit() {
    this.split(!this.#split);
  }

  refresh() {
    const { possible } = this;
    for (const id of ["compare", "split"]) /** @type {HTMLButtonElement} */ (byId(id)).disabled = !possible;
    if (!possible && this.#split) this.split(false);
  }
}
