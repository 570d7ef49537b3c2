// @ts-check
/** A modal dialog with a title. Closes by Esc, by its button and by a press beside it; gives the focus back. */

import { fetchPanelStyles, h, iconButton } from "./dom.js";
import { icon } from "./icons.js";
import { say } from "./strings.js";

await fetchPanelStyles();

/**
 * Open a dialog; resolves when it is closed.
 * @param {string} title
 * @param {(close: () => void) => Node} build
 * @param {{look?: "" | "wide" | "narrow" | "keyboard", testid?: string, must?: boolean}} [how]  must: cannot be dismissed
 * @returns {Promise<void>}
 */
export function openDialog(title, build, { look = "", testid, must = false } = {}) {
  const dialog = h("dialog", { class: look, "aria-label": title, "data-testid": testid });
  const close = () => dialog.close();
  const shut = must ? null : iconButton(say("shortcuts.close"), icon("close"), { onclick: close });
  dialog.append(h("header", null, h("h2", null, title), shut), h("div", { class: "body" }, build(close)));
  dialog.addEventListener("pointerdown", (event) => {
    if (!must && event.target === dialog) close();
  });
  dialog.addEventListener("cancel", (event) => must && event.preventDefault());
  document.body.append(dialog);
  dialog.showModal();
  // not the "close" event: that waits for a frame, and until then a closed dialog would stand beside the next one
  return new Promise((resolve) =>
    new MutationObserver(() => dialog.open || (dialog.remove(), resolve())).observe(dialog, { attributeFilter: ["open"] }),
  );
}
