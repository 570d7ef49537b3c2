// @ts-check
/** The drawer at the side that holds the gallery or the queue; one at a time. Knows no contents. */

import { byId, fetchPanelStyles, fill, h, iconButton } from "./dom.js";
import { icon } from "./icons.js";
import { say } from "./strings.js";

await fetchPanelStyles();

/** @type {{button: HTMLElement, closed: () => void} | null} */
let shown = null;

/**
 * Open the drawer, or close it if `button` opened it.
 * @param {string} buttonId @param {string} title @param {(body: HTMLElement) => () => void} build  returns what to do when it closes
 */
export function toggleDrawer(buttonId, title, build) {
  const button = byId(buttonId);
  const same = shown?.button === button;
  closeDrawer();
  if (same) return;
  const body = h("div", { class: "body" });
  const drawer = byId("drawer");
  drawer.setAttribute("aria-label", title);
  drawer.dataset.testid = `${buttonId}-panel`;
  const shut = iconButton(say("panel.close"), icon("close"), { onclick: () => closeDrawer() });
  fill(drawer, h("header", null, h("h2", null, title), shut), body);
  drawer.hidden = false;
  button.setAttribute("aria-expanded", "true");
  shown = { button, closed: build(body) };
  shut.focus();
}

/** Close the drawer. @returns {boolean} whether one was open */
export function closeDrawer() {
  if (!shown) return false;
  const { button, closed } = shown;
  const drawer = byId("drawer");
  const inside = drawer.contains(document.activeElement);
  shown = null;
  closed();
  drawer.hidden = true;
  fill(drawer);
  button.setAttribute("aria-expanded", "false");
  if (inside && button.offsetParent) button.focus();
  return true;
}

/**
 * What is shown where there is nothing.
 * @param {string} words @param {string} picture
 */
export function nothing(words, picture) {
  return h("div", { class: "nothing" }, icon(picture), h("p", null, words));
}
