// @ts-check
/** Menus and small panels beside a button, in the top layer. Knows what menus are, not what is in them. */

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { keyWords } from "./keys.js";
import { place } from "./notices.js";

/** @typedef {{words: string, icon?: string, key?: string, run: () => void, disabled?: boolean, testid?: string} | null} Entry  null is a line */

const opened = () => /** @type {HTMLElement | null} */ (document.querySelector(".menu"));

/** The id of the button whose box was open as a press began: beside a box a press closes it, before it is a click. */
let pressed = "";
addEventListener("pointerdown", () => (pressed = opened()?.dataset.of ?? ""), true);
addEventListener("keydown", () => (pressed = ""), true);

/**
 * Show what `make` builds beside `button`; a second press closes it.
 * @param {HTMLElement} button @param {(close: () => void) => HTMLElement} make
 */
export function openBeside(button, make) {
  const old = opened();
  old?.hidePopover();
  const same = (old?.dataset.of ?? pressed) === button.id;
  pressed = "";
  if (same) return;
  const box = make(() => box.hidePopover());
  box.classList.add("menu");
  box.popover = "auto";
  box.dataset.of = button.id;
  document.body.append(box);
  button.setAttribute("aria-expanded", "true");
  // not the "toggle" event: that comes later, and until then a closed box would stand beside the next one
  box.addEventListener("beforetoggle", (event) => {
    if (/** @type {ToggleEvent} */ (event).newState !== "closed") return;
    const back = box.contains(document.activeElement) || document.activeElement === document.body;
    button.setAttribute("aria-expanded", "false");
    box.remove();
    if (back) button.focus();
  });
  box.showPopover();
  place(box, button);
  const first = box.querySelector("button:not(:disabled), input");
  if (first instanceof HTMLElement) first.focus({ preventScroll: true });
}

/**
 * Show a menu beside `button`.
 * @param {HTMLElement} button @param {string} label @param {Entry[]} entries
 */
export function openMenu(button, label, entries) {
  openBeside(button, (close) => {
    const menu = h("div", { role: "menu", "aria-label": label });
    for (const entry of entries) menu.append(entry ? item(entry, close) : h("hr"));
    menu.addEventListener("keydown", (event) => rove(event, menu, "button:not(:disabled)"));
    return menu;
  });
}

/** @param {NonNullable<Entry>} entry @param {() => void} close */
function item(entry, close) {
  return h(
    "button",
    {
      type: "button", role: "menuitem", tabindex: "-1", disabled: entry.disabled, "data-testid": entry.testid,
      onclick: () => (close(), entry.run()),
    },
    entry.icon && icon(entry.icon),
    h("span", null, entry.words),
    entry.key && h("kbd", null, keyWords(entry.key)),
  );
}

/**
 * Move the focus among the elements of a group by arrow keys, Home and End.
 * @param {KeyboardEvent} event @param {Element} group @param {string} selector
 */
export function rove(event, group, selector) {
  const items = /** @type {HTMLElement[]} */ ([...group.querySelectorAll(selector)]);
  const here = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const steps = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };
  const step = steps[/** @type {keyof typeof steps} */ (event.key)];
  let next = step ? (here + step + items.length) % items.length : -1;
  if (event.key === "Home") next = 0;
  if (event.key === "End") next = items.length - 1;
  if (next < 0 || !items[next]) return;
  event.preventDefault();
  event.stopPropagation();
  items[next].focus();
}
