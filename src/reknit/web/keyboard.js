// @ts-check
/** The sheet that shows all keys. Fetched when it is asked for. */

import { openDialog } from "./dialog.js";
import { h } from "./dom.js";
import { keyWords } from "./keys.js";
import { say } from "./strings.js";

/** @typedef {import("./shortcuts.js").Shortcut} Shortcut */

/** @param {Shortcut[]} shortcuts */
export function showKeys(shortcuts) {
  if (document.querySelector("dialog[open]")) return;
  const parts = [...new Set(shortcuts.map(({ part }) => part))];
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
            h("section", null, h("h3", null, say(`shortcuts.${part}`)), h("dl", null, ...shortcuts.filter((each) => each.part === part).map(line))),
          ),
        ),
        h("p", { class: "muted" }, say("key.fingers")),
      ),
    { look: "keyboard", testid: "shortcuts-sheet" },
  );
}

/** @param {Shortcut} shortcut */
function line({ keys, words, shown }) {
  const caps = (shown ?? keys[0]).split(" | ").map((key) => h("kbd", null, keyWords(key)));
  return h("div", null, h("dt", null, ...caps), h("dd", null, words));
}
