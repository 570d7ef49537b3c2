// @ts-check
/** The keyboard: one table of keys, the listener that serves it, and the sheet that shows it. */

import { h } from "./dom.js";
import { keyWords, spelling } from "./keys.js";
import { say } from "./strings.js";

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
    const { openDialog } = await import("./dialog.js");
    if (document.querySelector("dialog[open]")) return;
    const parts = [...new Set(this.shortcuts.map(({ part }) => part))];
    openDialog(
      say("shortcuts.title"),
      () =>
        h(
          "div",
          null,
          h(
            "div",
            { class: "keys" },
            ...parts.map((part) =>
              h("section", null, h("h3", null, say(`shortcuts.${part}`)), h("dl", null, ...this.shortcuts.filter((each) => each.part === part).map(line))),
            ),
          ),
          h("p", { class: "muted" }, say("key.fingers")),
        ),
      { look: "keyboard", testid: "shortcuts-sheet" },
    );
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

/** @param {Shortcut} shortcut */
function line({ keys, words, shown }) {
  const caps = (shown ?? keys[0]).split(" | ").map((key) => h("kbd", null, keyWords(key)));
  return h("div", null, h("dt", null, ...caps), h("dd", null, words));
}
