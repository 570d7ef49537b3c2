// @ts-check
/** The keyboard: one table of keys, and the listener that serves it. */

import { spelling } from "./keys.js";

/**
 * @typedef {object} Shortcut
 * @property {string[]} keys  spellings; the first is shown
 * @property {string} words
 * @property {string} part  heading on the sheet
 * @property {((key: string) => void) | null} run  null: shown here, served elsewhere
 * @property {(() => void)} [released]  for what lasts while the key is down
 * @property {boolean} [always]  also without a picture
 * @property {string} [shown]  what the sheet shows in place of the keys
 */

export class Shortcuts {
  /** @type {Map<string, Shortcut>} */
  #table = new Map();
  /** @type {Map<string, Shortcut>} */
  #held = new Map();

  /** @param {Shortcut[]} shortcuts @param {() => boolean} ready  whether a picture is open */
  constructor(shortcuts, ready) {
    this.shortcuts = shortcuts;
    this.ready = ready;
    for (const shortcut of shortcuts) for (const key of shortcut.keys) this.#table.set(key, shortcut);
    addEventListener("keydown", (event) => this.#pressed(event));
    addEventListener("keyup", (event) => this.#released(event.key));
    addEventListener("blur", () => [...this.#held.keys()].forEach((key) => this.#released(key)));
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open], .menu:popover-open")) return;
    const key = spelling(event);
    const shortcut = this.#table.get(key);
    if (!shortcut?.run || (!shortcut.always && !this.ready()) || taken(event, key)) return;
    event.preventDefault();
    if (shortcut.released) {
      if (event.repeat) return;
      this.#held.set(event.key, shortcut);
    }
    shortcut.run(key);
  }

  /** @param {string} key */
  #released(key) {
    const shortcut = this.#held.get(key);
    this.#held.delete(key);
    shortcut?.released?.();
  }

  /** Show all keys. */
  async show() {
    const { showKeys } = await import("./keyboard.js");
    showKeys(this.shortcuts);
  }
}

/**
 * Whether the focused element wants this key itself.
 * @param {KeyboardEvent} event @param {string} key
 */
function taken(event, key) {
  const element = event.target;
  if (!(element instanceof HTMLElement)) return false;
  if (element.matches("textarea, select, input:not([type=range], [type=radio], [type=checkbox])")) {
    if (key === "Enter" && element.matches("input")) element.blur();
    return key !== "Escape" && key !== "Ctrl Enter";
  }
  return key === "Enter" && element.matches("button, summary, a");
}
