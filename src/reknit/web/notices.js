// @ts-check
/**
 * Words that come and go: messages below, the announcer for screen readers, and the tips beside buttons. Never
 * an alert, never anything that takes the focus.
 */

import { ApiError } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { icon } from "./icons.js";
import { keyWords } from "./keys.js";
import { knows, say } from "./strings.js";

const SHOWN_MS = 6000;
const SHOWN_BAD_MS = 12000;
const TIP_MS = 450;

/**
 * Show a message for some seconds.
 * @param {string} words
 * @param {{hint?: string, bad?: boolean, action?: {words: string, run: () => void}}} [how]
 */
export function toast(words, { hint = "", bad = false, action } = {}) {
  const close = () => (clearTimeout(timer), box.remove());
  const box = h(
    "div",
    { class: bad ? "toast bad" : "toast", role: bad ? "alert" : null, "data-testid": bad ? "error" : "toast" },
    icon(bad ? "warn" : "info"),
    h("p", null, words, hint && h("small", null, hint)),
    action && h("button", { type: "button", onclick: () => (close(), action.run()) }, action.words),
    h("button", { type: "button", class: "shut", "aria-label": say("toast.close"), onclick: close }, icon("close")),
  );
  let timer = setTimeout(close, bad ? SHOWN_BAD_MS : SHOWN_MS);
  box.addEventListener("pointerenter", () => clearTimeout(timer));
  box.addEventListener("pointerleave", () => (timer = setTimeout(close, SHOWN_MS / 2)));
  const region = byId("toasts");
  for (const old of [...region.children].slice(0, -2)) old.remove();
  region.append(box);
}

/**
 * Show what went wrong, in the server's words where it has some. What was stopped on purpose is silent.
 * @param {unknown} error
 */
export function complain(error) {
  if (error instanceof DOMException && error.name === "AbortError") return;
  if (!(error instanceof ApiError)) console.error(error);
  const known = error instanceof ApiError && knows(`error.${error.code}`);
  const message = known ? say(`error.${error.code}`) : error instanceof Error ? error.message : "";
  const hint = known ? say(`error.${error.code}.hint`) : error instanceof ApiError ? error.hint : "";
  toast(sentence(message || say("error.unknown")), { hint: sentence(hint), bad: true });
}

/** Servers begin their sentences with a small letter. @param {string} words */
function sentence(words) {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Tell screen readers. @param {string} words */
export function announce(words) {
  byId("announcer").textContent = words;
}

/** Show tips for whatever carries data-tip, when the pointer rests on it or the keyboard reaches it. */
export function startTips() {
  const tip = h("div", { class: "tip", popover: "manual", "aria-hidden": "true" });
  document.body.append(tip);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const hide = () => (clearTimeout(timer), tip.matches(":popover-open") && tip.hidePopover());
  /** @param {HTMLElement} target */
  const show = (target) => {
    const { tip: words, key } = target.dataset;
    if (!words || !target.isConnected) return;
    fill(tip, h("span", null, words), key && h("kbd", null, keyWords(key)));
    tip.showPopover();
    place(tip, target, target.closest(".tools") && innerWidth > 720 ? "right" : "below");
  };
  /** @param {Event} event @param {number} wait */
  const ask = (event, wait) => {
    const target = event.target instanceof Element ? event.target.closest("[data-tip]") : null;
    hide();
    if (target instanceof HTMLElement) timer = setTimeout(show, wait, target);
  };
  document.addEventListener("pointerover", (e) => e.pointerType === "mouse" && ask(e, TIP_MS));
  document.addEventListener("focusin", (e) => {
    if (e.target instanceof Element && e.target.matches(":focus-visible") && document.documentElement.dataset.by === "keys") ask(e, TIP_MS);
  });
  document.addEventListener("click", (e) => e.target instanceof Element && e.target.closest(".help") && ask(e, 0));
  document.addEventListener("focusout", hide);
  document.addEventListener("pointerdown", hide, true);
  document.addEventListener("keydown", hide, true);
}

/**
 * Put something of the top layer beside an element, within the window.
 * @param {HTMLElement} what @param {Element} beside @param {"below" | "right" | "above"} [where]
 */
export function place(what, beside, where = "below") {
  const at = beside.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = what;
  let left = at.left + (at.width - width) / 2;
  let top = at.bottom + 8;
  if (where === "right") [left, top] = [at.right + 10, at.top + (at.height - height) / 2];
  else if (where === "above" || top + height > innerHeight - 8) top = at.top - height - 8;
  what.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
  what.style.top = `${Math.max(8, Math.min(top, innerHeight - height - 8))}px`;
}
